//! Idle upstream connections, kept for a while and never shared between upstreams or credentials.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_core::host::HostName;
use hyper::client::conn::{http1, http2};

use crate::execute::OutBody;

/// Idle connections kept per key. Over HTTP/1.1 each call under way has one; at 30 KiB each, 4 MiB at most.
const IDLE_PER_KEY_MAX: usize = 128;

/// Below the 60 to 75 s after which common servers close.
const IDLE_MAX: Duration = Duration::from_secs(55);

/// How often connections that were idle for too long are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What makes two requests fit one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) upstream: String,
    pub(crate) host: HostName,
    pub(crate) port: u16,
    pub(crate) credential: Option<String>,
    /// Whether HTTP/2 was wanted.
    pub(crate) http2: bool,
    /// Whether what goes over it was permitted. What is only passed on has connections of its own.
    pub(crate) enforced: bool,
}

/// A connection that takes a request now.
pub(crate) enum Sender {
    Http1(http1::SendRequest<OutBody>),
    Http2(http2::SendRequest<OutBody>),
}

#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    waiting: BTreeMap<Key, VecDeque<(Instant, Sender)>>,
    swept: Option<Instant>,
}

impl Pool {
    /// A connection that is ready, if there is one. An HTTP/2 connection stays for others.
    pub(crate) fn take(&self, key: &Key) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.waiting.get_mut(key)?;
        while let Some((since, sender)) = waiting.pop_back() {
            match sender {
                _ if since.elapsed() > IDLE_MAX => {}
                Sender::Http1(sender) if sender.is_ready() => return Some(Sender::Http1(sender)),
                Sender::Http2(sender) if !sender.is_closed() => {
                    waiting.push_back((Instant::now(), Sender::Http2(sender.clone())));
                    return Some(Sender::Http2(sender));
                }
                Sender::Http1(_) | Sender::Http2(_) => {}
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, key: Key, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if idle.swept.is_none_or(|swept| now - swept > SWEEP_EVERY) {
            idle.swept = Some(now);
            idle.waiting.retain(|_, waiting| {
                waiting.retain(|(since, _)| now - *since <= IDLE_MAX);
                !waiting.is_empty()
            });
        }
        let waiting = idle.waiting.entry(key).or_default();
        if waiting.len() < IDLE_PER_KEY_MAX {
            waiting.push_back((now, sender));
        }
    }
}
