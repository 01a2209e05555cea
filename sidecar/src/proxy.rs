//! One request at a time: read whole, judged, run, answered.

mod answering;
mod body;
mod echo;
mod internal;
mod passing;
mod tasks;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_core::evidence::record::{Outcome, OutcomeResult, Refusal};
use actpass_core::headers::AGENT_CREDENTIALS;
use actpass_core::host::HostName;
use actpass_core::upstream::ErrorStyle;
use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, Response, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::answer;
use crate::execute::{Executor, Outgoing, Sent, broken_off, result_of};
use crate::extract::{connection_options, forwarded_headers, match_action};
use crate::judge::{Denial, DenialKind, Internal, Judge, Judgement, Permit, Received};
use crate::metrics::{Answer, Metrics};
use answering::{Answering, Counted, ECHOED};
use body::{BodyError, read_body};
use echo::Guard;
use tasks::Tasks;

/// All requests' bodies in memory at a time, in units of a KiB: 48 MiB. Over: 503 `busy`.
const BODY_BUDGET_KIB: usize = 48 * 1024;

/// Most names that are passed on unread.
const UNREAD_MAX: usize = 4_096;

/// Tasks of connections that were ended are gone within milliseconds: how often that is looked for, and how long.
const GONE_EVERY: Duration = Duration::from_millis(5);
const GONE_MAX: Duration = Duration::from_secs(1);

/// The name under which ActPass itself answers.
pub const INTERNAL_NAME: &str = "actpass.internal";

/// An answer's body, ours or the upstream's.
pub(crate) type AnswerBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Whom a connection was made to.
#[derive(Clone, Debug)]
pub struct Dialled {
    /// The name.
    pub host: HostName,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// Serves an agent's requests.
pub struct Proxy {
    judge: Arc<dyn Judge>,
    internal: Arc<dyn Internal>,
    executor: Executor,
    budget: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    tasks: Arc<Tasks>,
    /// Names and ports that are passed on unread under audit, since agent or upstream do not take to being read.
    unread: Mutex<BTreeSet<(HostName, u16)>>,
}

impl Proxy {
    /// A proxy that asks `judge` and runs what it permits.
    pub fn new(judge: Arc<dyn Judge>, internal: Arc<dyn Internal>, executor: Executor) -> Self {
        Self {
            judge,
            internal,
            executor,
            budget: Arc::new(Semaphore::new(BODY_BUDGET_KIB)),
            metrics: Arc::default(),
            tasks: Arc::default(),
            unread: Mutex::default(),
        }
    }

    /// Waits for changes that run without their agent, once no more requests come. What has not ended when `patience` is over
    /// is given up, its outcome `ambiguous`.
    pub async fn settle(&self, patience: Duration) {
        self.tasks.settle(patience).await;
    }

    /// Gives up what agents were reading until their connections were ended just now: its outcome is `ambiguous`.
    pub async fn give_up(&self) {
        self.tasks.end().await;
        let gone = async {
            while self.metrics.connected() {
                tokio::time::sleep(GONE_EVERY).await;
            }
        };
        drop(tokio::time::timeout(GONE_MAX, gone).await);
    }

    /// The same, counting into `metrics`.
    #[must_use]
    pub fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// What is counted here.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What decides.
    pub(crate) fn judge(&self) -> &dyn Judge {
        &*self.judge
    }

    /// What sends.
    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// From now on connections to this name are passed on unread while the namespace is under audit: whoever is at one of
    /// their ends takes nobody for the other but the other itself.
    pub(crate) fn pass_unread(&self, host: &HostName, port: u16) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.len() < UNREAD_MAX && unread.insert((host.clone(), port)) {
            tracing::warn!(%host, port, "TLS cannot be intercepted; under audit it is passed on unread from here on");
        }
    }

    /// Whether connections to this name are passed on unread under audit.
    pub(crate) fn is_unread(&self, host: &HostName, port: u16) -> bool {
        let unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.contains(&(host.clone(), port))
    }

    /// Records what was refused before it was a request.
    pub fn refuse(&self, refusal: Refusal, detail: &str) {
        // That it may be unrecorded is logged where it is tried; it stays refused.
        drop(self.judge.refuse(refusal, detail));
    }

    /// Records bytes that are no HTTP request, which the connection was closed for.
    pub(crate) fn refuse_unreadable(&self, dialled: &Dialled, detail: &str) {
        let refusal = Refusal {
            code: "unparsable".to_owned(),
            target: format!("HTTP to {}:{}", dialled.host, dialled.port),
        };
        self.refuse(refusal, detail);
    }

