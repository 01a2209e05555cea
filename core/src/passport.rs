//! Passports: who a workload is and what it may do.

pub mod jws;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capability::{Capability, CapabilityPattern, Glob};
use crate::limits::Limit;
use crate::policy::ApprovalSpec;

/// One Passport as it stands in a bundle. The signed token names it; scope and limits are here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passport {
    /// Name of the Passport resource.
    pub name: String,
    /// Name of the agent in evidence.
    pub agent_id: String,
    /// Who answers for it. May not vote on its approvals.
    pub owner: String,
    /// Why it exists.
    pub purpose: String,
    /// What it may ask for.
    pub scope: Vec<ScopeEntry>,
    /// How much.
    pub limits: Vec<Limit>,
    /// Who is asked where a rule or an irreversible action does not say.
    pub default_approval: Option<ApprovalSpec>,
    /// Life of one issued token, in seconds, 60 to 3600.
    pub ttl_seconds: u32,
    /// How long reads go on while the ledger does not answer, in seconds, 0 to 300.
    pub reads_without_ledger_seconds: u32,
    /// Everything is denied while set.
    pub suspended: bool,
    /// Everything is denied from then on.
    #[serde(with = "crate::canonical::serde_instant_opt")]
    pub not_after: Option<Timestamp>,
}

/// Name of the passport of pods that have none. No resource can be called so.
pub const ABSENT: &str = "no_passport";

impl Passport {
    /// What a bundle under audit has for pods without a Passport: nothing is in its scope, so that all they do is recorded as
    /// what would have been denied.
    pub fn absent() -> Self {
        Self {
            name: ABSENT.to_owned(),
            agent_id: ABSENT.to_owned(),
            owner: String::new(),
            purpose: String::new(),
            scope: Vec::new(),
            limits: Vec::new(),
            default_approval: None,
            ttl_seconds: 900,
            reads_without_ledger_seconds: 0,
            suspended: false,
            not_after: None,
        }
    }

    /// Whether it stands for having none.
    pub fn is_absent(&self) -> bool {
        self.name == ABSENT
    }

    /// Whether an agent of this name acts under it. Of those that have none each has a name of its own.
    pub fn is_of(&self, agent: &str) -> bool {
        self.agent_id == agent || self.is_absent()
    }

    /// Whether the scope covers the capability on that resource, and if not, which half is missing.
    pub fn covers(&self, capability: &Capability, resource: Option<&str>) -> Coverage {
        let mut coverage = Coverage::NoCapability;
        for entry in self
            .scope
            .iter()
            .filter(|entry| entry.capability.matches(capability))
        {
            if entry.covers_resource(resource) {
                return Coverage::Covered;
            }
            coverage = Coverage::OtherResource;
        }
        coverage
    }
}

/// What a scope says of one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// In scope.
    Covered,
    /// The capability is in scope, its resource is not.
    OtherResource,
    /// The capability is not in scope.
    NoCapability,
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeEntry {
    /// Capabilities covered.
    pub capability: CapabilityPattern,
    /// Resources covered; absent: any, also none.
    pub resources: Option<Vec<Glob>>,
}

impl ScopeEntry {
    fn covers_resource(&self, resource: Option<&str>) -> bool {
        match (&self.resources, resource) {
            (None, _) => true,
            (Some(patterns), Some(resource)) => {
                patterns.iter().any(|pattern| pattern.matches(resource))
            }
            (Some(_), None) => false,
        }
    }
}
