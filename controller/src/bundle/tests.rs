use actpass_core::policy::PolicyScope;

use super::*;
use crate::object::tests::object;

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk, labels: {team: a}}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Refund customers
  scope: [{capability: shop.refund}, {capability: shop.read}]
"#;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: refunds}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - {name: refunds, decision: Allow, capabilities: [shop.refund], when: "has(attributes.reason) && attributes.reason != 'fraud'"}
    - {name: reads, decision: Allow, capabilities: [shop.read]}
"#;

const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  allowedNamespaces: {from: All}
  actions:
    - name: refund
      match: {http: {method: POST, path: /refunds}}
      effect: Write
      body: {format: JSON, maxBytes: 4096}
      params: {allow: [reason]}
      attributes: [{name: reason, from: body.reason, type: String}]
    - {name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}
"#;

const GUARD: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy
metadata: {name: guard}
spec:
  rules: [{name: no-refunds, decision: Deny, capabilities: [shop.refund]}]
"#;

fn namespace(name: &str, labels: &[(&str, &str)]) -> Namespace {
    Namespace {
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ends: false,
    }
}

fn place(namespace: &Namespace) -> Place<'_> {
    Place {
        cluster: "c-1",
        install: "actpass-system",
        namespace,
    }
}

fn good() -> Vec<Object> {
    vec![
        object("shop", PASSPORT),
        object("shop", POLICY),
        object("actpass-system", UPSTREAM),
    ]
}

fn compiled(objects: &[Object], held: Option<&Bundle>) -> Compiled {
    let namespace = namespace("shop", &[(ENVIRONMENT_LABEL, "production")]);
    compile(place(&namespace), objects, held.map(Bundle::spec))
}

/// The bundle of [`good`].
fn accepted() -> Bundle {
    let found = compiled(&good(), None);
    assert!(found.accepted, "{:?}", found.said);
    found.bundle.unwrap()
}

fn texts(compiled: &Compiled) -> Vec<String> {
    let problems = compiled.said.values().flatten();
    let errors = problems.filter(|it| it.is_error());
    errors.map(ToString::to_string).collect()
}

/// A mistake that has nothing to do with the others.
fn broken() -> Object {
    let yaml = POLICY
        .replace("name: refunds}", "name: broken}")
        .replace("name: clerk}]", "name: nobody}]");
    object("shop", &yaml)
}

#[test]
fn a_bundle_is_what_the_namespace_and_the_catalogue_say_in_any_order() {
    let bundle = accepted();
    let spec = bundle.spec();
    assert_eq!(spec.tenant, "c-1/shop/shop-uid");
    assert_eq!(spec.environment.as_deref(), Some("production"));
    assert_eq!(
        (
            spec.passports.len(),
            spec.upstreams.len(),
            spec.policies.len()
        ),
        (1, 1, 1)
    );
    let mut objects = good();
    objects.extend([
        object(
            "other",
            &PASSPORT.replace("name: clerk,", "name: stranger,"),
        ),
        object("actpass-system", PASSPORT),
        object("other", &UPSTREAM.replace("name: shop}", "name: theirs}")),
    ]);
    for _ in 0..objects.len() {
        objects.rotate_left(1);
        let again = compiled(&objects, None).bundle.unwrap();
        assert_eq!(again.bytes(), bundle.bytes());
    }
}

