//! Holds what the upstream got against what was judged.

use std::collections::{BTreeMap, BTreeSet};

use actpass_core::action::{Action, Hints};
use actpass_core::bundle::Bundle;
use actpass_core::evidence::record::OutcomeResult;
use actpass_core::hash::sha256;
use actpass_sidecar::extract::{Principal, RawRequest, extract};
use actpass_tests::proxied::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::cases;
use super::judged::Permitted;
use super::made::{MARK, inner, markers};
use super::plan::{Connection, Mix, Says, connection};
use super::readers::{Read, Stream, Streams};
use super::sound::{exactly, ours_or, understood};

/// What was judged and sent.
pub(crate) struct Comparer<'a> {
    bundle: &'a Bundle,
    seed: u64,
    mix: Mix,
    table: Vec<cases::Case>,
    permitted: &'a [Permitted],
    /// Indices of what is permitted, by what is judged of it.
    by_action: BTreeMap<[u8; 32], Vec<usize>>,
    markers: BTreeSet<String>,
    planned: BTreeMap<usize, Connection>,
}

/// What it comes to.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Everything that is not as it must be.
    pub(crate) problems: Vec<String>,
    /// Requests that the upstream got, of HTTP/1.1 and of HTTP/2 on the agent's side.
    pub(crate) forwarded: [usize; 2],
    /// Those of them that change something.
    pub(crate) changes: usize,
    /// Those that are compared byte by byte with what was sent.
    pub(crate) exact: usize,
    /// Permitted ones whose end nobody knows and of which nothing arrived.
    pub(crate) lost: usize,
}

