//! A namespace before it is put under ActPass: what of it would start, and what has to be mended first.
//!
//! The API server does not ask the webhook about namespaces without a label, and a label would stop pods that restart
//! meanwhile. So each template goes through a dry run, in which the API server and all that stands in it complete the
//! pod as they would a real one, and then, here, through the very functions that the webhook calls, with the settings of
//! the installation's webhook. In a namespace that is labelled already the dry run asks the webhook itself.

mod hosts;
pub(super) mod settings;
pub(super) mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

use actpass_crds::upstream::UpstreamSpec;
use actpass_webhook::UidSecret;
use actpass_webhook::checks::{self, Surroundings};
use actpass_webhook::inject::{Context, inject};
use actpass_webhook::server::namespaces::is_without;
use actpass_webhook::server::{RIGHTS, pods};
use actpass_webhook::settings::Settings;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::args::OnboardArgs;
use super::kubectl::{Kubectl, plain};
use super::objects::{List, Meta, Passport};
use crate::commands::show::{self, Paint, Tone, escaped, short};
use crate::exit::Exit;
use workloads::Workload;

/// Labels of a namespace.
const MODE: &str = "actpass.org/mode";
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// Characters shown of what the API server says.
const MESSAGE_CHARACTERS: usize = 600;

/// Pods named in one line.
const NAMED_MAX: usize = 5;

#[derive(Deserialize)]
struct Namespace {
    metadata: Meta,
}

#[derive(Deserialize)]
struct Upstream {
    spec: UpstreamSpec,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    namespace: String,
    /// `audit` or `enforce`; none before it is labelled.
    mode: Option<String>,
    /// What Pod Security holds it to, where a label says so.
    pod_security: Option<String>,
    workloads: Vec<Tried>,
    /// ServiceAccounts of workloads that no Passport is for.
    without_passport: BTreeSet<String>,
    /// Pods that run without ActPass.
    running_without: Vec<String>,
    /// What could not be looked at.
    not_checked: Vec<String>,
}

/// One workload, and what it needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    workload: String,
    service_account: String,
    /// Nothing: it would start.
    fixes: Vec<String>,
    /// Hosts in its template that no Upstream declares.
    undeclared_hosts: BTreeSet<String>,
}

pub(super) fn onboard(kubectl: &Kubectl, args: OnboardArgs, json: bool) -> anyhow::Result<Exit> {
    let OnboardArgs {
        system_namespace,
        of,
    } = args;
    let namespace = of.map_or_else(|| kubectl.namespace(), Ok)?;
    let kubectl = kubectl.of(&namespace);
    let found = look(&kubectl, &kubectl.of(&system_namespace), &namespace)?;
    let exit = match found.starts() {
        true => Exit::Ok,
        false => Exit::Incomplete,
    };
    match json {
        true => show::json(&found)?,
        false => show::line(&found.text(Paint::of_stdout()))?,
    }
    Ok(exit)
}

fn look(kubectl: &Kubectl, system: &Kubectl, namespace: &str) -> anyhow::Result<Found> {
    let mut not_checked = Vec::new();
    let labels = kubectl.get::<Namespace>(&["namespace", "--", namespace]);
    let labels = labels.with_context(|| format!("namespace `{namespace}`"))?;
    let label = |key: &str| labels.metadata.labels.get(key).cloned();
    let settings = settings::of(system);
    let settings = settings.unwrap_or_else(|error| {
        not_checked.push(format!(
            "the settings of the installation, so the defaults are assumed: {error:#}"
        ));
        settings::defaults()
    });
    let listed: List<Value> = kubectl.get(&[workloads::KINDS])?;
    let running: Vec<&Value> = (listed.items.iter())
        .filter(|object| workloads::is_pod(object) && is_without(object, &settings))
        .collect();
    let claims: BTreeSet<String> = running
        .iter()
        .flat_map(|pod| pods::used_claims(pod))
        .map(str::to_owned)
        .collect();
    let upstreams = |kubectl: &Kubectl| kubectl.get::<List<Upstream>>(&["upstreams.actpass.org"]);
    let mut declared = upstreams(kubectl)?.items;
    match upstreams(system) {
        Ok(catalogue) => declared.extend(catalogue.items),
        Err(error) => not_checked.push(format!("Upstreams of the catalogue: {error:#}")),
    }
    let declared: Vec<String> = declared.into_iter().flat_map(|it| it.spec.hosts).collect();
    let passports: List<Passport> = kubectl.get(&["passports.actpass.org"])?;
    let subjects = passports
        .items
        .iter()
        .filter_map(|it| it.spec.subject.as_ref());
    let subjects: BTreeSet<&str> = subjects
        .map(|it| it.service_account_name.as_str())
        .collect();

    let all = workloads::of(&listed.items);
    let mut rights: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut tried = Vec::new();
    for (at, workload) in all.iter().enumerate() {
        progress(at, all.len(), &workload.name());
        if !rights.contains_key(&workload.account) {
            let known = account_rights(kubectl, namespace, &workload.account);
            let known = known.unwrap_or_else(|error| {
                let account = &workload.account;
                not_checked.push(format!("what ServiceAccount `{account}` may do: {error:#}"));
                Vec::new()
            });
            rights.insert(workload.account.clone(), known);
        }
        let surroundings = Surroundings {
            claims_elsewhere: claims.clone(),
            account_rights: rights.get(&workload.account).cloned().unwrap_or_default(),
        };
        let fixes = fixes(kubectl, workload, namespace, &settings, &surroundings)?;
        tried.push(Tried {
            workload: workload.name(),
            service_account: workload.account.clone(),
            fixes,
            undeclared_hosts: hosts::undeclared(&workload.pod, &declared),
        });
    }
    progress_end();
    let accounts = all.iter().map(|workload| workload.account.clone());
    Ok(Found {
        namespace: namespace.to_owned(),
        mode: label(MODE),
        pod_security: label(POD_SECURITY),
        without_passport: accounts
            .filter(|it| !subjects.contains(it.as_str()))
            .collect(),
        workloads: tried,
        running_without: running.iter().map(|pod| workloads::name(pod)).collect(),
        not_checked,
    })
}

