use serde_json::{Value, json};

use super::*;
use crate::mode::Unenforced;

fn rule(name: &str, when: Option<&str>) -> Value {
    json!({
        "name": name, "decision": "Allow", "capabilities": ["pay.read"], "amounts": [], "schedule": null,
        "environments": [], "resources": [], "when": when, "obligations": {"max_response_bytes": null},
        "approval": null, "allow_irreversible": false,
    })
}

fn policy(name: &str, scope: &str, rules: &[Value]) -> Value {
    json!({"name": name, "scope": scope, "mode": "Enforce", "passports": ["agent"], "rules": rules})
}

fn passport(name: &str) -> Value {
    json!({
        "name": name, "agent_id": "a", "owner": "o", "purpose": "p", "scope": [], "limits": [],
        "default_approval": null, "ttl_seconds": 900, "reads_without_ledger_seconds": 30, "suspended": false,
        "not_after": null,
    })
}

fn upstream(name: &str, capabilities: &[&str]) -> Value {
    let action = |capability: &&str| {
        json!({
            "capability": capability, "method": "GET", "path": "/v1/x", "effect": "Read",
            "body": {"format": "None", "max_bytes": 0, "mode": "Buffered"}, "params": [], "headers": [],
            "attributes": [], "amount": null, "resource": null, "meters": [], "idempotency_header": null,
            "compensation": null,
        })
    };
    json!({
        "name": name, "hosts": [format!("{name}.example")], "ports": [443], "addresses": "Public", "protocol": "HTTP",
        "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "error_style": "Problem",
        "failed_statuses": [], "actions": capabilities.iter().map(action).collect::<Vec<_>>(),
    })
}

fn spec(change: impl FnOnce(&mut Value)) -> BundleSpec {
    let mut spec = json!({
        "v": BUNDLE_VERSION, "tenant": "c/n/u", "environment": null, "passports": [passport("agent")],
        "upstreams": [upstream("pay", &["pay.read"])],
        "policies": [policy("main", "Namespace", &[rule("reads", Some("action.method == 'GET'"))])],
    });
    change(&mut spec);
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_bundle_reads_back_as_it_was_written() {
    let bundle = Bundle::new(spec(|_| {})).unwrap();
    let back = Bundle::parse(bundle.bytes()).unwrap();
    assert_eq!(back.spec(), bundle.spec());
    assert_eq!(back.digest(), bundle.digest());
    assert!(
        back.condition(0, 0).is_some(),
        "its conditions are compiled"
    );
    let capability = "pay.read".parse().unwrap();
    assert_eq!(back.action(&capability).unwrap().0.name, "pay");
}

#[test]
fn other_bytes_than_the_canonical_ones_are_refused() {
    let bundle = Bundle::new(spec(|_| {})).unwrap();
    let mut spaced = bundle.bytes().to_vec();
    spaced.insert(1, b' ');
    assert!(matches!(
        Bundle::parse(&spaced),
        Err(BundleError::Canonical(_))
    ));
    let huge = vec![b' '; BUNDLE_BYTES_MAX + 1];
    assert!(matches!(
        Bundle::parse(&huge),
        Err(BundleError::TooLarge(_))
    ));
    let text = String::from_utf8(bundle.bytes().to_vec()).unwrap();
    let unknown = text.replacen("\"environment\"", "\"environmenu\"", 1);
    assert!(matches!(
        Bundle::parse(unknown.as_bytes()),
        Err(BundleError::Form(_))
    ));
    let newer = text.replacen(BUNDLE_VERSION, "actpass.bundle/2", 1);
    assert!(matches!(
        Bundle::parse(newer.as_bytes()),
        Err(BundleError::Version(_))
    ));
}

#[test]
fn a_wrong_condition_refuses_the_bundle_and_names_the_rule() {
    let wrong = spec(|it| it["policies"][0]["rules"][0]["when"] = json!("attributes.nope == 1"));
    let refused = Bundle::new(wrong).unwrap_err();
    assert_eq!(refused.to_string(), "rule `main/reads`: `when` is wrong");
}

#[test]
fn two_things_of_one_name_are_refused() {
    fn add(field: &'static str, more: Value) -> impl FnOnce(&mut Value) {
        move |spec| spec[field].as_array_mut().unwrap().push(more)
    }
    let refused = |change: Box<dyn FnOnce(&mut Value)>| match Bundle::new(spec(change)) {
        Err(BundleError::Twice { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let rules = [rule("a", None), rule("a", None)];
    assert_eq!(
        refused(Box::new(add("passports", passport("agent")))),
        "passports"
    );
    assert_eq!(
        refused(Box::new(add("upstreams", upstream("pay", &[])))),
        "upstreams"
    );
    assert_eq!(
        refused(Box::new(add("upstreams", upstream("two", &["pay.read"])))),
        "actions"
    );
    assert_eq!(
        refused(Box::new(add("policies", policy("main", "Namespace", &[])))),
        "policies"
    );
    assert_eq!(
        refused(Box::new(add("policies", policy("x", "Namespace", &rules)))),
        "rules of one policy"
    );
    let guard = add("policies", policy("main", "Cluster", &[]));
    assert!(
        Bundle::new(spec(guard)).is_ok(),
        "a guard of the cluster may be called as a policy is"
    );
}

#[test]
fn the_mode_is_part_of_the_bundle_and_a_mode_that_is_not_known_is_no_bundle() {
    let plain = Bundle::new(spec(|_| {})).unwrap();
    assert_eq!(plain.spec().mode, Mode::Enforce);
    assert!(Unenforced::under(&plain).is_none());
    assert!(!String::from_utf8_lossy(plain.bytes()).contains("\"mode\":\"enforce\""));
    let audit = Bundle::new(spec(|spec| spec["mode"] = "audit".into())).unwrap();
    assert!(Unenforced::under(&audit).is_some());
    assert_ne!(audit.digest(), plain.digest());
    let read = Bundle::parse(audit.bytes()).unwrap();
    assert_eq!(
        (read.digest(), read.spec().mode),
        (audit.digest(), Mode::Audit)
    );
    let text = String::from_utf8(audit.bytes().to_vec()).unwrap();
    for unknown in ["lenient", "Audit", "", "off"] {
        let other = text.replace("\"mode\":\"audit\"", &format!("\"mode\":\"{unknown}\""));
        assert_ne!(other, text);
        let error = Bundle::parse(other.as_bytes()).unwrap_err();
        assert!(
            matches!(error, BundleError::Form(_)),
            "`{unknown}`: {error}"
        );
        assert!(unknown.parse::<Mode>().is_err());
    }
}
