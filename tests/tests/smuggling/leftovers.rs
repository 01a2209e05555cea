//! Answers that different readers end elsewhere: what is left of one is nobody's answer.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use actpass_core::evidence::record::OutcomeResult;
use actpass_tests::proxied::{HOST, Proxied};
use tokio::task::block_in_place;

use super::{POLICY, agent};

/// An answer to nobody's request.
pub(crate) const LEFT: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\nserved: GET /v1/left/over/\n";

/// What an upstream answers, in which `LEFT` stands for the whole answer above and `MANY` for interim answers.
struct Case {
    name: &'static str,
    method: &'static str,
    answer: &'static str,
    /// Whether its connection may take another request.
    goes_on: bool,
    /// Whether the upstream closes it behind the answer.
    closes: bool,
}

const fn case(name: &'static str, answer: &'static str) -> Case {
    Case {
        name,
        method: "GET",
        answer,
        goes_on: false,
        closes: false,
    }
}

const fn harmless(name: &'static str, method: &'static str, answer: &'static str) -> Case {
    Case {
        name,
        method,
        answer,
        goes_on: true,
        closes: false,
    }
}

/// An answer without a length: it ends with its connection.
const fn unbounded(name: &'static str, answer: &'static str) -> Case {
    Case {
        closes: true,
        ..case(name, answer)
    }
}

const CASES: &[Case] = &[
    harmless(
        "a good answer",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
    case(
        "another answer behind it",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}LEFT",
    ),
    case(
        "another answer behind chunks",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nLEFT",
    ),
    case(
        "one byte behind it",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}x",
    ),
    case(
        "a line end behind it",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}\r\n",
    ),
    case(
        "length and coding",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nLEFT",
    ),
    case(
        "coding and length",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\nLEFT",
    ),
    case(
        "length of none and coding",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nLEFT",
    ),
    case(
        "two lengths",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 0\r\n\r\n{}LEFT",
    ),
    case(
        "two lengths in a list",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 0\r\n\r\n{}LEFT",
    ),
    case(
        "length with a plus",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}LEFT",
    ),
    case(
        "length below none",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}LEFT",
    ),
    case(
        "length beyond 64 bits",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551618\r\n\r\n{}LEFT",
    ),
    case(
        "204 with a body",
        "HTTP/1.1 204 No Content\r\ncontent-length: 64\r\n\r\nLEFT",
    ),
    case(
        "204 with chunks",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nLEFT",
    ),
    case(
        "304 with a body",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 64\r\n\r\nLEFT",
    ),
    harmless(
        "304 with a length",
        "GET",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 64\r\n\r\n",
    ),
    harmless(
        "HEAD",
        "HEAD",
        "HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n",
    ),
    Case {
        name: "HEAD with a body",
        method: "HEAD",
        answer: "HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\nLEFT",
        goes_on: false,
        closes: false,
    },
    Case {
        name: "HEAD with chunks",
        method: "HEAD",
        answer: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nLEFT",
        goes_on: false,
        closes: false,
    },
    harmless(
        "interim answers",
        "GET",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
    harmless(
        "a flood of interim answers",
        "GET",
        "MANYHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
    case(
        "interim answers behind it",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 100 Continue\r\n\r\n",
    ),
    case(
        "an interim answer with a body",
        "HTTP/1.1 103 Early Hints\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
    case(
        "another protocol",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nLEFT",
    ),
    case(
        "HTTP/1.0 with chunks",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nLEFT",
    ),
    unbounded(
        "coding that ends otherwise",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ),
    unbounded(
        "coding made up",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: cow\r\ncontent-length: 2\r\n\r\n{}",
    ),
    case(
        "coding before a blank",
        "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\ncontent-length: 2\r\n\r\n{}LEFT",
    ),
    case(
        "chunk of a size beyond 64 bits",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\nLEFT",
    ),
    case(
        "chunk without a line end",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\nLEFT",
    ),
    case(
        "folded length",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n 2\r\n\r\n{}LEFT",
    ),
    case(
        "head with NUL",
        "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 2\r\n\r\n{}LEFT",
    ),
    case("no answer at all", "served: GET /v1/left/over/\n"),
    harmless(
        "empty lines before it",
        "GET",
        "\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
];

/// Requests as they reached the upstream, each with the connection it came by.
type Came = Arc<Mutex<Vec<(ThreadId, String)>>>;

fn answer(came: &Came, first: &str, to: &mut dyn Write) -> std::io::Result<()> {
    // A connection is a thread.
    came.lock()
        .unwrap()
        .push((std::thread::current().id(), first.to_owned()));
    let target = first.split(' ').nth(1).unwrap_or_default();
    let at = target
        .strip_prefix("/v1/case-")
        .and_then(|it| it.strip_suffix("/first"));
    let Some(case) = at.and_then(|it| CASES.get(it.parse::<usize>().ok()?)) else {
        let body = format!("served: GET {target}\n");
        return write!(
            to,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    };
    let many = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(5_000);
    let answer = case.answer.replace("LEFT", LEFT).replace("MANY", &many);
    to.write_all(answer.as_bytes())?;
    match case.closes {
        true => to
            .flush()
            .and(Err(std::io::ErrorKind::ConnectionReset.into())),
        false => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_answer_is_nobodys() {
    let came = Came::default();
    let noted = came.clone();
    let script = move |first: &str, to: &mut dyn Write| answer(&noted, first, to);
    let proxied = Proxied::start(POLICY, Arc::new(script)).await.unwrap();
    for (at, case) in CASES.iter().enumerate() {
        block_in_place(|| asked(proxied.address, at, case));
        let came = std::mem::take(&mut *came.lock().unwrap());
        let by = |last: &str| {
            let mut of = came
                .iter()
                .filter(|(_, line)| line.contains(&format!("/v1/case-{at}/{last} ")));
            let found = of.next().map(|(by, _)| *by);
            assert!(of.next().is_none(), "{}: {last} came twice", case.name);
            found
        };
        let (first, fresh) = (by("first").unwrap(), by("fresh").unwrap());
        let later = [by("after"), Some(fresh)];
        let again = later.contains(&Some(first));
        assert_eq!(
            again, case.goes_on,
            "{}: whether its connection took another",
            case.name
        );
    }
    let closed = tokio::time::timeout(Duration::from_secs(60), proxied.close());
    let parts = closed.await.unwrap().unwrap();
    parts.verified().unwrap();
    let permitted = parts.permitted().unwrap();
    let unknown = permitted
        .iter()
        .filter(|(_, end)| *end != Some(OutcomeResult::Ok))
        .count();
    println!(
        "{} answers, {} requests, {unknown} of unknown end",
        CASES.len(),
        permitted.len()
    );
}

/// A request that is answered as the case says, another right behind it, and one by itself.
fn asked(address: SocketAddr, at: usize, case: &Case) {
    let Case { name, method, .. } = case;
    let mark = format!("case-{at}");
    let line = |method: &str, last: &str| {
        format!("{method} /v1/{mark}/{last} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
    };
    let both = [line(method, "first"), line("GET", "after")].concat();
    let heard = agent::say(address, both.as_bytes(), &format!("GET /v1/{mark}/after"));
    let after = format!("GET /v1/{mark}/after");
    assert!(
        heard.served.iter().all(|it| *it == after),
        "{name}: {}",
        heard.text
    );
    let fresh = agent::good(address, &mark, "fresh");
    assert_eq!(
        fresh.served,
        [format!("GET /v1/{mark}/fresh")],
        "{name}: {}",
        fresh.text
    );
}
