//! `/mutate-votes` and `/validate-votes`.

use actpass_core::hash::b64u_encode;
use actpass_core::succession::Succession;
use actpass_core::vote::{SignedVote, Vote};
use actpass_crds::approval_vote::{ApprovalVoteSpec, VoteDecision, vote_name};
use actpass_kubernetes::seeds::{Keyring, Seeds};
use actpass_webhook::server::review::{Answer, Verdict};
use actpass_webhook::server::votes::{Facts, Stamping, approval_name, mutate, validate};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{asked, passes, refusal, request, with};

const NOW: &str = "2026-05-04T10:00:00Z";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn stamps(keys: &[SigningKey]) -> Keyring {
    let lines: Vec<String> = keys
        .iter()
        .map(|key| b64u_encode(&key.to_bytes()))
        .collect();
    Keyring::new(
        Seeds::read(lines.join("\n").as_bytes()).unwrap(),
        Succession::default(),
    )
}

fn approval() -> Value {
    json!({"metadata": {"uid": "u-1", "name": "apr-1"}, "spec": {
        "approvalId": "apr_1", "digest": "ab".repeat(32), "capability": "stripe.refunds.create", "effect": "Irreversible",
        "target": "POST api.stripe.com /v1/refunds", "agent": "clerk", "passport": "clerk", "owner": "owner@example.com",
        "purpose": "Refund", "because": "RequiredByRule", "seats": [{"groups": ["finance"], "quorum": 1}],
        "askedAt": "2026-05-04T09:59:00Z", "expiresAt": "2026-05-04T10:30:00Z"}})
}

fn facts(approval: Value) -> Facts {
    Facts {
        may: true,
        approval: Some(serde_json::from_value(approval).unwrap()),
        owner: Some("new-owner@example.com".to_owned()),
    }
}

fn vote() -> Value {
    asked(
        "CREATE",
        "actpass.org/v1alpha1/approvalvotes",
        json!({
        "apiVersion": "actpass.org/v1alpha1", "kind": "ApprovalVote", "metadata": {"generateName": "vote-"},
        "spec": {"approvalName": "apr-1", "approvalUid": "u-1", "digest": "ab".repeat(32), "decision": "Approve"}}),
    )
}

