//! `actpass-verify`: tries the ways out of the pod as an agent would, before the agent starts and while it runs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use actpass_core::canonical;
use actpass_core::hash::sha256;
use actpass_core::pod::contract::{VERIFY_DIR, VERIFY_PASSED_SECONDS};
use actpass_sidecar::pod::passed;
use actpass_sidecar::pod::prove::{self, PROOF_VERSION, Place, Proof, Verdict};
use actpass_sidecar::pod::ways::{Pass, RESULT_FILE, nameserver, pass, shut, started};
use actpass_transport::program;
use clap::Parser;
use jiff::Timestamp;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// First and longest wait before what is not as it must be is tried again: until the first whole pass the agents wait for it.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// After a find while the agents run: the sidecar looks once a second and has to see each.
const FOUND_REST: Duration = Duration::from_secs(3);

/// After a pass that found nothing.
const EVERY: Duration = Duration::from_secs(60);

/// Wait for the sidecar of this pod and try the ways out of it; agents start after the first pass without a find.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Say by exit code whether the last pass found nothing, and end: the startup probe. It waits a while for one that does
    #[arg(long)]
    passed: bool,
    /// Make one pass, print what it found as JSON, and end
    #[arg(long, conflicts_with = "passed")]
    once: bool,
    /// Try what can be tried in any cluster, print what was found as JSON, put its digest on the record with this one, and end
    #[arg(long, conflicts_with_all = ["passed", "once"], value_name = "DIGEST")]
    prove: Option<String>,
    /// Where the result is kept
    #[arg(long, value_name = "DIR", default_value = VERIFY_DIR)]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let args = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let Args {
        passed,
        once,
        prove,
        dir,
    } = args;
    if let Some(with) = prove {
        return match proved(with) {
            Ok(code) => code,
            Err(error) => failed(&error),
        };
    }
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

/// Passes one after the other, until a signal ends them; the first once the sidecar has started.
fn watch(result: &Path) -> std::io::Result<()> {
    passed::forget(result)?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (ended, end) = channel();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Nobody listens any more where the process is ending anyway.
            ended.send(()).ok();
        }
    });
    if !awaited(&end, result)? {
        return Ok(());
    }
    let mut said = None;
    let (mut again, mut passed_once) = (AGAIN.0, false);
    loop {
        let pass = tried().map_err(std::io::Error::other)?;
        passed::write(result, &pass)?;
        if said.as_ref() != Some(&pass.wrong) {
            say(&pass);
            said = Some(pass.wrong.clone());
        }
        let rest = if pass.wrong.is_empty() {
            passed_once = true;
            EVERY
        } else if passed_once {
            FOUND_REST
        } else {
            longer(&mut again)
        };
        if over(&end, rest) {
            return Ok(());
        }
    }
}

/// Waits until the sidecar has started. Whether it has; else a signal came first. Without a fence it may never be heard: what
/// is open without a sidecar is found meanwhile.
fn awaited(end: &Receiver<()>, result: &Path) -> std::io::Result<bool> {
    let server = server().map_err(std::io::Error::other)?;
    let mut said = None;
    let mut again = AGAIN.0;
    while let Err(why) = started(server) {
        let pass = shut(server, Timestamp::now().as_second());
        let open = !pass.wrong.is_empty();
        if open {
            passed::write(result, &pass)?;
        }
        // At first it is only slower than we are.
        if (open || again > AGAIN.0) && said.as_ref() != Some(&(why.clone(), open)) {
            if open {
                say(&pass);
            }
            eprintln!("actpass-verify: the sidecar has not started: {why}");
            said = Some((why, open));
        }
        if over(end, longer(&mut again)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The wait that it is the turn of; the next one is twice as long.
fn longer(again: &mut Duration) -> Duration {
    let wait = *again;
    *again = (wait * 2).min(AGAIN.1);
    wait
}

/// Whether a signal came before that time was over.
fn over(end: &Receiver<()>, rest: Duration) -> bool {
    end.recv_timeout(rest) != Err(RecvTimeoutError::Timeout)
}

fn tried() -> Result<Pass, String> {
    Ok(pass(server()?, Timestamp::now().as_second()))
}

/// The pod's name server.
fn server() -> Result<IpAddr, String> {
    let resolv = std::fs::read_to_string("/etc/resolv.conf")
        .map_err(|error| format!("read `/etc/resolv.conf`: {error}"))?;
    let server = nameserver(&resolv).ok_or("`/etc/resolv.conf` names no nameserver")?;
    Ok(server)
}

/// Tries what can be tried anywhere, and puts it on the record.
fn proved(with: String) -> Result<ExitCode, String> {
    let nameserver = server()?;
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let addresses = |name: &str| -> Vec<String> {
        let listed = variable(name);
        let listed = listed.split(',').filter(|it| !it.is_empty());
        listed.map(str::to_owned).collect()
    };
    let node = addresses("HOST_IPS");
    let node = node.iter().filter_map(|it| it.parse().ok()).collect();
    let attempts = prove::attempts(&Place { nameserver, node });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let proof = Proof {
        v: PROOF_VERSION.to_owned(),
        with,
        time: Timestamp::now().as_second(),
        pod: variable("POD_NAME"),
        node: variable("NODE_NAME"),
        kernel: kernel.unwrap_or_default().trim().to_owned(),
        addresses: addresses("POD_IPS"),
        attempts,
    };
    let text = canonical::to_string(&proof).map_err(|error| error.to_string())?;
    prove::put_on_record(nameserver, &sha256(&[text.as_bytes()]))?;
    println!("{text}");
    let open = proof.attempts.iter().any(|it| it.verdict == Verdict::Open);
    Ok(match open {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
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

fn last(result: &Path) -> ExitCode {
    let patience = Duration::from_secs(VERIFY_PASSED_SECONDS.into());
    match passed::wait(result, patience, std::thread::sleep) {
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
