use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::evidence::record::{Body, Chain, Note};
use crate::hash::DigestMac;
use crate::vote::{SignedVote, Vote};

fn header() -> LeafHeader {
    let log = "actpass/local/support/1".to_owned();
    let prev = genesis_prev(&log);
    LeafHeader {
        log,
        prev,
        seq: 0,
        time: "2026-11-21T09:00:00.123456Z".parse().unwrap(),
    }
}

fn events() -> Vec<EventBody> {
    let (stream, time) = (StreamId::from_bytes([1; 32]), header().time);
    let text = |text: &str| text.to_owned();
    vec![
        EventBody::Genesis {
            origin: header().log,
            log_key: text("k"),
            issuer_keys: BTreeMap::new(),
        },
        EventBody::Bundle {
            digest: BundleDigest::from_bytes([2; 32]),
            revision: None,
        },
        EventBody::StreamOpened {
            stream,
            key: text("k"),
            passport: text("p"),
            agent: text("a"),
            jti: text("j"),
            expires: time,
            issuer: None,
            pod_uid: None,
        },
        EventBody::StreamEnded {
            stream,
            how: StreamEnd::ExpiredTailUnknown,
        },
        EventBody::Sealed {
            approval: text("apr_1"),
            stream,
            seq: 3,
            blob: BlobDigest::from_bytes([3; 32]),
            bytes: 9,
        },
        EventBody::Vote {
            approval: text("apr_1"),
            grant: true,
            user: text("ann"),
            groups: vec![text("finance")],
            signed: None,
        },
        EventBody::Leased {
            stream,
            upstream: text("u"),
            credential: text("c"),
            version: 1,
            expires: time,
        },
        EventBody::CredentialReleased {
            stream,
            seq: 3,
            credential: text("c"),
        },
        EventBody::CredentialChanged {
            credential: text("c"),
            version: 0,
            change: text("delete"),
            by: text("ann"),
        },
        EventBody::Revoked {
            passport: text("p"),
            by: text("ann"),
            why: text("lost"),
        },
        EventBody::Resolved {
            stream,
            seq: 3,
            happened: false,
            by: text("ann"),
        },
        EventBody::Recovery { bytes: 12 },
        EventBody::Gap {
            size: 9,
            root: TreeRoot::from_bytes([6; 32]),
            lost: vec![LostHead {
                size: 12,
                root: TreeRoot::from_bytes([7; 32]),
            }],
            limits: GapLimits::UsedUp,
            by: text("ann"),
            why: text("the disk broke"),
        },
        EventBody::Gap {
            size: 9,
            root: TreeRoot::from_bytes([6; 32]),
            lost: Vec::new(),
            limits: GapLimits::AsLogged,
            by: text("ann"),
            why: text("moved"),
        },
        EventBody::LogKey {
            key: text("k"),
            by: text("s"),
        },
        EventBody::Erasure {
            id: text("ers_1"),
            subject: Some(DigestMac::from_bytes([5; 32])),
            generation: Some(0),
            before: None,
            by: text("ann"),
            why: text("request 4711"),
        },
        EventBody::Erasure {
            id: text("ers_2"),
            subject: None,
            generation: None,
            before: Some(time),
            by: text("ann"),
            why: text("kept for a year"),
        },
        EventBody::TextsDisclosed {
            leaves: vec![
                LeafRange { first: 3, last: 3 },
                LeafRange { first: 7, last: 12 },
            ],
            by: text("ann"),
        },
        EventBody::Bundle {
            digest: BundleDigest::from_bytes([2; 32]),
            revision: Some(Revision { term: 7, count: 3 }),
        },
        EventBody::StreamOpened {
            stream,
            key: text("k"),
            passport: text("p"),
            agent: text("a"),
            jti: text("j"),
            expires: time,
            issuer: Some(text("k1")),
            pod_uid: Some(text("u-1")),
        },
        EventBody::Keys(TrustedKeys {
            issuer_keys: BTreeMap::from([(text("k1"), text("x"))]),
            vote_keys: BTreeMap::new(),
        }),
        EventBody::Vote {
            approval: text("apr_1"),
            grant: true,
            user: text("ann"),
            groups: vec![text("finance")],
            signed: Some(Box::new(SignedVote {
                key_id: text("k1"),
                signature: text("s"),
                vote: Vote {
                    approval_uid: text("u-1"),
                    digest: "ab".repeat(32),
                    grant: true,
                    groups: vec![text("finance"), text("sales")],
                    time,
                    user: text("ann"),
                },
            })),
        },
    ]
}

