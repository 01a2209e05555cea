//! A sidecar that is killed, starved of memory or stopped while its agents pay and others of the pod try to get out: whatever
//! becomes of it, nothing leaves that was not decided.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::pod::Pod;
use actpass_tests::scaled;
use actpass_tests::shop::Shop;
use anyhow::{Context, ensure};

/// How a sidecar ends, or does not go on.
#[derive(Clone, Copy, Debug)]
enum Way {
    Killed,
    Starved,
    Stopped,
}

/// A container that starts anew, a session and a stream that goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is tried all the while: by each kind of socket, and from what the sidecar leaves behind.
const ATTEMPTS: &str = "udp4 udp6 tcp4 tcp6 dns4 dns6 device_tcp4 device_udp4 freebind_tcp6 freebind_dns6 ping4 igmp \
                        fast_open4 mptcp4 stale_tcp capture_port";

/// Connections enough to use what little memory is left.
const HUNGRY: &str =
    "for i in $(seq 60); do curl -sk -m 5 -o /dev/null https://HOST/v1/x & done; wait";

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    // One that just ended is as dead as the others.
    drop(status);
}

/// Leaves a process's container this little more memory than it has, in either version of cgroups.
fn starve(process: u32) -> anyhow::Result<()> {
    const LITTLE: u64 = 256 << 10;
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let v1 = groups.lines().find_map(|line| line.split_once(":memory:"));
    let (dir, usage, limit) = match v1 {
        Some((_, path)) => (
            format!("/sys/fs/cgroup/memory{path}"),
            "memory.usage_in_bytes",
            "memory.limit_in_bytes",
        ),
        None => {
            let path = groups.trim().trim_start_matches("0::");
            let dir = format!("/sys/fs/cgroup{path}");
            (dir, "memory.current", "memory.max")
        }
    };
    let used: u64 = fs::read_to_string(format!("{dir}/{usage}"))?
        .trim()
        .parse()?;
    fs::write(format!("{dir}/{limit}"), (used + LITTLE).to_string())?;
    Ok(())
}

/// Does it, and returns when the sidecar of before is gone, or goes on.
fn done_to(pod: &Pod<'_>, host: &str, way: Way) -> anyhow::Result<()> {
    let process = eventually(PATIENCE, || pod.process("actpass-proxy"))?;
    match way {
        Way::Killed => signal(process, "KILL"),
        Way::Starved => {
            starve(process)?;
            eventually(PATIENCE, || {
                pod.namespace
                    .exec(&pod.name, &HUNGRY.replace("HOST", host))?;
                ensure!(!fs::exists(format!("/proc/{process}"))?, "it lives");
                Ok(())
            })?;
        }
        Way::Stopped => {
            signal(process, "STOP");
            std::thread::sleep(Duration::from_millis(700));
            signal(process, "CONT");
        }
    }
    Ok(())
}

#[test]
fn a_sidecar_that_dies_in_any_way_lets_nothing_out() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::paying(&installed, "dies").unwrap();
    let pod = Pod::of(&shop.namespace, "agent").unwrap();
    pod.plant("main").unwrap();
    let provider = shop.address().unwrap();
    let sniffer = pod.sniffer().unwrap();
    let trying = format!(
        "while ! [ -e /tmp/stop ]; do /opt/attack/attack {ATTEMPTS}; done >/tmp/tried 2>&1 &"
    );
    let begun = shop.namespace.exec("agent", &trying).unwrap();
    assert!(begun.status.success(), "{}", text(&begun));

    let rounds = scaled(200);
    let mut frames = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let way = [
            Way::Killed,
            Way::Stopped,
            Way::Killed,
            Way::Starved,
            Way::Stopped,
        ][usize::try_from(round % 5).unwrap()];
        std::thread::sleep(Duration::from_millis(u64::from(round * 7_919 % 500)));
        let before = shop.front.seen().len();
        done_to(&pod, &shop.host, way)
            .with_context(|| format!("round {round}, {way:?}"))
            .unwrap();
        let since = Instant::now();
        eventually(PATIENCE, || {
            let paid = shop.front.seen().len();
            ensure!(paid >= before + 3, "{paid} payments, {before} before");
            Ok(())
        })
        .with_context(|| format!("round {round}, {way:?}: {}", installed.standing()))
        .unwrap();
        slowest = slowest.max(since.elapsed());
        let seen = sniffer.so_far().unwrap();
        frames += seen.len();
        let left = pod.undecided(&seen, &[provider], &[&shop.host]);
        assert_eq!(left, Vec::<String>::new(), "round {round}, {way:?}");
    }
    let tried = shop
        .namespace
        .exec("agent", "touch /tmp/stop; grep -c . /tmp/tried")
        .unwrap();
    let tried: u32 = text(&tried).trim().parse().unwrap();
    assert!(tried > rounds, "{tried} attempts in {rounds} rounds");
    assert!(frames > 0, "the payments are seen");
    nothing_is_told_of_the_fence(&shop).unwrap();
    println!(
        "{rounds} rounds: {frames} frames, each of a decided connection; {tried} attempts; three payments after {slowest:?} at most"
    );
}

