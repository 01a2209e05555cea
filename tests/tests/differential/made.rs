//! Requests that are good, and what is odd about them and still one action.

use actpass_tests::proxied::HOST;

use super::cases::{self, Req};
use super::random::Random;

/// What names a request on its way: the connection and the request on it. `x` ends that of a request, `s` that of one hidden
/// inside it.
pub(crate) fn marker(connection: usize, request: usize) -> String {
    format!("dt{connection:06}-{request:02}x")
}

/// The marker of what a request smuggles.
pub(crate) fn inner(marker: &str) -> String {
    marker.replace('x', "s")
}

/// Every marker in `bytes`.
pub(crate) fn markers(bytes: &[u8]) -> impl Iterator<Item = String> {
    const FORM: &str = "dt000000-00x";
    memchr::memmem::find_iter(bytes, b"dt").filter_map(|at| {
        let found = std::str::from_utf8(bytes.get(at..at + FORM.len())?).ok()?;
        let formed = found
            .chars()
            .zip(FORM.chars())
            .all(|(char, form)| match form {
                '0' => char.is_ascii_digit(),
                'x' => matches!(char, 'x' | 's'),
                _ => char == form,
            });
        formed.then(|| found.to_owned())
    })
}

/// The header that carries it, judged with every action.
pub(crate) const MARK: &str = "shop-marker";

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-._~";

/// Characters that travel encoded.
const ANY: &str = "abc 019&=+%?#/;:@\"'<>[]{}|^`\\äß€漢🙂";

/// A request that is one declared action.
pub(crate) fn good(random: &mut Random, marker: &str) -> Req {
    let mut req = match random.below(100) {
        0..=79 => read(random),
        80..=84 => refund(random),
        85..=88 => transfer(random),
        89..=91 => upload(random),
        92..=93 => search(random),
        _ => random.of(&cases::GOOD)(),
    };
    mark(&mut req, marker);
    req
}

/// Gives a request its marker.
pub(crate) fn mark(req: &mut Req, marker: &str) {
    req.header("user-agent", marker);
    req.header(MARK, marker);
}

fn req(method: &str, target: String, content_type: &str, body: String) -> Req {
    let mut req = Req {
        method: method.to_owned(),
        target,
        headers: Vec::new(),
        body: body.into_bytes(),
    };
    if !content_type.is_empty() {
        req.header("content-type", content_type);
    }
    req
}

fn read(random: &mut Random) -> Req {
    let mut target = "/v1".to_owned();
    for _ in 0..=random.below(4) {
        let segment = random.text(LETTERS, 8);
        // Neither empty nor all dots, which is another path.
        target += &format!("/s{segment}");
    }
    if random.percent(10) {
        target += "/%C3%A9t%C3%A9%20";
    }
    for number in 0..random.below(4) {
        let first = if number == 0 { '?' } else { '&' };
        let value = encoded(&random.text(ANY, 6), random);
        target += &format!("{first}q{number}={value}");
    }
    req("GET", target, "", String::new())
}

fn refund(random: &mut Random) -> Req {
    let note = encoded(&random.text(ANY, 12), random);
    let (cents, charge) = (random.below(99_999) + 1, random.below(1_000));
    let body = format!("charge=ch_{charge}&amount={cents}&metadata[note]={note}");
    let mut req = req(
        "POST",
        "/v1/refunds".to_owned(),
        "application/x-www-form-urlencoded",
        body,
    );
    if random.percent(50) {
        req.header("idempotency-key", &format!("k-{}", random.below(1_000)));
    }
    req
}

fn transfer(random: &mut Random) -> Req {
    let note = serde_json::Value::from(random.text(ANY, 12)).to_string();
    let (whole, cents) = (random.below(9_999) + 1, random.below(100));
    let blank = random.of(&["", " ", "\n", "\t "]);
    let body = format!(
        "{{{blank}\"amount\":{blank}\"{whole}.{cents:02}\",\"currency\":\"usd\",\"to\":\"ba_1\",\"note\":{note},\
         \"copies\":{blank}2,\"urgent\":true}}"
    );
    req("POST", "/v1/transfers".to_owned(), "application/json", body)
}

fn upload(random: &mut Random) -> Req {
    // As long as browsers make them, or short.
    let dashes = random.of(&["", "--------------------------"]);
    let boundary = format!("b{dashes}{}", random.text("abcdefXYZ0123456789", 20));
    let purpose = random.text("abcdefg hij", 12);
    let file = random.text("%PDF\n01\r ", 200);
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf\r\n\r\n{file}\
         \r\n--{boundary}--\r\n"
    );
    let label = format!("multipart/form-data; boundary={boundary}");
    req("POST", "/v1/files".to_owned(), &label, body)
}

fn search(random: &mut Random) -> Req {
    let word = serde_json::Value::from(random.text(ANY, 12)).to_string();
    let number = random.of(&["0", "-1", "2.50", "1e3", "12345678901234567890"]);
    let body = format!("{{\"q\":{word},\"n\":{number},\"deep\":[[{{}}],null]}}");
    req("POST", "/v1/search".to_owned(), "application/json", body)
}

/// As part of a query or form, with more encoded than must be.
fn encoded(text: &str, random: &mut Random) -> String {
    let mut found = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' if random.percent(50) => found.push('+'),
            _ if byte.is_ascii_alphanumeric() && random.percent(90) => found.push(char::from(byte)),
            _ if random.percent(50) => found += &format!("%{byte:02X}"),
            _ => found += &format!("%{byte:02x}"),
        }
    }
    found
}

/// Adds what is odd and changes no action.
pub(crate) fn odd(random: &mut Random, req: &mut Req) {
    match random.below(14) {
        0 => req.header("accept", "application/json;q=0.9, */*;q=0.1"),
        1 => req.header("Accept-Language", random.of(&["de", "", "en;q=1, *"])),
        2 => req.header("cookie", "session=s3cret; other=1"),
        3 => req.header("authorization", "Bearer my_own_key"),
        4 => {
            for number in 0..random.below(60) {
                req.header(&format!("x-many-{number}"), &random.text(LETTERS, 20));
            }
        }
        5 => req
            .headers
            .push(("x-latin".to_owned(), b"caf\xe9 \xff\x80".to_vec())),
        6 => req.header("x-empty", ""),
        7 => req.header("ActPass-Task", &random.text("abcdef019-", 12)),
        8 => {
            req.header("x-twice", "1");
            req.header("x-twice", "2");
        }
        9 => req.header("proxy-authorization", "Basic eDp5"),
        10 => req.header("x-forwarded-host", "evil.example"),
        11 => req.header("x_under_score", "1"),
        12 => req.header("x-long", &"l".repeat(random.below(4_000) + 1)),
        _ => req.header("X-Strange!#$%&'*+.^`|~", "\t a\tb \"quoted, \\\" \"; x=(y)"),
    }
}

/// The name dialled, as it may be written too.
pub(crate) fn host(random: &mut Random) -> String {
    match random.below(10) {
        0 => format!("{HOST}:443"),
        1 => HOST.to_uppercase(),
        _ => HOST.to_owned(),
    }
}
