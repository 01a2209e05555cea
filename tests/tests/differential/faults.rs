//! What is wrong with a request, whichever protocol carries it.

use super::cases::{self, Req};
use super::made::{inner, mark};
use super::random::Random;

/// A request with faults, out of the table of bad requests or made here.
pub(crate) fn faulty(
    random: &mut Random,
    marker: &str,
    mut req: Req,
    table: &[cases::Case],
) -> Req {
    if random.percent(40) {
        let case = &table[random.below(table.len())];
        req = (case.base)();
        (case.break_it)(&mut req);
        mark(&mut req, marker);
    }
    for _ in 0..=random.below(3) {
        fault(random, marker, &mut req);
    }
    req
}

fn fault(random: &mut Random, marker: &str, req: &mut Req) {
    if req.headers.is_empty() {
        return label(random, req);
    }
    match random.below(12) {
        0 => path(random, req),
        1 => query(random, req),
        2 | 3 => header(random, marker, req),
        4 => label(random, req),
        5 => body(random, marker, req),
        6 => req.method = random.of(&METHODS).to_owned(),
        7 => twice(random, req),
        8 => long(random, req),
        9 => garbled(random, req),
        10 => random_words(random, req),
        _ => {
            // A header is gone.
            let at = random.below(req.headers.len());
            req.headers.remove(at);
        }
    }
}

const METHODS: [&str; 14] = [
    "HEAD", "OPTIONS", "TRACE", "CONNECT", "DELETE", "PATCH", "PUT", "POST", "GET", "get", "PRI",
    "M-SEARCH", "G!T", "X",
];

/// At some slash, or before the query.
fn path(random: &mut Random, req: &mut Req) {
    const PIECES: [&str; 26] = [
        "/..",
        "/.",
        "/%2e%2e",
        "/.%2E/",
        "/%2F",
        "/a%2fb",
        "/%5c",
        "/%00",
        "/%0d%0a",
        "/%252e%252e",
        "//",
        "/",
        "/;x=y",
        "/..;/",
        "/%c0%ae",
        "/%ff",
        "/%",
        "/%4",
        "/%zz",
        "/a b",
        "/a\\b",
        "/#x",
        "/\u{e9}",
        "/%41%7e",
        "/*",
        "/@:$!'()",
    ];
    let cuts: Vec<usize> = req
        .target
        .char_indices()
        .filter(|(_, char)| matches!(char, '/' | '?'))
        .map(|(at, _)| at)
        .chain([req.target.len()])
        .collect();
    let at = random.of(&cuts);
    req.target.insert_str(at, random.of(&PIECES));
}

fn query(random: &mut Random, req: &mut Req) {
    const PIECES: [&str; 16] = [
        "a=1&a=2",
        "_method=DELETE",
        "x-http-method-override=PUT",
        "a;b=1",
        "&",
        "=1",
        "a",
        "%",
        "%zz=1",
        "a=%00",
        "a=%ff",
        "a[]=1&a[]=2",
        "dry_run=1",
        "tag[]=x",
        "a=b?c=d",
        "#f",
    ];
    let joint = if req.target.contains('?') { '&' } else { '?' };
    req.target.push(joint);
    req.target += random.of(&PIECES);
}

fn header(random: &mut Random, marker: &str, req: &mut Req) {
    let hidden = inner(marker);
    let (name, value): (&str, &str) = match random.below(24) {
        0 => ("x-http-method-override", "DELETE"),
        1 => ("X_HTTP_Method_Override", "DELETE"),
        2 => ("x-original-url", "/v1/refunds"),
        3 => ("x-rewrite-url", "/admin"),
        4 => ("shop_account", &hidden),
        5 => ("shop_marker", &hidden),
        6 => ("content-encoding", "gzip"),
        7 => ("content_type", "text/plain"),
        8 => ("te", "trailers"),
        9 => ("te", "gzip"),
        10 => ("trailer", "shop-marker"),
        11 => ("upgrade", "h2c"),
        12 => ("http2-settings", "AAMAAABkAAQAAP__"),
        13 => ("keep-alive", "timeout=5"),
        14 => ("proxy-connection", "keep-alive"),
        15 => ("host", "evil.example"),
        16 => ("expect", "200-ok"),
        17 => ("idempotency-key", "a b"),
        18 => ("ActPass-Confidence", "101"),
        19 => ("traceparent", "00-zz"),
        20 => ("connection", "shop-marker"),
        21 => ("connection", "close, x-many-1, user-agent"),
        22 => ("transfer_encoding", "chunked"),
        _ => ("content_length", "3"),
    };
    req.header(name, value);
}

