//! Everything that can die is killed under load, one after the other and again: what reached the provider stays a part of
//! what was durably permitted, nothing happens twice, and everything comes back without a hand.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use actpass_core::evidence::record::OutcomeResult;
use actpass_tests::account::Account;
use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use actpass_tests::shop::Shop;
use actpass_tests::{actpass, scaled};

/// Pays small bills for ever, several at once, each with a note of its own.
const AGENT: &str = r#"
pay() { i=0; while [ ! -e /tmp/stop ]; do i=$((i+1))
  curl -sS -m 10 -o /dev/null -H 'content-type: application/json' -d "{\"amount\":100,\"note\":\"$1-$i\"}" \
    https://PROVIDER/v1/payments || sleep 0.2
done; }
for k in 1 2 3 4; do pay $k & done; wait; sleep inf
"#;

/// What is killed, in this order.
const PARTS: [Part; 6] = [
    Part::Controller,
    Part::Sidecar,
    Part::Webhook,
    Part::Ledger,
    Part::Kubelet,
    Part::ApiServer,
];

/// How long anything may take until it works again.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Controller,
    Webhook,
    Ledger,
    Sidecar,
    Kubelet,
    ApiServer,
}

struct World<'a> {
    shop: Shop<'a>,
    cluster: &'a Cluster,
}

