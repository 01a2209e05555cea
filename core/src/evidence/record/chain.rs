//! Streams: how one record follows another, and the signature over a batch of them.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;

use super::{Body, Record, RecordError};
use crate::canonical::INTEGER_MAX;
use crate::hash::{RecordHash, StreamId, b64u_decode_array, b64u_encode, sha256};

/// Name of the stream that this key signs: SHA-256 of the public key.
pub fn stream_id(key: &VerifyingKey) -> StreamId {
    StreamId::from_bytes(sha256(&[key.as_bytes()]))
}

/// Where a stream stands, on the side that writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    stream: StreamId,
    next_seq: u64,
    head: RecordHash,
}

/// One record made, with its bytes and hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The record.
    pub record: Record,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Hash of the bytes.
    pub hash: RecordHash,
}

impl Chain {
    /// A stream without records.
    pub fn new(stream: StreamId) -> Self {
        Self::resume(stream, 0, RecordHash::from_bytes([0; 32]))
    }

    /// A stream as it was left: the number its next record gets, and the hash of its last one.
    pub fn resume(stream: StreamId, next_seq: u64, head: RecordHash) -> Self {
        Self {
            stream,
            next_seq,
            head,
        }
    }

    /// Makes the next record. `time` is cut to microseconds, which is what its bytes hold.
    ///
    /// # Errors
    /// Where the record has no canonical form or is too long; the chain then stands where it stood.
    pub fn next(&mut self, body: Body, time: Timestamp) -> Result<Link, RecordError> {
        if self.next_seq > INTEGER_MAX.unsigned_abs() {
            return Err(RecordError::StreamFull);
        }
        let (stream, seq, prev) = (self.stream, self.next_seq, self.head);
        let record = Record {
            stream,
            seq,
            prev,
            time: to_micros(time),
            body,
        };
        let bytes = record.canonical()?;
        let hash = Record::hash_of(&bytes);
        self.next_seq += 1;
        self.head = hash;
        Ok(Link {
            record,
            bytes,
            hash,
        })
    }

    /// The stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Hash of the last record; zero where there is none.
    pub fn head(&self) -> RecordHash {
        self.head
    }
}

/// Why a batch signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not 64 bytes of base64url.
    #[error("the batch signature is not 64 bytes of base64url")]
    Form,
    /// Another key's, or over another head.
    #[error("the batch signature does not fit the stream's key and the last record")]
    Signature,
}

/// What a batch signature signs: `actpass.batch/1\0` ‖ stream hex ‖ `\0` ‖ last record hash (32 bytes). The last
/// record chains all before it, so one signature covers the batch.
pub fn batch_message(stream: &StreamId, last: &RecordHash) -> Vec<u8> {
    [
        b"actpass.batch/1\0".as_slice(),
        stream.to_string().as_bytes(),
        b"\0",
        last.as_bytes(),
    ]
    .concat()
}

/// Signs a batch that ends with the record of hash `last`; base64url.
pub fn sign_batch(key: &SigningKey, last: &RecordHash) -> String {
    let stream = stream_id(&key.verifying_key());
    b64u_encode(&key.sign(&batch_message(&stream, last)).to_bytes())
}

/// Checks a batch signature by the stream's key.
///
/// # Errors
/// Where the text is no signature, or does not fit.
pub fn verify_batch(
    key: &VerifyingKey,
    last: &RecordHash,
    signature: &str,
) -> Result<(), BatchError> {
    let bytes: [u8; 64] = b64u_decode_array(signature).map_err(|_| BatchError::Form)?;
    let message = batch_message(&stream_id(key), last);
    key.verify_strict(&message, &Signature::from_bytes(&bytes))
        .map_err(|_| BatchError::Signature)
}

/// Records and leaves hold microseconds. Cut, not rounded, as [`crate::canonical::instant`] does.
pub(crate) fn to_micros(time: Timestamp) -> Timestamp {
    let nanos = time.as_nanosecond();
    // The cut value lies between the instant and zero, so it is always in range.
    Timestamp::from_nanosecond(nanos - nanos.rem_euclid(1000)).unwrap_or(time)
}
