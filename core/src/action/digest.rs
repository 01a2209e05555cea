//! The digest of an action: what an approval is for, and what a repeat is compared by.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, MeterUse};
use crate::canonical;
use crate::hash::{ActionDigest, hex, sha256};
use crate::money::Money;
use crate::upstream::{AttributeValue, Effect};

/// Everything judged, and nothing an SDK makes up per call: no hints, no time, no idempotency key.
#[derive(Serialize)]
struct Judged<'a> {
    agent: &'a str,
    amount: Option<Money>,
    attributes: BTreeMap<&'a str, &'a AttributeValue>,
    body: String,
    capability: &'a str,
    effect: Effect,
    environment: Option<&'a str>,
    headers: Vec<(&'a String, &'a String)>,
    host: String,
    meters: &'a [MeterUse],
    method: &'a str,
    passport: &'a str,
    path: &'a str,
    path_template: &'a str,
    port: u16,
    query: &'a [(String, String)],
    resource: Option<&'a str>,
    tenant: &'a str,
    upstream: &'a str,
}

pub(super) fn digest(action: &Action) -> ActionDigest {
    let attributes = action
        .attributes
        .iter()
        .map(|(name, attribute)| (name.as_str(), &attribute.value));
    let judged = Judged {
        agent: &action.agent,
        amount: action.amount,
        attributes: attributes.collect(),
        body: hex(&action.body),
        capability: action.capability.as_str(),
        effect: action.effect,
        environment: action.environment.as_deref(),
        headers: action.headers.iter().collect(),
        host: action.host.to_string(),
        meters: &action.meters,
        method: &action.method,
        passport: &action.passport,
        path: &action.path,
        path_template: &action.path_template,
        port: action.port,
        query: &action.query,
        resource: action.resource.as_deref(),
        tenant: &action.tenant,
        upstream: &action.upstream,
    };
    // An action whose attribute name or number has no canonical form shares no digest with one that has: its debug
    // text stands in, so that it is still told from every other.
    let bytes = canonical::to_vec(&judged).unwrap_or_else(|_| format!("{action:?}").into_bytes());
    ActionDigest::from_bytes(sha256(&[b"actpass.action/1\0", &bytes]))
}

#[cfg(test)]
mod tests;
