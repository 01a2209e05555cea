use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::action::{Attribute, Fault, FaultKind, Hints, MeterUse};
use crate::bundle::{BUNDLE_VERSION, BundleSpec};
use crate::capability::Capability;
use crate::money::{Currency, Money};
use crate::policy::RuleDecision;
use crate::upstream::{AttributeValue, Effect};

mod limits;
mod order;
mod rules;

const NOW: &str = "2026-11-20T10:00:00Z"; // a Friday

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn seat(group: &str) -> Value {
    json!({"groups": [group], "quorum": 1, "expires_after_seconds": 1800, "hold_seconds": 0})
}

/// A rule over everything, with what `more` says instead.
fn rule(name: &str, decision: RuleDecision, more: Value) -> Value {
    let mut rule = json!({
        "name": name, "decision": decision, "capabilities": ["pay.**"], "amounts": [], "schedule": null,
        "environments": [], "resources": [], "when": null, "obligations": {"max_response_bytes": null},
        "approval": null, "allow_irreversible": false,
    });
    merge(&mut rule, more);
    rule
}

fn merge(into: &mut Value, more: Value) {
    if let Value::Object(more) = more {
        into.as_object_mut().unwrap().extend(more);
    }
}

fn allow(more: Value) -> Value {
    rule("allow", RuleDecision::Allow, more)
}

fn allow_all() -> Value {
    allow(json!({"allow_irreversible": true}))
}

fn deny(more: Value) -> Value {
    rule("deny", RuleDecision::Deny, more)
}

fn ask(more: Value) -> Value {
    rule("ask", RuleDecision::RequireApproval, more)
}

fn policy(name: &str, more: Value, rules: Vec<Value>) -> Value {
    let mut policy = json!({"name": name, "scope": "Namespace", "mode": "Enforce", "passports": ["agent"], "rules": rules});
    merge(&mut policy, more);
    policy
}

fn limit(meter: &str, unit: &str, max: i64, on_exceed: &str) -> Value {
    json!({"meter": meter, "unit": unit, "max": max, "window": {"Sliding": {"seconds": 86400}}, "on_exceed": on_exceed})
}

/// Everything a decision is made from: one passport, one upstream, some policies.
struct World {
    passport: Value,
    policies: Vec<Value>,
    action: Action,
    facts: Option<Facts>,
    now: Timestamp,
}

impl World {
    /// `rules` of one policy over a refund of 120.00 USD, with facts in which nothing is used.
    fn new(rules: Vec<Value>) -> Self {
        let passport = json!({
            "name": "agent", "agent_id": "refunds", "owner": "o", "purpose": "p",
            "scope": [{"capability": "pay.**", "resources": null}], "limits": [],
            "default_approval": seat("leads"), "ttl_seconds": 900, "reads_without_ledger_seconds": 30,
            "suspended": false, "not_after": null,
        });
        let policies = vec![policy("main", json!({}), rules)];
        Self {
            passport,
            policies,
            action: refund(12_000),
            facts: Some(Facts::default()),
            now: now(),
        }
    }

    fn on(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    fn passport(mut self, more: Value) -> Self {
        merge(&mut self.passport, more);
        self
    }

    fn policy(mut self, policy: Value) -> Self {
        self.policies.push(policy);
        self
    }

    fn facts(mut self, facts: Option<Facts>) -> Self {
        self.facts = facts;
        self
    }

    fn used(self, used: &[i64]) -> Self {
        let used = used
            .iter()
            .map(|used| LimitUse {
                used: *used,
                frees_at: None,
            })
            .collect();
        self.facts(Some(Facts {
            used,
            ..Facts::default()
        }))
    }

    fn at(mut self, now: &str) -> Self {
        self.now = now.parse().unwrap();
        self
    }

    fn bundle(&self) -> Bundle {
        let spec: BundleSpec = serde_json::from_value(json!({
            "v": BUNDLE_VERSION, "tenant": "c/n/u", "environment": null, "passports": [self.passport],
            "upstreams": [upstream()], "policies": self.policies,
        }))
        .unwrap();
        Bundle::new(spec).unwrap()
    }

    fn decide(&self) -> Decision {
        let bundle = self.bundle();
        let passport = bundle.passport("agent").unwrap();
        decide(
            &bundle,
            passport,
            &self.action,
            self.facts.as_ref(),
            self.now,
        )
    }

    /// The verdict's word, or the code of a denial.
    fn word(&self) -> &'static str {
        match self.decide().verdict() {
            Verdict::Deny(reason) => reason.code(),
            verdict => verdict.word(),
        }
    }

    /// With what people would have said to this very question.
    fn granted(mut self) -> Self {
        let decision = self.decide();
        let Verdict::Escalate(needed) = decision.verdict() else {
            panic!("{:?}", decision.verdict())
        };
        let asked_by = asked_by(&self.bundle(), decision.rules(), &self.action.capability);
        let grant = Grant {
            id: "apr_1".to_owned(),
            seats: needed.seats.clone(),
            asked_by,
            over_limits: needed.over_limits.clone(),
        };
        self.facts.as_mut().unwrap().grants = vec![grant];
        self
    }
}

