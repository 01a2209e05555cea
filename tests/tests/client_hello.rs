//! Whom a TLS connection is for: read whole before anything is decided, however it comes, and by nobody's word but the outer
//! name's. What is no TLS is refused and recorded.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::process::Command;

use actpass_tests::agent::Agent;
use actpass_tests::books::Books;
use actpass_tests::hello::{EARLY_DATA, ENCRYPTED, GREASE, Hello, PADDING, RECORD_BYTES_MAX};
use actpass_tests::home::{Home, SHOP, User, records, text};
use serde_json::{Value, json};

const HOST: &str = "api.shop.example";

const GET: &str = "GET /v1/x HTTP/1.1\r\nhost: api.shop.example\r\n\r\n";

/// The first byte of a record that answers a ClientHello, and of one that refuses it (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

/// An encrypted ClientHello that nobody can open, as clients send it that know no key (RFC 9849 section 6.2).
const OF_NOTHING: &[u8] = b"\0\0\x01\0\x01\x07\0\x04\x01\x02\x03\x04\0\x02ab";

/// The upstream, and the agent's directory with the policy for it.
fn shop() -> (Books, Home) {
    let books = Books::start(HOST).unwrap();
    let ca = books.authority.block(6);
    let hosts = format!("hosts: [{HOST}]");
    let tls = format!("{hosts}\n  tls:\n    caBundle: |\n{}", ca.trim_end());
    let home = Home::new(User::own(), &SHOP.replace(&hosts, &tls)).unwrap();
    (books, home)
}

/// What comes back for these bytes without TLS.
fn raw(agent: &mut Agent, bytes: &[u8], more: Value) -> Vec<u8> {
    let mut line = json!({ "host": HOST, "raw": bytes, "least": 1 });
    line.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let said = agent.tell(&line).unwrap();
    serde_json::from_value(said.clone()).unwrap_or_else(|_| panic!("{said}"))
}

/// What was refused of TLS to [`HOST`]: the rest of its target and its reason, once for each time.
fn refused(home: &Home) -> Vec<(String, String)> {
    let about = format!("TLS to {HOST}:443");
    let log = home.log().unwrap();
    let mut refused = Vec::new();
    for record in records(&log) {
        let body = &record["body"];
        let target = body["refusal"]["target"].as_str().unwrap_or_default();
        let Some(said) = target.strip_prefix(&about) else {
            continue;
        };
        let times = body["count"].as_u64().unwrap_or(1).try_into().unwrap();
        let one = (said.to_owned(), body["reason"].as_str().unwrap().to_owned());
        refused.extend(std::iter::repeat_n(one, times));
    }
    refused.sort();
    refused
}

/// One way in which a ClientHello may come.
struct Shape {
    name: &'static str,
    make: fn(&mut Hello),
    /// Bytes sent at a time.
    piece: usize,
}

fn shapes() -> Vec<Shape> {
    let shape = |name, make, piece| Shape { name, make, piece };
    fn grease(hello: &mut Hello) {
        hello.before = GREASE.map(|it| (it, vec![0])).to_vec();
        hello.versions.insert(0, GREASE[1]);
    }
    fn padded(hello: &mut Hello, bytes: usize) {
        hello.before.push((PADDING, vec![0; bytes]));
    }
    vec![
        shape("plain", |_| {}, usize::MAX),
        shape("in records of 1 byte", |it| it.record = 1, usize::MAX),
        shape("in records of 9 bytes, byte by byte", |it| it.record = 9, 1),
        shape("in segments of 1 byte", |_| {}, 1),
        shape("in segments of 50 bytes", |_| {}, 50),
        shape("behind 1 KiB", |it| padded(it, 1024), usize::MAX),
        shape("behind 16 KiB", |it| padded(it, 16 * 1024), usize::MAX),
        shape(
            "behind 16 KiB, in pieces",
            |it| {
                padded(it, 16 * 1024);
                it.record = 700;
            },
            300,
        ),
        shape("behind 60 KiB", |it| padded(it, 60 * 1024), usize::MAX),
        shape("with GREASE", grease, usize::MAX),
        shape(
            "with GREASE, in pieces",
            |it| {
                grease(it);
                it.record = 30;
            },
            7,
        ),
        shape(
            "with an encrypted one of nothing",
            |it| {
                it.before.push((ENCRYPTED, OF_NOTHING.to_vec()));
            },
            usize::MAX,
        ),
        shape(
            "with TLS 1.2 alone",
            |it| it.versions = vec![0x0303],
            usize::MAX,
        ),
    ]
}

