//! A JSON document that is authenticated as a whole under the key encryption key.
//!
//! First line `actpass.vault/1 <id of the KEK> <HMAC-SHA256 of the rest>`, then the JSON. Any change of any byte, the
//! order and presence of entries included, is an error at open; going back to an older whole file is not seen here,
//! but by the log, which records every version.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cipher::mac;
use super::kek::Kek;
use super::{VaultError, hex};

/// Largest document: 1024 credentials of 8 KiB as base64, 11 KiB each, with their bindings of up to 20 KiB; or a tenant's text keys,
/// which after 8,192 erased subjects, each with 80 keys of 49 bytes, are 31 MiB.
pub(super) const BYTES_MAX: u64 = 40 * 1024 * 1024;

/// Verifies and reads a document of that name; the keys with the one it lies under first.
pub(super) fn open<T: DeserializeOwned>(
    path: &Path,
    kek: &Kek,
    bytes: &[u8],
) -> Result<(T, Kek), VaultError> {
    let tampered = |what: &str| VaultError::Tampered {
        path: path.to_path_buf(),
        what: what.to_owned(),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let parts = end.and_then(|end| bytes.split_at_checked(end.saturating_add(1)));
    let (first, body) = parts.ok_or_else(|| tampered("its first line is missing"))?;
    let id = first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let Some(under) = kek.with_first(id) else {
        return Err(
            match id.len() == ID_DIGITS && id.iter().all(u8::is_ascii_hexdigit) {
                true => VaultError::WrongKek {
                    path: path.to_path_buf(),
                    id: String::from_utf8_lossy(id).into_owned(),
                    given: kek.ids().join("`, `"),
                },
                false => tampered("its content is not what was written"),
            },
        );
    };
    let want = first_line(path, under.bytes(), &String::from_utf8_lossy(id), body);
    if !bool::from(first.ct_eq(want.as_bytes())) {
        return Err(tampered("its content is not what was written"));
    }
    let content = serde_json::from_slice(body);
    let content =
        content.map_err(|error| tampered(&format!("it is of another version: {error}")))?;
    Ok((content, under))
}

/// Digits of a key's name.
const ID_DIGITS: usize = 16;

/// A whole document of that name.
pub(super) fn sealed<T: Serialize>(
    path: &Path,
    kek: &Kek,
    content: &T,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let body =
        serde_json::to_vec(content).map_err(|error| VaultError::Encode(error.to_string()))?;
    let first = first_line(path, kek.bytes(), &kek.id(), &body);
    Ok(Zeroizing::new([first.as_bytes(), &body].concat()))
}

fn first_line(path: &Path, kek: &[u8; 32], id: &str, body: &[u8]) -> String {
    // The key is bound to the file's name, so that one file cannot stand in for another.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let key = mac(kek, b"actpass.vault.file/1\0", name.as_bytes());
    let tag = mac(&key, b"", body);
    format!("actpass.vault/1 {id} {}\n", *hex(tag.as_ref()))
}
