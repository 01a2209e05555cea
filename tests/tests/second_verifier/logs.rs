//! The logs that the vectors are made of.

use actpass_core::evidence::checkpoint::Checkpoint;
use actpass_core::evidence::leaf::{
    EventBody, GapLimits, LeafRange, LostHead, Revision, Ruling, RulingVerdict, StreamEnd,
    TrustedKeys,
};
use actpass_core::evidence::record::{Body, Judged, Note, Outcome, OutcomeResult, Refusal};
use actpass_core::hash::{DigestMac, b64u_encode};
use actpass_core::passport::jws::key_id;
use actpass_core::vote::Vote;
use actpass_tests::exported::Keys;
use actpass_tests::logbook::{Logbook, Sidecar, approval_of, policy, refund};
use ed25519_dalek::SigningKey;

pub(crate) const LOCAL: &str = "local/default/5a";
pub(crate) const CLUSTER: &str = "0c1d/support/aaaa";

/// The keys of all these logs, made of these seeds.
pub(crate) fn keys() -> Keys {
    let streams = (1..=3).map(seeded);
    Keys {
        log: seeded(200),
        streams: streams.collect(),
    }
}

fn outcome(of: u64, result: OutcomeResult) -> Body {
    Body::Outcome(Outcome {
        of,
        result,
        status: (result == OutcomeResult::Ok).then_some(200),
        detail: (result == OutcomeResult::Failed).then(|| "The provider said no.".to_owned()),
        micros: 1_500,
        response_bytes: 42,
    })
}

fn note(note: &str, text: &str) -> Body {
    Body::Note(Note {
        note: note.to_owned(),
        text: text.to_owned(),
    })
}

fn vote(approval: &str, grant: bool) -> EventBody {
    EventBody::Vote {
        approval: approval.to_owned(),
        grant,
        user: "ann@example.com".to_owned(),
        groups: vec!["finance".to_owned()],
        signed: None,
    }
}

/// Three leaves: a log, a stream, and one record.
pub(crate) fn example() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    log.record(&mut sidecar, note("started", ""), true).unwrap();
    log
}

/// Twelve leaves: what invalid vectors are made of.
pub(crate) fn small() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    log.activate(policy(LOCAL, "enforce"), None).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    log.record(&mut sidecar, note("started", ""), false)
        .unwrap();
    log.record(&mut sidecar, note("fence", "held"), true)
        .unwrap();
    let permitted = log.intent(&mut sidecar, &refund(LOCAL, 5_000, "ch_1").unwrap());
    assert_eq!(permitted.unwrap().verdict, RulingVerdict::Permit);
    log.record(&mut sidecar, outcome(2, OutcomeResult::Ok), true)
        .unwrap();
    let asked = log.intent(&mut sidecar, &refund(LOCAL, 12_000, "ch_2").unwrap());
    let id = approval_of(&asked.unwrap()).unwrap();
    log.seal(&id, &sidecar, 4).unwrap();
    log.event(vote(&id, true)).unwrap();
    let used = log.intent(&mut sidecar, &refund(LOCAL, 12_000, "ch_2").unwrap());
    assert_eq!(used.unwrap().verdict, RulingVerdict::Permit);
    log.record(&mut sidecar, outcome(5, OutcomeResult::Ok), true)
        .unwrap();
    log
}

/// Six leaves, of which 3 and 5 commit to texts: what vectors of disclosed texts are made of.
pub(crate) fn brief() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    log.activate(policy(LOCAL, "enforce"), None).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    log.intent(&mut sidecar, &refund(LOCAL, 5_000, "ch_1").unwrap())
        .unwrap();
    log.record(&mut sidecar, outcome(0, OutcomeResult::Ok), true)
        .unwrap();
    log.intent(&mut sidecar, &refund(LOCAL, 6_000, "ch_2").unwrap())
        .unwrap();
    log
}

/// The small log as it goes on after six leaves, of which the last permits something: the rest is lost, and somebody says so.
pub(crate) fn forked() -> Logbook {
    forked_and(|_| ())
}

/// The same, with what came right after.
pub(crate) fn forked_and(then: impl FnOnce(&mut Logbook)) -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    log.activate(policy(LOCAL, "enforce"), None).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    for (what, signed) in [(note("started", ""), false), (note("fence", "held"), true)] {
        log.record(&mut sidecar, what, signed).unwrap();
    }
    let refund = refund(LOCAL, 5_000, "ch_1").unwrap();
    log.intent(&mut sidecar, &refund).unwrap();
    let whole = small();
    let head = |note: &str, log: &Logbook| Checkpoint::verify(note, &log.signer().verifier());
    let left = head(&log.checkpoint(None).unwrap(), &log).unwrap();
    let before = head(&whole.checkpoint(Some(left.size)).unwrap(), &whole);
    assert_eq!(before.unwrap(), left, "one log up to there");
    let lost = head(&whole.checkpoint(None).unwrap(), &whole).unwrap();
    log.event(EventBody::Gap {
        size: left.size,
        root: left.root,
        lost: vec![LostHead {
            size: lost.size,
            root: lost.root,
        }],
        limits: GapLimits::UsedUp,
        by: "owner@example.com".to_owned(),
        why: "case 17".to_owned(),
    })
    .unwrap();
    then(&mut log);
    let mut anew = Sidecar::new(2);
    log.event(anew.opened(None)).unwrap();
    for text in ["one", "two", "three", "four", "five"] {
        log.record(&mut anew, note("fence", text), true).unwrap();
    }
    log
}

