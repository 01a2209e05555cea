//! Votes that come stamped and signed, as in a cluster.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use super::*;
use crate::evidence::leaf::TrustedKeys;
use crate::hash::b64u_encode;
use crate::passport::jws::key_id;
use crate::vote::{SignedVote, Vote};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

fn keys() -> BTreeMap<String, String> {
    let public = key().verifying_key();
    BTreeMap::from([(key_id(&public), b64u_encode(public.as_bytes()))])
}

/// A log that names the vote key, and a question in it about the action.
fn asked(log: &mut TestLog, sidecar: &mut testlog::Sidecar) -> String {
    let ruling = log.intent(sidecar, &refund(20_000, "ch_1"));
    let id = approval_of(&ruling);
    let seq = sidecar.chain.next_seq() - 1;
    log.event(sealed(&id, sidecar, seq)).unwrap();
    id
}

fn log_with_keys() -> (TestLog, testlog::Sidecar) {
    let mut log = TestLog::new();
    let sidecar = log.open(1);
    log.event(EventBody::Keys(TrustedKeys {
        issuer_keys: BTreeMap::new(),
        vote_keys: keys(),
    }))
    .unwrap();
    (log, sidecar)
}

fn good(log: &TestLog, id: &str) -> Vote {
    Vote {
        approval_uid: "u-1".to_owned(),
        digest: log.state.approval(id).unwrap().digest.to_string(),
        grant: true,
        groups: vec!["finance".to_owned(), "system:authenticated".to_owned()],
        time: log.now,
        user: "ann".to_owned(),
    }
}

fn signed(vote: Vote) -> SignedVote {
    let key_id = key_id(&key().verifying_key());
    vote.signed(&key(), &key_id).unwrap()
}

fn event(id: &str, signed: SignedVote) -> EventBody {
    EventBody::Vote {
        approval: id.to_owned(),
        grant: signed.vote.grant,
        user: signed.vote.user.clone(),
        groups: vec!["finance".to_owned()],
        signed: Some(Box::new(signed)),
    }
}

#[test]
fn a_stamped_vote_counts_for_what_it_was_given() {
    struct Case {
        name: &'static str,
        given: fn(&mut Vote),
        want: Option<VoteRefused>,
    }
    let cases = [
        Case {
            name: "as it should be",
            given: |_| {},
            want: None,
        },
        Case {
            name: "another action",
            given: |vote| vote.digest = "ab".repeat(32),
            want: Some(VoteRefused::OtherAction),
        },
        Case {
            name: "in no group asked",
            given: |vote| vote.groups = vec!["sales".to_owned()],
            want: Some(VoteRefused::NoSeat("ann".to_owned())),
        },
        Case {
            name: "the owner",
            given: |vote| vote.user = "owner@example.com".to_owned(),
            want: Some(VoteRefused::Owner),
        },
        Case {
            name: "a ServiceAccount",
            given: |vote| vote.user = "system:serviceaccount:support:bot".to_owned(),
            want: Some(VoteRefused::ServiceAccount(
                "system:serviceaccount:support:bot".to_owned(),
            )),
        },
        Case {
            name: "somebody who acts as ServiceAccounts do",
            given: |vote| vote.groups.push("system:serviceaccounts".to_owned()),
            want: Some(VoteRefused::ServiceAccount("ann".to_owned())),
        },
        Case {
            name: "five minutes old",
            given: |vote| vote.time -= Duration::from_secs(300),
            want: None,
        },
    ];
    let (mut log, mut sidecar) = log_with_keys();
    let id = asked(&mut log, &mut sidecar);
    for Case { name, given, want } in cases {
        let mut vote = good(&log, &id);
        given(&mut vote);
        let checked = log
            .state
            .check_signed_vote(&id, &signed(vote.clone()), &keys(), log.now);
        match want {
            None => assert_eq!(checked, Ok(vec!["finance".to_owned()]), "{name}"),
            Some(refused) => {
                assert_eq!(checked, Err(refused), "{name}");
                let forged = log.clone().event(event(&id, signed(vote)));
                assert!(
                    forged.is_err(),
                    "{name}: nor does a log that says so verify"
                );
            }
        }
    }
    let asked = log.state.approval(&id).unwrap().asked;
    let later = log.now + Duration::from_secs(1_200);
    for (name, time, now, want) in [
        (
            "before the question",
            asked - Duration::from_secs(301),
            log.now,
            false,
        ),
        (
            "of the future",
            log.now + Duration::from_secs(301),
            log.now,
            false,
        ),
        ("it waited for the ledger", log.now, later, true),
    ] {
        let vote = Vote {
            time,
            ..good(&log, &id)
        };
        let checked = log
            .state
            .check_signed_vote(&id, &signed(vote), &keys(), now);
        match want {
            true => assert!(checked.is_ok(), "{name}: {checked:?}"),
            false => assert!(matches!(checked, Err(VoteRefused::Skewed(_))), "{name}"),
        }
    }
}

