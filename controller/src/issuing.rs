//! What passports are signed with, as sessions see it.

use actpass_core::succession::Succession;
use actpass_kubernetes::seeds::Seeds;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;

/// The keys, and which of them is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuing {
    /// The private keys.
    pub seeds: Seeds,
    /// The list that everybody follows.
    pub list: Succession,
}

impl Issuing {
    /// The key to sign with now.
    pub fn key(&self, now: Timestamp) -> Option<&SigningKey> {
        self.seeds.in_use(&self.list, now)
    }
}
