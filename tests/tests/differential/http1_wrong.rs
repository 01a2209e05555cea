//! Requests in bytes that are no HTTP/1.1, or that two readers could read differently.

use super::cases::Req;
use super::http1::{Text, written};
use super::made::inner;
use super::random::Random;

/// A request with one to three wrongs.
pub(crate) fn wrong(random: &mut Random, marker: &str, req: &Req) -> Vec<u8> {
    let mut text = written(random, req, false, false);
    for _ in 0..=random.below(2) {
        match random.below(10) {
            0..=3 => lengths(random, marker, &mut text),
            4 | 5 => lines(random, &mut text),
            6 => request_line(random, &mut text),
            7 => chunks(random, &mut text),
            8 => names(random, &mut text),
            _ => {
                let mut bytes = text.bytes();
                noise(random, &mut bytes);
                return bytes;
            }
        }
    }
    text.bytes()
}

/// What two readers would end at two places.
fn lengths(random: &mut Random, marker: &str, text: &mut Text) {
    const CODINGS: [&str; 16] = [
        "chunked",
        "Chunked",
        "chunked, identity",
        "identity",
        "chunked, chunked",
        "gzip, chunked",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked ,",
        ", chunked",
        "\x0bchunked",
        "",
        "chunked\0",
        "identity, chunked",
        "chunked\rx",
    ];
    let hidden = format!(
        "GET /v1/hidden HTTP/1.1\r\nhost: api.shop.example\r\nuser-agent: {0}\r\nshop-marker: {0}\r\n\r\n",
        inner(marker)
    );
    let length = text.body.len();
    match random.below(7) {
        // Both, with what the one takes for the body and the other for a request.
        0 => {
            text.body.splice(0..0, *b"0\r\n\r\n");
            text.body.extend(hidden.into_bytes());
            let length = text.body.len();
            let mut pair = [
                format!("Content-Length: {length}"),
                format!("Transfer-Encoding: {}", random.of(&CODINGS)),
            ];
            if random.percent(50) {
                pair.reverse();
            }
            pair.iter().for_each(|line| text.line(line));
        }
        1 => text.line(&format!("Transfer-Encoding: {}", random.of(&CODINGS))),
        2 => {
            for _ in 0..2 {
                text.line(&format!("Transfer-Encoding: {}", random.of(&CODINGS)));
            }
        }
        3 => {
            text.line(&format!("Content-Length: {length}"));
            text.line(&format!("Content-Length: {}", length + random.below(2)));
        }
        4 => {
            let odd = [
                format!("+{length}"),
                format!("0x{length:x}"),
                "-1".to_owned(),
                format!("{length}, {length}"),
                format!("{length},7"),
                format!("{length} 1"),
                format!("0{length}"),
                "18446744073709551617".to_owned(),
                String::new(),
                format!("{length}\u{b}"),
            ];
            text.line(&format!("Content-Length: {}", random.of(&odd)));
        }
        // A lie: what is behind the shorter one is read as a request, what is behind the longer one as a body.
        5 => {
            let lie = if random.percent(50) {
                length / 2
            } else {
                length + random.below(40) + 1
            };
            if let Some(at) = text.find("content-length:") {
                text.lines.remove(at);
            }
            text.line(&format!("Content-Length: {lie}"));
        }
        _ => {
            text.line(&format!("Content-Length: {}", random.below(length + 1)));
            text.body.extend(hidden.into_bytes());
        }
    }
}

fn lines(random: &mut Random, text: &mut Text) {
    let at = random.below(text.lines.len());
    let other = random.below(text.lines.len());
    match random.below(10) {
        0 => text.lines.insert(at + 1, b" folded: 1".to_vec()),
        1 => text.lines.insert(at + 1, b"\tfolded".to_vec()),
        // A bare line feed.
        2 => {
            let line = text.lines.remove(other);
            match text.lines.get_mut(at) {
                Some(before) => *before = [before.as_slice(), b"\n", &line].concat(),
                None => text.lines.push(line),
            }
        }
        3 => text
            .lines
            .insert(at + 1, b"x: y\rhost: evil.example".to_vec()),
        4 => text.lines.insert(at + 1, b"x: a\0b".to_vec()),
        5 => {
            let line = &mut text.lines[at];
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            line.insert(colon, random.of(b" \t\x0b\0"));
        }
        6 => text.lines.insert(at + 1, b"no colon here".to_vec()),
        7 => text.lines.insert(at + 1, b": no name".to_vec()),
        8 => text.lines.swap(at, other),
        _ => text.lines.insert(at + 1, "naïve: 1".as_bytes().to_vec()),
    }
}

fn request_line(random: &mut Random, text: &mut Text) {
    let line = String::from_utf8_lossy(&text.lines[0]).into_owned();
    let (from, to) = random.of(&[
        (" HTTP/1.1", " HTTP/1.0"),
        (" HTTP/1.1", " HTTP/0.9"),
        (" HTTP/1.1", " HTTP/1.2"),
        (" HTTP/1.1", " HTTP/2.0"),
        (" HTTP/1.1", " http/1.1"),
        (" HTTP/1.1", ""),
        (" HTTP/1.1", " HTTP/1.1 "),
        (" HTTP/1.1", "  HTTP/1.1"),
        (" HTTP/1.1", " HTTP/1.1\r"),
        (" /", "  /"),
        (" /", "\t/"),
        (" /", " *"),
        (" /", " http://evil.example/"),
        (" /", " https://user@api.shop.example/"),
        (" /", " api.shop.example:443/"),
        ("G", " G"),
    ]);
    text.lines[0] = line.replacen(from, to, 1).into_bytes();
}

/// A body in chunks that are none.
fn chunks(random: &mut Random, text: &mut Text) {
    const BODIES: [&str; 14] = [
        "5\r\nab\r\n0\r\n\r\n",
        "1\r\nabcdef\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "g\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\na\r\n0\r\nshop-marker: other\r\n\r\n",
        "1\r\na\r\n0\r\ncontent-length: 4\r\nhost: evil.example\r\n\r\n",
        "1\r\na\r\n00000\r\n\r\n",
        "2\r\n{}\r\n0;x\r\n\r\n",
    ];
    text.lines
        .retain(|line| !line.to_ascii_lowercase().starts_with(b"content-length"));
    if text.find("transfer-encoding:").is_none() {
        text.line("Transfer-Encoding: chunked");
    }
    text.body = random.of(&BODIES).as_bytes().to_vec();
}

fn names(random: &mut Random, text: &mut Text) {
    const HOSTS: [&str; 11] = [
        "",
        "evil.example",
        "api.shop.example, evil.example",
        "api.shop.example:80",
        "api.shop.example.",
        "user@api.shop.example",
        "api.shop.example/x",
        "api.shop.example:",
        "api.shop.example\0",
        "[::1]",
        "api.shop.example evil.example",
    ];
    let line = format!("Host: {}", random.of(&HOSTS)).into_bytes();
    match text.find("host:") {
        Some(at) if random.percent(50) => text.lines[at] = line,
        Some(at) if random.percent(20) => drop(text.lines.remove(at)),
        _ => text.lines.push(line),
    }
}

/// Bytes that are others, more or fewer than was meant.
fn noise(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.byte(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.of(b"\r\n\0 :\t\x80/%?")),
            _ => {
                let end = (at + random.below(20)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
    if random.percent(5) {
        bytes.truncate(random.below(bytes.len()));
    }
}
