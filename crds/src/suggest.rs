//! "Did you mean": the known name that a wrong one is probably a slip of.

/// The candidate nearest to `text`, if it is near: at most a third of its letters differ, and at most three.
pub(crate) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = plain(text);
    let near = |candidate: &&str| {
        let most = (candidate.len() / 3).clamp(1, 3);
        // With two letters swapped as one slip.
        let distance = strsim::osa_distance(&wanted, &plain(candidate));
        (distance <= most).then_some(distance)
    };
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let found = candidates
        .into_iter()
        .filter_map(|candidate| Some((near(&candidate)?, candidate)));
    found.min().map(|(_, candidate)| candidate)
}

/// Names have at most 128 bytes; what is longer is no slip.
const TEXT_BYTES_MAX: usize = 160;

/// Without case, `_` and `-`, which people mix up first.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|char| !matches!(char, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_name_meant_and_other_words_do_not() {
        struct Case {
            name: &'static str,
            given: &'static str,
            want: Option<&'static str>,
        }
        let known = [
            "targetRefs",
            "passportSelector",
            "mode",
            "rules",
            "gt",
            "gte",
        ];
        let cases = [
            Case {
                name: "a letter is missing",
                given: "targetRef",
                want: Some("targetRefs"),
            },
            Case {
                name: "snake case",
                given: "target_refs",
                want: Some("targetRefs"),
            },
            Case {
                name: "swapped letters",
                given: "ruels",
                want: Some("rules"),
            },
            Case {
                name: "upper case",
                given: "Mode",
                want: Some("mode"),
            },
            Case {
                name: "another word",
                given: "subjects",
                want: None,
            },
            Case {
                name: "a short word is not near another short word",
                given: "xx",
                want: None,
            },
            Case {
                name: "the nearest of two",
                given: "gte_",
                want: Some("gte"),
            },
        ];
        for case in cases {
            assert_eq!(nearest(case.given, known), case.want, "{}", case.name);
        }
    }
}
