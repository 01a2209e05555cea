//! The evidence of a namespace as people read it.

use std::collections::{HashMap, VecDeque};

use actpass_core::wire::LAST_MAX;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{EventsArgs, PluginOutput};
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use super::objects::{List, Meta};
use crate::commands::events::{Filter, Layout, Printer, since};
use crate::commands::show::{self, escaped_json};
use crate::exit::Exit;

#[derive(serde::Deserialize)]
struct Pod {
    metadata: Meta,
}

pub(super) async fn events(
    kubectl: &Kubectl,
    args: EventsArgs,
    output: PluginOutput,
) -> anyhow::Result<Exit> {
    let EventsArgs {
        reach,
        of,
        since: from,
        follow,
        passport,
        decision,
        not_enforced,
        summary,
        limit,
    } = args;
    anyhow::ensure!(
        !(follow && output == PluginOutput::Json),
        "a list that goes on has no end; use --output jsonl with --follow"
    );
    let from = from
        .map(|text| since(&text, Timestamp::now()))
        .transpose()?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let namespace = of.map_or_else(|| kubectl.namespace(), Ok)?;
    let layout = match output {
        PluginOutput::Table => Layout::Cluster(pods(&kubectl.of(&namespace))),
        PluginOutput::Json | PluginOutput::Jsonl => Layout::Json,
    };
    let filtered = passport.is_some() || !decision.is_empty() || not_enforced;
    let filter = Filter::of_cluster(passport, decision, not_enforced, from);
    let mut printer = Printer::new(filter, layout).summarizing(summary);
    let ledger = Ledger::reach(kubectl, &reach, &namespace).await?;
    let mut more = String::new();
    if let Some(from) = from {
        more.push_str(&format!(
            "&since={}",
            actpass_core::canonical::instant(from)
        ));
    }
    if follow {
        more.push_str("&follow=true");
    }
    // The ledger knows nothing of what is filtered here.
    // More than the ledger counts off is counted off here.
    if let Some(limit) = limit.filter(|limit| !filtered && *limit <= LAST_MAX) {
        more.push_str(&format!("&last={limit}"));
    }
    let path = ledger.path("/v1/events", &more);
    let asked = ledger.client().ask("GET", &path, Vec::new()).await;
    let mut answer = asked.map_err(|error| ledger.explained(error, "actpass-auditor"))?;
    printer.head()?;
    let (mut exit, mut kept, mut shown) = (Exit::Ok, VecDeque::new(), 0_usize);
    loop {
        let line = tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(Exit::Ok),
            line = answer.line() => line?,
        };
        let Some(line) = line else { break };
        let leaf = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = match printer.line(leaf) {
            Ok(text) => text,
            Err(error) => {
                eprintln!(
                    "actpass: a leaf cannot be read: {:#}",
                    anyhow::anyhow!(error)
                );
                exit = Exit::Invalid;
                None
            }
        };
        let Some(text) = text else { continue };
        shown = shown.saturating_add(1);
        match (output, limit) {
            (PluginOutput::Json, _) | (_, Some(_)) if !follow => {
                kept.push_back(text);
                if limit.is_some_and(|limit| kept.len() > limit) {
                    kept.pop_front();
                }
            }
            _ => show::line(&text)?,
        }
    }
    let counted = printer.summed_up();
    for text in counted {
        shown = shown.saturating_add(1);
        kept.push_back(text);
    }
    anyhow::ensure!(
        !follow,
        "the ledger ended the answer, as it does when it stops and after an hour; ask again"
    );
    if output == PluginOutput::Json {
        let list: Result<Vec<Box<RawValue>>, _> =
            kept.into_iter().map(RawValue::from_string).collect();
        show::line(&escaped_json(&serde_json::to_string_pretty(&list?)?))?;
        return Ok(exit);
    }
    for text in kept {
        show::line(&text)?;
    }
    if shown == 0 && exit == Exit::Ok && output == PluginOutput::Table {
        eprintln!("actpass: nothing to show of namespace `{namespace}`");
    }
    Ok(exit)
}

/// Names of the pods that are there, by uid; none where this person may not see pods.
fn pods(kubectl: &Kubectl) -> HashMap<String, String> {
    let pods: Option<List<Pod>> = kubectl.get(&["pods"]).ok();
    let pods = pods.map(|list| list.items).unwrap_or_default();
    let named = pods
        .into_iter()
        .map(|pod| (pod.metadata.uid, pod.metadata.name));
    named.collect()
}