#[test]
fn an_upstream_is_shared_as_it_says() {
    struct Case {
        name: &'static str,
        allowed: &'static str,
        labels: &'static [(&'static str, &'static str)],
        want: bool,
    }
    let cases = [
        Case {
            name: "with all",
            allowed: "allowedNamespaces: {from: All}",
            labels: &[],
            want: true,
        },
        Case {
            name: "with its own",
            allowed: "allowedNamespaces: {from: Same}",
            labels: &[],
            want: false,
        },
        Case {
            name: "without a word",
            allowed: "ports: [443]",
            labels: &[],
            want: false,
        },
        Case {
            name: "with those selected, which this is",
            allowed: "allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}",
            labels: &[("tier", "gold")],
            want: true,
        },
        Case {
            name: "with those selected, which this is not",
            allowed: "allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}",
            labels: &[("tier", "tin")],
            want: false,
        },
    ];
    for Case {
        name,
        allowed,
        labels,
        want,
    } in cases
    {
        let yaml = UPSTREAM.replace("allowedNamespaces: {from: All}", allowed);
        let upstream = object("actpass-system", &yaml);
        assert_eq!(
            place(&namespace("shop", labels)).has(&upstream),
            want,
            "{name}"
        );
        let own = object("shop", &yaml);
        assert!(place(&namespace("shop", labels)).has(&own), "{name}");
    }
}

#[test]
fn a_shared_upstream_is_not_to_be_shadowed() {
    for (name, host, want) in [
        (
            "shop",
            "other.example",
            "metadata.name: the name is that of Upstream `shop`",
        ),
        (
            "mine",
            "api.shop.example",
            "spec.hosts: host `api.shop.example` is that of Upstream `shop`",
        ),
        (
            "mine",
            "\"*.shop.example\"",
            "spec.hosts: host `*.shop.example` is that of Upstream `shop`",
        ),
    ] {
        let yaml = UPSTREAM
            .replace("name: shop}", &format!("name: {name}}}"))
            .replace("api.shop.example", host);
        let mut objects = good();
        objects.push(object("shop", &yaml));
        let found = compiled(&objects, Some(&accepted()));
        assert!(!found.accepted);
        assert_eq!(found.shadowed.len(), 1);
        let said = texts(&found);
        assert!(said.iter().any(|it| it.contains(want)), "{said:?}");
        assert_eq!(found.bundle.unwrap().digest(), accepted().digest());
    }
}

#[test]
fn a_mistake_keeps_the_bundle_accepted_last_and_says_where_it_is() {
    let mut objects = good();
    objects.push(broken());
    let found = compiled(&objects, Some(&accepted()));
    assert!(!found.accepted);
    assert_eq!(found.bundle.as_ref().unwrap().digest(), accepted().digest());
    let said = texts(&found);
    assert!(
        said.iter().any(|it| it
            .contains("ActionPolicy shop/broken: ActionPolicy/broken: spec.targetRefs[0].name")),
        "{said:?}"
    );
    let first = compiled(&objects, None);
    assert!(first.bundle.is_none(), "nothing was ever accepted");
    let other = namespace("shop2", &[]);
    let foreign = compile(place(&other), &[], Some(accepted().spec()));
    assert_eq!(foreign.bundle.unwrap().spec().passports, []);
}

