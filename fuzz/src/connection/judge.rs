//! What decides here: as the enforcement point does on a read, and it keeps what it was asked.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};

use actpass_core::action::{Action, Hints};
use actpass_core::bundle::Bundle;
use actpass_core::decide::{Permitted, decide};
use actpass_core::evidence::record::{Outcome, Refusal};
use actpass_core::host::HostName;
use actpass_core::mode::Unenforced;
use actpass_core::upstream::ErrorStyle;
use actpass_crds::bundle::{Options, compile};
use actpass_crds::read::parse_documents;
use actpass_sidecar::credential::Credential;
use actpass_sidecar::extract::{Principal, RawRequest, Refused, extract};
use actpass_sidecar::judge::{
    BoxFuture, Denial, DenialKind, EvidenceId, Internal, InternalAnswer, Judge, Judgement, Noted,
    Permit, Received, Redeemed,
};
use actpass_sidecar::route::Route;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::upstream::{Arrived, arrived};
use super::{HOST, PORT, locked};

/// What the upstream is to be shown, and nobody else.
const SECRET: &str = "sk_live_0123456789";

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let (resources, problems) = parse_documents("shop.yaml", include_str!("shop.yaml"));
    assert!(problems.is_empty(), "{problems:?}");
    let options = Options {
        tenant: "local/default/1".to_owned(),
        environment: None,
    };
    Bundle::new(compile(&resources, &options).expect("a policy")).expect("a bundle")
});

static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| {
    let shop = BUNDLE.upstream("shop").expect("the shop");
    Arc::new(Route::new(shop).expect("a route"))
});

/// Decides, and remembers.
#[derive(Default)]
pub(super) struct Watching {
    asked: Mutex<Vec<Asked>>,
    refused: Mutex<Vec<Refusal>>,
}

/// A request that was judged.
struct Asked {
    received: Received,
    /// What was permitted.
    permitted: Option<Action>,
}

impl Watching {
    pub(super) fn asked(&self) -> usize {
        locked(&self.asked).len() + locked(&self.refused).len()
    }

    pub(super) fn refused(&self) -> Vec<Refusal> {
        locked(&self.refused).clone()
    }

    /// Holds what arrived against what was judged: each request that arrived is one that was permitted, as it was judged,
    /// and none is there twice. Gives how many.
    pub(super) fn check(&self, connections: &[Vec<u8>]) -> usize {
        let asked = locked(&self.asked);
        asked.iter().for_each(|asked| asked.received_is_sound());
        let mut unsent: Vec<&Asked> = asked.iter().filter(|it| it.permitted.is_some()).collect();
        let mut count = 0;
        for bytes in connections {
            let (requests, left) = arrived(bytes);
            for request in requests {
                let of = unsent.iter().position(|asked| asked.is(&request));
                let of = of.unwrap_or_else(|| panic!("not judged: {request:?}"));
                unsent.swap_remove(of);
                count += 1;
            }
            // An agent that goes away breaks off what is being sent.
            let begun = |asked: &&Asked| {
                let line = asked.line();
                let length = line.len().min(left.len());
                line.as_bytes()[..length] == left[..length]
            };
            assert!(left.is_empty() || unsent.iter().any(begun), "{left:?}");
        }
        count
    }
}

impl Asked {
    /// What must hold of each request that is judged, whoever reads it.
    fn received_is_sound(&self) {
        let Received {
            host,
            port,
            method,
            headers,
            body,
            ..
        } = &self.received;
        assert_eq!((host.as_str(), *port), (HOST, PORT));
        assert_ne!(method, Method::CONNECT);
        let all = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let here = |claimed: &[u8]| {
            let bare = claimed.strip_suffix(b":443").unwrap_or(claimed);
            // A final dot is another spelling of the same name.
            let bare = bare.strip_suffix(b".").unwrap_or(bare);
            bare.eq_ignore_ascii_case(HOST.as_bytes())
        };
        assert!(all("host").all(here), "judged for another host");
        assert!(all("host").count() <= 1, "judged with two hosts");
        assert_eq!(all("upgrade").count(), 0);
        let codings: Vec<_> = all("transfer-encoding").collect();
        assert!(codings.len() <= 1);
        assert!(codings.iter().all(|it| it.eq_ignore_ascii_case(b"chunked")));
        let lengths: BTreeSet<_> = all("content-length").collect();
        assert!(
            lengths.len() + codings.len() <= 1,
            "judged with two lengths"
        );
        for length in lengths {
            let said = std::str::from_utf8(length)
                .ok()
                .and_then(|it| it.parse().ok());
            // Of a body that nobody declares only the first byte is looked at.
            assert!(said == Some(body.len()) || self.permitted.is_none());
        }
    }