/// Ten leaves; from leaf 3 on the second key signs, from leaf 7 on the third.
pub(crate) fn rotated() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    log.record(&mut sidecar, note("started", ""), true).unwrap();
    log.rotate(201).unwrap();
    for _ in 0..3 {
        log.record(&mut sidecar, note("fence", "held"), true)
            .unwrap();
    }
    log.rotate(202).unwrap();
    for _ in 0..2 {
        log.record(&mut sidecar, note("fence", "held"), true)
            .unwrap();
    }
    log
}

/// Every kind of leaf that local mode makes.
pub(crate) fn local() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    let changed = |version, change: &str| EventBody::CredentialChanged {
        credential: "stripe-write".to_owned(),
        version,
        change: change.to_owned(),
        by: "owner@example.com".to_owned(),
    };
    log.event(changed(1, "put")).unwrap();
    log.activate(policy(LOCAL, "enforce"), None).unwrap();
    let (mut one, mut two) = (Sidecar::new(1), Sidecar::new(2));
    log.event(one.opened(None)).unwrap();
    log.event(two.opened(None)).unwrap();
    let started =
        "Unusual text: \"quoted\" \\ tab\t line\n bell\u{7} \u{7f} Zoë 支 \u{1f512} / end";
    log.record(&mut one, note("started", started), false)
        .unwrap();
    refused(&mut log, &mut one, false);
    refused(&mut log, &mut one, true);
    let read = refund(LOCAL, 5_000, "ch_1").unwrap();
    log.decided(&mut two, &read, "needs_facts", true).unwrap();
    log.event(EventBody::Leased {
        stream: one.id(),
        upstream: "stripe".to_owned(),
        credential: "stripe-read".to_owned(),
        version: 3,
        expires: log.now() + std::time::Duration::from_secs(60),
    })
    .unwrap();
    let permitted = log.intent_lent(&mut one, &read).unwrap();
    assert_eq!(permitted.verdict, RulingVerdict::Permit);
    log.event(EventBody::CredentialReleased {
        stream: one.id(),
        seq: 3,
        credential: "stripe-write".to_owned(),
    })
    .unwrap();
    log.record(&mut one, outcome(3, OutcomeResult::Ok), true)
        .unwrap();
    // Said twice, it settles nothing.
    log.record(&mut one, outcome(3, OutcomeResult::Failed), true)
        .unwrap();
    people(&mut log, &mut two);
    unknown(&mut log, &mut one);
    log.wait(40);
    over(&mut log, &mut two);
    erased(&mut log, &mut two);
    log.event(changed(0, "delete")).unwrap();
    log.event(EventBody::TextsDisclosed {
        leaves: vec![
            LeafRange { first: 4, last: 4 },
            LeafRange { first: 7, last: 12 },
        ],
        by: "owner@example.com".to_owned(),
    })
    .unwrap();
    log.event(EventBody::Recovery { bytes: 513 }).unwrap();
    log.event(EventBody::Revoked {
        passport: "other-agent".to_owned(),
        by: "owner@example.com".to_owned(),
        why: "It is gone.".to_owned(),
    })
    .unwrap();
    for (stream, how) in [
        (one.id(), StreamEnd::Closed),
        (two.id(), StreamEnd::ExpiredTailUnknown),
    ] {
        log.event(EventBody::StreamEnded { stream, how }).unwrap();
    }
    log
}

/// A request that is no action.
fn refused(log: &mut Logbook, sidecar: &mut Sidecar, signed: bool) {
    let judged = Judged {
        count: 3,
        detail: Some("No upstream declares this name.".to_owned()),
        reason: Some("undeclared_name".to_owned()),
        refusal: Some(Refusal {
            code: "undeclared_name".to_owned(),
            target: "evil.example".to_owned(),
        }),
        ..log.judged(None, "deny").unwrap()
    };
    log.record(sidecar, Body::Decision(Box::new(judged)), signed)
        .unwrap();
}

