//! The log alone: groups of leaves made durable, beside the disk's own limit and beside databases that keep the same.
//!
//! Leaves are made once per group and are the same for all: chained, hashed, in the tree, under one signed checkpoint, each with a nonce
//! that nobody may use twice and a payment that counts on one budget. What is measured is the making and the keeping, of groups of one
//! size, one at a time; the limit is one write of the same bytes into a file made before, and one `fdatasync`. In each round each takes
//! its turn, so that all see the same machine, and a ratio is that of one round.

mod leaves;
mod ours;
mod postgres;
mod raw;
mod sqlite;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sample::{Sample, micros, ratio};

#[derive(clap::Args)]
pub(crate) struct LogArgs {
    /// Directory the logs are made in; put it on the disk that is meant
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Rounds
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Leaves of one group, one table each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128, 1_024])]
    sizes: Vec<usize>,
    /// Only the stores whose name has this in it, beside the limit
    #[arg(long, default_value = "")]
    only: String,
    /// PostgreSQL to measure as well, with its data on the same disk: `postgresql://USER@127.0.0.1:PORT/DATABASE`
    #[arg(long)]
    postgres_url: Option<String>,
}

/// How long one keeps groups in one round.
const TURN: Duration = Duration::from_millis(250);

/// Keeps groups.
trait Store {
    /// Makes the group's leaves of that number and keeps them durably.
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()>;
}

/// What was measured of one store at one size of groups.
#[derive(Default)]
struct Measured {
    groups: Sample,
    /// Leaves per second of each round.
    rates: Vec<u128>,
}

pub(crate) fn log(args: &LogArgs) -> anyhow::Result<()> {
    println!(
        "| store | leaves of a group | leaves/s | p50, µs | p99, µs | of the limit | p99 of the limit's |"
    );
    println!("|---|---|---|---|---|---|---|");
    for leaves in args.sizes.iter().copied() {
        let dir = tempfile::tempdir_in(&args.dir)?;
        let mut stores = stores(dir.path(), args.postgres_url.as_deref())?;
        let mut nth = 0..;
        stores.retain(|(name, _)| nth.next() == Some(0) || name.contains(&args.only));
        let mut measured: Vec<Measured> = stores.iter().map(|_| Measured::default()).collect();
        for round in 0..=args.rounds {
            for ((_, store), measured) in stores.iter_mut().zip(&mut measured) {
                // The first round warms up.
                turn(&mut **store, leaves, (round > 0).then_some(measured))?;
            }
        }
        report(leaves, &stores, &measured);
    }
    Ok(())
}

type Named = (&'static str, Box<dyn Store>);

fn stores(dir: &Path, postgres_url: Option<&str>) -> anyhow::Result<Vec<Named>> {
    let mut stores: Vec<Named> = vec![
        (
            "the limit: one write, one fdatasync",
            Box::new(raw::Raw::new(dir)?),
        ),
        ("segment files", Box::new(ours::Ours::new(dir)?)),
        (
            "SQLite, WAL, synchronous=FULL, a row per leaf",
            Box::new(sqlite::Sqlite::new(dir)?),
        ),
    ];
    if let Some(url) = postgres_url {
        let run = dir.display().to_string();
        stores.push((
            "PostgreSQL, a row per group",
            Box::new(postgres::Groups::new(url, &run)?),
        ));
        stores.push((
            "PostgreSQL, a row per leaf",
            Box::new(postgres::Rows::new(url)?),
        ));
    }
    Ok(stores)
}

fn turn(
    store: &mut dyn Store,
    leaves: usize,
    measured: Option<&mut Measured>,
) -> anyhow::Result<()> {
    let (begun, mut groups) = (Instant::now(), Vec::new());
    while begun.elapsed() < TURN {
        let group = Instant::now();
        store.keep(leaves)?;
        groups.push(group.elapsed());
    }
    let took = begun.elapsed().as_nanos();
    if let Some(measured) = measured {
        let kept = groups.len() * leaves;
        measured
            .rates
            .push(kept as u128 * 1_000_000_000 / took.max(1));
        groups
            .into_iter()
            .for_each(|group| measured.groups.push(group));
    }
    Ok(())
}

fn report(leaves: usize, stores: &[Named], measured: &[Measured]) {
    let Some(limit) = measured.first() else {
        return;
    };
    for ((name, _), measured) in stores.iter().zip(measured) {
        let rounds = measured.rates.iter().zip(&limit.rates);
        // Of each round, in thousandths.
        let ratios = rounds.map(|(rate, limit)| rate * 1_000 / (*limit).max(1));
        let [p50, p99] = [50, 99].map(|percent| measured.groups.percentile(percent));
        println!(
            "| {name} | {leaves} | {} | {} | {} | {} | {} |",
            middle(measured.rates.clone()),
            micros(p50),
            micros(p99),
            ratio(middle(ratios.collect()), 1_000),
            ratio(p99, limit.groups.percentile(99)),
        );
    }
}

fn middle(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
