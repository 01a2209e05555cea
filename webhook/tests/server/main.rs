//! The webhook's answers: a review in, a review out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a review that cannot be made is a failed test"
)]

mod namespaces;
mod pods;
mod resources;
mod reviews;
mod votes;

use actpass_webhook::server::review::{Answer, Request, Verdict};
use serde_json::{Value, json};

/// A question about a resource `GROUP/VERSION/PLURAL` (`/v1/pods` for the core), by ada, who is in finance.
pub(crate) fn asked(operation: &str, resource: &str, object: Value) -> Value {
    let parts: Vec<&str> = resource.split('/').collect();
    let [group, version, plural] = parts.as_slice() else {
        panic!("`{resource}`");
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "7a", "kind": {"group": group, "version": version, "kind": "Any"},
        "resource": {"group": group, "version": version, "resource": plural},
        "namespace": "shop", "operation": operation, "dryRun": false,
        "userInfo": {"username": "ada@example.com", "groups": ["finance", "system:authenticated"]},
        "object": object, "oldObject": null, "options": null,
    }})
}

/// The same with a value at a JSON pointer below `request`.
pub(crate) fn with(mut review: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let place = review.pointer_mut(&format!("/request{parent}")).unwrap();
    match place.as_array_mut() {
        Some(items) => items[key.parse::<usize>().unwrap()] = value,
        None => {
            place.as_object_mut().unwrap().insert(key.to_owned(), value);
        }
    }
    review
}

pub(crate) fn request(review: Value) -> Request {
    Request::parse(review).unwrap()
}

/// The message of a refusal.
#[track_caller]
pub(crate) fn refusal(answer: &Answer) -> String {
    match &answer.verdict {
        Verdict::Refused(refusal) => refusal.message(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Whether it passed, with the reason where it did not.
#[track_caller]
pub(crate) fn passes(answer: &Answer) {
    if let Verdict::Refused(refusal) = &answer.verdict {
        panic!("refused: {}", refusal.message());
    }
}
