use proptest::prelude::*;

use super::*;
use crate::evidence::merkle::{Tree, leaf_hash};
use crate::hash::sha256;

const HASHES: TileOf = TileOf::Hashes { level: 0 };

#[test]
fn a_path_names_one_tile_and_each_tile_has_one_path() {
    let of = |level| TileOf::Hashes { level };
    for (path, kind, index, width) in [
        ("tile/0/000", of(0), 0, 256),
        ("tile/0/000.p/1", of(0), 0, 1),
        ("tile/0/255.p/255", of(0), 255, 255),
        ("tile/1/x001/000", of(1), 1_000, 256),
        ("tile/2/x001/x234/067", of(2), 1_234_067, 256),
        ("tile/63/x001/x234/067.p/17", of(63), 1_234_067, 17),
        ("tile/entries/000", TileOf::Entries, 0, 256),
        ("tile/entries/x010/007.p/112", TileOf::Entries, 10_007, 112),
        (
            "tile/0/x018/x446/x744/x073/x709/x551/615",
            of(0),
            u64::MAX,
            256,
        ),
    ] {
        let tile = TilePath::new(kind, index, width).unwrap();
        assert_eq!(path.parse(), Ok(tile), "{path}");
        assert_eq!(tile.to_string(), path);
    }
    assert_eq!(TilePath::new(HASHES, 0, 0), None, "an empty tile");
    assert_eq!(TilePath::new(HASHES, 0, 257), None, "a wide tile");
    assert_eq!(TilePath::new(of(64), 0, 1), None, "a level that is none");
}

#[test]
fn another_spelling_is_refused_with_what_is_wrong_in_it() {
    use TilePathError::*;
    for (path, why) in [
        ("", Shape),
        ("tile", Shape),
        ("tile/", Shape),
        ("tile/0", Shape),
        ("/tile/0/000", Shape),
        ("Tile/0/000", Shape),
        ("tile//000", Level),
        ("tile/00/000", Level),
        ("tile/+1/000", Level),
        ("tile/-1/000", Level),
        ("tile/64/000", Level),
        ("tile/256/000", Level),
        ("tile/data/000", Level),
        ("tile/8/0/000", Group(1)),
        ("tile/0/", Group(1)),
        ("tile/0/0", Group(1)),
        ("tile/0/0000", Group(1)),
        ("tile/0/x000", Group(1)),
        ("tile/0/+12", Group(1)),
        ("tile/0/0٣", Group(1)),
        ("tile/0/..", Group(1)),
        ("tile/0/001/000", Group(1)),
        ("tile/0/x1/000", Group(1)),
        ("tile/0/X001/000", Group(1)),
        ("tile/0/xx01/000", Group(1)),
        ("tile/0/x001/x000", Group(2)),
        ("tile/0/x001//000", Group(2)),
        ("tile/0/x001/000/", Group(2)),
        ("tile/0/000%2f", Group(1)),
        ("tile/0/x000/001", LeadingZeros),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", IndexTooLarge),
        ("tile/0/x999/x999/x999/x999/x999/x999/999", IndexTooLarge),
        ("tile/0/000.p", Group(1)),
        ("tile/0/000.p/", Width),
        ("tile/0/000.p/0", Width),
        ("tile/0/000.p/01", Width),
        ("tile/0/000.p/256", Width),
        ("tile/0/000.p/65537", Width),
        ("tile/0/000.p/1/", Width),
        ("tile/0/000.p/+1", Width),
        ("tile/0/000.p/1.p/1", Width),
        ("tile/0/.p/1", Group(1)),
    ] {
        assert_eq!(path.parse::<TilePath>(), Err(why), "{path}");
    }
    let long = format!("tile/0/{}000", "x001/".repeat(1_000));
    assert_eq!(long.parse::<TilePath>(), Err(TooLong(long.len())));
}

fn tree(leaves: u64) -> Tree {
    let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
    (0..leaves).map(leaf).collect()
}

