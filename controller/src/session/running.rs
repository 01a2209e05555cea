//! Which pods with a session run, and what is left of those that are gone.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

use super::bindings::{ACCOUNT, BROKEN, FENCE, SESSION_LABEL, TENANT, UNVERIFIED};
use crate::ledger::Ledger;
use crate::world::PAGE;

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
    pub(super) fn of(lease: ObjectMeta) -> Option<Self> {
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

    pub(super) fn broken(&self) -> Option<(String, String)> {
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
