//! What platform teams run and what becomes of it: Jobs, init containers, probes, evictions, and Passports, ServiceAccounts and
//! namespaces that come and go while pods are there.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

mod workloads;

use std::process::Output;
use std::time::Duration;

use actpass_tests::cluster::eventually;
use actpass_tests::fed;
use actpass_tests::home::text;
use actpass_tests::installed::{Person, SYSTEM, shared};
use actpass_tests::shop::Shop;
use actpass_tests::workload::*;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use workloads::*;

#[test]
fn what_ends_by_itself_ends_with_its_sidecars_and_is_on_the_record_to_the_last() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "batches").unwrap();
    let namespace = &shop.namespace;
    let denied = takes_what_is_not_declared(&shop);
    let with_init = |script: &str, main: &str| {
        let mut spec = spec(main);
        spec["initContainers"] = json!([container("before", script)]);
        spec
    };
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": spec(&pays(&shop, 300, "nightly"))}}},
        },
    });
    let main_pays = pays(&shop, 500, "main");
    let all = json!({"apiVersion": "v1", "kind": "List", "items": [
        job("settles", &spec(&pays(&shop, 100, "settles"))),
        job("fails", &spec(&denied)),
        nightly,
        pod("prepared", &with_init(&pays(&shop, 400, "init"), &main_pays)),
        pod("unprepared", &with_init(&denied, &pays(&shop, 600, "never"))),
    ]});
    namespace.apply(&all.to_string()).unwrap();
    let run = ["create", "job", "tonight", "--from=cronjob/nightly"];
    namespace.ask(&run).unwrap();

    struct Case {
        name: &'static str,
        pod: &'static [&'static str],
        phase: &'static str,
        /// Of the containers that are not ours.
        codes: &'static [(&'static str, i64)],
        verdicts: &'static [&'static str],
        outcomes: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "a Job completes",
            pod: &["--selector=job-name=settles"],
            phase: "Succeeded",
            codes: &[("main", 0)],
            verdicts: &["permit"],
            outcomes: &["ok"],
        },
        Case {
            name: "a Job whose agent is denied fails",
            pod: &["--selector=job-name=fails"],
            phase: "Failed",
            codes: &[("main", 22)],
            verdicts: &["deny undeclared"],
            outcomes: &[],
        },
        Case {
            name: "a run of a CronJob completes",
            pod: &["--selector=job-name=tonight"],
            phase: "Succeeded",
            codes: &[("main", 0)],
            verdicts: &["permit"],
            outcomes: &["ok"],
        },
        Case {
            name: "an init container goes out before the main one",
            pod: &["prepared"],
            phase: "Succeeded",
            codes: &[("before", 0), ("main", 0)],
            verdicts: &["permit", "permit"],
            outcomes: &["ok", "ok"],
        },
        Case {
            name: "an init container that is denied keeps the main one from starting",
            pod: &["unprepared"],
            phase: "Failed",
            codes: &[("before", 22)],
            verdicts: &["deny undeclared"],
            outcomes: &[],
        },
    ];
    for case in cases {
        let pod = at_its_end(namespace, case.pod);
        assert_eq!(text_of(&pod, "/status/phase"), case.phase, "{}", case.name);
        let codes = exit_codes(&pod);
        let ours = ["actpass-init", "actpass-proxy", "actpass-verify"].map(|name| (name, 0));
        let want: Vec<_> = ours.iter().chain(case.codes).copied().collect();
        assert_eq!(codes, want, "{}", case.name);
        let found = to_the_last(&shop, &pod);
        assert_eq!(found.verdicts, case.verdicts, "{}: {found:?}", case.name);
        assert_eq!(found.outcomes, case.outcomes, "{}: {found:?}", case.name);
    }
    for (job, condition) in [
        ("settles", "Complete"),
        ("fails", "Failed"),
        ("tonight", "Complete"),
    ] {
        let condition = format!("--for=condition={condition}");
        let job = format!("job/{job}");
        let wait = ["wait", &condition, &job, "--timeout=20s"];
        namespace.ask(&wait).unwrap();
    }
    let mut paid = shop.paid().unwrap();
    let prepared = paid
        .iter()
        .filter(|it| ["init", "main"].contains(&it.as_str()));
    assert_eq!(prepared.collect::<Vec<_>>(), ["init", "main"]);
    paid.sort();
    assert_eq!(paid, ["init", "main", "nightly", "settles"]);
}

