use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const IAT: i64 = 1_700_000_000;

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn keys() -> IssuerKeys {
    let key = issuer().verifying_key();
    IssuerKeys::from([(key_id(&key), key)])
}

fn claims() -> Claims {
    Claims {
        iss: "actpass/c1".to_owned(),
        sub: "system:serviceaccount:support:refund-agent".to_owned(),
        tenant: "c1/support/uid".to_owned(),
        agent: "refund-agent".to_owned(),
        passport: "refund-agent".to_owned(),
        cnf: Cnf {
            jwk: Jwk::new(&SigningKey::from_bytes(&[2; 32]).verifying_key()),
        },
        pod_uid: Some("pod-uid".to_owned()),
        iat: IAT,
        exp: IAT + 900,
        jti: "p_1".to_owned(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn issued(claims: &Claims) -> String {
    issue(claims, &issuer(), &key_id(&issuer().verifying_key())).unwrap()
}

/// A token with any header and payload, correctly signed.
fn signed(header: &str, payload: &str) -> String {
    let signed = format!(
        "{}.{}",
        b64u_encode(header.as_bytes()),
        b64u_encode(payload.as_bytes())
    );
    let signature = issuer().sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", b64u_encode(&signature))
}

fn good_header() -> String {
    format!(
        r#"{{"alg":"Ed25519","kid":"{}","typ":"actpass+jwt"}}"#,
        key_id(&issuer().verifying_key())
    )
}

fn good_payload() -> String {
    canonical::to_string(&claims()).unwrap()
}

#[test]
fn a_passport_reads_back_with_and_without_pod() {
    for given in [
        claims(),
        Claims {
            pod_uid: None,
            ..claims()
        },
    ] {
        assert_eq!(verify(&issued(&given), &keys(), at(IAT)), Ok(given));
    }
}

#[test]
fn the_token_has_exactly_the_header_of_the_design() {
    let token = issued(&claims());
    assert_eq!(token, signed(&good_header(), &good_payload()));
    assert_eq!(key_id(&issuer().verifying_key()).len(), 16);
}

/// RFC 8037 appendix A.1 and A.2.
#[test]
fn keys_have_the_form_of_rfc_8037() {
    let secret = b64u_decode_array("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let jwk = Jwk::new(&SigningKey::from_bytes(&secret).verifying_key());
    let want = r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(canonical::to_string(&jwk).unwrap(), want);
    assert_eq!(
        jwk.key().unwrap(),
        SigningKey::from_bytes(&secret).verifying_key()
    );
}

#[test]
fn a_passport_holds_from_a_minute_before_it_is_issued_until_it_expires() {
    let token = issued(&claims());
    for (now, want) in [
        (
            IAT - CLOCK_SKEW_SECONDS - 1,
            Err(JwsError::IssuedInFuture { iat: IAT }),
        ),
        (IAT - CLOCK_SKEW_SECONDS, Ok(claims())),
        (IAT + 899, Ok(claims())),
        (IAT + 900, Err(JwsError::Expired { exp: IAT + 900 })),
        (IAT + 9_000_000, Err(JwsError::Expired { exp: IAT + 900 })),
    ] {
        assert_eq!(verify(&token, &keys(), at(now)), want, "{now}");
    }
    let almost = at(IAT + 900)
        .checked_sub(std::time::Duration::from_nanos(1))
        .unwrap();
    assert_eq!(verify(&token, &keys(), almost), Ok(claims()));
}

#[test]
fn no_passport_lives_over_an_hour_or_no_time() {
    let lived = |seconds: i64| Claims {
        exp: IAT + seconds,
        ..claims()
    };
    assert!(verify(&issued(&lived(3600)), &keys(), at(IAT)).is_ok());
    assert!(verify(&issued(&lived(1)), &keys(), at(IAT)).is_ok());
    for seconds in [3601, 0, -1] {
        let want = JwsError::Lifetime {
            iat: IAT,
            exp: IAT + seconds,
        };
        assert_eq!(issue(&lived(seconds), &issuer(), "k"), Err(want.clone()));
        let token = signed(
            &good_header(),
            &canonical::to_string(&lived(seconds)).unwrap(),
        );
        assert_eq!(verify(&token, &keys(), at(IAT)), Err(want));
    }
}

#[test]
fn any_other_header_is_refused() {
    let kid = key_id(&issuer().verifying_key());
    for (name, header) in [
        (
            "none",
            format!(r#"{{"alg":"none","kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        (
            "EdDSA",
            format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        (
            "other type",
            format!(r#"{{"alg":"Ed25519","kid":"{kid}","typ":"JWT"}}"#),
        ),
        ("no type", format!(r#"{{"alg":"Ed25519","kid":"{kid}"}}"#)),
        (
            "no key id",
            r#"{"alg":"Ed25519","typ":"actpass+jwt"}"#.to_owned(),
        ),
        (
            "more",
            format!(r#"{{"alg":"Ed25519","crit":[],"kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        (
            "a key of its own",
            format!(r#"{{"alg":"Ed25519","jwk":{{}},"kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        (
            "other order",
            format!(r#"{{"kid":"{kid}","alg":"Ed25519","typ":"actpass+jwt"}}"#),
        ),
        (
            "white space",
            format!(r#"{{"alg": "Ed25519","kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        (
            "key id twice",
            format!(r#"{{"alg":"Ed25519","kid":"{kid}","kid":"{kid}","typ":"actpass+jwt"}}"#),
        ),
        ("no object", "[]".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_eq!(
            verify(&signed(&header, &good_payload()), &keys(), at(IAT)),
            Err(JwsError::Header),
            "{name}"
        );
    }
    let unknown = r#"{"alg":"Ed25519","kid":"0000","typ":"actpass+jwt"}"#;
    assert_eq!(
        verify(&signed(unknown, &good_payload()), &keys(), at(IAT)),
        Err(JwsError::UnknownKey("0000".to_owned()))
    );
}

#[test]
fn any_other_claims_are_refused() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut payload: Value = serde_json::from_str(&good_payload()).unwrap();
        change(&mut payload);
        verify(
            &signed(&good_header(), &payload.to_string()),
            &keys(),
            at(IAT),
        )
    };
    assert_eq!(changed(&|_| {}), Ok(claims()));
    for (name, change) in [
        (
            "unknown claim",
            (|claims| claims["scope"] = json!("all")) as fn(&mut Value),
        ),
        ("unknown member of cnf", |claims| {
            claims["cnf"]["kid"] = json!("x")
        }),
        ("unknown member of jwk", |claims| {
            claims["cnf"]["jwk"]["use"] = json!("sig")
        }),
        ("no subject", |claims| {
            drop(claims.as_object_mut().unwrap().remove("sub"))
        }),
        ("no expiry", |claims| {
            drop(claims.as_object_mut().unwrap().remove("exp"))
        }),
        ("text as time", |claims| claims["iat"] = json!("1700000000")),
        ("fraction of a second", |claims| {
            claims["iat"] = json!(1_700_000_000.5)
        }),
        ("number as subject", |claims| claims["sub"] = json!(1)),
    ] {
        assert!(
            matches!(changed(&change), Err(JwsError::Claims(_))),
            "{name}"
        );
    }
    for name in ["iss", "sub", "tenant", "agent", "passport", "jti"] {
        assert_eq!(
            changed(&|claims| claims[name] = json!("")),
            Err(JwsError::EmptyClaim(name))
        );
    }
    for (name, change) in [
        (
            "other curve",
            (|claims| claims["cnf"]["jwk"]["crv"] = json!("X25519")) as fn(&mut Value),
        ),
        ("other type", |claims| {
            claims["cnf"]["jwk"]["kty"] = json!("EC")
        }),
        ("short key", |claims| {
            claims["cnf"]["jwk"]["x"] = json!("AAAA")
        }),
        ("padded key", |claims| {
            claims["cnf"]["jwk"]["x"] = json!(format!("{}=", "A".repeat(43)))
        }),
        ("weak key", |claims| {
            claims["cnf"]["jwk"]["x"] = json!("A".repeat(43))
        }),
    ] {
        assert_eq!(changed(&change), Err(JwsError::BoundKey), "{name}");
    }
    for (name, payload) in [
        ("white space", good_payload().replace(":", ": ")),
        (
            "claim twice",
            good_payload().replace(r#""iat""#, r#""iat":1,"iat""#),
        ),
        ("not JSON", "x".to_owned()),
        ("nothing", String::new()),
    ] {
        let found = verify(&signed(&good_header(), &payload), &keys(), at(IAT));
        assert!(matches!(found, Err(JwsError::Claims(_))), "{name}");
    }
}

#[test]
fn every_changed_character_is_found() {
    let token = issued(&claims());
    for at_byte in 0..token.len() {
        for other in ["A", "B", "_", ".", "=", "é", ""] {
            let (before, behind) = token.split_at(at_byte);
            let changed = format!("{before}{other}{}", behind.split_at(1).1);
            if changed != token {
                assert!(
                    verify(&changed, &keys(), at(IAT)).is_err(),
                    "{other:?} at {at_byte}"
                );
            }
        }
    }
    for (name, changed) in [
        ("part too many", format!("{token}.AA")),
        ("no signature", token.rsplit_once('.').unwrap().0.to_owned()),
        (
            "empty signature",
            format!("{}.", token.rsplit_once('.').unwrap().0),
        ),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
    ] {
        assert!(
            matches!(
                verify(&changed, &keys(), at(IAT)),
                Err(JwsError::Shape | JwsError::Header)
            ),
            "{name}"
        );
    }
}

#[test]
fn other_signers_are_refused() {
    let other = SigningKey::from_bytes(&[9; 32]);
    let own_kid = key_id(&issuer().verifying_key());
    let token = issue(&claims(), &other, &own_kid).unwrap();
    assert_eq!(verify(&token, &keys(), at(IAT)), Err(JwsError::Signature));
    let other_kid = key_id(&other.verifying_key());
    let token = issue(&claims(), &other, &other_kid).unwrap();
    assert_eq!(
        verify(&token, &keys(), at(IAT)),
        Err(JwsError::UnknownKey(other_kid))
    );
    assert!(matches!(
        verify(&issued(&claims()), &IssuerKeys::new(), at(IAT)),
        Err(JwsError::UnknownKey(_))
    ));
}

#[test]
fn tokens_are_bounded() {
    let long = Claims {
        sub: "x".repeat(TOKEN_BYTES_MAX),
        ..claims()
    };
    assert!(matches!(
        issue(&long, &issuer(), "k"),
        Err(JwsError::TooLong { .. })
    ));
    let token = "x".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(
        verify(&token, &keys(), at(IAT)),
        Err(JwsError::TooLong {
            found: TOKEN_BYTES_MAX + 1
        })
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", parts in "[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,20}") {
        prop_assert!(verify(&text, &keys(), at(IAT)).is_err());
        prop_assert!(verify(&parts, &keys(), at(IAT)).is_err());
        prop_assert!(verify(&signed(&good_header(), &text), &keys(), at(IAT)).is_err());
        prop_assert!(verify(&signed(&text, &good_payload()), &keys(), at(IAT)).is_err());
    }

    #[test]
    fn no_times_panic(iat: i64, exp: i64, now in -377_705_023_201_i64..253_402_207_200) {
        let given = Claims { iat, exp, ..claims() };
        let refused = match canonical::to_string(&given) {
            Ok(payload) => verify(&signed(&good_header(), &payload), &keys(), at(now)).is_err(),
            Err(_) => issue(&given, &issuer(), "k").is_err(),
        };
        prop_assert!(refused);
    }

    #[test]
    fn a_passport_holds_exactly_in_its_time(life in -1..3605_i64, age in -65..3605_i64) {
        let payload = canonical::to_string(&Claims { exp: IAT + life, ..claims() }).unwrap();
        let found = verify(&signed(&good_header(), &payload), &keys(), at(IAT + age));
        prop_assert_eq!(found.is_ok(), (1..=3600).contains(&life) && (-60..life).contains(&age));
    }
}
