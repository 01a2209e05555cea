//! Whether a connection is the sidecar of a pod that has a Passport, and which.
//!
//! *Guarantees*: a passport is bound to the key of the one connection that shows a token of a live, injected pod, from
//! one of that pod's addresses. Whatever is not known is a refusal, with a code to branch on and a sentence for people.

use std::net::IpAddr;

use actpass_core::canonical::excerpt;
use actpass_crds::passport::PassportSpec;
use actpass_crds::resource::{Kind, Resource};
use actpass_kubernetes::names::MODE_LABEL;
use actpass_kubernetes::who::BoundPod;
use actpass_webhook::checks;
use actpass_webhook::settings::Settings;
use jiff::Timestamp;
use serde_json::Value;

use crate::object::{Namespace, Object};

/// Why no passport is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// To branch on.
    pub code: Code,
    /// For people: what is wrong and what to do.
    pub detail: String,
}

/// Codes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No token of a pod for our audience.
    Unauthorized,
    /// No client certificate.
    NoKey,
    /// The pod of the token is not there.
    UnknownPod,
    /// Not from an address of the pod.
    WrongAddress,
    /// The pod is not as ActPass injects it.
    NotInjected,
    /// No Passport is for the pod's ServiceAccount.
    NoPassport,
    /// Several are.
    Conflicted,
    /// It is suspended.
    Suspended,
    /// Its `notAfter` has passed.
    Expired,
    /// Another key holds the pod's session.
    SecondSession,
    /// The namespace's policy is not in force yet.
    NotReady,
    /// More sessions than this replica holds.
    Busy,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unauthorized,
        Self::NoKey,
        Self::UnknownPod,
        Self::WrongAddress,
        Self::NotInjected,
        Self::NoPassport,
        Self::Conflicted,
        Self::Suspended,
        Self::Expired,
        Self::SecondSession,
        Self::NotReady,
        Self::Busy,
    ];

    /// The code as it is said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NoKey => "no_key",
            Self::UnknownPod => "unknown_pod",
            Self::WrongAddress => "wrong_address",
            Self::NotInjected => "not_injected",
            Self::NoPassport => "no_passport",
            Self::Conflicted => "conflicted",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::SecondSession => "second_session",
            Self::NotReady => "not_ready",
            Self::Busy => "busy",
        }
    }

    /// Whether all that is missing is a Passport in force: the pod itself is as it should be, as far as was looked.
    pub fn is_of_passport(self) -> bool {
        matches!(
            self,
            Self::NoPassport | Self::Conflicted | Self::Suspended | Self::Expired
        )
    }

    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Unauthorized | Self::NoKey => 401,
            Self::NotReady | Self::Busy => 503,
            _ => 403,
        }
    }
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// The connection that asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The pod its token is bound to.
    pub token: &'a BoundPod,
    /// Where it comes from.
    pub address: IpAddr,
}

/// What the API server says of the pod, and what an injected one looks like.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// The pod as it is now, if there is one of that name.
    pub pod: Option<&'a Value>,
    /// What is injected, and was by earlier releases.
    pub settings: &'a Settings,
}

/// Whether the pod is the caller's, and alive.
///
/// # Errors
/// Where it is not.
pub fn pod(caller: Caller<'_>, looked: Looked<'_>) -> Result<(), Refusal> {
    let Caller { token, address } = caller;
    let name = excerpt(&format!("{}/{}", token.namespace, token.name));
    let unknown = |what: &str| {
        Refusal::new(
            Code::UnknownPod,
            format!("pod `{name}` {what}; the token is of a pod that is gone"),
        )
    };
    let pod = looked.pod.ok_or_else(|| unknown("does not exist"))?;
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str);
    if text("/metadata/uid") != Some(token.uid.as_str()) {
        return Err(unknown("was made anew"));
    }
    if matches!(text("/status/phase"), Some("Succeeded" | "Failed")) {
        return Err(unknown("has ended"));
    }
    let account = text("/spec/serviceAccountName").filter(|name| !name.is_empty());
    if account.unwrap_or("default") != token.service_account {
        return Err(unknown("runs under another ServiceAccount"));
    }
    let address = address.to_canonical();
    let ips = pod.pointer("/status/podIPs").and_then(Value::as_array);
    let mut ips = ips.into_iter().flatten();
    let is_its = |ip: &Value| {
        let ip = ip.get("ip").and_then(Value::as_str);
        ip.and_then(|ip| ip.parse::<IpAddr>().ok()) == Some(address)
    };
    if !ips.any(is_its) {
        return Err(Refusal::new(
            Code::WrongAddress,
            format!(
                "the connection comes from {address}, which is no address of pod `{name}`; a session is opened from within the pod, without a proxy or address translation in between"
            ),
        ));
    }
    Ok(())
}

