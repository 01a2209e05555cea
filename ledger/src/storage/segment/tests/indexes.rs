//! Index files: with them, without them and with wrong ones a directory holds the same.

use super::*;
use crate::storage::contents::Contents;

fn index_of(number: u32) -> PathBuf {
    dir().join("segments").join(index_name(number))
}

fn indexes(disk: &Disk) -> Vec<PathBuf> {
    let files = disk.read_all().into_keys();
    files
        .filter(|path| path.extension().is_some_and(|it| it == "idx"))
        .collect()
}

/// All that a storage answers, of every log and blob.
fn answers(storage: &mut SegmentStorage, made: &[Vec<LogGroup>]) -> Vec<String> {
    let mut all = contents(storage);
    for (log, head) in storage.logs() {
        all.push(format!("{log} {head:?}"));
        for seq in 0..head.size {
            let leaf = storage.leaf(&log, seq).unwrap().unwrap();
            all.push(format!("{log} {seq} {}", shown(&leaf)));
        }
        assert_eq!(storage.leaf(&log, head.size).unwrap(), None);
        assert_eq!(storage.places(&log, 0..head.size + 1), None);
        all.push(format!("{:?}", storage.places(&log, 0..head.size)));
    }
    for blob in made.concat().iter().flat_map(|group| &group.blobs) {
        let bytes = storage.blob(&blob.name).unwrap().unwrap();
        all.push(shown(&bytes));
    }
    assert_eq!(storage.blob(&[1; 32]).unwrap(), None);
    all
}

#[test]
fn a_start_with_index_files_reads_the_last_segments_only_and_answers_alike() {
    let (disk, made) = small_log(60);
    let without = disk.copy();
    let made_for = indexes(&disk);
    assert!(made_for.len() > 4, "{made_for:?}");
    made_for.iter().for_each(|path| without.delete(path));
    let want = answers(&mut open(&without).unwrap(), &made);
    assert_eq!(indexes(&without), made_for, "they are made anew");
    for path in &made_for {
        assert_eq!(
            disk.get(path),
            without.get(path),
            "the same segment gives the same bytes"
        );
    }
    // So that reading it would be seen.
    let unread = disk.copy();
    for path in &made_for[..made_for.len() - 1] {
        unread.put(&path.with_extension("seg"), vec![0xff; 8192]);
    }
    let storage = open(&unread).unwrap();
    assert_eq!(storage.scrub().unwrap().all() as usize, made_for.len());
    assert!(matches!(
        open_and_read(&unread),
        Err(StorageError::Damaged { .. })
    ));
    assert_eq!(answers(&mut open(&disk).unwrap(), &made), want);
    open_and_read(&disk).unwrap();
}

#[test]
fn any_of_the_index_files_may_be_missing_or_cut() {
    let (disk, made) = small_log(30);
    let made_for = indexes(&disk);
    let want = answers(&mut open(&disk).unwrap(), &made);
    for chosen in 0_u32..1 << made_for.len().min(6) {
        for cut in [None, Some(0), Some(100), Some(300)] {
            let copy = disk.copy();
            for (nth, path) in made_for.iter().enumerate() {
                match cut {
                    _ if chosen & (1 << nth) == 0 => {}
                    None => copy.delete(path),
                    Some(bytes) => copy.put(path, disk.get(path)[..bytes].to_vec()),
                }
            }
            let case = format!("{chosen:b} cut to {cut:?}");
            let mut storage = open(&copy).unwrap();
            assert_eq!(answers(&mut storage, &made), want, "{case}");
            drop(storage);
            open_and_read(&copy).unwrap();
            assert_eq!(check(&copy).unwrap().tail, Tail::Clean, "{case}");
        }
    }
}

