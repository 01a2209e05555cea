//! Connections that the kernel turns around to the sidecar, as in a pod: whom they were to is known from their original
//! destination, and one to nothing declared is refused and on the record.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use actpass_core::evidence::record::Body;
use actpass_sidecar::dns::{self, NameSlot, Responder};
use actpass_tests::fed;
use actpass_tests::outside::in_a_network_of_our_own;
use actpass_tests::proxied::{HOST, Proxied};
use tokio::sync::mpsc;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  TLS
  credentials: [{name: shop, effects: [Read], header: Authorization, format: "Bearer {secret}"}]
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Read
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

/// The agent's own id; the sidecar is root here.
const AGENT: u32 = 1000;

/// Everything the agent sends goes to the sidecar: names to its responder, connections to its listener.
const RULES: &str = "table inet steer {
  chain out { type nat hook output priority -100; policy accept;
    meta skuid 0 accept
    meta l4proto { tcp, udp } th dport 53 redirect to :DNS
    fib daddr type local accept
    meta l4proto tcp redirect to :TCP
  }
}";

fn steer(tcp: u16, dns: u16) {
    let network = [
        "link set lo up",
        "addr add 10.77.0.5/32 dev lo",
        "addr add fd77::5/128 dev lo",
        "route add default dev lo src 10.77.0.5",
        "-6 route add default dev lo src fd77::5",
    ];
    for words in network {
        let status = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    }
    let rules = RULES
        .replace("TCP", &tcp.to_string())
        .replace("DNS", &dns.to_string());
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]);
    let loaded = fed(&mut nft, rules.as_bytes()).unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
}

/// What curl prints, as the agent.
fn curl(args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .uid(AGENT)
        .gid(AGENT)
        .args(["-sS", "-m", "10"])
        .args(args);
    let output = fed(&mut command, b"").unwrap();
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn a_redirected_connection_is_known_by_where_it_was_going() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: an agent of another uid needs root of the machine; run as root");
        return;
    }
    in_a_network_of_our_own(
        "a_redirected_connection_is_known_by_where_it_was_going",
        || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(redirected());
        },
    );
}

async fn redirected() {
    let script = Arc::new(|first: &str, to: &mut dyn Write| {
        let body = format!("upstream got {first}");
        write!(
            to,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    // The ledger and the upstream are on this network's loopback too.
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.unwrap().success());
    let proxied = Proxied::start_redirected(POLICY, script).await.unwrap();
    let udp = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let port = udp.local_addr().unwrap().port();
    let tcp = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let (events, _kept) = mpsc::channel(16);
    let zone = proxied.names.zone().clone();
    let responder: Responder = Arc::new(move |query, transport| zone.answer(query, transport));
    let answering = tokio::spawn(dns::serve(responder, udp, tcp, events));
    steer(proxied.address.port(), port);

    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (ca, resolv) = (dir.path().join("ca.pem"), "/etc/resolv.conf");
    fs::write(&ca, proxied.mint.ca_pem()).unwrap();
    let hosts = dir.path().join("resolv.conf");
    fs::write(&hosts, "nameserver 192.0.2.53\n").unwrap();
    let bound = Command::new("mount")
        .arg("--bind")
        .arg(&hosts)
        .arg(resolv)
        .status();
    assert!(bound.unwrap().success());
    let ca = ca.to_str().unwrap().to_owned();
    let slots = proxied.names.zone().addresses();
    let is_shop = |slot: &NameSlot| matches!(slot, NameSlot::Exact(name) if name.as_str() == HOST);
    let address = slots.iter().find(|(_, slot)| is_shop(slot)).unwrap().0;

    let said = tokio::task::spawn_blocking(move || {
        let url = format!("https://{HOST}/v1/items");
        let port = format!("http://{address}:8080/");
        [
            curl(&["--cacert", &ca, &url]),
            curl(&["http://203.0.113.9/"]),
            curl(&["-6", "http://[2001:db8::9]/"]),
            curl(&[&port]),
            curl(&["http://192.0.2.1:15001/"]),
        ]
    });
    let said = said.await.unwrap();
    assert_eq!(said[0], "upstream got GET /v1/items HTTP/1.1");
    for refused in &said[1..] {
        assert!(refused.starts_with("curl: ("), "{refused}");
    }
    answering.abort();
    let parts = proxied.close().await.unwrap();
    let leaves = parts.leaves().unwrap();
    let targets: Vec<String> = leaves
        .iter()
        .filter_map(|leaf| match &leaf.record()?.0.body {
            Body::Decision(judged) => judged.refusal.as_ref().map(|it| it.target.clone()),
            _ => None,
        })
        .collect();
    let port = format!("TCP to {HOST}:8080");
    let want = [
        "TCP to 203.0.113.9:80",
        "TCP to [2001:db8::9]:80",
        &port,
        "TCP to 192.0.2.1:15001",
    ];
    for want in want {
        assert!(targets.iter().any(|it| it == want), "{want}: {targets:?}");
    }
}
