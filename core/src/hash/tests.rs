use proptest::prelude::*;

use super::*;

#[test]
fn hashes_are_lower_case_hex_in_every_text_form() {
    let hash = LeafHash::from_bytes([0xab; 32]);
    let text = "ab".repeat(32);
    assert_eq!(hash.to_string(), text);
    assert_eq!(format!("{hash:?}"), format!("LeafHash({text})"));
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{text}\""));
    assert_eq!(text.parse::<LeafHash>().unwrap(), hash);
    assert_eq!(
        serde_json::from_str::<LeafHash>(&format!("\"{text}\"")).unwrap(),
        hash
    );
}

#[test]
fn only_64_lower_case_digits_are_a_hash() {
    struct Case {
        name: &'static str,
        given: String,
        want: HexError,
    }
    let cases = [
        Case {
            name: "empty",
            given: String::new(),
            want: HexError::Length { found: 0 },
        },
        Case {
            name: "one digit short",
            given: "a".repeat(63),
            want: HexError::Length { found: 63 },
        },
        Case {
            name: "one digit long",
            given: "a".repeat(65),
            want: HexError::Length { found: 65 },
        },
        Case {
            name: "upper case",
            given: "A".repeat(64),
            want: HexError::Digit { at: 0 },
        },
        Case {
            name: "wrong last digit",
            given: format!("{}g", "0".repeat(63)),
            want: HexError::Digit { at: 63 },
        },
        Case {
            name: "two-byte letter",
            given: format!("{}é", "0".repeat(62)),
            want: HexError::Digit { at: 62 },
        },
    ];
    for Case { name, given, want } in cases {
        assert_eq!(unhex32(&given), Err(want), "{name}");
    }
}

#[test]
fn a_wrong_hash_in_json_names_its_type() {
    let refused = serde_json::from_str::<RecordHash>("\"12\"")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("RecordHash") && refused.contains("64 hex digits"),
        "{refused}"
    );
}

#[test]
fn sha256_is_over_the_concatenation() {
    // FIPS 180-4 example: "abc".
    let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex(&sha256(&[b"a", b"", b"bc"])), want);
}

#[test]
fn base64url_has_one_text_per_value() {
    assert_eq!(b64u_encode(&[0xfb, 0xff]), "-_8");
    assert_eq!(b64u_decode("-_8").unwrap(), [0xfb, 0xff]);
    for (name, refused) in [
        ("padding", "-_8="),
        ("trailing bits", "-_9"),
        ("standard alphabet", "+/8"),
        ("white space", "-_ 8"),
        ("lone character", "A"),
    ] {
        assert!(
            matches!(b64u_decode(refused), Err(B64Error::Text(_))),
            "{name}"
        );
    }
    assert_eq!(
        b64u_decode_array::<3>("-_8"),
        Err(B64Error::Length {
            expected: 3,
            found: 2
        })
    );
}

proptest! {
    #[test]
    fn hex_reads_back(bytes: [u8; 32]) {
        prop_assert_eq!(unhex32(&hex(&bytes)), Ok(bytes));
    }

    #[test]
    fn base64url_reads_back(bytes: Vec<u8>) {
        prop_assert_eq!(b64u_decode(&b64u_encode(&bytes)), Ok(bytes));
    }

    #[test]
    fn a_text_that_reads_as_base64url_is_its_own_encoding(text in "[A-Za-z0-9_=+/-]{0,12}") {
        if let Ok(bytes) = b64u_decode(&text) {
            prop_assert_eq!(b64u_encode(&bytes), text);
        }
    }
}
