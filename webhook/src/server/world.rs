//! What has to be known of the cluster besides a request: two kinds of objects are watched, the rest is asked for when it
//! is needed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use actpass_kubernetes::names::{AGENTS_NETWORK_POLICY, TRUST};
use actpass_kubernetes::who::{Right, Who, may};
use actpass_kubernetes::{Client, Error, encoded, watched};
use futures_util::{StreamExt as _, try_join};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store};
use kube::runtime::watcher::watcher;
use kube::runtime::{WatchStreamExt as _, reflector};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::checks::Surroundings;
use crate::read::{name, text};
use crate::settings::Settings;

use super::pods::{self, Needed};
use super::reduced::{Page, Reduced};
use super::review::{Request, User};
use super::rights::Rights;
use super::{namespaces, resources, votes};

/// The virtual resource that whoever opens a way past the fence must be allowed to `create`, in the pod's namespace.
pub const BREAK_GLASS_RESOURCE: &str = "pods/breakglass";

/// Most names of pods in one refusal.
const NAMED_MAX: usize = 5;

/// Objects of one answer. Each may have 1.5 MiB, which is what etcd takes, so an answer stays below 75 MiB; most have 20 KiB.
const PAGE: u32 = 50;

/// Lists at a time: their answers stand in memory whole, before they are reduced to what is used.
const LISTS: usize = 2;

/// The cluster, as this webhook sees it.
pub struct World {
    client: Client,
    namespace: String,
    /// What pods that run are compared with.
    settings: Settings,
    policies: Store<PartialObjectMeta<NetworkPolicy>>,
    trusts: Store<PartialObjectMeta<ConfigMap>>,
    rights: Rights,
    lists: Semaphore,
}

impl World {
    /// Starts to watch; `tasks` owns what does. `namespace` is that of the installation, `settings` what it injects.
    pub fn start(
        client: Client,
        namespace: &str,
        settings: Settings,
        tasks: &mut JoinSet<&'static str>,
    ) -> Self {
        Self {
            settings,
            policies: named(client.clone(), AGENTS_NETWORK_POLICY, tasks),
            trusts: named(client.clone(), TRUST, tasks),
            rights: Rights::default(),
            lists: Semaphore::new(LISTS),
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// Returns once what is watched was seen whole.
    pub async fn seen(&self) -> bool {
        let policies = self.policies.wait_until_ready().await;
        policies.is_ok() && self.trusts.wait_until_ready().await.is_ok()
    }

    /// What a request on a pod needs.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn pod(&self, request: &Request) -> Result<pods::Facts, Error> {
        let mut facts = pods::Facts::default();
        match pods::needed(request) {
            Needed::Nothing => {}
            Needed::BreakGlass => {
                let namespace = request.namespace.as_str();
                facts.break_glass = self
                    .may(
                        &request.user_info,
                        "create",
                        BREAK_GLASS_RESOURCE,
                        namespace,
                        None,
                    )
                    .await?;
            }
            Needed::Surroundings => {
                facts.lacking = self.lacking(&request.namespace);
                facts.surroundings = self.surroundings(request).await?;
            }
        }
        Ok(facts)
    }

    /// What the controller has not made yet in a namespace.
    fn lacking(&self, namespace: &str) -> Vec<&'static str> {
        let mut lacking = Vec::new();
        if self
            .policies
            .get(&ObjectRef::new(AGENTS_NETWORK_POLICY).within(namespace))
            .is_none()
        {
            lacking.push("NetworkPolicy `actpass-agents`");
        }
        if self
            .trusts
            .get(&ObjectRef::new(TRUST).within(namespace))
            .is_none()
        {
            lacking.push("ConfigMap `actpass-trust`");
        }
        lacking
    }

