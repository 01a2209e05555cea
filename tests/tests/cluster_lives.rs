//! What happens in the life of a pod, from the first frame on its link to the end of its last request: what is decided stays all
//! that leaves it, and what the pod runs comes to the end that it would have come to.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::io::{BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actpass_tests::cluster::{Namespace, eventually};
use actpass_tests::frames::Watch;
use actpass_tests::front::read;
use actpass_tests::home::text;
use actpass_tests::installed::shared;
use actpass_tests::pod::Pod;
use actpass_tests::posing;
use actpass_tests::restless::*;
use actpass_tests::shop::Shop;
use actpass_tests::workload::*;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Longest wait for a pod to start, to end or to begin anew; on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for another five payments.
fn goes_on(shop: &Shop<'_>) {
    let before = shop.front.seen().len();
    eventually(PATIENCE, || {
        let paid = shop.front.seen().len();
        ensure!(paid >= before + 5, "{paid} payments, {before} before");
        Ok(())
    })
    .with_context(|| text(&shop.namespace.kubectl(&["describe", "pods"]).unwrap()))
    .unwrap();
}

#[test]
fn nothing_leaves_undecided_from_the_first_frame_on() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "first").unwrap();
    let free = cluster.namespace("unfenced").unwrap();
    for namespace in [&shop.namespace, &free] {
        keep_kit(namespace).unwrap();
    }
    let watch = cluster.in_node(Watch::everywhere).unwrap();
    let fenced = restless(&shop);
    let mut unfenced = fenced.clone();
    unfenced["spec"]["serviceAccountName"] = json!("default");
    free.start("agent", &unfenced.to_string()).unwrap();
    shop.namespace.start("agent", &fenced.to_string()).unwrap();
    goes_on(&shop);
    let [fenced, unfenced] = [&shop.namespace, &free].map(|it| Pod::of(it, "agent").unwrap());
    let [link, other] = [&fenced, &unfenced].map(|it| it.link().unwrap());
    let frames = watch.frames().unwrap();

    let outside = of_link(&frames, other);
    for address in [FIRST.1, "203.0.113.20"] {
        assert!(
            went_to(&outside, address),
            "{address} is not seen without a fence"
        );
    }
    let provider = shop.address().unwrap();
    let inside = of_link(&frames, link);
    assert!(
        went_to(&inside, &provider.to_string()),
        "what is decided is seen"
    );
    let left = fenced.undecided(&inside, &[provider], &[&shop.host]);
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_sandbox_made_anew_has_its_rules_first_and_goes_on_under_a_key_of_its_own() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "sandbox").unwrap();
    let namespace = &shop.namespace;
    keep_kit(namespace).unwrap();
    let watch = cluster.in_node(Watch::everywhere).unwrap();
    namespace
        .start("agent", &restless(&shop).to_string())
        .unwrap();
    goes_on(&shop);
    let pod = Pod::of(namespace, "agent").unwrap();
    let before = pod.link().unwrap();
    let key_before = posing::seed_of(&pod).unwrap();
    let used_before = used(&shop).unwrap();
    kill(pod.sandbox().unwrap());
    eventually(PATIENCE, || {
        let events = namespace.ask(&["get", "events", "--field-selector=reason=SandboxChanged"])?;
        ensure!(events.contains("pod/agent"), "{events}");
        Ok(())
    })
    .unwrap();
    // It runs by its new address.
    let after = eventually(PATIENCE, || {
        let now = Pod::of(namespace, "agent")?;
        ensure!(
            now.addresses != pod.addresses,
            "its address is the one before"
        );
        now.link()
    })
    .unwrap();
    // Its sidecar ended as at the end of a pod, and its key with it: that of the new sandbox has another, and goes on.
    goes_on(&shop);
    assert_eq!(shop.pay(100, "anew").unwrap().0, "200");
    let now = Pod::of(namespace, "agent").unwrap();
    let key_now = posing::seed_of(&now).unwrap();
    assert_ne!(key_now, key_before);
    let uid = one_pod(namespace, &["agent"]).unwrap();
    let leaves = installed.leaves(namespace).unwrap();
    let found = recorded(&leaves, &uid);
    assert_eq!(found.streams.len(), 2, "{found:?}");
    assert!(found.ended.is_some(), "the one before has ended");
    // What was used is used: the passport is the same.
    let (used_before, used_now) = (used_before, used(&shop).unwrap());
    assert!(
        used_now > used_before && used_before > 0,
        "{used_before} {used_now}"
    );
    let reasons = ["get", "events", "-o=jsonpath={.items[*].reason}"];
    let reasons = namespace.ask(&reasons).unwrap();
    assert!(reasons.contains("SessionSucceeded"), "{reasons}");
    assert!(
        !reasons.contains("SessionRefused"),
        "nobody is told of a thief: {reasons}"
    );
    // In one sandbox there is one key still. That of the one before is another's from now on.
    for (whose, seed) in [("nobody's", [9; 32]), ("that of before", key_before)] {
        let said = posing::asks(&now, seed).unwrap();
        assert!(said.contains("second_session"), "{whose}: {said}");
    }
    goes_on(&shop);
    let frames = watch.frames().unwrap();

    let provider = shop.address().unwrap();
    for (when, link) in [("before", before), ("after", after)] {
        let of_it = of_link(&frames, link);
        assert!(!of_it.is_empty(), "{when}: the sidecar is seen");
        let left = pod.undecided(&of_it, &[provider], &[&shop.host]);
        assert_eq!(left, Vec::<String>::new(), "{when}");
    }
    // Ours first, all of them again.
    let now = one_pod(namespace, &["agent"]).unwrap();
    let statuses = now["status"]["initContainerStatuses"].as_array().unwrap();
    let began = |status: &Value| {
        let states = ["/state/terminated/startedAt", "/state/running/startedAt"];
        let began = states.iter().find_map(|it| status.pointer(it));
        began.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let began: Vec<String> = statuses.iter().map(began).collect();
    assert!(began.is_sorted() && began.len() == 4, "{began:?}");
}

