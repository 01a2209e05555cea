//! What a node does to its pods: it ends them all at once, as when it is switched off, or loads no rules. Pods have their rules
//! first when they come back; without rules they run no agent, and say why.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually};
use actpass_tests::fed;
use actpass_tests::frames::Watch;
use actpass_tests::home::text;
use actpass_tests::installed::shared;
use actpass_tests::pod::Pod;
use actpass_tests::restless::*;
use actpass_tests::shop::Shop;
use actpass_tests::workload::*;
use anyhow::ensure;
use serde_json::Value;

/// Until all pods of a node run again, those of the installation among them.
const PATIENCE: Duration = Duration::from_secs(90);

/// Each of these tests changes the node under all that runs there.
static NODE: Mutex<()> = Mutex::new(());

/// Runs a script on the node.
fn on_node(cluster: &Cluster, script: &str) -> String {
    // What it starts keeps no pipe of ours open.
    let mut sh = cluster.node("sh");
    let output = sh.args(["-c", script]).stdin(Stdio::null()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output));
    text(&output)
}

/// Ends what runs in pods and whoever keeps them, at once, and takes away what lives in memory only: networks, volumes in
/// memory, the runtime's own state.
const POWER_OFF: &str = r#"
/run/actpass/part kill kubelet
/run/actpass/part kill containerd
for process in /proc/[0-9]*; do
  case $(cat "$process/comm" 2>/dev/null) in containerd-shim*) kill -9 "${process#/proc/}" ;; esac
  grep -q /kubepods/ "$process/cgroup" 2>/dev/null && kill -9 "${process#/proc/}"
