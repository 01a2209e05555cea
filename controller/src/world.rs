//! What the API server says, as it stands: namespaces, resources, published bundles. Reading it never waits.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use actpass_core::bundle::Bundle;
use actpass_core::hash::BundleDigest;
use actpass_core::session::SessionLine;
use actpass_crds::resource::Kind;
use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::contact::Contact;
use crate::object::{Id, Namespace, Object};
use crate::session::{Pods, Running};

pub(crate) use follow::PAGE;
pub use follow::follow;

/// A bundle that the ledger has, so that sessions may have it.
#[derive(Debug)]
pub struct Published {
    /// The bundle.
    pub bundle: Bundle,
    /// The line of a session that carries it, made once for all of them.
    pub line: Bytes,
}

/// Everything that is watched.
#[derive(Debug, Default)]
pub struct World {
    /// Namespaces that are not governed, whatever their labels say.
    exempt: BTreeSet<String>,
    state: Mutex<State>,
    dirty: Mutex<Dirty>,
    dirtied: Notify,
    /// Counts changes that sessions may have to be told.
    changes: watch::Sender<u64>,
    /// How many of [`Part::COUNT`] were listed once.
    listed: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    namespaces: BTreeMap<String, Arc<Namespace>>,
    objects: BTreeMap<Id, Arc<Object>>,
    /// By uid of the namespace: another one of the same name begins with nothing.
    published: BTreeMap<String, Arc<Published>>,
    /// Nothing before it was looked at.
    running: Option<Running>,
}

/// Namespaces whose bundle may no longer say what their resources say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// All of them.
    pub all: bool,
    /// These.
    pub names: BTreeSet<String>,
}

/// What is watched: each is listed before anything rests on it.
pub(crate) const WATCHED: usize = 2 + Kind::ALL.len();

impl Published {
    /// That of a ConfigMap as [`Published::data`] makes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(map: &ConfigMap) -> Result<Self, String> {
        let text = map.data.as_ref().and_then(|data| data.get(BUNDLE_KEY));
        let text = text.ok_or_else(|| format!("it has no `{BUNDLE_KEY}`"))?;
        let bundle = Bundle::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let line = SessionLine::Bundle {
            bundle: text.clone(),
        };
        Ok(Self {
            line: line_bytes(&line)?,
            bundle,
        })
    }

    /// The content of its ConfigMap.
    ///
    /// # Errors
    /// The bundle is no text.
    pub fn data(bundle: &Bundle) -> Result<BTreeMap<String, String>, String> {
        let text = String::from_utf8(bundle.bytes().to_vec()).map_err(|error| error.to_string())?;
        Ok([(BUNDLE_KEY.to_owned(), text)].into())
    }

    /// The namespace it is of.
    pub fn namespace(&self) -> &str {
        self.bundle
            .spec()
            .tenant
            .split('/')
            .nth(1)
            .unwrap_or_default()
    }

    /// Uid of the namespace it is of.
    pub fn uid(&self) -> &str {
        let tenant = &self.bundle.spec().tenant;
        tenant.rsplit('/').next().unwrap_or_default()
    }

    /// Which bundle it is.
    pub fn digest(&self) -> BundleDigest {
        self.bundle.digest()
    }
}