#[test]
fn probes_several_containers_and_a_seccomp_profile_of_its_own_work_behind_the_fence() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "shapes").unwrap();
    let namespace = &shop.namespace;
    let get = |path: &str| json!({"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1, "failureThreshold": 2});
    let mut main = container(
        "main",
        "mkdir /tmp/www && cd /tmp/www && touch started ready live && exec httpd -f -p 8080",
    );
    main["ports"] = json!([{"containerPort": 8080}]);
    main["startupProbe"] = get("/started");
    main["startupProbe"]["failureThreshold"] = json!(60);
    main["readinessProbe"] = get("/ready");
    main["livenessProbe"] = get("/live");
    main["securityContext"]["seccompProfile"] = json!({"type": "RuntimeDefault"});
    let mut helper = container("helper", WAITS);
    helper["securityContext"]["runAsUser"] = json!(1001);
    let mut spec = spec("");
    spec["restartPolicy"] = json!("Always");
    spec["containers"] = json!([main, helper]);
    namespace
        .start("agent", &pod("agent", &spec).to_string())
        .unwrap();

    // They ask the agent itself.
    let ready = |want: &str| {
        within(namespace, || {
            let pod = one_pod(namespace, &["agent"])?;
            let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.into_iter().flatten();
            let ready = conditions.find(|it| text_of(it, "/type") == "Ready");
            let now = ready.map_or("none", |it| text_of(it, "/status"));
            ensure!(now == want, "Ready is {now}, not {want}");
            Ok(pod)
        })
    };
    let does = |container: &str, script: &str| -> Output {
        let exec = ["exec", "agent", "-c", container, "--", "sh", "-c", script];
        namespace.kubectl(&exec).unwrap()
    };
    assert!(does("main", "rm /tmp/www/ready").status.success());
    let unready = ready("False");
    assert!(does("main", "touch /tmp/www/ready").status.success());
    let again = ready("True");
    for pod in [&unready, &again] {
        let restarts = pod
            .pointer("/status/containerStatuses")
            .and_then(Value::as_array)
            .unwrap()
            .iter()
            .map(|it| it["restartCount"].as_i64().unwrap())
            .sum::<i64>();
        assert_eq!(restarts, 0, "no liveness probe failed");
    }
    assert!(does("main", "rm /tmp/www/live").status.success());
    within(namespace, || {
        let pod = one_pod(namespace, &["agent"])?;
        let statuses = pod
            .pointer("/status/containerStatuses")
            .and_then(Value::as_array);
        let mut statuses = statuses.into_iter().flatten();
        let main = statuses.find(|it| text_of(it, "/name") == "main");
        let restarts = main.map(|it| it["restartCount"].clone());
        ensure!(restarts == Some(json!(1)), "main: {restarts:?} restarts");
        Ok(())
    });
    let started = ready("True");

    // One passport, one stream, whoever asks; and nobody's way leads past it.
    for container in ["main", "helper"] {
        let paid = does(container, &pays(&shop, 100, container));
        assert!(paid.status.success(), "{container}: {}", text(&paid));
        let denied = does(container, &takes_what_is_not_declared(&shop));
        assert_eq!(denied.status.code(), Some(22), "{}", text(&denied));
        assert!(text(&denied).contains("undeclared"), "{}", text(&denied));
        let filtered = does(container, "grep Seccomp: /proc/self/status");
        assert_eq!(text(&filtered).trim(), "Seccomp:\t2", "{container}");
    }
    assert_eq!(shop.paid().unwrap(), ["main", "helper"]);
    within(namespace, || {
        let found = recorded(&installed.leaves(namespace)?, &started);
        let verdicts = ["permit", "deny undeclared"].repeat(2);
        ensure!(found.verdicts == verdicts, "{found:?}");
        ensure!(found.streams.len() == 1, "{found:?}");
        Ok(())
    });

    let profile = |pod: &str| {
        let mut spec = spec.clone();
        let profile = json!({"type": "Localhost", "localhostProfile": "mine.json"});
        match pod {
            "pod" => spec["securityContext"] = json!({"seccompProfile": profile}),
            _ => spec["containers"][0]["securityContext"]["seccompProfile"] = profile,
        }
        self::pod("other", &spec).to_string()
    };
    for (place, field) in [
        ("pod", "spec.securityContext.seccompProfile"),
        (
            "container",
            "spec.containers[0].securityContext.seccompProfile",
        ),
    ] {
        let refused = namespace.tried(&profile(place)).unwrap_err().to_string();
        assert!(
            refused.contains(field) && refused.contains("mine.json"),
            "{place}: {refused}"
        );
    }
}

#[test]
fn a_pod_acts_while_one_passport_names_its_service_account_and_is_told_why_when_not() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "passports").unwrap();
    let namespace = &shop.namespace;
    let viewer = installed.person("vera", &[]).unwrap();
    for role in ["actpass-platform", "view"] {
        installed.allow(namespace, &viewer, role).unwrap();
    }
    let plugin = |args: &[&str]| {
        let args = [args, &["--namespace", &namespace.name]].concat();
        let output = viewer.actpass(cluster, &args).unwrap();
        (output.status.code(), text(&output))
    };
    let paid = |why: &str| {
        within(namespace, || {
            let (status, said) = shop.pay(100, why)?;
            ensure!(status == "200", "{why}: {status} {said}");
            Ok(())
        });
    };
    let refused = |why: &str, words: &[&str]| {
        within(namespace, || {
            let (status, said) = shop.pay(100, why)?;
            ensure!(status == "403", "{why}: {status} {said}");
            for word in ["no_passport"].iter().chain(words) {
                ensure!(said.contains(word), "{why}: {word} is not in {said}");
            }
            Ok(())
        });
    };
    let delete = |name: &str| {
        namespace.ask(&["delete", "passport", name]).unwrap();
    };
    let events = || {
        let reasons = ["get", "events", "-o=jsonpath={.items[*].reason}"];
        namespace.ask(&reasons).unwrap()
    };
    let none = &["ServiceAccount `clerk`", "subject.serviceAccountName"];

    // It starts all the same, and says what to write.
    delete("clerk");
    let sleeps = pod("agent", &spec(WAITS)).to_string();
    namespace.start("agent", &sleeps).unwrap();
    refused("without one", none);
    let (code, said) = plugin(&["explain", "agent"]);
    assert_eq!(code, Some(0), "{said}");
    let what = "write a Passport with spec.subject.serviceAccountName: clerk";
    assert!(said.contains(what), "{said}");
    assert!(events().contains("SessionRefused"), "{}", events());

    shop.declare().unwrap();
    paid("with its first");
    becomes(namespace, "clerk", "True InForce");
    let (_, said) = plugin(&["explain", "agent"]);
    assert!(
        said.contains("bills/small: Allow pay.payments.create"),
        "{said}"
    );
    assert!(said.contains("are not shown to you"), "{said}");

    // Refused while the webhook is asked; two that come at the same moment it cannot tell.
    let double = passport(&shop, "double");
    let told = namespace.apply(&double).unwrap_err().to_string();
    assert!(told.contains("already has Passport `clerk`"), "{told}");
    let unchecked = Unchecked::of(namespace);
    within(namespace, || namespace.apply(&double));
    drop(unchecked);
    for name in ["clerk", "double"] {
        let said = becomes(namespace, name, "False Conflicted");
        assert!(said.contains("keep one"), "{said}");
    }
    refused("with two", &["`clerk`, `double`", "keep one"]);
    let (code, said) = plugin(&["status"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches("Conflicted").count(), 2, "{said}");
    assert!(events().contains("PassportConflicted"), "{}", events());

    // By itself.
    delete("double");
    paid("with one again");
    becomes(namespace, "clerk", "True InForce");
    assert_eq!(plugin(&["status"]).0, Some(0));

    delete("clerk");
    refused("with none again", none);
    shop.declare().unwrap();
    paid("with one made anew");
    let before = shop.paid().unwrap();
    assert_eq!(
        before,
        ["with its first", "with one again", "with one made anew"]
    );
}

