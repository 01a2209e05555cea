//! Verification: leaves per second on one core, of a log as a busy agent leaves it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actpass_core::verify::Class;
use actpass_ledger::offline::{Known, verify_dir};
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::storage::{Entry, SegmentStorage, Storage};
use actpass_sidecar::judge::Judge;
use actpass_sidecar::pep::Pep;
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;

use crate::permit::{self, HOST};
use crate::sample::{Sample, micros, ratio};
use crate::{ledger, policy, sidecar};

#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Directory the log is made in
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Writes in the log; each is a permit and an outcome, and nine reads go with it
    #[arg(long, default_value_t = 2_000)]
    writes: usize,
    /// Verifications
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// Requests in flight while the log is made.
const AT_ONCE: usize = 50;

/// Reads beside each write.
const READS: usize = 9;

pub(crate) async fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let bundle = Arc::new(policy::bundle(HOST, 443, "", 10)?);
    let started = ledger::start(dir.path(), &bundle).await?;
    let (pep, shipping) = sidecar::pep(&started.handover, bundle, dir.path()).await?;
    for from in (0..args.writes).step_by(AT_ONCE) {
        let to = args.writes.min(from + AT_ONCE);
        try_join_all((from..to).map(|round| act(&pep, round))).await?;
    }
    pep.close();
    shipping.await??;
    started.ledger.stop().await;

    let log = ledger::log_dir(dir.path());
    let mut sample = Sample::default();
    let mut leaves = 0;
    for _ in 0..args.rounds {
        let begun = processor_time()?;
        let verified = verify_dir(&log, &Known::default())?;
        sample.push(processor_time()?.saturating_sub(begun));
        ensure!(verified.class() == Class::Valid, "{verified:?}");
        leaves = verified.logs.iter().map(|log| log.report.leaves).sum();
    }
    let p50 = sample.percentile(50);
    let per_second = u128::from(leaves) * 1_000_000_000 / p50.max(1);
    println!("| verification of a log, one core | leaves | p50 of processor time, µs | leaves/s |");
    println!("|---|---|---|---|");
    println!(
        "| bytes, structure, state | {leaves} | {} | {per_second} |",
        micros(p50)
    );
    println!("\nbudget: 100000 leaves/s");
    Kept::of(&log)?.report();
    Ok(())
}

/// What lies on the disk, in bytes.
#[derive(Default)]
struct Kept {
    leaves: u64,
    beside: u64,
    files: u64,
}

impl Kept {
    fn of(log: &Path) -> anyhow::Result<Self> {
        let mut kept = Self::default();
        let mut storage = SegmentStorage::open(log, SegmentOptions::default())?;
        storage.replay(&mut |entry| {
            match entry {
                Entry::Leaf { bytes, .. } => kept.leaves += bytes.len() as u64,
                Entry::Blob { bytes, .. } => kept.beside += bytes.len() as u64,
            }
            ControlFlow::Continue(())
        })?;
        let mut dirs = vec![log.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => dirs.push(entry.path()),
                    false => kept.files += entry.metadata()?.len(),
                }
            }
        }
        // Room that is made for what comes next.
        kept.files = kept.files.saturating_sub(storage.bytes_ahead());
        Ok(kept)
    }

    fn report(&self) {
        println!("\n| on the disk | MiB | of the leaves |");
        println!("|---|---|---|");
        let leaves = u128::from(self.leaves);
        for (name, bytes) in [
            ("leaves", self.leaves),
            ("texts and checkpoints beside them", self.beside),
            ("all files, less the room made ahead", self.files),
        ] {
            println!(
                "| {name} | {} | {} |",
                bytes >> 20,
                ratio(bytes.into(), leaves)
            );
        }
        println!("\nbudget: 1.3 of what is kept");
    }
}

/// What this thread has used of a processor: others may be busy beside it.
fn processor_time() -> anyhow::Result<Duration> {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = spent.split(' ').next().context("no schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// One write and its reads, each with its outcome.
async fn act(pep: &Arc<Pep>, round: usize) -> anyhow::Result<()> {
    let payment = permit::payment(round)?;
    permit::settle(pep, pep.judge(&payment).await)?;
    let read = permit::read()?;
    for _ in 0..READS {
        permit::settle(pep, pep.judge(&read).await)?;
    }
    Ok(())
}
