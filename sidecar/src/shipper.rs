//! The shipper: sends queued records to the ledger, one batch in flight, and hands each intent its checked answer.
//!
//! *Flow.* Take what is queued (no timer), sign it, send it, check the answer's proofs, hand out verdicts, forget the
//! records. *Errors.* While the ledger is away the same records are sent again; it answers a repeat with the stored
//! verdicts. A refusal it will not change, or a proof that does not hold, breaks the stream off: nothing is permitted.

use std::sync::Arc;
use std::time::Duration;

use actpass_core::evidence::leaf::{RulingVerdict, bounded};
use actpass_core::evidence::receipt::{AnswerHead, KeptHead, ReceiptError};
use actpass_core::evidence::record::{Outcome, OutcomeResult, sign_batch};
use actpass_core::hash::b64u_decode;
use actpass_core::wire::{AnswerEnd, AnswerLine, BatchEnd};
use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::known_log::KnownLog;
use crate::ledger_client::{LedgerClient, LedgerError};
use crate::metrics::Metrics;
use crate::recorder::{Queued, Recorder};
use crate::ring::RingError;
use crate::session::{Session, SessionError};

/// First and longest wait before the ledger is tried again.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// An intent's answer, its batch's proofs checked.
#[derive(Debug)]
pub struct IntentAnswer {
    /// The intent's record as sent.
    pub record: Bytes,
    /// The ledger's line.
    pub line: AnswerLine,
    /// What the answer's checkpoint proved; the line's inclusion is proved against it.
    pub head: Arc<AnswerHead>,
    /// With a permit, until somebody takes charge of it.
    pub(crate) unused: Option<Unused>,
}

/// A permit that nothing has run under. Dropped, as with a request whose agent goes away while the permit is on its way,
/// it is recorded as `not_sent`, so that its reservation goes back.
#[derive(Debug)]
pub(crate) struct Unused {
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    of: u64,
    why: String,
    taken: bool,
}

impl Unused {
    /// Whoever calls this records the outcome.
    pub(crate) fn take(mut self) {
        self.taken = true;
    }

    /// It will not be used, and this is why.
    pub(crate) fn give_back(mut self, why: String) {
        self.why = why;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let (result, status, micros, response_bytes) = (OutcomeResult::NotSent, None, 0, 0);
        self.metrics.outcome(result);
        self.recorder.outcome(Outcome {
            of: self.of,
            result,
            status,
            detail: Some(bounded(&self.why)),
            micros,
            response_bytes,
        });
    }
}

/// Sends a stream's records, under passports that it renews.
pub struct Shipper {
    session: Arc<dyn Session>,
    renew_at: Instant,
    /// Name of the Passport that the ledger knows the stream under.
    opened_as: Option<Arc<str>>,
    link: Link,
}

/// Sends a stream's records, as far as that needs no passport.
pub(crate) struct Link {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) client: Arc<LedgerClient>,
    pub(crate) key: SigningKey,
    pub(crate) log: KnownLog,
    pub(crate) head: KeptHead,
    pub(crate) metrics: Arc<Metrics>,
    /// What a permit means that nobody waits for.
    pub(crate) unclaimed: Unclaimed,
}

/// A permit that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// Nothing ran under it: its outcome is `not_sent`, and this is why.
    NotSent(&'static str),
    /// Nobody knows.
    Unknown,
}