/// How many cents of the clerk's limit are used.
fn used(shop: &Shop<'_>) -> anyhow::Result<u64> {
    let asked = shop
        .installed
        .ledger(&shop.namespace, "GET", "/v1/limits", None)?;
    let limits: Value = serde_json::from_slice(&asked.stdout)?;
    Ok(text_of(&limits, "/0/used").replace('.', "").parse()?)
}

/// Ends a process at once.
fn kill(process: u32) {
    let status = Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_job_ends_as_it_would_without_a_sidecar_though_that_is_killed_meanwhile() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "jobs").unwrap();
    let namespace = &shop.namespace;
    // It pays, waits until its sidecar was killed, pays again, and ends as it is told.
    let meanwhile = |note: &str, code: u8| {
        let again = pays(&shop, 100, &format!("{note} again"));
        let first = pays(&shop, 100, note);
        let script = format!(
            "until {first}; do sleep 0.2; done; touch /tmp/paid; until [ -e /tmp/go ]; do sleep 0.2; done; \
             until {again}; do sleep 0.2; done; exit {code}"
        );
        job(note, &spec(&script))
    };
    let mut repeats = job("repeats", &spec(&takes_what_is_not_declared(&shop)));
    repeats["spec"]["backoffLimit"] = json!(1);
    let mut late = job(
        "late",
        &spec(&format!("{}; sleep inf", pays(&shop, 100, "late"))),
    );
    late["spec"]["activeDeadlineSeconds"] = json!(15);
    let all = [
        meanwhile("settles", 0),
        meanwhile("fails", 7),
        repeats,
        late,
    ];
    let all = json!({"apiVersion": "v1", "kind": "List", "items": all});
    namespace.apply(&all.to_string()).unwrap();

    for name in ["settles", "fails"] {
        let selector = format!("--selector=job-name={name}");
        let pod = eventually(PATIENCE, || one_pod(namespace, &[&selector])).unwrap();
        let pod = text_of(&pod, "/metadata/name").to_owned();
        let told = |script: &str| {
            eventually(PATIENCE, || {
                let output =
                    namespace.kubectl(&["exec", &pod, "-c", "main", "--", "sh", "-c", script])?;
                ensure!(output.status.success(), "{}", text(&output));
                Ok(())
            })
            .unwrap();
        };
        told("test -e /tmp/paid");
        let pod = Pod::of(namespace, &pod).unwrap();
        kill(pod.process("actpass-proxy").unwrap());
        told("touch /tmp/go");
    }

    struct Case {
        job: &'static str,
        condition: &'static str,
        /// Why it failed.
        reason: &'static str,
        /// Of its pods that are there yet, what their `main` ended with.
        codes: &'static [i64],
    }
    let cases = [
        Case {
            job: "settles",
            condition: "Complete",
            reason: "CompletionsReached",
            codes: &[0],
        },
        Case {
            job: "fails",
            condition: "Failed",
            reason: "BackoffLimitExceeded",
            codes: &[7],
        },
        Case {
            job: "repeats",
            condition: "Failed",
            reason: "BackoffLimitExceeded",
            codes: &[22, 22],
        },
        // A Job takes the pod away whose time is up.
        Case {
            job: "late",
            condition: "Failed",
            reason: "DeadlineExceeded",
            codes: &[],
        },
    ];
    for Case {
        job,
        condition,
        reason,
        codes,
    } in cases
    {
        eventually(PATIENCE, || {
            let path =
                format!("-o=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}");
            let said = namespace.ask(&["get", "job", job, &path])?;
            ensure!(said == reason, "{job}: {said}, not {reason}");
            Ok(())
        })
        .with_context(|| text(&namespace.kubectl(&["describe", "jobs,pods"]).unwrap()))
        .unwrap();
        let selector = format!("--selector=job-name={job}");
        let pods = eventually(PATIENCE, || {
            let pods = object(namespace, &["pods", &selector])?;
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            ensure!(pods.len() == codes.len(), "{job}: {} pods", pods.len());
            Ok(pods)
        })
        .unwrap();
        for (pod, code) in pods.iter().zip(codes) {
            let ended = exit_codes(pod);
            assert!(ended.contains(&("main", *code)), "{job}: {ended:?}");
            assert!(ended.contains(&("actpass-proxy", 0)), "{job}: {ended:?}");
        }
    }
    let paid = shop.paid().unwrap();
    for note in ["settles", "settles again", "fails", "fails again", "late"] {
        assert!(paid.iter().any(|it| it == note), "{note}: {paid:?}");
    }
}

