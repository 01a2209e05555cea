//! What comes back for bytes that an agent sends as they are.

use serde_json::{Value, json};

use super::HOST;
use crate::agent::Agent;
use crate::raw::{PREFACE, answers_of, header, streams};

/// An agent that sends what it is told, and whom it sends it to.
pub struct Sender {
    agent: Agent,
    host: &'static str,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
    /// `STREAM/SEQ`.
    pub(crate) evidence: Option<String>,
    /// Error code of HTTP/2.
    pub(crate) reset: Option<u32>,
    pub(crate) ok: bool,
}

impl Sender {
    /// That agent, before [`HOST`].
    pub fn of(agent: Agent) -> Self {
        Self::to(HOST, agent)
    }

    /// The same before another.
    pub fn to(host: &'static str, agent: Agent) -> Self {
        Self { agent, host }
    }

    /// Sends bytes on a connection of their own, and their end.
    pub fn send_all(&mut self, bytes: &[u8]) {
        self.send(bytes, 0);
    }

    /// Sends bytes on a connection of their own and gives the answers.
    pub(crate) fn send(&mut self, bytes: &[u8], answers: usize) -> Vec<Answered> {
        let http2 = bytes.starts_with(PREFACE);
        let alpn = if http2 { "h2" } else { "http/1.1" };
        let line = json!({ "host": self.host, "alpn": alpn, "answers": answers, "bytes": bytes });
        let said = self.agent.tell(&line).unwrap();
        let read: Vec<u8> = serde_json::from_value(said.clone())
            .unwrap_or_else(|_| panic!("{said} to {}", String::from_utf8_lossy(bytes)));
        if http2 {
            return streams(&read)
                .into_iter()
                .filter(|stream| stream.ended)
                .map(|stream| Answered {
                    reset: stream.reset,
                    ..Answered::of(&stream.body)
                })
                .collect();
        }
        answers_of(&read, bytes.starts_with(b"HEAD "))
            .into_iter()
            .map(|answer| {
                let said = Answered::of(&answer.body);
                let evidence = header(&answer.head, "actpass-evidence").map(str::to_owned);
                Answered {
                    status: answer.status,
                    evidence: evidence.or(said.evidence),
                    ..said
                }
            })
            .collect()
    }

    pub(crate) fn one(&mut self, bytes: &[u8]) -> Answered {
        self.send(bytes, 1).pop().unwrap_or_default()
    }

    /// Ends the agent.
    pub(crate) fn end(self) {
        self.agent.end().unwrap();
    }
}

impl Answered {
    fn of(body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Self {
            status: json["status"].as_u64().unwrap_or(0).try_into().unwrap(),
            code: text("code"),
            detail: text("detail"),
            evidence: json["instance"]
                .as_str()
                .map(|it| it.replace("actpass:", "")),
            reset: None,
            ok: json["ok"] == true,
        }
    }
}