/// Asked, granted, used, given back and used again; asked again and denied.
fn people(log: &mut Logbook, sidecar: &mut Sidecar) {
    let large = refund(LOCAL, 12_000, "ch_2").unwrap();
    let asked = log.intent(sidecar, &large).unwrap();
    let id = approval_of(&asked).unwrap();
    log.seal(&id, sidecar, 1).unwrap();
    let pending = log.intent(sidecar, &large).unwrap();
    assert_eq!(approval_of(&pending), Some(id.clone()));
    log.event(vote(&id, true)).unwrap();
    for (of, result) in [(3, OutcomeResult::NotSent), (5, OutcomeResult::Ok)] {
        let used = log.intent(sidecar, &large).unwrap();
        assert_eq!(used.verdict, RulingVerdict::Permit);
        log.record(sidecar, outcome(of, result), true).unwrap();
    }
    let asked = log.intent(sidecar, &refund(LOCAL, 13_000, "ch_3").unwrap());
    let id = approval_of(&asked.unwrap()).unwrap();
    log.seal(&id, sidecar, 7).unwrap();
    log.event(vote(&id, false)).unwrap();
    let denied = log.intent(sidecar, &refund(LOCAL, 600_000, "ch_4").unwrap());
    assert_eq!(denied.unwrap().verdict, RulingVerdict::Deny);
}

/// What nobody knows, and what became of it.
fn unknown(log: &mut Logbook, sidecar: &mut Sidecar) {
    log.intent(sidecar, &refund(LOCAL, 1_000, "ch_5").unwrap())
        .unwrap();
    log.record(sidecar, outcome(6, OutcomeResult::Ambiguous), true)
        .unwrap();
    let again = log.intent(sidecar, &refund(LOCAL, 1_000, "ch_5").unwrap());
    assert_eq!(again.unwrap().reason.as_deref(), Some("ambiguous_repeat"));
    let resolved = |stream, seq, happened| EventBody::Resolved {
        stream,
        seq,
        happened,
        by: "owner@example.com".to_owned(),
    };
    log.event(resolved(sidecar.id(), 6, false)).unwrap();
    log.intent(sidecar, &refund(LOCAL, 1_000, "ch_6").unwrap())
        .unwrap();
    log.record(sidecar, note("restarted", ""), true).unwrap();
    log.event(resolved(sidecar.id(), 9, true)).unwrap();
}

/// Beyond the day's limit, which people may lift, and beyond the hour's, which nobody may.
fn over(log: &mut Logbook, sidecar: &mut Sidecar) {
    let small = refund(LOCAL, 9_000, "ch_7").unwrap();
    let asked = log.intent(sidecar, &small).unwrap();
    let id = approval_of(&asked).unwrap();
    log.seal(&id, sidecar, 9).unwrap();
    log.event(vote(&id, true)).unwrap();
    let used = log.intent(sidecar, &small).unwrap();
    assert_eq!(used.verdict, RulingVerdict::Permit, "{used:?}");
    log.record(sidecar, outcome(10, OutcomeResult::Failed), true)
        .unwrap();
    let denied = log.intent(sidecar, &refund(LOCAL, 9_999_999, "ch_8").unwrap());
    assert_eq!(denied.unwrap().verdict, RulingVerdict::Deny);
}

fn erasure(id: &str, subject: Option<DigestMac>, generation: u64) -> EventBody {
    EventBody::Erasure {
        id: id.to_owned(),
        subject,
        generation: subject.is_some().then_some(generation),
        before: subject
            .is_none()
            .then(|| "2026-05-01T00:00:00Z".parse().unwrap()),
        by: "owner@example.com".to_owned(),
        why: "request 4711".to_owned(),
    }
}

/// A question that ends with an erasure, asked again after it; and months of which nothing is kept.
fn erased(log: &mut Logbook, sidecar: &mut Sidecar) {
    let large = refund(LOCAL, 9_000, "ch_9").unwrap();
    let asked = log.intent(sidecar, &large).unwrap();
    let id = sealed(log, sidecar, &asked, 12);
    log.event(vote(&id, true)).unwrap();
    log.event(erasure("ers_1", asked.subject, 0)).unwrap();
    let again = log.intent(sidecar, &large).unwrap();
    assert_eq!(again.verdict, RulingVerdict::Escalate, "{again:?}");
    log.event(erasure("ers_2", None, 0)).unwrap();
    log.event(erasure("ers_3", again.subject, 1)).unwrap();
}

fn sealed(log: &mut Logbook, sidecar: &Sidecar, asked: &Ruling, seq: u64) -> String {
    let id = approval_of(asked).unwrap();
    log.seal(&id, sidecar, seq).unwrap();
    id
}