    async fn surroundings(&self, request: &Request) -> Result<Surroundings, Error> {
        let account = text(&request.object, &["spec", "serviceAccountName"]).unwrap_or("default");
        let rights = self.rights.of(&self.client, &request.namespace, account);
        let claims = async {
            let mut elsewhere = std::collections::BTreeSet::new();
            if pods::written_claims(&request.object).is_empty() {
                return Ok(elsewhere);
            }
            self.pods(&request.namespace, |pod| {
                if namespaces::is_without(pod, &self.settings) {
                    elsewhere.extend(pods::used_claims(pod).into_iter().map(str::to_owned));
                }
            })
            .await?;
            Ok(elsewhere)
        };
        let (account_rights, claims_elsewhere) = try_join!(rights, claims)?;
        Ok(Surroundings {
            claims_elsewhere,
            account_rights,
        })
    }

    /// What a change to a namespace needs.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn namespace(&self, request: &Request) -> Result<namespaces::Facts, Error> {
        let mut facts = namespaces::Facts::default();
        if namespaces::changed(request).is_empty() {
            return Ok(facts);
        }
        let of = request.name.as_str();
        // In no namespace: who rules one alone does not decide whether it is under ActPass.
        facts.may = self
            .may(
                &request.user_info,
                "update",
                namespaces::MODE_RESOURCE,
                "",
                Some(of),
            )
            .await?;
        if facts.may && namespaces::enforces(request) && !request.old_object.is_null() {
            self.pods(of, |pod| {
                if namespaces::is_without(pod, &self.settings) {
                    facts.without_count = facts.without_count.saturating_add(1);
                    if facts.without.len() < NAMED_MAX {
                        facts
                            .without
                            .push(name(pod.get("metadata").unwrap_or(&Value::Null)).to_owned());
                    }
                }
            })
            .await?;
        }
        Ok(facts)
    }

    /// What a vote needs.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn vote(&self, request: &Request) -> Result<votes::Facts, Error> {
        let namespace = request.namespace.as_str();
        let may = self.may(
            &request.user_info,
            "create",
            "approvalvotes",
            namespace,
            None,
        );
        let approval = async {
            match votes::approval_name(request) {
                Some(name) => {
                    self.get::<Value>(&ours(namespace, "approvals", Some(name)))
                        .await
                }
                None => Ok(None),
            }
        };
        let (may, approval) = try_join!(may, approval)?;
        let approval: Option<votes::Approval> =
            match approval.map(serde_json::from_value).transpose() {
                Ok(approval) => approval,
                Err(error) => {
                    return Err(Error::Content {
                        what: "the Approval".to_owned(),
                        why: error.to_string(),
                    });
                }
            };
        let mut owner = None;
        if let Some(approval) = &approval {
            let passport = self
                .get::<Value>(&ours(namespace, "passports", Some(&approval.spec.passport)))
                .await?;
            owner = passport
                .and_then(|passport| text(&passport, &["spec", "owner"]).map(str::to_owned));
        }
        Ok(votes::Facts {
            may,
            approval,
            owner,
        })
    }

    /// What a write of a Passport, an Upstream or a policy needs.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn resource(&self, request: &Request) -> Result<resources::Facts, Error> {
        let guards = self.list("/apis/actpass.org/v1alpha1/clusteractionpolicies".to_owned());
        let own = request.namespace.as_str();
        let catalogue = async {
            match own == self.namespace {
                true => Ok(Vec::new()),
                false => self.list(ours(&self.namespace, "upstreams", None)).await,
            }
        };
        if own.is_empty() {
            let (objects, catalogue) = try_join!(guards, catalogue)?;
            return Ok(resources::Facts {
                objects,
                catalogue,
                labels: BTreeMap::new(),
            });
        }
        let path = format!("/api/v1/namespaces/{}", encoded(own));
        let (mut objects, passports, upstreams, policies, catalogue, namespace) = try_join!(
            guards,
            self.list(ours(own, "passports", None)),
            self.list(ours(own, "upstreams", None)),
            self.list(ours(own, "actionpolicies", None)),
            catalogue,
            self.get::<Value>(&path),
        )?;
        objects.extend(passports.into_iter().chain(upstreams).chain(policies));
        let labels = namespace.and_then(|found| found.get("metadata")?.get("labels").cloned());
        let labels =
            serde_json::from_value(labels.unwrap_or_else(|| Value::Object(serde_json::Map::new())));
        Ok(resources::Facts {
            objects,
            catalogue,
            labels: labels.unwrap_or_default(),
        })
    }

    async fn may(
        &self,
        user: &User,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<bool, Error> {
        let who = Who {
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        };
        may(
            &self.client,
            &who,
            Right {
                verb,
                resource,
                namespace,
                name,
            },
        )
        .await
    }

    /// Shows every pod of a namespace, as far as it is compared.
    async fn pods(&self, namespace: &str, mut look: impl FnMut(&Value)) -> Result<(), Error> {
        let path = format!("/api/v1/namespaces/{}/pods", encoded(namespace));
        self.each(&path, |pod| look(&pod)).await
    }

    async fn list(&self, path: String) -> Result<Vec<Value>, Error> {
        let mut all = Vec::new();
        self.each(&path, |object| all.push(object)).await?;
        Ok(all)
    }

    /// Shows every object of a list, page by page.
    async fn each(&self, path: &str, mut look: impl FnMut(Value)) -> Result<(), Error> {
        let mut from = String::new();
        loop {
            let place = self.lists.acquire().await;
            let path = format!("{path}?limit={PAGE}{from}");
            let page: Option<Page> = self.get(&path).await?;
            let Some(Page { metadata, items }) = page else {
                return Ok(());
            };
            items
                .into_iter()
                .map(Reduced::into_json)
                .for_each(&mut look);
            drop(place);
            match metadata.next.filter(|token| !token.is_empty()) {
                Some(token) => from = format!("&continue={}", encoded(&token)),
                None => return Ok(()),
            }
        }
    }

    /// What is at a path; nothing where nothing is.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| Error::Content {
            what: format!("path `{path}`"),
            why: error.to_string(),
        })?;
        match self.client.request::<T>(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Error::api(format!("get `{path}`"))(error)),
        }
    }
}

