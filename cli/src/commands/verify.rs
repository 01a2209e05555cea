//! `actpass verify`: offline, with nothing but the log directory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use actpass_core::evidence::commitment::Openings;
use actpass_core::hash::BundleDigest;
use actpass_core::verify::{Against, Anchor, Class, Inputs, Level, Report, verify as verify_log};
use actpass_ledger::engine::checkpoint_name;
use actpass_ledger::storage::Entry;
use actpass_ledger::storage::reader::{Checked, SegmentReader, Tail};
use anyhow::{Context, bail};

use crate::args::VerifyArgs;
use crate::state::StateDir;

/// Checks the files, then each log in them, and says where the first mistake is.
pub(crate) fn verify(args: &VerifyArgs, state: &StateDir) -> anyhow::Result<u8> {
    let dir = args.log.clone().unwrap_or_else(|| state.log());
    let mut anchors = Vec::new();
    for path in &args.anchor {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        anchors.push(Anchor::Checkpoint(text));
    }
    let mut reader = SegmentReader::open_read_only(&dir)?;
    let mut worst = 0;
    match reader.check() {
        Err(error) => {
            println!("INVALID: {error}");
            return Ok(3);
        }
        Ok(Checked {
            tail: Tail::Torn { path, offset, what },
            ..
        }) => {
            let path = path.display();
            println!(
                "INCOMPLETE: `{path}` ends at byte {offset} in something that is no whole write: {what}"
            );
            println!(
                "  a crash leaves that, a running `actpass` too, and so may a change; compare with a kept checkpoint"
            );
            worst = 2;
        }
        Ok(_) => {}
    }
    let mut logs: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    reader.replay(&mut |entry| {
        if let Entry::Leaf { log, bytes, .. } = entry {
            logs.entry(log.to_owned()).or_default().push(bytes.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    if logs.is_empty() {
        bail!("`{}` holds no log yet", dir.display());
    }
    let inputs = Stored { reader };
    for (origin, leaves) in logs {
        let checkpoint = inputs.reader.blob(&checkpoint_name(&origin))?;
        let checkpoints: Vec<String> = checkpoint
            .map(|it| String::from_utf8_lossy(&it).into_owned())
            .into_iter()
            .collect();
        let against = Against {
            checkpoints: &checkpoints,
            anchors: &anchors,
            key: None,
        };
        let leaves = leaves.into_iter().map(Ok::<_, std::convert::Infallible>);
        let report = verify_log(leaves, &against, &inputs);
        print(&origin, &report);
        worst = worst.max(report.class().exit_code());
    }
    Ok(worst)
}

fn print(origin: &str, report: &Report) {
    let level = |level: Level| match level {
        Level::Holds => "holds".to_owned(),
        Level::Broken => "BROKEN".to_owned(),
        Level::CheckedTo(seq) => format!("checked up to leaf {seq} only"),
    };
    let verdict = match report.class() {
        Class::Valid => "VALID",
        Class::Incomplete => "INCOMPLETE",
        Class::Invalid => "INVALID",
    };
    println!(
        "{verdict}: {origin}, {} leaves, root {}",
        report.leaves, report.root
    );
    println!("  structure   {}", level(report.structure));
    println!("  state       {}", level(report.state));
    println!(
        "  re-decision {} of {} intents",
        report.redecided.same, report.redecided.intents
    );
    for finding in &report.findings {
        println!("  {finding}");
    }
    for gap in &report.gaps {
        println!("  not checked: {gap}");
    }
}

/// What lies beside the leaves. Openings are encrypted, so what they say is not decided again here.
struct Stored {
    reader: SegmentReader,
}

impl Inputs for Stored {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        self.reader.blob(digest.as_bytes()).ok().flatten()
    }

    fn openings(&self, _: u64) -> Option<Openings> {
        None
    }
}
