//! Private Ed25519 keys in files of their own: the log's key, the issuer's key.
//!
//! A file is one line, `actpass.ed25519/1 <seed> <public key>`, both base64url. The public key is there so that a damaged
//! file is noticed instead of silently being another key.

mod ring;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::vault::PrivateFileError;
use crate::vault::private_file;

pub use ring::Ring;

/// Longest file: 18 + 43 + 1 + 43 + 1 bytes are 106.
const FILE_BYTES_MAX: u64 = 256;

/// First word of a key file.
const FORM: &str = "actpass.ed25519/1";

/// Private keys by name.
#[derive(Clone, Copy, Debug)]
pub struct Keys;

/// Why a key could not be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name is not one or more of `a-z`, `0-9`, `-`.
    #[error("`{0}` is not a name for a key: use a-z, 0-9 and -")]
    Name(String),
    /// The file is not a key.
    #[error("`{path}` is not a private key, or was changed; restore it from a copy")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// So many keys followed one another that no log takes another.
    #[error("there are as many keys `{0}` as one log can have")]
    TooMany(String),
    /// The system gave no random bytes.
    #[error("draw randomness: {0}")]
    Randomness(String),
}

/// A small file with a private key in whichever form, that only its owner may read.
///
/// # Errors
/// Where it is not there, larger, or others may read it.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let read = private_file::read(path, FILE_BYTES_MAX)?;
    read.ok_or_else(|| PrivateFileError::Io {
        path: path.to_owned(),
        did: "read",
        source: std::io::ErrorKind::NotFound.into(),
    })
}

impl Keys {
    /// The key in `<dir>/<name>.key`, if there is one.
    ///
    /// # Errors
    /// As [`Keys::load_or_make`].
    pub fn load(dir: &Path, name: &str) -> Result<Option<SigningKey>, KeyError> {
        load(&path_of(dir, name)?)
    }

    /// The key in `<dir>/<name>.key`, which is made if absent: mode 0600, durable before it is used, and by one of
    /// several processes that try at once.
    ///
    /// # Errors
    /// [`PrivateFileError::Loose`] when others may read the file, and [`KeyError::Damaged`].
    pub fn load_or_make(dir: &Path, name: &str) -> Result<SigningKey, KeyError> {
        let path = path_of(dir, name)?;
        if let Some(key) = load(&path)? {
            return Ok(key);
        }
        private_file::make_dir(dir)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyError::Randomness(error.to_string()))?;
        let key = SigningKey::from_bytes(&seed);
        match private_file::create(&path, line(&key).as_bytes()) {
            Ok(()) => Ok(key),
            // Another process was quicker, and its key counts.
            Err(exists @ PrivateFileError::Exists { .. }) => load(&path)?.ok_or(exists.into()),
            Err(error) => Err(error.into()),
        }
    }
}

fn path_of(dir: &Path, name: &str) -> Result<PathBuf, KeyError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !name.is_empty() && name.bytes().all(plain) {
        true => Ok(dir.join(format!("{name}.key"))),
        false => Err(KeyError::Name(name.escape_debug().to_string())),
    }
}

fn load(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    let Some(bytes) = private_file::read(path, FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    let parsed = || {
        let text = std::str::from_utf8(&bytes).ok()?;
        let seed = text.split(' ').nth(1)?;
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.decode(seed).ok()?);
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().ok()?);
        let key = SigningKey::from_bytes(&seed);
        (line(&key).as_str() == text).then_some(key)
    };
    match parsed() {
        Some(key) => Ok(Some(key)),
        None => Err(KeyError::Damaged {
            path: path.to_path_buf(),
        }),
    }
}

fn line(key: &SigningKey) -> Zeroizing<String> {
    let seed = Zeroizing::new(key.to_bytes());
    let seed = Zeroizing::new(URL_SAFE_NO_PAD.encode(seed.as_ref()));
    let public = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    Zeroizing::new(format!("{FORM} {} {public}\n", *seed))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let made = Keys::load_or_make(&dir, "log").unwrap();
        let found = Keys::load_or_make(&dir, "log").unwrap();
        assert_eq!(made.to_bytes(), found.to_bytes());
        let issuer = Keys::load_or_make(&dir, "issuer").unwrap();
        assert_ne!(made.to_bytes(), issuer.to_bytes());
        let mode = fs::metadata(dir.join("log.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            2,
            "nothing unfinished is left"
        );
    }

    #[test]
    fn processes_that_start_at_once_get_one_key() {
        let temp = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Keys::load_or_make(temp.path(), "log").unwrap()))
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap().to_bytes())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        Keys::load_or_make(temp.path(), "log").unwrap();
        let path = temp.path().join("log.key");
        for mode in [0o640, 0o604, 0o620, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Keys::load_or_make(temp.path(), "log").unwrap_err();
            assert!(
                matches!(refused, KeyError::File(PrivateFileError::Loose { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_the_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        Keys::load_or_make(temp.path(), "log").unwrap();
        let path = temp.path().join("log.key");
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&path, flipped).unwrap();
                let refused = Keys::load_or_make(temp.path(), "log").unwrap_err();
                assert!(
                    matches!(refused, KeyError::Damaged { .. }),
                    "byte {at} bit {bit}"
                );
            }
        }
        fs::write(&path, b"").unwrap();
        assert!(
            Keys::load_or_make(temp.path(), "log").is_err(),
            "an empty file is no reason to make a key"
        );
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["", "../log", "a/b", "Log", "log.key", "a\0"] {
            let refused = Keys::load_or_make(temp.path(), name).unwrap_err();
            assert!(matches!(refused, KeyError::Name(_)), "{name:?}");
        }
    }
}
