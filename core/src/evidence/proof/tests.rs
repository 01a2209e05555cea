use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::evidence::checkpoint::NoteSigner;
use crate::evidence::leaf::{EventBody, LeafHeader, genesis_prev};
use crate::evidence::merkle::Tree;

const LOG: &str = "actpass/local/default/1";

/// A leaf's bytes, `at` that place of a log.
fn leaf(log: &str, at: u64) -> Vec<u8> {
    let header = LeafHeader {
        log: log.to_owned(),
        prev: genesis_prev(log),
        seq: at,
        time: Timestamp::from_second(1_777_777_777).unwrap(),
    };
    let what = EventBody::Recovery { bytes: at };
    Leaf::of_event(header, what).canonical().unwrap()
}

fn signer(name: &str) -> NoteSigner {
    NoteSigner::new(name, SigningKey::from_bytes(&[7; 32]))
}

/// The proof of leaf `at` among `size`, whose bytes are as `leaf_at` makes them.
fn proof(at: u64, size: u64, leaf_at: impl Fn(u64) -> Vec<u8>) -> TlogProof {
    let tree: Tree = (0..size).map(|at| leaf_hash(&leaf_at(at))).collect();
    let head = Checkpoint {
        origin: LOG.to_owned(),
        size,
        root: tree.root(),
    };
    TlogProof {
        extra: Some(leaf_at(at)),
        index: at,
        path: tree.inclusion(at, size).unwrap(),
        checkpoint: head.sign(&signer(LOG)),
    }
}

fn checked(proof: &TlogProof) -> Result<(Checkpoint, Leaf), LoggedError> {
    let (leaf, verifier) = (proof.extra.as_deref().unwrap(), signer(LOG).verifier());
    logged(leaf, proof.index, &proof.path, &proof.checkpoint, &verifier)
}

#[test]
fn the_text_is_that_of_the_specification() {
    let text = "c2sp.org/tlog-proof@v1\n\
        extra aGVsbG8=\n\
        index 2\n\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
        AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
        \n\
        example.com/log\n3\nroot\n\n\u{2014} example.com/log sig=\n";
    let proof = TlogProof {
        extra: Some(b"hello".to_vec()),
        index: 2,
        path: vec![[0; 32], [1; 32]],
        checkpoint: "example.com/log\n3\nroot\n\n\u{2014} example.com/log sig=\n".to_owned(),
    };
    assert_eq!(proof.to_string(), text);
    assert_eq!(text.parse(), Ok(proof));
}

#[test]
fn what_is_not_such_a_text_is_refused_with_what_is_wrong() {
    use TlogProofError::*;
    let whole = proof(2, 3, |at| leaf(LOG, at)).to_string();
    let changed = |from: &str, to: &str| whole.replacen(from, to, 1);
    let hashes = format!("index 2\n{}", format!("{}=\n", "A".repeat(43)).repeat(65));
    for (text, why) in [
        (String::new(), Version),
        (changed("proof@v1", "proof@v2"), Version),
        (changed("proof@v1\n", "proof@v1\r\n"), Version),
        (changed("\n\n", "\n"), Hash(2)),
        (changed("index", "Index"), Index),
        (changed("index 2", "index 02"), Index),
        (changed("index 2", "index +2"), Index),
        (changed("index 2", "index -2"), Index),
        (changed("index 2", "index 18446744073709551616"), Index),
        (changed("extra ", "extra \u{a0}"), Extra),
        (changed("extra ", "extra x"), Extra),
        (changed("extra ", "more "), Index),
        (changed("index 2\n", "index 2\nAAAA\n"), Hash(1)),
        (changed("index 2\n", &hashes), TooManyHashes),
        ("c2sp.org/tlog-proof@v1\nindex 0\n".to_owned(), NoCheckpoint),
        ("x".repeat(TLOG_PROOF_BYTES_MAX + 1), TooLong),
    ] {
        assert_eq!(text.parse::<TlogProof>(), Err(why), "{text}");
    }
}

#[test]
fn a_leaf_is_logged_where_everything_about_it_holds() {
    let good = proof(2, 3, |at| leaf(LOG, at));
    let (head, found) = checked(&good).unwrap();
    assert_eq!((head.size, found.h.seq), (3, 2));
    let other = |change: &dyn Fn(&mut TlogProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        checked(&proof).unwrap_err()
    };
    let inclusion = |why: &LoggedError| matches!(why, LoggedError::Inclusion(_));
    assert!(inclusion(&other(&|it| it.extra = Some(leaf(LOG, 1)))));
    assert!(inclusion(&other(&|it| it.index = 1)));
    assert!(inclusion(&other(&|it| it.index = 3)));
    assert!(inclusion(&other(&|it| it.path.clear())));
    let checkpoint = |it: &mut TlogProof| it.checkpoint = it.checkpoint.replacen('3', "4", 1);
    assert!(matches!(other(&checkpoint), LoggedError::Checkpoint(_)));
    // In the tree, and no leaf of it.
    let strange = proof(0, 1, |_| b"{}".to_vec());
    assert!(matches!(checked(&strange), Err(LoggedError::Leaf(_))));
    let elsewhere = proof(1, 3, |at| leaf("actpass/local/default/2", at));
    assert_eq!(checked(&elsewhere).unwrap_err(), LoggedError::Place);
    let moved = proof(1, 3, |at| leaf(LOG, 2 - at + 1));
    assert_eq!(checked(&moved).unwrap_err(), LoggedError::Place);
}

proptest! {
    #[test]
    fn every_proof_is_read_back_from_its_text(
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..99)), index: u64,
        path in proptest::collection::vec(any::<[u8; 32]>(), 0..HASHES_MAX),
        checkpoint in "[a-z]{1,9}\n[0-9]{1,9}\n[A-Za-z0-9]{4}\n\n— [a-z]{1,9} [A-Za-z]{4}\n",
    ) {
        let proof = TlogProof { extra, index, path, checkpoint };
        prop_assert_eq!(proof.to_string().parse(), Ok(proof));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(c2sp.org/tlog-proof@v1\n)?(extra [a-z]{0,9}=?\n)?(index [0-9]{0,3}\n)?[^ ]{0,50}\n\n.{0,9}") {
        if let Ok(proof) = text.parse::<TlogProof>() {
            prop_assert_eq!(proof.to_string(), text);
        }
    }

    #[test]
    fn no_changed_byte_of_a_proof_holds(at: prop::sample::Index, bit in 0_u32..7) {
        let whole = proof(5, 9, |at| leaf(LOG, at));
        let mut text = whole.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        let Ok(changed) = String::from_utf8(text) else { return Ok(()) };
        // A line by another key, such as a witness's, is passed over; one that was ours is missed.
        if let Ok(proof) = changed.parse::<TlogProof>() {
            prop_assert!(proof.extra.is_none() || checked(&proof).is_err(), "{changed}");
        }
    }
}
