//! What was disclosed in an exported file, for whoever asked for it: counted where the lines come by.

use super::leaves::shown;
use super::{Leaves, commits};

/// How a line begins that discloses.
const DISCLOSED: &[u8] = b"{\"disclosed\":";

/// How other lines begin that are no leaves, but the first.
const OTHERS: [&[u8]; 2] = [b"{\"blob\":", b"{\"checkpoint\":"];

/// Most ranges of leaves that are named; of what is beyond only the number is said.
const NAMED_MAX: usize = 64;

/// The count as lines come by, from behind the first on.
pub struct Tally<'a> {
    asked: &'a Leaves,
    next: u64,
    disclosed: bool,
    leaves: u64,
    /// Leaves asked for that commit to texts of which nothing is left.
    gone: Numbers,
    /// Leaves asked for by their numbers that commit to no texts.
    without: Numbers,
}

/// Numbers that come in order.
#[derive(Default)]
struct Numbers {
    ranges: Vec<(u64, u64)>,
    count: u64,
    unnamed: u64,
}

impl<'a> Tally<'a> {
    /// Of a file for whoever asked for these.
    pub fn new(asked: &'a Leaves) -> Self {
        Self {
            asked,
            next: 0,
            disclosed: false,
            leaves: 0,
            gone: Numbers::default(),
            without: Numbers::default(),
        }
    }

    /// Takes in a line.
    pub fn line(&mut self, line: &[u8]) {
        if line.starts_with(DISCLOSED) {
            self.disclosed = true;
            return;
        }
        if OTHERS.iter().any(|begin| line.starts_with(begin)) {
            return;
        }
        let (seq, disclosed) = (self.next, std::mem::take(&mut self.disclosed));
        self.next = seq.saturating_add(1);
        match (disclosed, self.asked.holds(seq)) {
            (true, _) => self.leaves = self.leaves.saturating_add(1),
            (false, false) => {}
            (false, true) if commits(line.trim_ascii_end()) => self.gone.push(seq),
            (false, true) if *self.asked != Leaves::All => self.without.push(seq),
            (false, true) => {}
        }
    }

    /// Leaves of which texts are in the file.
    pub fn disclosed(&self) -> u64 {
        self.leaves
    }

    /// Leaves asked for that commit to texts of which nothing is left: erased, or never kept. None where there is no such leaf.
    pub fn gone(&self) -> Option<String> {
        self.gone.shown()
    }

    /// Leaves asked for by number that commit to no texts. None where there is no such leaf.
    pub fn without(&self) -> Option<String> {
        self.without.shown()
    }
}

impl Numbers {
    fn push(&mut self, number: u64) {
        self.count = self.count.saturating_add(1);
        let full = self.ranges.len() == NAMED_MAX;
        match self.ranges.last_mut() {
            Some(last) if self.unnamed == 0 && last.1.checked_add(1) == Some(number) => {
                last.1 = number;
            }
            _ if full => self.unnamed = self.unnamed.saturating_add(1),
            _ => self.ranges.push((number, number)),
        }
    }

    fn shown(&self) -> Option<String> {
        let more = match self.unnamed {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (self.count > 0).then(|| format!("{}{more}", shown(&self.ranges)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_numbers_are_named_in_bounded_room() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.shown(), None);
        for number in [1, 2, 3, 9] {
            numbers.push(number);
        }
        assert_eq!(numbers.shown().as_deref(), Some("1-3,9"));
        for number in (20..400).step_by(2) {
            numbers.push(number);
        }
        assert_eq!(numbers.ranges.len(), NAMED_MAX);
        assert_eq!(numbers.count, 4 + 190);
        assert!(numbers.shown().unwrap().ends_with(" and 128 more"));
    }
}
