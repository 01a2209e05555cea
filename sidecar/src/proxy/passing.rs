//! Under audit: a request goes on as it came, with what the agent itself shows, whatever was decided about it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actpass_core::evidence::record::{OutcomeResult, Refusal};
use actpass_core::headers::OWN_PREFIX;
use actpass_core::mode::Unenforced;
use bytes::{Bytes, BytesMut};
use http::header::{EXPECT, HOST, TE, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval};

use super::answering::{Answering, Counted};
use super::body::{hold, kept};
use super::{
    AnswerBody, Dialled, Pending, Proxy, authority_matches, claimed, ours, plain, plainly_chunked,
    strip_hop_by_hop, target_of, unanswered,
};
use crate::execute::{Answered, BodyError, OutBody, Passed, Passing, result_of};
use crate::extract::connection_options;
use crate::judge::{Denial, DenialKind, EvidenceId, Judge, Noted, Received};
use crate::listen::tunnel;
use crate::route::Route;

/// How long a body may take to be there whole; one that takes longer, or is a stream, goes on as it comes.
const WHOLE_WITHIN: Duration = Duration::from_secs(2);

impl Proxy {
    /// Passes one request on, once what would have been decided is on the record.
    pub(super) async fn pass_on(
        self: &Arc<Self>,
        leave: Unenforced,
        dialled: &Dialled,
        mut request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Denial> {
        let Some((host, port)) = self.target_of(dialled) else {
            let (code, detail) = ("undeclared_name", "No Upstream has this name.");
            let kind = DenialKind::Denied;
            return Err(self.refused(dialled, request.method(), code, detail, kind));
        };
        if request.method() == Method::CONNECT {
            let detail = "CONNECT leads somewhere that cannot be seen here.";
            let kind = DenialKind::Denied;
            return Err(self.refused(dialled, request.method(), "undeclared", detail, kind));
        }
        let upgrade = request.headers().contains_key(UPGRADE);
        let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
        let mismatch = !authority_matches(dialled, &request);
        let said = if mismatch {
            claimed(&request)
        } else {
            String::new()
        };
        let in_clear = host != dialled.host;
        let route = self.judge.route(&host, port);
        let route =
            match route {
                Some(route) => route,
                None => Arc::new(Route::undeclared(dialled.tls).map_err(|error| {
                    plain("no_route", format!("{error}."), DenialKind::Upstream)
                })?),
            };
        let authority = (!in_clear).then(|| authority_of(&request)).flatten();
        let (parts, body) = request.into_parts();
        let Some(target) = parts.uri.path_and_query().cloned() else {
            let (code, detail) = ("unparsable", "The request has no path.");
            let kind = DenialKind::Unparsable;
            return Err(self.refused(dialled, &parts.method, code, detail, kind));
        };
        let limit = route.body_bytes_max(parts.method.as_str(), target.as_str());
        let ahead = match limit {
            Ok(limit) => Ahead::read(body, limit, &self.budget, &self.judge).await,
            Err(_) if body.is_end_stream() => Ahead::empty(),
            Err(refused) => Ahead::unread(body, &self.judge, refused.code.as_str(), refused.detail),
        };
        let doubt = if mismatch {
            Some((
                "host_mismatch",
                "The request's authority is not the name that was dialled.".to_owned(),
            ))
        } else if upgrade.is_some() {
            let detail = "Protocol upgrades are not declared and cannot be read.";
            Some(("undeclared", detail.to_owned()))
        } else if !plainly_chunked(&parts.headers) {
            let detail = "The body has a transfer coding other than `chunked`.";
            Some(("unparsable", detail.to_owned()))
        } else {
            ahead.doubt
        };
        let noted = match (doubt, ahead.whole) {
            (None, Some(body)) => {
                let received = Received {
                    host: host.clone(),
                    port,
                    method: parts.method.clone(),
                    target: target.clone(),
                    headers: parts.headers.clone(),
                    body,
                    http2: parts.version == Version::HTTP_2,
                };
                self.judge.rehearse(&received).await
            }
            (doubt, _) => {
                let (code, detail) = doubt.unwrap_or_default();
                let code = code.to_owned();
                let target = target_of(dialled, &parts.method, &said);
                self.judge.would_refuse(Refusal { code, target }, &detail)
            }
        };
        let default = match (route.tls(false).is_some(), port) {
            (true, 443) | (false, 80) => host.to_string(),
            _ => format!("{host}:{port}"),
        };
        let passing = Passing {
            method: parts.method,
            target,
            authority: authority.unwrap_or(default),
            headers: passed_headers(&parts.headers, upgrade.is_some()),
            // An upgrade is one of HTTP/1.1.
            http2: parts.version == Version::HTTP_2 && upgrade.is_none(),
            alone: upgrade.is_some(),
        };
        let Noted { of, evidence } = noted;
        let pending = Pending::owed(self.judge.clone(), of);
        let to = (&host, port);
        let passed = self
            .executor
            .pass_on(leave, &route, to, &passing, ahead.body);
        match passed.await {
            Passed::Not {
                result,
                detail,
                stranger,
            } => {
                if stranger {
                    self.pass_unread(&host, port);
                }
                let (code, why) = unanswered(result, &detail);
                self.metrics.upstream_error(&route.upstream().name, result);
                pending.end(result, None, Some(detail), 0, 0);
                Ok(ours(&Denial {
                    evidence,
                    style: route.upstream().error_style,
                    ..plain(code, why, DenialKind::Upstream)
                }))
            }
            Passed::Answered(answered) => {
                Ok(self.answered(*answered, pending, &route, upgrade, evidence))
            }
        }
    }

    fn answered(
        &self,
        answered: Answered,
        pending: Pending,
        route: &Route,
        upgrade: Option<OnUpgrade>,
        evidence: Option<EvidenceId>,
    ) -> Response<AnswerBody> {
        let Answered {
            mut response,
            started,
            back,
        } = answered;
        let status = response.status();
        if let Some(agent) = upgrade.filter(|_| status == StatusCode::SWITCHING_PROTOCOLS) {
            let upstream = hyper::upgrade::on(&mut response);
            let judge = self.judge.clone();
            // Ends with either side, or with the audit.
            tokio::spawn(async move {
                let (Ok(agent), Ok(upstream)) = tokio::join!(agent, upstream) else {
                    return;
                };
                let (mut agent, mut upstream) = (TokioIo::new(agent), TokioIo::new(upstream));
                tunnel::copy(&mut agent, &mut upstream, &*judge).await;
            });
            pending.end(OutcomeResult::Ok, Some(status.as_u16()), None, 0, 0);
            return response.map(|_| Empty::new().map_err(|never| match never {}).boxed());
        }
        let (mut parts, body) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        parts.extensions.clear();
        if let Some(evidence) = &evidence
            && let Ok(value) = evidence.0.parse()
        {
            parts.headers.insert("actpass-evidence", value);
        }
        parts.version = Version::default();
        let result = result_of(status, route);
        let answering = Answering::new(body, pending, back, result, status.as_u16(), started);
        Response::from_parts(parts, Counted::new(answering, None).boxed())
    }
}

/// The authority that the agent says, as it says it.
fn authority_of(request: &Request<Incoming>) -> Option<String> {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).map(str::to_owned);
    host.or_else(|| request.uri().authority().map(ToString::to_string))
}

