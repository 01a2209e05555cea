use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::*;
use crate::evidence::checkpoint::NoteSigner;
use crate::evidence::leaf::Ruling;
use crate::state::testlog::{PASSPORT, Sidecar, TENANT, TestLog, refund, signer};

/// A permitted refund with its answer, for a sidecar that kept the head before it.
struct Given {
    sent: Vec<u8>,
    action: Action,
    line: AnswerLine,
    end: AnswerEnd,
    kept: KeptHead,
    verifier: NoteVerifier,
    now: Timestamp,
}

impl Given {
    fn check(&self) -> Result<CheckedPermit, ReceiptError> {
        check_permit(
            &self.sent,
            &self.action,
            &self.line,
            &self.end,
            &self.kept,
            &self.verifier,
            self.now,
        )
    }
}

fn given() -> Given {
    answered(&refund(5_000, "ch_1"))
}

fn answered(action: &Action) -> Given {
    let (mut log, mut sidecar) = log();
    let kept = log.head();
    let ruling = log.intent(&mut sidecar, action);
    from(&log, &sidecar, &ruling, action, kept)
}

fn log() -> (TestLog, Sidecar) {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    log.note(&mut sidecar);
    (log, sidecar)
}

fn from(
    log: &TestLog,
    sidecar: &Sidecar,
    ruling: &Ruling,
    action: &Action,
    kept: KeptHead,
) -> Given {
    let (line, end) = log.answer(sidecar, ruling, kept.size);
    let (sent, action, verifier) = (sidecar.sent.clone(), action.clone(), signer().verifier());
    Given {
        sent,
        action,
        line,
        end,
        kept,
        verifier,
        now: log.now + Duration::from_secs(1),
    }
}

#[test]
fn a_proved_permit_is_taken() {
    let given = given();
    let permit = given.check().unwrap();
    assert_eq!(permit.digest(), given.action.digest());
    assert_eq!(permit.leaf_index(), given.line.index);
    assert_eq!(permit.obligations().max_response_bytes, Some(1024));
    let head = check_answer_end(&given.end, &given.kept, &given.verifier).unwrap();
    assert_eq!(head.size, given.line.index + 1);
}

#[test]
fn a_sidecar_that_kept_nothing_yet_starts_from_the_empty_head() {
    let (mut log, mut sidecar) = log();
    let action = refund(5_000, "ch_1");
    let ruling = log.intent(&mut sidecar, &action);
    assert!(
        from(&log, &sidecar, &ruling, &action, KeptHead::empty())
            .check()
            .is_ok()
    );
}

