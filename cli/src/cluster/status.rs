//! Passports of a namespace or of all, and what waits.

use std::collections::{BTreeMap, BTreeSet};

use actpass_crds::condition::Reason;
use serde_json::json;

use super::kubectl::Kubectl;
use super::objects::{Approval, List, Passport, Pod, condition, holds};
use crate::commands::show::{self, Paint, Tone, short, table};
use crate::exit::Exit;

/// Characters that a list shows of a condition's message.
const MESSAGE_CHARACTERS: usize = 100;

/// Pods that are named, of each namespace.
const PODS_NAMED: usize = 5;

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
    let pods: Option<List<Pod>> = kubectl.get(&get("pods")).ok();
    let pods = pods.map(|mut pods| {
        pods.items.retain(|pod| !pod.has_ended());
        pods.items
    });
    let acting = |passport: &Passport| {
        let theirs = pods.as_ref()?.iter().filter(|pod| {
            let subject = passport.spec.subject.as_ref();
            pod.is_injected()
                && pod.metadata.namespace == passport.metadata.namespace
                && subject.is_some_and(|it| it.service_account_name == pod.account())
        });
        Some(theirs.count())
    };
    let ready = |passport: &Passport| holds(condition(&passport.status.conditions, "Ready"));
    let unseen = unseen(&passports.items, pods.as_deref().unwrap_or_default());
    let exit = match passports.items.iter().all(ready) && unseen.is_empty() {
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
                    "pods": acting(passport), "podsWithoutActPass": unseen.get(passport.metadata.namespace.as_str()),
                    "status": passport.status})
            })
            .collect();
        show::json(&items)?;
        return Ok(exit);
    }
    if passports.items.is_empty() {
        show::line(
            "No Passports. Write one that says what a ServiceAccount's pods may do: until then, under `enforce`, they may do nothing.",
        )?;
        return Ok(exit);
    }
    let counted = |count: Option<usize>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
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
            counted(acting(passport)),
            counted(waiting(passport)),
            why,
        ]);
    }
    show::line(&rows.to_string())?;
    for (namespace, pods) in unseen {
        let named: Vec<&str> = pods.iter().copied().take(PODS_NAMED).collect();
        let more = match pods.len().saturating_sub(named.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        show::line(&format!(
            "Without ActPass in {namespace}: {}{more}. They were made before the namespace had its label, and nothing holds them; restart them.",
            named.join(", ")
        ))?;
    }
    Ok(exit)
}

/// Pods that ActPass does not see, by namespace, where a Passport says that the namespace is under ActPass.
fn unseen<'a>(passports: &'a [Passport], pods: &'a [Pod]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let governed = |passport: &&Passport| {
        let ready = condition(&passport.status.conditions, "Ready");
        ready.is_some_and(|it| it.reason != Reason::NamespaceNotEnrolled.name())
    };
    let governed = passports.iter().filter(governed);
    let governed: BTreeSet<&str> = governed.map(|it| it.metadata.namespace.as_str()).collect();
    let mut unseen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pod in pods {
        let namespace = pod.metadata.namespace.as_str();
        if !pod.is_injected() && governed.contains(namespace) {
            unseen
                .entry(namespace)
                .or_default()
                .push(&pod.metadata.name);
        }
    }
    unseen
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn passport(namespace: &str, ready: &str) -> Passport {
        let condition = json!({"type": "Ready", "status": "False", "reason": ready, "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-05-04T10:00:00Z"});
        let conditions: Vec<Value> = (!ready.is_empty())
            .then_some(condition)
            .into_iter()
            .collect();
        let passport = json!({"metadata": {"name": "clerk", "namespace": namespace}, "status": {"conditions": conditions},
            "spec": {"agentId": "clerk", "owner": "o", "purpose": "p", "scope": [{"capability": "a.b"}]}});
        serde_json::from_value(passport).unwrap()
    }

    fn pod(namespace: &str, name: &str, first: &str) -> Pod {
        let pod = json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"initContainers": [{"name": first}], "containers": []}, "status": {"phase": "Running"}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn pods_without_a_sidecar_are_named_where_a_namespace_is_under_actpass() {
        let passports = [
            passport("governed", "InForce"),
            passport("suspended", "Suspended"),
            passport("free", "NamespaceNotEnrolled"),
            passport("not-looked-at", ""),
        ];
        let places = [
            "governed",
            "suspended",
            "free",
            "not-looked-at",
            "without-any",
        ];
        let pods: Vec<Pod> = places
            .iter()
            .flat_map(|place| [pod(place, "old", "own"), pod(place, "new", "actpass-proxy")])
            .collect();
        let want = BTreeMap::from([("governed", vec!["old"]), ("suspended", vec!["old"])]);
        assert_eq!(unseen(&passports, &pods), want);
    }
}
