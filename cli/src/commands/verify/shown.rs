//! A verification as people read it, and as JSON.

use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::verify::{Class, Level, LostHistory, Report};
use actpass_ledger::offline::{Files, Opening, Verified, VerifiedLog};
use actpass_ledger::storage::StorageError;
use actpass_ledger::storage::reader::{Checked, Tail};
use serde_json::{Value, json};

use super::known::Elsewhere;
use crate::commands::show::escaped;

/// Some lines.
pub(super) fn text(verified: &Verified, elsewhere: &Elsewhere) -> String {
    let mut lines = Vec::new();
    match &verified.files {
        Files::Absent | Files::Whole(_) | Files::Export { .. } => {}
        Files::CutExport { path, offset } => {
            let path = path.display();
            lines.push(format!(
                "INCOMPLETE: `{path}` ends at byte {offset} without its last line: it was cut off; export it again"
            ));
        }
        Files::Damaged(error) => lines.push(format!("INVALID: {error}")),
        Files::Torn(checked) => {
            if let Some((path, offset, what)) = torn(checked) {
                lines.push(format!(
                    "INCOMPLETE: `{path}` ends at byte {offset} in something that is no whole write: {what}"
                ));
                lines.push(
                    "  a crash leaves that, a running `actpass` too, and so may a change; compare with a kept checkpoint"
                        .to_owned(),
                );
            }
        }
    }
    for origin in &verified.missing {
        lines.push(format!(
            "INVALID: log `{}` is not here, and a head or a key of it is known",
            escaped(origin)
        ));
    }
    if verified.logs.is_empty() && matches!(verified.files, Files::Whole(_) | Files::Torn(_)) {
        lines.push("INCOMPLETE: there is no leaf yet".to_owned());
    }
    for log in &verified.logs {
        lines.extend(of_log(log, elsewhere));
    }
    lines.join("\n")
}

fn of_log(log: &VerifiedLog, elsewhere: &Elsewhere) -> Vec<String> {
    let report = &log.report;
    let mut lines = vec![
        format!(
            "{}: {}, {} leaves, root {}",
            word(log.class()).to_ascii_uppercase(),
            escaped(&log.origin),
            report.leaves,
            report.root
        ),
        format!("  key         {}", escaped(&key(log, elsewhere))),
        format!("  anchors     {}", anchors(log)),
        format!("  structure   {}", level(report.structure)),
        format!("  texts       {}", escaped(&texts(log))),
        format!("  state       {}", level(report.state)),
        format!("  re-decision {}", redecided(report)),
    ];
    if let Some(leaves) = log.resumed {
        lines.push(format!(
            "  resumed     behind leaf {}: an earlier verification took in the {leaves} leaves before, and they are the same",
            leaves.saturating_sub(1)
        ));
    }
    let findings = report.findings.iter();
    lines.extend(findings.map(|finding| format!("  {}", escaped(&finding.to_string()))));
    let kept = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    if let Some(more) = report.found.checked_sub(kept).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    let gaps = report.gaps.iter();
    lines.extend(gaps.map(|gap| format!("  not checked: {gap}")));
    let lost = report.lost.iter();
    lines.extend(lost.map(|lost| format!("  lost: {}", escaped(&lost.to_string()))));
    lines
}

/// What is said behind a key that has ended, and where it is from.
pub(super) const ENDED: &str = ", where it has ENDED: whoever stole it could have made this; export or prove it anew, or give the keys as they were noted then";

/// Which key was believed, and why.
fn key(log: &VerifiedLog, elsewhere: &Elsewhere) -> String {
    let Some(key) = &log.report.key else {
        return "none: the log names none that can be used".to_owned();
    };
    let id = key.id();
    match (log.key_known, &elsewhere.source) {
        (true, Some(from)) if log.key_ended => {
            format!("{id}, {from}{ENDED}")
        }
        (true, Some(from)) if !elsewhere.is_newest(key) => {
            format!(
                "{id}, {from}; the log names no newer one of the keys there, as one from before the newest came into use"
            )
        }
        (true, Some(from)) => format!("{id}, {from}"),
        _ => format!(
            "{id}, believed because the log names it: whoever made the log anew could name another; --key holds it against one kept elsewhere"
        ),
    }
}

/// Whether a cut at the end would show.
fn anchors(log: &VerifiedLog) -> String {
    match log.anchors {
        0 => "none: that leaves were cut off at the end would not show".to_owned(),
        1 => "held against 1 head kept outside the log".to_owned(),
        more => format!("held against {more} heads kept outside the log"),
    }
}

/// Whether the texts beside the leaves are those the leaves commit to.
fn texts(log: &VerifiedLog) -> String {
    let texts = &log.report.texts;
    let mut text = match &log.texts {
        Opening::Done => format!(
            "{} of {} opened and as committed to",
            texts.opened, texts.committed
        ),
        Opening::NotAsked => format!(
            "{} encrypted, not looked into: the vault and the key of their state directory open them, here or by --state-dir",
            texts.sealed
        ),
        Opening::Failed(why) => format!("{} encrypted, NOT LOOKED INTO: {why}", texts.sealed),
    };
    if log.report.disclosed > 0 {
        let disclosed = log.report.disclosed;
        text.push_str(&format!(", {disclosed} disclosed and as committed to"));
    }
    if texts.erased > 0 {
        text.push_str(&format!(", {} erased", texts.erased));
    }
    if texts.missing > 0 {
        text.push_str(&format!(", {} not there", texts.missing));
    }
    if log.report.findings.iter().any(|it| it.what.is_beside()) {
        text.push_str(", some BROKEN");
    }
    text
}

