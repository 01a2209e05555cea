//! Which key each pod's session belongs to, for as long as its sandbox stands.
//!
//! The first key that a pod's token is shown with is the pod's sidecar's, which keeps it over restarts of its container.
//! Whoever shows another key with that token has taken the token, unless [`Sandbox`] proves otherwise. It stands in a Lease per
//! pod, whose making and each change of which the API server lets one replica win, so it holds on every replica and after each
//! is restarted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use actpass_core::evidence::record::stream_id;
use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_kubernetes::who::BoundPod;
use ed25519_dalek::VerifyingKey;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::sandbox::{Binding, Judged, Sandbox};
use crate::http::CallError;
use crate::ledger::Ledger;

/// Label of these Leases.
pub(super) const SESSION_LABEL: &str = "actpass.org/session";
/// Annotation: the tenant of the pod.
pub(super) const TENANT: &str = "actpass.org/tenant";
/// Annotation: its ServiceAccount.
pub(super) const ACCOUNT: &str = "actpass.org/service-account";
/// Annotation: the pod's name and the ways out that its own check found open; absent while none is.
pub(super) const FENCE: &str = "actpass.org/fence";
/// Annotation: the pod's name, while its own check has not ended for long.
pub(super) const UNVERIFIED: &str = "actpass.org/fence-unverified";
/// Annotation: the pod's label of its own, once a way out was found open. It stays: what has left is not known.
pub(super) const BROKEN: &str = "actpass.org/fence-broken";

/// Between two tellings of one pod's fence: a sidecar's own rest is longer.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Annotation: the pod's sandbox that the key is of.
const SANDBOX: &str = "actpass.org/sandbox";

/// Most pods remembered.
const KNOWN_MAX: usize = 16_384;

/// How often a binding that somebody else changes meanwhile is looked at again.
const TRIES: usize = 4;

/// Keys by pod.
pub struct Bindings {
    api: Api<Lease>,
    /// Pods that have a binding, and what each told of its fence last, and when. Whose it is is looked up each time: another
    /// replica may have changed it.
    known: Mutex<BTreeMap<String, Option<(Instant, Value)>>>,
}

/// Who asks for a pod's session.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) tenant: &'a str,
    pub(super) pod: &'a BoundPod,
    pub(super) key: &'a VerifyingKey,
    pub(super) sandbox: &'a Sandbox,
}

/// What becomes of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The session is theirs, as it was before or from now on.
    Holds,
    /// It is theirs from now on, and the stream of the one before has ended.
    Succeeds,
    /// It is another's.
    Second,
    /// It is not known yet whose it is.
    Unknown,
}

/// It cannot be seen whose a session is.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSeen {
    /// The API server does not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The ledger does not, or cannot end the stream before.
    #[error("the stream of the pod's earlier sandbox is not ended yet")]
    Ledger(#[source] CallError),
    /// The Lease says nothing of it.
    #[error("Lease `{0}` names no key; delete the pod")]
    Unread(String),
    /// Others change it all the time.
    #[error("Lease `{0}` changes all the time")]
    Contended(String),
}

/// What a pod's own check of its fence found, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No way is open.
    Stands,
    /// These are.
    Open(&'a str),
    /// It has not ended for long.
    Unverified,
}

