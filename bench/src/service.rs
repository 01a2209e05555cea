//! The whole service: a ledger as a process of its own, and simulated sidecars that ask it for one permit after the other over TLS, each
//! under its own key, and report each done. Everything is checked that is checked in earnest: passports, batch signatures, openings on
//! one side, checkpoints and proofs on the other. Both sides share the machine, so the ledger's own share is told by its processor time.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_sidecar::judge::Judge;
use actpass_sidecar::pep::Pep;
use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::permit::{self, HOST};
use crate::policy;
use crate::sample::{Sample, micros};
use crate::sidecar;

#[derive(clap::Args)]
pub(crate) struct ServiceArgs {
    /// Directory of log and rings; put it on the disk that is meant
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Sidecars at once, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128, 1_000])]
    sidecars: Vec<usize>,
    /// Seconds of each
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Sidecars that open their streams at the same time.
const OPENING: usize = 16;

/// Leaves that a permit makes: its own and its outcome's.
const LEAVES: usize = 2;

/// Of the upstream, which nobody calls.
const PORT: u16 = 443;

pub(crate) async fn service(args: ServiceArgs) -> anyhow::Result<()> {
    println!(
        "| sidecars | leaves/s | permit p50, µs | p99, µs | ledger's processor time per leaf, µs |"
    );
    println!("|---|---|---|---|---|");
    for sidecars in args.sidecars.iter().copied() {
        measure(&args, sidecars).await?;
    }
    Ok(())
}

async fn measure(args: &ServiceArgs, sidecars: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let handover = dir.path().join("handover");
    let ledger = Process(
        Command::new(std::env::current_exe()?)
            .arg("ledger")
            .args(["--host", HOST, "--port", &PORT.to_string()])
            .arg("--dir")
            .arg(dir.path())
            .arg("--handover")
            .arg(&handover)
            .spawn()?,
    );
    let handover = sidecar::wait_for(&handover).await?;
    let bundle = Arc::new(policy::bundle(HOST, PORT, "", 10)?);
    let opening = (0..sidecars).map(|_| sidecar::pep(&handover, bundle.clone(), dir.path()));
    let peps: Vec<_> = stream::iter(opening)
        .buffer_unordered(OPENING)
        .try_collect()
        .await?;

    let (spent, begun) = (ledger.processor_time()?, Instant::now());
    let until = begun + Duration::from_secs(args.seconds);
    let asking = (peps.iter().enumerate()).map(|(nth, (pep, _))| ask(pep.clone(), nth, until));
    let took: Vec<Vec<Duration>> = try_join_all(asking.map(tokio::spawn))
        .await?
        .into_iter()
        .collect::<anyhow::Result<_>>()?;
    for (pep, shipping) in peps {
        pep.close();
        shipping.await??;
    }
    let (spent, elapsed) = (ledger.processor_time()? - spent, begun.elapsed());
    let mut sample = Sample::default();
    took.into_iter()
        .flatten()
        .for_each(|permit| sample.push(permit));
    let leaves = (sample.count() * LEAVES) as u128;
    println!(
        "| {sidecars} | {} | {} | {} | {} |",
        leaves * 1_000 / elapsed.as_millis().max(1),
        micros(sample.percentile(50)),
        micros(sample.percentile(99)),
        micros(spent.as_nanos() / leaves.max(1)),
    );
    Ok(())
}

/// Asks for one payment after the other, and reports each done.
async fn ask(pep: Arc<Pep>, nth: usize, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for round in 0_usize.. {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        let payment = permit::payment(nth * 1_000_000 + round)?;
        let judgement = pep.judge(&payment).await;
        took.push(begun.elapsed());
        permit::settle(&pep, judgement)?;
    }
    Ok(took)
}

/// A process that ends with this value.
struct Process(Child);

impl Process {
    /// What it has used of processors.
    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut spent = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanos = stat.split(' ').next().context("no schedstat")?;
            spent += Duration::from_nanos(nanos.parse()?);
        }
        Ok(spent)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