/// A provider that answers what is noted as `long` bit by bit, until it is told to end, and all else at once.
fn ticking(ends: Arc<AtomicBool>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let ends = ends.clone();
            // One that breaks off is the client's business.
            std::thread::spawn(move || tick(socket, &ends).ok());
        }
    });
    Ok(port)
}

fn tick(socket: TcpStream, ends: &AtomicBool) -> anyhow::Result<()> {
    let mut client = BufReader::new(socket);
    let Some(request) = read(&mut client)? else {
        return Ok(());
    };
    let is_long = String::from_utf8_lossy(&request.body).contains("long");
    let client = client.get_mut();
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )?;
    // Twenty minutes at most.
    for _ in 0..12_000 {
        if !is_long || ends.load(Ordering::Relaxed) {
            break;
        }
        write!(client, "5\r\ntick\n\r\n")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    write!(client, "4\r\nend\n\r\n0\r\n\r\n")?;
    Ok(())
}

/// How many ticks an agent has of an answer that it asked for.
fn ticks(namespace: &Namespace<'_>) -> anyhow::Result<usize> {
    let output = namespace.exec("agent", "grep -c tick /tmp/answer")?;
    Ok(text(&output).trim().parse()?)
}

/// A shop whose agent has the first of a long answer, and is then told to end; `at_end` is what it does about that.
fn ending(at_end: &str, grace: u32, ends: &Arc<AtomicBool>) -> Option<Shop<'static>> {
    let installed = shared()?;
    let answers = ticking(ends.clone()).unwrap();
    let shop = Shop::before(installed, "ending", answers).unwrap();
    let long = pays(&shop, 100, "long").replace("-m 20", "-N -m 300");
    let script = at_end
        .replace("LONG", &format!("{long} >/tmp/answer"))
        .replace("LAST", &pays(&shop, 100, "last"));
    let mut spec = spec(&script);
    spec["terminationGracePeriodSeconds"] = json!(grace);
    shop.namespace
        .start("agent", &pod("agent", &spec).to_string())
        .unwrap();
    eventually(PATIENCE, || {
        let ticks = ticks(&shop.namespace)?;
        ensure!(ticks >= 3, "{ticks} ticks");
        Ok(())
    })
    .unwrap();
    let delete = ["delete", "pod", "agent", "--wait=false"];
    shop.namespace.ask(&delete).unwrap();
    Some(shop)
}

