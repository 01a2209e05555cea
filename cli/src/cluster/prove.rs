//! Whether what ActPass says of its fence holds in this very cluster: tried by pods made for it, and from outside of them.
//!
//! *Flow.* What people could ask of the API server is tried in dry runs. Then a pod is made like any agent's, which tries the ways
//! out that need nobody outside, and puts the digest of what it found on the record, by a name that is refused. The log of the
//! namespace is read, and the report gets the leaf with what leads from it to a signed checkpoint. The pods are deleted.

mod doors;
mod pods;

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::{Checkpoint, NoteVerifier};
use actpass_core::evidence::leaf::Leaf;
use actpass_core::evidence::merkle::{Tree, leaf_hash};
use actpass_core::hash::hex;
use actpass_ledger::export::{First, Last};
use actpass_sidecar::pod::prove::{Proof, Tried, Verdict, record_name};
use anyhow::{Context, bail};
use jiff::Timestamp;

use super::args::ProveArgs;
use super::export::kept;
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use super::objects::{List, Passport, condition, holds};
use crate::commands::show::{self, Paint, Tone, escaped};
use crate::exit::Exit;
use crate::proof::{Around, Evidence, REPORT_VERSION, Report, Witnessed, digest, names};
use crate::state::write_private;

/// How often the log is read before a leaf is missing: sidecars ship within seconds.
const READS: u32 = 10;

/// Between two of them.
const READ_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) async fn prove(kubectl: &Kubectl, args: ProveArgs, json: bool) -> anyhow::Result<Exit> {
    let ProveArgs {
        reach,
        account,
        every_node,
        to,
        force,
        unsigned,
    } = args;
    let namespace = kubectl.namespace()?;
    let kubectl = kubectl.of(&namespace);
    let to = to.unwrap_or_else(|| PathBuf::from(format!("{namespace}.proof.json")));
    if to.exists() && !force {
        bail!(
            "`{}` is there already; name another file, or add --force",
            to.display()
        );
    }
    // Before anything is made: without it there is no signed report.
    let ledger = match unsigned {
        true => None,
        false => Some(Ledger::reach(&kubectl, &reach, &namespace).await?),
    };
    let account = account.map_or_else(|| subject(&kubectl), Ok)?;
    let agent = pods::Agent::of(&kubectl, account)?;
    say("trying what the API server lets in");
    let around = Around {
        attempts: doors::attempts(&kubectl, &agent)?,
        namespace,
        time: Timestamp::now().as_second(),
    };
    let with = hex(&digest(&around)?);
    let mut proofs = Vec::new();
    for node in pods::nodes(&kubectl, every_node)? {
        say(&format!(
            "trying the ways out of a pod{}",
            on(node.as_deref())
        ));
        proofs.push(agent.prove(&kubectl, &with, node.as_deref())?);
    }
    let pods = witnessed(ledger.as_ref(), proofs).await?;
    let report = Report {
        v: REPORT_VERSION.to_owned(),
        around,
        pods,
    };
    write_private(&to, &serde_json::to_string_pretty(&report)?)?;
    if json {
        show::json(&report)?;
    } else {
        show::line(&text(&report, &to, Paint::of_stdout()))?;
    }
    Ok(match (report.check(None), report.is_held()) {
        (Err(_), _) => Exit::Invalid,
        (Ok(_), false) => Exit::Incomplete,
        (Ok(_), true) => Exit::Ok,
    })
}

fn on(node: Option<&str>) -> String {
    node.map_or_else(String::new, |node| format!(" on node {node}"))
}

fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what} …");
    }
}

/// The ServiceAccount of a Passport in force: only such a pod has evidence.
fn subject(kubectl: &Kubectl) -> anyhow::Result<String> {
    let passports: List<Passport> = kubectl.get(&["passports.actpass.org"])?;
    let ready = |it: &&Passport| holds(condition(&it.status.conditions, "Ready"));
    let subject = passports.items.iter().filter(ready);
    let mut subject = subject.filter_map(|it| it.spec.subject.as_ref());
    let subject = subject.next().context(
        "no Passport in force has a subject here, so no pod would have evidence: name another namespace, or make one",
    )?;
    Ok(subject.service_account_name.clone())
}

