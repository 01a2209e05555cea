use super::*;
use crate::canonical;

fn opening(text: &str) -> Opening {
    Opening {
        salt: [0xff; 32],
        text: text.to_owned(),
    }
}

#[test]
fn a_commitment_is_over_salt_then_text() {
    let want = sha256(&[&[0xff; 32], b"ch_1"]);
    assert_eq!(*commit(&opening("ch_1")).as_bytes(), want);
    assert_ne!(commit(&opening("ch_1")), commit(&opening("ch_2")));
    assert_ne!(
        commit(&opening("ch_1")),
        commit(&Opening {
            salt: [0; 32],
            ..opening("ch_1")
        })
    );
}

#[test]
fn openings_have_one_wire_form() {
    let mut openings = Openings::default();
    let commitment = openings.insert("resource", opening("ch_1"));
    openings.insert("path", opening("é\n"));
    assert_eq!(openings.get("resource").map(commit), Some(commitment));
    let salt = "_".repeat(42) + "8";
    let text = format!(
        r#"{{"path":{{"salt":"{salt}","text":"é\n"}},"resource":{{"salt":"{salt}","text":"ch_1"}}}}"#
    );
    assert_eq!(canonical::to_string(&openings).unwrap(), text);
    assert_eq!(
        canonical::from_slice::<Openings>(text.as_bytes()).unwrap(),
        openings
    );
}

#[test]
fn other_wire_forms_are_refused() {
    let salt = "_".repeat(42) + "8";
    for (name, given) in [
        (
            "padded salt",
            format!(r#"{{"a":{{"salt":"{salt}=","text":""}}}}"#),
        ),
        (
            "short salt",
            r#"{"a":{"salt":"AAAA","text":""}}"#.to_owned(),
        ),
        ("no text", format!(r#"{{"a":{{"salt":"{salt}"}}}}"#)),
        (
            "unknown member",
            format!(r#"{{"a":{{"salt":"{salt}","text":"","x":1}}}}"#),
        ),
        (
            "field twice",
            format!(r#"{{"a":{{"salt":"{salt}","text":""}},"a":{{"salt":"{salt}","text":""}}}}"#),
        ),
        (
            "member twice",
            format!(r#"{{"a":{{"salt":"{salt}","text":"","text":""}}}}"#),
        ),
    ] {
        assert!(serde_json::from_str::<Openings>(&given).is_err(), "{name}");
    }
}

#[test]
fn openings_do_not_show_their_text() {
    let mut openings = Openings::default();
    openings.insert("resource", opening("jane@example.com"));
    assert_eq!(
        format!("{openings:?}"),
        r#"Openings({"resource": Opening([redacted])})"#
    );
}
