//! Bundles: everything one namespace's decisions rest on, named by its SHA-256.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::capability::Capability;
use crate::hash::{BundleDigest, sha256};
use crate::host::HostName;
use crate::mode::Mode;
use crate::passport::Passport;
use crate::policy::{Policy, PolicyScope};
use crate::upstream::{ActionSpec, Upstream};
use crate::when::{Condition, WhenError};

/// Version of the form below.
pub const BUNDLE_VERSION: &str = "actpass.bundle/1";

/// Most bytes of a bundle: 1,000 rules of 600 bytes and 100 upstreams of 4 KiB fit.
pub const BUNDLE_BYTES_MAX: usize = 1 << 20;

/// What a bundle says, as data. Its canonical JSON is what is named, stored and sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleSpec {
    /// [`BUNDLE_VERSION`].
    pub v: String,
    /// Tenant it belongs to: `<cluster-id>/<namespace>/<namespace-uid>`.
    pub tenant: String,
    /// Label `actpass.org/environment` of the namespace.
    pub environment: Option<String>,
    /// Whether what is decided holds. Left out where it does, so that a bundle from before modes keeps its digest.
    #[serde(skip_serializing_if = "Mode::is_enforce", default)]
    pub mode: Mode,
    /// All passports of the namespace, by name.
    pub passports: Vec<Passport>,
    /// All upstreams it may use, by name.
    pub upstreams: Vec<Upstream>,
    /// All policies that apply, cluster ones included.
    pub policies: Vec<Policy>,
}

/// A bundle ready to decide with: parsed, indexed, its conditions compiled.
#[derive(Debug)]
pub struct Bundle {
    spec: BundleSpec,
    digest: BundleDigest,
    bytes: Vec<u8>,
    conditions: BTreeMap<(usize, usize), Condition>,
    actions: BTreeMap<Capability, (usize, usize)>,
}

/// A bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Over [`BUNDLE_BYTES_MAX`].
    #[error("the bundle has {0} bytes, at most {BUNDLE_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Not the canonical form.
    #[error("the bundle is not canonical JSON")]
    Canonical(#[source] canonical::CanonicalError),
    /// Not the bundle form.
    #[error("the bundle does not have the form {BUNDLE_VERSION}")]
    Form(#[source] serde_json::Error),
    /// Another version.
    #[error("the bundle has version `{0}`, this build reads {BUNDLE_VERSION}")]
    Version(String),
    /// Two things of one name: which of them is meant cannot be told.
    #[error("the bundle has two {what} named `{name}`")]
    Twice {
        /// Kind of thing, in the plural.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A condition that does not check.
    #[error("rule `{policy}/{rule}`: `when` is wrong")]
    When {
        /// Policy.
        policy: String,
        /// Rule.
        rule: String,
        /// What is wrong.
        #[source]
        source: WhenError,
    },
}

impl Bundle {
    /// Compiles a bundle.
    ///
    /// # Errors
    /// Where a condition does not check, or the canonical form is too large.
    pub fn new(spec: BundleSpec) -> Result<Self, BundleError> {
        let bytes = canonical::to_vec(&spec).map_err(BundleError::Canonical)?;
        Self::build(spec, bytes)
    }

    /// Reads a bundle from its canonical bytes, as stored and sent.
    ///
    /// # Errors
    /// Where the bytes are too many, not canonical, or not a bundle this build reads.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(bytes.len()));
        }
        let value = canonical::parse_canonical(bytes).map_err(BundleError::Canonical)?;
        let spec = serde_json::from_value(value).map_err(BundleError::Form)?;
        Self::build(spec, bytes.to_vec())
    }

    fn build(spec: BundleSpec, bytes: Vec<u8>) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(bytes.len()));
        }
        if spec.v != BUNDLE_VERSION {
            return Err(BundleError::Version(spec.v));
        }
        check_names(&spec)?;
        let mut actions = BTreeMap::new();
        for (u, upstream) in spec.upstreams.iter().enumerate() {
            for (a, action) in upstream.actions.iter().enumerate() {
                actions.insert(action.capability.clone(), (u, a));
            }
        }
        let mut conditions = BTreeMap::new();
        for (p, policy) in spec.policies.iter().enumerate() {
            for (r, rule) in policy.rules.iter().enumerate() {
                let Some(text) = &rule.when else { continue };
                let condition =
                    Condition::compile(text, rule, &spec.upstreams).map_err(|source| {
                        BundleError::When {
                            policy: policy.name.clone(),
                            rule: rule.name.clone(),
                            source,
                        }
                    })?;
                conditions.insert((p, r), condition);
            }
        }
        let digest = BundleDigest::from_bytes(sha256(&[&bytes]));
        Ok(Self {
            spec,
            digest,
            bytes,
            conditions,
            actions,
        })
    }

    /// What it says.
    pub fn spec(&self) -> &BundleSpec {
        &self.spec
    }

    /// SHA-256 of its canonical bytes.
    pub fn digest(&self) -> BundleDigest {
        self.digest
    }

    /// Its canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The passport of that name.
    pub fn passport(&self, name: &str) -> Option<&Passport> {
        self.spec
            .passports
            .iter()
            .find(|passport| passport.name == name)
    }

    /// The upstream that serves this name and port.
    pub fn upstream_at(&self, host: &HostName, port: u16) -> Option<&Upstream> {
        self.spec
            .upstreams
            .iter()
            .find(|upstream| upstream.serves(host, port))
    }

    /// The upstream of that name.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.spec
            .upstreams
            .iter()
            .find(|upstream| upstream.name == name)
    }

    /// The action that has this capability, with its upstream.
    pub fn action(&self, capability: &Capability) -> Option<(&Upstream, &ActionSpec)> {
        let (u, a) = self.actions.get(capability)?;
        let upstream = self.spec.upstreams.get(*u)?;
        Some((upstream, upstream.actions.get(*a)?))
    }

    /// The compiled condition of a rule, by its indexes in [`BundleSpec::policies`].
    pub(crate) fn condition(&self, policy: usize, rule: usize) -> Option<&Condition> {
        self.conditions.get(&(policy, rule))
    }
}

/// A name decides which passport's limits, which action's effect and which rule's text count, so each stands once. A
/// policy of the cluster and one of the namespace may share theirs.
fn check_names(spec: &BundleSpec) -> Result<(), BundleError> {
    once("passports", spec.passports.iter().map(|it| &it.name))?;
    once("upstreams", spec.upstreams.iter().map(|it| &it.name))?;
    let actions = spec.upstreams.iter().flat_map(|it| &it.actions);
    once("actions", actions.map(|it| &it.capability))?;
    for scope in [PolicyScope::Namespace, PolicyScope::Cluster] {
        let policies = spec.policies.iter().filter(|it| it.scope == scope);
        once("policies", policies.map(|it| &it.name))?;
    }
    let mut policies = spec.policies.iter();
    policies.try_for_each(|policy| {
        once(
            "rules of one policy",
            policy.rules.iter().map(|it| &it.name),
        )
    })
}

fn once<T: Ord + ToString>(
    what: &'static str,
    names: impl Iterator<Item = T>,
) -> Result<(), BundleError> {
    let mut seen = BTreeSet::new();
    for name in names {
        let text = name.to_string();
        if !seen.insert(name) {
            return Err(BundleError::Twice { what, name: text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
