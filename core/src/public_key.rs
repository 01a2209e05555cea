//! Ed25519 public keys as text.

use ed25519_dalek::VerifyingKey;

use crate::hash::b64u_decode_array;

/// The key of 32 bytes in base64url. One of small order is none: under it some signatures fit any message.
pub fn read(text: &str) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(&b64u_decode_array(text).ok()?);
    key.ok().filter(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::hash::b64u_encode;

    #[test]
    fn a_weak_key_is_none() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert_eq!(read(&b64u_encode(key.as_bytes())), Some(key));
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(VerifyingKey::from_bytes(&neutral).is_ok());
        assert_eq!(read(&b64u_encode(&neutral)), None);
        assert_eq!(read(""), None);
    }
}
