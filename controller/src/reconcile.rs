//! What the leader writes: bundles to the ledger and for the sessions, and what stands in namespaces.
//!
//! *Flow*: a change marks namespaces; after a short rest each is compiled, its bundle is given to the ledger, then published
//! for the sessions of all replicas, then its NetworkPolicy, its copy of the trust and the status of its resources are
//! brought in line. What fails is tried again.
//!
//! *Guarantees*: no session gets a bundle that the ledger does not have. Every step may be done again.

mod writing;

pub(crate) use writing::apply;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::leaf::Revision;
use actpass_core::hash::BundleDigest;
use actpass_crds::passport::PassportSpec;
use actpass_crds::resource::{Kind, Resource};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bundle::{Compiled, Place, compile};
use crate::events::{Events, Regarding};
use crate::http::CallError;
use crate::ledger::{Ledger, STALE_REVISION};
use crate::metrics::Metrics;
use crate::network_policies::NetworkSettings;
use crate::object::{Namespace, Object};
use crate::session::admit::not_after;
use crate::status::{self, Outcome};
use crate::trust::Trust;
use crate::world::{Dirty, Published, World};

/// How long a change waits for others that come with it, as of `kubectl apply` of a directory.
const REST: Duration = Duration::from_millis(50);

/// Namespaces at a time: each waits mostly for the API server and the ledger.
const AT_A_TIME: usize = 16;

/// After how long everything is looked at again, also what people changed or deleted of ours.
const AGAIN: Duration = Duration::from_secs(300);

/// How often it is looked for Passports whose end has come.
const ENDS: Duration = Duration::from_secs(30);

/// First and longest rest after something failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the leader works with.
pub struct Leader {
    /// Of the API server.
    pub client: Client,
    /// What it says.
    pub world: Arc<World>,
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// Id of the cluster.
    pub cluster: String,
    /// The install namespace.
    pub install: String,
    /// What NetworkPolicies allow besides.
    pub network: NetworkSettings,
    /// What the parts believe of each other.
    pub trust: watch::Receiver<Trust>,
    /// What happened is counted here.
    pub metrics: Arc<Metrics>,
    /// And told here.
    pub events: Events,
    /// Greater than those of all leaders before.
    pub term: u64,
    /// What this leader did so far.
    pub done: Done,
}

/// What a leader did, so that it does it once.
#[derive(Debug, Default)]
pub struct Done {
    /// How many bundles were given to the ledger; the rest may be forgotten, this never.
    given: AtomicU64,
    state: Mutex<DoneState>,
}

#[derive(Debug, Default)]
struct DoneState {
    /// Bundles that the ledger has, by uid of the namespace.
    bundles: BTreeMap<String, BundleDigest>,
    /// What was published, by uid of the namespace: what is watched may lag behind it, and an older bundle must not be held.
    published: BTreeMap<String, Arc<Published>>,
    /// What became of each namespace.
    outcomes: BTreeMap<String, Outcome>,
    /// What was written into each namespace.
    written: BTreeMap<String, String>,
}

impl Done {
    fn state(&self) -> MutexGuard<'_, DoneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders what is given to the ledger. Never begins anew: a request may have been late.
    fn next(&self) -> u64 {
        let before = self.given.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1)
    }

    fn forget(&self, uid: &str) {
        let mut state = self.state();
        state.bundles.remove(uid);
        state.published.remove(uid);
    }
}

/// What is said of a namespace's resources.
pub fn outcome(compiled: &Compiled, enrolled: bool, ledger: Option<String>) -> Outcome {
    let errors = compiled.said.iter().flat_map(|(id, problems)| {
        let errors = problems.iter().filter(|problem| problem.is_error());
        errors.map(|problem| (id.clone(), problem.clone()))
    });
    Outcome {
        enrolled,
        accepted: compiled.accepted,
        in_force: compiled.accepted && ledger.is_none(),
        errors: errors.collect(),
        shadowed: compiled.shadowed.iter().cloned().collect(),
        ledger,
        absent: compiled.absent.clone(),
        whole: compiled.whole.clone(),
    }
}

impl Leader {
    /// Writes until it is dropped.
    pub async fn run(&self) {
        self.world.listed().await;
        self.world.dirty_all();
        let mut trust = self.trust.clone();
        let mut failed = BTreeSet::new();
        let (mut retry, mut retry_at) = (RETRY.0, Instant::now());
        let mut again = tokio::time::interval(AGAIN);
        again.tick().await;
        let mut ends = tokio::time::interval(ENDS);
        loop {
            let dirty = tokio::select! {
                dirty = self.world.dirty() => dirty,
                () = tokio::time::sleep_until(retry_at), if !failed.is_empty() => Dirty::default(),
                _ = trust.changed() => all(),
                _ = again.tick() => {
                    // Also what the ledger lost and what was deleted of ours.
                    *self.done.state() = DoneState::default();
                    all()
                }
                _ = ends.tick() => self.ended(),
            };
            // What fails is tried again with whatever comes first, so that an edit that mends it is taken at once.
            let mut names = std::mem::take(&mut failed);
            names.extend(self.names(dirty));
            if names.is_empty() {
                continue;
            }
            tokio::time::sleep(REST).await;
            failed = self.look_at(names).await;
            retry = match failed.is_empty() {
                true => RETRY.0,
                false => (retry * 2).min(RETRY.1),
            };
            retry_at = Instant::now() + retry;
        }
    }