done
sleep 1
awk '$2 ~ "/kubelet/pods/|/run/containerd/|/netns/cni-" { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount -l
rm -rf /run/containerd/* /run/actpass-cni /run/netns/cni-* /run/actpass/containerd.sock
: >/run/actpass/log/containerd.log
"#;

const POWER_ON: &str = r#"
/run/actpass/part start containerd
for _ in $(seq 200); do grep -q "successfully booted" /run/actpass/log/containerd.log && break; sleep 0.1; done
/run/actpass/part start kubelet
"#;

/// Id of the agent's container.
fn id(namespace: &Namespace<'_>) -> anyhow::Result<String> {
    let running = "{.status.containerStatuses[0].state.running.startedAt}";
    let id = format!("-o=jsonpath={{.status.containerStatuses[0].containerID}} {running}");
    let id = namespace.ask(&["get", "pod", "agent", &id])?;
    ensure!(id.trim().contains(' '), "it does not run: {id}");
    Ok(id)
}

#[test]
fn a_node_that_is_switched_off_and_on_has_its_fences_first() {
    let Some(installed) = shared() else { return };
    let _alone = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "power").unwrap();
    let namespace = &shop.namespace;
    keep_kit(namespace).unwrap();
    namespace
        .start("agent", &restless(&shop).to_string())
        .unwrap();
    let pays = || {
        let before = shop.front.seen().len();
        eventually(PATIENCE, || {
            let paid = shop.front.seen().len();
            ensure!(paid >= before + 5, "{paid} payments, {before} before");
            Ok(())
        })
        .unwrap();
    };
    pays();
    let before = id(namespace).unwrap();
    on_node(cluster, POWER_OFF);
    let watch = cluster.in_node(Watch::everywhere).unwrap();
    on_node(cluster, POWER_ON);
    eventually(PATIENCE, || {
        let now = id(namespace)?;
        ensure!(now != before, "the node is not back");
        Ok(())
    })
    .unwrap();
    installed.rolled_out().unwrap();
    // The key was in memory, and its stream nobody has ended: the pod goes on under another, without anybody's help.
    pays();
    let uid = one_pod(namespace, &["agent"]).unwrap();
    let found = recorded(&installed.leaves(namespace).unwrap(), &uid);
    assert_eq!(found.streams.len(), 2, "{found:?}");
    assert_eq!(found.ended.as_deref(), Some("expired_tail_unknown"));
    let reasons = ["get", "events", "-o=jsonpath={.items[*].reason}"];
    let reasons = namespace.ask(&reasons).unwrap();
    assert!(reasons.contains("SessionSucceeded"), "{reasons}");
    assert!(
        !reasons.contains("SessionRefused"),
        "nobody is told of a thief: {reasons}"
    );
    let pod = Pod::of(namespace, "agent").unwrap();
    let link = of_link(&watch.frames().unwrap(), pod.link().unwrap());
    assert!(!link.is_empty(), "its sidecar is seen");
    let left = pod.undecided(&link, &[shop.address().unwrap()], &[&shop.host]);
    assert_eq!(left, Vec::<String>::new());
}

/// What loads the rules becomes another program in all images of `actpass-init` on the node; nothing: its own again.
fn loads_by(cluster: &Cluster, program: Option<&str>) {
    let script = r#"
found=0
for nft in /run/actpass/containerd/root/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/usr/sbin/nft; do
  [ -e "${nft%/usr/sbin/nft}/actpass-init" ] || continue
  [ -e "$nft.own" ] || cp -p "$nft" "$nft.own"
  cp "${OTHER:-$nft.own}" "$nft.new" && chmod 755 "$nft.new" && mv "$nft.new" "$nft" && found=1
done
[ $found = 1 ]
"#;
    let other = program.unwrap_or_default();
    on_node(cluster, &format!("OTHER={other}\n{script}"));
}

/// A program that waits for ever, whatever it is told.
const WAITING: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

#[test]
fn where_the_rules_cannot_be_loaded_no_agent_runs_and_the_pod_says_why() {
    let Some(installed) = shared() else { return };
    let _alone = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "ruleless").unwrap();
    let namespace = &shop.namespace;
    keep_kit(namespace).unwrap();
    let waiting = cluster.state().join("waiting");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-xc", "-", "-o"]).arg(&waiting);
    assert!(
        fed(&mut compiler, WAITING.as_bytes())
            .unwrap()
            .status
            .success()
    );
    let of_init = |pod: &Value, at: &str| {
        let status = pod["status"]["initContainerStatuses"][0].pointer(at);
        status.cloned().unwrap_or_default()
    };
    let watch = cluster.in_node(Watch::everywhere).unwrap();

    // It fails.
    loads_by(cluster, Some("/bin/false"));
    namespace.apply(&restless(&shop).to_string()).unwrap();
    let failed = eventually(PATIENCE, || {
        let pod = one_pod(namespace, &["agent"])?;
        let restarts = of_init(&pod, "/restartCount");
        ensure!(restarts.as_i64() >= Some(2), "{restarts} restarts");
        Ok(of_init(&pod, "/lastState/terminated"))
    })
    .unwrap();
    assert_eq!(failed["exitCode"], 1);
    assert!(
        text_of(&failed, "/message").starts_with("actpass-init: "),
        "{failed}"
    );

    // It is killed half way, again and again.
    loads_by(cluster, Some("/run/actpass/waiting"));
    for _ in 0..2 {
        let killed = eventually(PATIENCE, || {
            let process = Pod::of(namespace, "agent")?.process("actpass-init")?;
            let kill = Command::new("kill")
                .args(["-9", &process.to_string()])
                .status()?;
            ensure!(kill.success(), "it is gone already");
            Ok(())
        });
        killed.unwrap();
        eventually(PATIENCE, || {
            let pod = one_pod(namespace, &["agent"])?;
            let code = of_init(&pod, "/lastState/terminated/exitCode");
            ensure!(code == 137, "{code}");
            Ok(())
        })
        .unwrap();
    }
    let pod = one_pod(namespace, &["agent"]).unwrap();
    let others = pod["status"]["initContainerStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1);
    let agents = pod["status"]["containerStatuses"].as_array().unwrap();
    for status in others.chain(agents) {
        assert_eq!(status["restartCount"], 0, "{status}");
        assert_eq!(
            text_of(status, "/state/waiting/reason"),
            "PodInitializing",
            "{status}"
        );
    }

    // What it waited for is there.
    loads_by(cluster, None);
    eventually(PATIENCE, || {
        if let Ok(process) = Pod::of(namespace, "agent")?.process("actpass-init") {
            drop(
                Command::new("kill")
                    .args(["-9", &process.to_string()])
                    .status(),
            );
        }
        ensure!(shop.front.seen().len() > 3, "it does not pay");
        Ok(())
    })
    .unwrap();
    let pod = Pod::of(namespace, "agent").unwrap();
    let link = of_link(&watch.frames().unwrap(), pod.link().unwrap());
    let provider = shop.address().unwrap();
    assert!(
        went_to(&link, &provider.to_string()),
        "what is decided is seen"
    );
    let left = pod.undecided(&link, &[provider], &[&shop.host]);
    assert_eq!(left, Vec::<String>::new());
}
