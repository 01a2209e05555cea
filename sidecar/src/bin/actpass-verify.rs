//! `actpass-verify`: tries the ways out of the pod as an agent would, before the agent starts and while it runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use actpass_core::pod::contract::VERIFY_DIR;
use actpass_sidecar::pod::ways::{Pass, RESULT_FILE, nameserver, pass};
use actpass_transport::program;
use clap::Parser;
use jiff::Timestamp;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Until the first whole pass the agents wait for it.
const UNTIL_PASSED: Duration = Duration::from_secs(1);

/// Afterwards.
const EVERY: Duration = Duration::from_secs(60);

/// Try the ways out of this pod; agents start after the first pass without a find.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Say by exit code whether the last pass found nothing, and end: the startup probe
    #[arg(long)]
    passed: bool,
    /// Make one pass, print what it found as JSON, and end
    #[arg(long, conflicts_with = "passed")]
    once: bool,
    /// Where the result is kept
    #[arg(long, value_name = "DIR", default_value = VERIFY_DIR)]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let Args { passed, once, dir } = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let result = dir.join(RESULT_FILE);
    match (passed, once) {
        (true, _) => last(&result),
        (_, true) => match tried() {
            Ok(pass) => {
                println!("{}", serde_json::to_string(&pass).unwrap_or_default());
                code(&pass)
            }
            Err(error) => failed(&error),
        },
        _ => match watch(&result) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error.to_string()),
        },
    }
}

/// Passes one after the other, until a signal ends them.
fn watch(result: &Path) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Nobody listens any more where the process is ending anyway.
            ended.send(()).ok();
        }
    });
    let mut said = None;
    loop {
        let pass = tried().map_err(std::io::Error::other)?;
        write(result, &pass)?;
        if said.as_ref() != Some(&pass.wrong) {
            say(&pass);
            said = Some(pass.wrong.clone());
        }
        let rest = if pass.wrong.is_empty() {
            EVERY
        } else {
            UNTIL_PASSED
        };
        match end.recv_timeout(rest) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            _ => return Ok(()),
        }
    }
}

fn tried() -> Result<Pass, String> {
    let resolv = std::fs::read_to_string("/etc/resolv.conf")
        .map_err(|error| format!("read `/etc/resolv.conf`: {error}"))?;
    let server = nameserver(&resolv).ok_or("`/etc/resolv.conf` names no nameserver")?;
    Ok(pass(server, Timestamp::now().as_second()))
}

fn say(pass: &Pass) {
    match pass.wrong.as_slice() {
        [] => eprintln!("actpass-verify: no way out but through the sidecar"),
        wrong => {
            for found in wrong {
                eprintln!("actpass-verify: {}: {}", found.way, found.said);
            }
        }
    }
}

fn write(result: &Path, pass: &Pass) -> std::io::Result<()> {
    let new = result.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(pass)?)?;
    std::fs::rename(&new, result)
}

fn last(result: &Path) -> ExitCode {
    let read = std::fs::read(result).map_err(|error| error.to_string());
    let pass = read.and_then(|bytes| {
        serde_json::from_slice::<Pass>(&bytes).map_err(|error| error.to_string())
    });
    match pass {
        Ok(pass) => {
            say(&pass);
            code(&pass)
        }
        Err(error) => failed(&format!("no pass has ended yet: {error}")),
    }
}

fn code(pass: &Pass) -> ExitCode {
    match pass.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("actpass-verify: {error}");
    ExitCode::FAILURE
}