/// The proofs, with their places in the log.
async fn witnessed(ledger: Option<&Ledger>, proofs: Vec<Proof>) -> anyhow::Result<Vec<Witnessed>> {
    let without = |proof| Witnessed {
        proof,
        evidence: None,
    };
    let Some(ledger) = ledger else {
        return Ok(proofs.into_iter().map(without).collect());
    };
    say("reading the log");
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("log.jsonl");
    let mut all: Vec<Witnessed> = proofs.into_iter().map(without).collect();
    for read in 1..=READS {
        kept(ledger, &file, None).await?;
        for witnessed in &mut all {
            if witnessed.evidence.is_none() {
                witnessed.evidence = evidence(&file, &witnessed.proof)?;
            }
        }
        if all.iter().all(|it| it.evidence.is_some()) {
            return Ok(all);
        }
        if read < READS {
            tokio::time::sleep(READ_EVERY).await;
        }
    }
    bail!(
        "the log of the namespace does not name what a pod found, {} s after it: does its sidecar reach the ledger? With \
         --unsigned there is a report without it",
        u64::from(READS) * READ_EVERY.as_secs()
    )
}

/// Where a proof stands in an exported log, if it does.
fn evidence(file: &Path, proof: &Proof) -> anyhow::Result<Option<Evidence>> {
    let name = record_name(&digest(proof)?);
    let read = BufReader::new(std::fs::File::open(file)?);
    let (mut tree, mut found, mut first, mut last) = (Tree::new(), None, None, None);
    for line in read.split(b'\n') {
        let line = line?;
        if first.is_none() {
            first = Some(serde_json::from_slice::<First>(&line)?);
        } else if line.starts_with(b"{\"checkpoint\"") {
            last = Some(serde_json::from_slice::<Last>(&line)?);
        } else if !line.starts_with(b"{\"blob\"") {
            // Only what may be it is read as a leaf.
            let is_it = memchr::memmem::find(&line, name.as_bytes()).is_some()
                && Leaf::parse(&line).is_ok_and(|leaf| {
                    (leaf.record()).is_some_and(|(record, _)| names(&record.body, &name))
                });
            if is_it {
                found = Some((tree.size(), String::from_utf8(line.clone())?));
            }
            tree.push(leaf_hash(&line));
        }
    }
    let (Some(First { key, .. }), Some(Last { checkpoint, .. })) = (first, last) else {
        bail!("the ledger's answer is not understood");
    };
    let Some((index, leaf)) = found else {
        return Ok(None);
    };
    let head = Checkpoint::verify(&checkpoint, &NoteVerifier::from_vkey(&key)?)?;
    let path = tree.inclusion(index, head.size);
    let path = path.context("the checkpoint is of a smaller log than the leaf")?;
    Ok(Some(Evidence {
        leaf,
        index,
        path: path.iter().map(|hash| hex(hash)).collect(),
        checkpoint,
        key,
    }))
}

fn text(report: &Report, to: &Path, paint: Paint) -> String {
    let mut lines = Vec::new();
    let said = |proof: Option<&Proof>, tried: &Tried| {
        let pod = proof.map_or_else(String::new, |proof| format!("  ({})", escaped(&proof.node)));
        let Tried {
            row, attempt, said, ..
        } = tried;
        format!("row {row}: {}: {}{pod}", escaped(attempt), escaped(said))
    };
    for (verdict, tone, word) in [
        (Verdict::Open, Tone::Bad, "OPEN   "),
        (Verdict::Unknown, Tone::Doubtful, "unknown"),
    ] {
        let those = report.attempts().filter(|(_, it)| it.verdict == verdict);
        let those =
            those.map(|(proof, it)| format!("{} {}", paint.paint(tone, word), said(proof, it)));
        lines.extend(those);
    }
    let [held, open, unknown] = report.counts();
    let count = report.pods.len();
    lines.push(format!(
        "{held} attempts were held, {open} were not, of {unknown} it is not known: from outside, and in {count} pod{}",
        if count == 1 { "" } else { "s" }
    ));
    let file = to.display();
    lines.push(match report.check(None) {
        Ok(checked) => match checked.signed {
            Some((log, key)) => format!(
                "On the record of log {}, signed by key {key}. Report: {file}\nCheck it anywhere: actpass verify {file} --key KEY, with the log's key from where you noted it",
                escaped(&log)
            ),
            None => format!("Not signed. Report: {file}"),
        },
        Err(error) => format!("The report `{file}` does not fit the record: {error:#}"),
    });
    lines.join("\n")
}
