//! The policy everything here is measured under: what a payments agent has, with as many rules as asked for.

use actpass_core::bundle::{Bundle, BundleSpec};
use actpass_crds::bundle::{Options, compile};
use actpass_crds::read::parse_documents;
use anyhow::anyhow;

/// The one Passport.
pub(crate) const PASSPORT: &str = "bench";

/// The tenant of the log.
pub(crate) const TENANT: &str = "local/bench/0";

/// Credentials and the effects they are lent for.
pub(crate) const CREDENTIALS: [(&str, &str); 2] =
    [("bench-read", "Read"), ("bench-write", "Write")];

/// The bundle: one Upstream at `host:port`, whose last actions are the measured ones, and `rules` rules.
pub(crate) fn bundle(host: &str, port: u16, ca_pem: &str, rules: usize) -> anyhow::Result<Bundle> {
    let text = manifests(host, port, ca_pem, rules);
    let (resources, problems) = parse_documents("bench.yaml", &text);
    if let Some(problem) = problems.first() {
        return Err(anyhow!("{problem}"));
    }
    let options = Options {
        tenant: TENANT.to_owned(),
        environment: None,
    };
    let spec: BundleSpec = compile(&resources, &options).map_err(|problems| {
        anyhow!(
            "{}",
            problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        )
    })?;
    Ok(Bundle::new(spec)?)
}

/// The declaration of `up` has 8 actions that are in the way, then those that are measured: reads of `/json` and `/big`,
/// and a charge as a form of 300 bytes. Every rule but the last two is about something else.
pub(crate) fn manifests(host: &str, port: u16, ca_pem: &str, rules: usize) -> String {
    let ca = if ca_pem.is_empty() {
        String::new()
    } else {
        format!("    caBundle: |\n{}", indented(ca_pem))
    };
    let actions: String = (0..8)
        .map(|index| {
            format!(
                "  - {{name: resource{index}.read, match: {{http: {{method: GET, path: \"/v1/resource{index}/{{id}}\"}}}}, effect: Read, resource: {{from: path.id}}}}\n"
            )
        })
        .collect();
    let others: String = (0..rules.saturating_sub(2))
        .map(|index| {
            format!(
                "  - {{name: other{index}, decision: Allow, capabilities: [up.resource{}.read], resources: [\"acct_{index}_*\"]}}\n",
                index % 8
            )
        })
        .collect();
    format!(
        r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {{name: up}}
spec:
  hosts: [{host}]
  ports: [{port}]
  tls:
    mode: Intercept
{ca}  credentials:
  - {{name: bench-read, effects: [Read], header: Authorization, format: "Bearer {{secret}}"}}
  - {{name: bench-write, effects: [Write], header: Authorization, format: "Bearer {{secret}}"}}
  actions:
{actions}  - {{name: big.read, match: {{http: {{method: GET, path: /big}}}}, effect: Read}}
  - {{name: json.read, match: {{http: {{method: GET, path: /json}}}}, effect: Read}}
  - name: charges.create
    match: {{http: {{method: POST, path: /json}}}}
    effect: Write
    body: {{format: Form}}
    params: {{allow: [amount, currency, description]}}
    amount: {{from: body.amount, unit: Minor, currency: {{from: body.currency}}}}
    meters: [{{name: charged, from: Amount}}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {{name: {PASSPORT}}}
spec:
  agentId: {PASSPORT}
  owner: owner@example.com
  purpose: Be measured
  scope: [{{capability: "up.**"}}]
  limits: [{{meter: charged, unit: EUR, max: "90000000000.00", windowSeconds: 86400}}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {{name: bench}}
spec:
  targetRefs: [{{kind: Passport, name: {PASSPORT}}}]
  rules:
{others}  - {{name: charges, decision: Allow, capabilities: [up.charges.create], amounts: [{{currency: EUR, lte: "500.00"}}]}}
  - {{name: reads, decision: Allow, capabilities: [up.json.read, up.big.read]}}
"#
    )
}

fn indented(pem: &str) -> String {
    pem.trim()
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect()
}
