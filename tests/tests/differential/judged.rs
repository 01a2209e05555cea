//! What the evidence says was permitted: actions as they were judged, opened with the keys of their texts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use actpass_core::action::{Action, Hints};
use actpass_core::canonical;
use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_core::evidence::record::{Body, OutcomeResult};
use actpass_core::hash::sha256;
use actpass_ledger::storage::{Entry, MemoryStorage, Storage};
use actpass_ledger::vault::{Kek, Vault};
use actpass_tests::parts::Parts;

/// An action that was permitted.
pub(crate) struct Permitted {
    /// As it was judged, less what the agent said of itself, of which at most a part travels.
    pub(crate) action: Action,
    /// What became of it.
    pub(crate) result: OutcomeResult,
}

/// All of a log, and how many records say no.
pub(crate) fn permitted(parts: &Parts) -> (Vec<Permitted>, u64) {
    let (leaves, texts) = stored(parts);
    let (kek, _) = Kek::load_or_generate(&parts.dir.path().join("kek")).unwrap();
    let vault = Vault::open(&parts.dir.path().join("vault"), kek).unwrap();
    let (mut found, mut outcomes, mut denied) = (Vec::new(), BTreeMap::new(), 0);
    for leaf in &leaves {
        let Some((record, ruling)) = leaf.record() else {
            continue;
        };
        let (judged, permits) = match &record.body {
            Body::Decision(judged) => (judged, judged.verdict == "permit"),
            Body::Intent(judged) => (judged, ruling.verdict == RulingVerdict::Permit),
            Body::Outcome(outcome) => {
                let twice = outcomes.insert((record.stream, outcome.of), outcome.result);
                assert_eq!(twice, None, "{outcome:?} ends once");
                continue;
            }
            Body::Note(_) => continue,
        };
        if !permits {
            denied += judged.count;
            continue;
        }
        // As the ledger seals the openings of a leaf.
        let aad = format!("actpass.side/1\n{}\n{}", leaf.h.log, leaf.h.seq);
        let tenant = leaf.h.log.strip_prefix("actpass/").unwrap();
        let sealed = &texts[&sha256(&[aad.as_bytes()])];
        let opened = vault.open_sealed(tenant, aad.as_bytes(), sealed).unwrap();
        let openings = canonical::from_slice(&opened).unwrap();
        let evidence = judged.action.as_ref().unwrap();
        let mut action = evidence.reveal(&openings).unwrap();
        action.hints = Hints::default();
        found.push(((record.stream, record.seq), action));
    }
    let permitted = found.into_iter().map(|(at, action)| Permitted {
        action,
        result: outcomes[&at],
    });
    (permitted.collect(), denied)
}

type Texts = BTreeMap<[u8; 32], Vec<u8>>;

fn stored(parts: &Parts) -> (Vec<Leaf>, Texts) {
    let (mut leaves, mut texts) = (Vec::new(), BTreeMap::new());
    let mut storage = MemoryStorage::on(parts.disk.clone());
    storage
        .replay(&mut |entry| {
            match entry {
                Entry::Leaf { bytes, .. } => leaves.push(Leaf::parse(bytes).unwrap()),
                Entry::Blob { name, bytes, .. } => {
                    texts.insert(*name, bytes.to_vec());
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    (leaves, texts)
}
