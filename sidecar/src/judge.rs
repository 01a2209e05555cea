//! The seam between what moves bytes and what decides about them.
//!
//! *Flow* of one request: the proxy reads it whole ([`Received`]), asks [`Judge::judge`], and carries out what
//! comes back: a [`Permit`] is executed once and its [`Outcome`] handed to [`Judge::outcome`]; a [`Denial`] is
//! answered. What cannot be read as a request for a declared name never gets that far: [`Judge::refuse`].

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actpass_core::decide::Permitted;
use actpass_core::evidence::record::{Outcome, Refusal};
use actpass_core::host::HostName;
use actpass_core::mode::Unenforced;
use actpass_core::upstream::ErrorStyle;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use crate::credential::Credential;
use crate::route::Route;

/// A future behind a pointer, so that [`Judge`] and [`Internal`] can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What decides, and keeps the record.
pub trait Judge: Send + Sync + 'static {
    /// The upstream that serves this name and port under the policy in force.
    fn route(&self, host: &HostName, port: u16) -> Option<Arc<Route>>;

    /// The upstream of this name, for `http://<upstream>.actpass.internal/`.
    fn route_named(&self, upstream: &str) -> Option<Arc<Route>>;

    /// Reads the request as one action and decides it; may hold it while people are asked. When this returns, the
    /// decision is recorded before it has its effect. The future is dropped when the agent
    /// goes away; what was asked of the ledger until then is the judge's to settle.
    fn judge<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Judgement>;

    /// Records what was refused before it was a request that could be judged. `detail` is the reason as a sentence,
    /// without values read off the wire. Never waits. `None`: it could not be recorded; it is refused all the same.
    fn refuse(&self, refusal: Refusal, detail: &str) -> Option<EvidenceId>;

    /// Leave to pass on whatever comes, while the namespace is under audit and there is a passport. `None`: what is decided
    /// holds.
    fn audit(&self) -> Option<Unenforced>;

    /// Decides a request that is passed on whatever is decided, and records it.
    fn rehearse<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Noted>;

    /// Records what is passed on though it would have been refused before it was a request. Never waits.
    fn would_refuse(&self, refusal: Refusal, detail: &str) -> Noted;

    /// Records what became of a permit, exactly once for each. Never waits, never loses one silently.
    fn outcome(&self, outcome: Outcome);
}

/// What the agent may ask of ActPass itself, under `http://actpass.internal/`.
pub trait Internal: Send + Sync + 'static {
    /// `GET /v1/passport`: the agent's own passport, as far as it may see it.
    fn passport(&self) -> BoxFuture<'_, InternalAnswer>;

    /// `POST /v1/preflight`: what would be decided for a plan; nothing is consumed.
    fn preflight(&self, plan: Bytes) -> BoxFuture<'_, InternalAnswer>;

    /// `GET /v1/approvals/{id}`: where a question to people stands.
    fn approval<'a>(&'a self, id: &'a str) -> BoxFuture<'a, InternalAnswer>;

    /// `POST /v1/approvals/{id}/execute`: the sealed request and the permit to run exactly it, once.
    fn redeem<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Redeemed>;
}

/// An answer of ActPass itself: a status and a JSON document.
#[derive(Clone, Debug)]
pub struct InternalAnswer {
    /// Status.
    pub status: StatusCode,
    /// JSON document.
    pub json: Vec<u8>,
}

/// What redeeming an approval came to.
#[derive(Debug)]
pub enum Redeemed {
    /// The request that was sealed, judged again, and the permit for it.
    Permit(Box<Received>, Box<Permit>),
    /// Not granted, used, expired, or denied by now.
    Deny(Box<Denial>),
}

/// One request, read whole and bounded, for a declared name. Its authority equals the name dialled.
#[derive(Clone, Debug)]
pub struct Received {
    /// Where it goes: the name dialled, or the one exact host behind `<upstream>.actpass.internal`.
    pub host: HostName,
    /// The port.
    pub port: u16,
    /// Method.
    pub method: Method,
    /// Path and query as sent: visible ASCII, not decoded.
    pub target: PathAndQuery,
    /// Headers as sent, the agent's own credential headers among them; those are never forwarded.
    pub headers: HeaderMap,
    /// The whole body, at most [`Route::body_bytes_max`]; not compressed.
    pub body: Bytes,
    /// Whether the agent speaks HTTP/2, so that the upstream is asked for it too: what needs it (gRPC) gets it, and
    /// the rest is spared its price.
    pub http2: bool,
}

/// The answer of a [`Judge`].
#[derive(Debug)]
pub enum Judgement {
    /// Run it, once.
    Permit(Box<Permit>),
    /// Answer this.
    Deny(Box<Denial>),
}

/// Leave to run one action once, and what is needed to do so.
#[derive(Debug)]
pub struct Permit {
    /// The permission.
    pub permitted: Permitted,
    /// Sequence number of its record, which the outcome refers to.
    pub of: u64,
    /// How to reach the upstream, under the policy it was judged by.
    pub route: Arc<Route>,
    /// The credential lent for it.
    pub credential: Option<Credential>,
    /// Where its evidence is.
    pub evidence: Option<EvidenceId>,
}

/// The record of something that is passed on under audit.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// Sequence number that its outcome refers to, where it is an action.
    pub of: Option<u64>,
    /// Where its evidence is; `None`: it could not be recorded, which is counted.
    pub evidence: Option<EvidenceId>,
}

/// What the agent is told instead of an upstream's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What kind of no it is; decides the status.
    pub kind: DenialKind,
    /// Machine-readable reason, as in the record: `no_rule`, `limit_exceeded`, `unparsable`, …
    pub code: Cow<'static, str>,
    /// What was refused, why and what to do, as sentences for a person or a model.
    pub detail: String,
    /// Rules that decided, `POLICY/RULE`.
    pub rules: Vec<String>,
    /// Where the evidence is.
    pub evidence: Option<EvidenceId>,
    /// Shape of the answer.
    pub style: ErrorStyle,
}

/// What kind of no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// Denied: 403.
    Denied,
    /// People are asked: 403, code `approval_required`.
    ApprovalRequired {
        /// Id of the approval.
        approval: String,
        /// Until when it stands, RFC 3339; not known where it was asked before.
        expires: Option<String>,
    },
    /// Not readable as one request: 400.
    Unparsable,
    /// Body over the limit: 413.
    TooLarge,
    /// It was permitted, and the upstream gave no answer that may be passed on: 502.
    Upstream,
    /// No such path of ActPass's own: 404.
    NotFound,
    /// ActPass is out of buffers or cannot record now, and a later try may pass: 503.
    Busy,
}

/// Names one record: `<stream>/<seq>`, in the header `actpass-evidence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceId(pub String);

impl std::fmt::Display for EvidenceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
