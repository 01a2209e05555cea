//! From the resources of one namespace to the bundle that its sidecars and the ledger decide by.
//!
//! *Flow*: what belongs to the namespace is picked out, and goes through [`actpass_crds::check`], as files do. Where that
//! finds a mistake, the bundle accepted last stays in force, less what was taken away since ([`held`]).
//!
//! *Guarantees*: the same resources give the same bytes, in any order. A mistake never loosens anything: it can keep a
//! change from coming into force, but no suspension, no deletion and no guard of the cluster.

mod guards;
mod held;

use std::collections::{BTreeMap, BTreeSet};

use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::host::HostPattern;
use actpass_core::mode::Mode;
use actpass_core::passport::Passport;
use actpass_crds::bundle::Options;
use actpass_crds::check::check;
use actpass_crds::problem::{Problem, Severity};
use actpass_crds::read::{Located, Manifests};
use actpass_crds::resource::{Kind, Resource};
use actpass_crds::upstream::UpstreamSpec;
use actpass_kubernetes::names::{ENVIRONMENT_LABEL, MODE_LABEL};

use crate::object::{Id, Namespace, Object};

/// Where a bundle is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Id of the cluster.
    pub cluster: &'a str,
    /// Name of the install namespace, whose Upstreams may be shared.
    pub install: &'a str,
    /// The namespace.
    pub namespace: &'a Namespace,
}

/// What became of a namespace's resources.
#[derive(Debug)]
pub struct Compiled {
    /// What is to be in force; `None` where nothing was ever accepted.
    pub bundle: Option<Bundle>,
    /// Whether that is everything as it is written.
    pub accepted: bool,
    /// What is wrong, or probably not meant, by resource.
    pub said: BTreeMap<Id, Vec<Problem>>,
    /// Upstreams that claim a name or host of a shared one.
    pub shadowed: BTreeSet<Id>,
    /// Actions that a guard of the cluster names and no Upstream here declares.
    pub absent: BTreeMap<Id, BTreeSet<String>>,
    /// What is wrong and no single resource's fault.
    pub whole: Option<String>,
}

impl Place<'_> {
    /// `<cluster-id>/<namespace>/<namespace-uid>`.
    pub fn tenant(&self) -> String {
        format!(
            "{}/{}/{}",
            self.cluster, self.namespace.name, self.namespace.uid
        )
    }

    /// Whether a resource counts in this namespace.
    pub fn has(&self, object: &Object) -> bool {
        match (&object.id.namespace, object.id.kind) {
            (None, kind) => kind == Kind::ClusterActionPolicy,
            (Some(namespace), _) if *namespace == self.namespace.name => true,
            (Some(namespace), Kind::Upstream) if namespace == self.install => {
                matches!(&object.resource, Ok(Resource::Upstream(_, spec)) if self.may_use(spec))
            }
            _ => false,
        }
    }

    /// Whether an Upstream of the install namespace is shared with this one.
    fn may_use(&self, upstream: &UpstreamSpec) -> bool {
        upstream.is_shared_with(&self.namespace.labels)
    }

    fn is_shared(&self, id: &Id) -> bool {
        id.kind == Kind::Upstream && id.namespace.as_deref() != Some(&self.namespace.name)
    }
}

impl Namespace {
    /// Whether ActPass governs it.
    pub fn is_enrolled(&self) -> bool {
        self.mode().is_some()
    }

    /// Whether pods may not run in it that were there before.
    pub fn enforces(&self) -> bool {
        self.mode() == Some(Mode::Enforce)
    }

    /// Whether what is decided in it is recorded only.
    pub fn audits(&self) -> bool {
        self.mode() == Some(Mode::Audit)
    }

    /// A word that is no mode is none, and nothing of the namespace gets a session.
    fn mode(&self) -> Option<Mode> {
        self.labels.get(MODE_LABEL)?.parse().ok()
    }
}

