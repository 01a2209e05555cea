//! Hashes as types, and the text forms of bytes: lower-case hex and unpadded base64url.
//!
//! Each kind of hash is a type of its own, so a record's hash cannot stand where a leaf's is meant.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not a hash in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A SHA-256 hash is 64 hex digits.
    #[error("{found} characters instead of 64 hex digits")]
    Length {
        /// Bytes of text found.
        found: usize,
    },
    /// Only `0-9` and `a-f`: an upper-case digit would give one hash two texts.
    #[error("byte {at} is not a lower-case hex digit")]
    Digit {
        /// Offset of the first wrong byte.
        at: usize,
    },
}

/// Why a text is not unpadded base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum B64Error {
    /// A character outside the alphabet, padding, or trailing bits that are not zero.
    #[error("not unpadded base64url")]
    Text(#[source] base64::DecodeError),
    /// Well-formed, but not as many bytes as belong here.
    #[error("{found} bytes instead of {expected}")]
    Length {
        /// Bytes that belong here.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
}

/// SHA-256 over the concatenation of `parts`. The caller makes the concatenation unambiguous, by a
/// prefix that names the purpose and by fields of fixed length.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// `bytes` as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    if let Ok(hash) = bytes.try_into() {
        return with_hex(hash, str::to_owned);
    }
    let digits = bytes.iter().flat_map(|byte| hex_digits(*byte));
    digits.map(char::from).collect()
}

/// The 32 bytes written as 64 lower-case hex digits, and nothing else.
pub fn unhex32(text: &str) -> Result<[u8; 32], HexError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return Err(HexError::Length { found: text.len() });
    }
    let mut bytes = [0; 32];
    // Without a branch per digit, which the compiler turns into vector instructions.
    let mut wrong = false;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (hex_value(*high), hex_value(*low));
        wrong |= (high | low) > 0x0f;
        *byte = (high << 4) | (low & 0x0f);
    }
    if wrong {
        let at = text.bytes().position(|digit| hex_value(digit) > 0x0f);
        let at = at.unwrap_or_default();
        return Err(HexError::Digit { at });
    }
    Ok(bytes)
}

/// `bytes` as base64url without padding (RFC 4648 section 5).
pub fn b64u_encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of an unpadded base64url text. Strict: padding and set trailing bits are refused, so each
/// byte string has exactly one text.
pub fn b64u_decode(text: &str) -> Result<Vec<u8>, B64Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(B64Error::Text)
}

/// As [`b64u_decode`], for exactly `N` bytes: a key, a salt, a signature.
pub fn b64u_decode_array<const N: usize>(text: &str) -> Result<[u8; N], B64Error> {
    const { assert!(N <= B64_STACK_BYTES, "nothing longer is kept in this form") };
    // What may be as long is read on the stack; the decoder wants room for whole groups of three bytes.
    let mut room = [0; B64_STACK_BYTES];
    let read = match text.len() <= B64_STACK_BYTES / 3 * 4 {
        true => URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok(),
        false => None,
    };
    if let Some(bytes) = read.and_then(|found| room.get(..found)?.try_into().ok()) {
        return Ok(bytes);
    }
    let found = b64u_decode(text)?.len();
    Err(B64Error::Length { expected: N, found })
}

/// A signature is 64 bytes, 86 characters.
const B64_STACK_BYTES: usize = 66;

fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + (nibble - 10)
        }
    };
    [digit(byte >> 4), digit(byte & 0x0f)]
}

/// What a digit stands for; over 15 where it is none.
fn hex_value(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    match (number < 10, letter < 6) {
        (true, _) => number,
        (_, true) => letter + 10,
        _ => 0xff,
    }
}

/// 64 hex digits on the stack: hashes are written several times per record.
fn hex32(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = hex_digits(*byte);
    }
    text
}

/// Calls `then` with the hex text of `bytes`.
fn with_hex<R>(bytes: &[u8; 32], then: impl FnOnce(&str) -> R) -> R {
    // Hex digits are ASCII, so the text is never the empty fallback.
    then(std::str::from_utf8(&hex32(bytes)).unwrap_or_default())
}

struct HexVisitor;

impl Visitor<'_> for HexVisitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 lower-case hex digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; 32], E> {
        unhex32(text).map_err(E::custom)
    }
}

macro_rules! hash_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the hash.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                with_hex(&self.0, |text| f.pad(text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                unhex32(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                with_hex(&self.0, |text| serializer.serialize_str(text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(HexVisitor).map(Self).map_err(|cause| {
                    D::Error::custom(format_args!("{}: {cause}", stringify!($name)))
                })
            }
        }
    )*};
}

hash_types! {
    /// Hash of one record: SHA-256(`actpass.record/1\0` ‖ canonical record).
    RecordHash;
    /// Hash of one leaf of the evidence tree: SHA-256(0x00 ‖ leaf), RFC 6962 section 2.1.
    LeafHash;
    /// Root of the evidence tree over its first leaves, RFC 6962 section 2.1.
    TreeRoot;
    /// Digest of one action: what an approval is given for.
    ActionDigest;
    /// Name of one policy bundle: SHA-256 of its canonical JSON.
    BundleDigest;
    /// Name of one stream: SHA-256 of the sidecar's Ed25519 public key.
    StreamId;
    /// Salted commitment to a text that is kept beside the leaf: SHA-256(salt32 ‖ text).
    Commitment;
    /// Name of a blob kept beside the log: SHA-256 of its bytes.
    BlobDigest;
    /// HMAC of an action digest under the tenant's erasable key, as leaves carry it.
    DigestMac;
}

#[cfg(test)]
mod tests;
