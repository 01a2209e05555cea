//! Passports on the wire.

use std::sync::LazyLock;

use actpass_core::hash::b64u_encode;
use actpass_core::passport::jws::{
    CLOCK_SKEW_SECONDS, IssuerKeys, LIFETIME_SECONDS_MAX, issue, key_id, verify,
};
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::Timestamp;

use crate::input::Input;

/// 2026-11-21T09:00:00Z.
const NOW: i64 = 1_795_251_600;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));

/// Input: header and claims, a line each, which the issuer's key then signs; or a whole token.
///
/// - A token that verifies is the one token of its claims and is valid at the time given.
/// - No changed byte of it verifies.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (header, claims) = (input.line(), input.line());
    let signed = format!("{}.{}", b64u_encode(header), b64u_encode(claims));
    let signature = b64u_encode(&KEY.sign(signed.as_bytes()).to_bytes());
    check(&format!("{signed}.{signature}"), input.u16());
    if let Ok(token) = std::str::from_utf8(data) {
        check(token, 0);
    }
}

fn check(token: &str, at: u16) {
    let kid = key_id(&KEY.verifying_key());
    let keys = IssuerKeys::from([(kid.clone(), KEY.verifying_key())]);
    let now = Timestamp::from_second(NOW).expect("in range");
    let Ok(claims) = verify(token, &keys, now) else {
        return;
    };
    assert_eq!(
        issue(&claims, &KEY, &kid).as_deref(),
        Ok(token),
        "another token says the same"
    );
    assert!((1..=LIFETIME_SECONDS_MAX).contains(&(claims.exp - claims.iat)));
    assert!(claims.iat <= NOW + CLOCK_SKEW_SECONDS && NOW < claims.exp);
    assert!(claims.cnf.jwk.key().is_ok());
    let mut changed = token.as_bytes().to_vec();
    let at = usize::from(at) % changed.len();
    changed[at] ^= 1;
    let changed = String::from_utf8(changed).expect("ASCII stays ASCII");
    assert!(
        verify(&changed, &keys, now).is_err(),
        "byte {at} may be changed"
    );
}