#[test]
fn a_client_hello_is_decided_on_whole_however_it_comes() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, HOST, books.port).unwrap();
    let mut want = Vec::new();
    for Shape { name, make, piece } in shapes() {
        let mut sent = |server: Option<&str>| {
            let mut hello = Hello::to("");
            hello.name = server.map(str::to_owned);
            make(&mut hello);
            raw(
                &mut agent,
                &hello.bytes(),
                json!({ "piece": piece.min(RECORD_BYTES_MAX * 8) }),
            )
        };
        assert_eq!(sent(Some(HOST)).first(), Some(&HANDSHAKE), "{name}");
        let capitals = HOST.to_uppercase();
        assert_eq!(
            sent(Some(&capitals)).first(),
            Some(&HANDSHAKE),
            "{name}, in capitals"
        );
        let before = format!("x.{HOST}");
        for other in [Some("leak.example"), Some(before.as_str()), None] {
            assert!(sent(other).is_empty(), "{name}, to {other:?}");
            let said = match other {
                Some(other) => format!(" with server name {other}"),
                None => " with no server name".to_owned(),
            };
            want.push((said, "host_mismatch".to_owned()));
        }
    }
    agent.end().unwrap();
    want.sort();
    assert_eq!(refused(&home), want);
    assert_eq!(books.take().connections, 0);
}

#[test]
fn a_handshake_in_pieces_serves_as_a_plain_one() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, HOST, books.port).unwrap();
    let cases = [
        ("plain", json!({})),
        ("in records of 32 bytes", json!({ "fragment": 32 })),
        ("in segments of 1 byte", json!({ "piece": 1 })),
        (
            "beside 1 KiB",
            json!({ "padding": 1024, "fragment": 64, "piece": 40 }),
        ),
        ("beside 16 KiB", json!({ "padding": 16 * 1024 })),
        (
            "beside 16 KiB, in pieces",
            json!({ "padding": 16 * 1024, "fragment": 1000, "piece": 300 }),
        ),
        (
            "with an encrypted one of nothing",
            json!({ "grease": true }),
        ),
        (
            "with an encrypted one of nothing, in pieces",
            json!({ "grease": true, "fragment": 32, "piece": 11 }),
        ),
    ];
    for (name, how) in cases {
        let mut line = json!({ "host": HOST, "alpn": "http/1.1", "bytes": GET.as_bytes() });
        line.as_object_mut()
            .unwrap()
            .extend(how.as_object().unwrap().clone());
        let said = agent.tell(&line).unwrap();
        let answer: Vec<u8> =
            serde_json::from_value(said.clone()).unwrap_or_else(|_| panic!("{name}: {said}"));
        assert!(
            answer.starts_with(b"HTTP/1.1 200 OK"),
            "{name}: {}",
            String::from_utf8_lossy(&answer)
        );
        let kept = books.take();
        assert_eq!(
            (kept.requests.len(), kept.rest.len()),
            (1, 0),
            "{name}: {kept:?}"
        );
        let elsewhere = GET.replace("host: api", "host: inner");
        line["bytes"] = json!(elsewhere.as_bytes());
        let answer: Vec<u8> = serde_json::from_value(agent.tell(&line).unwrap()).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 403"),
            "{name}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(books.take().requests.len(), 0, "{name}");
    }
    agent.end().unwrap();
    assert_eq!(refused(&home), []);
}