/// Whether the pod is as ActPass injects it.
///
/// # Errors
/// Where it is not, with the first field that is otherwise.
pub fn injected(token: &BoundPod, looked: Looked<'_>) -> Result<(), Refusal> {
    let Looked { pod, settings } = looked;
    let pod = pod.unwrap_or(&Value::Null);
    let name = excerpt(&format!("{}/{}", token.namespace, token.name));
    let found = checks::running(pod, settings);
    if found.passes() {
        return Ok(());
    }
    let mut reasons = found.refused.iter().map(ToString::to_string);
    let first = reasons.next().unwrap_or_default();
    let more = match reasons.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    Err(Refusal::new(
        Code::NotInjected,
        format!("pod `{name}` is not as ActPass injects it: {first}{more}; make it anew"),
    ))
}

/// The Passport of a ServiceAccount: the one that names it, in force at `now`.
///
/// # Errors
/// There is none, several, or it ended.
pub fn passport<'a>(
    namespace: Option<&Namespace>,
    account: &str,
    objects: impl IntoIterator<Item = &'a Object>,
    now: Timestamp,
) -> Result<(&'a Object, &'a PassportSpec), Refusal> {
    let Some(namespace) = namespace.filter(|it| it.is_enrolled()) else {
        return Err(Refusal::new(
            Code::NoPassport,
            format!("the namespace has no label {MODE_LABEL}; set it to `audit` or `enforce`"),
        ));
    };
    let mut unread = None;
    let mut found = Vec::new();
    for object in objects {
        let in_namespace = object.id.namespace.as_deref() == Some(namespace.name.as_str());
        if object.id.kind != Kind::Passport || !in_namespace {
            continue;
        }
        match &object.resource {
            Ok(Resource::Passport(_, spec)) if is_for(spec, account) => found.push((object, spec)),
            Ok(_) => {}
            Err(_) => unread = Some(&object.id.name),
        }
    }
    let (object, spec) = match found.as_slice() {
        [one] => *one,
        [] => {
            let what = match unread {
                Some(name) => format!("Passport `{name}` is not understood"),
                None => "add one with `subject.serviceAccountName`".to_owned(),
            };
            let why = format!("no Passport is for ServiceAccount `{account}`; {what}");
            return Err(Refusal::new(Code::NoPassport, why));
        }
        several => {
            let mut names: Vec<String> = several
                .iter()
                .map(|(object, _)| format!("`{}`", object.id.name))
                .collect();
            names.sort();
            return Err(Refusal::new(
                Code::Conflicted,
                format!(
                    "Passports {} are all for ServiceAccount `{account}`, so none counts; keep one",
                    names.join(", ")
                ),
            ));
        }
    };
    let name = &object.id.name;
    if spec.suspended {
        let why = format!(
            "Passport `{name}` is suspended; ask its owner {}",
            spec.owner
        );
        return Err(Refusal::new(Code::Suspended, why));
    }
    match not_after(spec) {
        None => Ok((object, spec)),
        Some(Some(end)) if now < end => Ok((object, spec)),
        Some(_) => {
            let why = format!(
                "`notAfter` of Passport `{name}` has passed; ask its owner {}",
                spec.owner
            );
            Err(Refusal::new(Code::Expired, why))
        }
    }
}

/// When the Passport ends, if it does; within, `None` for an instant that cannot be read.
pub fn not_after(spec: &PassportSpec) -> Option<Option<Timestamp>> {
    spec.not_after.as_ref().map(|text| text.parse().ok())
}

fn is_for(spec: &PassportSpec, account: &str) -> bool {
    let subject = spec.subject.as_ref();
    subject.is_some_and(|subject| subject.service_account_name == account)
}

#[cfg(test)]
mod tests;
