//! One batch of records: ruled on in order, logged as one group, answered with proofs.

use std::sync::Arc;

use actpass_core::action::Action;
use actpass_core::evidence::leaf::{CredentialRef, Ruling, RulingVerdict};
use actpass_core::evidence::record::{Body, Record};
use actpass_core::hash::{StreamId, sha256};
use actpass_core::host::HostName;
use actpass_core::state::RecordRefused;
use actpass_core::upstream::{CredentialUse, Effect, TlsMode, Upstream};
use actpass_core::wire::{AnswerEnd, AnswerLine};

use super::{Engine, Logs, Staging, staged_group};
use crate::error::ApiError;
use crate::metrics::{Counted, Metrics};
use crate::storage::{Blob, BlobKind};
use crate::vault::{About, Destination, LendError, Secret};

/// A batch whose signature, records and openings were checked.
pub(crate) struct ParsedBatch {
    /// Origin of the log.
    pub(crate) origin: String,
    /// The stream.
    pub(crate) stream: StreamId,
    /// Its records, in order.
    pub(crate) records: Vec<ParsedRecord>,
    /// Batch signature, base64url.
    pub(crate) signature: String,
    /// Size of the sidecar's kept head.
    pub(crate) from: u64,
}

/// One record with what its commitments open to.
pub(crate) struct ParsedRecord {
    pub(crate) record: Record,
    /// Canonical bytes, for comparison with what is stored.
    pub(crate) canonical: Vec<u8>,
    pub(crate) action: Option<Action>,
    /// The openings as sent; they become the side frame.
    pub(crate) openings: Vec<u8>,
}

/// How one record was answered.
pub(crate) struct RecordAnswer {
    seq: u64,
    index: u64,
    leaf: Arc<str>,
    verdict: RulingVerdict,
    reason: Option<String>,
    secret: Option<Secret>,
    /// What is counted once it is durable; none of a record that was answered before.
    ruling: Option<Ruling>,
}

impl Engine {
    /// Rules on a batch and logs it; the answer as NDJSON.
    ///
    /// # Errors
    /// Where a record cannot stand in the log; then none of the batch does.
    pub(crate) async fn batch(&self, batch: ParsedBatch) -> Result<Vec<u8>, ApiError> {
        let (batch, metrics) = (Arc::new(batch), self.metrics.clone());
        let staged = batch.clone();
        self.submit(
            move |staging| staging.batch(&staged),
            move |answers, logs| {
                count(&answers, &batch, logs, &metrics);
                write_answer(&answers, &batch.origin, batch.from, logs)
            },
        )
        .await
    }
}

