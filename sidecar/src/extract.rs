//! From bytes to meaning: reads one HTTP request as exactly one [`Action`], or says why it is none.
//!
//! *Flow*: [`match_action`] finds the declared action, the head is checked, the body is parsed in the declared
//! format, everything it carries is held against `params.allow`, and the declared facts are read.
//!
//! *Guarantees*: pure and total. What two readers could read differently is refused, never repaired: the bytes judged
//! are the bytes forwarded. A declared fact that is wrong does not refuse the request; it becomes [`Action::fault`],
//! so that the decision can say that an action is out of scope before it says that its amount is odd.

mod body;
mod facts;
mod forward;
mod head;
mod hints;
mod multipart;
mod params;
mod plan;
mod refused;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::host::HostName;
use actpass_core::path::{DecodedPath, PathError, PathParams, parse_query};
use actpass_core::upstream::{ActionSpec, BodyFormat, Protocol, Upstream};
use http::{HeaderMap, Method};

pub use forward::forwarded_headers;
pub(crate) use head::connection_options;
pub use head::{HEADER_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
pub use hints::{HINT_BYTES_MAX, HINT_HEADERS};
pub use multipart::{MULTIPART_PARTS_MAX, PART_HEAD_BYTES_MAX};
pub use plan::{PLAN_HEADERS_MAX, PlanStep, extract_step};
pub use refused::{RefusalCode, Refused};

use body::Body;
use facts::View;

/// A request as received, borrowed from whoever holds it.
#[derive(Clone, Copy, Debug)]
pub struct RawRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query as sent: not decoded, without scheme and authority.
    pub target: &'a str,
    /// Headers as sent.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
    /// Name dialled, which equals SNI and authority.
    pub host: &'a HostName,
    /// Port dialled.
    pub port: u16,
}

/// On whose behalf a request is read: always from the authenticated side, never from the request.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// `<cluster-id>/<namespace>/<namespace-uid>`.
    pub tenant: &'a str,
    /// Name of the Passport resource.
    pub passport: &'a str,
    /// Name of the agent in evidence.
    pub agent: &'a str,
}

/// Reads `request`, which goes to `upstream`, as one action.
///
/// # Errors
/// Where it cannot be read as exactly one declared action.
pub fn extract(
    bundle: &Bundle,
    upstream: &Upstream,
    principal: &Principal<'_>,
    request: &RawRequest<'_>,
) -> Result<Action, Refused> {
    check_destination(upstream, request)?;
    let (raw_path, raw_query) = split_target(request.target);
    let path = DecodedPath::parse(raw_path).map_err(|error| bad_path(&error))?;
    head::refuse_overrides(request.headers)?;
    if request.method == Method::TRACE {
        let detail = "TRACE is answered with the request as it arrived, the lent credential with it; it is never sent.";
        return Err(Refused::new(RefusalCode::Undeclared, detail));
    }
    let (spec, path_params) = match_action(upstream, request.method.as_str(), &path)?;
    read(
        bundle,
        upstream,
        principal,
        request,
        &Matched {
            spec,
            path: &path,
            path_params: &path_params,
            raw_query,
        },
    )
    .map_err(|refused| refused.of(&spec.capability))
}

/// The action that `method` and `path` name. Templates are ranked segment by segment from the left, literal over
/// `{name}` over `*` over `**`; then an exact method goes before [`ANY_METHOD`].
///
/// # Errors
/// `undeclared` where none matches, `two_actions` where two rank equal.
pub fn match_action<'b>(
    upstream: &'b Upstream,
    method: &str,
    path: &DecodedPath,
) -> Result<(&'b ActionSpec, PathParams), Refused> {
    let mut best: Option<(&ActionSpec, PathParams)> = None;
    let mut tied = false;
    for spec in upstream
        .actions
        .iter()
        .filter(|spec| spec.method == method || spec.method == ANY_METHOD)
    {
        let Some(params) = spec.path.matches(path) else {
            continue;
        };
        let order = best
            .as_ref()
            .map_or(std::cmp::Ordering::Greater, |(other, _)| {
                spec.path
                    .cmp_specificity(&other.path)
                    .then((spec.method == method).cmp(&(other.method == method)))
            });
        tied = order.is_eq() || (tied && order.is_lt());
        if order.is_gt() {
            best = Some((spec, params));
        }
    }
    match best {
        Some(_) if tied => Err(Refused::new(
            RefusalCode::TwoActions,
            format!(
                "Two actions of Upstream `{}` match this request and neither is more specific; change one of their \
                 paths.",
                upstream.name
            ),
        )),
        Some(found) => Ok(found),
        None => Err(undeclared(upstream, method, path)),
    }
}

