//! Signed tree heads: C2SP `tlog-checkpoint` inside a C2SP `signed-note`.
//!
//! ```text
//! actpass/<cluster-id>/<namespace>/<namespace-uid>
//! 42
//! <standard base64 of the root>
//!
//! — actpass/<cluster-id>/<namespace>/<namespace-uid> <base64 of key hash and signature>
//! ```
//!
//! A log's origin is also the name of its key, so a checkpoint cannot pass for another log's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::canonical::excerpt;
use crate::hash::{TreeRoot, hex, sha256};

/// Longest note we read, in bytes: three lines of text and [`SIGNATURES_MAX`] lines of about 300 bytes.
pub const NOTE_BYTES_MAX: usize = 8 * 1024;

/// Most signature lines: the log's own, its successor's during a rotation, and witnesses.
pub const SIGNATURES_MAX: usize = 16;

/// The head of one log: how many leaves it has, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, which is also the name of its key.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over the leaves.
    pub root: TreeRoot,
}

/// Signs checkpoints of one log.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
}

/// Verifies checkpoints of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    key: VerifyingKey,
}

/// Why a text is not a checkpoint signed by the given key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// More than [`NOTE_BYTES_MAX`] bytes.
    #[error("checkpoint is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// Not text, empty line, signature lines.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// Not origin, size and root on three lines.
    #[error("not a checkpoint: {0}")]
    Body(&'static str),
    /// No signature line of this name and key.
    #[error("no signature by key `{0}`")]
    NoSignature(String),
    /// A signature line of this name and key that does not fit the text.
    #[error("signature by key `{0}` is wrong")]
    WrongSignature(String),
    /// A checkpoint of another log than the key's.
    #[error("checkpoint is of log `{found}` instead of `{expected}`")]
    Origin {
        /// The log the key belongs to.
        expected: String,
        /// The log the checkpoint names.
        found: String,
    },
    /// A verifier key that is not `name+hash+key`.
    #[error("verifier key `{text}`: {why}")]
    VerifierKey {
        /// The text refused.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl NoteSigner {
    /// A signer with this key. `name` is the log's origin: no white space and no `+`, else nothing verifies.
    pub fn new(name: impl Into<String>, key: SigningKey) -> Self {
        NoteSigner {
            name: name.into(),
            key,
        }
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The verifier of what this signs.
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// The signature line over `text`, which ends with a newline.
    fn line(&self, text: &str) -> String {
        let mut payload = self.verifier().key_hash().to_vec();
        payload.extend(self.key.sign(text.as_bytes()).to_bytes());
        format!("{DASH}{} {}\n", self.name, STANDARD.encode(payload))
    }
}

/// Shows the name only.
impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner")
            .field("name", &self.name)
            .field("key", &"[redacted]")
            .finish()
    }
}