fn tile(tree: &Tree, level: u8, index: u64, width: u16) -> Option<Vec<u8>> {
    tree.tile(&TilePath::new(TileOf::Hashes { level }, index, width).unwrap())
}

/// What the specification says of a tree of 70,000 leaves.
#[test]
fn a_tree_has_the_tiles_of_its_size_and_no_others() {
    let tree = tree(70_000);
    for (level, index, widest) in [
        (0, 0, 256),
        (0, 272, 256),
        (0, 273, 112),
        (1, 0, 256),
        (1, 1, 17),
        (2, 0, 1),
    ] {
        let whole = tile(&tree, level, index, widest).unwrap();
        assert_eq!(whole.len(), usize::from(widest) * 32);
        for width in 1..=TILE_WIDTH {
            let found = tile(&tree, level, index, width);
            // Any width that the tree has had, and none to come.
            let want = (width <= widest).then(|| whole[..usize::from(width) * 32].to_vec());
            assert_eq!(found, want, "{level}/{index}.p/{width}");
        }
    }
    for (level, index) in [
        (0, 274),
        (0, u64::MAX),
        (1, 2),
        (2, 1),
        (3, 0),
        (8, 0),
        (63, 0),
    ] {
        assert_eq!(tile(&tree, level, index, 1), None, "{level}/{index}");
    }
    let entries = TilePath::new(TileOf::Entries, 0, 1).unwrap();
    assert_eq!(tree.tile(&entries), None, "leaves are not in the tree");
}

#[test]
fn a_hash_of_a_tile_is_the_root_over_the_full_tile_below() {
    let tree = tree(600);
    let above = tile(&tree, 1, 0, 2).unwrap();
    for (index, root) in above.chunks(32).enumerate() {
        let mut row: Vec<[u8; 32]> = tile(&tree, 0, index as u64, 256)
            .unwrap()
            .chunks(32)
            .map(|hash| hash.try_into().unwrap())
            .collect();
        while row.len() > 1 {
            row = (row.chunks(2))
                .map(|pair| sha256(&[&[1], &pair[0], &pair[1]]))
                .collect();
        }
        assert_eq!(row[0], root, "{index}");
    }
    assert_eq!(tile(&tree, 0, 0, 1).unwrap(), leaf_hash(&[0; 8]).as_bytes());
}

#[test]
fn a_bundle_is_each_leaf_behind_its_length() {
    let long = vec![b'x'; usize::from(u16::MAX)];
    let mut bundle = Vec::new();
    for leaf in [&b"ab"[..], b"", &long] {
        assert!(push_entry(&mut bundle, leaf));
    }
    let start = [0, 2, b'a', b'b', 0, 0, 0xff, 0xff, b'x'];
    assert_eq!(bundle[..start.len()], start);
    assert_eq!(entries(&bundle), Some(vec![&b"ab"[..], b"", &long]));
    assert_eq!(entries(&[]), Some(vec![]));
    for cut in [&bundle[..1], &bundle[..3], &bundle[..bundle.len() - 1]] {
        assert_eq!(entries(cut), None, "{} bytes", cut.len());
    }
    let before = bundle.clone();
    assert!(!push_entry(&mut bundle, &[0; 1 << 16]), "no length for it");
    assert_eq!(bundle, before);
}

proptest! {
    #[test]
    fn every_tile_is_read_back_from_its_path(
        level in proptest::option::of(0..=LEVEL_MAX), index: u64, shift in 0_u32..64, width in 1..=TILE_WIDTH,
    ) {
        let of = level.map_or(TileOf::Entries, |level| TileOf::Hashes { level });
        let tile = TilePath::new(of, index >> shift, width).unwrap();
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn what_is_read_is_printed_as_it_was(path in "tile/([0-9]{1,2}|entries)(/x?[0-9]{1,4}){1,3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(path in ".{0,80}") {
        if let Ok(tile) = path.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }
}
