//! Whom policies are for: by name and by label, in a namespace and over the cluster, and what that decides.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;

use actpass_core::action::{Action, Hints};
use actpass_core::bundle::Bundle;
use actpass_core::decide::{Decision, Facts, decide};
use actpass_core::hash::sha256;
use actpass_core::policy::PolicyScope;
use actpass_core::upstream::Effect;
use actpass_crds::bundle::Options;
use actpass_crds::check::check;
use actpass_crds::read::Manifests;

/// One Upstream, three Passports, and what every one of them is allowed.
const WORLD: &str = r#"
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [api.pay.example]
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk, labels: {team: treasury, tier: gold}}
spec: {agentId: clerk, owner: o, purpose: p, scope: [{capability: pay.read}]}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: seller, labels: {team: sales}}
spec: {agentId: seller, owner: o, purpose: p, scope: [{capability: pay.read}]}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: temp}
spec: {agentId: temp, owner: o, purpose: p, scope: [{capability: pay.read}]}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: everyone}
spec:
  passportSelector: {}
  rules: [{name: reads, decision: Allow, capabilities: [pay.read]}]
---
"#;

/// The world, and a policy `x` of a kind with this spec.
fn bundle(kind: &str, spec: &str) -> Bundle {
    let text = format!(
        "{WORLD}apiVersion: actpass.org/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"
    );
    let mut manifests = Manifests::default();
    manifests.add("m.yaml", &text);
    let options = Options {
        tenant: "local/default/id".to_owned(),
        environment: None,
    };
    Bundle::new(check(&manifests, &options).unwrap().spec).unwrap()
}

/// What a Passport gets for a read, once the ledger's facts are known.
fn decided(bundle: &Bundle, passport: &str) -> Decision {
    let action = Action {
        tenant: "local/default/id".to_owned(),
        passport: passport.to_owned(),
        agent: passport.to_owned(),
        upstream: "pay".to_owned(),
        capability: "pay.read".parse().unwrap(),
        effect: Effect::Read,
        method: "GET".to_owned(),
        host: "api.pay.example".parse().unwrap(),
        port: 443,
        path: "/v1".to_owned(),
        path_template: "/**".to_owned(),
        query: Vec::new(),
        headers: BTreeMap::new(),
        amount: None,
        resource: None,
        meters: Vec::new(),
        environment: None,
        attributes: BTreeMap::new(),
        body: sha256(&[]),
        body_bytes: 0,
        idempotency_key: None,
        fault: None,
        hints: Hints::default(),
    };
    let passport = bundle.passport(passport).unwrap();
    let now = "2026-11-20T10:00:00Z".parse().unwrap();
    decide(bundle, passport, &action, Some(&Facts::default()), now)
}

const ALL: [&str; 3] = ["clerk", "seller", "temp"];

#[test]
fn a_policy_is_for_whom_it_names_and_whom_it_selects() {
    struct Case {
        name: &'static str,
        /// Beside the rules.
        given: &'static str,
        want: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "no selector selects none",
            given: "targetRefs: []",
            want: &[],
        },
        Case {
            name: "an empty selector selects all",
            given: "passportSelector: {}",
            want: &ALL,
        },
        Case {
            name: "by name",
            given: "targetRefs: [{kind: Passport, name: temp}]",
            want: &["temp"],
        },
        Case {
            name: "by label",
            given: "passportSelector: {matchLabels: {team: sales}}",
            want: &["seller"],
        },
        Case {
            name: "by two labels, both of which must be there",
            given: "passportSelector: {matchLabels: {team: sales, tier: gold}}",
            want: &[],
        },
        Case {
            name: "by name and by label, each once",
            given: "targetRefs: [{kind: Passport, name: temp}, {kind: Passport, name: seller}], passportSelector: {matchLabels: {team: sales}}",
            want: &["seller", "temp"],
        },
        Case {
            name: "In",
            given: "passportSelector: {matchExpressions: [{key: team, operator: In, values: [sales, treasury]}]}",
            want: &["clerk", "seller"],
        },
        Case {
            name: "NotIn, which an absent label is",
            given: "passportSelector: {matchExpressions: [{key: team, operator: NotIn, values: [sales]}]}",
            want: &["clerk", "temp"],
        },
        Case {
            name: "Exists",
            given: "passportSelector: {matchExpressions: [{key: tier, operator: Exists}]}",
            want: &["clerk"],
        },
        Case {
            name: "DoesNotExist",
            given: "passportSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}",
            want: &["seller", "temp"],
        },
        Case {
            name: "labels and expressions must all hold",
            given: "passportSelector: {matchLabels: {team: treasury}, matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}",
            want: &[],
        },
    ];
    let rules = "rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]";
    for Case { name, given, want } in cases {
        let bundle = bundle("ActionPolicy", &format!("{{{given}, {rules}}}"));
        let denied = ALL.map(|it| (it, decided(&bundle, it).verdict().word() == "deny"));
        assert_eq!(denied, ALL.map(|it| (it, want.contains(&it))), "{name}");
    }
}

#[test]
fn a_guard_is_for_all_unless_it_selects_and_no_allow_relaxes_it() {
    struct Case {
        name: &'static str,
        given: &'static str,
        /// For clerk, seller and temp.
        want: [&'static str; 3],
    }
    let cases = [
        Case {
            name: "a Deny without a selector",
            given: "{rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]}",
            want: ["deny", "deny", "deny"],
        },
        Case {
            name: "a Deny with an empty selector",
            given: "{passportSelector: {}, rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]}",
            want: ["deny", "deny", "deny"],
        },
        Case {
            name: "a Deny for one team",
            given: "{passportSelector: {matchLabels: {team: treasury}}, rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]}",
            want: ["deny", "permit", "permit"],
        },
        Case {
            name: "a RequireApproval",
            given: "{rules: [{name: ask, decision: RequireApproval, capabilities: [\"**\"], approval: {groups: [leads]}}]}",
            want: ["escalate", "escalate", "escalate"],
        },
        Case {
            name: "a guard that only watches",
            given: "{mode: Shadow, rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]}",
            want: ["permit", "permit", "permit"],
        },
    ];
    for Case { name, given, want } in cases {
        let bundle = bundle("ClusterActionPolicy", given);
        let scopes = bundle.spec().policies.iter().filter(|it| it.name == "x");
        assert!(
            scopes.map(|it| it.scope).eq([PolicyScope::Cluster]),
            "{name}"
        );
        let words = ALL.map(|it| decided(&bundle, it).verdict().word());
        assert_eq!(words, want, "{name}");
    }
}

#[test]
fn what_only_watches_says_what_it_would_have_decided() {
    let rules = "rules: [{name: refuse, decision: Deny, capabilities: [pay.read]}]";
    let bundle = bundle("ClusterActionPolicy", &format!("{{mode: Shadow, {rules}}}"));
    let decision = decided(&bundle, "clerk");
    let would: Vec<&str> = decision
        .shadow()
        .iter()
        .map(|it| it.would.as_str())
        .collect();
    assert_eq!(would, ["deny"]);
}