    /// Answers one request.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        dialled: &Dialled,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let begun = Instant::now();
        let (answer, response) = match self.try_serve(dialled, request).await {
            Ok(response) => (Answer::Served, response),
            Err(denial) => (Answer::Denied, ours(&denial)),
        };
        self.metrics.answered(answer, begun.elapsed());
        response
    }

    async fn try_serve(
        self: &Arc<Self>,
        dialled: &Dialled,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Denial> {
        if dialled.host.as_str() != INTERNAL_NAME
            && let Some(leave) = self.judge.audit()
        {
            return self.pass_on(leave, dialled, request).await;
        }
        if !authority_matches(dialled, &request) {
            let detail = "The request's authority is not the name that was dialled.";
            let target = target_of(dialled, request.method(), &claimed(&request));
            let evidence = self.judge.refuse(
                Refusal {
                    code: "host_mismatch".to_owned(),
                    target,
                },
                detail,
            );
            return Err(Denial {
                evidence,
                ..plain("host_mismatch", detail.to_owned(), DenialKind::Denied)
            });
        }
        if dialled.host.as_str() == INTERNAL_NAME {
            return self.serve_internal(request).await;
        }
        let (host, port) = self.target_of(dialled).ok_or_else(|| {
            let detail = "No Upstream has this name.";
            self.refused(
                dialled,
                request.method(),
                "undeclared_name",
                detail,
                DenialKind::Denied,
            )
        })?;
        let received = self.receive(dialled, host, port, request).await?;
        match self.judge.judge(&received).await {
            Judgement::Deny(denial) => Err(*denial),
            Judgement::Permit(permit) if permit.permitted.changes() => {
                self.run_to_its_end(*permit, received).await
            }
            Judgement::Permit(permit) => Ok(self.run(*permit, &received).await),
        }
    }

    /// Runs what changes something in a task of its own: an agent that hangs up half way does not make the upstream's
    /// answer unknown. Where nobody takes the response, dropping it has its rest read and the outcome recorded.
    async fn run_to_its_end(
        self: &Arc<Self>,
        permit: Permit,
        received: Received,
    ) -> Result<Response<AnswerBody>, Denial> {
        let proxy = self.clone();
        let work = async move { proxy.run(permit, &received).await };
        let failed = |why: &str| {
            let detail = format!("ActPass failed while the request ran: {why}.");
            plain("internal_error", detail, DenialKind::Busy)
        };
        match self.tasks.spawn(work).await {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(failed("it is ending")),
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    /// Where a request goes: to the name dialled, or to the one host behind `<upstream>.actpass.internal`.
    fn target_of(&self, dialled: &Dialled) -> Option<(HostName, u16)> {
        let Some(upstream) = dialled.host.as_str().strip_suffix(".actpass.internal") else {
            return Some((dialled.host.clone(), dialled.port));
        };
        let route = self.judge.route_named(upstream)?;
        let host = route.upstream().single_exact_host()?.as_exact()?;
        Some((host.clone(), *route.upstream().ports.first()?))
    }

    /// Reads a request whole, within the limits of its declared action and of all bodies together.
    async fn receive(
        &self,
        dialled: &Dialled,
        host: HostName,
        port: u16,
        request: Request<Incoming>,
    ) -> Result<Received, Denial> {
        let (parts, body) = request.into_parts();
        let refuse =
            |code, detail: &str, kind| self.refused(dialled, &parts.method, code, detail, kind);
        if parts.method == Method::CONNECT || parts.headers.contains_key(UPGRADE) {
            let detail = "CONNECT and protocol upgrades are not declared and cannot be read.";
            return Err(refuse("undeclared", detail, DenialKind::Denied));
        }
        if !plainly_chunked(&parts.headers) {
            let detail = "The body has a transfer coding other than `chunked`, so what it says is not what would be read.";
            return Err(refuse("unparsable", detail, DenialKind::Unparsable));
        }
        let Some(target) = parts.uri.path_and_query().cloned() else {
            return Err(refuse(
                "unparsable",
                "The request has no path.",
                DenialKind::Unparsable,
            ));
        };
        let route = self.judge.route(&host, port);
        let limit = route.map(|route| route.body_bytes_max(parts.method.as_str(), target.as_str()));
        // Where no body may be, a byte of one is enough to say why.
        let (limit, no_body) = match limit {
            Some(Ok(limit)) => (limit, None),
            Some(Err(refused)) => (0, Some(refused)),
            None => (0, None),
        };
        let body = match (read_body(body, limit, &self.budget).await, no_body) {
            (Ok(body), None) => body,
            (Ok(body), Some(_)) if body.is_empty() => body,
            (Ok(_) | Err(BodyError::TooLarge(_)), Some(refused)) => {
                let code = refused.code.as_str();
                return Err(refuse(code, &refused.detail, DenialKind::Denied));
            }
            (Err(error), _) => {
                let (code, kind) = error.code();
                return Err(refuse(code, &error.to_string(), kind));
            }
        };
        Ok(Received {
            host,
            port,
            method: parts.method,
            target,
            headers: parts.headers,
            body,
            http2: parts.version == Version::HTTP_2,
        })
    }

    /// Runs a permit and records what became of it, also where the agent goes away half way.
    pub(crate) async fn run(&self, permit: Permit, received: &Received) -> Response<AnswerBody> {
        let Permit {
            permitted,
            of,
            route,
            credential,
            evidence,
        } = permit;
        let obligations = permitted.obligations();
        let tasks = permitted.changes().then(|| self.tasks.clone());
        let Some(outgoing) = outgoing(received, &route) else {
            return ours(&self.no_such_action(of));
        };
        let pending = Pending::new(self.judge.clone(), of);
        let sent = self
            .executor
            .execute(permitted, &route, credential.as_ref(), outgoing)
            .await;
        match sent {
            Sent::Not { result, detail } => {
                let (code, why) = unanswered(result, &detail);
                let denial = Denial {
                    evidence,
                    style: route.upstream().error_style,
                    ..plain(code, why, DenialKind::Upstream)
                };
                self.metrics.upstream_error(&route.upstream().name, result);
                pending.end(result, None, Some(detail), 0, 0);
                ours(&denial)
            }
            Sent::Answered(answered) => {
                let status = answered.response.status();
                let result = result_of(status, &route);
                let (mut parts, body) = answered.response.into_parts();
                strip_hop_by_hop(&mut parts.headers);
                // The reason phrase among them: free text of the upstream's.
                parts.extensions.clear();
                let mut guard = Guard::new(credential.as_ref(), &route, &self.metrics);
                if let Some(guard) = &mut guard
                    && guard.check(&parts.headers).is_err()
                {
                    let (status, why) = (Some(status.as_u16()), ECHOED.to_owned());
                    pending.end(broken_off(result), status, Some(why), 0, 0);
                    let detail =
                        "The upstream sent the lent credential back, so its answer is withheld.";
                    return ours(&Denial {
                        style: route.upstream().error_style,
                        evidence,
                        ..plain("credential_echoed", detail.to_owned(), DenialKind::Upstream)
                    });
                }
                if let Some(evidence) = &evidence
                    && let Ok(value) = evidence.0.parse()
                {
                    parts.headers.insert("actpass-evidence", value);
                }
                parts.version = Version::default();
                let answering = Answering::new(
                    body,
                    pending,
                    answered.back,
                    result,
                    status.as_u16(),
                    answered.started,
                )
                .at_most(obligations.max_response_bytes)
                .guarded(guard);
                Response::from_parts(parts, Counted::new(answering, tasks).boxed())
            }
        }
    }

    fn no_such_action(&self, of: u64) -> Denial {
        let (result, status) = (OutcomeResult::NotSent, None);
        let detail = "The policy no longer declares this action.".to_owned();
        let outcome = Outcome {
            of,
            result,
            status,
            detail: Some(detail.clone()),
            micros: 0,
            response_bytes: 0,
        };
        self.judge.outcome(outcome);
        plain("undeclared", detail, DenialKind::Denied)
    }

    fn refused(
        &self,
        dialled: &Dialled,
        method: &Method,
        code: &'static str,
        detail: &str,
        kind: DenialKind,
    ) -> Denial {
        let target = target_of(dialled, method, "");
        let evidence = self.judge.refuse(
            Refusal {
                code: code.to_owned(),
                target,
            },
            detail,
        );
        Denial {
            evidence,
            ..plain(code, detail.to_owned(), kind)
        }
    }
}

/// What a refusal's record names: method, name and port dialled, and what the request said instead.
fn target_of(dialled: &Dialled, method: &Method, claimed: &str) -> String {
    format!("{method} {}:{}{claimed}", dialled.host, dialled.port)
        .chars()
        .take(TARGET_CHARS_MAX)
        .collect()
}

/// Every authority a request claims, as text for a record: a name may itself be what was to be leaked.
fn claimed(request: &Request<Incoming>) -> String {
    let hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority();
    let mut claimed: Vec<String> = hosts
        .map(|host| host.as_bytes().escape_ascii().to_string())
        .chain(authority.map(|authority| authority.as_str().escape_debug().to_string()))
        .collect();
    claimed.dedup();
    format!(" as {}", claimed.join(" and "))
}

/// Longest target of a refusal, well below the bound of a field.
const TARGET_CHARS_MAX: usize = 300;

/// An outcome that is still owed: dropped without an end, it is `ambiguous`.
pub(crate) struct Pending {
    judge: Arc<dyn Judge>,
    of: u64,
    ended: bool,
}

impl Pending {
    fn new(judge: Arc<dyn Judge>, of: u64) -> Self {
        Self {
            judge,
            of,
            ended: false,
        }
    }

    /// For what may have no record.
    fn owed(judge: Arc<dyn Judge>, of: Option<u64>) -> Self {
        let mut owed = Self::new(judge, of.unwrap_or_default());
        owed.ended = of.is_none();
        owed
    }

    pub(crate) fn end(
        mut self,
        result: actpass_core::evidence::record::OutcomeResult,
        status: Option<u16>,
        detail: Option<String>,
        micros: u64,
        response_bytes: u64,
    ) {
        if self.ended {
            return;
        }
        self.ended = true;
        let detail = detail.map(|detail| actpass_core::evidence::leaf::bounded(&detail));
        self.judge.outcome(Outcome {
            of: self.of,
            result,
            status,
            detail,
            micros,
            response_bytes,
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.ended {
            let result = actpass_core::evidence::record::OutcomeResult::Ambiguous;
            let detail = Some("the agent went away before the upstream answered".to_owned());
            self.judge.outcome(Outcome {
                of: self.of,
                result,
                status: None,
                detail,
                micros: 0,
                response_bytes: 0,
            });
        }
    }
}

fn outgoing(received: &Received, route: &crate::route::Route) -> Option<Outgoing> {
    let path = actpass_core::path::DecodedPath::parse(received.target.path()).ok()?;
    let (spec, _) = match_action(route.upstream(), received.method.as_str(), &path).ok()?;
    let mut credentials = AGENT_CREDENTIALS.map(HeaderName::from_static).to_vec();
    credentials.extend(
        route
            .upstream()
            .credentials
            .iter()
            .filter_map(|it| it.header.parse().ok()),
    );
    Some(Outgoing {
        method: received.method.clone(),
        target: PathAndQuery::clone(&received.target),
        headers: forwarded_headers(spec, &received.headers, &credentials),
        body: received.body.clone(),
        http2: received.http2,
    })
}

/// Every request must name the host that was dialled: `Host`, and `:authority` or an absolute target where present.
/// A port may be left out, as simple clients do; one that is named must be the one dialled.
fn authority_matches(dialled: &Dialled, request: &Request<Incoming>) -> bool {
    let fits = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, Some(dialled.port)),
        };
        port == Some(dialled.port)
            && host
                .parse::<HostName>()
                .is_ok_and(|host| host == dialled.host)
    };
    let http2 = request.version() == Version::HTTP_2;
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) if http2 || !crate::SEEDED_BUGS => return false,
        (Some(value), _) => match value.to_str() {
            Ok(text) => Some(text),
            Err(_) => return false,
        },
        (None, _) => None,
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    (host.is_some() || authority.is_some())
        && (host.is_none_or(fits) || (crate::SEEDED_BUGS && http2))
        && authority.is_none_or(fits)
}

