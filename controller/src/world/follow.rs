//! Keeps a [`World`] as the API server says it is.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actpass_crds::resource::Kind;
use actpass_kubernetes::names::{BUNDLE_LABEL, MODE_LABEL};
use actpass_kubernetes::watched;
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as ApiNamespace};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Published, World};
use crate::contact::SILENCE_MAX;
use crate::object::{Namespace, Object, api_resource};

/// Objects of one answer to a list, which stands in memory whole before it is reduced. Each may have 1.5 MiB, which is what etcd
/// takes, so an answer stays below 75 MiB.
pub(crate) const PAGE: u32 = 50;

/// Pause after an error; after each that follows soon twice as long, up to the longest.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(16);

/// Objects of one kind in the world.
trait Kept<K>: Send + 'static {
    /// What is kept of one.
    type Reduced: Send;
    /// As it is called in a manifest.
    fn kind(&self) -> &'static str;
    fn reduce(&self, object: K) -> Option<Self::Reduced>;
    fn put(&self, reduced: Self::Reduced);
    fn remove(&self, reduced: Self::Reduced);
    fn replace(&self, all: Vec<Self::Reduced>);
}

/// Follows everything. Where the API server is away, what was seen last stays; a task ends where a kind is away for too long.
pub fn follow(client: &Client, install: &str, world: &Arc<World>) -> JoinSet<&'static str> {
    let mut tasks = JoinSet::new();
    let namespaces = Api::<ApiNamespace>::all(client.clone());
    let governed = watched::config().labels(MODE_LABEL).page_size(PAGE);
    let kept = Namespaces(world.clone());
    tasks.spawn(keep(
        move || watcher(namespaces.clone(), governed.clone()),
        world.clone(),
        kept,
    ));
    for kind in Kind::ALL {
        let Some(resource) = api_resource(kind.name()) else {
            continue;
        };
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let kept = Objects(world.clone(), kind);
        let config = watched::config().page_size(PAGE);
        tasks.spawn(keep(
            move || watcher(api.clone(), config.clone()),
            world.clone(),
            kept,
        ));
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), install);
    let bundles = watched::config().labels(BUNDLE_LABEL).page_size(PAGE);
    let kept = Bundles(world.clone());
    tasks.spawn(keep(
        move || watcher(maps.clone(), bundles.clone()),
        world.clone(),
        kept,
    ));
    tasks
}

/// Follows one kind, which is listed anew after each error: so it is known when the API server shows it again. Returns its name
/// where it has not for [`SILENCE_MAX`], though other requests may be answered.
async fn keep<K, S>(
    watch: impl Fn() -> S + Send,
    world: Arc<World>,
    kept: impl Kept<K>,
) -> &'static str
where
    K: Send + 'static,
    S: Stream<Item = Result<Event<K>, watcher::Error>> + Send,
{
    let mut listing = Vec::new();
    let mut listed = false;
    let mut failing: Option<Instant> = None;
    let mut pause = AGAIN;
    loop {
        let begun = Instant::now();
        let mut events = pin!(watch());
        let error = loop {
            match events.next().await {
                Some(Ok(Event::Init)) => listing.clear(),
                // Reduced at once, so that a long list does not stand in memory as it came.
                Some(Ok(Event::InitApply(object))) => listing.extend(kept.reduce(object)),
                Some(Ok(Event::InitDone)) => {
                    failing = None;
                    kept.replace(std::mem::take(&mut listing));
                    if !listed {
                        listed = true;
                        world.count_listed();
                    }
                }
                Some(Ok(Event::Apply(object))) => {
                    if let Some(reduced) = kept.reduce(object) {
                        kept.put(reduced);
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    if let Some(reduced) = kept.reduce(object) {
                        kept.remove(reduced);
                    }
                }
                Some(Err(error)) => break error.to_string(),
                None => break "the watch ended".to_owned(),
            }
        };
        let kind = kept.kind();
        tracing::warn!(
            error,
            kind,
            "The API server does not show a kind; asking again"
        );
        let since = *failing.get_or_insert_with(Instant::now);
        if since.elapsed() >= SILENCE_MAX {
            return kind;
        }
        if begun.elapsed() > AGAIN_MAX {
            pause = AGAIN;
        }
        sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

struct Namespaces(Arc<World>);

impl Kept<ApiNamespace> for Namespaces {
    type Reduced = Namespace;

    fn kind(&self) -> &'static str {
        "Namespace"
    }

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

    fn kind(&self) -> &'static str {
        self.1.name()
    }

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

    fn kind(&self) -> &'static str {
        "ConfigMap"
    }

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::stream::{self, BoxStream};

    use super::*;

    type Said = Result<Event<ApiNamespace>, watcher::Error>;

    /// What the API server says to one attempt, and for how long the watch then stands.
    fn said(shown: bool, stands: Duration) -> BoxStream<'static, Said> {
        let begin: Vec<Said> = match shown {
            true => vec![Ok(Event::Init), Ok(Event::InitDone)],
            false => Vec::new(),
        };
        let end = stream::once(async move {
            sleep(stands).await;
            Err(watcher::Error::NoResourceVersion)
        });
        stream::iter(begin).chain(end).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_shown_for_half_a_minute_counts_as_lost() {
        let world = Arc::new(World::default());
        let begun = Instant::now();
        let attempts = AtomicUsize::new(0);
        let watch = || {
            // Fourteen seconds away, twice, with an hour between; then for good.
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            let shown = matches!(attempt, 0 | 3 | 6);
            let stands = Duration::from_secs(if shown { 3_600 } else { 0 });
            said(shown, stands)
        };
        let kind = keep(watch, world.clone(), Namespaces(world.clone())).await;
        assert_eq!(kind, "Namespace");
        let shown = Duration::from_secs(3 * 3_600 + 2 * (2 + 4 + 8));
        assert_eq!(begun.elapsed(), shown + SILENCE_MAX);
        assert_eq!(*world.listed.borrow(), 1, "counted once");
    }
}