impl<'a> Comparer<'a> {
    pub(crate) fn new(bundle: &'a Bundle, seed: u64, mix: Mix, permitted: &'a [Permitted]) -> Self {
        let mut by_action: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, permitted) in permitted.iter().enumerate() {
            by_action
                .entry(key(&permitted.action))
                .or_default()
                .push(at);
        }
        let markers = permitted
            .iter()
            .filter_map(|permitted| permitted.action.headers.get(MARK).cloned());
        Self {
            bundle,
            seed,
            mix,
            table: cases::all(),
            permitted,
            by_action,
            markers: markers.collect(),
            planned: BTreeMap::new(),
        }
    }

    /// Compares what two readers found; `bytes` are all they read.
    pub(crate) fn compare(&mut self, readers: &[Streams; 2], bytes: &[u8]) -> Compared {
        let mut compared = Compared::default();
        let [one, other] = readers;
        if one.keys().ne(other.keys()) {
            compared.problem("the readers read different files".to_owned());
        }
        let mut left = self.by_action.clone();
        for (file, stream) in one {
            let empty = Stream::default();
            let other = other.get(file).unwrap_or(&empty);
            self.stream(file, stream, other, &mut left, &mut compared);
        }
        for at in left.into_values().flatten() {
            let Permitted { action, result } = &self.permitted[at];
            match result {
                OutcomeResult::NotSent => {}
                OutcomeResult::Ambiguous => compared.lost += 1,
                OutcomeResult::Ok | OutcomeResult::Failed => {
                    compared.problem(format!("ended {result:?} and never arrived: {action:?}"));
                }
            }
        }
        self.leaked(bytes, &mut compared);
        compared
    }

    fn stream(
        &mut self,
        file: &str,
        one: &Stream,
        other: &Stream,
        left: &mut BTreeMap<[u8; 32], Vec<usize>>,
        compared: &mut Compared,
    ) {
        for error in [&one.error, &other.error].into_iter().flatten() {
            compared.problem(format!("{file} is not whole requests: {error}"));
        }
        if one.requests.len() != other.requests.len() {
            compared.problem(format!("{file}: different numbers of requests"));
        }
        for (at, request) in one.requests.iter().enumerate() {
            if other
                .requests
                .get(at)
                .is_some_and(|other| !other.agrees(request))
            {
                compared.problem(format!(
                    "{file}: read as {request} and as {}",
                    other.requests[at]
                ));
            }
            if let Err(problem) = self.request(request, left, compared) {
                compared.problem(format!("{file}: {problem}: {request}"));
            }
        }
    }

    /// One request against the one action that it must be.
    fn request(
        &mut self,
        read: &Read,
        left: &mut BTreeMap<[u8; 32], Vec<usize>>,
        compared: &mut Compared,
    ) -> Result<(), String> {
        let action = self.action(read)?;
        understood(read, &action)?;
        let found = left.get_mut(&key(&action)).and_then(Vec::pop);
        let at = found.ok_or_else(|| format!("nobody judged {action:?}"))?;
        if self.permitted[at].result == OutcomeResult::NotSent {
            return Err("it is on record as not sent".to_owned());
        }
        let changes = action.effect.changes();
        compared.changes += usize::from(changes);
        let Some((number, at)) = self.sent(read) else {
            self.take_markers(read);
            return ours_or(read, changes, |_, _| true);
        };
        let planned = &self.planned[&number];
        compared.forwarded[usize::from(planned.http2.is_some())] += 1;
        let bytes = match &planned.requests[at].says {
            Says::Exactly(says) => {
                compared.exact += 1;
                return exactly(read, says, changes);
            }
            Says::Within(bytes) => Some(bytes.to_ascii_lowercase()),
            Says::Garbled => None,
        };
        self.take_markers(read);
        ours_or(read, changes, |name, value| {
            let holds = |part: &[u8]| {
                let found = |bytes| memchr::memmem::find(bytes, part).is_some();
                bytes.as_deref().is_none_or(found)
            };
            holds(name.as_bytes()) && holds(&value.to_ascii_lowercase())
        })
    }

    /// What names a permitted request whose judged marker is gone or garbled.
    fn take_markers(&mut self, read: &Read) {
        for (_, value) in &read.headers {
            self.markers.extend(markers(value));
        }
    }

    /// The request as the action it is by our own reading of its parts.
    fn action(&self, read: &Read) -> Result<Action, String> {
        let [passport] = self.bundle.spec().passports.as_slice() else {
            return Err("not one Passport".to_owned());
        };
        let (upstream, host) = (self.bundle.upstream("shop").unwrap(), HOST.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in &read.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("header {name}"))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| format!("value of {name}"))?;
            headers.append(name, value);
        }
        let principal = Principal {
            tenant: &self.bundle.spec().tenant,
            passport: &passport.name,
            agent: &passport.agent_id,
        };
        let request = RawRequest {
            method: &read.method.parse::<Method>().map_err(|_| "method")?,
            target: &read.target,
            headers: &headers,
            body: &read.body,
            host: &host,
            port: 443,
        };
        let action = extract(self.bundle, upstream, &principal, &request);
        action
            .map(|action| Action {
                hints: Hints::default(),
                ..action
            })
            .map_err(|refused| refused.to_string())
    }

    /// The connection and the request on it that the marker names. The one in the header that is judged may be gone or
    /// garbled.
    fn sent(&mut self, read: &Read) -> Option<(usize, usize)> {
        let markers = [MARK, "user-agent"].map(|name| {
            let found = read.headers.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        });
        let (seed, mix, table) = (self.seed, self.mix, &self.table);
        markers.into_iter().flatten().find_map(|marker| {
            let number: usize = marker.get(2..8)?.parse().ok()?;
            let planned = self
                .planned
                .entry(number)
                .or_insert_with(|| connection(seed, mix, number, table));
            let is = |it: &str| it == marker || inner(it) == marker;
            let at = planned.requests.iter().position(|it| is(&it.marker))?;
            Some((number, at))
        })
    }

    /// Bytes of requests that were not permitted.
    fn leaked(&self, bytes: &[u8], compared: &mut Compared) {
        for marker in markers(bytes) {
            if !self.markers.contains(&marker) {
                compared.problem(format!("{marker} was not permitted and is in the bytes"));
            }
        }
    }
}

impl Compared {
    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// All that is judged, the key that the caller made up included.
fn key(action: &Action) -> [u8; 32] {
    sha256(&[format!("{action:?}").as_bytes()])
}
