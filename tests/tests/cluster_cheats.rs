//! Tried with ordinary rights on a real API server: everything that would give an agent more than its Passport says is
//! refused, or changes nothing.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::process::Output;
use std::time::{Duration, Instant};

use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::fed;
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use actpass_tests::pod::Pod;
use actpass_tests::posing;
use actpass_tests::shop::{SHOP, Shop, agent};
use anyhow::Context;

/// A refusal that says `why`.
fn refused(what: &str, output: &Output, why: &str) {
    let said = text(output);
    assert!(!output.status.success(), "{what}: {said}");
    assert!(said.contains(why), "{what}: {said}");
}

fn with_shop(prefix: &str, test: impl FnOnce(&Shop<'_>)) {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    test(&Shop::open(&installed, prefix).unwrap());
}

#[test]
fn nobody_without_the_role_answers_for_people() {
    with_shop("votes", |shop| {
        let approval = shop.asks("bill").unwrap();
        let installed = shop.installed;
        let uid = shop
            .namespace
            .ask(&[
                "get",
                "approval",
                &approval,
                "-o=jsonpath={.metadata.uid} {.spec.digest}",
            ])
            .unwrap();
        let (uid, digest) = uid.split_once(' ').unwrap();
        let vote = |name: &str, stamp: &str| {
            format!(
                "{{apiVersion: actpass.org/v1alpha1, kind: ApprovalVote, metadata: {{name: {name}}}, spec: {{approvalName: {approval}, \
                 approvalUid: {uid}, digest: {digest}, decision: Approve{stamp}}}}}"
            )
        };
        let named = |user: &str| actpass_crds::approval_vote::vote_name(uid, user);

        let edit = installed.person("eve", &["finance"]).unwrap();
        installed.allow(&shop.namespace, &edit, "edit").unwrap();
        refused(
            "a vote with stock edit",
            &shop.applies(&edit, &vote(&named("eve"), "")).unwrap(),
            "forbidden",
        );
        for args in [
            &[
                "patch",
                "approval",
                &approval,
                "--type=merge",
                "-p",
                "{\"status\":{\"state\":\"Granted\"}}",
            ][..],
            &[
                "patch",
                "approval",
                &approval,
                "--subresource=status",
                "--type=merge",
                "-p",
                "{\"status\":{\"state\":\"Granted\"}}",
            ],
            &["delete", "approval", &approval],
        ] {
            refused(
                "an Approval changed with stock edit",
                &shop.as_person(&edit, args).unwrap(),
                "forbidden",
            );
        }

        let outsider = installed.person("mallory", &["sales"]).unwrap();
        let approver = installed.person("ann", &["finance"]).unwrap();
        let owner = installed.person("owner@example.com", &["finance"]).unwrap();
        for person in [&outsider, &approver, &owner] {
            installed
                .allow(&shop.namespace, person, "actpass-approver")
                .unwrap();
        }
        let stamp = ", stamp: {user: ann, groups: [finance], time: '2026-11-21T12:00:00.000000Z', keyId: k, signature: ".to_owned()
            + &"A".repeat(86)
            + "}";
        let colleague = installed.person("bob", &["finance"]).unwrap();
        installed
            .allow(&shop.namespace, &colleague, "actpass-approver")
            .unwrap();
        let forged = shop
            .applies(&colleague, &vote(&named("ann"), &stamp))
            .unwrap();
        refused("a vote in the name of another", &forged, "name");
        let outside = shop
            .applies(&outsider, &vote(&named("mallory"), ""))
            .unwrap();
        refused("a vote of another group", &outside, "none of these groups");
        refused(
            "a vote of the owner",
            &shop
                .applies(&owner, &vote(&named("owner@example.com"), ""))
                .unwrap(),
            "owner",
        );
        let impersonated = ["--as=ann", "--as-group=finance", "get", "approvals"];
        refused(
            "impersonation",
            &shop.as_person(&outsider, &impersonated).unwrap(),
            "forbidden",
        );
        let admin = |args: &[&str]| shop.namespace.kubectl(args).unwrap();
        let as_agent = format!("--as=system:serviceaccount:{}:clerk", shop.namespace.name);
        let binding = [
            "create",
            "rolebinding",
            "clerk",
            "--clusterrole=actpass-approver",
            &format!("--serviceaccount={}:clerk", shop.namespace.name),
        ];
        assert!(admin(&binding).status.success());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            vote(&named(as_agent.trim_start_matches("--as=")), ""),
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        refused(
            "a vote of the agent's ServiceAccount",
            &admin(&["create", "-f", path, &as_agent]),
            "only people vote",
        );

        let args = ["approve", &approval, "--yes", "-n", &shop.namespace.name];
        let state = ["get", "approval", &approval, "-o=jsonpath={.status.state}"];
        assert_eq!(shop.namespace.ask(&state).unwrap(), "Pending");
        assert_eq!(shop.pay(9_900, "bill").unwrap().0, "403");

        let yes = approver.actpass(installed.cluster, &args).unwrap();
        assert!(yes.status.success(), "{}", text(&yes));
        assert_eq!(shop.pay(9_900, "bill").unwrap().0, "200");
        assert_eq!(shop.pay(9_900, "bill").unwrap().0, "403", "once");
        assert_eq!(shop.front.seen().len(), 1);
        // A vote is what it was.
        for args in [
            &[
                "patch",
                "approvalvote",
                &named("ann"),
                "--type=merge",
                "-p",
                "{\"spec\":{\"decision\":\"Deny\"}}",
            ][..],
            &["delete", "approvalvote", &named("ann")],
        ] {
            refused(
                "a vote changed",
                &shop.as_person(&approver, args).unwrap(),
                "forbidden",
            );
        }
    });
}

#[test]
fn nobody_widens_what_an_agent_may() {
    with_shop("wider", |shop| {
        let installed = shop.installed;
        let author = installed.person("author", &[]).unwrap();
        installed
            .allow(&shop.namespace, &author, "actpass-policy-author")
            .unwrap();
        installed.allow(&shop.namespace, &author, "edit").unwrap();
        let ours = &shop.namespace.name;

        let wider = [
            "patch",
            "passport",
            "clerk",
            "--type=merge",
            "-p",
            "{\"spec\":{\"scope\":[{\"capability\":\"**\"}]}}",
        ];
        refused(
            "a Passport widened by a policy author",
            &shop.as_person(&author, &wider).unwrap(),
            "forbidden",
        );
        let upstream = SHOP
            .split("---")
            .next()
            .unwrap()
            .replace("name: pay}", "name: theirs}")
            .replace("HOST", "evil.example")
            .replace("    caBundle: |\nCA\n", "");
        refused(
            "an Upstream for the credential",
            &shop.applies(&author, &upstream).unwrap(),
            "forbidden",
        );
        let token = ["create", "token", "clerk", "--audience=actpass"];
        refused(
            "a token of the sidecar's audience",
            &shop.as_person(&author, &token).unwrap(),
            "audience",
        );
        let label = ["label", "namespace", ours, "actpass.org/mode-"];
        refused(
            "the namespace's label removed",
            &shop.as_person(&author, &label).unwrap(),
            "forbidden",
        );
        let open = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: open}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}";
        let admin = installed.person("namespace-admin", &[]).unwrap();
        installed.allow(&shop.namespace, &admin, "admin").unwrap();
        refused(
            "an allow-all NetworkPolicy",
            &shop.applies(&admin, open).unwrap(),
            "only its own NetworkPolicy",
        );
        for object in ["networkpolicy/actpass-agents", "configmap/actpass-trust"] {
            refused(
                object,
                &shop.as_person(&admin, &["delete", object]).unwrap(),
                "only the controller of ActPass",
            );
        }
        let image = [
            "set",
            "image",
            "pod/agent",
            "actpass-proxy=actpass.test/agent-curl:test",
        ];
        refused(
            "another image for the sidecar",
            &shop.as_person(&admin, &image).unwrap(),
            "ActPass",
        );
        refused(
            "exec into the proxy",
            &shop
                .as_person(
                    &admin,
                    &[
                        "exec",
                        "agent",
                        "-c",
                        "actpass-proxy",
                        "--",
                        "/actpass-sidecar",
                        "--version",
                    ],
                )
                .unwrap(),
            "ActPass",
        );
        // Whoever may debug pods elsewhere may not here.
        let image = "--image=actpass.test/agent-curl:test";
        let debug = ["debug", "agent", image, "--target=main", "--", "true"];
        let debug = shop.namespace.kubectl(&debug).unwrap();
        refused("an ephemeral container", &debug, "a debug container");
        refused(
            "a tunnel",
            &shop
                .as_person(&admin, &["port-forward", "pod/agent", "18080:8080"])
                .unwrap(),
            "a tunnel through the kubelet",
        );

        let pod = |name: &str, spec: &str| {
            agent(&["sleep", "inf"])
                .replace("name: agent", &format!("name: {name}"))
                .replace(
                    "  serviceAccountName: clerk\n",
                    &format!("  serviceAccountName: clerk\n  {spec}\n"),
                )
        };
        for (name, spec, why) in [
            ("host-network", "hostNetwork: true", "hostNetwork"),
            (
                "own-proxy",
                "initContainers: [{name: actpass-proxy, image: 'actpass.test/agent-curl:test', restartPolicy: Always}]",
                "",
            ),
            ("no-automount", "hostPID: true", "hostPID"),
        ] {
            let output = shop.applies(&admin, &pod(name, spec)).unwrap();
            if why.is_empty() {
                // What is named as ours is made anew: the pod has the real one.
                assert!(output.status.success(), "{name}: {}", text(&output));
                let image = [
                    "get",
                    "pod",
                    name,
                    "-o=jsonpath={.spec.initContainers[1].image}",
                ];
                let image = shop.namespace.ask(&image).unwrap();
                assert!(image.starts_with("actpass.test/sidecar@sha256:"), "{image}");
            } else {
                refused(name, &output, why);
            }
        }
        assert_eq!(shop.pay(1_000, "still").unwrap().0, "200");
    });
}

