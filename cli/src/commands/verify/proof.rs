//! `actpass verify` of a report from `kubectl actpass prove`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::super::show::{self, escaped};
use super::known::keys_in;
use super::shown::ENDED;
use crate::exit::Exit;
use crate::proof::{REPORT_BYTES_MAX, REPORT_VERSION, Report, by_any};

/// What any document of ours says of itself.
#[derive(Deserialize)]
struct Version {
    v: String,
}

/// How an exported log begins.
const EXPORT: &[u8] = b"{\"export\":";

/// The report in a file, if it is one. An exported log is many documents, one per line.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Report>> {
    let failed = || format!("read `{}`", path.display());
    let mut file = File::open(path)
        .with_context(failed)?
        .take(REPORT_BYTES_MAX);
    let mut all = Vec::new();
    (&mut file)
        .take(EXPORT.len() as u64)
        .read_to_end(&mut all)
        .with_context(failed)?;
    // A log may be long, and is not to be read into memory.
    if all == EXPORT {
        return Ok(None);
    }
    file.read_to_end(&mut all).with_context(failed)?;
    match serde_json::from_slice(&all) {
        Ok(Version { v }) if v == REPORT_VERSION => {}
        _ => return Ok(None),
    }
    let report = serde_json::from_slice(&all);
    report
        .map(Some)
        .with_context(|| format!("`{}` is no whole report", path.display()))
}

/// Says whether the report is the one on the record, and what it holds.
pub(super) fn verify(
    report: &Report,
    path: &Path,
    key: Option<&Path>,
    json: bool,
) -> anyhow::Result<Exit> {
    let known = key.map(keys_in).transpose()?;
    let mut ended = false;
    let checked = match &known {
        None => report.check(None),
        Some(keys) => by_any(keys, |key| {
            let checked = report.check(Some(key))?;
            ended = key.has_ended();
            Ok(checked)
        }),
    };
    let [held, open, unknown] = report.counts();
    let (word, why, exit) = match &checked {
        Err(error) => ("INVALID", escaped(&format!("{error:#}")), Exit::Invalid),
        Ok(checked) => match &checked.signed {
            None => (
                "UNSIGNED",
                "not all of it is on a record".to_owned(),
                Exit::Incomplete,
            ),
            Some((log, id)) => {
                let time = checked
                    .recorded
                    .map(|time| time.to_string())
                    .unwrap_or_default();
                let whose = match known.is_some() {
                    true => "the key that you gave",
                    false => {
                        "the key that the report itself names: give the one you noted with --key"
                    }
                };
                let why = format!(
                    "on the record of log {} at {time}, under key {id}, {whose}",
                    escaped(log)
                );
                match ended {
                    true => ("INCOMPLETE", format!("{why}{ENDED}"), Exit::Incomplete),
                    false => ("VALID", why, Exit::Ok),
                }
            }
        },
    };
    if json {
        show::json(
            &json!({"class": word.to_ascii_lowercase(), "why": why, "held": held, "open": open, "unknown": unknown,
            "namespace": report.around.namespace, "pods": report.pods.len()}),
        )?;
    } else {
        show::line(&format!("{word}  {}: {why}", path.display()))?;
        let namespace = escaped(&report.around.namespace);
        show::line(&format!(
            "namespace {namespace}: {held} attempts were held, {open} were not, of {unknown} it is not known, in {} pods and from outside",
            report.pods.len()
        ))?;
        show::line(
            "That shows what was reported then. It does not show that the program in the pods was ours: see docs/verify.md.",
        )?;
    }
    Ok(match (exit, report.is_held()) {
        (Exit::Ok, false) => Exit::Incomplete,
        (exit, _) => exit,
    })
}
