//! The list: bytes that different readers take for different requests.

use actpass_tests::proxied::HOST;

/// One attack.
#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) name: String,
    /// Who would be taken in by it, and how.
    pub(crate) why: &'static str,
    pub(crate) bytes: Bytes,
}

/// What an agent sends. `MARK` stands for the marker that tells its requests from all others.
#[derive(Clone)]
pub(crate) enum Bytes {
    /// HTTP/1.1: a text in which the words of [`words`] stand for what they say there.
    Text(String),
    /// Frames of HTTP/2, for that marker.
    Frames(fn(&str) -> Vec<u8>),
}

impl Attack {
    pub(crate) fn text(
        name: impl Into<String>,
        why: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            why,
            bytes: Bytes::Text(text.into()),
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.bytes, Bytes::Frames(_))
    }

    /// The bytes for one marker, followed by those of a good request on the same connection.
    pub(crate) fn bytes(&self, mark: &str) -> Vec<u8> {
        match &self.bytes {
            Bytes::Text(text) => words(text, mark).into_bytes(),
            Bytes::Frames(make) => make(mark),
        }
    }
}

/// Attacks for one reason, by name and text.
pub(crate) fn of(why: &'static str, cases: &[(&'static str, &'static str)]) -> Vec<Attack> {
    let made = cases
        .iter()
        .map(|(name, text)| Attack::text(*name, why, *text));
    made.collect()
}

/// The request that nobody may make: no action is declared for it.
pub(crate) fn smuggled(mark: &str) -> String {
    format!(
        "POST /admin/{mark} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {mark}\r\ncontent-length: 0\r\n\r\n"
    )
}

/// The good request on the same connection.
pub(crate) fn after(mark: &str) -> String {
    format!("GET /v1/{mark}/after HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {mark}\r\n\r\n")
}

fn words(text: &str, mark: &str) -> String {
    let smuggled = smuggled(mark);
    let length = smuggled.len();
    let host = format!("host: {HOST}\r\nuser-agent: MARK\r\n");
    let post = |path: &str, kind: &str| {
        format!("POST /v1/{path}/MARK HTTP/1.1\r\n{host}content-type: application/{kind}\r\n")
    };
    text.replace("{get}", &format!("GET /v1/MARK HTTP/1.1\r\n{host}"))
        .replace("{form}", &post("form", "x-www-form-urlencoded"))
        .replace("{json}", &post("json", "json"))
        .replace("{raw}", &post("raw", "json"))
        .replace(
            "{delete}",
            &format!("DELETE /v1/things/MARK HTTP/1.1\r\n{host}"),
        )
        .replace("{head}", &format!("HEAD /v1/MARK HTTP/1.1\r\n{host}"))
        .replace("{coded}", "transfer-encoding: chunked\r\n")
        .replace("{host}", &host)
        .replace("{smuggled}", &smuggled)
        .replace("{len}", &length.to_string())
        .replace("{len+5}", &(length + 5).to_string())
        .replace("{hex}", &format!("{length:x}"))
        .replace("HOST", HOST)
        .replace("LONG", &"a".repeat(70_000))
        .replace("MARK", mark)
}