fn redecided(report: &Report) -> String {
    let done = &report.redecided;
    let mut text = format!("{} of {} intents", done.same, done.intents);
    for (input, count) in &done.missing {
        text.push_str(&format!(", {count} without their {input}"));
    }
    if done.unenforced > 0 {
        text.push_str(&format!(
            "; {} of {} actions passed on under audit",
            done.unenforced_same, done.unenforced
        ));
    }
    text
}

/// `{"class","files","logs","missing"}`.
pub(super) fn json(verified: &Verified, elsewhere: &Elsewhere) -> Value {
    let files = match &verified.files {
        Files::Absent => json!({ "state": "absent" }),
        Files::Whole(checked) => {
            json!({ "state": "whole", "segments": checked.segments, "groups": checked.groups })
        }
        Files::Torn(checked) => {
            let (path, offset, what) = torn(checked).unwrap_or_default();
            json!({ "state": "torn", "path": path, "offset": offset, "what": what })
        }
        Files::Export { lines } => json!({ "state": "export", "lines": lines }),
        Files::CutExport { path, offset } => {
            json!({ "state": "cut", "path": path, "offset": offset })
        }
        Files::Damaged(error) => damaged(error),
    };
    let logs = verified.logs.iter().map(|log| log_json(log, elsewhere));
    let logs: Vec<Value> = logs.collect();
    json!({
        "class": word(verified.class()),
        "files": files,
        "logs": logs,
        "missing": verified.missing,
    })
}

fn damaged(error: &StorageError) -> Value {
    let text = error.to_string();
    match error {
        StorageError::Damaged {
            path,
            offset,
            log,
            seq,
            what,
        } => json!({
            "state": "damaged", "path": path, "offset": offset, "log": log, "leaf": seq, "what": what, "message": text,
        }),
        StorageError::Unexpected { path } => {
            json!({ "state": "damaged", "path": path, "message": text })
        }
        _ => json!({ "state": "damaged", "message": text }),
    }
}

fn log_json(log: &VerifiedLog, elsewhere: &Elsewhere) -> Value {
    let report = &log.report;
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| json!({ "leaf": finding.seq, "what": finding.to_string() }))
        .collect();
    let key_from = match (log.key_known, &elsewhere.source) {
        (true, Some(from)) => from.word(),
        _ => "log",
    };
    let gaps: Vec<String> = report.gaps.iter().map(ToString::to_string).collect();
    json!({
        "class": word(log.class()),
        "origin": log.origin,
        "key": report.key.as_ref().map(NoteVerifier::to_vkey),
        "key_from": key_from,
        "key_ended": log.key_ended,
        "anchors": log.anchors,
        "leaves": report.leaves,
        "root": report.root,
        "covered": report.covered,
        "structure": level(report.structure),
        "state": level(report.state),
        "texts": {
            "committed": report.texts.committed,
            "opened": report.texts.opened,
            "sealed": report.texts.sealed,
            "disclosed": report.disclosed,
            "missing": report.texts.missing,
            "erased": report.texts.erased,
            "not_opened": not_opened(&log.texts),
        },
        "intents": report.redecided.intents,
        "redecided": report.redecided.same,
        "not_redecided": report.redecided.missing,
        "not_enforced": report.redecided.unenforced,
        "not_enforced_redecided": report.redecided.unenforced_same,
        "resumed_from": log.resumed,
        "findings": findings,
        "found": report.found,
        "gaps": gaps,
        "lost": report.lost.iter().map(lost).collect::<Vec<Value>>(),
        "checkpoint": log.checkpoint,
    })
}

/// A part that is lost, as the log says.
fn lost(lost: &LostHistory) -> Value {
    let heads = lost.heads.iter();
    let heads = heads.map(|head| json!({ "size": head.size, "root": head.root }));
    let heads: Vec<Value> = heads.collect();
    json!({
        "leaf": lost.leaf, "time": lost.time.to_string(), "heads": heads, "anchors": lost.known, "limits": lost.limits,
        "by": lost.by, "why": lost.why,
    })
}

/// Why texts were not opened.
fn not_opened(opening: &Opening) -> Option<&str> {
    match opening {
        Opening::Done => None,
        Opening::NotAsked => Some("no keys given"),
        Opening::Failed(why) => Some(why),
    }
}

fn torn(checked: &Checked) -> Option<(String, u64, &str)> {
    match &checked.tail {
        Tail::Clean => None,
        Tail::Torn { path, offset, what } => Some((path.display().to_string(), *offset, what)),
    }
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Valid => "valid",
        Class::Incomplete => "incomplete",
        Class::Invalid => "invalid",
    }
}

fn level(level: Level) -> String {
    match level {
        Level::Holds => "holds".to_owned(),
        Level::Broken => "BROKEN".to_owned(),
        Level::CheckedTo(seq) => format!("checked up to leaf {seq} only"),
    }
}
