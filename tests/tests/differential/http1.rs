//! Requests as bytes of HTTP/1.1, as anybody may write them.

use super::cases::Req;
use super::made::host;
use super::random::Random;

/// A request in its lines.
pub(crate) struct Text {
    /// Request line, and one line for each header, without their ends.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Everything behind the empty line.
    pub(crate) body: Vec<u8>,
}

impl Text {
    /// As they are sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(b"\r\n".as_slice());
        bytes.extend(b"\r\n\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// Adds a header.
    pub(crate) fn line(&mut self, line: &str) {
        self.lines.push(line.as_bytes().to_vec());
    }

    /// The line of this header.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let is = |line: &[u8]| {
            line.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.lines.iter().position(|line| is(line))
    }
}

/// A request that HTTP/1.1 has no doubt about.
pub(crate) fn plain(random: &mut Random, req: &Req, last: bool) -> Vec<u8> {
    written(random, req, last, true).bytes()
}

/// A request as lines; `whole` where it may have empty ones before it.
pub(crate) fn written(random: &mut Random, req: &Req, last: bool, whole: bool) -> Text {
    let host = host(random);
    let absolute = random.percent(5) && req.target.starts_with('/');
    let origin = if absolute {
        format!("https://{}", host.to_lowercase())
    } else {
        String::new()
    };
    let mut text = Text {
        lines: vec![format!("{} {origin}{} HTTP/1.1", req.method, req.target).into_bytes()],
        body: Vec::new(),
    };
    let mut headers = req.headers.clone();
    headers.insert(
        random.below(headers.len() + 1),
        ("Host".to_owned(), host.into_bytes()),
    );
    for (name, value) in headers {
        text.lines.push(field(random, &name, &value));
    }
    if last {
        text.line("Connection: close");
    } else if random.percent(10) {
        text.line("Connection: keep-alive, X-Named-Here");
        text.line("X-Named-Here: 1");
    }
    match req.body.is_empty() {
        true if random.percent(90) => {}
        true => text.line("Content-Length: 0"),
        false => framed(random, &req.body, &mut text),
    }
    // Empty lines before a request are nothing.
    if whole && random.percent(3) {
        text.lines.insert(0, Vec::new());
    }
    text
}

fn field(random: &mut Random, name: &str, value: &[u8]) -> Vec<u8> {
    let name = match random.below(4) {
        0 => name.to_uppercase(),
        1 => name.to_lowercase(),
        _ => name.to_owned(),
    };
    let before = random.of(&[" ", " ", " ", "", "  ", "\t"]);
    let behind = random.of(&["", "", "", " ", "\t "]);
    [
        name.as_bytes(),
        b":",
        before.as_bytes(),
        value,
        behind.as_bytes(),
    ]
    .concat()
}

fn framed(random: &mut Random, body: &[u8], text: &mut Text) {
    if random.percent(10) {
        text.line("Expect: 100-continue");
    }
    if random.percent(60) {
        text.line(&format!("Content-Length: {}", body.len()));
        text.body = body.to_vec();
        return;
    }
    text.line("Transfer-Encoding: chunked");
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(random.below(rest.len()) + 1);
        let zeros = random.of(&["", "", "0", "000"]);
        let extension = random.of(&["", "", ";a", ";a=b", ";a=\"b c\""]);
        let size = match random.percent(50) {
            true => format!("{zeros}{:x}{extension}\r\n", chunk.len()),
            false => format!("{zeros}{:X}{extension}\r\n", chunk.len()),
        };
        text.body.extend(size.into_bytes());
        text.body.extend(chunk);
        text.body.extend(b"\r\n");
        rest = behind;
    }
    text.body.extend(b"0\r\n\r\n");
}