/// What has to be mended in a workload's template.
fn fixes(
    kubectl: &Kubectl,
    workload: &Workload,
    namespace: &str,
    settings: &Settings,
    surroundings: &Surroundings,
) -> anyhow::Result<Vec<String>> {
    let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = kubectl.output(&args, Some(&serde_json::to_vec(&workload.pod)?))?;
    let (pod, refused) = match output.status.success() {
        true => (serde_json::from_slice(&output.stdout)?, None),
        // What would refuse it goes on from the template as it is, so that all reasons come together.
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (workload.pod.clone(), Some(said))
        }
    };
    // The webhook of a namespace that is labelled already has answered.
    if refused.is_none() && workloads::is_injected(&pod) {
        return Ok(Vec::new());
    }
    let mut fixes = checked(&pod, namespace, settings, surroundings);
    for fix in &mut fixes {
        *fix = workload.placed(fix);
    }
    // What ActPass itself refused is said better here.
    if let Some(said) = refused.filter(|said| fixes.is_empty() || !said.contains("actpass")) {
        fixes.push(format!("the API server refuses it: {}", refusal(&said)));
    }
    Ok(fixes)
}

/// What the webhook would refuse a pod for, that the API server has completed.
fn checked(
    pod: &Value,
    namespace: &str,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Vec<String> {
    // Uids and labels are made from these; which ones changes no answer.
    let secret = UidSecret::new([0; 32]);
    let context = Context {
        namespace,
        settings,
        secret: &secret,
        request: "",
    };
    let findings = match inject(pod, &context) {
        Err(findings) => findings,
        Ok(injection) => checks::create(&injection.pod, &context, surroundings),
    };
    let mut fixes: Vec<String> = findings.refused.iter().map(ToString::to_string).collect();
    if findings.more > 0 {
        fixes.push(format!("and {} more", findings.more));
    }
    fixes
}

/// What a ServiceAccount may do that reaches around a fence.
fn account_rights(
    kubectl: &Kubectl,
    namespace: &str,
    account: &str,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (verb, resource) in RIGHTS {
        let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
                "resourceAttributes": {"verb": verb, "resource": plural, "subresource": sub, "namespace": namespace},
            },
        });
        let args = ["create", "-o", "json", "-f", "-"];
        let answer = kubectl.run(&args, Some(&serde_json::to_vec(&review)?))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if answer.pointer("/status/allowed") == Some(&Value::Bool(true)) {
            found.push(format!("{verb} {resource}"));
        }
    }
    Ok(found)
}

/// The API server's reason, without what kubectl says around it.
fn refusal(said: &str) -> String {
    let said = plain(said.trim());
    let said = said
        .split_once("denied the request: ")
        .map_or(said, |(_, rest)| rest);
    let said = said
        .strip_prefix("error when creating \"STDIN\": ")
        .unwrap_or(said);
    short(&said.replace('\n', "; "), MESSAGE_CHARACTERS)
}

fn progress(at: usize, of: usize, name: &str) {
    if std::io::stderr().is_terminal() {
        eprint!(
            "\r\u{1b}[K{} of {of}: {}",
            at.saturating_add(1),
            escaped(name)
        );
    }
}

fn progress_end() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}

impl Found {
    /// Whether everything would start as it is.
    fn starts(&self) -> bool {
        self.fits_pod_security() && self.workloads.iter().all(|it| it.fixes.is_empty())
    }

