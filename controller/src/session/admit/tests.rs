use actpass_webhook::UidSecret;
use actpass_webhook::inject::{Context, inject};
use actpass_webhook::settings::{Images, Pins};
use serde_json::json;

use super::*;
use crate::object::tests::object;

fn images(digit: &str) -> Images {
    let image = || {
        format!("actpass@sha256:{}", digit.repeat(64))
            .parse()
            .unwrap()
    };
    Images {
        init: image(),
        proxy: image(),
        verify: image(),
    }
}

fn settings() -> Settings {
    let at = |name: &str| format!("{name}.actpass-system.svc:8443");
    Settings::new(images("1"), at("controller"), at("ledger"), Pins::default())
}

/// An injected pod that runs.
fn running(settings: &Settings) -> Value {
    let pod = json!({
        "metadata": {"name": "clerk-1", "namespace": "shop", "uid": "u-1"},
        "spec": {"serviceAccountName": "clerk", "containers": [{"name": "a", "image": "a", "securityContext": {"runAsUser": 1000}}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]},
    });
    let secret = UidSecret::new([7; 32]);
    let context = Context {
        namespace: "shop",
        settings,
        secret: &secret,
        request: "",
    };
    inject(&pod, &context).unwrap().pod
}

fn token() -> BoundPod {
    BoundPod {
        namespace: "shop".to_owned(),
        service_account: "clerk".to_owned(),
        name: "clerk-1".to_owned(),
        uid: "u-1".to_owned(),
    }
}

fn asked(pod_now: Option<&Value>, address: &str, token: &BoundPod) -> Result<(), Refusal> {
    let settings = Settings {
        earlier_images: vec![images("2")],
        ..settings()
    };
    let caller = Caller {
        token,
        address: address.parse().unwrap(),
    };
    let looked = Looked {
        pod: pod_now,
        settings: &settings,
    };
    pod(caller, looked).and_then(|()| injected(token, looked))
}

#[test]
fn only_a_live_injected_pod_from_its_own_address_is_known() {
    struct Case {
        name: &'static str,
        change: fn(&mut Value, &mut BoundPod),
        address: &'static str,
        want: Option<Code>,
    }
    let cases = [
        Case {
            name: "its pod",
            change: |_, _| {},
            address: "10.0.0.7",
            want: None,
        },
        Case {
            name: "by its other address",
            change: |_, _| {},
            address: "fd00::7",
            want: None,
        },
        Case {
            name: "as a listener for both families sees it",
            change: |_, _| {},
            address: "::ffff:10.0.0.7",
            want: None,
        },
        Case {
            name: "a namesake made later",
            change: |pod, _| pod["metadata"]["uid"] = json!("u-2"),
            address: "10.0.0.7",
            want: Some(Code::UnknownPod),
        },
        Case {
            name: "a pod that has ended, whose address another may have",
            change: |pod, _| pod["status"]["phase"] = json!("Failed"),
            address: "10.0.0.7",
            want: Some(Code::UnknownPod),
        },
        Case {
            name: "another account than the token's",
            change: |_, token| token.service_account = "default".to_owned(),
            address: "10.0.0.7",
            want: Some(Code::UnknownPod),
        },
        Case {
            name: "from elsewhere",
            change: |_, _| {},
            address: "10.0.0.8",
            want: Some(Code::WrongAddress),
        },
        Case {
            name: "without an address yet",
            change: |pod, _| pod["status"] = json!({"phase": "Pending"}),
            address: "10.0.0.7",
            want: Some(Code::WrongAddress),
        },
        Case {
            name: "on the node's network",
            change: |pod, _| pod["spec"]["hostNetwork"] = json!(true),
            address: "10.0.0.7",
            want: Some(Code::NotInjected),
        },
        Case {
            name: "without a sidecar",
            change: |pod, _| pod["spec"]["initContainers"] = json!([]),
            address: "10.0.0.7",
            want: Some(Code::NotInjected),
        },
    ];
    for Case {
        name,
        change,
        address,
        want,
    } in cases
    {
        let (mut pod, mut token) = (running(&settings()), token());
        change(&mut pod, &mut token);
        let found = asked(Some(&pod), address, &token).err();
        assert_eq!(found.as_ref().map(|it| it.code), want, "{name}: {found:?}");
    }
    let gone = asked(None, "10.0.0.7", &token()).unwrap_err();
    assert_eq!(gone.code, Code::UnknownPod);
}

#[test]
fn images_of_an_earlier_release_count_and_others_do_not() {
    for (digit, want) in [("2", true), ("3", false)] {
        let other = Settings {
            images: images(digit),
            ..settings()
        };
        let found = asked(Some(&running(&other)), "10.0.0.7", &token());
        assert_eq!(found.is_ok(), want, "{found:?}");
    }
}

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Refund customers
  scope: [{capability: shop.read}]
"#;

fn namespace(mode: &str) -> Namespace {
    Namespace {
        name: "shop".to_owned(),
        uid: "n-1".to_owned(),
        labels: [(MODE_LABEL.to_owned(), mode.to_owned())].into(),
        ends: false,
    }
}

#[test]
fn exactly_one_passport_in_force_counts() {
    let now: Timestamp = "2026-05-04T10:00:00Z".parse().unwrap();
    let twin = PASSPORT.replace("name: clerk}", "name: twin}");
    let with = |line: &str| format!("{PASSPORT}  {line}\n");
    let cases = [
        ("one", vec![object("shop", PASSPORT)], None),
        (
            "none",
            vec![],
            Some((
                Code::NoPassport,
                "no Passport is for ServiceAccount `clerk`",
            )),
        ),
        (
            "one in another namespace",
            vec![object("other", PASSPORT)],
            Some((Code::NoPassport, "`subject.serviceAccountName`")),
        ),
        (
            "one for another account",
            vec![object(
                "shop",
                &PASSPORT.replace("{serviceAccountName: clerk}", "{serviceAccountName: other}"),
            )],
            Some((Code::NoPassport, "no Passport")),
        ),
        (
            "two",
            vec![object("shop", &twin), object("shop", PASSPORT)],
            Some((Code::Conflicted, "Passports `clerk`, `twin` are all for")),
        ),
        (
            "a suspended one",
            vec![object("shop", &with("suspended: true"))],
            Some((Code::Suspended, "ask its owner owner@example.com")),
        ),
        (
            "one that ends now",
            vec![object("shop", &with("notAfter: 2026-05-04T10:00:00Z"))],
            Some((Code::Expired, "`notAfter` of Passport `clerk` has passed")),
        ),
        (
            "one that ends later",
            vec![object("shop", &with("notAfter: 2026-05-04T10:00:01Z"))],
            None,
        ),
    ];
    for (name, objects, want) in cases {
        let found = passport(Some(&namespace("enforce")), "clerk", &objects, now);
        match (found, want) {
            (Ok((object, _)), None) => assert_eq!(object.id.name, "clerk", "{name}"),
            (Err(refusal), Some((code, part))) => {
                assert_eq!(refusal.code, code, "{name}");
                assert!(refusal.detail.contains(part), "{name}: {}", refusal.detail);
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
    let objects = [object("shop", PASSPORT)];
    for namespace in [None, Some(namespace("off"))] {
        let refused = passport(namespace.as_ref(), "clerk", &objects, now).unwrap_err();
        assert_eq!(refused.code, Code::NoPassport);
        assert!(refused.detail.contains(MODE_LABEL), "{}", refused.detail);
    }
}

#[test]
fn codes_are_told_apart() {
    let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}
