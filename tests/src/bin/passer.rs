//! Passes the leaves of a PostgreSQL on to standard output whenever it has the lead, until it is killed: `passer PORT`.

use std::time::{Duration, Instant};

use actpass_ledger::storage::{PostgresStorage, Storage};
use actpass_ledger::tail::{Stdout, Tailer};
use actpass_tests::postgres::config_at;
use anyhow::Context;

/// More than any test waits for: nobody leaves it running.
const ENDS_AFTER: Duration = Duration::from_secs(600);

fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).context("no port")?.parse()?;
    let storage = PostgresStorage::open(config_at(port)?)?;
    let lead = storage.lead().context("nobody has a lead there")?;
    let mut tailer = Tailer::over(lead()?, Box::new(Stdout));
    let begun = Instant::now();
    while begun.elapsed() < ENDS_AFTER {
        if let Err(error) = tailer.pass_on(None) {
            eprintln!("{:#}", anyhow::anyhow!(error));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
