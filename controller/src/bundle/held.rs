//! The bundle accepted last, less what was taken away since.
//!
//! A mistake in one resource keeps the whole namespace's bundle, which is right for whatever would be new. It must not keep
//! what ends something: a Passport that was suspended, dated, narrowed or deleted, an Upstream or an action of it that is gone
//! or no longer shared, a deleted ActionPolicy, a new guard of the cluster. Of these only that is taken over; nothing here
//! adds a permission. What counts only with the next bundle that is whole: other limits, and changes within a policy.

use actpass_core::bundle::{Bundle, BundleSpec};
use actpass_core::capability::{CapabilityPattern, Glob};
use actpass_core::passport::ScopeEntry;
use actpass_core::policy::{Policy, PolicyScope, RuleDecision};
use actpass_core::upstream::Upstream;
use actpass_crds::bundle::{self, Options};
use actpass_crds::passport::{self as written, PassportSpec};
use actpass_crds::read::Located;
use actpass_crds::resource::{Kind, Resource};

use crate::object::Object;

/// `held` with what `objects`, all that count in its namespace, take away. `None` where that is no bundle, not even with
/// everything suspended.
pub(super) fn tightened(held: &BundleSpec, objects: &[&Object]) -> Option<Bundle> {
    let mut spec = held.clone();
    passports(&mut spec, objects);
    let kept = spec.clone();
    spec.upstreams
        .retain_mut(|upstream| actions(upstream, objects));
    policies(&mut spec, objects);
    let guarded = guards(&mut spec, objects);
    // A condition may have rested on an attribute of an Upstream that is gone or, in a guard, is not there yet: then nothing
    // is permitted.
    let bundle = guarded.then(|| Bundle::new(spec).ok()).flatten();
    bundle.or_else(|| {
        let mut nothing = kept;
        for passport in &mut nothing.passports {
            passport.suspended = true;
        }
        Bundle::new(nothing).ok()
    })
}

fn is(object: &Object, kind: Kind, name: &str) -> bool {
    object.id.kind == kind && object.id.name == name
}

/// Takes away the actions that an Upstream no longer declares; whether it is there.
fn actions(upstream: &mut Upstream, objects: &[&Object]) -> bool {
    let mut found = objects
        .iter()
        .filter(|it| is(it, Kind::Upstream, &upstream.name));
    let Some(object) = found.next() else {
        return false;
    };
    if let Ok(Resource::Upstream(metadata, now)) = &object.resource {
        let declared: Vec<String> = now
            .actions
            .iter()
            .map(|action| format!("{}.{}", metadata.name, action.name))
            .collect();
        upstream
            .actions
            .retain(|action| declared.iter().any(|it| it == action.capability.as_str()));
    }
    true
}

/// Of an ActionPolicy that was deleted only what restrains is left.
fn policies(spec: &mut BundleSpec, objects: &[&Object]) {
    for policy in &mut spec.policies {
        let there = objects
            .iter()
            .any(|it| is(it, Kind::ActionPolicy, &policy.name));
        if policy.scope == PolicyScope::Namespace && !there {
            policy
                .rules
                .retain(|rule| rule.decision != RuleDecision::Allow);
        }
    }
}

/// What of a scope is also in the one that is written now.
fn narrowed(held: &mut Vec<ScopeEntry>, now: &[written::ScopeEntry]) {
    held.retain_mut(|held| {
        let covers = |pattern: &str| {
            let exact = held.capability.as_exact();
            let within = pattern.parse::<CapabilityPattern>().ok().zip(exact);
            pattern == held.capability.as_str()
                || within.is_some_and(|(pattern, exact)| pattern.matches(&exact))
        };
        let Some(entry) = now.iter().find(|entry| covers(&entry.capability)) else {
            return false;
        };
        match (&mut held.resources, &entry.resources) {
            (_, None) => true,
            (Some(held), Some(now)) => {
                held.retain(|glob| now.iter().any(|it| it == glob.as_str()));
                !held.is_empty()
            }
            (all @ None, Some(now)) => {
                let globs: Result<Vec<Glob>, _> = now.iter().map(|it| it.parse()).collect();
                *all = globs.ok();
                all.is_some()
            }
        }
    });
}

fn passports(spec: &mut BundleSpec, objects: &[&Object]) {
    spec.passports.retain_mut(|passport| {
        let found = objects
            .iter()
            .find(|object| is(object, Kind::Passport, &passport.name));
        let Some(found) = found else { return false };
        let Ok(Resource::Passport(_, now)) = &found.resource else {
            // Whether it is suspended cannot be told.
            passport.suspended = true;
            return true;
        };
        passport.suspended |= now.suspended || claimed_twice(now, objects);
        narrowed(&mut passport.scope, &now.scope);
        let end = now.not_after.as_ref().map(|text| text.parse());
        match end {
            Some(Ok(end)) => {
                passport.not_after = Some(passport.not_after.map_or(end, |held| held.min(end)));
            }
            Some(Err(_)) => passport.suspended = true,
            None => {}
        }
        true
    });
}

/// Whether another Passport is for the same ServiceAccount: then both deny.
fn claimed_twice(passport: &PassportSpec, objects: &[&Object]) -> bool {
    let same = objects.iter().filter(|object| match &object.resource {
        Ok(Resource::Passport(_, other)) => {
            passport.subject.is_some() && other.subject == passport.subject
        }
        _ => false,
    });
    same.count() > 1
}

/// Takes over each guard of the cluster that compiles by itself; of one that does not, the one held stays. Whether all of them
/// fit what is held.
fn guards(spec: &mut BundleSpec, objects: &[&Object]) -> bool {
    let mut fit = true;
    let passports = objects.iter().filter_map(|object| match &object.resource {
        Ok(Resource::Passport(metadata, passport)) => {
            let bare = PassportSpec {
                scope: Vec::new(),
                limits: Vec::new(),
                not_after: None,
                ..passport.clone()
            };
            Some(Located::new(
                Resource::Passport(metadata.clone(), bare),
                "Passport",
            ))
        }
        _ => None,
    });
    // Only for their names and labels.
    let passports: Vec<Located> = passports.collect();
    for object in objects {
        let Ok(guard @ Resource::ClusterActionPolicy(..)) = &object.resource else {
            continue;
        };
        let mut alone = passports.clone();
        alone.push(Located::new(guard.clone(), object.id.to_string()));
        let options = Options {
            tenant: spec.tenant.clone(),
            environment: spec.environment.clone(),
        };
        let compiled = bundle::compile(&alone, &options).ok();
        let Some(policy) = compiled.and_then(|it| it.policies.into_iter().next()) else {
            continue;
        };
        fit &= take_over(spec, policy);
    }
    fit
}

fn take_over(spec: &mut BundleSpec, policy: Policy) -> bool {
    let mut with = spec.clone();
    (with.policies).retain(|it| it.scope != PolicyScope::Cluster || it.name != policy.name);
    with.policies.push(policy);
    (with.policies).sort_by(|a, b| (a.scope as u8, &a.name).cmp(&(b.scope as u8, &b.name)));
    // Its condition may not fit the Upstreams held.
    let fits = Bundle::new(with.clone()).is_ok();
    if fits {
        *spec = with;
    }
    fits
}