impl World<'_> {
    /// Kills it as by the kernel's hand; whoever keeps it starts it again.
    fn kill(&self, part: Part) {
        match part {
            Part::Controller => self.kill_container(SYSTEM, "controller"),
            Part::Webhook => self.kill_container(SYSTEM, "webhook"),
            Part::Ledger => self.kill_container(SYSTEM, "ledger"),
            Part::Sidecar => self.kill_container(&self.shop.namespace.name, "agent"),
            Part::Kubelet => self.restart("kubelet"),
            Part::ApiServer => self.restart_api_server(),
        }
    }

    /// And who keeps Services: each time it was away they wait longer before they look again, in the end a minute and more,
    /// where elsewhere they end with the lease of their leader.
    fn restart_api_server(&self) {
        self.restart("kube-apiserver");
        eventually(PATIENCE, || self.cluster.ask(&["get", "--raw", "/readyz"])).unwrap();
        self.restart("kube-controller-manager");
        self.restart("kube-proxy");
    }

    /// All containers of a part, or the sidecar of the agent.
    fn kill_container(&self, namespace: &str, of: &str) {
        let (what, path) = match of {
            "agent" => (
                vec!["pod/agent".to_owned()],
                "{.status.initContainerStatuses[?(@.name==\"actpass-proxy\")].containerID}",
            ),
            part => (
                vec![
                    "pod".to_owned(),
                    format!("--selector=app.kubernetes.io/component={part}"),
                ],
                "{range .items[*]}{.status.containerStatuses[0].containerID} {end}",
            ),
        };
        let path = format!("-o=jsonpath={path}");
        let mut args = vec!["get", "--namespace", namespace, &path];
        args.extend(what.iter().map(String::as_str));
        // The API server may be on its way.
        let ids = eventually(PATIENCE, || {
            let ids = self.cluster.ask(&args)?;
            anyhow::ensure!(!ids.trim().is_empty(), "no container of {of}");
            Ok(ids)
        })
        .unwrap();
        for id in ids.split_whitespace() {
            let id = id.rsplit('/').next().unwrap_or(id);
            let mut kill = self.cluster.node("ctr");
            kill.args(["--address", "/run/actpass/containerd.sock", "-n", "k8s.io"])
                .args(["task", "kill", "-s", "SIGKILL", id]);
            // One that just ended is as dead as the others.
            kill.output().unwrap();
        }
    }

    fn restart(&self, name: &str) {
        for what in ["kill", "start"] {
            let mut part = self.cluster.node("/run/actpass/part");
            let output = part.args([what, name]).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            // Away for a while, so that others notice.
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits for another five payments: how long it took.
    fn pays_again(&self, why: &str) -> Duration {
        let (since, before) = (Instant::now(), self.shop.front.seen().len());
        eventually(PATIENCE, || {
            let paid = self.shop.front.seen().len();
            anyhow::ensure!(paid >= before + 5, "{paid} payments, {before} before");
            Ok(())
        })
        .unwrap_or_else(|error| {
            let log = ["logs", "agent", "-c", "actpass-proxy", "--tail=20"];
            let log = self.shop.namespace.kubectl(&log).unwrap();
            panic!(
                "after {why}: {error}\n{}\n{}",
                text(&log),
                self.shop.installed.standing()
            )
        });
        since.elapsed()
    }

    /// The log's directory, as the machine sees the ledger's volume.
    fn log(&self) -> PathBuf {
        let uid = [
            "get",
            "pod",
            "actpass-ledger-0",
            "-n",
            SYSTEM,
            "-o=jsonpath={.metadata.uid}",
        ];
        let uid = self.cluster.ask(&uid).unwrap();
        let pod = self.cluster.state().join("kubelet/pods").join(uid);
        pod.join("volumes/kubernetes.io~empty-dir/data/log")
    }
}

#[test]
fn killed_at_any_moment_nothing_happens_without_a_permit_and_all_comes_back() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::working(&installed, "kills", &["sh", "-c", AGENT]).unwrap();
    let world = World {
        shop,
        cluster: &cluster,
    };
    world.pays_again("the start");

    let rounds = scaled(204);
    let mut took: BTreeMap<Part, Vec<Duration>> = BTreeMap::new();
    for (round, part) in (0..rounds).zip(PARTS.iter().cycle()) {
        std::thread::sleep(Duration::from_millis(u64::from(round * 7_919 % 700)));
        world.kill(*part);
        let again = world.pays_again(&format!("kill {round}, of {part:?}"));
        took.entry(*part).or_default().push(again);
    }
    let quiet = world
        .shop
        .namespace
        .exec("agent", "touch /tmp/stop")
        .unwrap();
    assert!(quiet.status.success(), "{}", text(&quiet));
    // All parts are there again, and what the sidecar still held is in the log.
    installed.rolled_out().unwrap();
    let of = format!("/{}/", world.shop.namespace.name);
    // What was on its way is paid, or not, by then.
    let (paid, account) = eventually(PATIENCE, || {
        let paid = world.shop.paid()?;
        let account = Account::of(&world.log(), &of)?;
        let justified = account.justify(&paid);
        anyhow::ensure!(account.open() == 0, "{} permits are open", account.open());
        justified.map(|()| (paid, account))
    })
    .unwrap();
    let copy = tempfile::tempdir().unwrap();
    copied(&world.log(), copy.path());
    let verified = Command::new(actpass())
        .arg("verify")
        .arg(copy.path())
        .output()
        .unwrap();
    assert!(!text(&verified).contains("INVALID"), "{}", text(&verified));
    assert!(
        matches!(verified.status.code(), Some(0 | 2)),
        "{}",
        text(&verified)
    );

    let ambiguous = account.outcomes.values();
    let ambiguous = ambiguous
        .filter(|it| **it == OutcomeResult::Ambiguous)
        .count();
    println!(
        "{rounds} kills: {} effects of {} permits, {ambiguous} ambiguous",
        paid.len(),
        account.permits.len()
    );
    for (part, mut times) in took {
        times.sort();
        let median = times.get(times.len() / 2).unwrap();
        println!(
            "{part:?}: {} times; five more payments after {median:?} (median), {:?} (at most)",
            times.len(),
            times.last().unwrap()
        );
    }
    assert!(paid.len() >= usize::try_from(rounds * 5).unwrap());
}

fn copied(from: &std::path::Path, to: &std::path::Path) {
    let output = Command::new("cp")
        .arg("-r")
        .arg(from.join("."))
        .arg(to)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(fs::read_dir(to).unwrap().count() > 0, "the log is copied");
}
