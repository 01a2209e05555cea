//! Which key each pod's session belongs to, for good.
//!
//! The first key that a pod's token is shown with is the pod's sidecar's, which keeps it over restarts of its container.
//! Whoever shows another key with that token has taken the token. It stands in a Lease per pod, whose making the API server
//! lets one replica win, so it holds on every replica and after each is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use actpass_core::hash::b64u_encode;
use actpass_kubernetes::who::BoundPod;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::world::PAGE;

/// Label of these Leases.
const SESSION_LABEL: &str = "actpass.org/session";
/// Annotation: the tenant of the pod.
const TENANT: &str = "actpass.org/tenant";
/// Annotation: its ServiceAccount.
const ACCOUNT: &str = "actpass.org/service-account";
/// Annotation: the pod's name and the ways out that its own check found open; absent while none is.
const FENCE: &str = "actpass.org/fence";
/// Annotation: the pod's name, while its own check has not ended for long.
const UNVERIFIED: &str = "actpass.org/fence-unverified";
/// Annotation: the pod's label of its own, once a way out was found open. It stays: what has left is not known.
const BROKEN: &str = "actpass.org/fence-broken";

/// Between two tellings of one pod's fence: a sidecar's own rest is longer.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Most keys remembered; others are looked up.
const KEYS_MAX: usize = 16_384;

/// Keys by pod.
pub struct Bindings {
    api: Api<Lease>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What is known of one pod.
struct Known {
    key: [u8; 32],
    /// What it told of its fence last, and when.
    told: Option<(Instant, Value)>,
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

    /// Whether `key` is the one of this pod: the first that was ever shown for it.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn holds(
        &self,
        tenant: &str,
        pod: &BoundPod,
        key: &[u8; 32],
    ) -> Result<bool, kube::Error> {
        if let Some(known) = self.known().get(&pod.uid) {
            return Ok(known.key == *key);
        }
        let name = name(pod);
        let holder = b64u_encode(key);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(SESSION_LABEL.to_owned(), pod.uid.clone())].into()),
                annotations: Some(BTreeMap::from([
                    (TENANT.to_owned(), tenant.to_owned()),
                    (ACCOUNT.to_owned(), pod.service_account.clone()),
                ])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.clone()),
                ..LeaseSpec::default()
            }),
        };
        let held = match self.api.create(&PostParams::default(), &lease).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let spec = self.api.get(&name).await?.spec;
                spec.and_then(|spec| spec.holder_identity) == Some(holder)
            }
            Err(error) => return Err(error),
        };
        if held {
            let mut known = self.known();
            if known.len() >= KEYS_MAX {
                known.clear();
            }
            let key = *key;
            known.insert(pod.uid.clone(), Known { key, told: None });
        }
        Ok(held)
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
        let told = self.known().get(&pod.uid).and_then(|it| it.told.clone());
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
        if let Some(known) = self.known().get_mut(&pod.uid) {
            known.told = Some((now, patch));
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

/// Pods that have begun a session and run, by namespace and ServiceAccount.
pub type Running = BTreeMap<String, BTreeMap<String, Pods>>;

/// Pods of one ServiceAccount that run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// How many.
    pub count: u32,
    /// Those with a way out beside their sidecar, each with its name and the way, as they say themselves.
    pub open: Vec<String>,
    /// Names of those whose own check has not ended for long.
    pub unverified: Vec<String>,
    /// Names of those that ever had a way out, by their labels.
    pub broken: BTreeMap<String, String>,
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

/// Which pods with bindings run, and the bindings of those that are gone or at their end.
///
/// # Errors
/// The API server does not answer.
pub async fn counted(client: &Client, install: &str) -> Result<(Running, Vec<Bound>), kube::Error> {
    let leases = Api::<Lease>::namespaced(client.clone(), install);
    // Before the pods, so that one that begins meanwhile is not taken for one that is gone.
    let sessions = ListParams::default().labels(SESSION_LABEL);
    let bound: Vec<Bound> = listed(&leases, sessions, Bound::of).await?;
    let namespaces: BTreeSet<&str> = bound.iter().map(Bound::namespace).collect();
    let mut there = BTreeSet::new();
    for namespace in namespaces {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        // One that has come to its end never runs again, though it may stand for long, as that of a Job does.
        let running = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        there.extend(listed(&pods, running, |pod| pod.uid).await?);
    }
    let (run, gone): (Vec<Bound>, Vec<Bound>) =
        bound.into_iter().partition(|it| there.contains(&it.uid));
    let mut running = Running::new();
    for it in &run {
        if let Some(account) = &it.account {
            let accounts = running.entry(it.namespace().to_owned()).or_default();
            let pods = accounts.entry(account.clone()).or_default();
            pods.count += 1;
            pods.open.extend(it.fence.clone());
            pods.unverified.extend(it.unverified.clone());
            pods.broken.extend(it.broken());
        }
    }
    Ok((running, gone))
}

/// Deletes bindings of pods that are gone, and says how many. Before that the ledger is told that such a pod's stream is at its
/// end: nobody else sees that a pod went without a word.
pub async fn collect(client: &Client, install: &str, ledger: &Ledger, gone: &[Bound]) -> usize {
    let leases = Api::<Lease>::namespaced(client.clone(), install);
    let mut deleted = 0;
    for it in gone {
        // One that cannot be ended yet keeps the others from nothing.
        match end(&leases, ledger, it).await {
            Ok(()) => deleted += 1,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    tenant = it.tenant,
                    error,
                    "The stream of a pod that is gone is not ended yet"
                );
            }
        }
    }
    deleted
}

async fn end(leases: &Api<Lease>, ledger: &Ledger, bound: &Bound) -> anyhow::Result<()> {
    ledger.end_pod(&bound.tenant, &bound.uid).await?;
    match leases.delete(&bound.name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A binding, as its Lease says it.
pub struct Bound {
    name: String,
    uid: String,
    tenant: String,
    /// Of bindings that an earlier version made there is none.
    account: Option<String>,
    /// What its own check found: see [`Pods`].
    fence: Option<String>,
    unverified: Option<String>,
    broken: Option<String>,
}

impl Bound {
    fn of(lease: ObjectMeta) -> Option<Self> {
        let mut annotations = lease.annotations?;
        Some(Self {
            name: lease.name?,
            uid: lease.labels?.remove(SESSION_LABEL)?,
            tenant: annotations.remove(TENANT)?,
            account: annotations.remove(ACCOUNT),
            fence: annotations.remove(FENCE),
            unverified: annotations.remove(UNVERIFIED),
            broken: annotations.remove(BROKEN),
        })
    }

    fn broken(&self) -> Option<(String, String)> {
        let (label, name) = self.broken.as_ref()?.split_once('/')?;
        Some((label.to_owned(), name.to_owned()))
    }

    fn namespace(&self) -> &str {
        self.tenant.split('/').nth(1).unwrap_or_default()
    }
}

/// What is `kept` of the metadata of each, page by page.
async fn listed<K, T>(
    api: &Api<K>,
    mut page: ListParams,
    kept: impl Fn(ObjectMeta) -> Option<T>,
) -> Result<Vec<T>, kube::Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    page = page.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let found = api.list_metadata(&page).await?;
        let items = found.items.into_iter();
        all.extend(items.filter_map(|item| kept(item.metadata)));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
