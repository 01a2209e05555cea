//! Whether two resource patterns have a resource in common.

use actpass_core::capability::Glob;

/// `false` only if no resource matches both. Two patterns with `*` are told apart by their ends alone, which is what
/// people write (`emea-*`, `*-prod`) and takes linear time.
pub(super) fn may_overlap(a: &Glob, b: &Glob) -> bool {
    match (a.is_exact(), b.is_exact()) {
        (true, _) => b.matches(a.as_str()),
        (_, true) => a.matches(b.as_str()),
        (false, false) => {
            let (a_start, a_end) = ends(a.as_str());
            let (b_start, b_end) = ends(b.as_str());
            let starts = a_start.starts_with(b_start) || b_start.starts_with(a_start);
            starts && (a_end.ends_with(b_end) || b_end.ends_with(a_end))
        }
    }
}

/// What stands before the first `*` and behind the last.
fn ends(pattern: &str) -> (&str, &str) {
    let start = pattern.split_once('*').map_or(pattern, |(start, _)| start);
    let end = pattern.rsplit_once('*').map_or(pattern, |(_, end)| end);
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_unless_their_ends_exclude_each_other() {
        struct Case {
            name: &'static str,
            given: (&'static str, &'static str),
            want: bool,
        }
        let cases = [
            Case {
                name: "the same text",
                given: ("ch_1", "ch_1"),
                want: true,
            },
            Case {
                name: "two texts",
                given: ("ch_1", "ch_2"),
                want: false,
            },
            Case {
                name: "a text within a pattern",
                given: ("ch_*", "ch_1"),
                want: true,
            },
            Case {
                name: "a text outside a pattern",
                given: ("ch_*", "py_1"),
                want: false,
            },
            Case {
                name: "patterns with different starts",
                given: ("emea-*", "apac-*"),
                want: false,
            },
            Case {
                name: "one start within the other",
                given: ("emea-*", "emea-de-*"),
                want: true,
            },
            Case {
                name: "a start and an end",
                given: ("emea-*", "*-prod"),
                want: true,
            },
            Case {
                name: "patterns with different ends",
                given: ("a*-dev", "a*-prod"),
                want: false,
            },
            Case {
                name: "everything",
                given: ("*", "apac-*"),
                want: true,
            },
        ];
        for Case {
            name,
            given: (a, b),
            want,
        } in cases
        {
            let (a, b): (Glob, Glob) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(may_overlap(&a, &b), want, "{name}");
            assert_eq!(may_overlap(&b, &a), want, "{name}, the other way round");
        }
    }
}