/// All but what is of this connection only, and what speaks to ActPass.
fn passed_headers(headers: &HeaderMap, upgrade: bool) -> HeaderMap {
    let options: Vec<String> = connection_options(headers).collect();
    let mut passed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let of_upgrade = text == "connection" || text == "upgrade";
        let dropped = match of_upgrade {
            true => !upgrade,
            false => {
                HOP_BY_HOP.contains(&text)
                    || name == EXPECT
                    || (name == TE && value != "trailers")
                    || text.starts_with(OWN_PREFIX)
                    || options.iter().any(|option| option == text)
            }
        };
        if !dropped {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

/// Headers of one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 4] = [
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
];

/// A body that was read ahead, as far as that is needed to know what it says.
struct Ahead {
    body: OutBody,
    /// All of it.
    whole: Option<Bytes>,
    /// Why it is not known what it says.
    doubt: Option<(&'static str, String)>,
}

impl Ahead {
    fn empty() -> Self {
        Self {
            body: OutBody::Whole(Full::default()),
            whole: Some(Bytes::new()),
            doubt: None,
        }
    }

    fn unread(body: Incoming, judge: &Arc<dyn Judge>, code: &'static str, detail: String) -> Self {
        let body = Rest {
            read: VecDeque::new(),
            body,
            _held: None,
        };
        Self {
            body: body.while_audited(judge),
            whole: None,
            doubt: Some((code, detail)),
        }
    }

    /// Reads at most `limit` bytes, for a moment.
    async fn read(
        mut body: Incoming,
        limit: u64,
        budget: &Arc<Semaphore>,
        judge: &Arc<dyn Judge>,
    ) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let said = body.size_hint();
        if said.lower() > limit {
            return Self::unread(body, judge, "body_too_large", TOO_LARGE.to_owned());
        }
        let most = said.upper().unwrap_or(limit).min(limit);
        let held = match hold(budget, most) {
            Ok(held) => held,
            Err(error) => return Self::unread(body, judge, "busy", error.to_string()),
        };
        let deadline = Instant::now() + WHOLE_WITHIN;
        let mut read: VecDeque<Frame<Bytes>> = VecDeque::new();
        let mut bytes = BytesMut::new();
        let (code, detail) = loop {
            match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(None) => {
                    let whole = kept(bytes.freeze(), held);
                    return Self {
                        body: OutBody::Whole(Full::new(whole.clone())),
                        whole: Some(whole),
                        doubt: None,
                    };
                }
                Ok(Some(Ok(frame))) => {
                    let data = frame.data_ref().cloned();
                    read.push_back(frame);
                    let Some(data) = data else {
                        break ("unparsable", TRAILERS);
                    };
                    bytes.extend_from_slice(&data);
                    if bytes.len() as u64 > limit {
                        break ("body_too_large", TOO_LARGE);
                    }
                }
                Ok(Some(Err(_))) => break ("unparsable", BROKEN),
                Err(_) => break ("unparsable", SLOW),
            }
        };
        let rest = Rest {
            read,
            body,
            _held: Some(held),
        };
        Self {
            body: rest.while_audited(judge),
            whole: None,
            doubt: Some((code, detail.to_owned())),
        }
    }
}

