//! Passports of a namespace or of all, and what waits.

use serde_json::json;

use super::kubectl::Kubectl;
use super::objects::{Approval, List, Passport, condition, holds};
use crate::commands::show::{self, Paint, Tone, short, table};
use crate::exit::Exit;

/// Characters that a list shows of a condition's message.
const MESSAGE_CHARACTERS: usize = 100;

pub(super) fn status(kubectl: &Kubectl, all: bool, json: bool) -> anyhow::Result<Exit> {
    let everywhere = all.then_some("--all-namespaces");
    let get = |kind| [kind].into_iter().chain(everywhere).collect::<Vec<&str>>();
    let passports: List<Passport> = kubectl.get(&get("passports.actpass.org"))?;
    // Whoever may see Passports may not see what agents send.
    let approvals: Option<List<Approval>> = kubectl.get(&get("approvals.actpass.org")).ok();
    let waiting = |passport: &Passport| {
        let theirs = approvals.as_ref()?.items.iter().filter(|approval| {
            approval.metadata.namespace == passport.metadata.namespace
                && approval.spec.passport == passport.metadata.name
                && approval.state() == "pending"
        });
        Some(theirs.count())
    };
    let ready = |passport: &Passport| holds(condition(&passport.status.conditions, "Ready"));
    let exit = match passports.items.iter().all(ready) {
        true => Exit::Ok,
        false => Exit::Incomplete,
    };
    if json {
        let items: Vec<_> = passports
            .items
            .iter()
            .map(|passport| {
                json!({"namespace": passport.metadata.namespace, "name": passport.metadata.name,
                    "agent": passport.spec.agent_id, "ready": ready(passport), "waiting": waiting(passport),
                    "status": passport.status})
            })
            .collect();
        show::json(&items)?;
        return Ok(exit);
    }
    if passports.items.is_empty() {
        show::line(
            "No Passports. Write one that says what a ServiceAccount's pods may do: until then they may do nothing.",
        )?;
        return Ok(exit);
    }
    let paint = Paint::of_stdout();
    let mut rows = table(&[
        "NAMESPACE",
        "PASSPORT",
        "AGENT",
        "READY",
        "PODS",
        "WAITING",
        "WHY",
    ]);
    for passport in &passports.items {
        let condition = condition(&passport.status.conditions, "Ready");
        let (tone, word) = match (condition, ready(passport)) {
            (_, true) => (Tone::Good, "yes"),
            (Some(_), false) => (Tone::Bad, "no"),
            (None, false) => (Tone::Doubtful, "unknown"),
        };
        let why = match condition {
            Some(condition) if !ready(passport) => {
                let message = short(&condition.message, MESSAGE_CHARACTERS);
                format!("{}: {message}", condition.reason)
            }
            Some(condition) => condition.reason.clone(),
            None => "the controller has not looked at it; is it running?".to_owned(),
        };
        rows.add_row([
            passport.metadata.namespace.clone(),
            passport.metadata.name.clone(),
            passport.spec.agent_id.clone(),
            paint.paint(tone, word),
            passport.status.sessions.unwrap_or_default().to_string(),
            waiting(passport).map_or_else(|| "-".to_owned(), |count| count.to_string()),
            why,
        ]);
    }
    show::line(&rows.to_string())?;
    Ok(exit)
}