/// Most bytes of body that may be read for this request before it is judged. `raw_path` may carry its query.
///
/// # Errors
/// Why it may have no body: it has no declared action, or one without.
pub fn body_limit(upstream: &Upstream, method: &str, raw_path: &str) -> Result<u64, Refused> {
    let (raw_path, _) = split_target(raw_path);
    let path = DecodedPath::parse(raw_path).map_err(|error| bad_path(&error))?;
    let (spec, _) = match_action(upstream, method, &path)?;
    match spec.body.format {
        BodyFormat::None => Err(body::none_declared(spec)),
        _ => Ok(spec.body.max_bytes),
    }
}

/// A request whose action is known and not yet checked.
struct Matched<'a> {
    spec: &'a ActionSpec,
    path: &'a DecodedPath,
    path_params: &'a PathParams,
    raw_query: Option<&'a str>,
}

fn read(
    bundle: &Bundle,
    upstream: &Upstream,
    principal: &Principal<'_>,
    request: &RawRequest<'_>,
    matched: &Matched<'_>,
) -> Result<Action, Refused> {
    let spec = matched.spec;
    let query = match matched.raw_query {
        None | Some("") => Vec::new(),
        Some(raw) => {
            parse_query(raw).map_err(|error| params::refuse_form("query string", &error))?
        }
    };
    head::check_connection(spec, request.headers)?;
    let headers = head::semantic_headers(spec, request.headers)?;
    let idempotency_key = head::idempotency_key(spec, request.headers)?;
    let hints = hints::read(request.headers)?;
    let body = Body::read(spec, request.headers, request.body)?;
    params::refuse_overrides(&query, &body)?;
    if spec.effect.changes() {
        params::check_closed(spec, &upstream.name, &query, &body)?;
    }
    let view = View {
        body: &body,
        query: &query,
        path: matched.path_params,
        headers: &headers,
    };
    let facts = facts::read(spec, &view);
    Ok(Action {
        tenant: principal.tenant.to_owned(),
        passport: principal.passport.to_owned(),
        agent: principal.agent.to_owned(),
        upstream: upstream.name.clone(),
        capability: spec.capability.clone(),
        effect: spec.effect,
        method: request.method.as_str().to_owned(),
        host: request.host.clone(),
        port: request.port,
        path: matched.path.canonical(),
        path_template: spec.path.to_string(),
        amount: facts.amount,
        resource: facts.resource,
        meters: facts.meters,
        environment: bundle.spec().environment.clone(),
        attributes: facts.attributes,
        body: body.digest(),
        body_bytes: u64::try_from(request.body.len()).unwrap_or(u64::MAX),
        fault: facts.fault,
        query,
        headers,
        idempotency_key,
        hints,
    })
}

fn check_destination(upstream: &Upstream, request: &RawRequest<'_>) -> Result<(), Refused> {
    if !upstream.serves(request.host, request.port) {
        return Err(Refused::new(
            RefusalCode::Undeclared,
            format!(
                "Upstream `{}` does not serve `{}:{}`.",
                upstream.name, request.host, request.port
            ),
        ));
    }
    match upstream.protocol {
        Protocol::Http => Ok(()),
        Protocol::Mcp | Protocol::Tcp => Err(Refused::new(
            RefusalCode::Undeclared,
            format!(
                "Upstream `{}` is not declared as `protocol: HTTP`, so no HTTP action is known.",
                upstream.name
            ),
        )),
    }
}

/// Path and query of a target. Everything behind the first `?` is query.
fn split_target(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn bad_path(error: &PathError) -> Refused {
    let why = match error {
        // The one message that would repeat what was sent.
        PathError::NotAbsolute(_) => "it does not start with `/`".to_owned(),
        other => other.to_string(),
    };
    let detail =
        format!("The path could be read in two ways: {why}. Send one plain path, encoded once.");
    Refused::new(RefusalCode::BadPath, detail)
}

fn undeclared(upstream: &Upstream, method: &str, path: &DecodedPath) -> Refused {
    let mut others: Vec<_> = upstream
        .actions
        .iter()
        .filter(|spec| spec.path.matches(path).is_some())
        .map(|spec| &*spec.method)
        .collect();
    others.sort_unstable();
    others.dedup();
    let method = if KNOWN_METHODS.contains(&method) {
        method
    } else {
        "this method"
    };
    let why = match others.as_slice() {
        [] => "no action has this path".to_owned(),
        methods => format!("this path is declared for {} only", methods.join(", ")),
    };
    let name = &upstream.name;
    let detail = format!(
        "Upstream `{name}` declares no action for {method} on this path: {why}. Ask its owner to add one."
    );
    Refused::new(RefusalCode::Undeclared, detail)
}

/// Stands in a declaration for every method that no other action of equal path names.
pub const ANY_METHOD: &str = "*";

/// Methods that may be named in an answer; any other token is the caller's own text.
const KNOWN_METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

#[cfg(test)]
mod tests;
