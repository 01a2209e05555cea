//! What lies beside the leaves, changed by someone who writes checksums and chain too: each leaf commits to it.

use std::fs;

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_ledger::storage::{Blob, BlobKind};
use actpass_tests::home::{Home, text};
use serde_json::Value;

use super::state::{copied, elsewhere, says};
use super::{LOGS, Stored, log_dir};

/// Rewrites the log of a copy with its blobs changed, or left out where `change` says so.
fn with_blobs(home: &Home, change: impl Fn(&mut Blob) -> bool) -> Home {
    let copy = copied(home);
    let mut stored = Stored::read(&log_dir(&copy));
    let mut changed = 0;
    stored.blobs.retain_mut(|blob| {
        let before = blob.bytes.clone();
        let kept = change(blob);
        changed += u32::from(!kept || before != blob.bytes);
        kept
    });
    assert!(changed > 0, "something was changed");
    fs::remove_dir_all(log_dir(&copy)).unwrap();
    stored.write(&log_dir(&copy));
    copy
}

fn garble(blob: &mut Blob) {
    blob.bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
}

/// A home in which one payment waits for people; some requests that no rule knows are on record too, equal ones as one.
fn asked() -> Home {
    let home = copied(LOGS.last().unwrap());
    let policy = fs::read_to_string(home.path().join("policy.yaml")).unwrap();
    let asks = "decision: RequireApproval, approval: {groups: [finance], expiresAfterSeconds: 600}";
    let policy = policy.replace("decision: Allow, allowIrreversible: true", asks);
    assert!(policy.contains(asks));
    home.write("policy.yaml", &policy).unwrap();
    let script = "for i in 1 2 3; do curl -sS -m 10 https://api.payments.example/v1/none?q=$i; done
        for i in 1 2 3; do curl -sS -m 10 https://api.payments.example/v1/none; done
        curl -sS -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' \
          -d '{\"amount\":\"3.00\",\"currency\":\"USD\",\"note\":\"asked\"}'; true";
    let run = text(&home.script(script).unwrap());
    assert!(run.contains("apr_"), "{run}");
    home
}

/// The leaf that says which request is kept.
fn sealed_leaf(home: &Home) -> u64 {
    let stored = Stored::read(&log_dir(home));
    let mut leaves = stored.leaves.iter().map(|leaf| Leaf::parse(leaf).unwrap());
    let sealed = leaves.find(|leaf| matches!(leaf.event(), Some(EventBody::Sealed { .. })));
    sealed.unwrap().h.seq
}

#[test]
fn changed_texts_are_invalid_where_their_keys_are_and_missing_ones_a_gap_everywhere() {
    let side = |blob: &Blob| matches!(blob.kind, BlobKind::SideFrame { .. });
    let home = with_blobs(&LOGS[0], |blob| {
        if side(blob) {
            garble(blob);
        }
        true
    });
    let verified = home.actpass(&["verify", "--output", "json"]).output();
    let verified = verified.unwrap();
    assert_eq!(verified.status.code(), Some(3), "{}", text(&verified));
    let shown: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let log = &shown["logs"][0];
    assert_eq!(log["structure"], "holds", "the leaves are as they were");
    let findings = log["findings"].as_array().unwrap();
    let texts = log["texts"]["committed"].as_u64().unwrap();
    assert_eq!(findings.len() as u64, texts, "each is named: {log}");
    let first = findings.first().unwrap()["what"].as_str().unwrap();
    assert!(first.contains("cannot be opened"), "{first}");

    // Without the keys nobody can tell, and that is said.
    let blind = elsewhere(&home, &["verify", "state/log"]);
    says(&blind, 0, "encrypted, not looked into");

    let home = with_blobs(&LOGS[0], |blob| !side(blob));
    let gap = home.actpass(&["verify"]).output().unwrap();
    says(&gap, 2, "leaves commit to are not there");
    let gap = elsewhere(&home, &["verify", "state/log"]);
    says(&gap, 2, "leaves commit to are not there");
}

#[test]
fn texts_whose_keys_were_taken_away_are_no_valid_evidence_here() {
    for path in ["state/keys/kek", "state/vault/tenants.json", "state/vault"] {
        let home = copied(&LOGS[0]);
        let path = home.path().join(path);
        match path.is_dir() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        let verified = home.actpass(&["verify"]).output().unwrap();
        says(&verified, 2, "NOT LOOKED INTO");
        assert!(!path.exists(), "verifying makes nothing");
    }
}

#[test]
fn a_changed_request_that_waits_for_people_is_invalid_without_any_key() {
    let whole = asked();
    let verified = whole.actpass(&["verify"]).output().unwrap();
    says(&verified, 0, "VALID");
    let leaf = sealed_leaf(&whole);
    let sealed = |blob: &Blob| matches!(blob.kind, BlobKind::Sealed);
    let home = with_blobs(&whole, |blob| {
        if sealed(blob) {
            garble(blob);
        }
        true
    });
    let named = format!("leaf {leaf}: the request kept for its approval is not the one");
    says(&home.actpass(&["verify"]).output().unwrap(), 3, &named);
    says(&elsewhere(&home, &["verify", "state/log"]), 3, &named);
    let home = with_blobs(&whole, |blob| !sealed(blob));
    let gap = format!("the request that leaf {leaf} says is kept is not there");
    says(&elsewhere(&home, &["verify", "state/log"]), 2, &gap);
}
