use super::*;
use crate::bundle::{self, Place};
use crate::object::Namespace;
use crate::object::tests::object;

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

const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
"#;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: reads}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

fn now() -> Timestamp {
    "2026-05-04T10:00:00Z".parse().unwrap()
}

/// What is said of the first object, as `TYPE STATUS REASON: MESSAGE`.
fn said(objects: &[Object], held: Option<&Bundle>, change: fn(&mut Outcome)) -> Vec<String> {
    let namespace = Namespace {
        name: "shop".to_owned(),
        uid: "n-1".to_owned(),
        labels: [(MODE_LABEL.to_owned(), "enforce".to_owned())].into(),
        ends: false,
    };
    let place = Place {
        cluster: "c-1",
        install: "actpass-system",
        namespace: &namespace,
    };
    let compiled = bundle::compile(place, objects, held.map(Bundle::spec));
    let mut outcome = crate::reconcile::outcome(&compiled, true, None);
    change(&mut outcome);
    let passports: Vec<&PassportSpec> = objects
        .iter()
        .filter_map(|object| match &object.resource {
            Ok(Resource::Passport(_, spec)) => Some(spec),
            _ => None,
        })
        .collect();
    let bundle = match outcome.ledger.is_some() {
        true => held,
        false => compiled.bundle.as_ref(),
    };
    let around = Around {
        bundle,
        passports: &passports,
        running: None,
    };
    let status = of(&objects[0], &outcome, around, now()).unwrap();
    let conditions = status["conditions"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    conditions
        .iter()
        .map(|it| {
            let [kind, status, reason, message] =
                ["type", "status", "reason", "message"].map(|key| text(&it[key]));
            format!("{kind} {status} {reason}: {message}")
        })
        .collect()
}

fn others() -> Vec<Object> {
    vec![object("shop", UPSTREAM), object("shop", POLICY)]
}

fn with(first: &str) -> Vec<Object> {
    let mut all = vec![object("shop", first)];
    all.extend(others());
    all
}

#[test]
fn a_passport_is_told_whether_it_is_in_force_and_why_not() {
    let line = |line: &str| format!("{PASSPORT}  {line}\n");
    type Case = (&'static str, Vec<Object>, fn(&mut Outcome), &'static str);
    let cases: Vec<Case> = vec![
        ("in force", with(PASSPORT), |_| {}, "Ready True InForce: "),
        (
            "suspended",
            with(&line("suspended: true")),
            |_| {},
            "Ready False Suspended: ",
        ),
        (
            "ended",
            with(&line("notAfter: 2026-05-04T09:00:00Z")),
            |_| {},
            "Ready False Expired: ",
        ),
        (
            "for nobody",
            with(&PASSPORT.replace("  subject: {serviceAccountName: clerk}\n", "")),
            |_| {},
            "Ready False NoSubject: ",
        ),
        (
            "one of two",
            {
                let mut all = with(PASSPORT);
                all.push(object(
                    "shop",
                    &PASSPORT.replace("name: clerk}", "name: twin}"),
                ));
                all
            },
            |_| {},
            "Ready False Conflicted: another Passport is for ServiceAccount `clerk` too",
        ),
        (
            "wrong itself",
            with(&PASSPORT.replace("shop.read", "shop.pay")),
            |_| {},
            "Ready False Rejected: spec.scope[0].capability: ",
        ),
        (
            "where ActPass does not govern",
            with(PASSPORT),
            |outcome| outcome.enrolled = false,
            "Ready False NamespaceNotEnrolled: ",
        ),
        (
            "without the ledger",
            with(PASSPORT),
            |outcome| outcome.ledger = Some("the ledger is away".to_owned()),
            "Ready False LedgerUnavailable: the ledger is away",
        ),
    ];
    for (name, objects, change, want) in cases {
        let said = said(&objects, None, change);
        assert!(said[0].starts_with(want), "{name}: {said:?}");
    }
}

#[test]
fn a_mistake_is_told_to_its_resource_and_to_those_it_holds() {
    let good = with(PASSPORT);
    let namespace = Namespace {
        name: "shop".to_owned(),
        uid: "n-1".to_owned(),
        labels: [(MODE_LABEL.to_owned(), "enforce".to_owned())].into(),
        ends: false,
    };
    let place = Place {
        cluster: "c-1",
        install: "actpass-system",
        namespace: &namespace,
    };
    let held = bundle::compile(place, &good, None).bundle.unwrap();
    let broken = POLICY.replace("name: clerk}]", "name: nobody}]");
    let broken = object("shop", &broken);
    let all = [broken.clone(), good[0].clone(), good[1].clone()];
    let told = said(&all, Some(&held), |_| {});
    assert!(
        told[0].starts_with(
            "Accepted False Rejected: spec.targetRefs[0].name: there is no Passport `nobody`"
        ),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("ResolvedRefs False DanglingReference: "),
        "{told:?}"
    );
    assert!(
        told[2].starts_with("Programmed False BundleHeld: ActionPolicy shop/reads is rejected"),
        "{told:?}"
    );
    // As it is written it stands in the bundle that is held.
    let passport = [good[0].clone(), good[1].clone(), broken.clone()];
    assert!(said(&passport, Some(&held), |_| {})[0].starts_with("Ready True InForce"));
    let changed = PASSPORT.replace("Refund customers", "Something else");
    let changed = [object("shop", &changed), good[1].clone(), broken];
    let told = said(&changed, Some(&held), |_| {});
    assert!(
        told[0].starts_with("Ready False BundleHeld: ActionPolicy shop/reads"),
        "{told:?}"
    );
}

#[test]
fn how_many_pods_act_by_a_passport_is_told_once_it_is_known() {
    let outcome = Outcome {
        enrolled: true,
        ..Outcome::default()
    };
    let mut passport = object("shop", PASSPORT);
    let mut sessions = |running: Option<&[(&str, u32)]>| {
        let counted = |them: &[(&str, u32)]| {
            let them = them.iter();
            them.map(|(name, count)| {
                let pods = Pods {
                    count: *count,
                    ..Pods::default()
                };
                ((*name).to_owned(), pods)
            })
            .collect()
        };
        let running: Option<BTreeMap<String, Pods>> = running.map(counted);
        let around = Around {
            running: running.as_ref(),
            ..Around::default()
        };
        if let Some(status) = of(&passport, &outcome, around, now()) {
            passport.status = status;
        }
        passport.status["sessions"].as_u64()
    };
    assert_eq!(sessions(None), None);
    assert_eq!(sessions(Some(&[("clerk", 2), ("other", 7)])), Some(2));
    assert_eq!(sessions(None), Some(2), "another leader begins");
    assert_eq!(sessions(Some(&[("other", 7)])), Some(0));
}

#[test]
fn a_status_that_says_it_already_is_not_written_again() {
    let outcome = Outcome {
        enrolled: true,
        accepted: true,
        in_force: true,
        ..Outcome::default()
    };
    let mut upstream = object("shop", UPSTREAM);
    let status = of(&upstream, &outcome, Around::default(), now()).unwrap();
    assert_eq!(status["actions"], 1);
    upstream.status = status;
    let later = now() + jiff::SignedDuration::from_secs(5);
    assert_eq!(of(&upstream, &outcome, Around::default(), later), None);
}

#[test]
fn what_counts_everywhere_is_told_where_it_does_not() {
    let id = object("actpass-system", UPSTREAM).id;
    let good = Outcome {
        enrolled: true,
        accepted: true,
        in_force: true,
        ..Outcome::default()
    };
    let held = Outcome {
        accepted: false,
        ..good.clone()
    };
    let found = of_many(&id, &good, &[("a", &good), ("b", &held)]);
    let programmed = found.programmed();
    assert_eq!(programmed.reason, Reason::BundleHeld);
    assert!(programmed.message.contains("`b`"), "{}", programmed.message);
    assert_eq!(
        of_many(&id, &good, &[("a", &good)]).programmed().reason,
        Reason::Programmed
    );
}

#[test]
fn a_guard_is_told_of_a_name_that_is_nowhere() {
    let guard = r#"apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy
metadata: {name: guard}
spec: {rules: [{name: a, decision: Deny, capabilities: [shop.pay, bank.pay]}]}
"#;
    let guard = object("", guard);
    let lacks = |names: &[&str]| Outcome {
        enrolled: true,
        accepted: true,
        in_force: true,
        absent: [(
            guard.id.clone(),
            names.iter().map(|it| (*it).to_owned()).collect(),
        )]
        .into(),
        ..Outcome::default()
    };
    let (alone, one) = (lacks(&["shop.pay", "bank.pay"]), lacks(&["bank.pay"]));
    let two = lacks(&["shop.pay", "bank.pay"]);
    let found = of_many(&guard.id, &alone, &[("a", &one), ("b", &two)]);
    let resolved = found.resolved(&guard.id);
    assert_eq!(resolved.reason, Reason::DanglingReference);
    assert!(
        resolved.message.contains("`bank.pay`") && !resolved.message.contains("`shop.pay`"),
        "{}",
        resolved.message
    );
    let found = of_many(&guard.id, &alone, &[("a", &lacks(&[]))]);
    assert_eq!(found.resolved(&guard.id).reason, Reason::ResolvedRefs);
}

#[test]
fn a_passport_says_whether_its_pods_found_a_way_out() {
    let pods = |count, open: &[&str]| Pods {
        count,
        open: open.iter().map(|it| (*it).to_owned()).collect(),
        ..Pods::default()
    };
    let ways = [
        "a: udp: sent",
        "b: udp: sent",
        "c: x",
        "d: x",
        "e: x",
        "f: x",
    ];
    for (pods, status, reason, message) in [
        (
            pods(0, &[]),
            ConditionStatus::Unknown,
            Reason::NoPods,
            "no pod acts by it now",
        ),
        (
            pods(2, &[]),
            ConditionStatus::True,
            Reason::Fenced,
            "no pod that acts by it has reported",
        ),
        (
            pods(2, &ways[..1]),
            ConditionStatus::False,
            Reason::WayOut,
            "\na: udp: sent",
        ),
        (
            pods(9, &ways),
            ConditionStatus::False,
            Reason::WayOut,
            "\ne: x\nand 1 more",
        ),
        (
            Pods {
                broken: [("00ff".to_owned(), "a".to_owned())].into(),
                ..pods(2, &[])
            },
            ConditionStatus::False,
            Reason::WayOut,
            "had a way out beside the sidecar; what left by it is not known: delete them\na",
        ),
        (
            Pods {
                unverified: vec!["a".to_owned()],
                ..pods(2, &[])
            },
            ConditionStatus::Unknown,
            Reason::Unverified,
            "ActPassFenceUnverified:\na",
        ),
        (
            Pods {
                unverified: vec!["b".to_owned()],
                ..pods(2, &ways[..1])
            },
            ConditionStatus::False,
            Reason::WayOut,
            "\na: udp: sent",
        ),
    ] {
        let said = fenced(&pods);
        assert_eq!((said.status, said.reason), (status, reason), "{pods:?}");
        assert!(said.message.contains(message), "{}", said.message);
    }
}
