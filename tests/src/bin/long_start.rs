//! How long a ledger takes to start on a long log, and how much memory: `long_start DIR LEAVES...` lets a log grow to each of these
//! sizes in turn, and starts a ledger on it: as it is, after an orderly end, and with neither states nor index files. Each start is
//! a process of its own, `long_start --start DIR`, that logs one event and says when that was durable.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use actpass_ledger::engine::{Engine, Parts};
use actpass_ledger::storage::SegmentStorage;
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::vault::{Kek, Vault};
use actpass_tests::growth::grow;
use anyhow::{Context, bail, ensure};
use ed25519_dalek::SigningKey;

const ORIGIN: &str = "actpass/local/default/1";

/// More than any disk here holds.
const LEAVES_MAX: u64 = 50_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [start, dir] if start == "--start" => started(Path::new(dir)).await,
        [dir, sizes @ ..] if !sizes.is_empty() => measure(Path::new(dir), sizes),
        _ => bail!("long_start DIR LEAVES..."),
    }
}

fn measure(dir: &Path, sizes: &[String]) -> anyhow::Result<()> {
    start(dir, "made")?;
    for size in sizes {
        let size: u64 = size.parse()?;
        ensure!(size <= LEAVES_MAX, "too many leaves");
        let begun = Instant::now();
        grow(&dir.join("log"), &key(), ORIGIN, size)?;
        println!("{size} leaves, grown in {:?}", begun.elapsed());
        start(dir, "the state of before, the leaves since")?;
        start(dir, "after an orderly end")?;
        if size > 1_000_000 {
            continue;
        }
        fs::remove_dir_all(dir.join("log/states"))?;
        start(dir, "without states: every leaf")?;
        fs::remove_dir_all(dir.join("log/states"))?;
        for entry in fs::read_dir(dir.join("log/segments"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "idx") {
                fs::remove_file(path)?;
            }
        }
        start(
            dir,
            "without states and index files: every byte, every leaf",
        )?;
    }
    Ok(())
}

/// Starts a process on it and waits for that.
fn start(dir: &Path, how: &str) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("--start").arg(dir).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!(
        "  {how}: {}",
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(())
}

async fn started(dir: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    fs::create_dir_all(dir)?;
    let storage = SegmentStorage::open(&dir.join("log"), SegmentOptions::default())?;
    let opened = begun.elapsed();
    let (kek, _) = Kek::load_or_generate(&dir.join("kek"))?;
    let engine = Engine::start(Parts {
        storage: Box::new(storage),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek)?),
        log_key: key().into(),
        metrics: Arc::default(),
        heads: Some(dir.join("head")),
    })?;
    engine.make_log(ORIGIN, BTreeMap::new()).await?;
    engine.end_open_streams().await?;
    let answered = begun.elapsed();
    let memory = peak_memory()?;
    println!("opened in {opened:?}, answers after {answered:?}, {memory} at most");
    engine.join();
    Ok(())
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn peak_memory() -> anyhow::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.context("no VmHWM")?.trim().to_owned())
}
