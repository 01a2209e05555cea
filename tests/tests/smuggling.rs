//! Requests that different readers take for different ones, before servers that others wrote: each server says what it
//! read, and that is what was judged and permitted, one to one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

#[path = "smuggling/agent.rs"]
mod agent;
#[path = "smuggling/attacks.rs"]
mod attacks;
#[path = "smuggling/fields.rs"]
mod fields;
#[path = "smuggling/frames.rs"]
mod frames;
#[path = "smuggling/framing.rs"]
mod framing;
#[path = "smuggling/heads.rs"]
mod heads;
#[path = "smuggling/http2.rs"]
mod http2;
#[path = "smuggling/judge.rs"]
mod judge;
#[path = "smuggling/leftovers.rs"]
mod leftovers;
#[path = "smuggling/naive.rs"]
mod naive;
#[path = "smuggling/servers.rs"]
mod servers;
#[path = "smuggling/targets.rs"]
mod targets;
#[path = "smuggling/unasked.rs"]
mod unasked;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use actpass_tests::authority::Authority;
use actpass_tests::proxied::Proxied;
use tokio::task::block_in_place;

use attacks::Attack;
use servers::{Kind, Logged, Server};

const POLICY: &str = include_str!("smuggling/policy.yaml");

/// Attacks that the list must not fall below.
const ATTACKS_MIN: usize = 300;

/// All attacks, with the markers of their requests.
fn marked() -> Vec<(String, Attack)> {
    let all = [framing::all(), heads::all(), targets::all(), http2::all()]
        .into_iter()
        .flatten();
    let marked = all.enumerate();
    marked
        .map(|(at, attack)| (format!("a{at:03}"), attack))
        .collect()
}

