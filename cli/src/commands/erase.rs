//! `actpass erase`: destroys the keys of texts, in this state directory or, as `kubectl actpass erase`, in a cluster's ledger.

use std::io::{BufRead, IsTerminal, Write};

use actpass_core::wire::{EraseRequest, ErasedView, ErasureView};
use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::show::{self, escaped, table};
use crate::args::EraseArgs;
use crate::client::Client;
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) async fn erase(args: EraseArgs, state: &StateDir, json: bool) -> anyhow::Result<Exit> {
    let control = Control::connect(state).await?;
    let done = asked(&control, "/v1/erasures", args, json).await;
    control.close().await;
    done
}

/// Lists, counts or erases; `path` is that of the log's erasures.
pub(crate) async fn asked(
    client: &Client,
    path: &str,
    args: EraseArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let EraseArgs {
        subject,
        before,
        why,
        dry_run,
        yes,
        list,
    } = args;
    if list {
        return listed(client.get(path).await?, json);
    }
    let request = EraseRequest {
        subject,
        before: before
            .as_deref()
            .map(day)
            .transpose()?
            .map(|at| at.to_string()),
        why,
        dry_run: true,
    };
    let found = post(client, path, &request).await?;
    if dry_run || is_nothing(&found) {
        return said(&found, json);
    }
    if !yes && !agreed(&found, json)? {
        bail!("nothing was erased");
    }
    let request = EraseRequest {
        dry_run: false,
        ..request
    };
    said(&post(client, path, &request).await?, json)
}

async fn post(client: &Client, path: &str, request: &EraseRequest) -> anyhow::Result<ErasedView> {
    let said = client.send("POST", path, request).await?;
    serde_json::from_slice(&said).context("the ledger's answer is not understood")
}

fn is_nothing(found: &ErasedView) -> bool {
    [found.texts, found.requests, found.questions] == [0; 3]
}

/// Says what would go, and asks. Without a terminal nobody is there to ask.
fn agreed(found: &ErasedView, json: bool) -> anyhow::Result<bool> {
    if json || !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask on; look with --dry-run, then erase with --yes");
    }
    let mut stderr = std::io::stderr().lock();
    write!(
        stderr,
        "This makes unreadable for good: {}. Leaves, amounts and limits stay.\nErase? [y/N] ",
        counts(found)
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn said(found: &ErasedView, json: bool) -> anyhow::Result<Exit> {
    match json {
        true => show::json(found)?,
        false => show::line(&sentence(found))?,
    }
    Ok(Exit::Ok)
}

fn sentence(found: &ErasedView) -> String {
    let of = match (&found.subject, found.before) {
        (_, Some(before)) => format!("from before {}", before.to_zoned(TimeZone::UTC).date()),
        (Some(_), None) | (None, None) => "about this subject".to_owned(),
    };
    match &found.id {
        _ if is_nothing(found) => format!("There is nothing {of} that could still be read."),
        None => format!(
            "{of} could be read, and not after an erasure: {}.",
            counts(found)
        )
        .replacen("about", "About", 1)
        .replacen("from", "From", 1),
        Some(id) => format!(
            "Erased ({id}): {}. The log says so.\nKept copies of the vault from before open them still: let these expire.",
            counts(found)
        ),
    }
}

fn counts(found: &ErasedView) -> String {
    let count = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        more => format!("{more} {many}"),
    };
    format!(
        "the texts of {}, {} kept for people, {} that then {} over",
        count(found.texts, "leaf", "leaves"),
        count(found.requests, "request", "requests"),
        count(found.questions, "open question", "open questions"),
        if found.questions == 1 { "is" } else { "are" },
    )
}

fn listed(erasures: Vec<ErasureView>, json: bool) -> anyhow::Result<Exit> {
    if json {
        show::json(&erasures)?;
        return Ok(Exit::Ok);
    }
    let mut table = table(&["ID", "LEAF", "TIME", "OF", "BY", "WHY"]);
    for erasure in erasures {
        let of = match (&erasure.subject, erasure.before) {
            (Some(mac), _) => format!("subject {}", mac.get(..16).unwrap_or(mac)),
            (None, Some(before)) => format!("before {}", before.to_zoned(TimeZone::UTC).date()),
            (None, None) => String::new(),
        };
        table.add_row([
            erasure.id,
            erasure.leaf.to_string(),
            actpass_core::canonical::instant(erasure.time),
            of,
            escaped(&erasure.by),
            escaped(&erasure.why),
        ]);
    }
    show::line(&table.to_string())?;
    Ok(Exit::Ok)
}

/// A day, or an instant, in UTC.
fn day(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let date = text.parse::<Date>().ok();
    let begun = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    let begun = begun.with_context(|| format!("`{text}` is no day such as 2026-11-01"))?;
    Ok(begun.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_and_says_what_stays_possible() {
        let found = |id: Option<&str>, texts| ErasedView {
            id: id.map(str::to_owned),
            subject: Some("ab".repeat(32)),
            before: None,
            texts,
            requests: 1,
            questions: 0,
        };
        let dry = sentence(&found(None, 2));
        assert!(dry.starts_with("About this subject could be read"), "{dry}");
        assert!(
            dry.contains("the texts of 2 leaves, 1 request kept"),
            "{dry}"
        );
        let done = sentence(&found(Some("ers_1"), 1));
        assert!(
            done.contains("Erased (ers_1): the texts of 1 leaf,"),
            "{done}"
        );
        assert!(done.contains("copies of the vault"), "{done}");
        let nothing = ErasedView {
            requests: 0,
            ..found(None, 0)
        };
        assert!(sentence(&nothing).starts_with("There is nothing about this subject"));
        assert_eq!(
            day("2026-11-01").unwrap(),
            day("2026-11-01T00:00:00Z").unwrap()
        );
        assert!(day("November").is_err());
    }
}