    fn line(&self) -> String {
        let Received { method, target, .. } = &self.received;
        format!("{method} {target} HTTP/1.1\r\n")
    }

    /// Whether that is what arrived: by its bytes, and read again as an action.
    fn is(&self, request: &Arrived) -> bool {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        if format!("{}\r\n", request.line) != self.line() || request.body != self.received.body {
            return false;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &request.fields {
            let value: Vec<u8> = value
                .chars()
                .map(|it| u8::try_from(it).unwrap_or(0))
                .collect();
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_bytes(&value).expect("a value"));
        }
        let lent: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(lent, [format!("Bearer {SECRET}").as_str()], "what is shown");
        assert_eq!(headers.get_all("host").iter().count(), 1);
        assert!(!headers.contains_key("transfer-encoding"));
        assert!(headers.get_all("content-length").iter().count() <= 1);
        let again = read(&self.received.method, target, &headers, &request.body);
        let again = again.map(without_hints).expect("it can be read again");
        Some(again) == self.permitted.clone().map(without_hints)
    }
}

/// Hints are for us and go no further.
fn without_hints(action: Action) -> Action {
    Action {
        hints: Hints::default(),
        ..action
    }
}

fn read(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Action, Refused> {
    let agent = Principal {
        tenant: "local/default/1",
        passport: "clerk",
        agent: "clerk",
    };
    let request = RawRequest {
        method,
        target,
        headers,
        body,
        host: &HOST.parse().expect("a host"),
        port: PORT,
    };
    extract(&BUNDLE, ROUTE.upstream(), &agent, &request)
}

fn permit(received: &Received) -> Option<Permitted> {
    let target = received.target.as_str();
    let action = read(&received.method, target, &received.headers, &received.body).ok()?;
    let passport = BUNDLE.passport("clerk").expect("a passport");
    let decision = decide(&BUNDLE, passport, &action, None, Timestamp::UNIX_EPOCH);
    Permitted::read(action, &decision).ok()
}

impl Judge for Watching {
    fn route(&self, host: &HostName, port: u16) -> Option<Arc<Route>> {
        BUNDLE.upstream_at(host, port).map(|_| ROUTE.clone())
    }

    fn route_named(&self, _: &str) -> Option<Arc<Route>> {
        None
    }

    fn judge<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Judgement> {
        let permitted = permit(received);
        let mut asked = locked(&self.asked);
        asked.push(Asked {
            received: received.clone(),
            permitted: permitted.as_ref().map(|it| it.action().clone()),
        });
        let of = u64::try_from(asked.len()).expect("few");
        let judgement = match permitted {
            Some(permitted) => Judgement::Permit(Box::new(Permit {
                permitted,
                of,
                route: ROUTE.clone(),
                credential: Credential::new("authorization", "Bearer {secret}", SECRET).ok(),
                evidence: None,
            })),
            None => Judgement::Deny(Box::new(denied())),
        };
        Box::pin(std::future::ready(judgement))
    }

    fn refuse(&self, refusal: Refusal, _: &str) -> Option<EvidenceId> {
        locked(&self.refused).push(refusal);
        None
    }

    fn audit(&self) -> Option<Unenforced> {
        None
    }

    fn rehearse<'a>(&'a self, _: &'a Received) -> BoxFuture<'a, Noted> {
        unreachable!("nothing is passed on")
    }

    fn would_refuse(&self, _: Refusal, _: &str) -> Noted {
        unreachable!("nothing is passed on")
    }

    fn outcome(&self, _: Outcome) {}
}

fn denied() -> Denial {
    Denial {
        kind: DenialKind::Denied,
        code: "no_rule".into(),
        detail: "No.".to_owned(),
        rules: Vec::new(),
        evidence: None,
        style: ErrorStyle::Problem,
    }
}

/// Answers for ActPass itself, whose name nobody dials here.
pub(super) struct Nobody;

impl Internal for Nobody {
    fn passport(&self) -> BoxFuture<'_, InternalAnswer> {
        nothing()
    }

    fn preflight(&self, _: bytes::Bytes) -> BoxFuture<'_, InternalAnswer> {
        nothing()
    }

    fn approval<'a>(&'a self, _: &'a str) -> BoxFuture<'a, InternalAnswer> {
        nothing()
    }

    fn redeem<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Redeemed> {
        Box::pin(std::future::ready(Redeemed::Deny(Box::new(denied()))))
    }
}

fn nothing() -> BoxFuture<'static, InternalAnswer> {
    let answer = InternalAnswer {
        status: StatusCode::NOT_FOUND,
        json: b"{}".to_vec(),
    };
    Box::pin(std::future::ready(answer))
}
