//! An agent that sends more of something than anybody needs: its sidecar stays within its memory, goes on answering other
//! connections, and forwards nothing that was not judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actpass_tests::agent::Agent;
use actpass_tests::books::Books;
use actpass_tests::floods::{FLOODS, HOST, PERMITTED};
use actpass_tests::home::{Home, SHOP, User, records};
use serde_json::json;

/// What a flood may add to the memory of a sidecar: the most that was measured is 3 MiB, and others are served meanwhile.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// Answers that others get while a flood goes on, at least.
const OTHERS_MIN: u64 = 3;

fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The most memory that the process has until it is told to stop.
fn peak(process: u32, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = most.max(resident(process));
            std::thread::sleep(Duration::from_millis(10));
        }
        most
    })
}

/// The shop, whose agent may also send forms.
fn policy(books: &Books) -> String {
    let ca = books.authority.block(6);
    let hosts = format!("hosts: [{HOST}]");
    let tls = format!("{hosts}\n  tls:\n    caBundle: |\n{}", ca.trim_end());
    let reads = "effect: Read}\n";
    let form = "    - name: form\n      match: {http: {method: POST, path: /v1/form}}\n      effect: Read\n      \
                body: {format: Form, maxBytes: 1048576}\n      params: {allow: [x]}\n";
    SHOP.replace(&hosts, &tls)
        .replace(reads, &format!("{reads}{form}"))
        .replace(
            "[{capability: shop.read}]",
            "[{capability: shop.read}, {capability: shop.form}]",
        )
        .replace("[shop.read]", "[shop.read, shop.form]")
}

#[test]
fn a_flood_on_one_connection_leaves_memory_and_the_others_alone() {
    let books = Books::start(HOST).unwrap();
    let home = Home::new(User::own(), &policy(&books)).unwrap();
    let mut agent = Agent::start(&home, HOST, books.port).unwrap();
    let good = format!("GET /v1/good HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    // Once without a flood, so that what is made once is there.
    let first = json!({ "host": HOST, "alpn": "http/1.1", "bytes": good.as_bytes() });
    assert!(agent.tell(&first).unwrap().is_array());
    let (mut forwarded, mut flooded) = (1, 0);
    for flood in &FLOODS {
        let before = resident(agent.sidecar());
        let stop = Arc::new(AtomicBool::new(false));
        let peak = peak(agent.sidecar(), stop.clone());
        let line = json!({ "host": HOST, "flood": flood.name, "bytes": good.as_bytes(), "others": OTHERS_MIN });
        let said = agent.tell(&line).unwrap();
        stop.store(true, Ordering::Relaxed);
        let grown = peak.join().unwrap().saturating_sub(before);
        println!("{}: {said}, {} KiB more", flood.name, grown >> 10);
        assert!(
            grown < GROWTH_BYTES_MAX,
            "{}: {grown} bytes more",
            flood.name
        );
        let answered = said["answered"].as_u64().unwrap();
        assert!(answered >= OTHERS_MIN, "{}: {said}", flood.name);
        assert_eq!(said["others"], json!([200]), "{}: {said}", flood.name);
        let kept = books.take();
        for (head, _) in &kept.requests {
            let permitted = head.starts_with(&format!("GET {PERMITTED} "));
            assert!(
                permitted || head.starts_with("GET /v1/good "),
                "{}: {head}",
                flood.name
            );
            flooded += usize::from(permitted);
        }
        assert!(kept.rest.is_empty(), "{}: {kept:?}", flood.name);
        forwarded += kept.requests.len();
    }
    agent.end().unwrap();
    assert!(
        flooded > 0,
        "a flood of what is permitted does arrive, as far as it is not taken back"
    );
    let records = records(&home.log().unwrap());
    let permits = records
        .iter()
        .filter(|it| it["body"]["verdict"] == "permit")
        .count();
    assert!(
        forwarded <= permits,
        "{forwarded} forwarded, {permits} permitted"
    );
    assert!(home.actpass(&["verify"]).status().unwrap().success());
}
