//! The key encryption key: under it lie all other keys of the vault.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::cipher::{Key, mac, new_key};
use super::private_file::{self, PrivateFileError};
use super::{VaultError, hex};

/// Largest key file: 64 hex digits and some white space.
const FILE_BYTES_MAX: u64 = 1024;

/// Fewest different byte values in a key: 32 random bytes have about 30, and fewer than 16 with chance 2^-50.
const DIFFERENT_BYTES_MIN: usize = 16;

/// The key encryption key, 256 bits. Never shown.
#[derive(Clone)]
pub struct Kek(Key);

/// Bytes that hold no key encryption key.
#[derive(Debug, thiserror::Error)]
#[error("no key encryption key: {0}")]
pub struct NotAKek(String);

impl Kek {
    /// Reads the key from a file: 32 raw bytes, 64 hex digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`VaultError::NoKek`] without the file, [`VaultError::BadKek`] when it holds no such key, and
    /// [`VaultError::File`] when others may read it.
    pub fn from_file(path: &Path) -> Result<Kek, VaultError> {
        let bytes = private_file::read(path, FILE_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| VaultError::NoKek {
            path: path.to_path_buf(),
        })?;
        Kek::from_bytes(&bytes).map_err(|NotAKek(what)| VaultError::BadKek {
            path: path.to_path_buf(),
            what,
        })
    }

    /// Reads the key from what such a file holds, where it is kept elsewhere.
    ///
    /// # Errors
    /// What the bytes are instead.
    pub fn from_bytes(bytes: &[u8]) -> Result<Kek, NotAKek> {
        parse(bytes).map_err(NotAKek)
    }

    /// A new key, as the text of such a file.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate_text() -> Result<Zeroizing<String>, VaultError> {
        Ok(Zeroizing::new(format!("{}\n", *hex(new_key()?.as_ref()))))
    }

    /// Makes a new key in a new file of mode 0600, durably. The caller warns that whoever copies the vault must not
    /// find the key beside it.
    ///
    /// # Errors
    /// [`PrivateFileError::Exists`] when there is a file already.
    pub fn generate_file(path: &Path) -> Result<Kek, VaultError> {
        let kek = Kek(new_key()?);
        let text = Zeroizing::new(format!("{}\n", *hex(kek.0.as_ref())));
        match private_file::create(path, text.as_bytes()) {
            Ok(()) => Ok(kek),
            Err(error) => Err(error.into()),
        }
    }

    /// [`Kek::from_file`], or [`Kek::generate_file`] if there is none; the answer's `true` says that it was made
    /// now.
    ///
    /// # Errors
    /// As the two.
    pub fn load_or_generate(path: &Path) -> Result<(Kek, bool), VaultError> {
        match Kek::from_file(path) {
            Err(VaultError::NoKek { .. }) => match Kek::generate_file(path) {
                // Another process was quicker.
                Err(VaultError::File(PrivateFileError::Exists { .. })) => {
                    Kek::from_file(path).map(|kek| (kek, false))
                }
                made => made.map(|kek| (kek, true)),
            },
            found => found.map(|kek| (kek, false)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Names the key without telling anything of it: 16 hex digits.
    pub(super) fn id(&self) -> String {
        let whole = mac(&self.0, b"actpass.vault.kek/1\0", b"");
        hex(whole.get(..8).unwrap_or_default()).to_string()
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn parse(bytes: &[u8]) -> Result<Kek, String> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let key: Key = match text {
        Some(text) if text.len() == 64 => from_hex(text).ok_or("64 characters that are not hex")?,
        Some(text) if text.len() == 43 || text.len() == 44 => {
            from_base64(text).ok_or("not base64 of 32 bytes")?
        }
        Some(text) if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err(String::from(
                "32 printable characters, so a passphrase and no random key",
            ));
        }
        _ => {
            let raw: [u8; 32] = bytes.try_into().map_err(|_| {
                format!(
                    "{} bytes; want 32 raw bytes, 64 hex digits, or base64 of 32 bytes",
                    bytes.len()
                )
            })?;
            Zeroizing::new(raw)
        }
    };
    if key.iter().collect::<BTreeSet<_>>().len() < DIFFERENT_BYTES_MIN {
        return Err(String::from("a key that is not random"));
    }
    Ok(Kek(key))
}

fn from_hex(text: &str) -> Option<Key> {
    let mut key = Zeroizing::new([0; 32]);
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(key)
}

fn from_base64(text: &str) -> Option<Key> {
    let engines: [&GeneralPurpose; 4] = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let decoded = engines.iter().find_map(|engine| engine.decode(text).ok());
    let decoded = Zeroizing::new(decoded?);
    decoded.as_slice().try_into().ok().map(Zeroizing::new)
}