fn label(random: &mut Random, req: &mut Req) {
    const LABELS: [&str; 9] = [
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=BOUND",
        "application/json; charset=utf-16",
        "APPLICATION/JSON;charset=\"UTF-8\"",
        "application/json, text/plain",
        "",
        "application/jsonx",
    ];
    let label = random.of(&LABELS).as_bytes().to_vec();
    match req
        .headers
        .iter_mut()
        .find(|(name, _)| name == "content-type")
    {
        Some((_, value)) => *value = label,
        None => req.headers.push(("content-type".to_owned(), label)),
    }
}

fn body(random: &mut Random, marker: &str, req: &mut Req) {
    let hidden = inner(marker);
    match random.below(8) {
        0 => req.body.clear(),
        1 => req.more("&amount=1"),
        2 => req.more("&to=me&_method=DELETE"),
        3 => req.more("{}"),
        4 => req.more("\r\n"),
        5 => req.more(&format!(
            "\r\n0\r\n\r\nGET /v1/hidden HTTP/1.1\r\nhost: api.shop.example\r\nuser-agent: {hidden}\r\n\r\n"
        )),
        6 => req.body.extend(vec![b'a'; random.below(9_000)]),
        _ => {
            let text = String::from_utf8_lossy(&req.body).into_owned();
            let (from, to) = random.of(&[
                ("\"amount\"", "\"amount\":\"1.00\",\"amount\""),
                ("\"note\"", "\"n\\u006fte\""),
                ("\"2\"", "2.0"),
                ("amount=", "amount=%2B"),
                ("amount=", "amount=-"),
                ("charge=", "charge=&charge="),
                ("name=\"purpose\"", "name=purpose"),
                ("\r\n--", "\n--"),
                ("usd", "jpy"),
            ]);
            req.body = text.replacen(from, to, 1).into_bytes();
        }
    }
}

/// A header again, perhaps with another value.
fn twice(random: &mut Random, req: &mut Req) {
    let (name, mut value) = random.of(&req.headers);
    if random.percent(50) {
        value.extend(b"2");
    }
    req.headers.push((name, value));
}

fn long(random: &mut Random, req: &mut Req) {
    let many = random.of(&[1_100, 8_200, 20_000, 40_000]);
    match random.below(4) {
        0 => req.target += &format!("/{}", "p".repeat(many)),
        1 => req.target += &"/p".repeat(many / 100),
        2 => req.header("x-long", &"l".repeat(many)),
        _ => req.header("shop-account", &"l".repeat(many)),
    }
}

/// Some byte of some value or of the body is another.
fn garbled(random: &mut Random, req: &mut Req) {
    let byte = match random.percent(50) {
        true => random.byte(),
        false => random.of(b"\0\r\n\t :,;\x7f\x80\x0b"),
    };
    let part = if random.percent(50) || req.body.is_empty() {
        let at = random.below(req.headers.len());
        &mut req.headers[at].1
    } else {
        &mut req.body
    };
    let at = random.below(part.len() + 1);
    part.insert(at, byte);
}

/// A target and a header of words that mean something to somebody.
fn random_words(random: &mut Random, req: &mut Req) {
    const WORDS: [&str; 22] = [
        "v1",
        "/",
        "..",
        "refunds",
        "?",
        "=",
        "&",
        "%2F",
        "%",
        "#",
        "*",
        ":",
        "//",
        "https:",
        "api.shop.example",
        "evil.example",
        "@",
        "443",
        "chunked",
        ",",
        ";",
        " ",
    ];
    let mut words = |most: usize| -> String {
        let count = random.below(most);
        (0..count).map(|_| random.of(&WORDS)).collect()
    };
    req.target = format!("/v1/{}", words(6));
    req.header("x-words", &words(8));
}