/// What the log has of the pod, once its stream has ended.
fn last_of(shop: &Shop<'_>, pod: &Value) -> Recorded {
    eventually(PATIENCE, || {
        let found = recorded(&shop.installed.leaves(&shop.namespace)?, pod);
        ensure!(found.ended.is_some(), "{found:?}");
        Ok(found)
    })
    .unwrap()
}

fn is_gone(namespace: &Namespace<'_>) {
    let gone = ["wait", "--for=delete", "pod/agent", "--timeout=90s"];
    namespace.ask(&gone).unwrap();
}

#[test]
fn an_answer_under_way_at_the_end_of_a_pod_comes_to_its_end_and_one_more_request_too() {
    let ends = Arc::new(AtomicBool::new(false));
    let at_end = "trap : TERM; LONG & c=$!; while kill -0 $c 2>/dev/null; do wait $c; code=$?; done; \
                  tail -n 1 /tmp/answer | grep -q end && [ $code = 0 ] && LAST; exit 3";
    let Some(shop) = ending(at_end, 60, &ends) else {
        return;
    };
    let namespace = &shop.namespace;
    let pod = one_pod(namespace, &["agent"]).unwrap();
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let before = ticks(namespace).unwrap();
    eventually(PATIENCE, || {
        let now = ticks(namespace)?;
        ensure!(
            now >= before + 20,
            "{now} ticks, {before} when it was told to end"
        );
        Ok(())
    })
    .unwrap();
    ends.store(true, Ordering::Relaxed);
    is_gone(namespace);
    assert_eq!(shop.paid().unwrap(), ["long", "last"]);
    let found = last_of(&shop, &pod);
    assert_eq!(found.verdicts, ["permit", "permit"], "{found:?}");
    assert_eq!(found.outcomes, ["ok", "ok"], "{found:?}");
    assert_eq!(found.ended.as_deref(), Some("closed"), "{found:?}");
}

#[test]
fn a_grace_that_runs_out_ends_the_agent_and_its_record_says_what_is_known() {
    let ends = Arc::new(AtomicBool::new(false));
    let Some(shop) = ending("trap '' TERM; LONG", 1, &ends) else {
        return;
    };
    is_given_up(&shop);
    ends.store(true, Ordering::Relaxed);
}

#[test]
fn a_grace_that_runs_out_ends_what_the_sidecar_reads_for_an_agent_that_left() {
    let ends = Arc::new(AtomicBool::new(false));
    // The kubelet leaves the sidecar two seconds, and it would read on for thirty.
    let at_end = "trap '' TERM; timeout -s KILL 8 LONG; exec sleep 300";
    let Some(shop) = ending(at_end, 1, &ends) else {
        return;
    };
    is_given_up(&shop);
    ends.store(true, Ordering::Relaxed);
}

