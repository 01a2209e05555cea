//! Resident memory of `actpass run` around a command that does nothing: all its processes, without the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::permit::HOST;
use crate::policy;

#[derive(clap::Args)]
pub(crate) struct MemoryArgs {
    /// The program: `cargo build --release -p actpass-cli`
    #[arg(long)]
    actpass: PathBuf,
}

/// How long a start is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn memory(args: &MemoryArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let manifests = dir.path().join("policy.yaml");
    fs::write(&manifests, policy::manifests(HOST, 443, "", 100))?;
    let mut child = Command::new(&args.actpass)
        .args(["run", "-f"])
        .arg(&manifests)
        .args(["--", "sleep", "60"])
        .env("ACTPASS_STATE_DIR", dir.path().join("state"))
        .env("ACTPASS_LOG", "error")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start `{}`", args.actpass.display()))?;
    let measured = idle(&mut child);
    // `actpass run` passes it on to the command and ends with it.
    let pid = child.id().to_string();
    ensure!(
        Command::new("kill").arg(&pid).status()?.success(),
        "kill {pid}"
    );
    child.wait()?;
    let (processes, kib) = measured?;
    println!("| `actpass run`, idle, 100 rules | processes | resident, MiB |");
    println!("|---|---|---|");
    println!(
        "| all but the command | {processes} | {}.{} |",
        kib / 1024,
        kib % 1024 * 10 / 1024
    );
    println!("\nbudget: 40 MiB");
    Ok(())
}

/// The number of processes and their resident KiB, once the command runs and a moment after.
fn idle(child: &mut Child) -> anyhow::Result<(usize, u64)> {
    let step = Duration::from_millis(100);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        std::thread::sleep(step);
        if let Some(status) = child.try_wait()? {
            bail!("`actpass run` ended early: {status}");
        }
        let (command, ours): (Vec<_>, Vec<_>) = tree(child.id())?
            .into_iter()
            .partition(|(name, _)| name == "sleep");
        if !command.is_empty() {
            std::thread::sleep(step * 10);
            return Ok((ours.len(), ours.iter().map(|(_, kib)| kib).sum()));
        }
    }
    bail!("the command did not start")
}

/// Name and resident KiB of a process and all below it.
fn tree(pid: u32) -> anyhow::Result<Vec<(String, u64)>> {
    let proc = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(proc.join("status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .unwrap_or("0")
    };
    let mut found = vec![(field("Name:").to_owned(), field("VmRSS:").parse()?)];
    for task in fs::read_dir(proc.join("task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            found.extend(tree(child.parse()?)?);
        }
    }
    Ok(found)
}