impl Staging<'_> {
    fn batch(&mut self, batch: &ParsedBatch) -> Result<Vec<RecordAnswer>, ApiError> {
        self.check_order(batch)?;
        let last = batch.records.len().saturating_sub(1);
        let mut answers = Vec::with_capacity(batch.records.len());
        for (position, parsed) in batch.records.iter().enumerate() {
            let signature = (position == last).then(|| batch.signature.clone());
            let answer = match self.repeated(&batch.origin, parsed)? {
                Some(stored) => stored,
                None => self.record(&batch.origin, parsed, signature)?,
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Finds what would make a record of the batch unacceptable before any of it is staged.
    fn check_order(&self, batch: &ParsedBatch) -> Result<(), ApiError> {
        let stream = self
            .log(&batch.origin)?
            .state()
            .stream(&batch.stream)
            .filter(|stream| stream.ended.is_none());
        let stream = stream.ok_or_else(|| refused(&RecordRefused::UnknownStream(batch.stream)))?;
        let (mut expected, mut head) = (stream.next_seq, stream.head);
        for parsed in &batch.records {
            let record = &parsed.record;
            if record.seq < expected {
                continue;
            }
            if record.seq != expected {
                return Err(refused(&RecordRefused::Sequence {
                    expected,
                    found: record.seq,
                }));
            }
            if record.prev != head {
                return Err(refused(&RecordRefused::Chain(record.seq)));
            }
            match &record.body {
                Body::Outcome(outcome) if outcome.of >= record.seq => {
                    return Err(refused(&RecordRefused::Senseless(
                        record.seq,
                        "an outcome before its action",
                    )));
                }
                _ => {}
            }
            head = Record::hash_of(&parsed.canonical);
            expected += 1;
        }
        Ok(())
    }

    /// The stored answer, for a record that was taken before: its verdict, never its secret.
    fn repeated(
        &self,
        origin: &str,
        parsed: &ParsedRecord,
    ) -> Result<Option<RecordAnswer>, ApiError> {
        let log = self.log(origin)?;
        let (id, seq) = (&parsed.record.stream, parsed.record.seq);
        if log
            .state()
            .stream(id)
            .is_none_or(|stream| seq >= stream.next_seq)
        {
            return Ok(None);
        }
        let stored = log
            .answered(id, seq)
            .ok_or_else(|| refused(&RecordRefused::Chain(seq)))?;
        let leaf = actpass_core::evidence::leaf::Leaf::parse(stored.leaf.as_bytes());
        let leaf = leaf.map_err(|error| ApiError::Malformed(error.to_string()))?;
        let same = match &leaf.r {
            actpass_core::evidence::leaf::Entry::Record(record) => **record == parsed.record,
            actpass_core::evidence::leaf::Entry::Event(_) => false,
        };
        if !same {
            tracing::error!(stream = %id, seq, "A stream sent two different records under one number");
            return Err(refused(&RecordRefused::Chain(seq)));
        }
        let ruling = leaf
            .d
            .map_or_else(|| Ruling::of(RulingVerdict::Recorded), |ruling| *ruling);
        let (verdict, reason) = (ruling.verdict, ruling.reason);
        Ok(Some(RecordAnswer {
            seq,
            index: stored.index,
            leaf: stored.leaf.clone(),
            verdict,
            reason,
            secret: None,
            ruling: None,
        }))
    }

    fn record(
        &mut self,
        origin: &str,
        parsed: &ParsedRecord,
        signature: Option<String>,
    ) -> Result<RecordAnswer, ApiError> {
        let now = self.now(origin)?;
        let log = self.log(origin)?;
        let macs = parsed.action.as_ref().map(|action| log.macs(action));
        let given = parsed.action.as_ref().zip(macs.as_ref());
        let ruling = log
            .state()
            .rule_on(&parsed.record, given, now)
            .map_err(|error| refused(&error))?;
        let (ruling, secret) = match &parsed.action {
            Some(action) if ruling.verdict == RulingVerdict::Permit => {
                self.lend(origin, action, ruling)?
            }
            _ => (ruling, None),
        };
        let about = About {
            at: now,
            subject: macs.as_ref().and_then(|macs| macs.subject),
        };
        let side_frame = self.side_frame(origin, parsed, &about)?;
        let (seq, verdict, reason) = (parsed.record.seq, ruling.verdict, ruling.reason.clone());
        let counted = ruling.clone();
        let log = self.logs.get_mut(origin).ok_or(ApiError::NotFound("log"))?;
        let staged = staged_group(self.staged, log);
        let (index, leaf) =
            log.push_record(now, parsed.record.clone(), ruling, signature, staged)?;
        staged.blobs.extend(side_frame);
        Ok(RecordAnswer {
            seq,
            index,
            leaf,
            verdict,
            reason,
            secret,
            ruling: Some(counted),
        })
    }

    /// The credential of a permit; where it may not be lent there is no permit.
    fn lend(
        &self,
        origin: &str,
        action: &Action,
        ruling: Ruling,
    ) -> Result<(Ruling, Option<Secret>), ApiError> {
        let log = self.log(origin)?;
        let bundle = log.state().active().cloned();
        let upstream = bundle
            .as_ref()
            .and_then(|bundle| bundle.upstream(&action.upstream));
        let Some((upstream, wanted)) =
            upstream.and_then(|it| Some((it, it.credential_for(action.effect)?)))
        else {
            return Ok((ruling, None));
        };
        let destination = destination(upstream, &action.host, action.port, action.effect, wanted);
        match self
            .parts
            .vault
            .lend(log.tenant(), &wanted.name, &destination)
        {
            Ok(lent) => {
                let credential = Some(CredentialRef {
                    name: lent.name,
                    version: lent.version,
                });
                Ok((
                    Ruling {
                        credential,
                        ..ruling
                    },
                    Some(lent.secret),
                ))
            }
            Err(error) => Ok((not_lent(ruling, &error), None)),
        }
    }

    fn side_frame(
        &self,
        origin: &str,
        parsed: &ParsedRecord,
        about: &About,
    ) -> Result<Option<Blob>, ApiError> {
        if parsed.openings == b"{}" {
            return Ok(None);
        }
        let log = self.log(origin)?;
        let seq = log.size();
        let aad = side_frame_aad(origin, seq);
        let sealed = self
            .parts
            .vault
            .seal(log.tenant(), about, aad.as_bytes(), &parsed.openings);
        let bytes = sealed.map_err(|error| ApiError::Malformed(error.to_string()))?;
        let name = sha256(&[aad.as_bytes()]);
        Ok(Some(Blob {
            kind: BlobKind::SideFrame { seq },
            name,
            bytes,
        }))
    }
}

/// What a side frame is sealed with, and by whose SHA-256 it is found: the leaf it stands beside.
pub(crate) fn side_frame_aad(origin: &str, seq: u64) -> String {
    format!("actpass.side/1\n{origin}\n{seq}")
}

/// What a request that waits for its approval is sealed with, and by whose SHA-256 it is found.
pub(crate) fn sealed_aad(approval: &str) -> String {
    format!("actpass.sealed/1\n{approval}")
}

/// What a kept request is found by.
pub(crate) fn sealed_name(approval: &str) -> [u8; 32] {
    actpass_core::hash::sha256(&[sealed_aad(approval).as_bytes()])
}

/// Where an action would carry a credential.
pub(crate) fn destination(
    upstream: &Upstream,
    host: &HostName,
    port: u16,
    effect: Effect,
    wanted: &CredentialUse,
) -> Destination {
    Destination {
        host: host.to_string(),
        port,
        header: wanted.header.clone(),
        format: wanted.format.clone(),
        ca_sha256: upstream
            .tls
            .ca_bundle
            .as_ref()
            .map(|pem| sha256(&[pem.as_bytes()])),
        effect,
        intercepted: upstream.tls.mode == TlsMode::Intercept,
    }
}

fn not_lent(ruling: Ruling, error: &LendError) -> Ruling {
    let detail = format!("{error}; store it with `actpass credentials put`");
    Ruling {
        verdict: RulingVerdict::Deny,
        reason: Some("credential_unavailable".to_owned()),
        detail: Some(detail),
        reservations: Vec::new(),
        approval: None,
        obligations: None,
        not_after: None,
        ..ruling
    }
}

/// Counts what was ruled on, once it is durable.
fn count(answers: &[RecordAnswer], batch: &ParsedBatch, logs: &Logs, metrics: &Metrics) {
    let Some(log) = logs.get(&batch.origin) else {
        return;
    };
    let agent = log.state().stream(&batch.stream);
    let counted = Counted {
        tenant: log.tenant(),
        agent: agent.map_or("", |stream| &stream.agent),
        bundle: log.state().active().map(Arc::as_ref),
    };
    for (answer, parsed) in answers.iter().zip(&batch.records) {
        if let Some(ruling) = &answer.ruling {
            metrics.ruling(&counted, &parsed.record, ruling);
        }
    }
}

fn write_answer(
    answers: &[RecordAnswer],
    origin: &str,
    from: u64,
    logs: &Logs,
) -> Result<Vec<u8>, ApiError> {
    let log = logs.get(origin).ok_or(ApiError::NotFound("log"))?;
    let mut out = Vec::with_capacity(answers.len() * 2_048);
    for answer in answers {
        let permitted = answer.verdict == RulingVerdict::Permit;
        let line = AnswerLine {
            seq: answer.seq,
            verdict: answer.verdict,
            reason: answer.reason.clone(),
            // Who is not told anything needs no proof of it.
            leaf: match answer.verdict {
                RulingVerdict::Recorded => String::new(),
                _ => answer.leaf.to_string(),
            },
            index: answer.index,
            path: if permitted {
                log.inclusion(answer.index)
            } else {
                Vec::new()
            },
            secret: answer.secret.as_ref().map(text).transpose()?,
        };
        write_line(&mut out, &line)?;
    }
    let end = AnswerEnd {
        checkpoint: log.checkpoint().to_owned(),
        consistency: log.consistency(from)?,
    };
    write_line(&mut out, &end)?;
    Ok(out)
}

/// A secret as the text that goes into a header.
pub(crate) fn text(secret: &Secret) -> Result<String, ApiError> {
    let text = std::str::from_utf8(secret.expose());
    text.map(str::to_owned).map_err(|_| {
        ApiError::Malformed("a stored secret is no text, so no header holds it".to_owned())
    })
}

fn write_line<T: serde::Serialize>(out: &mut Vec<u8>, line: &T) -> Result<(), ApiError> {
    serde_json::to_writer(&mut *out, line)
        .map_err(|error| ApiError::Malformed(error.to_string()))?;
    out.push(b'\n');
    Ok(())
}

fn refused(error: &RecordRefused) -> ApiError {
    let code = match error {
        RecordRefused::UnknownStream(_) => "unknown_stream",
        RecordRefused::Sequence { .. } => "sequence",
        RecordRefused::Chain(_) => "chain",
        RecordRefused::Senseless(..) => "senseless",
        RecordRefused::NoBundle => "no_policy",
    };
    ApiError::Conflict {
        code,
        detail: error.to_string(),
    }
}
