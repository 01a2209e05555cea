//! A good request and a bad one in one write: each is judged by itself.

use super::record::{NOT_HTTP, Refusal};
use super::{HOST, Trial};

/// What is written at once.
struct Write {
    name: &'static str,
    bytes: Vec<u8>,
    /// Statuses of the answers.
    want: &'static [u16],
}

/// What is forwarded of a body that is longer than it says.
const SHORT: &[u8] = b"charge=ch_1&amount=1";

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{headers}\r\n").into_bytes()
}

/// Between two good ones: what is no HTTP ends the connection, since nobody knows where the next would begin.
fn between() -> Vec<Write> {
    const GOES_ON: &[u16] = &[200, 403, 200];
    const ENDS: &[u16] = &[200, 400];
    let write = |name, bad: Vec<u8>, want| {
        let good = get("/v1/charges/ch_1", "");
        Write {
            name,
            bytes: [&good[..], &bad, &good].concat(),
            want,
        }
    };
    let lengths = "content-length: 1\r\ncontent-length: 2\r\n";
    vec![
        write("path climbs", get("/v1/../x", ""), GOES_ON),
        write(
            "host of another",
            get("https://evil.test/v1/x", ""),
            GOES_ON,
        ),
        write("key twice", get("/v1/x?a=1&a=2", ""), GOES_ON),
        write("folded header", get("/v1/x", "a: b\r\n c\r\n"), ENDS),
        write("lengths that differ", get("/v1/x", lengths), ENDS),
        write("no request at all", b"\0\r\n\r\n".to_vec(), ENDS),
    ]
}

/// The body of the first is longer than it says: the rest is the next request, and no good one.
fn short() -> Write {
    let length = SHORT.len();
    let bytes = format!(
        "POST /v1/refunds HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
        content-length: {length}\r\n\r\ncharge=ch_1&amount=1200\r\n\r\n"
    );
    Write {
        name: "body longer than it says",
        bytes: bytes.into_bytes(),
        want: &[200, 400],
    }
}

/// The bytes of each write.
pub fn writes() -> Vec<Vec<u8>> {
    let all = between().into_iter().chain([short()]);
    all.map(|it| it.bytes).collect()
}

impl Trial<'_> {
    /// Sends good ones with a bad one behind in one write: the good ones arrive, and they alone.
    ///
    /// # Panics
    /// Where it is otherwise.
    pub fn behind_good_ones(&mut self) {
        for write in between() {
            self.wrote(&write, "GET /v1/charges/ch_1 ", b"");
        }
        self.wrote(&short(), "POST /v1/refunds ", SHORT);
    }

    fn wrote(&mut self, write: &Write, line: &str, body: &[u8]) {
        let Write { name, bytes, want } = write;
        let answered = self.sender.send(bytes, want.len());
        let statuses: Vec<u16> = answered.iter().map(|it| it.status).collect();
        assert_eq!(statuses, *want, "{name}");
        let kept = self.taken();
        let passed = want.iter().filter(|it| **it == 200).count();
        assert_eq!(kept.requests.len(), passed, "{name}: {kept:?}");
        for (head, sent) in &kept.requests {
            assert!(head.starts_with(line), "{name}: {kept:?}");
            assert_eq!(
                sent, body,
                "{name}: judged and forwarded are the same bytes"
            );
        }
        let refused = answered.into_iter().filter(|it| it.status != 200);
        self.seen.refused.extend(refused.map(|it| Refusal {
            name,
            // What is no HTTP is answered by a status alone.
            reason: Some(match it.code.as_str() {
                "" => NOT_HTTP.to_owned(),
                code => code.to_owned(),
            }),
            evidence: it.evidence,
        }));
    }
}