fn note_leaf(signature: Option<String>) -> Leaf {
    let mut chain = Chain::new(StreamId::from_bytes([1; 32]));
    let note = Body::Note(Note {
        note: "started".to_owned(),
        text: "x".to_owned(),
    });
    let record = chain.next(note, header().time).unwrap().record;
    Leaf::of_record(
        header(),
        record,
        Ruling::of(RulingVerdict::Recorded),
        signature,
    )
}

#[test]
fn every_event_survives_its_bytes() {
    for event in events() {
        let leaf = Leaf::of_event(header(), event);
        let bytes = leaf.canonical().unwrap();
        assert_eq!(
            Leaf::parse(&bytes),
            Ok(leaf),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn events_of_earlier_versions_keep_their_bytes() {
    let stream = StreamId::from_bytes([1; 32]);
    let bodies = [
        format!(
            r#"{{"body":{{"agent":"a","expires":"2026-11-21T09:00:00.123456Z","jti":"j","key":"k","passport":"p","stream":"{stream}"}},"kind":"stream_opened","v":"actpass.event/1"}}"#
        ),
        r#"{"body":{"approval":"apr_1","grant":true,"groups":["finance"],"user":"ann"},"kind":"vote","v":"actpass.event/1"}"#
            .to_owned(),
    ];
    for body in bodies {
        let leaf = Leaf::of_event(header(), EventBody::Recovery { bytes: 12 });
        let text = String::from_utf8(leaf.canonical().unwrap()).unwrap();
        let other = r#"{"body":{"bytes":12},"kind":"recovery","v":"actpass.event/1"}"#;
        assert!(text.contains(other), "{text}");
        let text = text.replace(other, &body);
        let read = Leaf::parse(text.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(read.canonical().unwrap()).unwrap(),
            text,
            "nothing is added"
        );
    }
}

#[test]
fn a_record_survives_with_its_ruling_and_signature() {
    let mut leaf = note_leaf(Some("sig".to_owned()));
    let ruling = Ruling {
        reason: Some("clock_skew".to_owned()),
        digest: Some(DigestMac::from_bytes([4; 32])),
        approval: Some(RulingApproval::Used {
            id: "apr_1".to_owned(),
        }),
        not_after: Some(header().time),
        late: true,
        ..Ruling::of(RulingVerdict::Deny)
    };
    leaf.d = Some(Box::new(ruling));
    let bytes = leaf.canonical().unwrap();
    assert_eq!(Leaf::parse(&bytes), Ok(leaf));
}

#[test]
fn the_bytes_of_an_event_leaf_are_these() {
    let bytes = Leaf::of_event(header(), EventBody::Recovery { bytes: 12 })
        .canonical()
        .unwrap();
    let prev = genesis_prev(&header().log);
    let want = format!(
        "{{\"h\":{{\"log\":\"actpass/local/support/1\",\"prev\":\"{prev}\",\"seq\":0,\
         \"time\":\"2026-11-21T09:00:00.123456Z\"}},\
         \"r\":{{\"body\":{{\"bytes\":12}},\"kind\":\"recovery\",\"v\":\"actpass.event/1\"}},\"v\":\"actpass.leaf/1\"}}"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), want);
}

/// Serde would read an array of the fields as well, in the leaf and in its record.
#[test]
fn a_struct_is_spelled_as_an_object_only() {
    let leaf = canonical::to_vec(&note_leaf(None)).unwrap();
    let leaf: serde_json::Value = canonical::from_slice(&leaf).unwrap();
    let as_array = |object: &serde_json::Value, keys: &[&str]| {
        serde_json::Value::Array(keys.iter().map(|key| object[key].clone()).collect())
    };
    let (mut header, mut note) = (leaf.clone(), leaf.clone());
    header["h"] = as_array(&leaf["h"], &["log", "prev", "seq", "time"]);
    note["r"]["body"] = as_array(&leaf["r"]["body"], &["note", "text"]);
    for (name, changed) in [("header", &header), ("note", &note)] {
        let bytes = canonical::to_vec(changed).unwrap();
        assert_eq!(
            canonical::from_slice::<Leaf>(&bytes).unwrap().canonical(),
            note_leaf(None).canonical(),
            "{name}"
        );
        let read = Leaf::parse(&bytes);
        let spelling = LeafError::Form(CanonicalError::Spelling);
        assert_eq!(read, Err(spelling), "{name}");
    }
}

#[test]
fn what_is_no_leaf_is_refused() {
    struct Case {
        name: &'static str,
        given: fn(String) -> String,
    }
    let event = String::from_utf8(
        Leaf::of_event(header(), events().remove(11))
            .canonical()
            .unwrap(),
    )
    .unwrap();
    let record = String::from_utf8(note_leaf(None).canonical().unwrap()).unwrap();
    let cases = [
        Case {
            name: "white space",
            given: |text| text.replace(",", ", "),
        },
        Case {
            name: "another leaf version",
            given: |text| text.replace("leaf/1", "leaf/2"),
        },
        Case {
            name: "another body version",
            given: |text| {
                text.replace("event/1", "event/2")
                    .replace("record/1", "r/2")
            },
        },
        Case {
            name: "the other's version",
            given: |text| {
                if text.contains("event/1") {
                    text.replace("event/1", "record/1")
                } else {
                    text.replace("record/1", "event/1")
                }
            },
        },
        Case {
            name: "a kind nobody knows",
            given: |text| {
                text.replace("recovery", "other")
                    .replace("\"note\",\"prev", "\"x\",\"prev")
            },
        },
        Case {
            name: "a field nobody knows in the body",
            given: |text| {
                text.replace("bytes", "bytez")
                    .replace("\"text\"", "\"texu\"")
            },
        },
        Case {
            name: "a field nobody knows in the header",
            given: |text| text.replace("\"seq\":0,\"time", "\"sea\":1,\"seq\":0,\"time"),
        },
        Case {
            name: "a repeated field",
            given: |text| {
                text.replace(
                    "\"v\":\"actpass.leaf/1\"",
                    "\"v\":\"actpass.leaf/1\",\"v\":\"actpass.leaf/1\"",
                )
            },
        },
        Case {
            name: "an empty object",
            given: |_| "{}".to_owned(),
        },
        Case {
            name: "nothing",
            given: |_| String::new(),
        },
    ];
    for Case { name, given } in cases {
        for text in [&event, &record] {
            let changed = given(text.clone());
            assert_ne!(&changed, text, "{name}: the case changes nothing");
            assert!(
                Leaf::parse(changed.as_bytes()).is_err(),
                "{name}: {changed}"
            );
        }
    }
}

#[test]
fn a_record_needs_a_ruling_and_an_event_has_none() {
    let mut without = note_leaf(None);
    without.d = None;
    assert_eq!(without.canonical(), Err(LeafError::Parts));
    let mut with = Leaf::of_event(header(), EventBody::Recovery { bytes: 1 });
    with.d = Some(Box::new(Ruling::of(RulingVerdict::Recorded)));
    assert_eq!(with.canonical(), Err(LeafError::Parts));
    let mut signed = Leaf::of_event(header(), EventBody::Recovery { bytes: 1 });
    signed.s = Some("sig".to_owned());
    assert_eq!(signed.canonical(), Err(LeafError::Parts));
}

#[test]
fn an_event_beside_a_records_fields_is_refused() {
    let text = String::from_utf8(
        Leaf::of_event(header(), EventBody::Recovery { bytes: 12 })
            .canonical()
            .unwrap(),
    )
    .unwrap();
    let mixed = text.replace("\"kind\":\"recovery\"", "\"kind\":\"recovery\",\"seq\":1");
    assert!(Leaf::parse(mixed.as_bytes()).is_err());
}

#[test]
fn too_long_fields_are_refused_and_cut_ones_fit() {
    let mut leaf = note_leaf(None);
    let mut set = |text: String| {
        leaf.d = Some(Box::new(Ruling {
            detail: Some(text),
            ..Ruling::of(RulingVerdict::Recorded)
        }));
        leaf.canonical()
    };
    assert!(set("x".repeat(FIELD_BYTES_MAX)).is_ok());
    assert_eq!(
        set("x".repeat(FIELD_BYTES_MAX + 1)),
        Err(LeafError::FieldTooLong(FIELD_BYTES_MAX + 1))
    );
    for text in ["x", "\u{1}", "\"", "é", "\u{1f980}"] {
        let cut = bounded(&text.repeat(4 * FIELD_BYTES_MAX));
        assert!(
            cut.len() > FIELD_BYTES_MAX / 6,
            "{text:?} is cut to {}",
            cut.len()
        );
        assert!(set(cut).is_ok(), "{text:?}");
    }
}

#[test]
fn macs_tell_actions_and_keys_apart() {
    let (one, two) = (MacKey::new([1; 32]), MacKey::new([2; 32]));
    let (a, b) = (
        crate::hash::ActionDigest::from_bytes([1; 32]),
        crate::hash::ActionDigest::from_bytes([2; 32]),
    );
    assert_eq!(one.digest(&a), one.digest(&a));
    assert_ne!(one.digest(&a), one.digest(&b));
    assert_ne!(one.digest(&a), two.digest(&a));
}

#[test]
fn a_leaf_read_from_its_bytes_knows_the_hash_of_its_record() {
    let leaf = note_leaf(Some("s".to_owned()));
    let (record, _) = leaf.record().unwrap();
    let read = ReadLeaf::parse(&leaf.canonical().unwrap()).unwrap();
    assert_eq!(read.record_hash(), Some(record.hash().unwrap()));
    for event in events() {
        let bytes = Leaf::of_event(header(), event).canonical().unwrap();
        assert_eq!(ReadLeaf::parse(&bytes).unwrap().record_hash(), None);
    }
}

/// [`longest_field`] byte by byte.
fn longest_field_slowly(json: &[u8]) -> usize {
    let (mut longest, mut length, mut inside) = (0, 0, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match (byte, inside) {
            (b'"', false) => (inside, length) = (true, 0),
            (b'"', true) => (inside, longest) = (false, longest.max(length)),
            (b'\\', true) => {
                bytes.next();
                length += 1;
            }
            (_, true) => length += 1,
            (_, false) => {}
        }
    }
    longest
}

proptest! {
    #[test]
    fn the_longest_field_is_the_same_in_blocks_and_byte_by_byte(text in "[\"\\\\a-c\u{1}é{},:]{0,120}") {
        prop_assert_eq!(longest_field(text.as_bytes()), longest_field_slowly(text.as_bytes()));
    }

    #[test]
    fn parsing_never_panics_and_only_takes_what_it_would_write(at in any::<prop::sample::Index>(), to in any::<u8>(), which in 0_usize..13) {
        let leaf = events().get(which).map_or_else(|| note_leaf(None), |event| Leaf::of_event(header(), event.clone()));
        let mut bytes = leaf.canonical().unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(changed) = Leaf::parse(&bytes) {
            prop_assert_ne!(&changed, &leaf);
            prop_assert_eq!(changed.canonical(), Ok(bytes));
        }
    }
}
