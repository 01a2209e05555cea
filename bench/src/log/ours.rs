//! The segment storage of a ledger.

use std::path::Path;

use actpass_ledger::engine::checkpoint_name;
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::storage::{Appended, Blob, BlobKind, LogGroup, SegmentStorage, Storage};
use anyhow::bail;

use super::Store;
use super::leaves::{Group, LOG, Leaves};

pub(super) struct Ours {
    leaves: Leaves,
    storage: SegmentStorage,
}

impl Ours {
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            leaves: Leaves::new(),
            storage: SegmentStorage::open(&dir.join("log"), SegmentOptions::shared())?,
        })
    }
}

impl Store for Ours {
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()> {
        let Group {
            leaves, checkpoint, ..
        } = self.leaves.group(leaves)?;
        let appended = self.storage.append(&[LogGroup {
            log: LOG.to_owned(),
            expected_head: self.storage.head(LOG),
            leaves,
            blobs: vec![Blob {
                kind: BlobKind::State,
                name: checkpoint_name(LOG),
                bytes: checkpoint.into_bytes(),
            }],
        }])?;
        match appended.as_slice() {
            [Appended::Appended { .. }] => Ok(()),
            other => bail!("{other:?}"),
        }
    }
}