/// The pod ends in the middle of an answer, and its record says so.
fn is_given_up(shop: &Shop<'_>) {
    let pod = one_pod(&shop.namespace, &["agent"]).unwrap();
    is_gone(&shop.namespace);
    assert_eq!(shop.paid().unwrap(), ["long"]);
    let found = last_of(shop, &pod);
    assert_eq!(found.verdicts, ["permit"], "{found:?}");
    assert_eq!(found.outcomes, ["ambiguous"], "{found:?}");
    assert_eq!(found.ended.as_deref(), Some("closed"), "{found:?}");
}

/// Answers on two ports by TCP and on two by UDP.
const ANSWERS: &str = r"
import socket, threading
def listening(kind, port):
    at = socket.socket(socket.AF_INET6, kind)
    at.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    at.bind(('::', port))
    while True:
        if kind == socket.SOCK_DGRAM:
            at.sendto(b'answered', at.recvfrom(99)[1])
        else:
            at.listen()
            at.accept()[0].sendall(b'answered')
for kind, port in (socket.SOCK_STREAM, 8080), (socket.SOCK_STREAM, 8081), (socket.SOCK_DGRAM, 8082), (socket.SOCK_DGRAM, 8083):
    threading.Thread(target=listening, args=(kind, port)).start()
";

/// Asks there, and prints what is answered.
const ASKS: &str = "
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == 'TCP' else socket.SOCK_DGRAM
family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
asks = socket.socket(family, kind)
asks.settimeout(2)
asks.connect((sys.argv[2], int(sys.argv[3])))
asks.send(b'asked')
print(asks.recv(99).decode())
";

/// A pod that answers, one port of each kind declared.
fn answers(account: &str) -> String {
    let mut container = container("main", "");
    container["image"] = json!("actpass.test/agent-python:test");
    container["command"] = json!(["python3", "-c", ANSWERS]);
    container["ports"] =
        json!([{"containerPort": 8080}, {"containerPort": 8083, "protocol": "UDP"}]);
    let mut spec = spec("");
    spec["serviceAccountName"] = json!(account);
    spec["containers"] = json!([container]);
    pod("agent", &spec).to_string()
}

#[test]
fn an_agent_is_reached_by_tcp_at_what_it_declares_and_nowhere_else() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "asked").unwrap();
    let free = cluster.namespace("askers").unwrap();
    free.start("agent", &answers("default")).unwrap();
    shop.namespace.start("agent", &answers("clerk")).unwrap();

    // By a pod of another namespace, and by the node.
    let asked = |address: &IpAddr, what: &str, port: u16| -> [bool; 2] {
        let (address, port) = (address.to_string(), port.to_string());
        let asks = ["python3", "-c", ASKS, what, &address, &port];
        let by_pod = free.kubectl(&[&["exec", "agent", "--"], &asks[..]].concat());
        let by_node = cluster.node("python3").args(&asks[1..]).output();
        [by_pod.unwrap(), by_node.unwrap()].map(|it| text(&it).trim() == "answered")
    };
    let ports = [("TCP", 8080), ("TCP", 8081), ("UDP", 8082), ("UDP", 8083)];
    let all = [true; 4];
    for (namespace, open) in [(&free, all), (&shop.namespace, [true, false, false, false])] {
        let pod = Pod::of(namespace, "agent").unwrap();
        assert_eq!(pod.addresses.len(), 2, "{:?}", pod.addresses);
        for address in &pod.addresses {
            for ((what, port), open) in ports.iter().zip(open) {
                let found = asked(address, what, *port);
                let name = &namespace.name;
                assert_eq!(
                    found, [open; 2],
                    "{name}: {what} to {address} {port}, by a pod and the node"
                );
            }
        }
    }
}