#[test]
fn a_vote_is_believed_by_its_stamp_alone() {
    let (mut log, mut sidecar) = log_with_keys();
    let id = asked(&mut log, &mut sidecar);
    let check = |signed: &SignedVote, keys: BTreeMap<String, String>| {
        log.state.check_signed_vote(&id, signed, &keys, log.now)
    };
    let mut changed = signed(good(&log, &id));
    changed.vote.groups.push("cfo".to_owned());
    assert_eq!(check(&changed, keys()), Err(VoteRefused::Signature));
    let other = SigningKey::from_bytes(&[78; 32]);
    let other_id = key_id(&other.verifying_key());
    let by_other = good(&log, &id).signed(&other, &other_id).unwrap();
    assert_eq!(
        check(&by_other, keys()),
        Err(VoteRefused::UnknownKey(other_id))
    );
    let posing = good(&log, &id)
        .signed(&other, &key_id(&key().verifying_key()))
        .unwrap();
    assert_eq!(check(&posing, keys()), Err(VoteRefused::Signature));
    assert!(matches!(
        check(&signed(good(&log, &id)), BTreeMap::new()),
        Err(VoteRefused::UnknownKey(_))
    ));
    let unstamped = log.clone().event(vote(&id, "ann", true));
    assert_eq!(
        unstamped,
        Err(StateError::BadVote(id.clone(), VoteRefused::Unstamped))
    );
    let mut says_more = event(&id, signed(good(&log, &id)));
    if let EventBody::Vote { groups, .. } = &mut says_more {
        groups.push("cfo".to_owned());
    }
    assert!(log.clone().event(says_more).is_err(), "another group");
    let mut says_no = event(&id, signed(good(&log, &id)));
    if let EventBody::Vote { grant, .. } = &mut says_no {
        *grant = false;
    }
    assert!(log.clone().event(says_no).is_err(), "another answer");
}

#[test]
fn a_vote_is_on_one_question_about_an_action_and_given_once() {
    let (mut log, mut sidecar) = log_with_keys();
    let first = asked(&mut log, &mut sidecar);
    let given = signed(good(&log, &first));
    log.event(event(&first, given.clone())).unwrap();
    assert_eq!(
        log.state.approval(&first).unwrap().state(log.now),
        ApprovalState::Granted
    );
    // It runs once; the same action is asked about again.
    let permitted = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    assert_eq!(said(&permitted).0, RulingVerdict::Permit);
    let of = sidecar.chain.next_seq() - 1;
    log.outcome(&mut sidecar, of, OutcomeResult::Ok);
    let second = asked(&mut log, &mut sidecar);
    assert_ne!(first, second);
    assert_eq!(
        log.state
            .check_signed_vote(&second, &given, &keys(), log.now),
        Err(VoteRefused::OtherQuestion),
        "the vote on the first question is none on the second"
    );
    let mut on_second = good(&log, &second);
    on_second.approval_uid = "u-2".to_owned();
    log.event(event(&second, signed(on_second.clone())))
        .unwrap();
    assert_eq!(
        log.state.approval(&second).unwrap().state(log.now),
        ApprovalState::Granted
    );
}
