//! Steps of a plan, read as the requests they describe: what preflight decides about.

use std::collections::BTreeMap;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::host::HostName;
use actpass_core::upstream::Upstream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;

use super::refused::{RefusalCode, Refused, shown_name};
use super::{Principal, RawRequest, extract};

/// Most headers of one step; requests of SDKs have fewer than 20.
pub const PLAN_HEADERS_MAX: usize = 64;

/// One request as somebody means to send it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// Method.
    pub method: String,
    /// Whole URL: `https://api.stripe.com/v1/refunds`, or under `http://<upstream>.actpass.internal/`.
    pub url: String,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body as text.
    #[serde(default)]
    pub body: Option<String>,
}

/// Reads one step of a plan as [`extract`] reads a request.
///
/// # Errors
/// As [`extract`]; and where the step names no declared upstream or could not be sent as a request.
pub fn extract_step(
    bundle: &Bundle,
    principal: &Principal<'_>,
    step: &PlanStep,
) -> Result<Action, Refused> {
    let method: Method = step
        .method
        .parse()
        .map_err(|_| unsendable("its `method` is not an HTTP method"))?;
    let headers = header_map(&step.headers)?;
    let (upstream, host, port, target) = resolve(bundle, &step.url)?;
    let body = step.body.as_deref().unwrap_or_default().as_bytes();
    let request = RawRequest {
        method: &method,
        target: &target,
        headers: &headers,
        body,
        host: &host,
        port,
    };
    extract(bundle, upstream, principal, &request)
}

fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, Refused> {
    if headers.len() > PLAN_HEADERS_MAX {
        return Err(unsendable(&format!(
            "it has more than {PLAN_HEADERS_MAX} headers"
        )));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let wrong = || unsendable(&format!("{} is no HTTP header", shown_name(name)));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        // Appended: two spellings of one name are the header twice, as they would be on the wire.
        map.append(parsed, value);
    }
    Ok(map)
}

/// The upstream a URL leads to, and name, port and target that a request to it would have.
fn resolve<'b>(
    bundle: &'b Bundle,
    url: &str,
) -> Result<(&'b Upstream, HostName, u16, String), Refused> {
    let wrong = || {
        unsendable(
            "its `url` is not an `https://` or `http://` URL of a named host, without user or fragment",
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri
        .authority()
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(wrong)?;
    if url.contains('#') {
        return Err(wrong());
    }
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return Err(wrong()),
    };
    let host: HostName = authority.host().parse().map_err(|_| wrong())?;
    let port = match authority.as_str().rsplit_once(':') {
        Some(_) => authority.port_u16().ok_or_else(wrong)?,
        None => default_port,
    };
    let target = uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    match host.as_str().strip_suffix(INTERNAL_SUFFIX) {
        Some(name) => {
            served_inside(bundle, name).map(|(upstream, host, port)| (upstream, host, port, target))
        }
        None => match bundle.upstream_at(&host, port) {
            Some(upstream) => Ok((upstream, host, port, target)),
            None => Err(no_upstream(&format!("`{host}:{port}`"))),
        },
    }
}

/// The upstream behind `<name>.actpass.internal`: one with exactly one exact host.
fn served_inside<'b>(
    bundle: &'b Bundle,
    name: &str,
) -> Result<(&'b Upstream, HostName, u16), Refused> {
    let found = bundle.upstream(name).and_then(|upstream| {
        let host = upstream.single_exact_host()?.as_exact()?;
        Some((upstream, host.clone(), *upstream.ports.first()?))
    });
    found.ok_or_else(|| no_upstream(&format!("`{name}{INTERNAL_SUFFIX}`")))
}

fn no_upstream(host: &str) -> Refused {
    let detail = format!("No Upstream declares {host}; ask its owner to add one.");
    Refused::new(RefusalCode::Undeclared, detail)
}

fn unsendable(why: &str) -> Refused {
    Refused::new(
        RefusalCode::Unparsable,
        format!("The step is not a request that could be sent: {why}."),
    )
}

/// Under which each upstream is served in clear on loopback.
const INTERNAL_SUFFIX: &str = ".actpass.internal";