/// Another Passport for the clerk's ServiceAccount.
fn passport(shop: &Shop<'_>, name: &str) -> String {
    let passport = object(&shop.namespace, &["passport", "clerk"]).unwrap();
    let mut spec = passport["spec"].clone();
    spec["agentId"] = json!(name);
    let kind = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Passport"});
    let mut passport = kind;
    passport["metadata"] = json!({"name": name});
    passport["spec"] = spec;
    passport.to_string()
}

/// Pays small bills for ever, each named after the pod.
const WORKER: &str = r#"trap exit TERM; i=0; while true; do i=$((i+1))
  curl -sS -m 20 -o /dev/null -H 'content-type: application/json' \
    -d "{\"amount\":10,\"note\":\"$HOSTNAME $i\"}" https://PROVIDER/v1/payments
  sleep 0.1; done"#;

#[test]
fn an_evicted_pod_leaves_its_whole_record_and_the_next_one_goes_on_under_a_session_of_its_own() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "evicted").unwrap();
    let namespace = &shop.namespace;
    let worker = deployment("worker", &spec(&WORKER.replace("PROVIDER", &shop.host)));
    namespace.apply(&worker.to_string()).unwrap();
    let works = |pod: &str| {
        within(namespace, || {
            let prefix = format!("{pod} ");
            let paid = shop.paid()?;
            let paid = paid.iter().filter(|note| note.starts_with(&prefix));
            ensure!(paid.count() >= 5, "{pod} does not pay");
            Ok(())
        });
    };
    let selector = ["--selector=app=worker"];
    let first = within(namespace, || one_pod(namespace, &selector));
    let name = text_of(&first, "/metadata/name");
    works(name);

    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace.name},
    });
    let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", namespace.name);
    let mut evict = installed.cluster.kube("kubectl");
    evict.args(["create", "--raw", &path, "--filename", "-"]);
    let evicted = fed(&mut evict, eviction.to_string().as_bytes()).unwrap();
    assert!(evicted.status.success(), "{}", text(&evicted));
    let next = within(namespace, || {
        let pod = one_pod(namespace, &selector)?;
        ensure!(
            text_of(&pod, "/metadata/name") != name,
            "the pod is there yet"
        );
        Ok(pod)
    });
    works(text_of(&next, "/metadata/name"));
    within(namespace, || {
        let sessions = [
            "get",
            "passport",
            "clerk",
            "--output=jsonpath={.status.sessions}",
        ];
        let sessions = namespace.ask(&sessions)?;
        ensure!(sessions == "1", "{sessions} sessions, and one pod runs");
        Ok(())
    });
    let found = to_the_last(&shop, &first);
    let permits = found.verdicts.iter().filter(|it| *it == "permit").count();
    let prefix = format!("{name} ");
    let paid = shop.paid().unwrap();
    let paid = paid.iter().filter(|note| note.starts_with(&prefix)).count();
    assert!(paid <= permits, "{paid} payments, {permits} permits");
    assert_eq!(found.outcomes.len(), permits, "each has its outcome");
    let leaves = installed.leaves(namespace).unwrap();
    let follows = recorded(&leaves, &next).streams;
    assert_eq!((found.streams.len(), follows.len()), (1, 1));
    assert!(found.streams.is_disjoint(&follows), "a new session");
}