/// The path of our resources of a kind in a namespace, or of one of them.
fn ours(namespace: &str, plural: &str, name: Option<&str>) -> String {
    let all = format!(
        "/apis/actpass.org/v1alpha1/namespaces/{}/{plural}",
        encoded(namespace)
    );
    match name {
        Some(name) => format!("{all}/{}", encoded(name)),
        None => all,
    }
}

/// The objects of that name in all namespaces, by their metadata alone, from now on.
fn named<K>(
    client: Client,
    name: &'static str,
    tasks: &mut JoinSet<&'static str>,
) -> Store<PartialObjectMeta<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    PartialObjectMeta<K>: Lookup<DynamicType = ()> + kube::Resource<DynamicType = ()>,
    <PartialObjectMeta<K> as Lookup>::DynamicType: Eq + Hash + Clone + Default,
{
    let (reader, writer) = store();
    let api = Api::<PartialObjectMeta<K>>::all(client);
    let config = watched::config()
        .fields(&format!("metadata.name={name}"))
        .page_size(PAGE);
    // That it is there is all that is asked.
    let events = watcher(api, config).default_backoff().modify(|object| {
        object.metadata.annotations = None;
        object.metadata.managed_fields = None;
    });
    let mut seen = reflector(writer, events).boxed();
    tasks.spawn(async move {
        while let Some(event) = seen.next().await {
            if let Err(error) = event {
                tracing::warn!(%error, name, "The API server does not show objects of this name; asking again");
            }
        }
        "a watch of the API server"
    });
    reader
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_a_path() {
        assert_eq!(
            ours("shop", "approvals", Some("a/b")),
            "/apis/actpass.org/v1alpha1/namespaces/shop/approvals/a%2Fb"
        );
    }
}