#[test]
fn a_passport_that_is_suspended_stops_within_two_seconds_and_a_sidecar_that_is_killed_goes_on() {
    with_shop("stops", |shop| {
        assert_eq!(shop.pay(100, "first").unwrap().0, "200");
        let suspend = |suspended: bool| {
            let patch = format!("{{\"spec\":{{\"suspended\":{suspended}}}}}");
            shop.namespace
                .ask(&["patch", "passport", "clerk", "--type=merge", "-p", &patch])
                .unwrap();
            Instant::now()
        };
        let since = suspend(true);
        let stopped = eventually(Duration::from_secs(20), || {
            let (status, answer) = shop.pay(100, "suspended").unwrap();
            anyhow::ensure!(status == "403", "{status} {answer}");
            Ok((since.elapsed(), answer))
        });
        let (took, answer) = stopped.unwrap();
        println!("a suspension stopped payments after {took:?}");
        assert!(answer.contains("suspended"), "{answer}");
        let paid = shop.front.seen().len();
        let since = suspend(false);
        eventually(Duration::from_secs(20), || {
            let (status, answer) = shop.pay(100, "again").unwrap();
            anyhow::ensure!(status == "200", "{status} {answer}");
            Ok(())
        })
        .unwrap();
        println!("lifted after {:?}", since.elapsed());
        assert_eq!(shop.front.seen().len(), paid + 1);

        // The sidecar dies as by the kernel's hand; the kubelet starts it again, and its stream goes on.
        let id = [
            "get",
            "pod",
            "agent",
            "-o=jsonpath={.status.initContainerStatuses[1].containerID}",
        ];
        let id = shop.namespace.ask(&id).unwrap();
        let id = id.rsplit('/').next().unwrap();
        let mut kill = shop.installed.cluster.node("ctr");
        kill.args([
            "--address",
            "/run/actpass/containerd.sock",
            "-n",
            "k8s.io",
            "task",
            "kill",
            "-s",
            "SIGKILL",
            id,
        ]);
        let killed = kill.output().unwrap();
        assert!(killed.status.success(), "{}", text(&killed));
        let since = Instant::now();
        let mut tries = 0;
        eventually(Duration::from_secs(60), || {
            // Another note each time: what was under way when it died may have happened, and is not repeated.
            tries += 1;
            let (status, answer) = shop.pay(100, &format!("after the kill {tries}")).unwrap();
            anyhow::ensure!(status == "200", "{status} {answer}");
            Ok(())
        })
        .unwrap_or_else(|error| {
            let log = ["logs", "agent", "-c", "actpass-proxy", "--tail=20"];
            panic!("{error}\n{}", text(&shop.namespace.kubectl(&log).unwrap()))
        });
        println!(
            "paid again {:?} after the sidecar was killed",
            since.elapsed()
        );
    });
}

