use super::*;

fn some() -> Contents {
    let before = Mark {
        groups: 7,
        chain: [1; 32],
    };
    let mut contents = Contents::begin(3, 8192, before, 2);
    contents.store = [9; 16];
    contents.after = Mark {
        groups: 12,
        chain: [2; 32],
    };
    contents.declared = vec!["a".to_owned(), "actpass/é".to_owned()];
    contents.blobs_written = 41;
    for (log, first, leaves) in [(0, 100, 3), (3, 0, 300)] {
        let leaves = (0..leaves).map(|nth| (nth * 64, [nth as u8; 32])).collect();
        contents.parts.insert(log, Part { first, leaves });
    }
    for nth in 0_u32..40 {
        contents.blobs.insert(hashed(nth), nth * 8);
    }
    contents
}

fn hashed(nth: u32) -> [u8; 32] {
    crate::storage::leaf_hash(&nth.to_le_bytes())
}

#[test]
fn an_index_file_says_what_the_segment_holds() {
    let contents = some();
    let bytes = contents.encode();
    assert_eq!(Contents::decode(&bytes), Some(contents.clone()));
    let summary = Summary::decode(&bytes).unwrap();
    assert_eq!(Some(&summary), contents.summary().as_ref());
    let head = Summary::head_bytes(&bytes[..FIXED_BYTES]).unwrap();
    assert_eq!(Summary::decode(&bytes[..head]), Some(summary.clone()));
    let extents: Vec<_> = summary
        .parts
        .iter()
        .map(|it| (it.log, it.first, it.leaves, it.head[0]))
        .collect();
    assert_eq!(extents, [(0, 100, 3, 2), (3, 0, 300, 43)]);
    assert_eq!(
        contents.leaves(0, 101, 200),
        &[(64, [1; 32]), (128, [2; 32])]
    );
    assert_eq!(contents.leaves(0, 99, 200), &[]);
    assert_eq!(contents.leaves(1, 0, 1), &[]);
}

#[test]
fn each_flipped_bit_and_each_cut_of_an_index_file_is_found() {
    let bytes = some().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(Contents::decode(&flipped), None, "byte {at} bit {bit}");
        }
        assert_eq!(Contents::decode(&bytes[..at]), None, "cut at {at}");
    }
    assert_eq!(Contents::decode(&[&bytes[..], &[0]].concat()), None);
}

#[test]
fn the_filter_has_every_name_and_few_others() {
    let filter = some().summary().unwrap().filter;
    assert!((0..40).all(|nth| filter.may_have(&hashed(nth))));
    let others = (40..1_040).filter(|nth| filter.may_have(&hashed(*nth)));
    assert!(others.count() < 50);
    let none = Contents::begin(1, 8192, Mark::default(), 0).summary();
    assert!(!none.unwrap().filter.may_have(&hashed(1)));
}