/// That a sidecar is away is no hole in its fence, and nobody is told of one.
fn nothing_is_told_of_the_fence(shop: &Shop<'_>) -> anyhow::Result<()> {
    let notes = eventually(PATIENCE, || {
        let leaves = shop.installed.leaves(&shop.namespace)?;
        let notes = leaves.iter().filter_map(|leaf| {
            let body = leaf.pointer("/r/body")?;
            (body["note"] == "fence").then(|| body["text"].to_string())
        });
        let notes: Vec<String> = notes.collect();
        ensure!(!notes.is_empty(), "not even that it stood at first");
        Ok(notes)
    });
    for note in notes? {
        ensure!(note.contains("none is open"), "{note}");
    }
    let broken = [
        "get",
        "events",
        "--field-selector=reason=FenceBroken",
        "-o=name",
    ];
    let broken = shop.namespace.ask(&broken)?;
    ensure!(broken.is_empty(), "{broken}");
    Ok(())
}

/// Waits until a command in the agent's container succeeds.
fn tells(shop: &Shop<'_>, script: &str) -> anyhow::Result<()> {
    eventually(PATIENCE, || {
        let said = shop.namespace.exec("agent", script)?;
        ensure!(said.status.success(), "{script}: {}", text(&said));
        Ok(())
    })
}

/// Somebody in the agent's container takes the sidecar's ports while that is away: it can keep the sidecar from coming back, and
/// nothing else.
#[test]
fn whoever_takes_the_ports_of_a_dead_sidecar_gets_nothing_out() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::open(&installed, "squat").unwrap();
    assert_eq!(shop.pay(100, "before").unwrap().0, "200");
    let pod = Pod::of(&shop.namespace, "agent").unwrap();
    pod.plant("main").unwrap();
    let sniffer = pod.sniffer().unwrap();
    // Until it has the ports; then until it is told to give them back.
    let squat = "for i in $(seq 20000); do ! grep -q listening /tmp/squat 2>/dev/null || exit 0; \
                 sh -c 'echo $$ >/tmp/squatter; exec /opt/attack/attack listen 15001 15053' >>/tmp/squat 2>/dev/null; done; exit 1";
    std::thread::scope(|threads| {
        let squatting = threads.spawn(|| shop.namespace.exec("agent", squat).unwrap());
        tells(&shop, "test -s /tmp/squatter").expect("it tries to");
        signal(pod.process("actpass-proxy").unwrap(), "KILL");
        tells(&shop, "grep -q listening /tmp/squat").expect("it holds the ports");
        let (status, said) = shop.pay(100, "squatted").unwrap();
        assert_ne!(status, "200", "in the sidecar's place: {said}");
        assert_eq!(shop.front.seen().len(), 1);
        tells(&shop, "kill $(cat /tmp/squatter)").expect("it held them until now");
        let ended = squatting.join().unwrap();
        assert!(ended.status.success(), "{}", text(&ended));
    });
    eventually(PATIENCE, || {
        let (status, said) = shop.pay(100, "after")?;
        ensure!(status == "200", "{status} {said}");
        Ok(())
    })
    .unwrap();
    let frames = sniffer.seen().unwrap();
    let provider = shop.address().unwrap();
    let left = pod.undecided(&frames, &[provider], &[&shop.host]);
    assert_eq!(left, Vec::<String>::new());
}
