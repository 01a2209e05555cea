//! Vectors of a log whose key changes twice.

use actpass_core::evidence::checkpoint::{NoteSigner, NoteVerifier};
use actpass_core::evidence::log_keys::vouch;
use actpass_tests::exported::{Exported, set};
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::edits::with_leaf;
use super::logs::{keys, rotated};
use super::vectors::{VALID, Vector, vector, wrong};

fn seeded(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn named(seed: u8) -> NoteVerifier {
    let origin = rotated().signer().name().to_owned();
    NoteSigner::new(origin, seeded(seed)).verifier()
}

/// The log with another checkpoint: over so many leaves, by the key of that seed.
fn signed(seed: u8, size: u64) -> Vec<u8> {
    let log = rotated();
    let mut export = Exported::parse(&log.exported(None).unwrap()).unwrap();
    export.checkpoint = Some(log.checkpoint_by(seed, size).unwrap());
    export.bytes().unwrap()
}

/// The log in whose leaf 7 the key of `vouching` signs for that of `next`, which signs the rest.
fn followed(vouching: u8, next: u8) -> Vec<u8> {
    let mut export = Exported::parse(&rotated().exported(None).unwrap()).unwrap();
    with_leaf(&mut export, 7, &keys(), |leaf| {
        set(leaf, "/r/body/key", json!(named(next).to_vkey()));
        let by = vouch(&seeded(vouching), &named(next));
        set(leaf, "/r/body/by", json!(by));
    });
    export.sign(&seeded(next)).unwrap();
    export.bytes().unwrap()
}

pub(super) fn vectors() -> Vec<Vector> {
    let held = |name, about, key, anchor, verdict| Vector {
        key,
        anchor,
        ..vector(name, about, signed(202, 10), verdict)
    };
    let (first, second) = (Some("log.vkey"), Some("second.vkey"));
    vec![
        held(
            "rotated.jsonl",
            "ten leaves; another key signs from leaf 3 on, and another from leaf 7 on",
            None,
            None,
            VALID,
        ),
        held(
            "rotated_first.jsonl",
            "the same, held against the first key and an anchor by the second",
            first,
            Some("second.txt"),
            VALID,
        ),
        held(
            "rotated_second.jsonl",
            "the same, held against the second key and an anchor by the first",
            second,
            Some("first.txt"),
            VALID,
        ),
        held(
            "rotated_other.jsonl",
            "the same, held against a key that is none of its keys",
            Some("fourth.vkey"),
            None,
            wrong(0),
        ),
        held(
            "rotated_late.jsonl",
            "the same, and an anchor of five leaves by the first key, which is over after three",
            None,
            Some("late.txt"),
            wrong(4),
        ),
        held(
            "rotated_early.jsonl",
            "the same, and an anchor of five leaves by the third key, which begins after seven",
            None,
            Some("early.txt"),
            wrong(4),
        ),
        vector(
            "rotated_old.jsonl",
            "its checkpoint is signed by the second key",
            signed(201, 10),
            wrong(9),
        ),
        vector(
            "rotated_oldest.jsonl",
            "its checkpoint is signed by the first key",
            signed(200, 10),
            wrong(9),
        ),
        vector(
            "rotated_unannounced.jsonl",
            "its checkpoint is signed by a key that no leaf announces",
            signed(203, 10),
            wrong(9),
        ),
        vector(
            "rotated_order.jsonl",
            "the first key signs for the third, and the second is in force",
            followed(200, 202),
            wrong(7),
        ),
        vector(
            "rotated_itself.jsonl",
            "the third key signs for itself",
            followed(202, 202),
            wrong(7),
        ),
        vector(
            "rotated_back.jsonl",
            "the second key signs for the first, which was in force before",
            followed(201, 200),
            wrong(7),
        ),
    ]
}

/// What they are held against.
pub(super) fn beside() -> Vec<(String, Vec<u8>)> {
    let key = |name: &'static str, seed| (name, format!("{}\n", named(seed).to_vkey()));
    let log = rotated();
    let anchor = |name, seed, size| (name, log.checkpoint_by(seed, size).unwrap());
    let files = [
        key("second.vkey", 201),
        key("fourth.vkey", 203),
        anchor("first.txt", 200, 3),
        anchor("second.txt", 201, 5),
        anchor("late.txt", 200, 5),
        anchor("early.txt", 202, 5),
    ];
    let bytes = |(name, text): (&str, String)| (name.to_owned(), text.into_bytes());
    files.into_iter().map(bytes).collect()
}