const TOO_LARGE: &str = "The body is longer than declared for this action.";
const TRAILERS: &str = "The request has trailers, which no action declares.";
const BROKEN: &str = "The body did not arrive whole.";
const SLOW: &str = "The body did not arrive whole within two seconds.";

/// What was read, then what comes.
struct Rest {
    read: VecDeque<Frame<Bytes>>,
    body: Incoming,
    _held: Option<OwnedSemaphorePermit>,
}

impl Rest {
    fn while_audited(self, judge: &Arc<dyn Judge>) -> OutBody {
        let body = WhileAudited {
            body: self,
            judge: judge.clone(),
            look: tokio::time::interval(tunnel::LOOK_EVERY),
        };
        OutBody::Passed(body.boxed())
    }
}

/// A body that breaks off when the audit ends: what was begun unread is not to go on for ever.
struct WhileAudited {
    body: Rest,
    judge: Arc<dyn Judge>,
    look: Interval,
}

impl Body for WhileAudited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while self.look.poll_tick(context).is_ready() {
            if self.judge.audit().is_none() {
                return Poll::Ready(Some(Err("the audit is over".into())));
            }
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self
            .read
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        let (hint, read) = (self.body.size_hint(), read as u64);
        let mut all = SizeHint::new();
        if let Some(upper) = hint.upper() {
            all.set_upper(upper.saturating_add(read));
        }
        all.set_lower(hint.lower().saturating_add(read));
        all
    }
}
