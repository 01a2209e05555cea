//! `/validate-namespaces`.

use actpass_webhook::UidSecret;
use actpass_webhook::inject::{Context, inject};
use actpass_webhook::server::namespaces::{Facts, changed, enforces, is_without, validate};
use actpass_webhook::settings::{Images, Pins, Settings};
use serde_json::{Value, json};

use super::{asked, passes, refusal, request, with};

fn labelled(labels: Value) -> Value {
    json!({"metadata": {"name": "shop", "labels": labels}})
}

fn update(old: Value, new: Value) -> Value {
    with(
        asked("UPDATE", "/v1/namespaces", labelled(new)),
        "/oldObject",
        labelled(old),
    )
}

#[test]
fn labels_of_ours_are_changed_only_by_who_may() {
    let may = Facts {
        may: true,
        ..Facts::default()
    };
    let without = Facts {
        without: vec!["a".to_owned()],
        without_count: 3,
        ..may.clone()
    };
    struct Case {
        name: &'static str,
        review: Value,
        facts: Facts,
        want: Option<&'static str>,
    }
    let case = |name, old, new, facts: &Facts, want| Case {
        name,
        review: update(old, new),
        facts: facts.clone(),
        want,
    };
    let nobody = Facts::default();
    let (audit, enforce) = (
        json!({"actpass.org/mode": "audit"}),
        json!({"actpass.org/mode": "enforce"}),
    );
    for Case {
        name,
        review,
        facts,
        want,
    } in [
        case(
            "another label",
            audit.clone(),
            json!({"actpass.org/mode": "audit", "team": "a"}),
            &nobody,
            None,
        ),
        case(
            "put under it",
            json!({}),
            audit.clone(),
            &nobody,
            Some("may not change it"),
        ),
        case(
            "taken out",
            enforce.clone(),
            json!({}),
            &nobody,
            Some("may not change it"),
        ),
        case(
            "another environment",
            audit.clone(),
            json!({"actpass.org/mode": "audit", "actpass.org/environment": "test"}),
            &nobody,
            Some("metadata.labels[actpass.org/environment]"),
        ),
        case(
            "put under it by who may",
            json!({}),
            audit.clone(),
            &may,
            None,
        ),
        case(
            "no mode",
            json!({}),
            json!({"actpass.org/mode": "Enforce"}),
            &may,
            Some("write `audit` or `enforce`"),
        ),
        case("enforced", audit.clone(), enforce.clone(), &may, None),
        case(
            "enforced too early",
            audit.clone(),
            enforce.clone(),
            &without,
            Some("3 of its pods run without ActPass (`a`)"),
        ),
        case(
            "enforced before",
            enforce.clone(),
            json!({"actpass.org/mode": "enforce", "actpass.org/environment": "x"}),
            &without,
            None,
        ),
        case(
            "audited with such pods",
            json!({}),
            audit.clone(),
            &without,
            None,
        ),
    ] {
        let answer = validate(&request(review), &facts);
        match want {
            None => passes(&answer),
            Some(want) => assert!(refusal(&answer).contains(want), "{name}: {answer:?}"),
        }
    }
    let forced = with(
        update(audit, enforce),
        "/object/metadata/annotations",
        json!({"actpass.org/force": "true"}),
    );
    assert!(!enforces(&request(forced.clone())));
    assert_eq!(changed(&request(forced)), ["actpass.org/mode"]);
    for (part, want) in [
        ("status", "(mode_right)"),
        ("finalize", "(mode_right)"),
        ("scale", "(unexpected)"),
    ] {
        let review = update(json!({}), json!({"actpass.org/mode": "audit"}));
        let review = with(review, "/subResource", json!(part));
        assert!(
            refusal(&validate(&request(review), &nobody)).contains(want),
            "{part}"
        );
    }
    let made = asked(
        "CREATE",
        "/v1/namespaces",
        labelled(json!({"actpass.org/mode": "enforce"})),
    );
    assert!(refusal(&validate(&request(made), &nobody)).contains("(mode_right)"));
    let other = asked("CREATE", "/v1/pods", labelled(json!({})));
    assert!(refusal(&validate(&request(other), &may)).contains("(unexpected)"));
}

#[test]
fn a_pod_runs_without_actpass_unless_it_is_as_the_webhook_injects_it() {
    let digest = |digit: &str| format!("r/it@sha256:{}", digit.repeat(64));
    let images = |digit: &str| Images {
        init: digest(digit).parse().unwrap(),
        proxy: digest(digit).parse().unwrap(),
        verify: digest(digit).parse().unwrap(),
    };
    let settings = |digit: &str| {
        let part = |name: &str| format!("{name}.sys.svc:8443");
        let (controller, ledger) = (part("controller"), part("ledger"));
        Settings::new(images(digit), controller, ledger, Pins::default())
    };
    let secret = UidSecret::new([7; 32]);
    let injected = |digit: &str| {
        let agent =
            json!({"name": "agent", "image": "agent", "securityContext": {"runAsUser": 1000}});
        let pod = json!({"metadata": {"generateName": "agent-"}, "spec": {"containers": [agent]}});
        let settings = settings(digit);
        let context = Context {
            namespace: "shop",
            settings: &settings,
            secret: &secret,
            request: "",
        };
        inject(&pod, &context).unwrap().pod
    };
    let named = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"initContainers": containers}})
    };
    let changed = |at: &str, value: Value| {
        let mut pod = injected("1");
        *pod.pointer_mut(at).unwrap() = value;
        pod
    };
    let now = Settings {
        earlier_images: vec![images("2")],
        ..settings("1")
    };
    for (name, mut pod, want) in [
        ("injected", injected("1"), false),
        ("injected by an earlier release", injected("2"), false),
        ("with images of somebody else", injected("3"), true),
        (
            "with containers that only have our names",
            named(&["actpass-init", "actpass-proxy", "actpass-verify"]),
            true,
        ),
        (
            "with an image of its own in place of our sidecar's",
            changed("/spec/initContainers/1/image", json!("mine")),
            true,
        ),
        (
            "without the command that loads the packet filter",
            changed("/spec/initContainers/0/args", json!([])),
            true,
        ),
        ("with nothing of ours", named(&[]), true),
    ] {
        assert_eq!(is_without(&pod, &now), want, "{name}");
        pod["status"] = json!({"phase": "Succeeded"});
        assert!(!is_without(&pod, &now), "{name}, which has ended");
    }
}
