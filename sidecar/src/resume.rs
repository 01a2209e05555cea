//! What a killed sidecar left: its ring file's records, sent late, and its stream ended.
//!
//! *Guarantees.* What was recorded reaches the log unchanged, in its chain and under the stream's own key. An intent whose
//! permit arrives only now is `not_sent`: a permit is acknowledged in the file before it is handed out, so nothing ran
//! under it. *Assumptions.* The process that wrote the file is gone. After a restart of the machine the file may be older
//! than what ran; then nothing is concluded from it, and the stream's end says that its tail is unknown.

use std::path::Path;
use std::sync::Arc;

use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::receipt::KeptHead;
use actpass_core::evidence::record::{Body, Note, RESTARTED};
use ed25519_dalek::SigningKey;

use crate::known_log::KnownLog;
use crate::ledger_client::{LedgerAddress, LedgerClient, LedgerError};
use crate::metrics::Metrics;
use crate::recorder::{RecordError, Recorder, ResumeError as Unusable};
use crate::ring::{Ring, RingError};
use crate::shipper::{Link, ShipError, Unclaimed};

/// What became of a ring file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Everything in it is in the log, and its stream has ended with its tail known.
    Ended {
        /// Records sent.
        records: usize,
    },
    /// Everything in it is in the log. The machine was restarted since, so it may not be all: whoever holds the ledger
    /// ends the stream with its tail unknown.
    Sent {
        /// Records sent.
        records: usize,
    },
    /// There was nothing to send, and the ledger has ended the stream or never knew it.
    Nothing,
}

/// What was left cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The file cannot be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The file holds something else than a stream's records.
    #[error("the ring file cannot be gone on with")]
    Unusable(#[from] Unusable),
    /// That the stream was taken up again cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The ledger does not take it.
    #[error("the records left in the ring file are not taken")]
    Ship(#[source] ShipError),
    /// The ledger cannot be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Sends what the ring file at `path` holds and ends its stream. `log` checks the ledger's answers.
///
/// # Errors
/// Where the file cannot be read or the ledger does not take it; the file is as it was, and can be tried again.
pub async fn resume(
    path: &Path,
    address: LedgerAddress,
    log: impl Into<KnownLog>,
) -> Result<Resumed, ResumeError> {
    let (ring, left) = Ring::resume(path)?;
    let records = left.lines.len();
    let recorder = Arc::new(Recorder::resume(ring, &left)?);
    let unclaimed = if left.same_boot {
        Unclaimed::NotSent("the process ended before the permit arrived")
    } else {
        Unclaimed::Unknown
    };
    let mut link = Link {
        client: Arc::new(LedgerClient::new(address, &left.key)?),
        key: left.key,
        log: log.into(),
        head: KeptHead::empty(),
        metrics: Arc::new(Metrics::default()),
        unclaimed,
        recorder,
    };
    link.recorder.close();
    drain(&mut link).await?;
    if !left.same_boot {
        return Ok(Resumed::Sent { records });
    }
    let text = format!("The process that wrote this stream is gone; {records} records came late.");
    let note = "resumed".to_owned();
    link.recorder
        .record(Body::Note(Note { note, text }), &Openings::default())?;
    match drain(&mut link).await {
        Ok(()) => {}
        Err(ResumeError::Ship(ShipError::Refused(LedgerError::Refused(problem))))
            if records == 0
                && ["unknown_stream", "stream_ended"].contains(&problem.code.as_str()) =>
        {
            return Ok(Resumed::Nothing);
        }
        Err(error) => return Err(error),
    }
    link.client.close_expired().await?;
    Ok(Resumed::Ended { records })
}

/// A stream that goes on.
#[derive(Debug)]
pub struct TakenUp {
    /// Its records: those of the earlier process that the ledger did not take yet, and those to come.
    pub recorder: Arc<Recorder>,
    /// Its key.
    pub key: SigningKey,
}

/// Goes on with the stream in the ring file at `path`, as another process of the same pod: sends what is left, and says on
/// the record that it is another. `log` is absent where the stream was never opened.
///
/// # Errors
/// Where the file cannot be used, or the ledger is away or will never take its records.
pub async fn take_up(
    path: &Path,
    address: LedgerAddress,
    log: Option<KnownLog>,
) -> Result<TakenUp, ResumeError> {
    let (ring, left) = Ring::resume(path)?;
    let recorder = Arc::new(Recorder::resume(ring, &left)?);
    if let Some(log) = log {
        let mut link = Link {
            client: Arc::new(LedgerClient::new(address, &left.key)?),
            key: left.key.clone(),
            log,
            head: KeptHead::empty(),
            metrics: Arc::new(Metrics::default()),
            unclaimed: Unclaimed::NotSent("the process ended before the permit arrived"),
            recorder: recorder.clone(),
        };
        // Before anything new is recorded: what became of these is known.
        while recorder.standing().unacknowledged > 0 {
            let Some(batch) = recorder.next_batch().await else {
                break;
            };
            match link.send(&batch).await {
                Ok(()) => {}
                Err(ShipError::Refused(LedgerError::Refused(problem)))
                    if ["unknown_stream", "passport_expired"].contains(&problem.code.as_str()) =>
                {
                    // They are taken once there is a passport, too late for any permit.
                    break;
                }
                Err(error) => return Err(ResumeError::Ship(error)),
            }
        }
    }
    let text = "Another process goes on with this stream.".to_owned();
    let note = RESTARTED.to_owned();
    recorder.record(Body::Note(Note { note, text }), &Openings::default())?;
    Ok(TakenUp {
        recorder,
        key: left.key,
    })
}

async fn drain(link: &mut Link) -> Result<(), ResumeError> {
    while let Some(batch) = link.recorder.next_batch().await {
        link.send(&batch).await.map_err(ResumeError::Ship)?;
    }
    Ok(())
}
