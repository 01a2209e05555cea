//! Held against each other: what the evidence says was permitted, and what a server says that it read.

use std::collections::BTreeMap;

use actpass_core::action::Action;
use actpass_core::evidence::record::OutcomeResult;
use actpass_tests::proxied::SECRET;

use super::servers::Logged;

/// A request as both sides tell of it: method, decoded path, host, bytes of the body.
pub(crate) type Told = (String, String, String, u64);

/// How often a request may be in a server's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Permitted, and answered.
    pub(crate) must: usize,
    /// Permitted, and nobody knows: its agent had gone.
    pub(crate) may: usize,
}

/// What was permitted and left the sidecar, or may have.
pub(crate) fn permitted(actions: &[(Action, Option<OutcomeResult>)]) -> BTreeMap<Told, Times> {
    let mut permitted: BTreeMap<Told, Times> = BTreeMap::new();
    for (action, end) in actions {
        let told = (
            action.method.clone(),
            decoded(&action.path),
            action.host.to_string(),
            action.body_bytes,
        );
        let times = permitted.entry(told).or_default();
        match end {
            Some(OutcomeResult::Ok | OutcomeResult::Failed) => times.must += 1,
            Some(OutcomeResult::NotSent) => {}
            Some(OutcomeResult::Ambiguous) | None => times.may += 1,
        }
    }
    permitted
}

/// What of a server's log was not permitted, is missing from it, or is not as it left.
pub(crate) fn differences(permitted: &BTreeMap<Told, Times>, logged: &[Logged]) -> Vec<String> {
    let mut found: BTreeMap<Told, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for request in logged {
        *found.entry(told(request)).or_default() += 1;
        let marked = request.agent.is_empty() || request.target.contains(&request.agent);
        if !marked || request.auth != format!("Bearer {SECRET}") {
            differences.push(format!("of two requests: {request:?}"));
        }
    }
    for (told, found) in &found {
        let times = permitted.get(told).copied().unwrap_or_default();
        if *found > times.must + times.may {
            differences.push(format!("not judged: {told:?} {found} times, {times:?}"));
        }
    }
    for (told, times) in permitted {
        let found = found.get(told).copied().unwrap_or(0);
        if found < times.must {
            differences.push(format!("never arrived: {told:?} {found} times, {times:?}"));
        }
    }
    differences
}

fn told(request: &Logged) -> Told {
    let path = request.target.split(['?', '#']).next().unwrap_or_default();
    (
        request.method.clone(),
        decoded(path),
        request.host.clone(),
        request.body_bytes,
    )
}

/// A path with its escapes undone; bytes that are no text as they are seen.
fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let code = rest.get(1..3).and_then(|it| std::str::from_utf8(it).ok());
        let code = code.and_then(|it| u8::from_str_radix(it, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &rest[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