/// A grant that is used, with an event before that, and two erasures of whom it was about: what forged erasures are made of.
pub(crate) fn erasable() -> Logbook {
    let mut log = Logbook::new(LOCAL, 200).unwrap();
    log.activate(policy(LOCAL, "enforce"), None).unwrap();
    let mut sidecar = Sidecar::new(1);
    log.event(sidecar.opened(None)).unwrap();
    let large = refund(LOCAL, 12_000, "ch_2").unwrap();
    let asked = log.intent(&mut sidecar, &large).unwrap();
    let id = sealed(&mut log, &sidecar, &asked, 0);
    log.event(vote(&id, true)).unwrap();
    log.event(EventBody::Recovery { bytes: 513 }).unwrap();
    let used = log.intent(&mut sidecar, &large).unwrap();
    assert_eq!(used.verdict, RulingVerdict::Permit);
    log.record(&mut sidecar, outcome(1, OutcomeResult::Ok), true)
        .unwrap();
    for (id, generation) in [("ers_1", 0), ("ers_2", 1)] {
        log.event(erasure(id, asked.subject, generation)).unwrap();
    }
    log
}

/// A namespace of a cluster: keys that the log names, revisions, a pod, a stamped vote.
pub(crate) fn cluster() -> Logbook {
    let mut log = Logbook::new(CLUSTER, 200).unwrap();
    let (issuer, webhook) = (seeded(90), seeded(91));
    let vote_key = key_id(&webhook.verifying_key());
    let public = |key: &SigningKey| b64u_encode(key.verifying_key().as_bytes());
    log.event(EventBody::Keys(TrustedKeys {
        issuer_keys: [("issuer-1".to_owned(), public(&issuer))].into(),
        vote_keys: [(vote_key.clone(), public(&webhook))].into(),
    }))
    .unwrap();
    let revision = |term, count| Some(Revision { term, count });
    log.activate(policy(CLUSTER, "enforce"), revision(1, 1))
        .unwrap();
    let mut sidecar = Sidecar::new(3);
    log.event(sidecar.opened(Some(("5f0c-pod", "issuer-1"))))
        .unwrap();
    log.record(&mut sidecar, note("started", ""), true).unwrap();
    let large = refund(CLUSTER, 12_000, "ch_1").unwrap();
    let asked = log.intent(&mut sidecar, &large).unwrap();
    let id = approval_of(&asked).unwrap();
    log.seal(&id, &sidecar, 1).unwrap();
    let stamped = Vote {
        approval_uid: "9a77-approval".to_owned(),
        digest: asked.digest.unwrap().to_string(),
        grant: true,
        groups: vec!["everyone".to_owned(), "finance".to_owned()],
        time: log.now(),
        user: "ann@example.com".to_owned(),
    };
    let signed = stamped.signed(&webhook, &vote_key).unwrap();
    log.event(EventBody::Vote {
        approval: id,
        grant: true,
        user: "ann@example.com".to_owned(),
        groups: vec!["finance".to_owned()],
        signed: Some(Box::new(signed)),
    })
    .unwrap();
    log.activate(policy(CLUSTER, "enforce"), revision(1, 2))
        .unwrap();
    let used = log.intent(&mut sidecar, &large).unwrap();
    assert_eq!(used.verdict, RulingVerdict::Permit, "{used:?}");
    log.record(&mut sidecar, outcome(2, OutcomeResult::Ok), true)
        .unwrap();
    log.activate(policy(CLUSTER, "audit"), revision(2, 1))
        .unwrap();
    log.event(EventBody::StreamEnded {
        stream: sidecar.id(),
        how: StreamEnd::ExpiredTailKnown,
    })
    .unwrap();
    log
}

/// A namespace under audit, then enforced.
pub(crate) fn audit() -> Logbook {
    let mut log = Logbook::new(CLUSTER, 200).unwrap();
    log.activate(policy(CLUSTER, "audit"), None).unwrap();
    let mut sidecar = Sidecar::new(3);
    log.event(sidecar.opened(Some(("5f0c-pod", "issuer-1"))))
        .unwrap();
    for (minor, want) in [
        (9_000, RulingVerdict::Permit),
        (9_000, RulingVerdict::Permit),
        (9_000, RulingVerdict::Escalate),
        (600_000, RulingVerdict::Deny),
    ] {
        let action = refund(CLUSTER, minor, "ch_1").unwrap();
        let ruling = log
            .decided(&mut sidecar, &action, "needs_facts", false)
            .unwrap();
        assert_eq!(ruling.would, Some(want), "{minor}");
    }
    let small = refund(CLUSTER, 4_000, "ch_2").unwrap();
    let denied = log.intent(&mut sidecar, &small).unwrap();
    assert_eq!(denied.reason.as_deref(), Some("under_audit"));
    log.activate(policy(CLUSTER, "enforce"), None).unwrap();
    let permitted = log.intent(&mut sidecar, &small).unwrap();
    assert_eq!(permitted.verdict, RulingVerdict::Permit);
    log.record(&mut sidecar, outcome(5, OutcomeResult::Ok), true)
        .unwrap();
    log
}

fn seeded(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}