#[test]
fn what_is_not_a_proved_permit_for_this_action_permits_nothing() {
    type Change = fn(&mut Given);
    type Want = fn(&ReceiptError) -> bool;
    struct Case {
        name: &'static str,
        given: Change,
        want: Want,
    }
    let cases = [
        Case {
            name: "another action",
            given: |given| given.action.amount = refund(4_999, "ch_1").amount,
            want: |error| *error == ReceiptError::Action,
        },
        Case {
            name: "another record was sent",
            given: |given| given.sent.push(b' '),
            want: |error| *error == ReceiptError::Record,
        },
        Case {
            name: "the answer to another record",
            given: |given| given.line.seq += 1,
            want: |error| *error == ReceiptError::Record,
        },
        Case {
            name: "its time is over",
            given: |given| given.now += Duration::from_secs(9),
            want: |error| *error == ReceiptError::Expired,
        },
        Case {
            name: "the line says deny",
            given: |given| given.line.verdict = RulingVerdict::Deny,
            want: |error| *error == ReceiptError::NotPermitted,
        },
        Case {
            name: "another index",
            given: |given| given.line.index -= 1,
            want: |error| *error == ReceiptError::Place,
        },
        Case {
            name: "a leaf with one byte changed",
            given: |given| {
                given.line.leaf = given
                    .line
                    .leaf
                    .replace("\"max_response_bytes\":1024", "\"max_response_bytes\":9024")
            },
            want: |error| *error == ReceiptError::Inclusion(ProofError::Root),
        },
        Case {
            name: "a leaf that is none",
            given: |given| given.line.leaf.push('x'),
            want: |error| matches!(error, ReceiptError::Leaf(_)),
        },
        Case {
            name: "no proof",
            given: |given| given.line.path.clear(),
            want: |error| matches!(error, ReceiptError::Inclusion(_)),
        },
        Case {
            name: "a proof with another hash",
            given: |given| given.line.path[0] = "0".repeat(64),
            want: |error| *error == ReceiptError::Inclusion(ProofError::Root),
        },
        Case {
            name: "a proof that is no hash",
            given: |given| given.line.path[0] = "x".to_owned(),
            want: |error| matches!(error, ReceiptError::Hash(_)),
        },
        Case {
            name: "no consistency",
            given: |given| given.end.consistency.clear(),
            want: |error| matches!(error, ReceiptError::Consistency(_)),
        },
        Case {
            name: "a log that was cut short",
            given: |given| given.kept.size = 100,
            want: |error| {
                *error == ReceiptError::Consistency(ProofError::Shrunk { old: 100, new: 5 })
            },
        },
        Case {
            name: "a log that was forked",
            given: |given| given.kept.root = TreeRoot::from_bytes([1; 32]),
            want: |error| matches!(error, ReceiptError::Consistency(_)),
        },
        Case {
            name: "a checkpoint by another key",
            given: |given| {
                let stranger = NoteSigner::new(
                    format!("actpass/{TENANT}"),
                    SigningKey::from_bytes(&[1; 32]),
                );
                given.verifier = stranger.verifier();
            },
            want: |error| matches!(error, ReceiptError::Checkpoint(_)),
        },
        Case {
            name: "a checkpoint changed in its size",
            given: |given| {
                given.end.checkpoint = given.end.checkpoint.replacen("\n5\n", "\n6\n", 1)
            },
            want: |error| matches!(error, ReceiptError::Checkpoint(_)),
        },
    ];
    for Case {
        name,
        given: change,
        want,
    } in cases
    {
        let mut given = given();
        change(&mut given);
        let refused = given.check().expect_err(name);
        assert!(want(&refused), "{name}: {refused:?}");
    }
}

#[test]
fn a_denial_in_the_log_is_no_permit_whatever_the_line_says() {
    let mut given = answered(&refund(600_000, "ch_1"));
    given.line.verdict = RulingVerdict::Permit;
    assert_eq!(given.check().unwrap_err(), ReceiptError::NotPermitted);
}

#[test]
fn the_permit_of_another_sidecar_is_not_ours() {
    let (mut log, mut sidecar) = log();
    let mut other = log.open(2);
    let action = refund(5_000, "ch_1");
    let kept = log.head();
    log.intent(&mut other, &action);
    let theirs = other.sent.clone();
    let ruling = log.intent(&mut sidecar, &action);
    let mut given = from(&log, &sidecar, &ruling, &action, kept);
    assert!(given.check().is_ok());
    given.sent = theirs;
    assert_eq!(given.check().unwrap_err(), ReceiptError::Record);
}

#[test]
fn a_missing_obligation_is_none() {
    let (mut log, mut sidecar) = log();
    let action = refund(5_000, "ch_1");
    let kept = log.head();
    let mut honest = log.clone();
    let ruling = honest.intent(&mut sidecar, &action);
    let mut leaf = Leaf::parse(honest.leaves.last().unwrap()).unwrap();
    leaf.d.as_mut().unwrap().obligations = None;
    log.header();
    log.push_unchecked(&leaf);
    let permit = from(&log, &sidecar, &ruling, &action, kept)
        .check()
        .unwrap();
    assert_eq!(permit.obligations(), Obligations::default());
    assert_eq!(action.passport, PASSPORT);
}

#[test]
fn any_changed_byte_of_an_answer_permits_nothing() {
    let mut given = given();
    let leaf = given.line.leaf.clone();
    for at in 0..leaf.len() {
        let mut bytes = leaf.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        given.line.leaf = text;
        assert!(given.check().is_err(), "byte {at} of the leaf");
    }
    given.line.leaf = leaf;
    assert!(given.check().is_ok(), "the honest leaf");
    let checkpoint = given.end.checkpoint.clone();
    for at in 0..checkpoint.len() {
        let mut bytes = checkpoint.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        given.end.checkpoint = text;
        assert!(given.check().is_err(), "byte {at} of the checkpoint");
    }
}
