//! `actpass verify` of the proof of one event, as `actpass proof` keeps it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use actpass_core::evidence::proof::{TLOG_PROOF_BYTES_MAX, TLOG_PROOF_VERSION, TlogProof};
use actpass_core::hash::hex;
use actpass_ledger::heads::named;
use actpass_ledger::offline::LogKey;
use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::known::{Elsewhere, Source};
use super::shown::ENDED;
use crate::commands::events::{Filter, Layout, Printer};
use crate::commands::show::{self, escaped};
use crate::exit::Exit;
use crate::proof::{by_any, key_of};
use crate::single::checked;
use crate::state::StateDir;

/// The text of a proof in a file, if it begins as one.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let failed = || format!("read `{}`", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut all = Vec::new();
    // One byte more than it may have shows that it has more.
    file.take(TLOG_PROOF_BYTES_MAX as u64 + 1)
        .read_to_end(&mut all)
        .with_context(failed)?;
    let is_one = all.starts_with(format!("{TLOG_PROOF_VERSION}\n").as_bytes());
    // A byte that is no text is found by the proof not holding.
    Ok(is_one.then(|| String::from_utf8_lossy(&all).into_owned()))
}

/// Says whether the leaf in a proof is in the log whose key is known, and what the leaf says.
pub(super) fn verify(
    text: &str,
    path: &Path,
    key: Option<&Path>,
    state: Option<&StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let proof = text.parse::<TlogProof>();
    let log = proof.as_ref().map_or("", |proof| named(&proof.checkpoint));
    let mut elsewhere = match key {
        Some(_) => Elsewhere::default(),
        None => Elsewhere::of_log(|| Some(log.to_owned()), state)?,
    };
    elsewhere.add(&[], key)?;
    let Some(source) = &elsewhere.source else {
        bail!(
            "a proof shows nothing without the log's key, which is not in it: give the one you noted with --key"
        );
    };
    match proof
        .map_err(anyhow::Error::from)
        .and_then(|proof| by_any(&elsewhere.keys, |key| holds(&proof, key)))
    {
        Err(error) => {
            let why = escaped(&format!("{error:#}"));
            match json {
                true => show::json(&json!({"class": "invalid", "why": why}))?,
                false => show::line(&format!("INVALID  {}: {why}", path.display()))?,
            }
            Ok(Exit::Invalid)
        }
        Ok(found) => {
            match json {
                true => show::json(&found.json(source))?,
                false => show::line(&found.text(path, source)?)?,
            }
            Ok(match found.ended {
                true => Exit::Incomplete,
                false => Exit::Ok,
            })
        }
    }
}

/// What a proof that holds shows.
struct Shown {
    bytes: Vec<u8>,
    log: String,
    index: u64,
    size: u64,
    root: String,
    time: String,
    key: String,
    /// Whether that key counts no more.
    ended: bool,
}

fn holds(proof: &TlogProof, key: &LogKey) -> anyhow::Result<Shown> {
    let verifier = key_of(key, named(&proof.checkpoint))?;
    let (head, leaf) = checked(proof, &verifier)?;
    Ok(Shown {
        bytes: proof.extra.clone().unwrap_or_default(),
        log: head.origin,
        index: proof.index,
        size: head.size,
        root: hex(head.root.as_bytes()),
        time: leaf.h.time.to_string(),
        key: verifier.id(),
        ended: key.has_ended(),
    })
}

impl Shown {
    fn json(&self, source: &Source) -> Value {
        let leaf: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        let class = self.class();
        json!({"class": class, "log": self.log, "index": self.index, "leaves": self.size, "root": self.root,
            "time": self.time, "key": self.key, "key_from": source.word(), "key_ended": self.ended, "leaf": leaf})
    }

    fn class(&self) -> &'static str {
        match self.ended {
            true => "incomplete",
            false => "valid",
        }
    }

    fn text(&self, path: &Path, source: &Source) -> anyhow::Result<String> {
        let row = Printer::new(Filter::default(), Layout::Local).line(&self.bytes)?;
        let ended = match self.ended {
            true => ENDED,
            false => "",
        };
        Ok(format!(
            "{}  {}: leaf {} of log {}, recorded at {}, in its tree of {} leaves, under key {}, {source}{ended}\n{}\n\
             That shows this leaf and its place. It does not show what other leaves say: see docs/verify.md.",
            self.class().to_ascii_uppercase(),
            path.display(),
            self.index,
            escaped(&self.log),
            self.time,
            self.size,
            self.key,
            row.unwrap_or_default(),
        ))
    }
}
