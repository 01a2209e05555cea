//! What a directory holds beside the leaves of one log, as the verification asks for it.

use actpass_core::canonical;
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::MacKey;
use actpass_core::hash::{BlobDigest, BundleDigest, sha256};
use actpass_core::verify::{GoneKey, Inputs, Kept};

use super::known::TextKeys;
use crate::engine::{sealed_name, side_frame_aad};
use crate::storage::{SegmentReader, StorageError};
use crate::vault::{Gone, Vault, VaultError};

/// Whether texts could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Their keys were at hand.
    Done,
    /// Nobody gave keys.
    NotAsked,
    /// Keys were expected and could not be used: why.
    Failed(String),
}

/// Where blobs lie.
pub(super) trait Blobs {
    /// Whether there are bytes of that name.
    fn holds(&self, name: &[u8; 32]) -> bool;

    /// The bytes of that name.
    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError>;
}

impl Blobs for SegmentReader {
    fn holds(&self, name: &[u8; 32]) -> bool {
        SegmentReader::holds(self, name)
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        SegmentReader::blob(self, name)
    }
}

/// What lies beside the leaves of one log. Blobs are read by name, so it is what any reader of the log would get.
pub(super) struct Stored<'a> {
    reader: &'a dyn Blobs,
    origin: &'a str,
    keys: Option<(&'a Vault, MacKey)>,
    opening: Opening,
}

impl<'a> Stored<'a> {
    pub(super) fn new(reader: &'a dyn Blobs, origin: &'a str, texts: TextKeys<'a>) -> Self {
        let (keys, opening) = match texts {
            TextKeys::NotGiven => (None, Opening::NotAsked),
            TextKeys::Unusable(why) => (None, Opening::Failed(why.to_owned())),
            TextKeys::Vault(vault) => match vault.digest_key_made(tenant(origin)) {
                Ok(Some(key)) => (Some((vault, MacKey::new(*key))), Opening::Done),
                Ok(None) => {
                    let why = "the vault holds no keys of this log's tenant".to_owned();
                    (None, Opening::Failed(why))
                }
                Err(error) => (None, Opening::Failed(error.to_string())),
            },
        };
        Self {
            reader,
            origin,
            keys,
            opening,
        }
    }

    /// Whether the texts can be opened.
    pub(super) fn opening(&self) -> &Opening {
        &self.opening
    }
}

impl Inputs for Stored<'_> {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        self.reader.blob(digest.as_bytes()).ok().flatten()
    }

    fn openings(&self, seq: u64) -> Kept<Openings> {
        let aad = side_frame_aad(self.origin, seq);
        let name = sha256(&[aad.as_bytes()]);
        let Some((vault, _)) = &self.keys else {
            return match self.reader.holds(&name) {
                true => Kept::Sealed,
                false => Kept::Missing,
            };
        };
        let sealed = match self.reader.blob(&name) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Kept::Missing,
            Err(error) => return Kept::Unreadable(error.to_string()),
        };
        let opened = vault.open_sealed(tenant(self.origin), aad.as_bytes(), &sealed);
        if let Err(VaultError::Erased { gone, .. }) = opened {
            return Kept::Erased(match gone {
                Gone::Subject(tag) => GoneKey::Subject(tag),
                Gone::Month => GoneKey::Month,
            });
        }
        let parsed = opened
            .map_err(|error| error.to_string())
            .and_then(|text| canonical::from_slice(&text).map_err(|error| error.to_string()));
        parsed.map_or_else(Kept::Unreadable, Kept::Here)
    }

    fn sealed_request(&self, approval: &str) -> Kept<BlobDigest> {
        match self.reader.blob(&sealed_name(approval)) {
            Ok(Some(sealed)) => Kept::Here(BlobDigest::from_bytes(sha256(&[&sealed]))),
            Ok(None) => Kept::Missing,
            Err(error) => Kept::Unreadable(error.to_string()),
        }
    }

    fn mac_key(&self) -> Option<&MacKey> {
        self.keys.as_ref().map(|(_, key)| key)
    }
}

fn tenant(origin: &str) -> &str {
    origin.strip_prefix("actpass/").unwrap_or(origin)
}
