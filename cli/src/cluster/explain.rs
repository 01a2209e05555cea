//! One pod: under which passport it acts, what that allows, and why the last thing was denied.

use serde::{Deserialize, Serialize};
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

#[derive(Deserialize, Serialize)]
struct Rule {
    name: String,
    decision: String,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    when: Option<String>,
}

/// A rule that may decide, and whose it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deciding<'a> {
    policy: &'a str,
    #[serde(flatten)]
    rule: &'a Rule,
    shadow: bool,
    /// Only a selector takes it in: which Passports that selects, the controller decides.
    by_selector: bool,
}

pub(super) fn explain(kubectl: &Kubectl, name: &str, json: bool) -> anyhow::Result<Exit> {
    let pod: Pod = kubectl.get(&["pod", "--", name])?;
    let passports: List<Passport> = kubectl.get(&["passports.actpass.org"])?;
    let policies: List<Policy> = kubectl.get(&["actionpolicies.actpass.org"])?;
    // Whoever sees a namespace may not see what the platform keeps for all.
    let guards: Option<List<Policy>> = kubectl.get(&["clusteractionpolicies.actpass.org"]).ok();
    let guards = guards.map(|list| list.items);
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
        let rules = match passports.as_slice() {
            [passport] => rules_of(&passport.metadata.name, &policies.items),
            _ => Vec::new(),
        };
        show::json(
            &json!({"pod": pod.metadata.name, "namespace": pod.metadata.namespace, "serviceAccount": account,
            "injected": injected, "passports": names, "rules": rules, "guards": guards.as_deref().map(guards_of),
            "lastDenial": denied}),
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
    allowed(&mut said, passport, &policies.items, guards.as_deref());
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

fn allowed(said: &mut Said, passport: &Passport, policies: &[Policy], guards: Option<&[Policy]>) {
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
    let rules = rules_of(&passport.metadata.name, policies);
    if rules.is_empty() {
        said.line("rule", "none selects this Passport, so everything is denied; write an ActionPolicy with targetRefs: [{kind: Passport, name: …}]");
    }
    for rule in rules {
        said.line("rule", rule.text());
    }
    match guards {
        Some(guards) => guards_of(guards)
            .iter()
            .for_each(|rule| said.line("guard", rule.text())),
        None => said.line(
            "guard",
            "those of the whole cluster are not shown to you (ClusterActionPolicies); they can deny what is allowed here",
        ),
    }
}

/// The rules of the namespace that decide for that Passport, or may.
fn rules_of<'a>(passport: &str, policies: &'a [Policy]) -> Vec<Deciding<'a>> {
    let deciding = policies.iter().filter_map(|policy| {
        let targets = policy.spec.target_refs.iter();
        let named = targets.filter(|target| target.kind == "Passport" && target.name == passport);
        let named = named.count() > 0;
        (named || policy.spec.passport_selector.is_some()).then(|| policy.deciding(!named))
    });
    deciding.flatten().collect()
}

/// The rules for the whole cluster.
fn guards_of(guards: &[Policy]) -> Vec<Deciding<'_>> {
    let deciding = guards.iter().flat_map(|guard| {
        let by_selector = guard.spec.passport_selector.is_some();
        guard.deciding(by_selector)
    });
    deciding.collect()
}

impl Policy {
    fn deciding(&self, by_selector: bool) -> impl Iterator<Item = Deciding<'_>> {
        self.spec.rules.iter().map(move |rule| Deciding {
            policy: &self.metadata.name,
            rule,
            shadow: self.spec.mode.as_deref() == Some("Shadow"),
            by_selector,
        })
    }
}

impl Deciding<'_> {
    fn text(&self) -> String {
        let Self { policy, rule, .. } = self;
        let Rule {
            name,
            decision,
            capabilities,
            when,
        } = rule;
        let when = when.as_deref().map(|when| format!(" when {when}"));
        let shadow = match self.shadow {
            true => " (shadow: says what it would do)",
            false => "",
        };
        let perhaps = match self.by_selector {
            true => " (by its selector)",
            false => "",
        };
        format!(
            "{policy}/{name}: {decision} {}{}{shadow}{perhaps}",
            capabilities.join(", "),
            when.unwrap_or_default(),
        )
    }
}

/// What the sidecar said of a denial.
#[derive(Serialize)]
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
    fn rules_of_the_namespace_and_guards_of_the_cluster_are_told_apart() {
        let policy = |name: &str, spec: Value| -> Policy {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
        };
        let rule = |name: &str| json!([{"name": name, "decision": "Deny", "capabilities": ["shop.**"], "when": "true"}]);
        let clerk = json!([{"kind": "Passport", "name": "clerk"}]);
        let policies = [
            policy("named", json!({"targetRefs": clerk, "rules": rule("a")})),
            policy(
                "other",
                json!({"targetRefs": [{"kind": "Passport", "name": "x"}], "rules": rule("b")}),
            ),
            policy(
                "selected",
                json!({"passportSelector": {}, "mode": "Shadow", "rules": rule("c")}),
            ),
        ];
        let texts = |found: Vec<Deciding<'_>>| found.iter().map(Deciding::text).collect::<Vec<_>>();
        assert_eq!(
            texts(rules_of("clerk", &policies)),
            [
                "named/a: Deny shop.** when true",
                "selected/c: Deny shop.** when true (shadow: says what it would do) (by its selector)",
            ]
        );
        let guards = [policy("all", json!({"rules": rule("g")}))];
        assert_eq!(texts(guards_of(&guards)), ["all/g: Deny shop.** when true"]);
    }

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
