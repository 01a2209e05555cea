//! `POST /v1/streams/{stream}/records`: one batch, checked before the sequencer sees it.

use actpass_core::action::Action;
use actpass_core::canonical;
use actpass_core::evidence::record::{Body, Record, verify_batch};
use actpass_core::wire::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BatchEnd, RecordLine};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};

use super::Context;
use super::auth::Sidecar;
use crate::engine::{ParsedBatch, ParsedRecord};
use crate::error::ApiError;

/// A batch sent at a time further off our clock is not taken.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Takes a batch and answers with the rulings.
pub(super) async fn append(
    State(context): State<Context>,
    sidecar: Sidecar,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let batch = parse(&sidecar, &body)?;
    let answer = context.engine.batch(batch).await?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], answer))
}

fn parse(sidecar: &Sidecar, body: &[u8]) -> Result<ParsedBatch, ApiError> {
    if body.len() > BATCH_BYTES_MAX + 1024 {
        return Err(malformed("the batch is too large"));
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed("the batch is not UTF-8"))?;
    let (lines, end) = text
        .trim_end()
        .rsplit_once('\n')
        .ok_or_else(|| malformed("the batch has no records"))?;
    let end: BatchEnd =
        canonical::from_slice(end.as_bytes()).map_err(|error| malformed(&error.to_string()))?;
    if end.sent.duration_since(Timestamp::now()).abs() > CLOCK_SKEW_MAX {
        let detail = "the sidecar's clock is more than 30 s off the ledger's".to_owned();
        return Err(ApiError::Conflict {
            code: "clock_skew",
            detail,
        });
    }
    let records = lines
        .lines()
        .map(|line| record(sidecar, line))
        .collect::<Result<Vec<_>, _>>()?;
    if records.len() > BATCH_RECORDS_MAX {
        return Err(malformed("the batch has too many records"));
    }
    let last = records
        .last()
        .ok_or_else(|| malformed("the batch has no records"))?;
    let key = VerifyingKey::from_bytes(&sidecar.key)
        .map_err(|_| malformed("the stream's key is no Ed25519 key"))?;
    verify_batch(&key, &Record::hash_of(&last.canonical), &end.s)
        .map_err(|_| malformed("the batch's signature does not hold"))?;
    let (origin, stream) = (sidecar.origin.clone(), sidecar.stream);
    Ok(ParsedBatch {
        origin,
        stream,
        records,
        signature: end.s,
        from: end.from,
    })
}

fn record(sidecar: &Sidecar, line: &str) -> Result<ParsedRecord, ApiError> {
    let parsed: RecordLine =
        canonical::from_slice(line.as_bytes()).map_err(|error| malformed(&error.to_string()))?;
    let RecordLine {
        o: openings,
        r: record,
    } = parsed;
    if record.stream != sidecar.stream {
        return Err(malformed("a record belongs to another stream"));
    }
    let canonical = record
        .canonical()
        .map_err(|error| malformed(&error.to_string()))?;
    let action = match &record.body {
        Body::Intent(judged) | Body::Decision(judged) => {
            // What reveals no action is no action: the ruling says so, and the stream goes on.
            let evidence = judged.action.as_ref();
            let revealed: Option<Action> = evidence.and_then(|evidence| {
                let revealed = evidence.reveal(&openings);
                if let Err(error) = &revealed {
                    let (stream, seq) = (record.stream, record.seq);
                    tracing::error!(%error, %stream, seq, "A record's openings do not reveal its action");
                }
                revealed.ok()
            });
            revealed
        }
        Body::Outcome(_) | Body::Note(_) => None,
    };
    let openings = canonical::to_vec(&openings).map_err(|error| malformed(&error.to_string()))?;
    Ok(ParsedRecord {
        record,
        canonical,
        action,
        openings,
    })
}

fn malformed(what: &str) -> ApiError {
    ApiError::Malformed(what.to_owned())
}
