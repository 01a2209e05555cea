//! What lies beside the leaves, held from where it stands until the leaf that names it.

use std::cell::RefCell;
use std::collections::HashMap;

use super::beside::Blobs;
use crate::storage::StorageError;

/// Most bytes held at a time. An append takes at most 4 MiB, and what it keeps beside its leaves stands right before them: this
/// is that, sixteen times.
const HELD_BYTES_MAX: usize = 64 << 20;

/// What an entry costs besides its bytes.
const ENTRY_BYTES: usize = 128;

/// Blobs that no leaf has named yet. Each is given out once.
#[derive(Default)]
pub(super) struct Stage(RefCell<Held>);

#[derive(Default)]
struct Held {
    blobs: HashMap<[u8; 32], Vec<u8>>,
    bytes: usize,
    /// Something was asked for that was not there.
    missed: bool,
    /// It was too much.
    over: bool,
}

impl Stage {
    /// Holds a blob; of two of a name the later.
    pub(super) fn hold(&self, name: [u8; 32], bytes: Vec<u8>) {
        let mut held = self.0.borrow_mut();
        let cost = bytes.len().saturating_add(ENTRY_BYTES);
        held.over |= held.bytes.saturating_add(cost) > HELD_BYTES_MAX;
        if held.over {
            return;
        }
        held.bytes = held.bytes.saturating_add(cost);
        if let Some(before) = held.blobs.insert(name, bytes) {
            held.freed(&before);
        }
    }

    /// Whether everything was there when its leaf came, and nothing is left.
    pub(super) fn suffices(&self) -> bool {
        !self.0.borrow().missed && self.is_used_up()
    }

    /// Whether nothing is left that no leaf has named.
    pub(super) fn is_used_up(&self) -> bool {
        let held = self.0.borrow();
        held.blobs.is_empty() && !held.over
    }

    fn take(&self, name: &[u8; 32]) -> Option<Vec<u8>> {
        let mut held = self.0.borrow_mut();
        let found = held.blobs.remove(name);
        match &found {
            Some(bytes) => held.freed(bytes),
            None => held.missed = true,
        }
        found
    }
}

impl Held {
    fn freed(&mut self, bytes: &[u8]) {
        let cost = bytes.len().saturating_add(ENTRY_BYTES);
        self.bytes = self.bytes.saturating_sub(cost);
    }
}

impl Blobs for Stage {
    fn holds(&self, name: &[u8; 32]) -> bool {
        self.take(name).is_some()
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.take(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_out_once_and_bounded() {
        let stage = Stage::default();
        stage.hold([1; 32], vec![1]);
        stage.hold([1; 32], vec![2]);
        assert!(!stage.is_used_up());
        assert_eq!(stage.blob(&[1; 32]).unwrap(), Some(vec![2]));
        assert!(stage.suffices());
        assert!(!stage.holds(&[1; 32]) && !stage.suffices());

        let stage = Stage::default();
        for name in 0..70 {
            stage.hold([name; 32], vec![0; 1 << 20]);
        }
        assert!(!stage.suffices());
        assert!(stage.0.borrow().bytes <= HELD_BYTES_MAX);
    }
}