/// Compiles the resources that count in a namespace; `held` is the bundle accepted last.
pub fn compile<'a>(
    place: Place<'_>,
    objects: impl IntoIterator<Item = &'a Object>,
    held: Option<&BundleSpec>,
) -> Compiled {
    let mut objects: Vec<&Object> = objects.into_iter().filter(|it| place.has(it)).collect();
    // Shared ones first: of two with one name, the namespace's own is the second.
    objects.sort_by_key(|object| (!place.is_shared(&object.id), &object.id));
    let mut said = BTreeMap::new();
    let shadowed = shadowed(place, &objects, &mut said);
    let declared = guards::declared(&objects);
    let mut absent = BTreeMap::new();
    let mut manifests = Manifests::default();
    for object in objects.iter().filter(|it| !shadowed.contains(&it.id)) {
        match &object.resource {
            Ok(resource) => {
                let mut resource = resource.clone();
                if let (Resource::ClusterActionPolicy(_, guard), Some(declared)) =
                    (&mut resource, &declared)
                {
                    let (fits, lost) = guards::fitting(guard, declared);
                    absent.insert(object.id.clone(), lost);
                    let Some(fits) = fits else { continue };
                    *guard = fits;
                }
                let origin = object.id.to_string();
                (manifests.resources).push(Located::new(resource, origin));
            }
            Err(why) => {
                manifests.unread.insert(object.id.kind);
                say(&mut said, &object.id, "", why.clone());
            }
        }
    }
    let options = Options {
        tenant: place.tenant(),
        environment: place.namespace.labels.get(ENVIRONMENT_LABEL).cloned(),
    };
    let mode = place.namespace.mode().unwrap_or_default();
    let (spec, problems) = match check(&manifests, &options) {
        Ok(checked) => (Some(under(mode, checked.spec)), checked.warnings),
        Err(problems) => (None, problems),
    };
    let by_origin: BTreeMap<String, &Id> = objects
        .iter()
        .map(|object| (object.id.to_string(), &object.id))
        .collect();
    for problem in problems {
        if let Some(id) = by_origin.get(&problem.file) {
            said.entry((*id).clone()).or_default().push(problem);
        }
    }
    let wrong = said.values().flatten().any(Problem::is_error);
    let (built, whole) = match spec.filter(|_| !wrong).map(Bundle::new) {
        Some(Ok(bundle)) => (Some(bundle), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    let accepted = built.is_some();
    let bundle = built.or_else(|| {
        // Under audit a mistake in the first resources is no reason to stand still what runs there.
        let nothing = (mode == Mode::Audit).then(|| BundleSpec {
            v: BUNDLE_VERSION.to_owned(),
            tenant: options.tenant.clone(),
            environment: options.environment.clone(),
            mode,
            passports: Vec::new(),
            upstreams: Vec::new(),
            policies: Vec::new(),
        });
        let held = held.filter(|held| held.tenant == options.tenant);
        let held = held.or(nothing.as_ref())?;
        let tightened = held::tightened(held, &objects)?;
        // The mode is no resource: what a cluster admin says of it counts, whatever is wrong with those.
        Bundle::new(under(mode, tightened.spec().clone())).ok()
    });
    Compiled {
        bundle,
        accepted,
        said,
        shadowed,
        absent,
        whole,
    }
}

/// A bundle under a mode. An audit's has a passport for pods that have none, since onboarding begins with these.
fn under(mode: Mode, mut spec: BundleSpec) -> BundleSpec {
    spec.mode = mode;
    spec.passports.retain(|passport| !passport.is_absent());
    if mode == Mode::Audit {
        spec.passports.push(Passport::absent());
        spec.passports.sort_by(|a, b| a.name.cmp(&b.name));
    }
    spec
}

/// Upstreams of the namespace that claim the name or a host of a shared one. A shared one is not to be replaced: what a
/// policy of the cluster says of it must hold everywhere.
fn shadowed(
    place: Place<'_>,
    objects: &[&Object],
    said: &mut BTreeMap<Id, Vec<Problem>>,
) -> BTreeSet<Id> {
    let upstreams = || {
        objects.iter().filter_map(|object| match &object.resource {
            Ok(Resource::Upstream(_, spec)) => Some((&object.id, spec)),
            _ => None,
        })
    };
    let mut found = BTreeSet::new();
    for (id, spec) in upstreams().filter(|(id, _)| !place.is_shared(id)) {
        for (shared, theirs) in upstreams().filter(|(id, _)| place.is_shared(id)) {
            let (field, what) = if shared.name == id.name {
                ("metadata.name", "the name".to_owned())
            } else if let Some(host) = common_host(spec, theirs) {
                ("spec.hosts", format!("host `{host}`"))
            } else {
                continue;
            };
            let whose = format!(
                "{what} is that of Upstream `{}`, which namespace `{}` shares; use that one, or name another",
                shared.name, place.install
            );
            say(said, id, field, whose);
            found.insert(id.clone());
        }
    }
    found
}

fn common_host<'a>(one: &'a UpstreamSpec, other: &UpstreamSpec) -> Option<&'a str> {
    if !one.ports.iter().any(|port| other.ports.contains(port)) {
        return None;
    }
    let patterns = |spec: &UpstreamSpec| -> Vec<HostPattern> {
        let hosts = spec.hosts.iter();
        hosts.filter_map(|host| host.parse().ok()).collect()
    };
    let theirs = patterns(other);
    let hosts = one.hosts.iter().map(String::as_str);
    let mut hosts = hosts.filter_map(|host| Some((host, host.parse::<HostPattern>().ok()?)));
    let found = hosts.find(|(_, host)| theirs.iter().any(|other| other.overlaps(host)));
    found.map(|(host, _)| host)
}

fn say(said: &mut BTreeMap<Id, Vec<Problem>>, id: &Id, field: &str, message: String) {
    said.entry(id.clone()).or_default().push(Problem {
        file: id.to_string(),
        line: 0,
        column: 0,
        resource: format!("{}/{}", id.kind, id.name),
        field: field.to_owned(),
        message,
        help: String::new(),
        severity: Severity::Error,
    });
}

#[cfg(test)]
mod tests;
