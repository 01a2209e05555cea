//! `/validate-resources`.

use std::collections::BTreeMap;

use actpass_webhook::server::resources::{Facts, validate};
use actpass_webhook::server::review::Answer;
use serde_json::{Value, json};

use super::{asked, passes, refusal, request, with};

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "actpass.org/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "uid": "u", "managedFields": [{"manager": "m"}]}})
}

fn passport(scope: &str) -> Value {
    object(
        "Passport",
        "shop",
        "clerk",
        json!({"agentId": "clerk", "owner": "o", "purpose": "p",
        "subject": {"serviceAccountName": "clerk"}, "scope": [{"capability": scope}]}),
    )
}

fn upstream(namespace: &str, name: &str, host: &str) -> Value {
    object(
        "Upstream",
        namespace,
        name,
        json!({"hosts": [host], "allowedNamespaces": {"from": "All"},
        "actions": [{"name": "read", "match": {"http": {"method": "GET", "path": "/**"}}, "effect": "Read"}]}),
    )
}

fn written(object: &Value, facts: &Facts) -> Answer {
    validate(
        &request(asked("CREATE", "actpass.org/v1alpha1/any", object.clone())),
        facts,
    )
}

fn shop(objects: &[Value]) -> Facts {
    Facts {
        objects: objects.to_vec(),
        catalogue: vec![upstream("sys", "mail", "mail.example.com")],
        labels: BTreeMap::new(),
    }
}

#[test]
fn a_resource_is_held_against_its_namespace_and_the_catalogue() {
    let own = upstream("shop", "stripe", "api.stripe.com");
    let facts = shop(std::slice::from_ref(&own));
    passes(&written(&passport("stripe.read"), &facts));
    passes(&written(&passport("mail.read"), &facts));
    struct Case {
        name: &'static str,
        given: Value,
        want: &'static str,
    }
    for Case { name, given, want } in [
        Case {
            name: "an unknown action",
            given: passport("stripe.raed"),
            want: "spec.scope[0].capability: no Upstream declares `stripe.raed`; did you mean `stripe.read`?",
        },
        Case {
            name: "an unknown Upstream",
            given: passport("nope.read"),
            want: "there is no Upstream `nope`",
        },
        Case {
            name: "a wrong type",
            given: passport("stripe.read").also("/spec/ttlSeconds", json!("x")),
            want: "spec.ttlSeconds",
        },
        Case {
            name: "another's host, named before it",
            given: upstream("shop", "a", "api.stripe.com"),
            want: "has `api.stripe.com` on port 443 too",
        },
        Case {
            name: "another's host, named behind it",
            given: upstream("shop", "z", "api.stripe.com"),
            want: "has `api.stripe.com` on port 443 too",
        },
        Case {
            name: "a name of the catalogue",
            given: upstream("shop", "mail", "m.example.com"),
            want: "is given twice",
        },
        Case {
            name: "a host of the catalogue",
            given: upstream("shop", "zzz", "mail.example.com"),
            want: "has `mail.example.com` on port 443 too",
        },
    ] {
        let said = refusal(&written(&given, &facts));
        assert!(said.contains(want), "{name}: {said}");
    }
}

trait Also {
    fn also(self, at: &str, value: Value) -> Value;
}

impl Also for Value {
    fn also(self, at: &str, value: Value) -> Value {
        with(json!({"request": self}), at, value)["request"].clone()
    }
}

#[test]
fn what_was_wrong_before_does_not_hold_up_a_change() {
    let broken = passport("gone.read");
    let suspended = broken.clone().also("/spec/suspended", json!(true));
    let review = asked(
        "UPDATE",
        "actpass.org/v1alpha1/passports",
        suspended.clone(),
    );
    let answer = validate(
        &request(with(review, "/oldObject", broken.clone())),
        &shop(&[broken]),
    );
    passes(&answer);
    assert!(
        answer
            .warnings
            .iter()
            .any(|text| text.contains("there is no Upstream `gone`")),
        "{answer:?}"
    );
    assert!(refusal(&written(&suspended, &shop(&[]))).contains("there is no Upstream `gone`"));
}

#[test]
fn what_a_change_breaks_in_others_is_told_and_refuses_nothing() {
    let before = upstream("shop", "stripe", "api.stripe.com");
    let after = before.clone().also("/spec/actions", json!([{"name": "get", "match": {"http": {"method": "GET", "path": "/**"}}, "effect": "Read"}]));
    let review = asked("UPDATE", "actpass.org/v1alpha1/upstreams", after);
    let facts = shop(&[before.clone(), passport("stripe.read")]);
    let answer = validate(&request(with(review, "/oldObject", before)), &facts);
    passes(&answer);
    let told = "Passport shop/clerk: spec.scope[0].capability: ";
    assert!(
        answer.warnings.iter().any(|text| text.starts_with(told)),
        "{answer:?}"
    );
}

#[test]
fn an_upstream_that_is_not_shared_is_not_there() {
    let mut facts = shop(&[]);
    facts.catalogue = vec![upstream("sys", "mail", "mail.example.com").also(
        "/spec/allowedNamespaces",
        json!({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}),
    )];
    assert!(
        refusal(&written(&passport("mail.read"), &facts)).contains("there is no Upstream `mail`")
    );
    facts.labels.insert("team".to_owned(), "a".to_owned());
    passes(&written(&passport("mail.read"), &facts));
}

#[test]
fn a_guard_of_all_namespaces_is_held_against_none_of_them() {
    let guard = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "ClusterActionPolicy", "metadata": {"name": "guard"},
        "spec": {"passportSelector": {}, "rules": [{"name": "huge", "decision": "Deny", "capabilities": ["erp.pay"]}]}});
    let review = with(
        asked(
            "CREATE",
            "actpass.org/v1alpha1/clusteractionpolicies",
            guard,
        ),
        "/namespace",
        json!(""),
    );
    passes(&validate(&request(review), &shop(&[])));
}

#[test]
fn what_is_not_written_is_not_answered() {
    for (operation, sub) in [("DELETE", ""), ("CONNECT", ""), ("UPDATE", "status")] {
        let review = with(
            asked(
                operation,
                "actpass.org/v1alpha1/passports",
                passport("mail.read"),
            ),
            "/subResource",
            json!(sub),
        );
        assert!(refusal(&validate(&request(review), &shop(&[]))).contains("(unexpected)"));
    }
    assert!(
        refusal(&validate(
            &request(asked("CREATE", "apps/v1/passports", passport("mail.read"))),
            &shop(&[])
        ))
        .contains("(unexpected)")
    );
}