#[test]
fn an_index_file_that_says_otherwise_than_its_segment_is_found_and_made_anew() {
    let (disk, made) = small_log(30);
    let want = answers(&mut open(&disk).unwrap(), &made);
    type Change = fn(&mut Contents);
    let cases: [(&str, Change); 7] = [
        ("a leaf's place", |it| {
            it.parts.values_mut().next().unwrap().leaves[0].0 += 64;
        }),
        ("a leaf's hash", |it| {
            it.parts.values_mut().next().unwrap().leaves[0].1[0] ^= 1;
        }),
        ("a leaf left out", |it| {
            it.parts.values_mut().next().unwrap().leaves.truncate(1);
        }),
        ("a log left out", |it| drop(it.parts.pop_first())),
        ("a blob left out", |it| {
            it.blobs.pop_first();
        }),
        ("the chain", |it| it.after.chain[3] ^= 1),
        ("a log that there is not", |it| {
            it.declared.push("log-9".to_owned())
        }),
    ];
    for (name, change) in cases {
        let copy = disk.copy();
        let mut said = Contents::decode(&copy.get(&index_of(2))).unwrap();
        change(&mut said);
        copy.put(&index_of(2), said.encode());
        let path = index_of(2);
        let found = check(&copy).unwrap_err();
        let is_it = |found: &StorageError| matches!(found, StorageError::Damaged { path: it, .. } if *it == path);
        assert!(is_it(&found), "{name}: {found}");
        match open(&copy) {
            // It does not fit what comes after, which shows at once.
            Err(error) => {
                let Err(StorageError::Damaged { .. }) = Err::<(), _>(error) else {
                    panic!("{name}");
                };
                copy.delete(&path);
            }
            Ok(storage) => {
                let mut scrub = storage.scrub().unwrap();
                let found = (0..scrub.all()).find_map(|_| scrub.step(&mut |_| {}).err());
                assert!(found.is_some_and(|found| is_it(&found)), "{name}");
            }
        }
        assert!(!indexes(&copy).contains(&path), "{name}: it is gone");
        assert_eq!(
            answers(&mut open_and_read(&copy).unwrap(), &made),
            want,
            "{name}"
        );
        assert_eq!(check(&copy).unwrap().tail, Tail::Clean, "{name}");
    }
}

#[test]
fn an_index_file_of_a_segment_that_is_written_on_is_not_believed() {
    let (disk, _) = small_log(30);
    let last = (1..).take_while(|it| {
        disk.read_all()
            .get(&segment(*it))
            .is_some_and(|it| it[0] != 0)
    });
    let last = last.last().unwrap();
    let stray = index_of(last);
    disk.put(&stray, disk.get(&index_of(1)));
    let found = check(&disk).unwrap_err();
    assert!(matches!(found, StorageError::Unexpected { path } if path == stray));
    open(&disk).unwrap();
    assert!(!indexes(&disk).contains(&stray));
}

#[test]
fn leaves_from_any_place_on_are_shown_as_by_reading_all() {
    let (disk, made) = small_log(40);
    let mut storage = open(&disk).unwrap();
    let mut random = 5;
    for _ in 0..40 {
        let from: BTreeMap<String, u64> = storage
            .logs()
            .into_iter()
            .filter_map(|(log, head)| match next(&mut random) % 4 {
                0 => None,
                _ => Some((log, next(&mut random) % (head.size + 1))),
            })
            .collect();
        let mut found = Vec::new();
        let mut visit = |entry: Entry<'_>| {
            if let Entry::Leaf { .. } = entry {
                found.push(describe(&entry));
            }
            ControlFlow::Continue(())
        };
        storage.replay_from(&from, &mut visit).unwrap();
        let groups = made.concat();
        let want = groups.iter().flat_map(|group| {
            let leaves = group.leaves.iter().zip(group.expected_head.size..);
            let known = from.get(&group.log).copied().unwrap_or(0);
            let leaves = leaves.filter(move |(_, seq)| *seq >= known);
            leaves.map(|(bytes, seq)| {
                let log = &group.log;
                describe(&Entry::Leaf { log, seq, bytes })
            })
        });
        assert_eq!(found, want.collect::<Vec<_>>(), "{from:?}");
    }
}

#[test]
fn who_only_looks_reads_on_from_there_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        segment_bytes: SEGMENT_BYTES_MIN,
    };
    let mut storage = SegmentStorage::open(dir.path(), options).unwrap();
    for nth in 0..60_u32 {
        let log = if nth % 4 == 0 { "two" } else { "one" };
        let group = leaf_group(&storage, log, &[b'x'; 400]);
        storage.append(&[group]).unwrap();
    }
    let from = BTreeMap::from([("one".to_owned(), 40)]);
    let read = |storage: &mut SegmentStorage| {
        let mut leaves = Vec::new();
        let visit = &mut |entry: Entry<'_>| {
            if let Entry::Leaf { log, seq, .. } = entry {
                leaves.push((log.to_owned(), seq));
            }
            ControlFlow::Continue(())
        };
        storage.replay_from(&from, visit).unwrap();
        leaves
    };
    let want = read(&mut storage);
    assert_eq!(want.len(), 5 + 15, "the end of one, all of the other");
    drop(storage);
    let mut looking = SegmentStorage::look(dir.path()).unwrap();
    assert_eq!(read(&mut looking), want);
}