#[test]
fn what_takes_away_comes_into_force_whatever_else_is_wrong() {
    struct Case {
        name: &'static str,
        change: fn(&mut Vec<Object>),
        want: fn(&BundleSpec) -> bool,
    }
    let cases = [
        Case {
            name: "a suspension",
            change: |all| all[0] = object("shop", &format!("{PASSPORT}  suspended: true\n")),
            want: |spec| spec.passports[0].suspended,
        },
        Case {
            name: "an end",
            change: |all| {
                all[0] = object(
                    "shop",
                    &format!("{PASSPORT}  notAfter: 2027-01-31T00:00:00Z\n"),
                );
            },
            want: |spec| spec.passports[0].not_after == "2027-01-31T00:00:00Z".parse().ok(),
        },
        Case {
            name: "a Passport deleted",
            change: |all| drop(all.remove(0)),
            want: |spec| spec.passports.is_empty(),
        },
        Case {
            name: "a second Passport for the account",
            change: |all| {
                let other = PASSPORT.replace("name: clerk,", "name: twin,");
                all.push(object("shop", &other));
            },
            want: |spec| spec.passports.len() == 1 && spec.passports[0].suspended,
        },
        Case {
            name: "a Passport that is not understood",
            change: |all| all[0].resource = Err("newer".to_owned()),
            want: |spec| spec.passports[0].suspended,
        },
        Case {
            name: "an Upstream no longer shared",
            change: |all| drop(all.remove(2)),
            want: |spec| spec.upstreams.is_empty() && !spec.passports[0].suspended,
        },
        Case {
            name: "a guard of the cluster",
            change: |all| all.push(object("", GUARD)),
            want: |spec| {
                let guards = spec.policies.iter();
                let mut guards = guards.filter(|it| it.scope == PolicyScope::Cluster);
                guards.any(|it| it.name == "guard" && it.passports == ["clerk"])
            },
        },
        Case {
            name: "an action no longer declared",
            change: |all| {
                let less = UPSTREAM.replace("- name: refund\n", "- name: other\n");
                assert_ne!(less, UPSTREAM);
                all[2] = object("actpass-system", &less);
            },
            want: |spec| {
                let actions = spec.upstreams[0].actions.iter();
                let left: Vec<&str> = actions.map(|it| it.capability.as_str()).collect();
                left == ["shop.read"] && !spec.passports[0].suspended
            },
        },
        Case {
            name: "an ActionPolicy deleted",
            change: |all| drop(all.remove(1)),
            want: |spec| spec.policies[0].rules.is_empty(),
        },
        Case {
            name: "a scope without what it had",
            change: |all| {
                let less = PASSPORT.replace("{capability: shop.read}", "{capability: other.read}");
                all[0] = object("shop", &less);
            },
            want: |spec| {
                let scope = spec.passports[0].scope.iter();
                scope
                    .filter(|it| it.capability.as_str() == "shop.read")
                    .count()
                    == 0
            },
        },
        Case {
            name: "a scope of fewer resources",
            change: |all| {
                let less = PASSPORT.replace(
                    "{capability: shop.read}",
                    "{capability: shop.read, resources: [\"a*\"]}",
                );
                all[0] = object("shop", &less);
            },
            want: |spec| {
                let mut scope = spec.passports[0].scope.iter();
                let read = scope.find(|it| it.capability.as_str() == "shop.read");
                read.is_some_and(|it| it.resources.as_ref().is_some_and(|it| it.len() == 1))
            },
        },
        Case {
            name: "no more scope, nor other limits",
            change: |all| {
                let wider =
                    PASSPORT.replace("{capability: shop.read}", "{capability: \"shop.**\"}");
                all[0] = object("shop", &wider);
            },
            want: |spec| spec == accepted().spec(),
        },
    ];
    for Case { name, change, want } in cases {
        let mut objects = good();
        change(&mut objects);
        objects.push(broken());
        let found = compiled(&objects, Some(&accepted()));
        assert!(!found.accepted, "{name}");
        let bundle = found.bundle.unwrap();
        assert!(want(bundle.spec()), "{name}: {:?}", bundle.spec());
    }
}

#[test]
fn what_no_longer_fits_together_permits_nothing() {
    let mut objects = good();
    let both = POLICY.replace("[shop.refund], when", "[shop.refund, other.refund], when");
    objects[1] = object("shop", &both);
    // Without the attribute that the rule's condition reads.
    let other = UPSTREAM
        .replace("name: shop}", "name: other}")
        .replace("api.shop", "api.other")
        .replace(
            "      attributes: [{name: reason, from: body.reason, type: String}]\n",
            "",
        );
    objects.push(object("actpass-system", &other));
    let before = compiled(&objects, None);
    assert!(before.accepted, "{:?}", texts(&before));
    objects.push(broken());
    objects.remove(2);
    let found = compiled(&objects, before.bundle.as_ref());
    let bundle = found.bundle.unwrap();
    assert!(bundle.spec().passports.iter().all(|it| it.suspended));
    assert_eq!(bundle.spec().upstreams.len(), 2, "as it was, and suspended");
}