fn at(
    now: &str,
    how: fn(&super::Request, &Facts, Stamping<'_>) -> Answer,
    review: Value,
    facts: &Facts,
) -> Answer {
    let now: Timestamp = now.parse().unwrap();
    let stamps = stamps(&[key()]);
    let stamping = Stamping {
        stamps: &stamps,
        now,
    };
    how(&request(review), facts, stamping)
}

/// The review as it comes back after the patch.
fn stamped(review: &Value) -> Value {
    let answer = at(NOW, mutate, review.clone(), &facts(approval()));
    let Verdict::Patched(patch) = answer.verdict else {
        panic!("{answer:?}")
    };
    let mut object = review["request"]["object"].clone();
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    with(review.clone(), "/object", object)
}

#[test]
fn a_vote_is_named_stamped_and_signed_by_who_sends_it() {
    let forged = json!({"user": "boss@example.com", "groups": ["finance"], "time": NOW, "keyId": "k", "signature": "A".repeat(86)});
    for given in [vote(), with(vote(), "/object/spec/stamp", forged)] {
        let review = stamped(&given);
        let object = &review["request"]["object"];
        assert_eq!(
            object["metadata"]["name"],
            vote_name("u-1", "ada@example.com")
        );
        assert_eq!(
            object["metadata"]["ownerReferences"],
            json!([{"apiVersion": "actpass.org/v1alpha1", "kind": "Approval", "name": "apr-1", "uid": "u-1",
                "blockOwnerDeletion": false}]),
            "it goes with its Approval"
        );
        let spec: ApprovalVoteSpec = serde_json::from_value(object["spec"].clone()).unwrap();
        assert_eq!(
            (spec.stamp.user.as_str(), spec.decision),
            ("ada@example.com", VoteDecision::Approve)
        );
        let signed = SignedVote {
            key_id: spec.stamp.key_id,
            signature: spec.stamp.signature,
            vote: Vote {
                approval_uid: "u-1".to_owned(),
                digest: "ab".repeat(32),
                grant: true,
                groups: vec!["finance".to_owned(), "system:authenticated".to_owned()],
                time: NOW.parse().unwrap(),
                user: "ada@example.com".to_owned(),
            },
        };
        signed.verified(&key().verifying_key()).unwrap();
        passes(&at(NOW, validate, review, &facts(approval())));
    }
}

#[test]
fn a_stamp_that_is_not_ours_for_this_request_is_refused() {
    let good = stamped(&vote());
    let later = "2026-05-04T10:00:31Z";
    struct Case {
        name: &'static str,
        review: Value,
        now: &'static str,
    }
    let case = |name, review| Case {
        name,
        review,
        now: NOW,
    };
    let other = SigningKey::from_bytes(&[8; 32]);
    let foreign = at_with(&other, vote());
    for Case { name, review, now } in [
        case("none", vote()),
        case("another's key", foreign),
        case(
            "of another user",
            with(good.clone(), "/userInfo/username", json!("eve@example.com")),
        ),
        case(
            "of other groups",
            with(good.clone(), "/userInfo/groups", json!(["finance"])),
        ),
        case(
            "over another answer",
            with(good.clone(), "/object/spec/decision", json!("Deny")),
        ),
        case(
            "another name",
            with(good.clone(), "/object/metadata/name", json!("0".repeat(40))),
        ),
        case(
            "another user's name in it",
            with(
                good.clone(),
                "/object/spec/stamp/user",
                json!("eve@example.com"),
            ),
        ),
        Case {
            name: "an old one",
            review: good.clone(),
            now: later,
        },
    ] {
        let answer = at(now, validate, review, &facts(approval()));
        assert!(
            refusal(&answer).contains("is not what ActPass stamped"),
            "{name}: {answer:?}"
        );
    }
    passes(&at(
        "2026-05-04T10:00:29Z",
        validate,
        good,
        &facts(approval()),
    ));
}

fn at_with(key: &SigningKey, review: Value) -> Value {
    let stamps = stamps(std::slice::from_ref(key));
    let stamping = Stamping {
        stamps: &stamps,
        now: NOW.parse().unwrap(),
    };
    let answer = mutate(&request(review.clone()), &facts(approval()), stamping);
    let Verdict::Patched(patch) = answer.verdict else {
        panic!("{answer:?}")
    };
    let mut object = review["request"]["object"].clone();
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    with(review, "/object", object)
}

#[test]
fn who_may_not_vote_and_what_cannot_be_voted_on_is_said() {
    struct Case {
        name: &'static str,
        review: Value,
        facts: Facts,
        want: &'static str,
    }
    let approved = || facts(approval());
    let changed = |at: &str, value: Value| {
        let mut approval = approval();
        let (parent, key) = at.rsplit_once('/').unwrap();
        approval
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        facts(approval)
    };
    let user = |name: &str| with(vote(), "/userInfo/username", json!(name));
    let groups = |names: Value| with(vote(), "/userInfo/groups", names);
    let case = |name, review, facts, want| Case {
        name,
        review,
        facts,
        want,
    };
    for Case {
        name,
        review,
        facts,
        want,
    } in [
        case(
            "a ServiceAccount",
            user("system:serviceaccount:shop:agent"),
            approved(),
            "only people vote",
        ),
        case(
            "whoever acts as one",
            groups(json!(["finance", "system:serviceaccounts:shop"])),
            approved(),
            "only people vote",
        ),
        case(
            "a node",
            user("system:node:a"),
            approved(),
            "only people vote",
        ),
        case("nobody", user(""), approved(), "only people vote"),
        case("two lines", user("a\nb"), approved(), "not one line"),
        case(
            "no right",
            vote(),
            Facts {
                may: false,
                ..approved()
            },
            "bind the ClusterRole `actpass-approver`",
        ),
        case(
            "the owner",
            user("Owner@example.com"),
            approved(),
            "owners do not vote",
        ),
        case(
            "the owner of now",
            user("new-owner@example.com"),
            approved(),
            "owners do not vote",
        ),
        case(
            "a member of the owning group",
            groups(json!(["finance", "owner@example.com"])),
            approved(),
            "owners do not vote",
        ),
        case(
            "no seat",
            groups(json!(["sales"])),
            approved(),
            "members of `finance` are asked",
        ),
        case(
            "no such Approval",
            vote(),
            Facts {
                may: true,
                ..Facts::default()
            },
            "there is no Approval `apr-1`",
        ),
        case(
            "one made anew",
            with(vote(), "/object/spec/approvalUid", json!("u-2")),
            approved(),
            "write `u-1`",
        ),
        case(
            "another digest",
            with(vote(), "/object/spec/digest", json!("cd".repeat(32))),
            approved(),
            "not the digest of what is asked",
        ),
        case(
            "expired",
            vote(),
            changed("/spec/expiresAt", json!("2026-05-04T10:00:00Z")),
            "has expired",
        ),
        case(
            "granted",
            vote(),
            changed("/status", json!({"state": "Granted"})),
            "is granted already",
        ),
        case(
            "used",
            vote(),
            changed("/status", json!({"state": "Used"})),
            "was used already",
        ),
        case(
            "not to be seen",
            vote(),
            changed("/spec/unseen", json!("too long")),
            "nobody can approve it",
        ),
        case(
            "another name",
            with(vote(), "/object/metadata/name", json!("mine")),
            approved(),
            "the name of your vote is",
        ),
        case(
            "no decision",
            with(vote(), "/object/spec/decision", json!("Maybe")),
            approved(),
            "see `kubectl explain approvalvote.spec`",
        ),
        case(
            "a change",
            with(vote(), "/operation", json!("UPDATE")),
            approved(),
            "(unexpected)",
        ),
    ] {
        let said = refusal(&at(NOW, mutate, review, &facts));
        assert!(said.contains(want), "{name}: {said}");
    }
    let denied = with(vote(), "/object/spec/decision", json!("Deny"));
    passes(&at(
        NOW,
        mutate,
        denied,
        &changed("/spec/unseen", json!("too long")),
    ));
}

#[test]
fn many_groups_shrink_to_those_that_are_asked() {
    let many: Vec<String> = (0..300)
        .map(|n| format!("g{n}"))
        .chain(["finance".to_owned()])
        .collect();
    let review = stamped(&with(vote(), "/userInfo/groups", json!(many)));
    assert_eq!(
        review["request"]["object"]["spec"]["stamp"]["groups"],
        json!(["finance"])
    );
}

#[test]
fn only_a_name_becomes_part_of_a_path() {
    for (given, want) in [
        ("apr-1", true),
        ("../secrets", false),
        ("", false),
        ("A", false),
        ("a/b", false),
    ] {
        let review = with(vote(), "/object/spec/approvalName", json!(given));
        assert_eq!(approval_name(&request(review)).is_some(), want, "{given}");
    }
}

#[test]
fn a_stamp_of_the_key_that_another_replica_still_uses_counts() {
    let (ours, earlier) = (key(), SigningKey::from_bytes(&[6; 32]));
    let stamped = at_with(&earlier, vote());
    let both = stamps(&[earlier, ours.clone()]);
    for (stamps, want) in [(both, true), (self::stamps(&[ours]), false)] {
        let stamping = Stamping {
            stamps: &stamps,
            now: NOW.parse().unwrap(),
        };
        let answer = validate(&request(stamped.clone()), &facts(approval()), stamping);
        assert_eq!(
            matches!(answer.verdict, Verdict::Allowed),
            want,
            "{answer:?}"
        );
    }
}
