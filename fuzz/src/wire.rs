//! Records, leaves, and the lines that sidecar and ledger exchange.

use actpass_core::canonical;
use actpass_core::evidence::leaf::{FIELD_BYTES_MAX, Leaf};
use actpass_core::evidence::record::{RECORD_BYTES_MAX, Record, verify_batch};
use actpass_core::hash::RecordHash;
use actpass_core::wire::{AnswerEnd, AnswerLine, BatchEnd, OpenStream, RecordLine, StreamOpened};
use ed25519_dalek::SigningKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The parts of a leaf, each with its choices.
const PARTS: [&[&str]; 5] = [
    &[
        "",
        r#""d":{"verdict":"recorded"},"#,
        r#""d":{"reason":"r","verdict":"deny"},"#,
    ],
    &[
        r#""h":{"log":"l","prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":0,"time":"2026-11-21T09:00:00.000000Z"},"#,
    ],
    &[
        r#""r":{"body":{"bytes":12},"kind":"recovery","v":"actpass.event/1"},"#,
        r#""r":{"body":{"note":"n","text":"t"},"kind":"note","prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":0,"stream":"0000000000000000000000000000000000000000000000000000000000000000","time":"2026-11-21T09:00:00.000000Z","v":"actpass.record/1"},"#,
    ],
    &["", r#""s":"AA","#],
    &[r#""v":"actpass.leaf/1""#, r#""v":"actpass.leaf/2""#],
];

/// Input: one of the things below; or a zero, then for each part of a leaf the number of its choice.
///
/// - A record or leaf that is read is written back as the very same bytes: nothing is lost, no second spelling exists.
/// - A line that is read is written back as a line that is read as the same.
/// - A record has a ruling and an event has neither ruling nor batch signature.
/// - Nothing made up here passes for a batch signature.
pub(crate) fn run(data: &[u8]) {
    if let Some((0, numbers)) = data.split_first() {
        let part = |(choices, number): (&&[&'static str], &u8)| {
            choices[usize::from(*number) % choices.len()]
        };
        let parts: String = PARTS.iter().zip(numbers).map(part).collect();
        return run(format!("{{{parts}}}").as_bytes());
    }
    if let Ok(record) = Record::parse(data) {
        assert!(data.len() <= RECORD_BYTES_MAX);
        assert_eq!(record.canonical().as_deref(), Ok(data));
        assert_eq!(record.hash(), Ok(Record::hash_of(data)));
    }
    if let Ok(leaf) = Leaf::parse(data) {
        match leaf.event() {
            Some(_) => assert!(
                leaf.d.is_none() && leaf.s.is_none(),
                "an event is not signed by a sidecar"
            ),
            None => assert!(leaf.record().is_some()),
        }
        assert_eq!(leaf.canonical().as_deref(), Ok(data));
        assert!(
            leaf.s
                .is_none_or(|signature| signature.len() <= FIELD_BYTES_MAX)
        );
    }
    round_trip::<RecordLine>(data);
    round_trip::<AnswerLine>(data);
    round_trip::<AnswerEnd>(data);
    round_trip::<OpenStream>(data);
    round_trip::<StreamOpened>(data);
    if let Some(end) = round_trip::<BatchEnd>(data) {
        let key = SigningKey::from_bytes(&[9; 32]).verifying_key();
        assert!(verify_batch(&key, &RecordHash::from_bytes([1; 32]), &end.s).is_err());
    }
}

fn round_trip<T: DeserializeOwned + Serialize>(data: &[u8]) -> Option<T> {
    let line: T = canonical::from_slice(data).ok()?;
    let written = canonical::to_vec(&line).expect("what was read can be written");
    let again: T = canonical::from_slice_exact(&written).expect("what was written can be read");
    assert_eq!(canonical::to_vec(&again).as_deref(), Ok(written.as_slice()));
    Some(line)
}
