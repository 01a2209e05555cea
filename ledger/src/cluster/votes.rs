//! Votes as they stand at the API server, so that a signature which somebody got from the webhook without it is worth nothing.

use actpass_core::vote::{SignedVote, vote_name};
use actpass_kubernetes::{Client, Error, encoded};
use jiff::Timestamp;
use serde::Deserialize;

/// An ApprovalVote, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    approval_uid: String,
    digest: String,
    decision: String,
    stamp: Stamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stamp {
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    time: Timestamp,
    key_id: String,
    signature: String,
}

impl Found {
    /// Whether it says exactly what `vote` says.
    pub(super) fn says(
        &self,
        SignedVote {
            key_id,
            signature,
            vote,
        }: &SignedVote,
    ) -> bool {
        let Spec {
            approval_uid,
            digest,
            decision,
            stamp,
        } = &self.spec;
        let decided = match vote.grant {
            true => "Approve",
            false => "Deny",
        };
        *approval_uid == vote.approval_uid
            && *digest == vote.digest
            && decision == decided
            && stamp.user == vote.user
            && stamp.groups == vote.groups
            && stamp.time == vote.time
            && stamp.key_id == *key_id
            && stamp.signature == *signature
    }
}

/// The vote of that user on that Approval, if there is one.
pub(super) async fn find(
    client: &Client,
    namespace: &str,
    signed: &SignedVote,
) -> Result<Option<Found>, Error> {
    let name = vote_name(&signed.vote.approval_uid, &signed.vote.user);
    let path = format!(
        "/apis/actpass.org/v1alpha1/namespaces/{}/approvalvotes/{name}",
        encoded(namespace)
    );
    let what = || format!("get ApprovalVote `{name}`");
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Error::Content {
        what: what(),
        why: error.to_string(),
    })?;
    match client.request(request).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(Error::api(what())(error)),
    }
}

#[cfg(test)]
mod tests {
    use actpass_core::vote::Vote;
    use serde_json::{Value, json};

    use super::*;

    fn found(change: &str, value: Value) -> Found {
        let mut object = json!({"spec": {
            "approvalName": "apr-1", "approvalUid": "u-1", "digest": "ab", "decision": "Approve", "reason": "known",
            "stamp": {"user": "ada", "groups": ["finance"], "time": "2026-05-04T10:00:00.000000Z", "keyId": "k",
                "signature": "s"},
        }});
        *object.pointer_mut(change).unwrap() = value;
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_vote_stands_only_as_the_api_server_has_it() {
        let vote = SignedVote {
            key_id: "k".to_owned(),
            signature: "s".to_owned(),
            vote: Vote {
                approval_uid: "u-1".to_owned(),
                digest: "ab".to_owned(),
                grant: true,
                groups: vec!["finance".to_owned()],
                time: "2026-05-04T10:00:00Z".parse().unwrap(),
                user: "ada".to_owned(),
            },
        };
        assert!(found("/spec/reason", json!("another")).says(&vote));
        for (other, value) in [
            ("/spec/approvalUid", json!("u-2")),
            ("/spec/digest", json!("ac")),
            ("/spec/decision", json!("Deny")),
            ("/spec/stamp/user", json!("eve")),
            ("/spec/stamp/groups", json!(["finance", "admins"])),
            ("/spec/stamp/time", json!("2026-05-04T10:00:01.000000Z")),
            ("/spec/stamp/keyId", json!("l")),
            ("/spec/stamp/signature", json!("t")),
        ] {
            assert!(!found(other, value).says(&vote), "{other}");
        }
    }
}
