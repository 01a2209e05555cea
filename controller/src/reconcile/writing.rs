//! The writes themselves, by server-side apply: fields of others in the same objects stay theirs.

use std::collections::BTreeSet;

use actpass_core::bundle::Bundle;
use actpass_core::hash::{hex, sha256};
use actpass_kubernetes::names::{
    AGENTS_NETWORK_POLICY, BUNDLE_LABEL, QUARANTINE_NETWORK_POLICY, TRUST,
};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as ApiNamespace};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Leader;
use crate::bundle::Place;
use crate::network_policies;
use crate::object::{Namespace, Object, api_resource};
use crate::world::Published;

/// Who applies.
pub(crate) const MANAGER: &str = "actpass-controller";

/// Applies as us. Fields that somebody else set are taken over.
pub(crate) fn apply() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

impl Leader {
    /// Publishes a bundle for the sessions of all replicas.
    pub(super) async fn publish(&self, uid: &str, bundle: &Bundle) -> anyhow::Result<Published> {
        let data = Published::data(bundle).map_err(anyhow::Error::msg)?;
        let name = published_name(uid);
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {BUNDLE_LABEL: "v1"}},
            "data": data,
        });
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.install);
        let applied = api.patch(&name, &apply(), &Patch::Apply(&map)).await;
        let applied = applied.context("publish the bundle")?;
        Published::of(&applied).map_err(anyhow::Error::msg)
    }

    /// What stands in a governed namespace besides its resources. Written when it changes, and from time to time.
    pub(super) async fn write_into(
        &self,
        place: Place<'_>,
        objects: &[&Object],
    ) -> anyhow::Result<()> {
        let name = &place.namespace.name;
        let cut_off = self.cut_off(name)?;
        let network = &self.network;
        let policy = network_policies::agents(place, objects.iter().copied(), &cut_off, network);
        let policy = applicable(&policy)?;
        let quarantine = |pods: &BTreeSet<String>| {
            applicable(&network_policies::quarantine(place, pods, network))
        };
        let trust = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": TRUST},
            "data": self.trust.borrow().for_agents(),
        });
        let all = hex(&sha256(&[
            policy.to_string().as_bytes(),
            quarantine(&cut_off)?.to_string().as_bytes(),
            trust.to_string().as_bytes(),
            // One made anew under the same name has nothing of it.
            place.namespace.uid.as_bytes(),
        ]));
        if self.done.state().written.get(name) == Some(&all) {
            return Ok(());
        }
        let policies = Api::<NetworkPolicy>::namespaced(self.client.clone(), name);
        let write = async |name: &str, policy: &Value| {
            let applied = policies.patch(name, &apply(), &Patch::Apply(policy)).await;
            let applied = applied.with_context(|| format!("write NetworkPolicy `{name}`"));
            applied.map(drop)
        };
        // Policies add up, and a pod that none selects is open: so that each always has one, those that were cut off stay in
        // until the other policy has them.
        let held = policies.get_opt(QUARANTINE_NETWORK_POLICY).await?;
        let held = held.as_ref().map(network_policies::quarantined);
        let either: BTreeSet<String> = held.into_iter().flatten().chain(cut_off.clone()).collect();
        if !either.is_empty() {
            write(QUARANTINE_NETWORK_POLICY, &quarantine(&either)?).await?;
        }
        write(AGENTS_NETWORK_POLICY, &policy).await?;
        if cut_off.is_empty() {
            delete(&policies, QUARANTINE_NETWORK_POLICY).await?;
        } else if either != cut_off {
            write(QUARANTINE_NETWORK_POLICY, &quarantine(&cut_off)?).await?;
        }
        // The install namespace has the original.
        if *name != self.install {
            let maps = Api::<ConfigMap>::namespaced(self.client.clone(), name);
            let applied = maps.patch(TRUST, &apply(), &Patch::Apply(&trust)).await;
            applied.context("write the copy of the trust")?;
        }
        self.done.state().written.insert(name.clone(), all);
        Ok(())
    }

    /// Labels of the pods of a namespace that are cut off.
    fn cut_off(&self, name: &str) -> anyhow::Result<BTreeSet<String>> {
        if !self.network.quarantine {
            return Ok(BTreeSet::new());
        }
        // Who has just begun to lead would let them out.
        let running = self.world.running(name);
        let running = running.context("it is not known yet which pods are cut off")?;
        Ok(running
            .into_values()
            .flat_map(|pods| pods.broken.into_keys())
            .collect())
    }

    /// Takes back what was published for namespaces of that name that are gone. What one that is there no longer governs
    /// stays for when it is governed again.
    pub(super) async fn take_back(&self, namespace: &Namespace) -> anyhow::Result<()> {
        let published = self.world.published_under(&namespace.name).into_iter();
        let others: Vec<_> = published.filter(|it| it.uid() != namespace.uid).collect();
        if others.is_empty() {
            return Ok(());
        }
        let namespaces = Api::<ApiNamespace>::all(self.client.clone());
        let found = namespaces.get_metadata_opt(&namespace.name).await?;
        let now = found.and_then(|it| it.metadata.uid);
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &self.install);
        for gone in others.iter().filter(|it| Some(it.uid()) != now.as_deref()) {
            delete(&maps, &published_name(gone.uid())).await?;
            self.done.forget(gone.uid());
        }
        Ok(())
    }

    /// Takes back what was written into a namespace that is no longer governed.
    pub(super) async fn leave(&self, name: &str) -> anyhow::Result<()> {
        let was = self.done.state().written.remove(name).is_some();
        let published = self.world.published_under(name);
        if !was && published.is_empty() {
            return Ok(());
        }
        for published in &published {
            self.done.forget(published.uid());
        }
        let namespaces = Api::<ApiNamespace>::all(self.client.clone());
        let found = namespaces.get_metadata_opt(name).await?;
        if found.is_some() && name != self.install {
            let policies = Api::<NetworkPolicy>::namespaced(self.client.clone(), name);
            delete(&policies, AGENTS_NETWORK_POLICY).await?;
            delete(&policies, QUARANTINE_NETWORK_POLICY).await?;
            let maps = Api::<ConfigMap>::namespaced(self.client.clone(), name);
            delete(&maps, TRUST).await?;
            tracing::info!(namespace = name, "Namespace no longer governed");
        }
        Ok(())
    }

    /// Writes a status, if there is something new to say.
    pub(super) async fn status(
        &self,
        object: &Object,
        status: Option<Value>,
    ) -> anyhow::Result<()> {
        let Some(status) = status else { return Ok(()) };
        let resource = api_resource(object.id.kind.name()).context("a kind of ours")?;
        let api = match &object.id.namespace {
            Some(name) => {
                Api::<DynamicObject>::namespaced_with(self.client.clone(), name, &resource)
            }
            None => Api::<DynamicObject>::all_with(self.client.clone(), &resource),
        };
        let patch = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": object.id.name, "uid": object.uid},
            "status": status,
        });
        let written = api
            .patch_status(&object.id.name, &apply(), &Patch::Apply(&patch))
            .await;
        match written {
            Ok(_) => {
                self.tell(object, &status);
                Ok(())
            }
            // Gone, or made anew: its own change comes.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("write the status of {}", object.id)),
        }
    }
}

/// A NetworkPolicy as it is applied.
fn applicable(policy: &NetworkPolicy) -> anyhow::Result<Value> {
    let mut policy = serde_json::to_value(policy)?;
    if let Some(policy) = policy.as_object_mut() {
        policy.insert("apiVersion".to_owned(), json!("networking.k8s.io/v1"));
        policy.insert("kind".to_owned(), json!("NetworkPolicy"));
    }
    Ok(policy)
}

fn published_name(uid: &str) -> String {
    format!("actpass-bundle-{uid}")
}

async fn delete<K>(api: &Api<K>, name: &str) -> anyhow::Result<()>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("delete `{name}`")),
    }
}
