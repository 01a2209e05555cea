//! Every changed byte is found: flipped, cut, swapped, repeated, dropped, foreign.

use super::*;

/// What `contents` shows of all appends but the last, and of all.
fn expected(made: &[Vec<LogGroup>]) -> (Vec<String>, Vec<String>) {
    let (_, before) = made.split_last().unwrap();
    (described(&before.concat()), described(&made.concat()))
}

/// What became of flipped bits.
#[derive(Debug, Default)]
struct Flips {
    /// Not opened, and the place is named.
    refused: u64,
    /// Of those, found in another file than the flipped one.
    elsewhere: u64,
    /// Opened, as after a write cut short, which is told; nothing written is gone.
    kept: u64,
    /// The same, without the last group.
    dropped: u64,
    /// Of an index file: named, and nothing lost.
    indexes: u64,
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "idx")
}

#[test]
fn every_flipped_byte_of_every_file_is_found() {
    let (disk, made) = small_log(9);
    let (without_last, all) = expected(&made);
    let files = disk.read_all();
    assert!(files.len() >= 3, "two segments and the one ahead");
    let counted = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (path, bytes) in &files {
            let flip = || flip_each(&disk, path, bytes, &without_last, &all);
            threads.push(scope.spawn(flip));
        }
        threads.into_iter().fold(Flips::default(), |sum, thread| {
            let flips = thread.join().unwrap();
            Flips {
                refused: sum.refused + flips.refused,
                elsewhere: sum.elsewhere + flips.elsewhere,
                kept: sum.kept + flips.kept,
                dropped: sum.dropped + flips.dropped,
                indexes: sum.indexes + flips.indexes,
            }
        })
    });
    let Flips {
        refused,
        elsewhere,
        kept,
        dropped,
        indexes,
    } = counted;
    println!(
        "{} flipped bits in {} files: {refused} refused by name, {elsewhere} of them in another file, {kept} told and nothing lost, \
         {dropped} took the last group for cut short, {indexes} in index files",
        refused + kept + dropped,
        files.len()
    );
    assert_eq!(dropped, 0, "a write cut short looks otherwise");
    assert!(indexes > 100, "there are index files");
}

