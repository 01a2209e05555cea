use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::evidence::leaf::FIELD_BYTES_MAX;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn chain() -> Chain {
    Chain::new(stream_id(&key().verifying_key()))
}

fn note(text: &str) -> Body {
    Body::Note(Note {
        note: "started".to_owned(),
        text: text.to_owned(),
    })
}

fn time() -> Timestamp {
    "2026-11-21T09:00:00.123456789Z".parse().unwrap()
}

fn outcome(of: u64) -> Body {
    let result = OutcomeResult::Ambiguous;
    Body::Outcome(Outcome {
        of,
        result,
        status: Some(502),
        detail: None,
        micros: 7,
        response_bytes: 0,
    })
}

fn judged() -> Judged {
    let refusal = Refusal {
        code: "unparsable".to_owned(),
        target: "GET api.example.com".to_owned(),
    };
    Judged {
        action: None,
        refusal: Some(refusal),
        bundle: BundleDigest::from_bytes([1; 32]),
        verdict: "deny".to_owned(),
        reason: Some("unparsable".to_owned()),
        detail: None,
        rules: vec!["refunds/small".to_owned().try_into().unwrap()],
        shadow: Vec::new(),
        count: 1,
        containment: Containment::NetworkOnly,
        enforced: true,
    }
}

#[test]
fn every_kind_survives_its_bytes() {
    let bodies = [
        note("x"),
        outcome(0),
        Body::Decision(Box::new(judged())),
        Body::Intent(Box::new(judged())),
    ];
    let mut chain = chain();
    for body in bodies {
        let link = chain.next(body, time()).unwrap();
        assert_eq!(
            Record::parse(&link.bytes),
            Ok(link.record.clone()),
            "{}",
            link.record.body.kind()
        );
        assert_eq!(link.record.hash(), Ok(link.hash));
    }
}

#[test]
fn the_bytes_of_a_record_are_these() {
    let link = chain().next(outcome(0), time()).unwrap();
    let stream = link.record.stream;
    let zero = "0".repeat(64);
    let want = format!(
        "{{\"body\":{{\"micros\":7,\"of\":0,\"response_bytes\":0,\"result\":\"ambiguous\",\"status\":502}},\
         \"kind\":\"outcome\",\"prev\":\"{zero}\",\"seq\":0,\"stream\":\"{stream}\",\
         \"time\":\"2026-11-21T09:00:00.123456Z\",\"v\":\"actpass.record/1\"}}"
    );
    assert_eq!(String::from_utf8(link.bytes.clone()).unwrap(), want);
    let hash = sha256(&[b"actpass.record/1\0", want.as_bytes()]);
    assert_eq!(link.hash, RecordHash::from_bytes(hash));
}

#[test]
fn links_follow_one_another() {
    let mut chain = chain();
    let first = chain.next(note("a"), time()).unwrap();
    let second = chain.next(note("b"), time()).unwrap();
    assert_eq!((first.record.seq, second.record.seq), (0, 1));
    assert_eq!(second.record.prev, first.hash);
    let mut resumed = Chain::resume(chain.stream(), 1, first.hash);
    assert_eq!(
        resumed.next(note("b"), time()).unwrap(),
        second,
        "a chain goes on where it was left"
    );
}

#[test]
fn what_is_no_record_is_refused() {
    struct Case {
        name: &'static str,
        given: fn(String) -> String,
    }
    let cases = [
        Case {
            name: "white space",
            given: |text| text.replace(":", ": "),
        },
        Case {
            name: "another version",
            given: |text| text.replace("record/1", "record/2"),
        },
        Case {
            name: "another kind",
            given: |text| text.replace("\"outcome\"", "\"intent\""),
        },
        Case {
            name: "a kind nobody knows",
            given: |text| text.replace("\"outcome\"", "\"other\""),
        },
        Case {
            name: "a field nobody knows",
            given: |text| text.replace("\"status\"", "\"statuz\""),
        },
        Case {
            name: "a field of another kind",
            given: |text| text.replace("\"status\":502", "\"text\":\"x\""),
        },
        Case {
            name: "a missing number",
            given: |text| text.replace("\"seq\":0,", ""),
        },
        Case {
            name: "a null number",
            given: |text| text.replace("\"seq\":0", "\"seq\":null"),
        },
        Case {
            name: "a float",
            given: |text| text.replace("\"seq\":0", "\"seq\":0.0"),
        },
        Case {
            name: "time without microseconds",
            given: |text| text.replace(".123456Z", "Z"),
        },
        Case {
            name: "upper-case hex",
            given: |text| text.replace("\"prev\":\"0", "\"prev\":\"A"),
        },
        Case {
            name: "bytes behind it",
            given: |text| text + "\n",
        },
    ];
    let text = String::from_utf8(chain().next(outcome(0), time()).unwrap().bytes).unwrap();
    for Case { name, given } in cases {
        let changed = given(text.clone());
        assert_ne!(changed, text, "{name}: the case changes nothing");
        assert!(Record::parse(changed.as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn bounds_hold_in_both_directions() {
    let mut chain = chain();
    let longest = "x".repeat(FIELD_BYTES_MAX);
    assert!(
        chain.next(note(&longest), time()).is_ok(),
        "the longest field"
    );
    assert_eq!(
        chain.next(note(&(longest + "x")), time()),
        Err(RecordError::FieldTooLong)
    );
    let many = Judged {
        rules: vec!["policy/rule".to_owned().try_into().unwrap(); 2_000],
        ..judged()
    };
    let refused = chain.next(Body::Intent(Box::new(many)), time());
    assert!(
        matches!(refused, Err(RecordError::TooLong(_))),
        "{refused:?}"
    );
    assert_eq!(
        chain.next_seq(),
        1,
        "a refused record leaves the chain where it was"
    );
}

#[test]
fn a_batch_signature_is_for_one_key_and_one_head() {
    let link = chain().next(note("a"), time()).unwrap();
    let signature = sign_batch(&key(), &link.hash);
    let verifying = key().verifying_key();
    let stranger = SigningKey::from_bytes(&[4; 32]).verifying_key();
    assert_eq!(verify_batch(&verifying, &link.hash, &signature), Ok(()));
    let other = RecordHash::from_bytes([0; 32]);
    assert_eq!(
        verify_batch(&verifying, &other, &signature),
        Err(BatchError::Signature)
    );
    assert_eq!(
        verify_batch(&stranger, &link.hash, &signature),
        Err(BatchError::Signature)
    );
    assert_eq!(
        verify_batch(
            &verifying,
            &link.hash,
            signature.strip_prefix(|_: char| true).unwrap()
        ),
        Err(BatchError::Form)
    );
}

proptest! {
    #[test]
    fn parsing_never_panics_and_only_takes_what_it_would_write(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::parse(&bytes) {
            prop_assert_eq!(record.canonical(), Ok(bytes));
        }
    }

    #[test]
    fn a_changed_byte_is_another_record_or_none(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let link = chain().next(Body::Decision(Box::new(judged())), time()).unwrap();
        let mut bytes = link.bytes.clone();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(record) = Record::parse(&bytes) {
            prop_assert_ne!(&record, &link.record);
            prop_assert_eq!(record.canonical(), Ok(bytes));
        }
    }
}