/// A line of a session, with its end.
pub(crate) fn line_bytes(line: &SessionLine) -> Result<Bytes, String> {
    let mut bytes = serde_json::to_vec(line).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

const BUNDLE_KEY: &str = "bundle";

impl World {
    /// Nothing yet. Namespaces of these names are never governed.
    pub fn exempting(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            exempt: names.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The namespace, if it is one that ActPass governs.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.state().namespaces.get(name).cloned()
    }

    /// All namespaces that ActPass governs.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.state().namespaces.values().cloned().collect()
    }

    /// Every resource.
    pub fn objects(&self) -> Vec<Arc<Object>> {
        self.state().objects.values().cloned().collect()
    }

    /// The Passports of a namespace.
    pub fn passports(&self, namespace: &str) -> Vec<Arc<Object>> {
        let id = |kind| Id {
            kind,
            namespace: Some(namespace.to_owned()),
            name: String::new(),
        };
        let state = self.state();
        let found = state.objects.range(id(Kind::Passport)..);
        let found = found.take_while(|(id, _)| {
            id.kind == Kind::Passport && id.namespace.as_deref() == Some(namespace)
        });
        found.map(|(_, object)| object.clone()).collect()
    }

    /// What sidecars of a namespace decide by.
    pub fn published(&self, namespace: &Namespace) -> Option<Arc<Published>> {
        self.state().published.get(&namespace.uid).cloned()
    }

    /// All that is published for namespaces of that name: for one that is gone, too, until it is taken back.
    pub fn published_under(&self, name: &str) -> Vec<Arc<Published>> {
        let state = self.state();
        let found = state.published.values().filter(|it| it.namespace() == name);
        found.cloned().collect()
    }

    /// Names of namespaces for which a bundle is published.
    pub fn published_namespaces(&self) -> Vec<String> {
        let state = self.state();
        let names = state.published.values().map(|it| it.namespace().to_owned());
        names.collect()
    }

    /// Counts changes that sessions may have to be told.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns once everything was listed.
    pub async fn listed(&self) {
        let mut listed = self.listed.subscribe();
        // The sender lives as long as this does.
        listed.wait_for(|count| *count >= WATCHED).await.ok();
    }

    /// Waits until something is no longer known as the API server says it.
    pub async fn unlisted(&self) {
        let mut listed = self.listed.subscribe();
        listed.wait_for(|count| *count < WATCHED).await.ok();
    }

    /// Whether what stands here is what the API server says: all of it was listed, and it answers.
    pub fn is_current(&self, contact: &Contact) -> bool {
        self.is_listed() && !contact.is_lost(Instant::now())
    }

    /// Whether everything was listed.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow() >= WATCHED
    }

    /// Waits for namespaces to look at, and takes them.
    pub async fn dirty(&self) -> Dirty {
        loop {
            let notified = self.dirtied.notified();
            let taken = std::mem::take(&mut *self.dirty_now());
            if taken != Dirty::default() {
                return taken;
            }
            notified.await;
        }
    }

    /// Has these looked at.
    pub fn dirty_more(&self, more: Dirty) {
        let mut dirty = self.dirty_now();
        dirty.all |= more.all;
        dirty.names.extend(more.names);
        drop(dirty);
        self.dirtied.notify_one();
    }

    /// Has all of them looked at.
    pub fn dirty_all(&self) {
        self.dirty_more(Dirty {
            all: true,
            names: BTreeSet::new(),
        });
    }

    fn dirty_one(&self, name: &str) {
        self.dirty_more(Dirty {
            all: false,
            names: [name.to_owned()].into(),
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    fn dirty_now(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    fn tell(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A resource as it now is.
    pub(crate) fn put(&self, object: Object) {
        let id = object.id.clone();
        let new = Arc::new(object);
        let old = self.state().objects.insert(id, new.clone());
        // A status that changed, most often by us, changes nothing else.
        let same = |old: &Arc<Object>| old.uid == new.uid && old.resource == new.resource;
        if !old.as_ref().is_some_and(same) {
            self.touch(&new.id);
        }
    }

    pub(crate) fn remove(&self, id: &Id) {
        if self.state().objects.remove(id).is_some() {
            self.touch(id);
        }
    }

    /// All resources of a kind, after a list.
    pub(crate) fn replace(&self, kind: Kind, objects: Vec<Object>) {
        let there: BTreeSet<Id> = objects.iter().map(|object| object.id.clone()).collect();
        let gone: Vec<Id> = {
            let state = self.state();
            let ids = state.objects.keys();
            ids.filter(|id| id.kind == kind && !there.contains(*id))
                .cloned()
                .collect()
        };
        for id in &gone {
            self.remove(id);
        }
        for object in objects {
            self.put(object);
        }
    }

    /// What a resource decides is decided anew.
    fn touch(&self, id: &Id) {
        match (&id.namespace, id.kind) {
            // A shared Upstream, or a guard of the cluster, may count anywhere.
            (Some(_), Kind::Upstream) | (None, _) => self.dirty_all(),
            (Some(namespace), _) => self.dirty_one(namespace),
        }
        if id.kind == Kind::Passport {
            self.tell();
        }
    }

    /// Which pods run that have begun a session; what changes is told where their Passports stand.
    pub(crate) fn put_running(&self, running: Running) {
        let before = self.state().running.replace(running.clone());
        let before = before.unwrap_or_default();
        let names: BTreeSet<&String> = before.keys().chain(running.keys()).collect();
        for name in names {
            if before.get(name) != running.get(name) {
                self.dirty_one(name);
            }
        }
    }

    /// Which pods run is no longer known: it was long ago that they were counted.
    pub(crate) fn forget_running(&self) {
        self.state().running = None;
    }

    /// The pods of each ServiceAccount that run there and have begun a session, where that is known.
    pub fn running(&self, namespace: &str) -> Option<BTreeMap<String, Pods>> {
        let state = self.state();
        let running = state.running.as_ref()?;
        Some(running.get(namespace).cloned().unwrap_or_default())
    }

    pub(crate) fn put_namespace(&self, namespace: Namespace) {
        if self.exempt.contains(&namespace.name) {
            return;
        }
        let name = namespace.name.clone();
        let new = Arc::new(namespace);
        let old = self.state().namespaces.insert(name.clone(), new.clone());
        if old.as_deref() != Some(&*new) {
            self.dirty_one(&name);
            self.tell();
        }
    }

    pub(crate) fn remove_namespace(&self, name: &str) {
        if self.state().namespaces.remove(name).is_some() {
            self.dirty_one(name);
            self.tell();
        }
    }

    pub(crate) fn replace_namespaces(&self, namespaces: Vec<Namespace>) {
        let there: BTreeSet<&str> = namespaces.iter().map(|it| it.name.as_str()).collect();
        let known = self.namespaces().into_iter();
        let gone: Vec<_> = known
            .filter(|it| !there.contains(it.name.as_str()))
            .collect();
        for namespace in gone {
            self.remove_namespace(&namespace.name);
        }
        for namespace in namespaces {
            self.put_namespace(namespace);
        }
    }

    pub(crate) fn put_published(&self, published: Published) {
        let uid = published.uid().to_owned();
        let new = Arc::new(published);
        let old = self.state().published.insert(uid, new.clone());
        if old.is_none_or(|old| old.digest() != new.digest()) {
            self.tell();
        }
    }

    pub(crate) fn remove_published(&self, digest: BundleDigest) {
        let mut state = self.state();
        state
            .published
            .retain(|_, published| published.digest() != digest);
    }

    pub(crate) fn replace_published(&self, all: Vec<Published>) {
        let all: BTreeMap<String, Arc<Published>> = all
            .into_iter()
            .map(|published| (published.uid().to_owned(), Arc::new(published)))
            .collect();
        self.state().published = all;
        self.tell();
    }

    /// Nothing counts as listed any more until it is listed anew; what was seen last stays.
    pub(crate) fn unlist(&self) {
        self.listed.send_replace(0);
    }

    pub(crate) fn count_listed(&self) {
        self.listed.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
