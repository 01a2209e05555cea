//! What stands in a leaf for a digest or a resource: a MAC under a key that can be erased.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::action::Action;
use crate::hash::{ActionDigest, DigestMac};

/// The tenant's key. Without it nobody can test a guess against a leaf; erasing it cuts leaves from actions.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; 32]>);

/// The names by which state knows an action: equal exactly where digest or resource are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionMacs {
    /// Of the digest: what an approval is for and a blind repeat is known by.
    pub digest: DigestMac,
    /// Of upstream and resource, where there is one: what precedents are counted by.
    pub resource: Option<DigestMac>,
    /// Of the subject, where there is one: whose texts can be erased together.
    pub subject: Option<DigestMac>,
}

impl MacKey {
    /// A key of 32 random bytes.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The MACs of an action.
    pub fn macs(&self, action: &Action) -> ActionMacs {
        let resource = action.resource.as_deref();
        ActionMacs {
            digest: self.digest(&action.digest()),
            resource: resource.map(|resource| self.resource(&action.upstream, resource)),
            subject: action.subject().map(|subject| self.subject(subject)),
        }
    }

    /// HMAC-SHA-256 over `actpass.digest/1\0` ‖ digest.
    pub fn digest(&self, digest: &ActionDigest) -> DigestMac {
        self.mac(&[b"actpass.digest/1\0", digest.as_bytes()])
    }

    /// HMAC-SHA-256 over `actpass.subject/1\0` ‖ subject: the same for all upstreams, as one person is known to several.
    pub fn subject(&self, subject: &str) -> DigestMac {
        self.mac(&[b"actpass.subject/1\0", subject.as_bytes()])
    }

    /// HMAC-SHA-256 over `actpass.resource/1\0` ‖ upstream ‖ `\0` ‖ resource. Names of upstreams hold no NUL.
    fn resource(&self, upstream: &str, resource: &str) -> DigestMac {
        self.mac(&[
            b"actpass.resource/1\0",
            upstream.as_bytes(),
            b"\0",
            resource.as_bytes(),
        ])
    }

    fn mac(&self, parts: &[&[u8]]) -> DigestMac {
        // A key shorter than the block of 64 bytes is padded with zeros (RFC 2104 section 2).
        let mut block = Zeroizing::new([0; 64]);
        block
            .iter_mut()
            .zip(*self.0)
            .for_each(|(slot, byte)| *slot = byte);
        let mut mac = Hmac::<Sha256>::new(&(*block).into());
        parts.iter().for_each(|part| mac.update(part));
        DigestMac::from_bytes(mac.finalize().into_bytes().into())
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey([redacted])")
    }
}