#[test]
fn a_log_that_is_smaller_than_it_was_is_told_until_an_admin_says_that_it_may_be() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "shrunk").unwrap();
    let namespace = &shop.namespace;
    let becomes = |reason: &str| {
        let path = "--output=jsonpath={.status.conditions[?(@.type=='Consistent')].reason}";
        within(namespace, || {
            let said = namespace.ask(&["get", "evidencelog", "evidence", path])?;
            ensure!(said == reason, "{said}, not {reason}");
            Ok(())
        });
    };
    let ask = |args: &[&str], who: &[&str], input: &[u8]| {
        let mut kubectl = installed.cluster.kube("kubectl");
        kubectl.args(["--namespace", &namespace.name]);
        kubectl.args(args).args(who);
        fed(&mut kubectl, input).unwrap().status.success()
    };
    let grow = |who: &[&str]| {
        let log = ["get", "evidencelog", "evidence", "--output=json"];
        let mut log: Value = serde_json::from_str(&namespace.ask(&log).unwrap()).unwrap();
        *log.pointer_mut("/status/size").unwrap() = json!(1_000_000);
        let of = &namespace.name;
        let path =
            format!("/apis/actpass.org/v1alpha1/namespaces/{of}/evidencelogs/evidence/status");
        let replace = ["replace", "--raw", &path, "--filename=-"];
        ask(&replace, who, log.to_string().as_bytes())
    };
    let forget = |who: &[&str]| ask(&["delete", "evidencelog", "evidence"], who, b"");
    let controller = ["--as=system:serviceaccount:actpass-system:actpass-controller"];
    becomes("Consistent");
    assert!(!grow(&[]) && !forget(&[]), "only the controller writes it");
    eventually(Duration::from_secs(20), || {
        ensure!(grow(&controller), "the controller wrote it meanwhile");
        Ok(())
    })
    .unwrap();
    becomes("Truncated");
    assert!(forget(&controller));
    becomes("Consistent");
}