fn upstream() -> Value {
    let action = |capability: &str, method: &str, effect: Effect, more: Value| {
        let mut action = json!({
            "capability": capability, "method": method, "path": "/v1/x", "effect": effect,
            "body": {"format": "Form", "max_bytes": 1024, "mode": "Buffered"}, "params": [], "headers": [],
            "attributes": [], "amount": null, "resource": null, "meters": [], "idempotency_header": null,
            "compensation": null,
        });
        merge(&mut action, more);
        action
    };
    let reason = json!({"name": "reason", "from": "body.reason", "type": "String", "required": false,
                        "default": "none", "sensitive": false});
    let count = json!({"name": "items", "from": "body.items", "type": "Integer", "required": true, "default": null,
                       "sensitive": false});
    json!({
        "name": "pay", "hosts": ["api.pay.example"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
        "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "error_style": "Problem",
        "failed_statuses": [],
        "actions": [
            action("pay.refund", "POST", Effect::Irreversible, json!({
                "amount": {"from": "body.amount", "unit": "Minor", "currency": {"from": "body.currency"}},
                "resource": "body.charge", "attributes": [reason],
                "meters": [{"name": "refunds", "from": "Amount"}],
            })),
            action("pay.note", "POST", Effect::Write, json!({
                "attributes": [count], "meters": [{"name": "items", "from": {"Attribute": "items"}}],
            })),
            action("pay.quote", "POST", Effect::Read, json!({
                "amount": {"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}},
            })),
            action("pay.read", "GET", Effect::Read, json!({})),
            action("pay.export", "GET", Effect::Read, json!({"meters": [{"name": "rows", "from": {"Constant": 10}}]})),
        ],
    })
}

fn blank(capability: &str, method: &str, effect: Effect) -> Action {
    let writes = MeterUse {
        name: "writes".to_owned(),
        unit: Unit::Count,
        amount: 1,
    };
    let text = str::to_owned;
    Action {
        tenant: text("c/n/u"),
        passport: text("agent"),
        agent: text("refunds"),
        upstream: text("pay"),
        capability: capability.parse().unwrap(),
        effect,
        method: text(method),
        host: "api.pay.example".parse().unwrap(),
        port: 443,
        path: text("/v1/x"),
        path_template: text("/v1/x"),
        query: Vec::new(),
        headers: BTreeMap::new(),
        amount: None,
        resource: None,
        meters: if effect.changes() {
            vec![writes]
        } else {
            Vec::new()
        },
        environment: None,
        attributes: BTreeMap::new(),
        body: [0; 32],
        body_bytes: 0,
        idempotency_key: None,
        fault: None,
        hints: Hints::default(),
    }
}

fn paying(mut action: Action, money: Money) -> Action {
    action.amount = Some(money);
    action
}

/// An irreversible refund on charge `ch_1`.
fn refund_in(minor: i64, currency: Currency) -> Action {
    let mut action = paying(
        blank("pay.refund", "POST", Effect::Irreversible),
        Money::new(minor, currency),
    );
    action.resource = Some("ch_1".to_owned());
    let value = AttributeValue::String("none".to_owned());
    action.attributes.insert(
        "reason".to_owned(),
        Attribute {
            value,
            sensitive: false,
        },
    );
    action.meters.push(MeterUse {
        name: "refunds".to_owned(),
        unit: Unit::Money(currency),
        amount: minor,
    });
    action
}

fn refund(minor: i64) -> Action {
    refund_in(minor, Currency::USD)
}

/// A write that can be undone and moves no money.
fn note() -> Action {
    let mut action = blank("pay.note", "POST", Effect::Write);
    action.attributes.insert(
        "items".to_owned(),
        Attribute {
            value: AttributeValue::Integer(2),
            sensitive: false,
        },
    );
    action.meters.push(MeterUse {
        name: "items".to_owned(),
        unit: Unit::Count,
        amount: 2,
    });
    action
}

fn read() -> Action {
    blank("pay.read", "GET", Effect::Read)
}

/// A read that feeds a meter.
fn export() -> Action {
    let mut action = blank("pay.export", "GET", Effect::Read);
    action.meters.push(MeterUse {
        name: "rows".to_owned(),
        unit: Unit::Count,
        amount: 10,
    });
    action
}

fn usd(bound: &str, minor: i64) -> Value {
    json!({"currency": "USD", "gt": null, "gte": null, "lt": null, "lte": null})
        .as_object()
        .map(|empty| {
            let mut one = empty.clone();
            one.insert(
                bound.to_owned(),
                json!({"minor": minor.to_string(), "currency": "USD"}),
            );
            Value::Object(one)
        })
        .unwrap()
}
