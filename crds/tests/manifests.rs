//! Mistakes in manifests: each case is a good set of manifests with one edit, and the line that must come of it.

use actpass_crds::bundle::{Options, compile};
use actpass_crds::check::cross_check;
use actpass_crds::read::parse_documents;

const GOOD: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [api.pay.example]
  credentials:
  - {name: key, effects: [Read, Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
  - name: payouts.create
    match: {http: {method: POST, path: /v1/payouts}}
    effect: Irreversible
    body: {format: JSON}
    params: {allow: [vendor, amount]}
    amount: {from: body.amount, unit: Major, currency: {const: USD}}
    resource: {from: body.vendor}
    meters: [{name: payouts, from: Amount}]
  - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: agent}
spec:
  agentId: agent
  owner: owner@example.com
  purpose: Pay vendors
  scope:
  - {capability: pay.payouts.create}
  - {capability: pay.read}
  limits:
  - {meter: payouts, unit: USD, max: "500.00", windowSeconds: 3600}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: rules}
spec:
  targetRefs: [{kind: Passport, name: agent}]
  rules:
  - name: small
    decision: Allow
    allowIrreversible: true
    capabilities: [pay.payouts.create]
    amounts: [{currency: USD, lte: "100.00"}]
    when: "action.amount.minor > 100"
  - {name: reads, decision: Allow, capabilities: [pay.read]}
"#;

