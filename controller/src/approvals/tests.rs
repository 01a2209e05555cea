use actpass_core::wire::VoteView;
use ed25519_dalek::SigningKey;

use super::*;

fn now() -> Timestamp {
    "2026-05-04T10:00:00Z".parse().unwrap()
}

fn brief(state: &str) -> ApprovalBrief {
    ApprovalBrief {
        id: "apr-0f3a".to_owned(),
        state: state.to_owned(),
        asked: now(),
        expires: "2026-05-04T10:30:00Z".parse().unwrap(),
        votes: Vec::new(),
    }
}

/// The object after it was written.
fn written(status: Option<Value>) -> Value {
    json!({"spec": {"expiresAt": "2026-05-04T10:30:00.000000Z"}, "status": status})
}

#[test]
fn a_question_is_shown_while_people_may_answer_and_its_status_follows() {
    for (state, want) in [
        ("sealing", false),
        ("pending", true),
        ("granted", true),
        ("denied", false),
        ("expired", false),
        ("used", false),
    ] {
        let found = shown(&brief(state), None, now()).unwrap();
        assert_eq!(found.is_some(), want, "{state}");
    }
    let first = shown(&brief("pending"), None, now()).unwrap().unwrap();
    let object = written(first);
    assert_eq!(object["status"]["conditions"][0]["reason"], "AwaitingVotes");
    let again = shown(&brief("pending"), Some(&object), now())
        .unwrap()
        .unwrap();
    assert!(again.is_none());
    let mut granted = brief("granted");
    granted.votes = vec![VoteView {
        user: "ada@example.com".to_owned(),
        grant: true,
        time: now(),
    }];
    let later = shown(&granted, Some(&object), now()).unwrap().unwrap();
    let status = later.unwrap();
    assert_eq!(status["state"], "Granted");
    assert_eq!(status["conditions"][0]["status"], "True");
    assert_eq!(status["votes"][0]["user"], "ada@example.com");
    assert_eq!(status["votes"][0]["decision"], "Approve");
    assert!(shown(&brief("weather"), None, now()).is_err());
}

#[test]
fn an_approval_stays_for_an_hour_after_its_end() {
    let object = written(shown(&brief("pending"), None, now()).unwrap().unwrap());
    for (time, want) in [
        ("2026-05-04T10:00:00Z", false),
        ("2026-05-04T11:29:00Z", false),
        ("2026-05-04T11:31:00Z", true),
    ] {
        assert_eq!(is_over(&object, time.parse().unwrap()), want, "{time}");
    }
}

#[test]
fn a_vote_reaches_the_ledger_as_the_webhook_signed_it() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let vote = Vote {
        approval_uid: "u-1".to_owned(),
        digest: "ab".repeat(32),
        grant: true,
        groups: vec!["finance".to_owned()],
        time: now(),
        user: "ada@example.com".to_owned(),
    };
    let stamped = vote.signed(&key, "k-1").unwrap();
    let spec = json!({
        "approvalName": "apr-0f3a", "approvalUid": "u-1", "digest": "ab".repeat(32), "decision": "Approve",
        "reason": "known customer",
        "stamp": {"user": "ada@example.com", "groups": ["finance"], "time": "2026-05-04T10:00:00.000000Z",
            "keyId": "k-1", "signature": stamped.signature},
    });
    let signed = signed(&serde_json::from_value(spec).unwrap());
    assert_eq!(signed, stamped);
    signed.verified(&key.verifying_key()).unwrap();
}

#[test]
fn every_id_names_an_object() {
    assert_eq!(name_of("apr-0f3a"), "apr-0f3a");
    assert_eq!(name_of("apr_0f3a"), "apr-0f3a", "as the agent is told it");
    for id in ["Apr-1", "a/b", "", "-a", &"a".repeat(64)] {
        let name = name_of(id);
        assert!(name.starts_with("apr-") && name.len() == 44, "{name}");
    }
    assert_ne!(name_of("A"), name_of("a"));
}

#[test]
fn an_object_is_reduced_to_what_is_read_of_it() {
    let object = json!({
        "metadata": {"name": "a", "uid": "u", "annotations": {"big": "x"}, "managedFields": []},
        "spec": {"expiresAt": "2026-05-04T10:30:00.000000Z", "target": "long"},
        "status": {"state": "Pending"},
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let reduced = reduced(object, of_approval);
    assert_eq!(
        serde_json::to_value(reduced).unwrap(),
        json!({
            "metadata": {"name": "a", "uid": "u"},
            "spec": {"expiresAt": "2026-05-04T10:30:00.000000Z"},
            "status": {"state": "Pending"},
        })
    );
}
