//! What the disk allows: the bytes, written where there is room already, and one `fdatasync`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Store;
use super::leaves::LEAF_BYTES;

/// Written over from its start where it ends.
const FILE_BYTES: usize = 64 << 20;

pub(super) struct Raw {
    file: File,
    at: usize,
    bytes: Vec<u8>,
}

impl Raw {
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let file = File::create(dir.join("raw"))?;
        let piece = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(piece.len()) {
            file.write_all_at(&piece, at as u64)?;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            at: 0,
            bytes: Vec::new(),
        })
    }
}

impl Store for Raw {
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()> {
        let length = leaves * LEAF_BYTES;
        self.bytes.resize(length, b'x');
        if self.at + length > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.bytes, self.at as u64)?;
        self.at += length;
        self.file.sync_data()?;
        Ok(())
    }
}