#[test]
fn what_hides_in_a_client_hello_or_is_too_old_is_never_forwarded() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, HOST, books.port).unwrap();
    let mut want = Vec::new();

    // The outer name is allowed, and the inner one is what the client means: it learns that nobody reads that, and ends.
    let line = json!({ "host": HOST, "inner": "leak.example", "alpn": "http/1.1", "bytes": GET.as_bytes() });
    let said = agent.tell(&line).unwrap();
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("ServerRejectedEncryptedClientHello"),
        "{said}"
    );
    // And where the outer one is another, it is refused as that.
    let mut hello = Hello::to("outer.example");
    hello.before.push((ENCRYPTED, OF_NOTHING.to_vec()));
    assert!(raw(&mut agent, &hello.bytes(), json!({})).is_empty());
    want.push((
        " with server name outer.example".to_owned(),
        "host_mismatch".to_owned(),
    ));

    for versions in [vec![0x0301], vec![0x0302], vec![0x0300]] {
        let hello = Hello {
            versions: versions.clone(),
            ..Hello::to(HOST)
        };
        let answer = raw(&mut agent, &hello.bytes(), json!({}));
        assert_eq!(answer.first(), Some(&ALERT), "{versions:x?}");
        want.push((String::new(), "unparsable".to_owned()));
    }

    // Data before the handshake has ended, in clear. Announced, it is passed over (RFC 8446 section 4.2.10); else it ends the
    // connection.
    let length = u16::try_from(GET.len()).unwrap().to_be_bytes();
    let early = [&[23, 3, 3][..], &length, GET.as_bytes()].concat();
    for announced in [true, false] {
        let mut hello = Hello::to(HOST);
        if announced {
            hello.before.push((EARLY_DATA, Vec::new()));
        } else {
            want.push((String::new(), "unparsable".to_owned()));
        }
        let bytes = [hello.bytes(), early.clone()].concat();
        raw(&mut agent, &bytes, json!({ "least": 1 << 20 }));
    }
    agent.end().unwrap();
    want.sort();
    assert_eq!(refused(&home), want);
    let kept = books.take();
    assert_eq!((kept.connections, kept.rest.len()), (0, 0), "{kept:?}");
}

#[test]
fn a_handshake_is_not_done_again_on_a_connection_that_is_open() {
    let (books, home) = shop();
    let there = format!("{HOST}:443:127.0.0.1:{}", books.port);
    // `R` at the beginning of a line makes it ask for another handshake.
    let script = format!(
        "(printf 'GET /v1/first HTTP/1.1\\r\\nhost: {HOST}\\r\\n\\r\\n'; sleep 1; echo R; sleep 1; \
         printf 'GET /v1/second HTTP/1.1\\r\\nhost: {HOST}\\r\\n\\r\\n'; sleep 1) | \
         openssl s_client -tls1_2 -CAfile \"$SSL_CERT_FILE\" -verify_return_error -servername {HOST} -connect {HOST}:443 2>&1"
    );
    let mut run: Command = home.actpass(&[
        "run",
        "-f",
        "policy.yaml",
        "--connect-to",
        &there,
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let said = text(&run.output().unwrap());
    assert!(
        said.contains("RENEGOTIATING") && said.contains("no renegotiation"),
        "{said}"
    );
    let heads: Vec<String> = books
        .take()
        .requests
        .into_iter()
        .map(|(head, _)| head)
        .collect();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with("GET /v1/first "), "{heads:?}");
}

#[test]
fn what_is_no_tls_is_refused_and_recorded() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, HOST, books.port).unwrap();
    let hello = Hello::to(HOST).bytes();
    let (half, _) = hello.split_at(hello.len() / 2);
    struct Case {
        name: &'static str,
        bytes: Vec<u8>,
        open: bool,
        recorded: bool,
    }
    let case = |name, bytes: &[u8], open, recorded| Case {
        name,
        bytes: bytes.to_vec(),
        open,
        recorded,
    };
    let cases = [
        case("HTTP in clear", GET.as_bytes(), false, true),
        case("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", true, true),
        case("zeros", &[0; 64], true, true),
        case(
            "a hello of SSL 2",
            b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10",
            false,
            true,
        ),
        case("a record of another kind", &[23, 3, 3, 0, 1, 0], true, true),
        case("half a ClientHello, and the end", half, false, true),
        case("half a ClientHello, and silence", half, true, true),
        case("silence", b"", true, true),
        case("nothing at all", b"", false, false),
    ];
    let mut count = 0;
    for Case {
        name,
        bytes,
        open,
        recorded,
    } in cases
    {
        let answer = raw(
            &mut agent,
            &bytes,
            json!({ "open": open, "least": 1 << 20 }),
        );
        assert_ne!(answer.first(), Some(&HANDSHAKE), "{name}");
        count += usize::from(recorded);
    }
    agent.end().unwrap();
    let want = vec![(String::new(), "unparsable".to_owned()); count];
    assert_eq!(refused(&home), want);
    let kept = books.take();
    assert_eq!((kept.connections, kept.rest.len()), (0, 0), "{kept:?}");
}
