//! The fence of a pod: how long it takes to load, how long the verifier's pass takes behind a sidecar that runs, and what is left
//! of the network's speed.
//!
//! As root, in networks of its own: a pod's with `eth0`, and a world at the other end of that link.

mod network;
mod pod;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, ensure};
use nix::unistd::Uid;

use crate::sample::{Sample, micros};
use traffic::{KINDS, Rates};

/// The sidecar's user.
const SIDECAR: u32 = 41_337;

/// The verifier's user.
const VERIFIER: &str = "65534";

/// What lets vsock through is the runtime's seccomp profile, which is not here.
const NOT_THE_FENCES: &str = "vsock";

#[derive(clap::Args)]
pub(crate) struct FenceArgs {
    /// Loads of the rules
    #[arg(long, default_value_t = 50)]
    loads: usize,
    /// Passes of the verifier
    #[arg(long, default_value_t = 20)]
    passes: usize,
    /// Rounds of traffic, each with and without the rules
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Where `actpass-init` and `actpass-verify` are, else beside this program: `cargo build --release -p actpass-sidecar`
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

pub(crate) fn fence(args: &FenceArgs) -> anyhow::Result<()> {
    if !Uid::effective().is_root() {
        println!("the fence is not measured: it takes root, for networks and users of its own");
        return Ok(());
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a program is in a directory")?;
    let programs = args.programs.as_deref().unwrap_or(beside);
    let world = network::made()?;
    println!("| what | p50, ms | worst, ms | budget, ms |\n|---|---|---|---|");
    let loads = timed(args.loads, || loaded(programs))?;
    row("`actpass-init`, from start to end", &loads, 50);
    let pod = pod::started(world.ledger)?;
    let passes = timed(args.passes, || passed(programs))?;
    row("`actpass-verify`, one whole pass", &passes, 1_000);
    drop(pod);

    println!(
        "\n| TCP of the sidecar's user | without rules | with rules | ratio | of the rounds |"
    );
    println!("|---|---|---|---|---|");
    for kind in KINDS {
        let rates = Rates::measured(kind, world.peer, args.rounds, |fenced| match fenced {
            true => loaded(programs),
            false => run(Command::new("nft").args(["flush", "ruleset"])).map(drop),
        })?;
        println!("{rates}");
    }
    println!("\nbudget: a ratio of 0.98");
    Ok(())
}

fn timed(rounds: usize, mut what: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Sample> {
    let mut sample = Sample::default();
    for _ in 0..rounds {
        let begun = Instant::now();
        what()?;
        sample.push(begun.elapsed());
    }
    Ok(sample)
}

fn row(what: &str, sample: &Sample, budget: u128) {
    let millis = |percent| micros(sample.percentile(percent) / 1_000);
    println!("| {what} | {} | {} | {budget} |", millis(50), millis(100));
}

/// The rules, as a pod's first container loads them.
fn loaded(programs: &Path) -> anyhow::Result<()> {
    let uid = SIDECAR.to_string();
    let init = programs.join("actpass-init");
    run(Command::new(init)
        .args(["--sidecar-uid", &uid, "--inbound", "8080"])
        .args([
            "--packet-mark",
            "0x5a17c3e1",
            "--connection-mark",
            "0x00000a97",
        ]))?;
    Ok(())
}

/// A pass of the verifier, as a pod has it but for its seccomp profile, that found nothing.
fn passed(programs: &Path) -> anyhow::Result<()> {
    let output = Command::new("setpriv")
        .args(["--reuid", VERIFIER, "--regid", VERIFIER, "--clear-groups"])
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .arg("--")
        .arg(programs.join("actpass-verify"))
        .arg("--once")
        .output()
        .context("start `setpriv` of util-linux")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let pass: serde_json::Value = serde_json::from_str(&said)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let wrong = pass.get("wrong").and_then(|it| it.as_array());
    let mut wrong = wrong.context("no pass")?.iter();
    let ours = wrong.find(|it| it.get("way").is_none_or(|way| way != NOT_THE_FENCES));
    ensure!(ours.is_none(), "the pass found a way out: {pass}");
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(output)
}
