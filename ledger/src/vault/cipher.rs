//! AES-256-GCM and keys derived by HMAC-SHA256.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::VaultError;

/// A key of AES-256 or HMAC-SHA256.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Bytes of a nonce, drawn at random. NIST SP 800-38D section 8.3 bounds random 96-bit nonces to 2^32 messages per
/// key, for a chance of collision under 2^-32. The key encryption key wraps one key per credential version and two
/// per tenant, so stays far below; a credential's data key encrypts once; [`seal`] draws a key per message.
const NONCE_BYTES: usize = 12;

/// Bytes of the salt that a message's key is derived with.
const SALT_BYTES: usize = 16;

/// First byte of a sealed message: AES-256-GCM under `HMAC-SHA256(key, "actpass.seal/1\0" || salt)`.
const SEALED_VERSION: u8 = 1;

/// A fresh random key.
pub(super) fn new_key() -> Result<Key, VaultError> {
    let mut key = Zeroizing::new([0; 32]);
    fill(key.as_mut())?;
    Ok(key)
}

/// `nonce || ciphertext || tag`.
pub(super) fn encrypt(key: &[u8; 32], aad: &[u8], text: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    fill(&mut nonce)?;
    let payload = Payload { msg: text, aad };
    let cipher = Aes256Gcm::new(key.into());
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload);
    // Only a text of 64 GiB or more is refused.
    let sealed = sealed.map_err(|_| VaultError::Randomness(String::from("text too long")))?;
    Ok([nonce.as_slice(), sealed.as_slice()].concat())
}

/// The text behind [`encrypt`]; none when key, AAD or a byte is not the same.
pub(super) fn decrypt(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = Aes256Gcm::new(key.into());
    let text = cipher.decrypt(&Nonce::from(*nonce), Payload { msg, aad });
    text.ok().map(Zeroizing::new)
}

/// `version || salt || nonce || ciphertext || tag`, under a key of its own: with 128 + 96 random bits per message
/// no count of messages matters.
pub(super) fn seal(key: &[u8; 32], aad: &[u8], text: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut salt = [0; SALT_BYTES];
    fill(&mut salt)?;
    let sealed = encrypt(&message_key(key, &salt), aad, text)?;
    Ok([&[SEALED_VERSION], salt.as_slice(), sealed.as_slice()].concat())
}

/// The text behind [`seal`].
pub(super) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (version, rest) = sealed.split_first()?;
    let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
    if *version != SEALED_VERSION {
        return None;
    }
    decrypt(&message_key(key, salt), aad, sealed)
}

/// `HMAC-SHA256(key, label || data)`.
pub(super) fn mac(key: &[u8; 32], label: &[u8], data: &[u8]) -> Key {
    // HMAC takes keys of any length (RFC 2104 section 3), so the error has no case; 64 bytes are one block.
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new((&*block).into());
    mac.update(label);
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn message_key(key: &[u8; 32], salt: &[u8; SALT_BYTES]) -> Key {
    mac(key, b"actpass.seal/1\0", salt)
}

fn fill(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|error| VaultError::Randomness(error.to_string()))
}
