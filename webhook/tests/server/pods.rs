//! `/mutate-pods` and `/validate-pods`.

use std::collections::BTreeSet;

use actpass_webhook::UidSecret;
use actpass_webhook::checks::Surroundings;
use actpass_webhook::inject::Context;
use actpass_webhook::server::pods::{
    self, Facts, Needed, mutate, needed, used_claims, written_claims,
};
use actpass_webhook::server::review::{Answer, Verdict};
use actpass_webhook::settings::{Images, Pins, Settings};
use serde_json::{Value, json};

use super::{asked, passes, refusal, request, with};

fn settings() -> Settings {
    let image = |digit: &str| format!("r/a@sha256:{}", digit.repeat(64)).parse().unwrap();
    let images = Images {
        init: image("1"),
        proxy: image("2"),
        verify: image("3"),
    };
    let pins = Pins {
        ca: BTreeSet::from([[1; 32]]),
        issuer_keys: BTreeSet::from([[2; 32]]),
        ledger_keys: BTreeSet::from([[3; 32]]),
    };
    Settings::new(images, "c:8443".to_owned(), "l:8443".to_owned(), pins)
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"later": {"field": [1, null]}, "containers": [{"name": "a", "image": "a:1", "securityContext": {"runAsUser": 1000}}]}})
}

fn answered(
    review: Value,
    facts: &Facts,
    how: fn(&super::Request, &Context<'_>, &Facts) -> Answer,
) -> Answer {
    let (settings, secret) = (settings(), UidSecret::new([7; 32]));
    let request = request(review);
    let context = Context {
        namespace: &request.namespace,
        settings: &settings,
        secret: &secret,
        request: &request.uid,
    };
    how(&request, &context, facts)
}

fn validate(request: &super::Request, context: &Context<'_>, facts: &Facts) -> Answer {
    pods::validate(request, Some(context), facts)
}

fn mutated(review: Value) -> Answer {
    answered(review, &Facts::default(), |request, context, _| {
        mutate(request, context)
    })
}

fn patched(pod: &Value, answer: &Answer) -> Value {
    let Verdict::Patched(patch) = &answer.verdict else {
        panic!("{answer:?}")
    };
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn a_new_pod_is_injected_once_and_then_taken() {
    let answer = mutated(asked("CREATE", "/v1/pods", pod()));
    let injected = patched(&pod(), &answer);
    assert_eq!(injected["spec"]["later"], pod()["spec"]["later"]);
    let again = asked("CREATE", "/v1/pods", injected);
    assert_eq!(mutated(again.clone()).verdict, Verdict::Allowed);
    passes(&answered(again.clone(), &Facts::default(), validate));
    let bare = refusal(&answered(
        asked("CREATE", "/v1/pods", pod()),
        &Facts::default(),
        validate,
    ));
    assert!(bare.contains("(injection)"), "{bare}");
}

#[test]
fn what_will_refuse_a_pod_is_told_when_it_is_injected() {
    let mut given = pod();
    given["spec"]["hostNetwork"] = json!(true);
    given["spec"]["containers"][0]["securityContext"] = json!({});
    let told = mutated(asked("CREATE", "/v1/pods", given))
        .warnings
        .join("\n");
    for want in [
        "spec.hostNetwork: an agent there is outside of its fence",
        "spec.containers[0].securityContext.runAsUser",
    ] {
        assert!(told.contains(want), "{want}: {told}");
    }
    assert_eq!(
        mutated(asked("CREATE", "/v1/pods", pod())).warnings,
        [""; 0]
    );
}

#[test]
fn a_namespace_that_is_not_ready_holds_its_pods_back_and_says_why() {
    let injected = patched(&pod(), &mutated(asked("CREATE", "/v1/pods", pod())));
    let facts = Facts {
        lacking: vec![
            "NetworkPolicy `actpass-agents`",
            "ConfigMap `actpass-trust`",
        ],
        ..Facts::default()
    };
    let answer = answered(asked("CREATE", "/v1/pods", injected), &facts, validate);
    assert_eq!(answer.to_review("7a")["response"]["status"]["code"], 503);
    let said = refusal(&answer);
    assert!(
        said.contains(
            "`shop` has no NetworkPolicy `actpass-agents` and no ConfigMap `actpass-trust` yet"
        ),
        "{said}"
    );
}

#[test]
fn what_is_around_a_pod_counts() {
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "r", "persistentVolumeClaim": {"claimName": "s", "readOnly": true}}]);
    let mut given = pod();
    given["spec"]["volumes"] = volumes;
    assert_eq!(
        (written_claims(&given), used_claims(&given)),
        (vec!["c"], vec!["c", "s"])
    );
    let injected = patched(&given, &mutated(asked("CREATE", "/v1/pods", given.clone())));
    let surroundings = Surroundings {
        claims_elsewhere: BTreeSet::from(["c".to_owned()]),
        account_rights: vec!["create pods".to_owned()],
    };
    let facts = Facts {
        surroundings,
        ..Facts::default()
    };
    let answer = answered(asked("CREATE", "/v1/pods", injected), &facts, validate);
    assert!(refusal(&answer).contains("a pod without ActPass reads what is written to `c`"));
    assert!(
        answer
            .warnings
            .iter()
            .any(|text| text.contains("the account may `create pods`"))
    );
}

