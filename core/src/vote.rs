//! One person's answer to an approval, stamped and signed where the API server said who it is.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::hash::{b64u_decode_array, b64u_encode, hex, sha256};

/// Keys that votes are stamped with, by [`crate::passport::jws::key_id`]. Two during a rotation.
pub type VoteKeys = BTreeMap<String, VerifyingKey>;

/// What a vote's signature covers: `actpass.vote/1\0` ‖ the canonical JSON of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Uid of the Approval, so that the vote counts for no other of the same name.
    pub approval_uid: String,
    /// Digest of the action under the tenant's key, as the log names it: exactly what the voter saw, lower-case hex.
    pub digest: String,
    /// Whether it may run.
    pub grant: bool,
    /// Groups of the voter.
    pub groups: Vec<String>,
    /// When.
    #[serde(with = "crate::canonical::serde_instant")]
    pub time: Timestamp,
    /// The voter.
    pub user: String,
}

/// A vote with its signature: `POST /v1/approvals/{id}/votes` in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVote {
    /// Id of the key that signed: [`crate::passport::jws::key_id`] of it.
    pub key_id: String,
    /// Ed25519, base64url.
    pub signature: String,
    /// What is signed.
    pub vote: Vote,
}

/// Why a vote does not count.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    /// It has no canonical form.
    #[error("the vote has no canonical form")]
    Form(#[from] CanonicalError),
    /// The signature does not fit.
    #[error("the vote's signature does not fit its key")]
    Signature,
}

impl Vote {
    /// Signs it under the key id `key_id`.
    ///
    /// # Errors
    /// Where a text in it has no canonical form.
    pub fn signed(self, key: &SigningKey, key_id: &str) -> Result<SignedVote, VoteError> {
        let signature = key.sign(&self.message()?);
        Ok(SignedVote {
            key_id: key_id.to_owned(),
            signature: b64u_encode(&signature.to_bytes()),
            vote: self,
        })
    }

    fn message(&self) -> Result<Vec<u8>, VoteError> {
        let mut message = b"actpass.vote/1\0".to_vec();
        message.extend(canonical::to_vec(self)?);
        Ok(message)
    }
}

impl SignedVote {
    /// The vote, if `key` signed it.
    ///
    /// # Errors
    /// Where it did not.
    pub fn verified(&self, key: &VerifyingKey) -> Result<&Vote, VoteError> {
        let bytes: [u8; 64] =
            b64u_decode_array(&self.signature).map_err(|_| VoteError::Signature)?;
        key.verify_strict(&self.vote.message()?, &Signature::from_bytes(&bytes))
            .map_err(|_| VoteError::Signature)?;
        Ok(&self.vote)
    }
}

/// Name of the vote of a user on an Approval: the first 40 hex digits of `SHA-256(approvalUid\nusername)`, so that
/// nobody has two votes.
pub fn vote_name(approval_uid: &str, user: &str) -> String {
    let hash = sha256(&[approval_uid.as_bytes(), b"\n", user.as_bytes()]);
    hex(&hash).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote() -> Vote {
        Vote {
            approval_uid: "5f0c".to_owned(),
            digest: "ab".repeat(32),
            grant: true,
            groups: vec!["finance".to_owned()],
            time: "2026-05-04T10:00:00Z".parse().unwrap(),
            user: "ada@example.com".to_owned(),
        }
    }

    #[test]
    fn a_signature_covers_every_word_of_the_vote() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = vote().signed(&key, "k").unwrap();
        assert_eq!(signed.verified(&key.verifying_key()).unwrap(), &vote());
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        assert!(signed.verified(&other).is_err());
        let changes: [fn(&mut Vote); 6] = [
            |vote| vote.approval_uid.push('0'),
            |vote| vote.digest.replace_range(..2, "ac"),
            |vote| vote.grant = false,
            |vote| vote.groups.clear(),
            |vote| vote.time = "2026-05-04T10:00:00.000001Z".parse().unwrap(),
            |vote| vote.user = "eve@example.com".to_owned(),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed.vote);
            assert!(changed.verified(&key.verifying_key()).is_err());
        }
    }

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let message = vote().message().unwrap();
        let want = concat!(
            "actpass.vote/1\0",
            r#"{"approval_uid":"5f0c","digest":"abababababababababababababababababababababababababababababababab","#,
            r#""grant":true,"groups":["finance"],"time":"2026-05-04T10:00:00.000000Z","user":"ada@example.com"}"#
        );
        assert_eq!(String::from_utf8(message).unwrap(), want);
    }
}
