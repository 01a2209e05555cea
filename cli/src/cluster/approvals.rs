//! Questions to people, as the controller keeps them.

use jiff::Timestamp;

use super::kubectl::Kubectl;
use super::objects::{Approval, List};
use crate::commands::approvals::facts::{self, Look};
use crate::commands::show::{self, short, table};
use crate::exit::Exit;

/// Characters that a list shows of a resource.
const RESOURCE_CHARACTERS: usize = 48;

pub(super) fn list(
    kubectl: &Kubectl,
    all_namespaces: bool,
    all: bool,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut args = vec!["approvals.actpass.org"];
    args.extend(all_namespaces.then_some("--all-namespaces"));
    let found: List<Approval> = kubectl.get(&args)?;
    let mut found = found.items;
    found.retain(|approval| all || approval.state() == "pending");
    found.sort_by_key(|approval| approval.spec.asked_at);
    if json {
        show::json(&found)?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        show::line(match all {
            true => "No approvals.",
            false => "Nothing waits for an answer.",
        })?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(&[
        "NAMESPACE",
        "NAME",
        "STATE",
        "WHAT",
        "AMOUNT",
        "ON",
        "ALSO SENT",
        "AGENT",
        "EXPIRES",
    ]);
    for approval in found {
        let view = approval.view();
        rows.add_row([
            approval.metadata.namespace,
            view.id,
            view.state,
            view.capability,
            view.amount.unwrap_or_default(),
            short(&view.resource.unwrap_or_default(), RESOURCE_CHARACTERS),
            facts::also(&view.sent, view.sent_more, view.unseen.as_deref()),
            view.agent,
            facts::until(view.expires, Timestamp::now()),
        ]);
    }
    show::line(&rows.to_string())?;
    Ok(Exit::Ok)
}

pub(super) fn show(kubectl: &Kubectl, name: &str, json: bool) -> anyhow::Result<Exit> {
    print(&get(kubectl, name)?, json)?;
    Ok(Exit::Ok)
}

pub(super) fn get(kubectl: &Kubectl, name: &str) -> anyhow::Result<Approval> {
    kubectl.get(&["approvals.actpass.org", "--", name])
}

pub(super) fn print(approval: &Approval, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(approval);
    }
    let Approval { metadata, .. } = approval;
    let command = |word| {
        let (name, namespace) = (&metadata.name, &metadata.namespace);
        format!("kubectl actpass {word} {name} -n {namespace}")
    };
    let answers = (command("approve"), command("deny"));
    show::line(&facts::text(
        &approval.view(),
        answers,
        Timestamp::now(),
        Look::of_stdout(),
    ))
}