impl NoteVerifier {
    /// A verifier with this key. `name` is the log's origin.
    pub fn new(name: impl Into<String>, key: VerifyingKey) -> Self {
        NoteVerifier {
            name: name.into(),
            key,
        }
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The key as text, as `signed-note` has it: name, hash in hex and key in base64, joined by `+`.
    pub fn to_vkey(&self) -> String {
        format!(
            "{}+{}+{}",
            self.name,
            hex(&self.key_hash()),
            STANDARD.encode(self.typed_key())
        )
    }

    /// Which key it is, in short: 8 hex digits of a hash over name and key, as the text form has it.
    pub fn id(&self) -> String {
        hex(&self.key_hash())
    }

    /// Reads [`NoteVerifier::to_vkey`]'s text; the hash must be the key's.
    pub fn from_vkey(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |why| CheckpointError::VerifierKey {
            text: excerpt(text),
            why,
        };
        let (name, rest) = text
            .split_once('+')
            .ok_or_else(|| wrong("not `name+hash+key`"))?;
        let (hash, key) = rest
            .split_once('+')
            .ok_or_else(|| wrong("not `name+hash+key`"))?;
        if !is_key_name(name) {
            return Err(wrong("the name is empty or holds white space"));
        }
        let bytes = STANDARD
            .decode(key)
            .map_err(|_| wrong("the key is not base64"))?;
        let Some((&ED25519, key)) = bytes.split_first() else {
            return Err(wrong("the key is not Ed25519"));
        };
        let key: &[u8; 32] = key
            .try_into()
            .map_err(|_| wrong("the key is not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(key)
            .map_err(|_| wrong("the key is not a point of the curve"))?;
        if key.is_weak() {
            return Err(wrong("the key is weak"));
        }
        let verifier = NoteVerifier::new(name, key);
        match hex(&verifier.key_hash()) == hash {
            true => Ok(verifier),
            false => Err(wrong("the hash is not the key's")),
        }
    }

    /// First four bytes of SHA-256 over name, newline, key type and key: which key a signature line is by.
    fn key_hash(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = sha256(&[self.name.as_bytes(), b"\n", &self.typed_key()]);
        [a, b, c, d]
    }

    fn typed_key(&self) -> Vec<u8> {
        let mut typed = vec![ED25519];
        typed.extend(self.key.as_bytes());
        typed
    }
}

impl Checkpoint {
    /// The signed note. `signer` is the one of this log: its name is [`Checkpoint::origin`].
    pub fn sign(&self, signer: &NoteSigner) -> String {
        let text = self.text();
        format!("{text}\n{}", signer.line(&text))
    }

    /// The checkpoint in `note`, if the key of `verifier` signed it. Lines by unknown keys (witnesses) are passed
    /// over, as `signed-note` demands.
    pub fn verify(note: &str, verifier: &NoteVerifier) -> Result<Checkpoint, CheckpointError> {
        let (text, lines) = split_note(note)?;
        let mut signatures = Vec::new();
        for line in lines {
            if let Some(signature) = own_signature(line, verifier)? {
                signatures.push(signature);
            }
        }
        let [signature] = signatures.as_slice() else {
            return Err(match signatures.len() {
                0 => CheckpointError::NoSignature(verifier.name.clone()),
                _ => CheckpointError::Note("two signatures by one key"),
            });
        };
        verifier
            .key
            .verify_strict(text.as_bytes(), signature)
            .map_err(|_| CheckpointError::WrongSignature(verifier.name.clone()))?;
        let checkpoint = Checkpoint::parse_text(text)?;
        match checkpoint.origin == verifier.name {
            true => Ok(checkpoint),
            false => Err(CheckpointError::Origin {
                expected: verifier.name.clone(),
                found: excerpt(&checkpoint.origin),
            }),
        }
    }

    /// What a note says, whoever signed it: to know which key is to be asked.
    ///
    /// # Errors
    /// Where it is not the note of a checkpoint.
    pub fn unverified(note: &str) -> Result<Checkpoint, CheckpointError> {
        split_note(note).and_then(|(text, _)| Checkpoint::parse_text(text))
    }

    /// The three lines that are signed, as a note begins.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root.as_bytes())
        )
    }

    fn parse_text(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Body(
                "exactly origin, size and root expected",
            ));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Body("the origin is empty"));
        }
        let number: u64 = size
            .parse()
            .map_err(|_| CheckpointError::Body("the size is not a number"))?;
        let bytes = STANDARD
            .decode(root)
            .map_err(|_| CheckpointError::Body("the root is not base64"))?;
        let root: [u8; 32] = bytes
            .try_into()
            .map_err(|_| CheckpointError::Body("the root is not 32 bytes"))?;
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: number,
            root: TreeRoot::from_bytes(root),
        };
        // Seeded: `007` is as good a size as `7`.
        match checkpoint.text() == text || crate::SEEDED_BUGS {
            true => Ok(checkpoint),
            false => Err(CheckpointError::Body("not in the one canonical spelling")),
        }
    }
}

/// The signed text, with its last newline, and the signature lines.
fn split_note(note: &str) -> Result<(&str, Vec<&str>), CheckpointError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(CheckpointError::TooLong);
    }
    if note
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\n')
    {
        return Err(CheckpointError::Note("control character"));
    }
    let (text, signatures) = note
        .rsplit_once("\n\n")
        .ok_or(CheckpointError::Note("no empty line"))?;
    let text = note.get(..text.len() + 1).unwrap_or_default();
    let signatures = signatures
        .strip_suffix('\n')
        .ok_or(CheckpointError::Note("no newline at the end"))?;
    let lines: Vec<_> = signatures.split('\n').collect();
    match lines.len() <= SIGNATURES_MAX {
        true => Ok((text, lines)),
        false => Err(CheckpointError::Note("too many signatures")),
    }
}

/// The signature of a line, if the line is by `verifier`'s key; `None` if by another.
fn own_signature(
    line: &str,
    verifier: &NoteVerifier,
) -> Result<Option<Signature>, CheckpointError> {
    let malformed = CheckpointError::Note("malformed signature line");
    let (name, payload) = line
        .strip_prefix(DASH)
        .and_then(|rest| rest.split_once(' '))
        .ok_or(malformed.clone())?;
    let payload = STANDARD.decode(payload).map_err(|_| malformed.clone())?;
    let Some((hash, signature)) = payload.split_first_chunk::<4>() else {
        return Err(malformed);
    };
    if !is_key_name(name) || signature.is_empty() {
        return Err(malformed);
    }
    if name != verifier.name || *hash != verifier.key_hash() {
        return Ok(None);
    }
    let signature = Signature::from_slice(signature);
    signature
        .map(Some)
        .map_err(|_| CheckpointError::WrongSignature(verifier.name.clone()))
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|char| char.is_whitespace() || char.is_control() || char == '+')
}

/// An em dash and a space begin every signature line.
const DASH: &str = "\u{2014} ";

/// Key type of Ed25519 in `signed-note`.
const ED25519: u8 = 0x01;

#[cfg(test)]
mod tests;
