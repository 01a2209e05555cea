//! What the controller asks of the ledger.

use std::collections::BTreeMap;
use std::path::PathBuf;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::leaf::Revision;
use actpass_core::hash::{StreamId, b64u_decode_array};
use actpass_core::public_key;
use actpass_core::succession::KEYS_MAX;
use actpass_core::vote::SignedVote;
use actpass_core::wire::{ApprovalBrief, ApprovalView};
use actpass_kubernetes::encoded;
use actpass_transport::names;
use bytes::Bytes;
use ed25519_dalek::Signature;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::{CallError, Part};
use crate::trust::Named;

/// Code of a refusal: a later bundle was given.
pub const STALE_REVISION: &str = "stale_revision";

/// The ledger, as the controller's ServiceAccount.
pub struct Ledger {
    part: Part,
    /// File of the token, which the kubelet renews: it is read for each request.
    token: PathBuf,
}

/// `GET /v1/checkpoint`: the newest signed checkpoint and what it is checked with.
#[derive(Debug, Deserialize)]
pub struct Checkpoint {
    /// The signed note, C2SP `tlog-checkpoint`.
    pub checkpoint: String,
    /// The key, as a verifier key of C2SP `signed-note`.
    pub key: String,
    /// Proof that it extends the head that was asked about (RFC 9162 section 2.1.4), as hex.
    pub consistency: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
    #[serde(default)]
    by: BTreeMap<String, String>,
}

impl Ledger {
    /// The ledger at `HOST:PORT`.
    pub fn new(address: String, token: PathBuf) -> Self {
        Self {
            part: Part::new("ledger", names::LEDGER, address),
            token,
        }
    }

    /// How it is reached.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Makes a bundle the one that its tenant's actions are decided by. Again with the same bundle, nothing changes. Where the
    /// ledger was given one of a later revision, it refuses with [`STALE_REVISION`].
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn put_bundle(&self, bundle: &Bundle, revision: Revision) -> Result<(), CallError> {
        let Revision { term, count } = revision;
        let path = of_tenant("/v1/bundles", &bundle.spec().tenant);
        let path = format!("{path}&term={term}&count={count}");
        let body = Bytes::copy_from_slice(bundle.bytes());
        self.call(Method::PUT, &path, body).await.map(drop)
    }

    /// Where all questions to people of a tenant stand that are open, and those closed that expire after `since`.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn approvals(
        &self,
        tenant: &str,
        since: Timestamp,
    ) -> Result<Vec<ApprovalBrief>, CallError> {
        let path = of_tenant("/v1/approvals", tenant);
        let path = format!("{path}&brief=true&since={}", encoded(&since.to_string()));
        self.read(&path).await
    }

    /// All of one question.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn approval(&self, tenant: &str, id: &str) -> Result<ApprovalView, CallError> {
        let path = format!("/v1/approvals/{}", encoded(id));
        self.read(&of_tenant(&path, tenant)).await
    }

    /// Hands on one vote. Again with the same vote, nothing changes.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn vote(
        &self,
        tenant: &str,
        approval: &str,
        vote: &SignedVote,
    ) -> Result<(), CallError> {
        let path = format!("/v1/approvals/{}/votes", encoded(approval));
        let body = serde_json::to_vec(vote).map_err(|error| self.part.answer(error))?;
        let path = of_tenant(&path, tenant);
        self.call(Method::POST, &path, body.into()).await.map(drop)
    }

    /// Says that a pod is gone, so that its stream ends. Again, nothing changes.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn end_pod(&self, tenant: &str, uid: &str) -> Result<(), CallError> {
        self.end(of_tenant(&format!("/v1/pods/{}", encoded(uid)), tenant))
            .await
    }

    /// Says that the sandbox of a pod is gone that this stream is of. Again, or where the pod has another stream by now,
    /// nothing changes.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn end_stream(
        &self,
        tenant: &str,
        uid: &str,
        stream: &StreamId,
    ) -> Result<(), CallError> {
        let path = of_tenant(&format!("/v1/pods/{}", encoded(uid)), tenant);
        self.end(format!("{path}&stream={stream}")).await
    }

    async fn end(&self, path: String) -> Result<(), CallError> {
        match self.call(Method::DELETE, &path, Bytes::new()).await {
            // It had none, or has none any more.
            Err(CallError::Refused { problem, .. }) if problem.status == 404 => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// The newest checkpoint of a tenant's log, with the proof that it extends the head of size `since`.
    ///
    /// # Errors
    /// As [`Part::call`].
    pub async fn checkpoint(&self, tenant: &str, since: u64) -> Result<Checkpoint, CallError> {
        let path = format!("{}&since={since}", of_tenant("/v1/checkpoint", tenant));
        self.read(&path).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let body = self.call(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|error| self.part.answer(error))
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, CallError> {
        let token = tokio::fs::read_to_string(&self.token).await;
        let token = token.map_err(|error| {
            let path = self.token.display();
            self.part
                .answer(format!("no token in `{path}` to ask with: {error}"))
        })?;
        self.part.call(method, path, Some(token.trim()), body).await
    }
}

/// The public keys of a part, `GET /v1/keys`; those that are new are first used at `from`.
///
/// # Errors
/// As [`Part::call`].
pub async fn keys(part: &Part, from: Timestamp) -> Result<Named, CallError> {
    let path = format!("/v1/keys?from={}", encoded(&from.to_string()));
    let body = part.call(Method::GET, &path, None, Bytes::new()).await?;
    let Keys { keys, by } = serde_json::from_slice(&body).map_err(|error| part.answer(error))?;
    let signed = |key: &String| {
        let bytes = b64u_decode_array(by.get(key)?).ok()?;
        Some(Signature::from_bytes(&bytes))
    };
    let keys: Option<Vec<_>> = keys
        .iter()
        .map(|key| Some((public_key::read(key)?, signed(key))))
        .collect();
    let keys = keys.filter(|keys| !keys.is_empty() && keys.len() <= KEYS_MAX);
    let keys = keys.ok_or_else(|| part.answer("it names no public keys"))?;
    Ok(Named { keys, from })
}

fn of_tenant(path: &str, tenant: &str) -> String {
    format!("{path}?tenant={}", encoded(tenant))
}