/// Flips one bit of each byte of one file in turn. Opening is tried at each at full scale, else at every seventh.
fn flip_each(
    disk: &Disk,
    path: &Path,
    bytes: &[u8],
    without_last: &[String],
    all: &[String],
) -> Flips {
    let every = if scaled(10) >= 10 { 1 } else { 7 };
    let mut flips = Flips::default();
    let mut copy = disk.copy();
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        copy.put(path, flipped);
        let case = format!("{} byte {at}", path.display());
        let reopen = at % every == 0;
        match check(&copy) {
            Err(StorageError::Damaged { path: found, .. }) if is_index(path) => {
                // Named by who reads everything; no reason not to open, for it follows from its segment.
                assert_eq!(found, path, "{case}");
                flips.indexes += 1;
                if reopen {
                    let found = contents(&mut open(&copy).unwrap());
                    assert!(found == all, "{case}");
                    copy = disk.copy();
                }
            }
            Err(StorageError::Damaged { path: found, .. }) => {
                flips.refused += 1;
                flips.elsewhere += u64::from(found != path);
                if reopen {
                    let opened = open_and_read(&copy).err();
                    let damaged = matches!(opened, Some(StorageError::Damaged { .. }));
                    assert!(damaged, "{case}");
                }
            }
            Ok(checked) if checked.tail != Tail::Clean => {
                if !reopen {
                    flips.kept += 1;
                    continue;
                }
                // Looks like a write cut short, so opening drops it, says so, and loses nothing else.
                let mut storage = open(&copy).unwrap();
                assert!(storage.recovery().is_some(), "{case}");
                let found = contents(&mut storage);
                assert!(found == all || found == without_last, "{case}");
                flips.kept += u64::from(found == all);
                flips.dropped += u64::from(found != all);
                copy = disk.copy();
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    flips
}

#[test]
fn a_flipped_bit_of_a_leaf_names_the_log_and_the_leaf() {
    let (disk, made) = small_log(9);
    let files = disk.read_all();
    let mut tried = 0;
    for group in made.concat() {
        for (leaf, want_seq) in group.leaves.iter().zip(group.expected_head.size..) {
            for (path, bytes) in &files {
                let found = bytes.windows(leaf.len()).position(|part| part == &**leaf);
                let Some(at) = found.filter(|_| leaf.len() > 20) else {
                    continue;
                };
                let copy = disk.copy();
                let mut flipped = bytes.clone();
                flipped[at + leaf.len() / 2] ^= 1;
                copy.put(path, flipped);
                match check(&copy).unwrap_err() {
                    StorageError::Damaged {
                        path: where_,
                        log,
                        seq,
                        ..
                    } => {
                        assert_eq!(&where_, path);
                        assert_eq!(
                            (log.as_deref(), seq),
                            (Some(group.log.as_str()), Some(want_seq))
                        );
                        tried += 1;
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert!(tried > 15, "{tried} leaves tried");
}

/// Number and content of the segment with the last group, and where in it the group begins.
fn last_group(disk: &Disk, made: &[Vec<LogGroup>]) -> (u32, Vec<u8>, usize) {
    let number = (1..).take_while(|number| {
        disk.read_all()
            .get(&segment(*number))
            .is_some_and(|bytes| bytes[0] != 0)
    });
    let number = number.last().unwrap();
    let bytes = disk.get(&segment(number));
    let mut start = (0..bytes.len())
        .step_by(64)
        .filter(|at| bytes[*at..].starts_with(b"ACTPGRP1"));
    assert!(made.len() > 1);
    (number, bytes.clone(), start.next_back().unwrap())
}

#[test]
fn a_last_group_cut_at_any_byte_is_dropped_and_the_rest_is_kept() {
    let (disk, made) = small_log(9);
    let (without_last, all) = expected(&made);
    let (number, bytes, start) = last_group(&disk, &made);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    println!(
        "{} cuts of the last group, each short and zeroed",
        end - start
    );
    for cut in start..end {
        let short = bytes[..cut].to_vec();
        let mut zeroed = short.clone();
        zeroed.resize(bytes.len(), 0);
        for (how, content) in [("short", short), ("zeroed", zeroed)] {
            let copy = disk.copy();
            copy.put(&segment(number), content);
            let mut storage = open(&copy).unwrap();
            // A group cut off as a whole is a shorter log; only a kept head can tell.
            let silent = cut == start && how == "zeroed";
            assert_eq!(storage.recovery().is_none(), silent, "{how} at {cut}");
            let found = contents(&mut storage);
            assert_eq!(found, without_last, "{how} at {cut}");
            let groups = some_groups(&storage, &mut 4);
            storage.append(&groups).unwrap();
            assert_eq!(check(&copy).unwrap().tail, Tail::Clean);
        }
    }
    let copy = disk.copy();
    copy.put(&segment(number), bytes[..end].to_vec());
    assert_ne!(
        check(&copy).unwrap().tail,
        Tail::Clean,
        "a cut zero tail is found"
    );
    assert_eq!(contents(&mut open(&copy).unwrap()), all, "and repaired");
    assert_eq!(check(&copy).unwrap().tail, Tail::Clean);
}

#[test]
fn a_sector_lost_anywhere_but_in_the_last_group_is_damage() {
    let (disk, made) = small_log(9);
    let (without_last, _) = expected(&made);
    let (last, _, start) = last_group(&disk, &made);
    let mut refused = 0;
    for number in 1..=last {
        let bytes = disk.get(&segment(number));
        for sector in (0..bytes.len()).step_by(512) {
            let mut lost = bytes.clone();
            lost[sector..sector + 512].fill(0);
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            if sector > end {
                continue;
            }
            let copy = disk.copy();
            copy.put(&segment(number), lost);
            let case = format!("segment {number} sector at {sector}");
            if number == last && sector >= start {
                let mut storage = open(&copy).unwrap();
                assert!(storage.recovery().is_some(), "{case}");
                assert_eq!(contents(&mut storage), without_last, "{case}");
            } else {
                let opened = open_and_read(&copy).err();
                assert!(
                    matches!(opened, Some(StorageError::Damaged { .. })),
                    "{case}"
                );
                let other = if number == last { 1 } else { last };
                assert_eq!(
                    copy.get(&segment(other)),
                    disk.get(&segment(other)),
                    "{case}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused} sectors refused");
}

#[test]
fn a_segment_cut_anywhere_but_at_the_end_of_the_log_is_damage() {
    let (disk, made) = small_log(9);
    let (last, _, _) = last_group(&disk, &made);
    assert!(last > 1);
    let bytes = disk.get(&segment(1));
    for cut in (0..bytes.len()).step_by(64) {
        let mut zeroed = bytes[..cut].to_vec();
        let short = zeroed.clone();
        zeroed.resize(bytes.len(), 0);
        for (how, content) in [("short", short), ("zeroed", zeroed)] {
            if content == bytes {
                continue;
            }
            let copy = disk.copy();
            copy.put(&segment(1), content);
            let opened = open_and_read(&copy).err();
            assert!(
                matches!(opened, Some(StorageError::Damaged { .. })),
                "{how} at {cut}"
            );
        }
    }
}

#[test]
fn a_group_of_a_fork_of_the_same_log_is_refused() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    storage
        .append(&[leaf_group(&storage, "a", b"shared")])
        .unwrap();
    drop(storage);
    let fork = disk.copy();
    for (disk, second) in [(&disk, b"refund of 10"), (&fork, b"refund of 99")] {
        let mut storage = open(disk).unwrap();
        storage
            .append(&[leaf_group(&storage, "a", second)])
            .unwrap();
        storage
            .append(&[leaf_group(&storage, "a", b"third")])
            .unwrap();
    }
    let (mut ours, theirs) = (disk.get(&segment(1)), fork.get(&segment(1)));
    let starts: Vec<_> = (0..ours.len())
        .step_by(64)
        .filter(|at| ours[*at..].starts_with(b"ACTPGRP1"))
        .collect();
    ours[starts[1]..starts[2]].copy_from_slice(&theirs[starts[1]..starts[2]]);
    disk.put(&segment(1), ours);
    let found = check(&disk).unwrap_err().to_string();
    assert!(
        found.contains("a group does not continue the one before"),
        "{found}"
    );
}

#[test]
fn segments_moved_about_are_refused() {
    let (disk, _) = small_log(20);
    let (other, _) = small_log(20);
    let change = |how: &dyn Fn(&Disk)| {
        let copy = disk.copy();
        how(&copy);
        (
            check(&copy).unwrap_err(),
            open_and_read(&copy).err().unwrap(),
        )
    };
    type How = Box<dyn Fn(&Disk)>;
    let cases: Vec<(&str, How, &str)> = vec![
        (
            "two swapped",
            Box::new(|disk| {
                let (one, two) = (disk.get(&segment(1)), disk.get(&segment(2)));
                disk.put(&segment(1), two);
                disk.put(&segment(2), one);
            }),
            "group",
        ),
        (
            "one missing",
            Box::new(|disk| disk.delete(&segment(2))),
            "it is missing",
        ),
        (
            "one repeated",
            Box::new(|disk| disk.put(&segment(2), disk.get(&segment(1)))),
            "group 0 of segment 1 stands where",
        ),
        (
            "one of another log",
            Box::new(move |disk| disk.put(&segment(2), other.get(&segment(2)))),
            "another directory",
        ),
        (
            "one emptied",
            Box::new(|disk| disk.put(&segment(1), vec![0; 8192])),
            "it is empty though a later segment is not",
        ),
        (
            "bytes added behind",
            Box::new(|disk| {
                let mut bytes = disk.get(&segment(1));
                bytes.resize(8192 + 64, 0);
                disk.put(&segment(1), bytes);
            }),
            "bytes were added behind the end",
        ),
    ];
    for (name, how, want) in cases {
        let (checked, opened) = change(&*how);
        assert!(checked.to_string().contains(want), "{name}: {checked}");
        assert_eq!(checked.to_string(), opened.to_string(), "{name}");
    }
}

#[test]
fn a_group_left_out_in_the_middle_is_refused() {
    let (disk, _) = small_log(9);
    let bytes = disk.get(&segment(1));
    let starts: Vec<_> = (0..bytes.len())
        .step_by(64)
        .filter(|at| bytes[*at..].starts_with(b"ACTPGRP1"))
        .collect();
    assert!(starts.len() > 2);
    let mut without = bytes[..starts[1]].to_vec();
    without.extend_from_slice(&bytes[starts[2]..]);
    without.resize(bytes.len(), 0);
    disk.put(&segment(1), without);
    let found = check(&disk).unwrap_err().to_string();
    assert!(
        found.contains("group 2 of segment 1 stands where group 1 belongs"),
        "{found}"
    );
}

#[test]
fn a_damaged_blob_is_refused_when_read() {
    let (disk, made) = small_log(9);
    let storage = open(&disk).unwrap();
    let blob = made
        .concat()
        .into_iter()
        .find_map(|group| group.blobs.into_iter().next())
        .unwrap();
    for (path, mut bytes) in disk.read_all() {
        if let Some(at) = bytes
            .windows(600)
            .position(|part| part == blob.bytes.as_slice())
        {
            bytes[at + 300] ^= 1;
            disk.put(&path, bytes);
        }
    }
    let found = storage.blob(&blob.name).unwrap_err().to_string();
    assert!(found.contains("a blob is not what was written"), "{found}");
}
