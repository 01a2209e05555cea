//! Keeps a [`World`] as the API server says it is.

use std::fmt::Debug;
use std::sync::Arc;

use actpass_crds::resource::Kind;
use actpass_kubernetes::names::{BUNDLE_LABEL, MODE_LABEL};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as ApiNamespace};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{Published, World};
use crate::object::{Namespace, Object, api_resource};

/// Objects of one answer to a list, which stands in memory whole before it is reduced. Each may have 1.5 MiB, which is what etcd
/// takes, so an answer stays below 75 MiB.
pub(crate) const PAGE: u32 = 50;

/// Objects of one kind in the world.
trait Kept<K>: Send + 'static {
    /// What is kept of one.
    type Reduced: Send;
    fn reduce(&self, object: K) -> Option<Self::Reduced>;
    fn put(&self, reduced: Self::Reduced);
    fn remove(&self, reduced: Self::Reduced);
    fn replace(&self, all: Vec<Self::Reduced>);
}

/// Follows everything. The tasks end only with the process: where the API server is away, what was seen last stays.
pub fn follow(client: &Client, install: &str, world: &Arc<World>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let namespaces = Api::<ApiNamespace>::all(client.clone());
    let governed = watcher::Config::default()
        .labels(MODE_LABEL)
        .page_size(PAGE);
    tasks.spawn(keep(
        namespaces,
        governed,
        world.clone(),
        Namespaces(world.clone()),
    ));
    for kind in Kind::ALL {
        let Some(resource) = api_resource(kind.name()) else {
            continue;
        };
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let kept = Objects(world.clone(), kind);
        let config = watcher::Config::default().page_size(PAGE);
        let world = world.clone();
        tasks.spawn(async move {
            keep_stream(watcher(api, config), world, kept).await;
        });
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), install);
    let bundles = watcher::Config::default()
        .labels(BUNDLE_LABEL)
        .page_size(PAGE);
    tasks.spawn(keep(maps, bundles, world.clone(), Bundles(world.clone())));
    tasks
}

async fn keep<K>(api: Api<K>, config: watcher::Config, world: Arc<World>, kept: impl Kept<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    keep_stream(watcher(api, config), world, kept).await;
}

async fn keep_stream<K: Send + 'static, T: Kept<K>>(
    events: impl futures_util::Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    world: Arc<World>,
    kept: T,
) {
    let mut events = events.default_backoff().boxed();
    let mut listing = Vec::new();
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listing.clear(),
            // Reduced at once, so that a long list does not stand in memory as it came.
            Ok(Event::InitApply(object)) => listing.extend(kept.reduce(object)),
            Ok(Event::InitDone) => {
                kept.replace(std::mem::take(&mut listing));
                if !listed {
                    listed = true;
                    world.count_listed();
                }
            }
            Ok(Event::Apply(object)) => {
                if let Some(reduced) = kept.reduce(object) {
                    kept.put(reduced);
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(reduced) = kept.reduce(object) {
                    kept.remove(reduced);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "The API server does not show a kind; asking again")
            }
        }
    }
}

struct Namespaces(Arc<World>);

impl Kept<ApiNamespace> for Namespaces {
    type Reduced = Namespace;

    fn reduce(&self, object: ApiNamespace) -> Option<Namespace> {
        let metadata = object.metadata;
        Some(Namespace {
            name: metadata.name?,
            uid: metadata.uid?,
            labels: metadata.labels.unwrap_or_default(),
            ends: metadata.deletion_timestamp.is_some(),
        })
    }

    fn put(&self, namespace: Namespace) {
        self.0.put_namespace(namespace);
    }

    fn remove(&self, namespace: Namespace) {
        self.0.remove_namespace(&namespace.name);
    }

    fn replace(&self, all: Vec<Namespace>) {
        self.0.replace_namespaces(all);
    }
}

struct Objects(Arc<World>, Kind);

impl Kept<DynamicObject> for Objects {
    type Reduced = Object;

    fn reduce(&self, object: DynamicObject) -> Option<Object> {
        Some(Object::of(self.1, object))
    }

    fn put(&self, object: Object) {
        self.0.put(object);
    }

    fn remove(&self, object: Object) {
        self.0.remove(&object.id);
    }

    fn replace(&self, all: Vec<Object>) {
        self.0.replace(self.1, all);
    }
}

struct Bundles(Arc<World>);

impl Kept<ConfigMap> for Bundles {
    type Reduced = Published;

    fn reduce(&self, map: ConfigMap) -> Option<Published> {
        match Published::of(&map) {
            Ok(published) => Some(published),
            Err(error) => {
                let name = map.metadata.name.unwrap_or_default();
                tracing::error!(
                    error,
                    name,
                    "A published bundle is not usable; delete its ConfigMap"
                );
                None
            }
        }
    }

    fn put(&self, published: Published) {
        self.0.put_published(published);
    }

    fn remove(&self, published: Published) {
        self.0.remove_published(published.digest());
    }

    fn replace(&self, all: Vec<Published>) {
        self.0.replace_published(all);
    }
}
