//! A durable permit, one at a time: from the parsed request to a checked receipt, against the sum of the parts that
//! no design could leave out. Each round takes one sample of everything, so that all see the same machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actpass_core::evidence::record::{Outcome, OutcomeResult};
use actpass_sidecar::judge::{Judge, Judgement, Received};
use actpass_sidecar::pep::Pep;
use anyhow::{anyhow, bail};
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;

use crate::ledger::{self, fresh_key};
use crate::policy;
use crate::round_trip::RoundTrip;
use crate::sample::{Sample, micros, ratio};
use crate::sidecar;

/// Where the payments go.
pub(crate) const HOST: &str = "api.payments.example";

/// Rounds before the measured ones.
const WARM_UP: usize = 200;

/// Bytes a permit sends to the ledger and gets back: one record with openings, one leaf with proofs.
const QUESTION_BYTES: usize = 1_800;
const ANSWER_BYTES: usize = 3_000;

#[derive(clap::Args)]
pub(crate) struct PermitArgs {
    /// Directory of the log; put it on the disk that is meant
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Measured permits
    #[arg(long, default_value_t = 2_000)]
    rounds: usize,
}

pub(crate) async fn permit(args: PermitArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let bundle = Arc::new(policy::bundle(HOST, 443, "", 10)?);
    let started = ledger::start(dir.path(), &bundle).await?;
    let (pep, shipping) = sidecar::pep(&started.handover, bundle, dir.path()).await?;
    let mut parts = Parts::new(dir.path()).await?;
    let (mut permits, mut floors) = (Sample::default(), Floors::default());
    for round in 0..WARM_UP + args.rounds {
        let took = one_permit(&pep, round).await?;
        let floor = parts.once().await?;
        if round >= WARM_UP {
            permits.push(took);
            floors.push(&floor);
        }
    }
    pep.close();
    shipping.await??;
    started.ledger.stop().await;
    report(&permits, &floors);
    Ok(())
}

/// A payment of its own.
pub(crate) fn payment(round: usize) -> anyhow::Result<Received> {
    let mut headers = HeaderMap::new();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(http::header::CONTENT_TYPE, form);
    let body = format!("amount=1250&currency=eur&description=payment+{round:->200}");
    Ok(Received {
        host: HOST.parse()?,
        port: 443,
        method: Method::POST,
        target: "/json".parse()?,
        headers,
        body: Bytes::from(body),
        http2: false,
    })
}

/// A read.
pub(crate) fn read() -> anyhow::Result<Received> {
    Ok(Received {
        host: HOST.parse()?,
        port: 443,
        method: Method::GET,
        target: "/json".parse()?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        http2: false,
    })
}

/// Asks for one payment of its own and reports it done.
async fn one_permit(pep: &Arc<Pep>, round: usize) -> anyhow::Result<Duration> {
    let received = payment(round)?;
    let begun = Instant::now();
    let judgement = pep.judge(&received).await;
    let took = begun.elapsed();
    settle(pep, judgement)?;
    // The outcome goes to the ledger by itself; it shall not ride with the next permit.
    while pep.standing().unacknowledged > 0 {
        tokio::task::yield_now().await;
    }
    Ok(took)
}

/// Reports what was permitted done.
pub(crate) fn settle(pep: &Pep, judgement: Judgement) -> anyhow::Result<()> {
    let permit = match judgement {
        Judgement::Permit(permit) => permit,
        Judgement::Deny(denial) => bail!("denied: {}", denial.detail),
    };
    pep.outcome(Outcome {
        of: permit.of,
        result: OutcomeResult::Ok,
        status: Some(200),
        detail: None,
        micros: 1,
        response_bytes: 0,
    });
    Ok(())
}

/// What a permit cannot do without.
struct Parts {
    file: File,
    at: u64,
    group: Vec<u8>,
    key: SigningKey,
    round_trip: RoundTrip,
}

#[derive(Default)]
struct Floors {
    sync: Sample,
    verify: Sample,
    sign: Sample,
    round_trip: Sample,
}

struct Floor {
    sync: Duration,
    verify: Duration,
    sign: Duration,
    round_trip: Duration,
}

/// A group with one permit: leaf, side frame, checkpoint, frame headers.
const GROUP_BYTES: usize = 3_072;

/// Written before it is measured, as segments are laid out ahead.
const FILE_BYTES: u64 = 16 << 20;

impl Parts {
    async fn new(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("floor");
        std::fs::write(&path, vec![0; usize::try_from(FILE_BYTES)?])?;
        let file = File::options().write(true).open(path)?;
        file.sync_all()?;
        Ok(Self {
            file,
            at: 0,
            group: vec![b'x'; GROUP_BYTES],
            key: fresh_key()?,
            round_trip: RoundTrip::start(QUESTION_BYTES, ANSWER_BYTES).await?,
        })
    }

    async fn once(&mut self) -> anyhow::Result<Floor> {
        let round_trip = self.round_trip.once().await?;
        let message = [7; 96];
        let begun = Instant::now();
        let signature: Signature = self.key.sign(&message);
        let signed = Instant::now();
        self.key
            .verify_strict(&message, &signature)
            .map_err(|error| anyhow!("{error}"))?;
        let verified = Instant::now();
        let (file, group, at) = (self.file.try_clone()?, self.group.clone(), self.at);
        self.at = (at + GROUP_BYTES as u64) % (FILE_BYTES - GROUP_BYTES as u64);
        let sync = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            file.write_all_at(&group, at)?;
            file.sync_data()?;
            Ok::<_, std::io::Error>(begun.elapsed())
        });
        Ok(Floor {
            sync: sync.await??,
            verify: verified - signed,
            sign: signed - begun,
            round_trip,
        })
    }
}

impl Floors {
    fn push(&mut self, floor: &Floor) {
        self.sync.push(floor.sync);
        self.verify.push(floor.verify);
        self.sign.push(floor.sign);
        self.round_trip.push(floor.round_trip);
    }
}

fn report(permits: &Sample, floors: &Floors) {
    println!("| one durable permit at a time, µs | p50 | p90 | p99 |");
    println!("|---|---|---|---|");
    let row = |name: &str, sample: &Sample| {
        let times = [50, 90, 99].map(|percent| micros(sample.percentile(percent)));
        println!("| {name} | {} |", times.join(" | "));
    };
    row("permit: from request to checked receipt", permits);
    row("part: pwrite + fdatasync of 3 KiB", &floors.sync);
    row("part: Ed25519 verify", &floors.verify);
    row("part: Ed25519 sign", &floors.sign);
    row("part: loopback TLS round trip", &floors.round_trip);
    let p50 = |sample: &Sample| sample.percentile(50);
    let durable = p50(&floors.sync) + p50(&floors.verify) + p50(&floors.sign);
    let budget = durable * 13 / 10 + p50(&floors.round_trip);
    println!(
        "\npermit / (1.3 × (fdatasync + verify + sign) + round trip) at p50: {} (budget: 1.00)",
        ratio(p50(permits), budget)
    );
}
