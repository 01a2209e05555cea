//! Which key each pod's session belongs to, for good.
//!
//! The first key that a pod's token is shown with is the pod's sidecar's, which keeps it over restarts of its container.
//! Whoever shows another key with that token has taken the token. It stands in a Lease per pod, whose making the API server
//! lets one replica win, so it holds on every replica and after each is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use actpass_core::hash::b64u_encode;
use actpass_kubernetes::who::BoundPod;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};

/// Label of these Leases.
const SESSION_LABEL: &str = "actpass.org/session";
/// Annotation: the pod's namespace.
const NAMESPACE: &str = "actpass.org/pod-namespace";

/// Most keys remembered; others are looked up.
const KEYS_MAX: usize = 16_384;

/// Leases in one answer.
const PAGE: u32 = 500;

/// Keys by pod.
pub struct Bindings {
    api: Api<Lease>,
    known: Mutex<BTreeMap<String, [u8; 32]>>,
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
    pub async fn holds(&self, pod: &BoundPod, key: &[u8; 32]) -> Result<bool, kube::Error> {
        if let Some(known) = self.known().get(&pod.uid) {
            return Ok(known == key);
        }
        let name = format!("actpass-session-{}", pod.uid);
        let holder = b64u_encode(key);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(SESSION_LABEL.to_owned(), pod.uid.clone())].into()),
                annotations: Some([(NAMESPACE.to_owned(), pod.namespace.clone())].into()),
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
            known.insert(pod.uid.clone(), *key);
        }
        Ok(held)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, [u8; 32]>> {
        self.known.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

/// Deletes the bindings of pods that are gone, and says how many.
///
/// # Errors
/// The API server does not answer.
pub async fn collect(client: &Client, install: &str) -> Result<usize, kube::Error> {
    let leases = Api::<Lease>::namespaced(client.clone(), install);
    // Before the pods, so that one that begins meanwhile is not taken for one that is gone.
    let mut bound: Vec<(String, String, String)> = Vec::new();
    let mut page = ListParams::default().labels(SESSION_LABEL).limit(PAGE);
    loop {
        let found = leases.list_metadata(&page).await?;
        for lease in found.items {
            let labels = lease.metadata.labels.unwrap_or_default();
            let annotations = lease.metadata.annotations.unwrap_or_default();
            let uid = labels.get(SESSION_LABEL).cloned();
            let namespace = annotations.get(NAMESPACE).cloned();
            if let (Some(name), Some(uid), Some(namespace)) = (lease.metadata.name, uid, namespace)
            {
                bound.push((namespace, uid, name));
            }
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    let namespaces: BTreeSet<&String> = bound.iter().map(|(namespace, ..)| namespace).collect();
    let mut there = BTreeSet::new();
    for namespace in namespaces {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let found = pods.list_metadata(&ListParams::default()).await?;
        there.extend(found.items.into_iter().filter_map(|pod| pod.metadata.uid));
    }
    let mut deleted = 0;
    for (_, uid, name) in bound {
        if there.contains(&uid) {
            continue;
        }
        match leases.delete(&name, &DeleteParams::default()).await {
            Ok(_) => deleted += 1,
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
