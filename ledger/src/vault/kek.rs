//! Key encryption keys: under the first of them lie all other keys of the vault, and those before it open what is not yet written
//! under it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::cipher::{self, Key, mac, new_key};
use super::private_file::{self, PrivateFileError};
use super::{VaultError, hex};

/// Largest key file: four lines of 64 hex digits and some white space.
const FILE_BYTES_MAX: u64 = 1024;

/// Most keys at a time: the one in use, the one before it, the next where several ledgers have to know it first, and one that
/// somebody forgot to take away.
pub const KEKS_MAX: usize = 4;

/// Fewest different byte values in a key: 32 random bytes have about 30, and fewer than 16 with chance 2^-50.
const DIFFERENT_BYTES_MIN: usize = 16;

/// The key encryption key, 256 bits, and the ones before it. Never shown.
#[derive(Clone)]
pub struct Kek {
    first: Key,
    before: Vec<Key>,
}

/// Bytes that hold no key encryption key.
#[derive(Debug, thiserror::Error)]
#[error("no key encryption key: {0}")]
pub struct NotAKek(String);

impl Kek {
    /// Reads the key from a file: 32 raw bytes, 64 hex digits, or base64 of 32 bytes; or up to [`KEKS_MAX`] keys in digits or
    /// base64, one per line, the one to encrypt with first.
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
        let kek = Kek::alone(new_key()?);
        match private_file::create(path, kek.text().as_bytes()) {
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

    /// Puts a new key first in a file, durably; the others stay, to open what lies under them. The answer has all of them.
    ///
    /// # Errors
    /// As [`Kek::from_file`]; [`VaultError::TooMany`], and then the file is as it was.
    pub fn rotate_file(path: &Path) -> Result<Kek, VaultError> {
        let _alone = private_file::lock_dir_of(path)?;
        let mut kek = Kek::from_file(path)?;
        if kek.all().count() >= KEKS_MAX {
            return Err(VaultError::TooManyKeks {
                path: path.to_path_buf(),
            });
        }
        let before = std::mem::replace(&mut kek.first, new_key()?);
        kek.before.insert(0, before);
        // Nothing to wipe: all that the old file held is in the new one.
        private_file::replace_own(path, kek.text().as_bytes())?;
        Ok(kek)
    }

    /// Leaves only this key in a file whose first it is, durably, and writes zeros over the others. Whoever calls it made sure that
    /// nothing lies under them. How many went.
    ///
    /// # Errors
    /// As [`Kek::from_file`], or the disk; [`VaultError::BadKek`] where another key is the first by now.
    pub fn forget_before(path: &Path, newest: &Kek) -> Result<usize, VaultError> {
        let _alone = private_file::lock_dir_of(path)?;
        // One that a crash left unfinished has them all.
        private_file::discard_unfinished(path)?;
        let kek = Kek::from_file(path)?;
        if kek.first != newest.first {
            return Err(VaultError::BadKek {
                path: path.to_path_buf(),
                what: "another key was put first meanwhile".to_owned(),
            });
        }
        if kek.before.is_empty() {
            return Ok(0);
        }
        private_file::replace_own_and_wipe(path, kek.newest().text().as_bytes())?;
        Ok(kek.before.len())
    }

    /// The first key, without those before it.
    #[must_use]
    pub fn newest(&self) -> Kek {
        Kek::alone(self.first.clone())
    }

    /// Names of the keys, the one in use first: 16 hex digits each, which tell nothing of a key.
    pub fn ids(&self) -> Vec<String> {
        self.all().map(id).collect()
    }

    /// The key to encrypt with.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.first
    }

    /// Name of the key to encrypt with.
    pub(super) fn id(&self) -> String {
        id(&self.first)
    }

    /// Whether there are keys before it.
    pub(super) fn has_others(&self) -> bool {
        !self.before.is_empty()
    }

    /// These keys with the one of that name first, if it is one of them.
    pub(super) fn with_first(&self, name: &[u8]) -> Option<Kek> {
        let first = self.all().find(|key| id(key).as_bytes() == name)?;
        Some(self.beginning_with(first))
    }

    /// Whether they encrypt with the same key.
    pub(super) fn has_first_of(&self, other: &Kek) -> bool {
        self.first == other.first
    }

    /// What one of the keys encrypted, and the keys with that one first.
    pub(super) fn decrypt(&self, aad: &[u8], sealed: &[u8]) -> Option<(Zeroizing<Vec<u8>>, Kek)> {
        self.all().find_map(|key| {
            let text = cipher::decrypt(key, aad, sealed)?;
            Some((text, self.beginning_with(key)))
        })
    }

    fn beginning_with(&self, first: &Key) -> Kek {
        let others = self.all().filter(|key| *key != first);
        Kek {
            first: first.clone(),
            before: others.cloned().collect(),
        }
    }

    fn alone(first: Key) -> Self {
        Self {
            first,
            before: Vec::new(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.before)
    }

    /// As in a file.
    fn text(&self) -> Zeroizing<String> {
        // Room for all of it at once, as a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(KEKS_MAX * 65));
        for key in self.all() {
            text.push_str(&hex(key.as_ref()));
            text.push('\n');
        }
        text
    }
}

fn id(key: &Key) -> String {
    let whole = mac(key, b"actpass.vault.kek/1\0", b"");
    hex(whole.get(..8).unwrap_or_default()).to_string()
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn parse(bytes: &[u8]) -> Result<Kek, String> {
    let text = std::str::from_utf8(bytes).ok();
    let lines: Vec<&str> = text.into_iter().flat_map(str::lines).collect();
    let given = || {
        lines
            .iter()
            .zip(1..)
            .filter(|(line, _)| !line.trim().is_empty())
    };
    // A raw key may have a line break among its bytes; two keys in digits are longer.
    if given().count() < 2 || bytes.len() == 32 {
        return Ok(Kek::alone(parse_one(bytes)?));
    }
    let mut keys: Vec<Key> = Vec::with_capacity(KEKS_MAX);
    for (line, number) in given() {
        let key = parse_one(line.trim().as_bytes());
        let key = key.map_err(|what| format!("line {number}: {what}"))?;
        if keys.contains(&key) {
            return Err(format!("line {number}: this key is there already"));
        }
        if keys.len() == KEKS_MAX {
            return Err(format!(
                "line {number}: more than {KEKS_MAX} keys; take away those under which nothing lies"
            ));
        }
        keys.push(key);
    }
    let first = keys.remove(0);
    Ok(Kek {
        first,
        before: keys,
    })
}

fn parse_one(bytes: &[u8]) -> Result<Key, String> {
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
    Ok(key)
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