/// The strongest of them: who has the machine's root took the pod's token, and asks from the pod's network as the sidecar's
/// own user. What it lacks is the key that the pod's session was opened with, which is in the sidecar's memory only.
#[test]
fn a_pod_has_one_session_and_a_shared_host_is_declared_once() {
    with_shop("second", |shop| {
        assert_eq!(shop.pay(100, "first").unwrap().0, "200");
        let cluster = shop.installed.cluster;
        let pod = Pod::of(&shop.namespace, "agent").unwrap();
        let said = posing::asks(&pod, [9; 32]).unwrap();
        assert!(said.contains("second_session"), "a second session: {said}");
        // With the key it is the sidecar, as far as anybody can see.
        let its_own = posing::asks(&pod, posing::seed_of(&pod).unwrap()).unwrap();
        assert!(its_own.contains(r#""passport""#), "{its_own}");
        assert_eq!(shop.pay(100, "still").unwrap().0, "200");

        // Of a host that the platform declares for all, a namespace has no Upstream of its own, whoever writes it.
        let shared = SHOP.split("---").next().unwrap();
        let host = format!("shared.{}.example", shop.namespace.name);
        let name = format!("shared-{}", shop.namespace.name);
        let shared = shared
            .replace("HOST", &host)
            .replace("    caBundle: |\nCA\n", "")
            .replace("spec:\n", "spec:\n  allowedNamespaces: {from: All}\n")
            .replace(
                "name: pay}",
                &format!("name: {name}, namespace: {SYSTEM}}}"),
            );
        let mut apply = cluster.kube("kubectl");
        apply.args(["apply", "--namespace", SYSTEM, "--filename", "-"]);
        let applied = fed(&mut apply, shared.as_bytes()).unwrap();
        assert!(applied.status.success(), "{}", text(&applied));
        let shadow = shared
            .replace("  allowedNamespaces: {from: All}\n", "")
            .replace(
                &format!("name: {name}, namespace: {SYSTEM}}}"),
                "name: mine}",
            );
        let error = eventually(Duration::from_secs(20), || {
            let taken = shop.namespace.apply(&shadow);
            shop.namespace
                .kubectl(&["delete", "upstream", "mine", "--ignore-not-found"])?;
            taken.err().context("an Upstream of a shared host is taken")
        })
        .unwrap();
        let why = format!("{host}` ");
        assert!(error.to_string().contains(&why), "{error:#}");
        assert_eq!(shop.pay(100, "and on").unwrap().0, "200");
        cluster
            .ask(&["delete", "upstream", &name, "-n", SYSTEM])
            .unwrap();
    });
}
