//! One pod: under which passport it acts, what that allows, and why the last thing was denied.

use serde::Deserialize;
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::objects::{List, Meta, Passport, Pod, condition, holds};
use crate::commands::show::{self, escaped};
use crate::exit::Exit;

/// How far back the sidecar's log is read, and at most how many lines of it.
const SINCE: &str = "--since=24h";
const LINES_MAX: &str = "--tail=20000";

/// The constant sentence of a denial in the sidecar's log.
const DENIED: &str = "Action refused";

/// A policy, as far as it is shown.
#[derive(Deserialize)]
struct Policy {
    metadata: Meta,
    spec: PolicySpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicySpec {
    #[serde(default)]
    target_refs: Vec<Target>,
    #[serde(default)]
    passport_selector: Option<Value>,
    #[serde(default)]
    mode: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Target {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    decision: String,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    when: Option<String>,
}

pub(super) fn explain(kubectl: &Kubectl, name: &str, json: bool) -> anyhow::Result<Exit> {
    let pod: Pod = kubectl.get(&["pod", "--", name])?;
    let passports: List<Passport> = kubectl.get(&["passports.actpass.org"])?;
    let policies: List<Policy> = kubectl.get(&["actionpolicies.actpass.org"])?;
    let (account, injected) = (pod.account(), pod.is_injected());
    let of_account = |passport: &&Passport| {
        let subject = passport.spec.subject.as_ref();
        subject.is_some_and(|subject| subject.service_account_name == account)
    };
    let passports: Vec<&Passport> = passports.items.iter().filter(of_account).collect();
    let denied = match injected {
        true => last_denial(kubectl, name),
        false => None,
    };
    if json {
        let names: Vec<_> = passports.iter().map(|it| &it.metadata.name).collect();
        show::json(
            &json!({"pod": pod.metadata.name, "namespace": pod.metadata.namespace, "serviceAccount": account,
            "injected": injected, "passports": names, "lastDenial": denied}),
        )?;
        return Ok(Exit::Ok);
    }
    let mut said = Said::default();
    said.line(
        "pod",
        format!("{}/{}", pod.metadata.namespace, pod.metadata.name),
    );
    if !injected {
        said.line(
            "sidecar",
            "none: ActPass does not see this pod. It was made before its namespace got the label actpass.org/mode, or the namespace has none; make it anew",
        );
        return said.shown();
    }
    said.line("account", account);
    let [passport] = passports.as_slice() else {
        said.line(
            "passport",
            match passports.is_empty() {
                true => format!("none for ServiceAccount {account}, so everything is denied; write a Passport with spec.subject.serviceAccountName: {account}"),
                false => format!(
                    "{} claim ServiceAccount {account}, so both deny; keep one: {}",
                    passports.len(),
                    passports.iter().map(|it| it.metadata.name.as_str()).collect::<Vec<_>>().join(", ")
                ),
            },
        );
        return said.shown();
    };
    allowed(&mut said, passport, &policies.items);
    match denied {
        Some(denial) => {
            said.line("denied last", denial.time);
            said.line("why", format!("{}: {}", denial.code, denial.detail));
        }
        None => said.line(
            "denied last",
            "nothing in the last 24 hours, as far as the log of actpass-proxy goes",
        ),
    }
    said.shown()
}

fn allowed(said: &mut Said, passport: &Passport, policies: &[Policy]) {
    let spec = &passport.spec;
    let ready = condition(&passport.status.conditions, "Ready");
    let standing = match (ready, holds(ready)) {
        (_, true) => "in force".to_owned(),
        (Some(condition), _) => format!("not in force: {}", condition.message),
        (None, _) => "not looked at by the controller yet".to_owned(),
    };
    said.line(
        "passport",
        format!("{}, {standing}", passport.metadata.name),
    );
    said.line("agent", &spec.agent_id);
    said.line("purpose", &spec.purpose);
    for entry in &spec.scope {
        let on = match &entry.resources {
            Some(resources) => format!(" on {}", resources.join(", ")),
            None => String::new(),
        };
        said.line("may", format!("{}{on}", entry.capability));
    }
    for limit in &spec.limits {
        let window = match (limit.window_seconds, limit.calendar) {
            (Some(seconds), _) => format!("{seconds} s"),
            (None, Some(calendar)) => format!("{calendar:?}"),
            (None, None) => "a window".to_owned(),
        };
        said.line(
            "at most",
            format!(
                "{} {} of {} in {window}",
                limit.max, limit.unit, limit.meter
            ),
        );
    }
    let name = &passport.metadata.name;
    let mut rules = 0;
    for policy in policies {
        let named = policy
            .spec
            .target_refs
            .iter()
            .any(|target| target.kind == "Passport" && target.name == *name);
        if !named && policy.spec.passport_selector.is_none() {
            continue;
        }
        let shadow = match policy.spec.mode.as_deref() {
            Some("Shadow") => " (shadow: says what it would do)",
            _ => "",
        };
        // Whether a selector takes it in, the controller decides; that it is one is said.
        let perhaps = if named { "" } else { " (by its selector)" };
        for rule in &policy.spec.rules {
            rules += 1;
            let when = rule.when.as_deref().map(|when| format!(" when {when}"));
            said.line(
                "rule",
                format!(
                    "{}/{}: {} {}{}{shadow}{perhaps}",
                    policy.metadata.name,
                    rule.name,
                    rule.decision,
                    rule.capabilities.join(", "),
                    when.unwrap_or_default(),
                ),
            );
        }
    }
    if rules == 0 {
        said.line("rule", "none selects this Passport, so everything is denied; write an ActionPolicy with targetRefs: [{kind: Passport, name: …}]");
    }
}

/// What the sidecar said of a denial.
#[derive(serde::Serialize)]
struct Denial {
    time: String,
    code: String,
    detail: String,
}

/// The newest denial in the sidecar's log; nothing where the log may not be read.
fn last_denial(kubectl: &Kubectl, pod: &str) -> Option<Denial> {
    let container = format!("--container={}", actpass_core::pod::contract::PROXY);
    let log = kubectl
        .run(&["logs", &container, SINCE, LINES_MAX, "--", pod], None)
        .ok()?;
    let log = String::from_utf8_lossy(&log);
    log.lines().rev().find_map(denial)
}

fn denial(line: &str) -> Option<Denial> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_owned);
    if text("message")? != DENIED {
        return None;
    }
    Some(Denial {
        time: text("timestamp")?,
        code: text("code")?,
        detail: text("detail")?,
    })
}

/// Facts with their names, escaped.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn line(&mut self, name: &str, text: impl AsRef<str>) {
        self.0
            .push(format!("{name:<12} {}", escaped(text.as_ref())));
    }

    fn shown(self) -> anyhow::Result<Exit> {
        show::line(&self.0.join("\n"))?;
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_found_among_other_lines() {
        let line = r#"{"timestamp":"2026-05-04T10:00:00Z","level":"INFO","code":"no_rule","detail":"stripe.refunds.create: no rule allows it","message":"Action refused","target":"actpass_sidecar"}"#;
        let found = denial(line).unwrap();
        assert_eq!(found.code, "no_rule");
        for other in [
            "",
            "not json",
            r#"{"message":"Started"}"#,
            r#"{"message":"Action refused"}"#,
        ] {
            assert!(denial(other).is_none(), "{other}");
        }
    }
}