/// What was found is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It told otherwise a moment ago.
    #[error("the pod told otherwise of its fence less than {} s ago", TOLD_EVERY.as_secs())]
    TooSoon,
    /// The API server does not answer, or has no such Lease any more.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Bindings {
    /// Those kept in the install namespace.
    pub fn new(client: Client, install: &str) -> Self {
        Self {
            api: Api::namespaced(client, install),
            known: Mutex::default(),
        }
    }

    /// Whether the session is of who asks.
    ///
    /// # Errors
    /// That cannot be seen.
    pub(super) async fn asked(
        &self,
        asking: Asking<'_>,
        ledger: &Ledger,
    ) -> Result<Asked, NotSeen> {
        let asked = self.judged(asking, ledger).await?;
        if matches!(asked, Asked::Holds | Asked::Succeeds) {
            let mut known = self.known();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.entry(asking.pod.uid.clone()).or_default();
        }
        Ok(asked)
    }

    async fn judged(&self, asking: Asking<'_>, ledger: &Ledger) -> Result<Asked, NotSeen> {
        let Asking {
            tenant, pod, key, ..
        } = asking;
        let name = name(pod);
        // Just after the pod was looked at; whoever has waited since then asks anew, see below.
        let mut found = self.api.get_opt(&name).await?;
        for attempt in 0..TRIES {
            let unread = || NotSeen::Unread(name.clone());
            let bound = found.as_ref().map(|lease| bound(lease).ok_or_else(unread));
            let bound = bound.transpose()?;
            let sandbox = match asking.sandbox.judge(bound.as_ref(), key) {
                Judged::Holds => return Ok(Asked::Holds),
                Judged::Second => return Ok(Asked::Second),
                Judged::Unknown => return Ok(Asked::Unknown),
                Judged::Takes(sandbox) => sandbox,
            };
            let others = bound.filter(|bound| bound.key != *key);
            let before = others.map(|bound| stream_id(&bound.key));
            if before.is_some() && attempt > 0 {
                return Err(NotSeen::Contended(name));
            }
            if let Some(before) = &before {
                // Before the binding changes: a replica that goes away in between leaves it to the next one, and of a stream
                // that is over nothing is lost by being told so twice.
                let ended = ledger.end_stream(tenant, &pod.uid, before);
                ended.await.map_err(NotSeen::Ledger)?;
            }
            let kept = match &found {
                None => self.make(&name, asking, sandbox).await,
                Some(lease) => {
                    let patch = Patch::Merge(changed(lease, key, sandbox, before.is_some()));
                    let patched = self.api.patch(&name, &PatchParams::default(), &patch).await;
                    patched.map(drop)
                }
            };
            match kept {
                Ok(()) if before.is_some() => return Ok(Asked::Succeeds),
                Ok(()) => return Ok(Asked::Holds),
                // Somebody else was first. Who would take the place of another key is looked at anew, with its sandbox.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    found = self.api.get_opt(&name).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(NotSeen::Contended(name))
    }

    async fn make(&self, name: &str, asking: Asking<'_>, sandbox: &str) -> Result<(), kube::Error> {
        let Asking {
            tenant, pod, key, ..
        } = asking;
        let annotations = [
            (TENANT, tenant),
            (ACCOUNT, &pod.service_account),
            (SANDBOX, sandbox),
        ];
        let annotations = annotations.map(|(name, it)| (name.to_owned(), it.to_owned()));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(SESSION_LABEL.to_owned(), pod.uid.clone())].into()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(b64u_encode(key.as_bytes())),
                ..LeaseSpec::default()
            }),
        };
        let made = self.api.create(&PostParams::default(), &lease).await;
        made.map(drop)
    }

    /// Keeps what the check of the pod with this label of its own found.
    ///
    /// # Errors
    /// It is not kept.
    pub async fn found(
        &self,
        pod: &BoundPod,
        label: &str,
        found: Found<'_>,
        now: Instant,
    ) -> Result<(), NotKept> {
        let patch = annotated(&pod.name, label, found);
        let told = self.known().get(&pod.uid).cloned().flatten();
        if let Some((before, told)) = told
            && now.duration_since(before) < TOLD_EVERY
        {
            return match told == patch {
                true => Ok(()),
                false => Err(NotKept::TooSoon),
            };
        }
        let patched = self
            .api
            .patch_metadata(&name(pod), &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        // It is made again with the next session.
        if let Err(kube::Error::Api(status)) = &patched
            && status.code == 404
        {
            self.known().remove(&pod.uid);
        }
        patched?;
        if let Some(told) = self.known().get_mut(&pod.uid) {
            *told = Some((now, patch));
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<(Instant, Value)>>> {
        self.known.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

/// The annotations that say so; `null` takes one away.
fn annotated(pod: &str, label: &str, found: Found<'_>) -> Value {
    let annotations = match found {
        Found::Stands => json!({FENCE: null, UNVERIFIED: null}),
        Found::Open(ways) => {
            json!({FENCE: format!("{pod}: {ways}"), UNVERIFIED: null, BROKEN: format!("{label}/{pod}")})
        }
        Found::Unverified => json!({UNVERIFIED: pod}),
    };
    json!({"metadata": {"annotations": annotations}})
}

fn name(pod: &BoundPod) -> String {
    format!("actpass-session-{}", pod.uid)
}

/// What a Lease says.
fn bound(lease: &Lease) -> Option<Binding> {
    let holder = lease.spec.as_ref()?.holder_identity.as_ref()?;
    let key = VerifyingKey::from_bytes(&b64u_decode_array(holder).ok()?).ok()?;
    let annotations = lease.metadata.annotations.as_ref();
    let sandbox = annotations.and_then(|it| it.get(SANDBOX)).cloned();
    Some(Binding { key, sandbox })
}

/// The change of that Lease, and of it alone: the API server refuses it where somebody changed the Lease meanwhile.
fn changed(lease: &Lease, key: &VerifyingKey, sandbox: &str, succeeds: bool) -> Value {
    let spec = lease.spec.as_ref();
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    json!({
        "metadata": {
            "resourceVersion": lease.metadata.resource_version,
            "annotations": {SANDBOX: sandbox},
        },
        "spec": {
            "holderIdentity": b64u_encode(key.as_bytes()),
            "leaseTransitions": transitions.saturating_add(i32::from(succeeds)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::running::Bound;
    use super::*;

    #[test]
    fn a_lease_changes_hands_only_as_it_was_read() {
        let key = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).verifying_key();
        let lease: Lease = serde_json::from_value(json!({
            "metadata": {"resourceVersion": "7", "annotations": {TENANT: "actpass/shop/u"}},
            "spec": {"holderIdentity": b64u_encode(key(1).as_bytes())},
        }))
        .unwrap();
        let of_earlier = bound(&lease).unwrap();
        assert_eq!((of_earlier.key, of_earlier.sandbox), (key(1), None));
        for (succeeds, transitions) in [(false, 0), (true, 1)] {
            let patch = changed(&lease, &key(2), "c://2", succeeds);
            // Without it the API server would take the change of whoever comes last.
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            assert_eq!(patch["spec"]["leaseTransitions"], transitions);
            let lease: Lease = serde_json::from_value(patch).unwrap();
            let now = bound(&lease).unwrap();
            assert_eq!((now.key, now.sandbox.as_deref()), (key(2), Some("c://2")));
        }
        let unread = json!({"metadata": {}, "spec": {"holderIdentity": "nobody"}});
        assert!(bound(&serde_json::from_value(unread).unwrap()).is_none());
    }

    #[test]
    fn that_a_pod_had_a_way_out_is_kept_when_it_is_shut() {
        // RFC 7396: what is null is taken away, what is not named stays.
        let named = |found| {
            let patch = annotated("clerk-1", "00ff", found);
            let named = patch["metadata"]["annotations"]
                .as_object()
                .unwrap()
                .clone();
            named.into_iter().collect::<BTreeMap<String, Value>>()
        };
        let open = named(Found::Open("udp: sent"));
        assert_eq!(open[FENCE], "clerk-1: udp: sent");
        assert_eq!(open[BROKEN], "00ff/clerk-1");
        for after in [Found::Stands, Found::Unverified] {
            assert!(!named(after).contains_key(BROKEN), "{after:?}");
        }
        assert_eq!(named(Found::Stands)[FENCE], Value::Null);
        assert!(!named(Found::Unverified).contains_key(FENCE));
        let lease = |broken: &str| {
            let annotations = [(TENANT, "actpass/shop/u"), (BROKEN, broken)];
            Bound::of(ObjectMeta {
                name: Some("l".to_owned()),
                labels: Some([(SESSION_LABEL.to_owned(), "u-1".to_owned())].into()),
                annotations: Some(
                    annotations
                        .map(|(key, it)| (key.to_owned(), it.to_owned()))
                        .into(),
                ),
                ..ObjectMeta::default()
            })
        };
        let read = lease("00ff/clerk-1").unwrap().broken().unwrap();
        assert_eq!(read, ("00ff".to_owned(), "clerk-1".to_owned()));
    }
}
