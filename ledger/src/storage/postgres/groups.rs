//! Groups as they are read back, and whether each follows the one before.

use std::ops::ControlFlow;

use tokio_postgres::{Error, Row};

use super::rows::{self, damaged};
use super::{Entry, Head, StorageError, leaf_hash, unsigned};

/// Where a group stands: its log's number, its first leaf, its number in the log.
pub(super) type Place = (i64, i64, i64);

/// Before all groups.
pub(super) const START: Place = (-1, -1, -1);

/// A group as the server sent it.
pub(super) struct Group<'a> {
    pub(super) place: Place,
    leaves_count: u64,
    blobs_count: u64,
    leaves: &'a [u8],
    blobs: &'a [u8],
}

impl<'a> Group<'a> {
    pub(super) fn of(row: &'a Row) -> Result<Self, Error> {
        Ok(Self {
            place: (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
            leaves_count: unsigned(row.try_get(3)?),
            blobs_count: unsigned(row.try_get(4)?),
            leaves: row.try_get(5)?,
            blobs: row.try_get(6)?,
        })
    }
}

/// A log while its groups are shown.
pub(super) struct Following {
    pub(super) log: String,
    /// Index of the leaf that comes next, or of one that the first group holds or comes before.
    next: Result<u64, u64>,
    /// Where its row says that it ends, and whether the leaf it names was found there.
    told: Option<(Head, bool)>,
}

impl Following {
    /// A log from its first leaf on.
    pub(super) fn of(log: String, head: Head) -> Self {
        Self {
            told: Some((head, head.size == 0)),
            next: Ok(0),
            log,
        }
    }

    /// A log from the group on that holds that leaf.
    pub(super) fn behind(log: &str, from: u64) -> Self {
        Self {
            log: log.to_owned(),
            next: Err(from),
            told: None,
        }
    }

    /// Shows a group.
    pub(super) fn show(
        &mut self,
        group: &Group<'_>,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let first = unsigned(group.place.1);
        let next = self.next.unwrap_or_else(|from| first.min(from));
        if first != next {
            return Err(damaged(
                &self.log,
                next,
                "the rows that hold it and what follows are missing",
            ));
        }
        self.next = Ok(first.saturating_add(group.leaves_count));
        let row = rows::Row {
            log: &self.log,
            first,
            leaves_count: group.leaves_count,
            blobs_count: group.blobs_count,
            leaves: group.leaves,
            blobs: group.blobs,
        };
        let mut told = self.told;
        let shown = row.show(&mut |entry| {
            if let (Entry::Leaf { seq, bytes, .. }, Some((head, found))) = (&entry, &mut told)
                && seq.saturating_add(1) == head.size
            {
                *found = leaf_hash(bytes) == head.hash;
            }
            visit(entry)
        })?;
        self.told = told;
        Ok(shown)
    }

    /// Whether all that its head counts was shown.
    pub(super) fn ended(&self) -> Result<(), StorageError> {
        let next = self.next.unwrap_or_else(|from| from);
        match self.told {
            Some((head, _)) if next < head.size => Err(damaged(
                &self.log,
                next,
                "the rows that hold it and what follows are missing",
            )),
            Some((head, false)) => Err(damaged(
                &self.log,
                head.size.saturating_sub(1),
                "its head names another leaf",
            )),
            Some(_) | None => Ok(()),
        }
    }
}
