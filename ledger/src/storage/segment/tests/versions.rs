//! Segments of another build.

use super::*;
use crate::storage::frame::VERSION;

/// A directory with a few groups whose headers say that they are of that version.
fn of_version(version: u16, seal: bool) -> Disk {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let mut random = 7;
    for _ in 0..4 {
        let groups = some_groups(&storage, &mut random);
        storage.append(&groups).unwrap();
    }
    drop(storage);
    let disk = disk.restart();
    let mut bytes = disk.get(&segment(1));
    for at in (0..bytes.len()).step_by(ALIGN) {
        if bytes[at..].starts_with(b"ACTPGRP1") {
            bytes[at + 8..at + 10].copy_from_slice(&version.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[at..at + 52]);
            if seal {
                bytes[at + 52..at + 56].copy_from_slice(&crc.to_le_bytes());
            }
        }
    }
    disk.put(&segment(1), bytes);
    disk
}

#[test]
fn segments_of_another_build_are_not_called_damaged() {
    assert!(
        open(&of_version(VERSION, true)).is_ok(),
        "the counter-proof"
    );
    for version in [VERSION - 1, VERSION + 1] {
        let disk = of_version(version, true);
        let before = disk.get(&segment(1));
        for error in [open(&disk).err(), check(&disk).err()] {
            let error = error.unwrap();
            let StorageError::OtherVersion { version: found, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(*found, version);
            assert!(error.to_string().contains("the build that wrote it"));
        }
        assert_eq!(disk.get(&segment(1)), before, "nothing is changed");
        // A bit that flipped makes no other build.
        let flipped = open(&of_version(version, false)).err();
        assert!(matches!(flipped, Some(StorageError::Damaged { .. })));
    }
}