    /// Without a label the default of the cluster holds, which is `privileged` unless somebody changed it; a pod that does
    /// not fit it fails the dry run.
    fn fits_pod_security(&self) -> bool {
        (self.pod_security.as_deref()).is_none_or(|level| level == "privileged")
    }

    fn text(&self, paint: Paint) -> String {
        let namespace = &self.namespace;
        let mode = match &self.mode {
            None => "not under ActPass yet".to_owned(),
            Some(mode) => format!("under ActPass ({MODE}={mode})"),
        };
        let mut lines = vec![format!("Namespace {namespace}: {mode}"), String::new()];
        if self.workloads.is_empty() {
            lines.push("  no workloads".to_owned());
        }
        for tried in &self.workloads {
            let (tone, word) = match tried.fixes.len() {
                0 => (Tone::Good, "would start".to_owned()),
                1 => (Tone::Bad, "1 thing to mend".to_owned()),
                more => (Tone::Bad, format!("{more} things to mend")),
            };
            let name = escaped(&tried.workload);
            lines.push(format!("  {name:<40}  {}", paint.paint(tone, &word)));
            lines.extend(
                tried
                    .fixes
                    .iter()
                    .map(|fix| format!("    {}", escaped(fix))),
            );
        }
        self.besides(&mut lines);
        lines.push(String::new());
        lines.push("Nothing was changed. Next:".to_owned());
        lines.extend(self.next());
        lines.join("\n")
    }

    /// What is no mistake of a template.
    fn besides(&self, lines: &mut Vec<String>) {
        if !self.fits_pod_security() {
            let level = self.pod_security.as_deref().unwrap_or_default();
            lines.push(format!(
                "\nPod Security: `{}` refuses the init container that loads the packet filter; it takes `privileged`, and \
                 ActPass holds everything else to `restricted`",
                escaped(level)
            ));
        }
        if !self.without_passport.is_empty() {
            lines.push(
                "\nWithout a Passport, so under `enforce` their pods may do nothing:".to_owned(),
            );
            let accounts = self.without_passport.iter();
            lines.extend(accounts.map(|account| format!("  ServiceAccount {}", escaped(account))));
        }
        if self
            .workloads
            .iter()
            .any(|it| !it.undeclared_hosts.is_empty())
        {
            lines.push(
                "\nHosts in templates that no Upstream declares, so under `enforce` they will be denied:"
                    .to_owned(),
            );
            for tried in self
                .workloads
                .iter()
                .filter(|it| !it.undeclared_hosts.is_empty())
            {
                let hosts: Vec<&str> = tried.undeclared_hosts.iter().map(String::as_str).collect();
                let (name, hosts) = (escaped(&tried.workload), escaped(&hosts.join(", ")));
                lines.push(format!("  {name}: {hosts}"));
            }
        }
        if !self.running_without.is_empty() {
            let named: Vec<&str> = (self.running_without.iter().take(NAMED_MAX))
                .map(String::as_str)
                .collect();
            let count = self.running_without.len();
            let more = match count.saturating_sub(named.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            lines.push(format!(
                "\nRunning without ActPass, until they are made anew: {count} ({}{more})",
                escaped(&named.join(", "))
            ));
        }
        if !self.not_checked.is_empty() {
            lines.push("\nNot looked at:".to_owned());
            let what = self.not_checked.iter();
            lines.extend(what.map(|what| format!("  {}", escaped(what))));
        }
    }

    /// The commands to go on with, in order.
    fn next(&self) -> Vec<String> {
        let namespace = &self.namespace;
        let mut next = Vec::new();
        if self.workloads.iter().any(|it| !it.fixes.is_empty()) {
            next.push("  mend the templates above, then run this again".to_owned());
        }
        if self.pod_security.as_deref() != Some("privileged") {
            next.push(format!(
                "  kubectl label namespace {namespace} {POD_SECURITY}=privileged --overwrite"
            ));
        }
        if self.mode.is_none() {
            next.push(format!(
                "  kubectl label namespace {namespace} {MODE}=audit"
            ));
        }
        if !self.without_passport.is_empty() {
            next.push(format!(
                "  kubectl apply -n {namespace} -f PASSPORTS-AND-POLICIES"
            ));
        }
        if !self.running_without.is_empty() {
            next.push(format!(
                "  kubectl rollout restart deployment -n {namespace}   # and other pods that run"
            ));
        }
        if self.mode.as_deref() != Some("enforce") {
            next.push(format!(
                "  kubectl label namespace {namespace} {MODE}=enforce --overwrite"
            ));
        }
        next.push(format!("  kubectl actpass status -n {namespace}"));
        next
    }
}

#[cfg(test)]
mod tests;