#[test]
fn a_guard_counts_where_its_upstream_is_and_is_no_mistake_elsewhere() {
    let guard = GUARD.replace("[shop.refund]", "[shop.refund, bank.pay]");
    let mut objects = good();
    objects.push(object("", &guard));
    let found = compiled(&objects, None);
    assert!(found.accepted, "{:?}", texts(&found));
    let absent: Vec<_> = found.absent.values().flatten().collect();
    assert_eq!(absent, ["bank.pay"]);
    let spec = found.bundle.unwrap().spec().clone();
    let guards = spec
        .policies
        .iter()
        .filter(|it| it.scope == PolicyScope::Cluster);
    let rules: Vec<_> = guards.flat_map(|it| &it.rules).collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].capabilities.len(), 1);
    // Where there is nothing of all it names, and where it names everything.
    for (names, want) in [("[bank.pay]", 0), ("[\"**\"]", 1)] {
        let guard = GUARD.replace("[shop.refund]", names);
        let mut objects = good();
        objects.push(object("", &guard));
        let found = compiled(&objects, None);
        assert!(found.accepted, "{names}: {:?}", texts(&found));
        let bundle = found.bundle.unwrap();
        let policies = bundle.spec().policies.iter();
        let guards = policies.filter(|it| it.scope == PolicyScope::Cluster);
        assert_eq!(guards.count(), want, "{names}");
    }
}

#[test]
fn only_the_two_modes_enrol_a_namespace() {
    for (labels, want) in [
        (&[][..], (false, false)),
        (&[(MODE_LABEL, "audit")], (true, false)),
        (&[(MODE_LABEL, "enforce")], (true, true)),
        (&[(MODE_LABEL, "off")], (false, false)),
    ] {
        let namespace = namespace("shop", labels);
        assert_eq!(
            (namespace.is_enrolled(), namespace.enforces()),
            want,
            "{labels:?}"
        );
    }
}

#[test]
fn the_mode_of_a_namespace_is_in_its_bundle_whatever_is_wrong_with_its_resources() {
    let (audit, enforce) = (
        namespace("shop", &[(MODE_LABEL, "audit")]),
        namespace("shop", &[(MODE_LABEL, "enforce")]),
    );
    let wrong = || vec![object("shop", &POLICY.replace("clerk", "nobody"))];
    let bundle = |namespace: &Namespace, objects: &[Object], held: Option<&BundleSpec>| {
        compile(place(namespace), objects, held).bundle
    };
    let has_absent = |bundle: &Bundle| bundle.passport(actpass_core::passport::ABSENT).is_some();
    let audited = bundle(&audit, &good(), None).unwrap();
    assert_eq!(audited.spec().mode, Mode::Audit);
    assert!(has_absent(&audited) && audited.passport("clerk").is_some());
    let enforced = bundle(&enforce, &good(), None).unwrap();
    assert_eq!(enforced.spec().mode, Mode::Enforce);
    assert!(!has_absent(&enforced));
    // Nothing was ever accepted: an audit stops nothing for that, enforcement does.
    for objects in [wrong(), Vec::new()] {
        let empty = bundle(&audit, &objects, None).unwrap();
        assert_eq!(empty.spec().mode, Mode::Audit);
        assert!(has_absent(&empty) && empty.spec().upstreams.is_empty());
    }
    assert!(bundle(&enforce, &wrong(), None).is_none());
    let mut broken = good();
    broken.extend(wrong());
    for (namespace, held, want) in [
        (&enforce, &audited, Mode::Enforce),
        (&audit, &enforced, Mode::Audit),
    ] {
        let kept = bundle(namespace, &broken, Some(held.spec())).unwrap();
        assert_eq!(kept.spec().mode, want, "the label counts");
        assert_eq!(has_absent(&kept), want == Mode::Audit);
        assert!(kept.passport("clerk").is_some());
    }
}