fn problems(text: &str) -> Vec<String> {
    let (resources, mut problems) = parse_documents("m.yaml", text);
    if problems.is_empty() {
        let options = Options {
            tenant: "local/default/id".to_owned(),
            environment: None,
        };
        match compile(&resources, &options) {
            Ok(spec) => problems.extend(cross_check(&resources, &spec)),
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems.iter().map(ToString::to_string).collect()
}

struct Case {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    want: &'static str,
}

fn case(name: &'static str, from: &'static str, to: &'static str, want: &'static str) -> Case {
    Case {
        name,
        from,
        to,
        want,
    }
}

#[test]
fn the_manifests_the_cases_start_from_are_good() {
    assert_eq!(problems(GOOD), Vec::<String>::new());
}

#[test]
fn each_mistake_is_one_precise_line() {
    let cases = [
        case(
            "another version",
            "actpass.org/v1alpha1\nkind: Upstream",
            "actpass.org/v2\nkind: Upstream",
            "m.yaml:1:1: apiVersion: expected `actpass.org/v1alpha1`, found `actpass.org/v2`",
        ),
        case(
            "another kind",
            "kind: Passport",
            "kind: Pasport",
            "m.yaml:20:1: kind: expected one of `Passport`, `Upstream`, `ActionPolicy`, found `Pasport`",
        ),
        case(
            "a bad name",
            "metadata: {name: pay}",
            "metadata: {name: Pay_1}",
            "metadata.name: `Pay_1` is not a DNS label",
        ),
        case(
            "an unknown field",
            "  owner: owner@example.com",
            "  ownr: owner@example.com",
            "spec.ownr: unknown field `ownr`, expected one of",
        ),
        case(
            "a missing field",
            "  purpose: Pay vendors\n",
            "",
            "missing field `purpose`",
        ),
        case(
            "a field twice",
            "  agentId: agent",
            "  agentId: agent\n  agentId: other",
            "m.yaml:24:3: field `agentId` is given twice",
        ),
        case(
            "an unquoted fraction",
            "max: \"500.00\"",
            "max: 500.00",
            "`500.00` would be read as a fraction; put it in quotes: \"500.00\"",
        ),
        case(
            "an amount with three decimals",
            "max: \"500.00\"",
            "max: \"500.001\"",
            "spec.limits[0].max: expected decimal text such as \"500.00\"",
        ),
        case(
            "an unknown currency",
            "unit: USD, max",
            "unit: USX, max",
            "spec.limits[0].unit:",
        ),
        case(
            "no window",
            ", windowSeconds: 3600}",
            "}",
            "spec.limits[0]: needs exactly one of `windowSeconds` and `calendar`",
        ),
        case(
            "two windows",
            "windowSeconds: 3600",
            "windowSeconds: 3600, calendar: Day",
            "spec.limits[0]: needs exactly one of `windowSeconds` and `calendar`",
        ),
        case(
            "a window of a second",
            "windowSeconds: 3600",
            "windowSeconds: 1",
            "spec.limits[0].windowSeconds: must be between 60 and 2678400",
        ),
        case(
            "a limit nothing feeds",
            "meter: payouts, unit",
            "meter: payout, unit",
            "spec.limits[0].meter: no action in scope feeds meter `payout` in USD",
        ),
        case(
            "an unknown capability",
            "capability: pay.payouts.create",
            "capability: pay.payouts.creat",
            "spec.scope[0].capability: no Upstream declares this capability; did you mean `pay.payouts.create`?",
        ),
        case(
            "a bad host",
            "[api.pay.example]",
            "[\"https://api.pay.example\"]",
            "spec.hosts[0]:",
        ),
        case(
            "a wildcard in the middle",
            "[api.pay.example]",
            "[\"api.*.example\"]",
            "spec.hosts[0]:",
        ),
        case(
            "a method in lower case",
            "method: POST",
            "method: post",
            "spec.actions[0].match.http.method: expected a method in upper case",
        ),
        case(
            "a path without slash",
            "path: /v1/payouts",
            "path: v1/payouts",
            "spec.actions[0].match.http.path:",
        ),
        case(
            "a source of nowhere",
            "from: body.vendor",
            "from: bodi.vendor",
            "spec.actions[0].resource.from: `bodi.vendor` is not `body.FIELD`",
        ),
        case(
            "a format without secret",
            "Bearer {secret}",
            "Bearer",
            "spec.credentials[0].format: needs exactly one `{secret}`",
        ),
        case(
            "two currencies",
            "{const: USD}",
            "{const: USD, from: body.currency}",
            "spec.actions[0].amount.currency: needs exactly one of `const` and `from`",
        ),
        case(
            "a tie",
            "{method: GET, path: \"/v1/**\"}",
            "{method: POST, path: /v1/payouts}",
            "spec.actions[1].match: matches the same requests as `pay.payouts.create`",
        ),
        case(
            "a target that is not there",
            "name: agent}]\n  rules",
            "name: agnt}]\n  rules",
            "spec.targetRefs[0]: there is no Passport `agnt`",
        ),
        case(
            "an unknown decision",
            "decision: Allow\n",
            "decision: Permit\n",
            "spec.rules[0].decision: unknown variant `Permit`, expected one of `Deny`, `RequireApproval`, `Allow`",
        ),
        case(
            "a bound without bounds",
            "{currency: USD, lte: \"100.00\"}",
            "{currency: USD}",
            "spec.rules[0].amounts[0]: needs at least one of `gt`, `gte`, `lt`, `lte`",
        ),
        case(
            "a rule that never matches",
            "lte: \"100.00\"",
            "lte: \"100.00\", gt: \"200.00\"",
            "warning: spec.rules[0].amounts[0]: can never match",
        ),
        case(
            "an unknown name in a condition",
            "action.amount.minor > 100",
            "action.amonut > 100",
            "spec.rules[0].when:",
        ),
        case(
            "a condition of another type",
            "action.amount.minor > 100",
            "action.amount.minor > '100'",
            "spec.rules[0].when:",
        ),
        case(
            "an approval that asks nobody",
            "decision: Allow\n    allowIrreversible: true",
            "decision: RequireApproval",
            "spec.rules[0].approval: asks nobody",
        ),
        case(
            "a second rule of one name",
            "name: reads, decision",
            "name: small, decision",
            "spec.rules[1].name: a second rule of the name `small`",
        ),
        case(
            "an anchor",
            "  agentId: agent",
            "  agentId: &a agent",
            "anchors and tags are not read",
        ),
        case(
            "a tab",
            "  agentId: agent",
            "\tagentId: agent",
            "m.yaml:23:2: not YAML: tabs disallowed",
        ),
    ];
    let mut wrong = Vec::new();
    for Case {
        name,
        from,
        to,
        want,
    } in cases
    {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{name}: the edit does nothing");
        let found = problems(&text);
        let named = found.iter().any(|line| line.contains(want));
        if !named || !found.iter().all(|line| line.starts_with("m.yaml:")) {
            wrong.push(format!("{name}: wanted `{want}` in {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_of_meaning_are_reported_together() {
    let text = GOOD.replacen("max: \"500.00\"", "max: \"-5\"", 1).replacen(
        "method: POST",
        "method: post",
        1,
    );
    assert_eq!(problems(&text).len(), 2, "{:#?}", problems(&text));
}

#[test]
fn odd_text_never_panics() {
    for text in [
        "",
        "---",
        "- a",
        "{",
        "a: b: c",
        "\u{0}",
        "!!binary x",
        "? a\n: b",
        "a: &x 1\nb: *x",
        "[[[[[[[[",
    ] {
        drop(problems(text));
    }
    drop(problems(&"[".repeat(10_000)));
}
