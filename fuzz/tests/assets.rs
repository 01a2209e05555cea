//! The genuine segment files that the target `segment` damages.

use std::path::Path;

use actpass_ledger::storage::segment::{SegmentOptions, SegmentStorage};
use actpass_ledger::storage::{Blob, BlobKind, LogGroup, Storage};

/// Run it when the form of segments changes: `cargo test -p actpass-fuzz --test assets -- --ignored`.
#[test]
#[ignore = "writes fuzz/src/segment/"]
fn make_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        segment_bytes: 8192,
    };
    let mut storage = SegmentStorage::open(dir.path(), options).unwrap();
    for nth in 0..14_usize {
        let log = ["actpass/c/n/u", "actpass/c/n/v"][nth % 2];
        // The target counts leaves by their first words.
        let padding = ".".repeat(if nth == 4 { 1000 } else { 150 });
        let leaf = |part| {
            format!("genuine leaf {nth}.{part} {padding}")
                .into_bytes()
                .into()
        };
        let kind = BlobKind::SideFrame { seq: 0 };
        let blob = Blob {
            kind,
            name: [u8::try_from(nth).unwrap(); 32],
            bytes: vec![7; 300],
        };
        let group = LogGroup {
            log: log.to_owned(),
            expected_head: storage.head(log),
            leaves: (0..1 + nth % 3).map(leaf).collect(),
            blobs: if nth % 4 == 1 { vec![blob] } else { Vec::new() },
        };
        storage.append(&[group]).unwrap();
    }
    drop(storage);
    let into = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/segment");
    std::fs::create_dir_all(&into).unwrap();
    for name in ["00000001.seg", "00000002.seg"] {
        std::fs::copy(dir.path().join("segments").join(name), into.join(name)).unwrap();
    }
}
