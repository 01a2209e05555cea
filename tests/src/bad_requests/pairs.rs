//! Good requests and what becomes of each by one fault, as bytes.

use super::HOST;
use super::cases::{self, Case, Req, Want};
use super::wire::{self, Wire, WireWant};

/// A good request and a bad one, and what the bad one comes to.
pub struct Pair {
    /// What is wrong with the bad one.
    pub name: &'static str,
    /// The good one.
    pub good: Vec<u8>,
    /// The bad one.
    pub bad: Vec<u8>,
    /// Body of the good one.
    pub(crate) body: Vec<u8>,
    pub(crate) want: WireWant,
}

/// All of them; the n-th carries the markers `gNNN` and `bNNN`.
pub fn pairs() -> Vec<Pair> {
    let table = cases::all().into_iter().filter_map(|case| {
        let want = over_http(&case)?;
        let good = (case.base)();
        let mut bad = good.clone();
        (case.break_it)(&mut bad);
        Some(Pair {
            name: case.name,
            good: bytes_of(&good, "MARK"),
            bad: bytes_of(&bad, "MARK"),
            body: good.body,
            want,
        })
    });
    let wires = wire::all().into_iter().map(|it: Wire| Pair {
        name: it.name,
        good: it.good("MARK"),
        bad: it.bad("MARK"),
        body: it.body(),
        want: it.want,
    });
    let marked = |bytes: &[u8], marker: &str| {
        let at = bytes.windows(4).position(|window| window == b"MARK");
        let (before, after) = bytes.split_at(at.unwrap_or(bytes.len()));
        [
            before,
            marker.as_bytes(),
            after.get(4..).unwrap_or_default(),
        ]
        .concat()
    };
    table
        .chain(wires)
        .enumerate()
        .map(|(at, pair)| Pair {
            good: marked(&pair.good, &format!("g{at:03}")),
            bad: marked(&pair.bad, &format!("b{at:03}")),
            ..pair
        })
        .collect()
}

/// A request of the shared table as bytes. `marker` travels as User-Agent, which is always forwarded.
fn bytes_of(req: &Req, marker: &str) -> Vec<u8> {
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {marker}\r\n",
        req.method, req.target
    )
    .into_bytes();
    for (name, value) in &req.headers {
        bytes.extend(name.as_bytes());
        bytes.extend(b": ");
        bytes.extend(value);
        bytes.extend(b"\r\n");
    }
    if !req.body.is_empty() {
        bytes.extend(format!("content-length: {}\r\n", req.body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&req.body);
    bytes
}

fn status_of(code: &str) -> u16 {
    match code {
        "unparsable" => 400,
        "body_too_large" => 413,
        _ => 403,
    }
}

/// What a case of the shared table comes to over a connection, where that differs from the reading alone.
fn over_http(case: &Case) -> Option<WireWant> {
    match (case.name, case.want) {
        // Not a request at all.
        (
            "path holds a raw blank"
            | "path holds raw NUL"
            | "target is nothing"
            | "query has a raw blank",
            _,
        ) => Some(WireWant::NotHttp(400)),
        // Taken off by the reading of HTTP; what is judged is what is forwarded.
        ("path holds a fragment", _) => Some(WireWant::Harmless("GET /v1/a HTTP/1.1\r\n")),
        ("query has a fragment", _) => Some(WireWant::Harmless("GET /v1/a?x=1 HTTP/1.1\r\n")),
        ("target is a whole URL", _) => Some(WireWant::Harmless("GET /v1/x HTTP/1.1\r\n")),
        ("judged header begins with a blank", _) => {
            Some(WireWant::Harmless("POST /v1/refunds HTTP/1.1\r\n"))
        }
        ("judged header ends with a tab", _) => Some(WireWant::Harmless(
            "GET /v1/charges/ch_1?expand[]=refunds&limit=3 HTTP/1.1\r\n",
        )),
        // No manifest may declare two actions alike.
        ("two actions match alike", _) => None,
        (_, Want::Refused(code, says)) => Some(WireWant::Refused(status_of(code), code, says)),
        (_, Want::Fault(fact, _)) => Some(WireWant::Refused(403, "declared_fact", fact)),
    }
}