    /// Brings these namespaces in line; those where that failed.
    async fn look_at(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let objects = self.world.objects();
        let looked = stream::iter(names).map(|name| {
            let objects = &objects;
            async move {
                let begun = Instant::now();
                let done = self.namespace(&name, objects).await;
                self.metrics.reconciled(begun.elapsed(), done.is_err());
                match done {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::warn!(namespace = name, error = %chain(&error), "Namespace not brought in line; trying again");
                        Some(name)
                    }
                }
            }
        });
        let looked = looked.buffer_unordered(AT_A_TIME);
        let failed: BTreeSet<String> = looked.filter_map(std::future::ready).collect().await;
        if let Err(error) = self.everywhere(&objects).await {
            tracing::warn!(error = %chain(&error), "Status not written");
        }
        failed
    }

    fn names(&self, dirty: Dirty) -> BTreeSet<String> {
        let Dirty { all, mut names } = dirty;
        if all {
            let state = self.done.state();
            names.extend(state.outcomes.keys().cloned());
            drop(state);
            let namespaces = self.world.namespaces().into_iter();
            names.extend(namespaces.map(|namespace| namespace.name.clone()));
            let objects = self.world.objects().into_iter();
            names.extend(objects.filter_map(|object| object.id.namespace.clone()));
            names.extend(self.world.published_namespaces());
        }
        names
    }

    /// Namespaces of Passports whose end has come since it was looked for.
    fn ended(&self) -> Dirty {
        let now = Timestamp::now();
        let since = jiff::SignedDuration::try_from(ENDS * 2).unwrap_or_default();
        let objects = self.world.objects().into_iter();
        let ended = objects.filter(|object| match &object.resource {
            Ok(Resource::Passport(_, spec)) => {
                let end = not_after(spec).flatten();
                end.is_some_and(|end| end <= now && now.duration_since(end) < since)
            }
            _ => false,
        });
        Dirty {
            all: false,
            names: ended
                .filter_map(|object| object.id.namespace.clone())
                .collect(),
        }
    }

    async fn namespace(&self, name: &str, objects: &[Arc<Object>]) -> anyhow::Result<()> {
        let governed = self.world.namespace(name);
        let enrolled = governed.is_some();
        let namespace = governed.unwrap_or_else(|| {
            Arc::new(Namespace {
                name: name.to_owned(),
                ..Namespace::default()
            })
        });
        let place = Place {
            cluster: &self.cluster,
            install: &self.install,
            namespace: &namespace,
        };
        let objects: Vec<&Object> = objects
            .iter()
            .map(|it| &**it)
            .filter(|it| place.has(it))
            .collect();
        let published = self.published(&namespace);
        let begun = Instant::now();
        let held = published.as_ref().map(|published| published.bundle.spec());
        let compiled = compile(place, objects.iter().copied(), held);
        self.metrics.compiled(begun.elapsed());
        self.take_back(&namespace).await?;
        if !enrolled {
            let mut result = outcome(&compiled, false, None);
            result.in_force = false;
            self.leave(name).await?;
            return self.statuses(name, &objects, result, None).await;
        }
        let given = match &compiled.bundle {
            Some(bundle) => {
                self.give(name, &namespace.uid, bundle, published.as_deref())
                    .await
            }
            None => Ok(()),
        };
        // It is not this replica's to say what became of them.
        let given = match given {
            Err(error) if is_stale(&error) => return Err(error),
            given => given,
        };
        let ledger = given.as_ref().err().map(chain);
        let in_force = match &ledger {
            None => compiled.bundle.as_ref(),
            Some(_) => published.as_ref().map(|published| &published.bundle),
        };
        let outcome = outcome(&compiled, true, ledger);
        // The fence first: a status that cannot be written keeps no namespace from it.
        if !namespace.ends {
            self.write_into(place, &objects).await?;
        }
        self.statuses(name, &objects, outcome, in_force).await?;
        given
    }

    /// The bundle published last.
    fn published(&self, namespace: &Namespace) -> Option<Arc<Published>> {
        let ours = self.done.state().published.get(&namespace.uid).cloned();
        ours.or_else(|| self.world.published(namespace))
    }

    /// Gives a bundle to the ledger, and then to all sessions.
    async fn give(
        &self,
        name: &str,
        uid: &str,
        bundle: &Bundle,
        published: Option<&Published>,
    ) -> anyhow::Result<()> {
        let digest = bundle.digest();
        let has = self.done.state().bundles.get(uid) == Some(&digest);
        if !has {
            let revision = Revision {
                term: self.term,
                count: self.done.next(),
            };
            self.ledger.put_bundle(bundle, revision).await?;
            self.done.state().bundles.insert(uid.to_owned(), digest);
        }
        let is_published = published.is_some_and(|published| published.digest() == digest);
        if !is_published {
            let published = self.publish(uid, bundle).await?;
            let mut state = self.done.state();
            state.published.insert(uid.to_owned(), Arc::new(published));
            drop(state);
            tracing::info!(namespace = name, %digest, "Bundle in force");
        }
        Ok(())
    }

    /// Writes the status of the namespace's own resources.
    async fn statuses(
        &self,
        name: &str,
        objects: &[&Object],
        outcome: Outcome,
        in_force: Option<&Bundle>,
    ) -> anyhow::Result<()> {
        let passports: Vec<&PassportSpec> = objects
            .iter()
            .filter_map(|object| match &object.resource {
                Ok(Resource::Passport(_, spec)) => Some(spec),
                _ => None,
            })
            .collect();
        let now = Timestamp::now();
        let own = objects.iter().filter(|object| {
            let its = object.id.namespace.as_deref() == Some(name);
            its && !self.is_everywhere(object)
        });
        let running = self.world.running(name);
        let around = status::Around {
            bundle: in_force,
            passports: &passports,
            running: running.as_ref(),
        };
        for object in own {
            let status = status::of(object, &outcome, around, now);
            self.status(object, status).await?;
        }
        self.done.state().outcomes.insert(name.to_owned(), outcome);
        Ok(())
    }

    /// Whether what becomes of it is told for many namespaces together.
    fn is_everywhere(&self, object: &Object) -> bool {
        let is_install = object.id.namespace.as_deref() == Some(self.install.as_str());
        match object.id.kind {
            Kind::ClusterActionPolicy => true,
            Kind::Upstream => is_install,
            Kind::Passport | Kind::ActionPolicy => false,
        }
    }

    /// Writes the status of shared Upstreams and of guards of the cluster.
    async fn everywhere(&self, objects: &[Arc<Object>]) -> anyhow::Result<()> {
        let outcomes = self.done.state().outcomes.clone();
        let nothing = Outcome::default();
        let alone = outcomes.get(&self.install).unwrap_or(&nothing);
        let namespaces = self.world.namespaces();
        let now = Timestamp::now();
        for object in objects.iter().filter(|object| self.is_everywhere(object)) {
            let counts = namespaces.iter().filter(|namespace| {
                let place = Place {
                    cluster: &self.cluster,
                    install: &self.install,
                    namespace,
                };
                place.has(object)
            });
            let of = counts.filter_map(|it| Some((it.name.as_str(), outcomes.get(&it.name)?)));
            let of: Vec<(&str, &Outcome)> = of.collect();
            let outcome = status::of_many(&object.id, alone, &of);
            let status = status::of(object, &outcome, status::Around::default(), now);
            let status = status.map(|mut status| {
                if object.id.kind == Kind::Upstream
                    && let Some(status) = status.as_object_mut()
                {
                    status.insert("namespaces".to_owned(), of.len().into());
                }
                status
            });
            self.status(object, status).await?;
        }
        Ok(())
    }

    /// Tells people of a mistake that was not told before.
    fn tell(&self, object: &Object, status: &serde_json::Value) {
        for kind in ["Accepted", "Ready"] {
            let now = condition(status, kind);
            if now == condition(&object.status, kind) {
                continue;
            }
            let Some((reason, message)) = now else {
                continue;
            };
            let event = match reason.as_str() {
                "Rejected" | "Shadowed" => "BundleRefused",
                "Conflicted" => "PassportConflicted",
                _ => continue,
            };
            tracing::info!(resource = %object.id, reason, message, "Resource not accepted");
            self.events.warn(Regarding::object(object), event, &message);
        }
    }
}

/// Reason and message of a condition.
fn condition(status: &serde_json::Value, kind: &str) -> Option<(String, String)> {
    let conditions = status.get("conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|it| it.get("type").is_some_and(|it| it == kind))?;
    let text = |key| found.get(key).and_then(serde_json::Value::as_str);
    Some((text("reason")?.to_owned(), text("message")?.to_owned()))
}

fn all() -> Dirty {
    Dirty {
        all: true,
        names: BTreeSet::new(),
    }
}

/// Whether the ledger was given a later bundle than this.
fn is_stale(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(CallError::Refused { problem, .. }) => problem.code == STALE_REVISION,
        _ => false,
    }
}

/// An error with its causes.
fn chain(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
