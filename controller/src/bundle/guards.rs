//! Guards of the cluster in one namespace.
//!
//! A guard that names an action of an Upstream counts where that Upstream is, and is no mistake elsewhere: there the rule could
//! never match, so it is left out. A name that is nowhere is told by the guard's status.

use std::collections::BTreeSet;

use actpass_core::capability::CapabilityPattern;
use actpass_crds::action_policy::ClusterActionPolicySpec;
use actpass_crds::resource::Resource;

use crate::object::Object;

/// The capabilities that Upstreams among these declare; `None` where one is not understood.
pub(super) fn declared(objects: &[&Object]) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for object in objects {
        match &object.resource {
            Ok(Resource::Upstream(metadata, spec)) => {
                let names = spec.actions.iter().map(|action| &action.name);
                found.extend(names.map(|name| format!("{}.{name}", metadata.name)));
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// The guard without what can never match, and the names that it loses; without any rule left it says nothing here.
pub(super) fn fitting(
    guard: &ClusterActionPolicySpec,
    declared: &BTreeSet<String>,
) -> (Option<ClusterActionPolicySpec>, BTreeSet<String>) {
    let mut absent = BTreeSet::new();
    let mut fits = guard.clone();
    fits.rules.retain_mut(|rule| {
        rule.capabilities.retain(|text| {
            let pattern = text.parse::<CapabilityPattern>();
            let known = declared.contains(text) || !pattern.is_ok_and(|it| it.is_exact());
            if !known {
                absent.insert(text.clone());
            }
            known
        });
        !rule.capabilities.is_empty()
    });
    (Some(fits).filter(|it| !it.rules.is_empty()), absent)
}