#[test]
fn attacks_have_names_of_their_own() {
    let marked = marked();
    let names: BTreeSet<&str> = marked.iter().map(|(_, it)| it.name.as_str()).collect();
    assert_eq!(names.len(), marked.len());
    assert!(marked.len() >= ATTACKS_MIN, "{} attacks", marked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_reaches_nginx_that_was_not_judged() {
    nothing_reaches(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_reaches_haproxy_that_was_not_judged() {
    nothing_reaches(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_reaches_envoy_that_was_not_judged() {
    nothing_reaches(Kind::Envoy).await;
}

async fn nothing_reaches(kind: Kind) {
    if let Some((_, version)) = kind.installed() {
        println!("{version}");
        // All of them; then what HTTP/2 can say to a server that is spoken to in HTTP/1.1.
        judged(kind, true, marked()).await;
        let frames = marked().into_iter().filter(|(_, it)| it.is_http2());
        judged(kind, false, frames.collect()).await;
    }
}

/// Sends the attacks through a sidecar to one server.
async fn judged(kind: Kind, http2: bool, attacks: Vec<(String, Attack)>) {
    let (begun, authority) = (Instant::now(), Authority::new().unwrap());
    let server = Server::start(kind, &authority, http2).unwrap();
    let proxied = Proxied::start_before(POLICY, &authority, server.port).await;
    let proxied = proxied.unwrap();
    let mut survived = 0;
    for (mark, attack) in &attacks {
        survived += usize::from(block_in_place(|| attacked(proxied.address, attack, mark)));
    }
    let parts = proxied.close().await.unwrap();
    parts.verified().unwrap();
    let actions = parts.permitted().unwrap();
    let permitted = judge::permitted(&actions);
    let must: usize = permitted.values().map(|times| times.must).sum();
    let relay = naive::relay(&authority, server.port);
    let logged = block_in_place(|| read_to_the_end(&server, relay, must, 0));
    let differences = judge::differences(&permitted, &logged);
    let of = |text: &str| {
        attacks
            .iter()
            .find(|(mark, _)| text.contains(mark))
            .map(|(_, it)| (&it.name, it.why))
    };
    let shown: Vec<_> = differences.iter().map(|it| (it, of(it))).collect();
    assert!(shown.is_empty(), "{kind:?}: {shown:#?}");
    for told in permitted.iter().filter(|(_, times)| times.must > 0) {
        let mut without = permitted.clone();
        without.remove(told.0);
        let found = judge::differences(&without, &logged);
        assert_eq!(found.len(), 1, "{told:?}, had it not been judged");
    }
    let own = |path: &str, mark: &str| {
        path.contains(mark) && !path.ends_with("/after") && !path.ends_with("/fresh")
    };
    let forwarded = attacks
        .iter()
        .filter(|(mark, _)| permitted.keys().any(|it| own(&it.1, mark)));
    let forwarded = forwarded.count();
    println!(
        "{kind:?}, HTTP/2 {http2}: {} attacks, {forwarded} held a request that was permitted, {} were refused whole; {survived} \
         connections went on; {} requests read, {} of unknown end; {:.1?}",
        attacks.len(),
        attacks.len() - forwarded,
        logged.len(),
        permitted.values().map(|times| times.may).sum::<usize>(),
        begun.elapsed(),
    );
}

/// One attack, the good request behind it, and a good one by itself; whether the first connection went on.
fn attacked(address: SocketAddr, attack: &Attack, mark: &str) -> bool {
    let name = &attack.name;
    let heard = agent::attack(address, attack, mark);
    let own = heard.served.iter().all(|it| it.contains(mark));
    assert!(own, "{name}: the answer to another: {}", heard.text);
    let after = format!("GET /v1/{mark}/after");
    let answered = heard.served.iter().filter(|it| **it == after).count();
    assert!(answered <= 1, "{name}: one answer twice: {}", heard.text);
    let fresh = agent::good(address, mark, "fresh");
    let want = format!("GET /v1/{mark}/fresh");
    assert_eq!(fresh.served, [want], "{name}: {}", fresh.text);
    answered == 1
}

#[test]
fn past_a_relay_that_reads_first_lines_attacks_reach_nginx() {
    attacks_reach(Kind::Nginx);
}

#[test]
fn past_a_relay_that_reads_first_lines_attacks_reach_haproxy() {
    attacks_reach(Kind::HaProxy);
}

#[test]
fn past_a_relay_that_reads_first_lines_attacks_reach_envoy() {
    attacks_reach(Kind::Envoy);
}

/// Attacks that every one of the servers takes, where nobody judges them.
const REACH: &[&str] = &[
    "second request",
    "second request behind a body",
    "second request behind empty lines",
    "body longer than its length",
    "0.CL on POST",
    "0.CL on GET",
    "POST without a length",
    "DELETE without a length",
    "coding behind a bare line feed",
    "coding that its connection ends",
    "length that its connection ends",
    "chunks then a request",
    "chunks with an extension",
    "trailer with a credential",
    "head of line feeds",
    "target with a second line",
    "expected on GET",
    "h2c",
    "HTTP/2 two streams",
    "HTTP/2 two streams, crossed",
];

/// The same attacks without a sidecar: a request is served that nobody judged.
fn attacks_reach(kind: Kind) {
    let (begun, authority) = (Instant::now(), Authority::new().unwrap());
    let Some(server) = Server::start(kind, &authority, true) else {
        return;
    };
    let relay = naive::relay(&authority, server.port);
    let marked = marked();
    let served = |logged: &[Logged], mark: &str| {
        let target = format!("/admin/{mark}");
        let is_it = |it: &Logged| it.target == target && it.status == "200";
        logged.iter().any(is_it)
    };
    let mut logged = Vec::new();
    // On a busy machine a connection may end before what reaches the server was read of it.
    for round in 0..3 {
        for (mark, attack) in &marked {
            let missing = REACH.contains(&attack.name.as_str()) && !served(&logged, mark);
            if round == 0 || missing {
                agent::attack(relay, attack, mark);
            }
        }
        logged = read_to_the_end(&server, relay, 0, round);
    }
    let through = marked.iter().filter(|(mark, _)| served(&logged, mark));
    let through: Vec<&str> = through.map(|(_, attack)| attack.name.as_str()).collect();
    println!(
        "{kind:?}: past the relay {} of {} attacks had a request served that nobody judged; {:.1?}: {through:?}",
        through.len(),
        marked.len(),
        begun.elapsed()
    );
    for name in REACH {
        assert!(through.contains(name), "{kind:?}: {name}");
    }
}

/// All that the server read, `at_least` so many: the last word of all goes past the sidecar, and what was read before it is in
/// the log.
fn read_to_the_end(
    server: &Server,
    relay: SocketAddr,
    at_least: usize,
    round: usize,
) -> Vec<Logged> {
    agent::good(relay, "z", &format!("last{round}"));
    let last = format!("/v1/z/last{round}");
    let is_last = |it: &Logged| it.target == last;
    let mut logged = server.logged(|all| all.len() > at_least && all.iter().any(is_last));
    logged.retain(|it| !it.target.starts_with("/v1/z/last"));
    logged
}
