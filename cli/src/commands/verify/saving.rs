//! The file of `--save-anchor`. What it holds is what somebody relied on, so the log is held against it like against an anchor, and
//! the newest head takes its place only where nothing goes with it that no later head says.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::Checkpoint;
use actpass_core::evidence::leaf::LostHead;
use actpass_core::verify::Class;
use actpass_ledger::heads::{named, notes};
use actpass_ledger::offline::{Known, Verified, VerifiedLog};
use anyhow::{Context, bail};

use crate::state::write_private;

/// Most bytes of such a file. A head has some 300; what is larger by a thousand times was not written by us.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Where an anchor is to be saved, and the signed heads that are there.
pub(crate) struct Saving {
    path: PathBuf,
    held: Vec<String>,
}

impl Saving {
    /// Reads what would be replaced.
    ///
    /// # Errors
    /// Where something is there that is no file of signed heads: it may be a damaged one.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let unclear = || {
            format!(
                "what is in `{0}` would be replaced by --save-anchor; name another file, or take this one away",
                path.display()
            )
        };
        let held = match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(unclear),
            Ok(about) if !about.is_file() => bail!("it is no file: {}", unclear()),
            Ok(about) if about.len() > FILE_BYTES_MAX => {
                bail!(
                    "it is no anchor, of more than {FILE_BYTES_MAX} bytes: {}",
                    unclear()
                )
            }
            Ok(_) => {
                let held = notes(&std::fs::read_to_string(path).with_context(unclear)?);
                if held.is_empty() || !held.iter().all(|note| size(note).is_some()) {
                    bail!(
                        "it does not hold signed checkpoints alone, so it may be a damaged anchor: {}",
                        unclear()
                    );
                }
                held
            }
        };
        let path = path.to_owned();
        Ok(Self { path, held })
    }

    /// Verifies against what is known, and against what the file holds of the log. A log that only the file names is not missed.
    pub(super) fn beside<E>(
        &self,
        known: &Known<'_>,
        verify: impl FnOnce(&Known<'_>) -> Result<Verified, E>,
    ) -> Result<Verified, E> {
        let mut anchors = known.anchors.to_vec();
        let new = self
            .held
            .iter()
            .filter(|note| !known.anchors.contains(note));
        anchors.extend(new.cloned());
        let mut verified = verify(&Known {
            anchors: &anchors,
            ..*known
        })?;
        let is_asked_for = |log: &String| {
            known.anchors.iter().any(|note| named(note) == log)
                || known.heads.iter().any(|(name, _)| name == log)
                || known.keys.iter().any(|key| key.log() == Some(log))
        };
        verified.missing.retain(is_asked_for);
        Ok(verified)
    }

    /// Saves the newest checkpoint: written whole or not at all.
    pub(super) fn save(&self, verified: &Verified) -> anyhow::Result<()> {
        let path = self.path.display();
        if verified.class() == Class::Invalid {
            eprintln!("actpass: no anchor saved, as the log is invalid");
            return Ok(());
        }
        let [log] = verified.logs.as_slice() else {
            bail!(
                "no anchor saved: the directory holds {} logs, and an anchor is of one",
                verified.logs.len()
            );
        };
        let Some(checkpoint) = &log.checkpoint else {
            bail!("no anchor saved: the log has no signed checkpoint yet");
        };
        if let Some(other) = self.held.iter().find(|note| named(note) != log.origin) {
            bail!(
                "no anchor saved: `{path}` holds a head of log `{}`, and this is log `{}`; name a file of its own for it",
                named(other).escape_debug(),
                log.origin
            );
        }
        let (lost, of_log): (Vec<&String>, Vec<&String>) =
            self.held.iter().partition(|note| is_lost(note, log));
        let now = size(checkpoint).unwrap_or_default();
        if let Some(more) = of_log.into_iter().filter_map(|note| size(note)).max()
            && more > now
        {
            bail!(
                "no anchor saved: `{path}` holds a head over {more} leaves, and the newest here is over {now}; keep that one, and ask for the rest of the log"
            );
        }
        // A verification takes long, and another one may have saved a later head.
        if Self::open(&self.path)?.held != self.held {
            bail!(
                "no anchor saved: `{path}` was changed meanwhile, and what it holds now was not verified; give the command again"
            );
        }
        let lost: String = lost.into_iter().map(String::as_str).collect();
        write_private(&self.path, &format!("{checkpoint}{lost}"))?;
        if !lost.is_empty() {
            eprintln!(
                "actpass: what the file held of the part that is lost stays in it, behind the newest head"
            );
        }
        eprintln!(
            "actpass: anchor saved to `{path}`; keep it where whoever holds the log cannot change it"
        );
        Ok(())
    }
}

/// Whether the log says that this is of what it lost: no later log has that, so a new head is none in its place.
fn is_lost(note: &str, log: &VerifiedLog) -> bool {
    let is_of = |head: &LostHead| {
        let checkpoint = Checkpoint {
            origin: log.origin.clone(),
            size: head.size,
            root: head.root,
        };
        note.starts_with(&checkpoint.text())
    };
    log.report
        .lost
        .iter()
        .flat_map(|part| &part.heads)
        .any(is_of)
}

/// The leaves that a signed checkpoint is over; none where it is no such text.
fn size(note: &str) -> Option<u64> {
    let (text, signatures) = note.split_once("\n\n")?;
    let signed = signatures.starts_with("\u{2014} ") && note.ends_with('\n');
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [_, size, _, ..] if signed => size.parse().ok(),
        _ => None,
    }
}
