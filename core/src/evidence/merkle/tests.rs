use proptest::prelude::*;

use super::*;
use crate::hash::hex;

/// MTH of RFC 6962 section 2.1, word for word.
fn naive_root(leaves: &[LeafHash]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf.as_bytes(),
        _ => {
            let (left, right) = leaves.split_at(naive_split(leaves.len()));
            sha256(&[&[1], &naive_root(left), &naive_root(right)])
        }
    }
}

/// PATH of RFC 6962 section 2.1.1.
fn naive_path(index: usize, leaves: &[LeafHash]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(other);
    path
}

/// SUBPROOF of RFC 6962 section 2.1.2.
fn naive_subproof(old: usize, leaves: &[LeafHash], known: bool) -> Vec<[u8; 32]> {
    if old == leaves.len() {
        return if known {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let (mut proof, other) = if old <= left.len() {
        (naive_subproof(old, left, known), naive_root(right))
    } else {
        (
            naive_subproof(old - left.len(), right, false),
            naive_root(left),
        )
    };
    proof.push(other);
    proof
}

/// Largest power of two below `length`.
fn naive_split(length: usize) -> usize {
    (0..)
        .map(|power| 1 << power)
        .take_while(|split| *split < length)
        .last()
        .unwrap()
}

fn leaves(count: u64) -> Vec<LeafHash> {
    (0..count)
        .map(|index| leaf_hash(&index.to_be_bytes()))
        .collect()
}

fn tree(count: u64) -> Tree {
    leaves(count).into_iter().collect()
}

/// The inputs and roots that Certificate Transparency's implementations share as reference.
#[test]
fn roots_are_those_of_certificate_transparency() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::new();
    assert_eq!(
        tree.root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (size, (input, root)) in inputs.into_iter().zip(roots).enumerate() {
        tree.push(leaf_hash(input));
        assert_eq!(
            (tree.size(), tree.root().to_string().as_str()),
            (size as u64 + 1, root)
        );
    }
}

#[test]
fn roots_and_proofs_are_those_of_the_definition() {
    let all = leaves(70);
    let tree = tree(70);
    for size in 0..=70_u64 {
        let some = &all[..size as usize];
        let root = TreeRoot::from_bytes(naive_root(some));
        assert_eq!(tree.root_at(size), Some(root), "root at {size}");
        for index in 0..size {
            let proof = naive_path(index as usize, some);
            assert_eq!(
                tree.inclusion(index, size).as_ref(),
                Some(&proof),
                "leaf {index} of {size}"
            );
            assert_eq!(
                verify_inclusion(all[index as usize], index, size, &proof, root),
                Ok(()),
                "leaf {index} of {size}"
            );
        }
        for old in 1..size {
            let proof = naive_subproof(old as usize, some, true);
            let old_root = tree.root_at(old).unwrap();
            assert_eq!(
                tree.consistency(old, size).as_ref(),
                Some(&proof),
                "{old} to {size}"
            );
            assert_eq!(
                verify_consistency(old, old_root, size, root, &proof),
                Ok(()),
                "{old} to {size}"
            );
        }
    }
}

#[test]
fn what_the_tree_does_not_have_it_does_not_prove() {
    let tree = tree(5);
    assert_eq!(tree.leaf(4), Some(leaves(5)[4]));
    assert_eq!(tree.leaf(5), None);
    assert_eq!(tree.root_at(6), None);
    assert_eq!(tree.inclusion(5, 5), None);
    assert_eq!(tree.inclusion(0, 6), None);
    assert_eq!(tree.inclusion(0, 0), None);
    assert_eq!(tree.inclusion(u64::MAX, u64::MAX), None);
    assert_eq!(tree.consistency(3, 6), None);
    assert_eq!(tree.consistency(4, 3), None);
    assert_eq!(tree.consistency(0, 5), Some(vec![]));
    assert_eq!(tree.consistency(5, 5), Some(vec![]));
}

#[test]
fn equal_and_empty_trees_are_consistent_without_proof() {
    let root = |size| tree(5).root_at(size).unwrap();
    let some = [[7; 32]];
    assert_eq!(verify_consistency(0, root(0), 0, root(0), &[]), Ok(()));
    assert_eq!(verify_consistency(0, root(0), 5, root(5), &[]), Ok(()));
    assert_eq!(verify_consistency(5, root(5), 5, root(5), &[]), Ok(()));
    assert_eq!(
        verify_consistency(5, root(5), 5, root(4), &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(0, root(1), 5, root(5), &[]),
        Err(ProofError::OldRoot)
    );
    assert_eq!(
        verify_consistency(0, root(0), 0, root(1), &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(5, root(5), 4, root(4), &[]),
        Err(ProofError::Shrunk { old: 5, new: 4 })
    );
    assert_eq!(
        verify_consistency(5, root(5), 5, root(5), &some),
        Err(ProofError::Length { found: 1 })
    );
    assert_eq!(
        verify_consistency(0, root(0), 5, root(5), &some),
        Err(ProofError::Length { found: 1 })
    );
    assert_eq!(
        verify_consistency(3, root(3), 5, root(5), &[]),
        Err(ProofError::Length { found: 0 })
    );
    assert_eq!(
        verify_inclusion(leaves(1)[0], 0, 0, &[], root(0)),
        Err(ProofError::IndexBeyondSize { index: 0, size: 0 })
    );
}

/// A proof with each single bit of interest changed: any hash, one hash fewer, one more.
fn mutations(proof: &[[u8; 32]]) -> Vec<Vec<[u8; 32]>> {
    let mut found = vec![[proof, &[[0; 32]]].concat(), [&[[0; 32]], proof].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][at % 32] ^= 1 << (at % 8);
        found.push(flipped);
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        found.push(shorter);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            found.push(swapped);
        }
    }
    found
}

#[test]
fn no_changed_proof_holds() {
    let all = leaves(40);
    let tree = tree(40);
    for size in 1..=40_u64 {
        let root = tree.root_at(size).unwrap();
        for index in 0..size {
            let leaf = all[index as usize];
            let proof = tree.inclusion(index, size).unwrap();
            for wrong in mutations(&proof) {
                assert!(
                    verify_inclusion(leaf, index, size, &wrong, root).is_err(),
                    "leaf {index} of {size}"
                );
            }
            for other in (0..size).filter(|other| *other != index) {
                assert!(
                    verify_inclusion(leaf, other, size, &proof, root).is_err(),
                    "{index} as {other} of {size}"
                );
                assert!(
                    verify_inclusion(all[other as usize], index, size, &proof, root).is_err(),
                    "{other} for {index}"
                );
            }
            assert!(
                verify_inclusion(leaf, index, size, &proof, tree.root_at(size - 1).unwrap())
                    .is_err()
            );
        }
        for old in 1..size {
            let old_root = tree.root_at(old).unwrap();
            let proof = tree.consistency(old, size).unwrap();
            for wrong in mutations(&proof) {
                assert!(
                    verify_consistency(old, old_root, size, root, &wrong).is_err(),
                    "{old} to {size}"
                );
            }
            assert!(
                verify_consistency(old, root, size, root, &proof).is_err(),
                "{old} to {size}"
            );
            assert!(
                verify_consistency(old, old_root, size, old_root, &proof).is_err(),
                "{old} to {size}"
            );
            for other in (1..size).filter(|other| *other != old) {
                assert!(
                    verify_consistency(other, old_root, size, root, &proof).is_err(),
                    "{other} for {old} to {size}"
                );
            }
        }
    }
}

#[test]
fn a_leaf_is_hashed_apart_from_a_node() {
    let leaf = leaf_hash(b"abc");
    assert_eq!(hex(leaf.as_bytes()), hex(&sha256(&[b"\0abc"])));
    let (left, right) = (leaves(2)[0], leaves(2)[1]);
    let pair = [left.as_bytes().as_slice(), right.as_bytes()].concat();
    assert_ne!(tree(2).root().as_bytes(), leaf_hash(&pair).as_bytes());
}

proptest! {
    #[test]
    fn no_numbers_or_proofs_panic(a: u64, b: u64, proof in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let (leaf, root) = (LeafHash::from_bytes([1; 32]), TreeRoot::from_bytes([2; 32]));
        prop_assert!(verify_inclusion(leaf, a, b, &proof, root).is_err());
        prop_assert!(verify_consistency(a, root, b, TreeRoot::from_bytes([3; 32]), &proof).is_err());
    }

    #[test]
    fn bigger_trees_prove_too(size in 1_u64..3000, old: prop::sample::Index, index: prop::sample::Index) {
        let all = leaves(size);
        let tree: Tree = all.iter().copied().collect();
        prop_assert_eq!(tree.root(), TreeRoot::from_bytes(naive_root(&all)));
        let old = old.index(size as usize) as u64 + 1;
        let index = index.index(old as usize) as u64;
        let (root, old_root) = (tree.root(), tree.root_at(old).unwrap());
        let path = tree.inclusion(index, old).unwrap();
        prop_assert_eq!(verify_inclusion(all[index as usize], index, old, &path, old_root), Ok(()));
        prop_assert_eq!(verify_consistency(old, old_root, size, root, &tree.consistency(old, size).unwrap()), Ok(()));
    }
}

#[test]
fn a_tree_that_goes_back_is_the_tree_that_it_was() {
    for size in 0..70 {
        for back in 0..=size + 1 {
            let mut gone_back = tree(size);
            gone_back.truncate(back);
            assert_eq!(gone_back, tree(back.min(size)), "from {size} to {back}");
            leaves(size)
                .into_iter()
                .skip(usize::try_from(back).unwrap())
                .for_each(|leaf| gone_back.push(leaf));
            assert_eq!(gone_back, tree(size), "from {size} to {back} and on");
        }
    }
}

/// All leaves of a tree, as whoever reads them beside it.
struct All(Vec<LeafHash>);

impl LeafHashes for All {
    fn leaf_hashes(&self, leaves: Range<u64>) -> Option<Vec<LeafHash>> {
        let range = usize::try_from(leaves.start).ok()?..usize::try_from(leaves.end).ok()?;
        Some(self.0.get(range)?.to_vec())
    }
}

#[test]
fn a_tree_that_forgot_leaves_answers_as_one_that_keeps_them() {
    let all: Vec<LeafHash> = (0_u32..1_500)
        .map(|nth| leaf_hash(&nth.to_le_bytes()))
        .collect();
    for (size, forgets) in [
        (1_500, 1_500),
        (1_500, 512),
        (1_024, 1_024),
        (300, 300),
        (200, 200),
        (0, 0),
    ] {
        let kept: Tree = all[..size].iter().copied().collect();
        let source: Arc<dyn LeafHashes> = Arc::new(All(all.clone()));
        let mut forgot = kept.clone();
        forgot.forget(forgets, source.clone());
        let edge = kept.edge().iter().copied().map(LeafHash::from_bytes);
        let restored = Tree::of_tiles(kept.tiles(), edge, source.clone());
        for mut tree in [forgot, restored] {
            let case = format!("{size} leaves, {} forgotten", tree.forgotten());
            assert_eq!(tree.size(), kept.size(), "{case}");
            assert_eq!(
                (tree.tiles(), tree.edge()),
                (kept.tiles(), kept.edge()),
                "{case}"
            );
            for at in (0..=size as u64)
                .step_by(61)
                .chain([255, 256, 257, 512, 1_500])
            {
                assert_eq!(tree.root_at(at), kept.root_at(at), "{case}, root at {at}");
                assert_eq!(tree.leaf(at), kept.leaf(at), "{case}, leaf {at}");
                assert_eq!(
                    tree.inclusion(at, size as u64),
                    kept.inclusion(at, size as u64),
                    "{case}"
                );
                assert_eq!(
                    tree.consistency(at, size as u64),
                    kept.consistency(at, size as u64),
                    "{case}"
                );
                assert_eq!(tree.leaves(at / 2..at), kept.leaves(at / 2..at), "{case}");
            }
            for (level, index) in [(0, 0), (0, 1), (0, 4), (0, 5), (1, 0)] {
                for width in [1, 5, 188, 220, 256] {
                    let path = TilePath::new(TileOf::Hashes { level }, index, width).unwrap();
                    assert_eq!(tree.tile(&path), kept.tile(&path), "{case}, {path}");
                }
            }
            let mut grown = kept.clone();
            for leaf in &all {
                tree.push(*leaf);
                grown.push(*leaf);
            }
            assert_eq!(tree.root(), grown.root(), "{case}, grown");
            let back = size as u64 + 7;
            tree.truncate(back);
            grown.truncate(back);
            assert_eq!(
                (tree.size(), tree.root()),
                (back, grown.root()),
                "{case}, cut"
            );
            let forgotten = tree.forgotten();
            if forgotten > 0 {
                tree.truncate(forgotten - 1);
                assert_eq!(tree.size(), back, "what is forgotten does not come back");
            }
        }
    }
}

#[test]
fn a_wrong_hash_of_a_forgotten_leaf_is_not_told() {
    let all: Vec<LeafHash> = (0_u32..600)
        .map(|nth| leaf_hash(&nth.to_le_bytes()))
        .collect();
    let mut tree: Tree = all.iter().copied().collect();
    let mut wrong = all.clone();
    wrong[300] = all[301];
    tree.forget(512, Arc::new(All(wrong)));
    assert_eq!(tree.leaf(299), None);
    assert_eq!(tree.inclusion(400, 600), None);
    assert_eq!(tree.leaf(10), Some(all[10]));
    assert_eq!(tree.leaf(599), Some(all[599]));
    tree.forget(512, Arc::new(All(Vec::new())));
    assert_eq!(tree.forgotten(), 512);
}
