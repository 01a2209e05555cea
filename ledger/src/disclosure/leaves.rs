//! Numbers of leaves as people write them: `3,7-12`, or `all`.

use std::fmt;
use std::str::FromStr;

/// Most numbers and ranges: as text at most 128 times two numbers of 16 digits, a dash and a comma, 4,352 bytes, which fit into the path of
/// a request.
pub const RANGES_MAX: usize = 128;

/// Some leaves of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Each of them.
    All,
    /// Those from the first to the last of each pair. In order, and none of them twice.
    Some(Vec<(u64, u64)>),
}

/// Why a text names no leaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavesError {
    /// Something else than numbers.
    #[error("`{0}` names no leaves: give their numbers as in 3,7-12, or `all`")]
    Form(String),
    /// A range that ends before it begins.
    #[error("the range {0}-{1} ends before it begins")]
    Reversed(u64, u64),
    /// Too many.
    #[error("more than {RANGES_MAX} numbers and ranges; give fewer, or `all`")]
    TooMany,
    /// Beyond the end of the log.
    #[error("the log has {leaves} leaves, and leaf {last} is none of them")]
    Beyond {
        /// How many it has.
        leaves: u64,
        /// The one that was asked for.
        last: u64,
    },
}

impl Leaves {
    /// Whether that leaf is one of them.
    pub fn holds(&self, seq: u64) -> bool {
        match self {
            Self::All => true,
            Self::Some(ranges) => {
                let after = ranges.partition_point(|(first, _)| *first <= seq);
                let range = after.checked_sub(1).and_then(|at| ranges.get(at));
                range.is_some_and(|(_, last)| seq <= *last)
            }
        }
    }

    /// Which these are in a log of so many leaves.
    ///
    /// # Errors
    /// [`LeavesError::Beyond`].
    pub fn of(&self, leaves: u64) -> Result<Vec<(u64, u64)>, LeavesError> {
        self.within(leaves)?;
        Ok(match self {
            Self::All => leaves
                .checked_sub(1)
                .map(|last| (0, last))
                .into_iter()
                .collect(),
            Self::Some(ranges) => ranges.clone(),
        })
    }

    /// That each of them is in a log of so many leaves.
    ///
    /// # Errors
    /// [`LeavesError::Beyond`].
    pub fn within(&self, leaves: u64) -> Result<(), LeavesError> {
        match self {
            Self::Some(ranges) => match ranges.last() {
                Some((_, last)) if *last >= leaves => Err(LeavesError::Beyond {
                    leaves,
                    last: *last,
                }),
                _ => Ok(()),
            },
            Self::All => Ok(()),
        }
    }
}

impl FromStr for Leaves {
    type Err = LeavesError;

    fn from_str(text: &str) -> Result<Self, LeavesError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let unclear = || LeavesError::Form(actpass_core::canonical::excerpt(text));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse::<u64>().ok()).flatten();
            number.ok_or_else(unclear)
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(LeavesError::Reversed(first, last));
            }
            if ranges.len() == RANGES_MAX {
                return Err(LeavesError::TooMany);
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        Ok(Self::Some(joined(ranges)))
    }
}

impl fmt::Display for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Some(ranges) => f.write_str(&shown(ranges)),
        }
    }
}

/// Ranges as people write them.
pub(super) fn shown(ranges: &[(u64, u64)]) -> String {
    let ranges = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    ranges.collect::<Vec<String>>().join(",")
}

/// Ranges that meet as one.
fn joined(sorted: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (first, last) in sorted {
        match ranges.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_named_by_numbers_and_ranges() {
        let read = |text: &str| text.parse::<Leaves>().map(|leaves| leaves.to_string());
        for (given, want) in [
            ("all", "all"),
            ("0", "0"),
            ("7-12,3", "3,7-12"),
            ("3,3,4-5,5-9,11", "3-9,11"),
            ("007", "7"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(read(given).as_deref(), Ok(want), "{given}");
        }
        for given in [
            "",
            "ALL",
            "x",
            "3,",
            ",3",
            "3-",
            "-3",
            "+3",
            "3 ",
            "3--4",
            "1-2-3",
            "1.5",
            "all,3",
            "18446744073709551616",
        ] {
            assert!(matches!(read(given), Err(LeavesError::Form(_))), "{given}");
        }
        assert_eq!(read("9-7"), Err(LeavesError::Reversed(9, 7)));
        let many = |count: usize| {
            (0..count)
                .map(|it| (it * 2).to_string())
                .collect::<Vec<_>>()
        };
        assert!(read(&many(RANGES_MAX).join(",")).is_ok());
        let over = read(&many(RANGES_MAX + 1).join(","));
        assert_eq!(over, Err(LeavesError::TooMany));
    }

    #[test]
    fn a_leaf_is_one_of_them_or_not() {
        let some: Leaves = "3,7-12".parse().unwrap();
        let held: Vec<u64> = (0..20).filter(|seq| some.holds(*seq)).collect();
        assert_eq!(held, [3, 7, 8, 9, 10, 11, 12]);
        assert!(Leaves::All.holds(0) && Leaves::All.holds(u64::MAX));
        assert_eq!(some.within(13), Ok(()));
        let beyond = LeavesError::Beyond {
            leaves: 12,
            last: 12,
        };
        assert_eq!(some.within(12), Err(beyond));
        assert_eq!(Leaves::All.within(0), Ok(()));
    }
}