/// Whether a body comes as it is, or in chunks and nothing else: HTTP undoes that one coding (RFC 9112 section 6.1).
fn plainly_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Headers of one connection only (RFC 9110 section 7.6.1), and those that would lead the agent around us.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = connection_options(headers).collect();
    for name in named.iter().map(String::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [&str; 9] = [
    "alt-svc",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn plain(code: &'static str, detail: String, kind: DenialKind) -> Denial {
    Denial {
        kind,
        code: code.into(),
        detail,
        rules: Vec::new(),
        evidence: None,
        style: ErrorStyle::Problem,
    }
}

fn ours(denial: &Denial) -> Response<AnswerBody> {
    answer::deny(denial).map(|body| body.map_err(|never| match never {}).boxed())
}

/// What the agent is told of a permitted request without an answer.
fn unanswered(result: OutcomeResult, detail: &str) -> (&'static str, String) {
    match result {
        // The cause says nothing that the agent could use, and an agent told of a time-out tries again.
        OutcomeResult::Ambiguous => {
            let why = "The request was sent and no answer came, so it may have been done. Do not repeat it: a person \
                       finds out, and says so with `actpass intents resolve`.";
            ("outcome_unknown", why.to_owned())
        }
        OutcomeResult::NotSent => {
            let why = format!("The upstream was not reached, and nothing was sent: {detail}.");
            ("upstream_failed", why)
        }
        OutcomeResult::Ok | OutcomeResult::Failed => {
            let why = format!("The upstream did not answer: {detail}.");
            ("upstream_failed", why)
        }
    }
}