#[test]
fn what_is_done_to_a_pod_that_runs_is_answered_by_operation_and_subresource() {
    let injected = patched(&pod(), &mutated(asked("CREATE", "/v1/pods", pod())));
    struct Case {
        name: &'static str,
        operation: &'static str,
        sub: &'static str,
        old: Value,
        new: Value,
        break_glass: bool,
        needs: Needed,
        refused: Option<&'static str>,
    }
    let swapped = {
        let mut pod = injected.clone();
        pod["spec"]["initContainers"][1]["image"] = json!("mine");
        pod
    };
    let debugged = {
        let mut pod = injected.clone();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "d", "securityContext":
            {"runAsUser": 1000, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]);
        pod
    };
    let case = |name, operation, sub, old: &Value, new: &Value, break_glass, needs, refused| Case {
        name,
        operation,
        sub,
        old: old.clone(),
        new: new.clone(),
        break_glass,
        needs,
        refused,
    };
    let (into, null) = (json!({"container": "actpass-proxy"}), Value::Null);
    let agent = json!({"container": "a", "command": ["sh"]});
    for Case {
        name,
        operation,
        sub,
        old,
        new,
        break_glass,
        needs,
        refused,
    } in [
        case(
            "the same",
            "UPDATE",
            "",
            &injected,
            &injected,
            false,
            Needed::Nothing,
            None,
        ),
        case(
            "another sidecar",
            "UPDATE",
            "",
            &injected,
            &swapped,
            true,
            Needed::Nothing,
            Some("injection_changed"),
        ),
        case(
            "the same by resize",
            "UPDATE",
            "resize",
            &injected,
            &swapped,
            true,
            Needed::Nothing,
            Some("injection_changed"),
        ),
        case(
            "a debug container",
            "UPDATE",
            "ephemeralcontainers",
            &injected,
            &debugged,
            false,
            Needed::BreakGlass,
            Some("ephemeral_container"),
        ),
        case(
            "a debug container, break-glass",
            "UPDATE",
            "ephemeralcontainers",
            &injected,
            &debugged,
            true,
            Needed::BreakGlass,
            None,
        ),
        case(
            "exec into the agent",
            "CONNECT",
            "exec",
            &null,
            &agent,
            false,
            Needed::Nothing,
            None,
        ),
        case(
            "exec into the sidecar",
            "CONNECT",
            "exec",
            &null,
            &into,
            true,
            Needed::Nothing,
            Some("connect"),
        ),
        case(
            "attach to the sidecar",
            "CONNECT",
            "attach",
            &null,
            &into,
            true,
            Needed::Nothing,
            Some("connect"),
        ),
        case(
            "a tunnel",
            "CONNECT",
            "portforward",
            &null,
            &agent,
            false,
            Needed::BreakGlass,
            Some("port_forward"),
        ),
        case(
            "a tunnel, break-glass",
            "CONNECT",
            "portforward",
            &null,
            &agent,
            true,
            Needed::BreakGlass,
            None,
        ),
        case(
            "what is not asked here",
            "UPDATE",
            "status",
            &injected,
            &injected,
            true,
            Needed::Nothing,
            Some("unexpected"),
        ),
        case(
            "nor this",
            "DELETE",
            "",
            &injected,
            &null,
            true,
            Needed::Nothing,
            Some("unexpected"),
        ),
    ] {
        let review = with(
            with(asked(operation, "/v1/pods", new), "/oldObject", old),
            "/subResource",
            json!(sub),
        );
        assert_eq!(needed(&request(review.clone())), needs, "{name}");
        let answer = answered(
            review,
            &Facts {
                break_glass,
                ..Facts::default()
            },
            validate,
        );
        match refused {
            None => passes(&answer),
            Some(reason) => assert!(
                refusal(&answer).contains(&format!("({reason})")),
                "{name}: {answer:?}"
            ),
        }
    }
}

#[test]
fn only_pods_are_answered_where_pods_are_asked() {
    for review in [
        asked("CREATE", "apps/v1/deployments", pod()),
        asked("CREATE", "/v2/pods", pod()),
        asked("UPDATE", "/v1/pods", pod()),
    ] {
        assert!(refusal(&mutated(review)).contains("(unexpected)"));
    }
    let answer = mutated(asked(
        "CREATE",
        "/v1/pods",
        json!({"spec": {"containers": [{"name": 7}]}}),
    ));
    assert_eq!(answer.to_review("7a")["response"]["status"]["code"], 400);
}

#[test]
fn what_runs_goes_on_while_nothing_new_can_be_injected() {
    let injected = patched(&pod(), &mutated(asked("CREATE", "/v1/pods", pod())));
    let unready = |operation: &str, sub: &str, object: &Value| {
        let review = asked(operation, "/v1/pods", object.clone());
        let review = with(
            with(review, "/oldObject", injected.clone()),
            "/subResource",
            json!(sub),
        );
        pods::validate(&request(review), None, &Facts::default())
    };
    for (operation, sub) in [("CREATE", ""), ("UPDATE", "ephemeralcontainers")] {
        assert!(refusal(&unready(operation, sub, &injected)).contains("(not_ready)"));
    }
    for (operation, sub) in [("UPDATE", ""), ("UPDATE", "resize"), ("CONNECT", "exec")] {
        passes(&unready(operation, sub, &injected));
    }
}