#[test]
fn a_namespace_that_is_labelled_leaves_its_pods_alone_and_says_which_are_not_governed() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace("labelled").unwrap();
    let viewer = installed.person("vic", &[]).unwrap();
    for role in ["actpass-platform", "view"] {
        installed.allow(&namespace, &viewer, role).unwrap();
    }
    let plugin = |args: &[&str]| {
        let args = [args, &["--namespace", &namespace.name]].concat();
        let output = viewer.actpass(cluster, &args).unwrap();
        (output.status.code(), text(&output))
    };
    let passport = r#"{apiVersion: actpass.org/v1alpha1, kind: Passport, metadata: {name: clerk}, spec: {agentId: clerk,
        subject: {serviceAccountName: clerk}, owner: owner@example.com, purpose: Wait, scope: [{capability: "**"}]}}"#;
    namespace.apply(passport).unwrap();
    let account = ["create", "serviceaccount", "clerk"];
    namespace.ask(&account).unwrap();
    let worker = deployment("worker", &spec(WAITS));
    namespace.apply(&worker.to_string()).unwrap();
    let rolled = || {
        let status = ["rollout", "status", "deployment/worker", "--timeout=90s"];
        let rolled = namespace.ask(&status);
        rolled.unwrap_or_else(|error| panic!("{error}\n{}", standing(&namespace)));
    };
    rolled();
    let said_before = becomes(&namespace, "clerk", "False NamespaceNotEnrolled");
    assert!(said_before.contains("actpass.org/mode"), "{said_before}");
    let (code, said_of_it) = plugin(&["status"]);
    assert_eq!(code, Some(2), "{said_of_it}");
    let selector = ["--selector=app=worker"];
    let before = one_pod(&namespace, &selector).unwrap();
    let name = text_of(&before, "/metadata/name");

    installed.govern(&namespace, "audit").unwrap();
    becomes(&namespace, "clerk", "True InForce");
    let same = one_pod(&namespace, &selector).unwrap();
    assert_eq!(same["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(same["spec"], before["spec"]);
    let out = "curl -sk -m 10 https://kubernetes.default/version";
    let out = text(&namespace.exec(name, out).unwrap());
    assert!(out.contains("gitVersion"), "it goes on as it was: {out}");
    let (code, of_pod) = plugin(&["explain", name]);
    assert_eq!(code, Some(0), "{of_pod}");
    assert!(of_pod.contains("ActPass does not see this pod"), "{of_pod}");
    let (code, of_all) = plugin(&["status"]);
    assert_eq!(code, Some(2), "{of_all}");
    assert!(
        of_all.contains(name) && of_all.contains("restart"),
        "{of_all}"
    );
    let enforce = installed.govern(&namespace, "enforce");
    let refused = enforce.unwrap_err().to_string();
    assert!(refused.contains(name), "{refused}");

    let restart = ["rollout", "restart", "deployment/worker"];
    namespace.ask(&restart).unwrap();
    rolled();
    within(&namespace, || {
        let pod = one_pod(&namespace, &selector)?;
        let first = text_of(&pod, "/spec/initContainers/0/name");
        ensure!(first == "actpass-init", "{first} is first");
        Ok(())
    });
    installed.govern(&namespace, "enforce").unwrap();
    let (code, of_all) = plugin(&["status"]);
    assert_eq!(code, Some(0), "{of_all}");
}

#[test]
fn a_namespace_made_anew_has_nothing_of_the_one_before_but_its_log() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::working(installed, "anew", &["sh", "-c", WAITS]).unwrap();
    let namespace = &shop.namespace;
    let limited = || {
        let limit = r#"{"spec":{"limits":[{"meter":"payments","unit":"USD","max":"60.00","windowSeconds":86400}]}}"#;
        let limit = ["patch", "passport", "clerk", "--type=merge", "-p", limit];
        namespace.ask(&limit).unwrap();
    };
    let ann = installed.person("ann-of-anew", &["finance"]).unwrap();
    let reader = installed.token_person("reader-of-anew").unwrap();
    installed.may_reach_the_ledger(&reader).unwrap();
    let bound = |ann: &Person| {
        installed.allow(namespace, ann, "actpass-approver").unwrap();
        installed
            .allow(namespace, &reader, "actpass-auditor")
            .unwrap();
    };
    let becomes = |cents: u32, note: &str, want: (&str, &str)| {
        within(namespace, || {
            let (status, said) = shop.pay(cents, note)?;
            let (code, word) = want;
            ensure!(status == code, "{note}: {status} {said}");
            ensure!(said.contains(word), "{note}: {said}");
            Ok(())
        });
    };
    let tenant = || {
        let uid = ["get", "namespace", &namespace.name];
        let uid = cluster.ask(&[&uid[..], &["-o=jsonpath={.metadata.uid}"]].concat());
        uid.unwrap()
    };

    // A yes that is not used yet, and a limit that is.
    bound(&ann);
    let asked = shop.asks("large").unwrap();
    let yes = ["approve", &asked, "--yes", "-n", &namespace.name];
    let yes = ann.actpass(cluster, &yes).unwrap();
    assert!(yes.status.success(), "{}", text(&yes));
    let granted = ["get", "approval", &asked, "-o=jsonpath={.status.state}"];
    within(namespace, || {
        let state = namespace.ask(&granted)?;
        ensure!(state == "Granted", "{state}");
        Ok(())
    });
    limited();
    becomes(5_000, "first", ("200", "paid"));
    becomes(5_000, "second", ("403", "limit_exceeded"));
    let old_tenant = tenant();
    let old_pod = one_pod(namespace, &["agent"]).unwrap();

    namespace.anew().unwrap();
    let found = to_the_last(&shop, &old_pod);
    assert_eq!(found.outcomes, ["ok"], "{found:?}");
    let leaves_of = |tenant: &str| {
        let ends = format!("/{tenant}");
        let leaves = installed.leaves(namespace).unwrap();
        let of = leaves
            .into_iter()
            .filter(|leaf| text_of(leaf, "/h/log").ends_with(&ends));
        of.collect::<Vec<Value>>()
    };
    let old_log = leaves_of(&old_tenant);

    bound(&ann);
    installed.govern(namespace, "enforce").unwrap();
    shop.declare().unwrap();
    let sleeps = pod("agent", &spec(WAITS)).to_string();
    namespace.start("agent", &sleeps).unwrap();
    let reached = shop.front.seen().len();
    becomes(100, "no key", ("403", "credential"));
    shop.lend().unwrap();
    // The same bytes that somebody said yes to, and the limit that was used up.
    becomes(9_900, "large", ("403", "approval_required"));
    assert_eq!(shop.front.seen().len(), reached, "nothing went out");
    let approvals = object(namespace, &["approvals"]).unwrap();
    let states: Vec<&str> = approvals["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text_of(it, "/status/state"))
        .collect();
    assert!(!states.contains(&"Granted"), "{approvals}");
    limited();
    becomes(5_000, "third", ("200", "paid"));
    becomes(5_000, "fourth", ("403", "limit_exceeded"));
    let new_tenant = tenant();
    assert_ne!(new_tenant, old_tenant);
    let new_log = leaves_of(&new_tenant);
    assert_eq!(text_of(new_log.first().unwrap(), "/r/kind"), "genesis");
    assert_eq!(leaves_of(&old_tenant), old_log, "nothing is added or lost");
    let bundle = format!("configmap/actpass-bundle-{old_tenant}");
    let kept = cluster.kubectl(&["get", &bundle, "-n", SYSTEM]).unwrap();
    assert!(text(&kept).contains("not found"), "{}", text(&kept));
    // Who may read what is there now may not read what was there before.
    let events = ["events", &namespace.name, "--output=jsonl"];
    let events = text(&reader.actpass(cluster, &events).unwrap());
    assert!(events.contains(&new_tenant), "{events}");
    assert!(!events.contains(&old_tenant), "{events}");
    let dir = installed.copy_of_log().unwrap();
    let verify = std::process::Command::new(actpass_tests::actpass())
        .arg("verify")
        .arg(dir.path())
        .output()
        .context("verify")
        .unwrap();
    assert!(!text(&verify).contains("INVALID"), "{}", text(&verify));
}