/// The stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The ledger refuses, and will refuse again.
    #[error("the ledger refuses the stream")]
    Refused(#[source] LedgerError),
    /// There is no passport now.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A proof does not hold: the ledger is not the one we know, or it forked.
    #[error("the ledger's proof does not hold")]
    Proof(#[source] ReceiptError),
    /// What the ledger has cannot be written down here.
    #[error("the acknowledgement is not kept")]
    Ring(#[source] RingError),
    /// There was nothing to send where something waits.
    #[error("no record of the queue fits a batch")]
    EmptyBatch,
    /// The ledger's answer has another shape than asked for.
    #[error("the ledger's answer is not understood: {0}")]
    Answer(String),
}

impl Shipper {
    /// A shipper that knows nothing of the log yet.
    pub fn new(
        recorder: Arc<Recorder>,
        client: Arc<LedgerClient>,
        session: Arc<dyn Session>,
        key: SigningKey,
        log: KnownLog,
    ) -> Self {
        let link = Link {
            recorder,
            client,
            key,
            log,
            head: KeptHead::empty(),
            metrics: Arc::default(),
            unclaimed: Unclaimed::NotSent("the agent's request ended before the permit arrived"),
        };
        Self {
            session,
            renew_at: Instant::now(),
            opened_as: None,
            link,
        }
    }

    /// The same, counting into `metrics`.
    #[must_use]
    pub fn measured(mut self, metrics: Arc<Metrics>) -> Self {
        self.link.metrics = metrics;
        self
    }

    /// Opens the stream; the first call says whether the ledger takes it at all.
    ///
    /// # Errors
    /// Where the ledger is away or refuses the passport, or its checkpoint does not hold.
    pub async fn open(&mut self) -> Result<(), ShipError> {
        let passport = self.session.passport()?;
        let token = self.session.token()?;
        let opened = self
            .link
            .client
            .open(&token, self.link.head.size)
            .await
            .map_err(ShipError::Refused)?;
        let end = AnswerEnd {
            checkpoint: opened.checkpoint,
            consistency: opened.consistency,
        };
        let head = self.link.log.check(&end, &self.link.head);
        self.link.head = head.map_err(ShipError::Proof)?.kept();
        if let Some(expires) = expiry(&token) {
            self.link.metrics.passport_expires(expires);
        }
        self.renew_at = Instant::now() + self.renew_after();
        self.opened_as = Some(passport);
        Ok(())
    }

    /// Sends until the recorder closes and everything is sent.
    ///
    /// # Errors
    /// Where the stream cannot go on. The recorder is broken off by then: everything is denied.
    pub async fn run(mut self) -> Result<(), ShipError> {
        let result = self.ship().await;
        if let Err(error) = &result {
            self.link.recorder.break_off(&error.to_string());
        }
        result
    }

    async fn ship(&mut self) -> Result<(), ShipError> {
        let mut wait = RETRY_WAITS.0;
        loop {
            let batch = tokio::select! {
                batch = self.link.recorder.next_batch() => batch,
                () = tokio::time::sleep_until(self.renew_at) => {
                    self.renew().await?;
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            // A pod that had none may have got its Passport.
            if let Ok(passport) = self.session.passport()
                && self.opened_as.as_ref() != Some(&passport)
            {
                self.renew().await?;
            }
            match self.link.send(&batch).await {
                Ok(()) => wait = RETRY_WAITS.0,
                Err(ShipError::Refused(error)) if error.may_pass() => {
                    self.link.recorder.ledger_away(&error.to_string());
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAITS.1);
                }
                Err(ShipError::Refused(LedgerError::Refused(problem)))
                    if ["passport_expired", "unknown_stream"].contains(&problem.code.as_str()) =>
                {
                    self.renew().await?;
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
        if let Err(error) = self.link.client.close().await {
            tracing::warn!(%error, "Stream not closed; the ledger will call its end unknown");
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), ShipError> {
        match self.open().await {
            Ok(()) => Ok(()),
            Err(ShipError::Refused(error)) if error.may_pass() => {
                self.link.recorder.ledger_away(&error.to_string());
                self.renew_at = Instant::now() + RETRY_WAITS.1;
                Ok(())
            }
            // One may be issued again; until then nothing is permitted, and what is recorded waits in the ring.
            Err(ShipError::Session(error)) => {
                tracing::debug!(%error, "Passport not renewed");
                self.renew_at = Instant::now() + RETRY_WAITS.1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A third of the passport's life.
    fn renew_after(&self) -> Duration {
        let bundle = self.session.bundle();
        let name = self.session.passport().ok();
        let ttl = name
            .and_then(|name| bundle.passport(&name))
            .map_or(60, |passport| passport.ttl_seconds);
        Duration::from_secs(u64::from(ttl) / 3)
    }
}

impl Link {
    /// Sends one batch, checks the answer's proofs and hands out its verdicts.
    pub(crate) async fn send(&mut self, batch: &[Queued]) -> Result<(), ShipError> {
        let Some(last) = batch.last() else {
            // Sent for nothing it would be taken again at once, for ever.
            return Err(ShipError::EmptyBatch);
        };
        let body = self.sign(batch, last)?;
        let sent = Instant::now();
        let answer = self.client.batch(body).await.map_err(ShipError::Refused)?;
        self.metrics.ledger_round_trip(sent.elapsed());
        let (lines, end) = parse(&answer, batch)?;
        let head = self.log.check(&end, &self.head);
        let head = Arc::new(head.map_err(ShipError::Proof)?);
        self.head = head.kept();
        self.recorder
            .acknowledge(last.seq + 1, last.hash)
            .map_err(ShipError::Ring)?;
        for (queued, line) in batch.iter().zip(lines) {
            self.hand_out(queued, line, &head);
        }
        Ok(())
    }

    fn hand_out(&self, queued: &Queued, line: AnswerLine, head: &Arc<AnswerHead>) {
        let seq = queued.seq;
        let unused = match (&line.verdict, self.unclaimed) {
            (RulingVerdict::Permit, Unclaimed::NotSent(why)) => Some(Unused {
                recorder: self.recorder.clone(),
                metrics: self.metrics.clone(),
                of: seq,
                why: why.to_owned(),
                taken: false,
            }),
            _ => None,
        };
        let answer = IntentAnswer {
            record: queued.record.clone(),
            line,
            head: head.clone(),
            unused,
        };
        if let Some(waiting) = self.recorder.take_waiting(seq) {
            // An answer that nobody waits for any more comes back, and is dropped with its permit.
            drop(waiting.send(answer));
        }
    }

    fn sign(&self, batch: &[Queued], last: &Queued) -> Result<Bytes, ShipError> {
        let s = sign_batch(&self.key, &last.hash);
        let end = BatchEnd {
            s,
            sent: Timestamp::now(),
            from: self.head.size,
        };
        let end = actpass_core::canonical::to_vec(&end)
            .map_err(|error| ShipError::Answer(error.to_string()))?;
        let bytes = batch
            .iter()
            .map(|queued| queued.line.len() + 1)
            .sum::<usize>()
            + end.len();
        let mut body = BytesMut::with_capacity(bytes);
        for queued in batch {
            body.extend_from_slice(&queued.line);
            body.extend_from_slice(b"\n");
        }
        body.extend_from_slice(&end);
        Ok(body.freeze())
    }
}

/// When a passport ends, in Unix seconds; the ledger checks it, here it is only shown.
fn expiry(token: &str) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = b64u_decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Claims>(&payload).ok()?.exp)
}

fn parse(answer: &[u8], batch: &[Queued]) -> Result<(Vec<AnswerLine>, AnswerEnd), ShipError> {
    let wrong = |what: &str| ShipError::Answer(what.to_owned());
    let text = std::str::from_utf8(answer).map_err(|_| wrong("it is not UTF-8"))?;
    let (lines, end) = text
        .trim_end()
        .rsplit_once('\n')
        .ok_or_else(|| wrong("it has one line only"))?;
    let end = serde_json::from_str(end).map_err(|error| ShipError::Answer(error.to_string()))?;
    let lines = lines
        .lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| ShipError::Answer(error.to_string()))
        })
        .collect::<Result<Vec<AnswerLine>, _>>()?;
    if lines.len() != batch.len()
        || lines
            .iter()
            .zip(batch)
            .any(|(line, queued)| line.seq != queued.seq)
    {
        return Err(wrong("it does not have one line per record, in order"));
    }
    Ok((lines, end))
}
