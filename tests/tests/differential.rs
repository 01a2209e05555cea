//! Requests made up at random, good, odd and hostile: what an upstream reads, by two readers that share no code with ours, is
//! exactly what was judged and permitted, once each. Of everything else it gets not a byte.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]
#![cfg_attr(
    test,
    expect(
        dead_code,
        reason = "the shared table has parts for the reading of requests alone"
    )
)]

#[path = "differential/altered.rs"]
mod altered;
#[path = "../../sidecar/src/extract/tests/cases/mod.rs"]
mod cases;
#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/faults.rs"]
mod faults;
#[path = "differential/http1.rs"]
mod http1;
#[path = "differential/http1_wrong.rs"]
mod http1_wrong;
#[path = "differential/http2.rs"]
mod http2;
#[path = "differential/http2_wrong.rs"]
mod http2_wrong;
#[path = "differential/judged.rs"]
mod judged;
#[path = "differential/made.rs"]
mod made;
#[path = "differential/plan.rs"]
mod plan;
#[path = "differential/random.rs"]
mod random;
#[path = "differential/readers.rs"]
mod readers;
#[path = "differential/send.rs"]
mod send;
#[path = "differential/sound.rs"]
mod sound;
#[path = "differential/upstream.rs"]
mod upstream;

use std::fs;
use std::path::Path;
use std::time::Instant;

use actpass_tests::authority::Authority;
use actpass_tests::bad_requests;
use actpass_tests::parts::Parts;
use actpass_tests::proxied::{HOST, Proxied};
use actpass_tests::scaled;

use compare::Comparer;
use made::MARK;
use plan::Mix;
use send::{Figures, send};
use upstream::Spooled;

/// Requests of a full run.
const REQUESTS: u32 = 100_000;

/// Where `ACTPASS_TEST_SEED` names no other.
const SEED: u64 = 20_260_801;

/// Of a hundred requests of each protocol, how many must arrive: else nothing is compared.
const FORWARDED_PERCENT_MIN: usize = 20;

/// Of a hundred requests.
const HOSTILE: Mix = Mix {
    wrong: 13,
    faulty: 25,
};

fn seed() -> u64 {
    let given = std::env::var("ACTPASS_TEST_SEED").ok();
    given.map_or(SEED, |seed| seed.parse().unwrap())
}

/// The shop of the table of bad requests, with a credential, and with a judged header for each action's marker.
fn policy() -> String {
    let mut policy = String::new();
    for line in bad_requests::SHOP.lines() {
        match line.trim_start() {
            "tls:" => {
                policy += "  TLS\n  credentials:\n    - {name: shop, effects: [Read, Write, Irreversible], \
                                 header: Authorization, format: \"Bearer {secret}\"}\n"
            }
            "mode: Intercept" | "caBundle: |" | "CA_BUNDLE" => {}
            line if line.starts_with("headers:") => {}
            _ => policy += &format!("{}\n", line.replace("api.shop.test", HOST)),
        }
        if line.trim_start().starts_with("effect:") {
            policy +=
                &format!("      headers: {{forward: [{MARK}, Shop-Account, Shop-Version]}}\n");
        }
    }
    policy
}

/// What is left of a run.
struct Run {
    parts: Parts,
    /// The bytes that the upstream was sent, a file for each connection.
    spool: tempfile::TempDir,
    bytes: u64,
    figures: Figures,
}

async fn run(seed: u64, mix: Mix, requests: usize) -> Run {
    let (spool, spooled) = (tempfile::tempdir().unwrap(), Spooled::default());
    let authority = Authority::new().unwrap();
    let tls = authority.server(HOST).unwrap();
    let port = spooled.serve(tls, spool.path()).unwrap();
    let proxied = Proxied::start_before(&policy(), &authority, port).await;
    let proxied = proxied.unwrap();
    let figures = send(proxied.address, seed, mix, requests).await;
    let parts = proxied.close().await.unwrap();
    let bytes = tokio::task::spawn_blocking(move || spooled.ended());
    Run {
        parts,
        spool,
        bytes: bytes.await.unwrap(),
        figures,
    }
}

/// All bytes of a directory's files.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir).unwrap();
    files
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_reads_is_what_was_judged() {
    let (seed, begun) = (seed(), Instant::now());
    let requests = scaled(REQUESTS) as usize;
    println!("ACTPASS_TEST_SEED={seed}, {requests} requests");
    let run = run(seed, HOSTILE, requests).await;
    println!(
        "{:?}, {} bytes arrived, {:?}",
        run.figures,
        run.bytes,
        begun.elapsed()
    );
    let (permitted, denied) = (judged::permitted(&run.parts), judged::denied(&run.parts));
    println!("{} permitted, {denied} denied", permitted.len());
    let read = readers::read(run.spool.path());
    println!("read after {:?}", begun.elapsed());
    let mut comparer = Comparer::new(run.parts.bundle(), seed, HOSTILE, &permitted);
    let compared = comparer.compare(&read, &bytes_of(run.spool.path()));
    for problem in compared.problems.iter().take(20) {
        println!("{problem}");
    }
    println!(
        "forwarded {:?}, {} of them changes, {} exact; {} lost; after {:?}",
        compared.forwarded,
        compared.changes,
        compared.exact,
        compared.lost,
        begun.elapsed()
    );
    assert!(
        compared.problems.is_empty(),
        "{} problems",
        compared.problems.len()
    );
    let sent = [run.figures.http1, run.figures.http2];
    for (sent, forwarded) in sent.into_iter().zip(compared.forwarded) {
        let enough = sent * FORWARDED_PERCENT_MIN;
        assert!(forwarded * 100 >= enough, "{forwarded} of {sent}");
    }
    assert!(compared.changes * 100 >= requests, "too few changes");
    // Those whose connection ended while they ran.
    assert!(compared.lost * 100 <= requests, "too many are lost");
    run.parts.verified().unwrap();
}
