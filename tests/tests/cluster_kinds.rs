//! The kinds on a real API server: it takes what is right and refuses what is wrong in our words.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use actpass_tests::cluster::{Cluster, Namespace, possible};

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Refund customers
  scope: [{capability: stripe.refunds.create}]
  limits: [{meter: refunds, unit: USD, max: "5000.00", windowSeconds: 86400}]
"#;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: refunds}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - name: small
      decision: Allow
      allowIrreversible: true
      capabilities: [stripe.refunds.create]
      amounts: [{currency: USD, lte: "500.00"}]
"#;

const GUARD: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy
metadata: {name: guard}
spec:
  passportSelector: {}
  rules: [{name: huge, decision: Deny, capabilities: ["**"], amounts: [{currency: USD, gt: "10000.00"}]}]
"#;

const VOTE: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ApprovalVote
metadata: {name: 0123456789abcdef0123456789abcdef01234567}
spec:
  approvalName: apr-1
  approvalUid: 4a0e7f0e-0000-4000-8000-000000000000
  digest: DIGEST
  decision: Approve
  stamp: {user: ann, groups: [finance], time: "2026-11-21T12:00:00.000000Z", keyId: k1, signature: SIGNATURE}
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(dir: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// The cluster with the kinds, and a namespace in it.
fn with_kinds(cluster: &Cluster) -> Namespace<'_> {
    for definition in files("charts/actpass/files/crds") {
        cluster.apply(&definition).unwrap();
    }
    let all = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.ask(&all).unwrap();
    cluster.namespace("kinds").unwrap()
}

#[test]
fn the_catalogue_and_good_manifests_are_taken() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let namespace = with_kinds(&cluster);
    for upstream in files("catalog") {
        namespace.apply(&upstream).unwrap();
    }
    let vote = VOTE
        .replace("DIGEST", &"ab".repeat(32))
        .replace("SIGNATURE", &"A".repeat(86));
    for manifest in [PASSPORT, POLICY, &vote] {
        namespace.apply(manifest).unwrap();
    }
    cluster.apply(GUARD).unwrap();
    let listed = namespace
        .ask(&["get", "actpass", "--output", "name"])
        .unwrap();
    for name in [
        "passport.actpass.org/clerk",
        "upstream.actpass.org/stripe",
        "actionpolicy.actpass.org/refunds",
    ] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    let changed = vote.replace("Approve", "Deny");
    let error = namespace.apply(&changed).unwrap_err().to_string();
    assert!(error.contains("a vote cannot be changed"), "{error}");
    let renamed = PASSPORT.replace("agentId: clerk", "agentId: other");
    let error = namespace.apply(&renamed).unwrap_err().to_string();
    let want = "is the name in evidence and cannot be changed; make a new Passport";
    assert!(error.contains(want), "{error}");
    cluster
        .ask(&["delete", "clusteractionpolicy", "guard"])
        .unwrap();
}

#[test]
fn what_is_wrong_is_refused_with_what_to_write() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let namespace = with_kinds(&cluster);
    struct Case {
        given: &'static str,
        from: &'static str,
        to: &'static str,
        want: &'static str,
    }
    let cases = [
        Case {
            given: PASSPORT,
            from: "windowSeconds: 86400",
            to: "windowSeconds: 86400, calendar: Day",
            want: "`windowSeconds` and `calendar` are both given; keep one",
        },
        Case {
            given: PASSPORT,
            from: "owner:",
            to: "ownr:",
            want: "unknown field \"spec.ownr\"",
        },
        Case {
            given: PASSPORT,
            from: "windowSeconds: 86400",
            to: "windowSeconds: 5",
            want: "spec.limits[0].windowSeconds",
        },
        Case {
            given: PASSPORT,
            from: "[{capability: stripe.refunds.create}]",
            to: "[{capability: stripe.refunds.create}, {capability: stripe.refunds.create}]",
            want: "spec.scope[1]: Duplicate value",
        },
        Case {
            given: POLICY,
            from: "decision: Allow",
            to: "decision: Permit",
            want: "supported values: \"Deny\", \"RequireApproval\", \"Allow\"",
        },
        Case {
            given: POLICY,
            from: "decision: Allow",
            to: "decision: Deny",
            want: "allowIrreversible",
        },
        Case {
            given: GUARD,
            from: "decision: Deny",
            to: "decision: Allow",
            want: "a ClusterActionPolicy only guards: expected `Deny` or `RequireApproval`",
        },
    ];
    for Case {
        given,
        from,
        to,
        want,
    } in cases
    {
        assert!(given.contains(from), "{from}");
        let error = namespace.apply(&given.replacen(from, to, 1)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(want), "{to}: {error}");
    }
    for given in [PASSPORT, POLICY] {
        namespace.apply(given).unwrap();
    }
}
