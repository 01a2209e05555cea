//! The bundle accepted last, less what was taken away since.
//!
//! A mistake in one resource keeps the whole namespace's bundle, which is right for whatever would be new. It must not keep
//! what ends something: a Passport that was suspended, dated or deleted, an Upstream that is gone or no longer shared, a
//! new guard of the cluster. Of these only that is taken over; nothing here adds a permission.

use actpass_core::bundle::{Bundle, BundleSpec};
use actpass_core::policy::{Policy, PolicyScope};
use actpass_crds::bundle::{self, Options};
use actpass_crds::passport::PassportSpec;
use actpass_crds::read::Located;
use actpass_crds::resource::{Kind, Resource};

use crate::object::Object;

/// `held` with what `objects`, all that count in its namespace, take away. `None` where that is no bundle, not even with
/// everything suspended.
pub(super) fn tightened(held: &BundleSpec, objects: &[&Object]) -> Option<Bundle> {
    let mut spec = held.clone();
    passports(&mut spec, objects);
    let kept = spec.clone();
    spec.upstreams.retain(|upstream| {
        objects
            .iter()
            .any(|it| is(it, Kind::Upstream, &upstream.name))
    });
    guards(&mut spec, objects);
    // A condition may have rested on an attribute of an Upstream that is gone: then nothing is permitted.
    Bundle::new(spec).ok().or_else(|| {
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

/// Takes over each guard of the cluster that compiles by itself; of one that does not, the one held stays.
fn guards(spec: &mut BundleSpec, objects: &[&Object]) {
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
        take_over(spec, policy);
    }
}

fn take_over(spec: &mut BundleSpec, policy: Policy) {
    let mut with = spec.clone();
    (with.policies).retain(|it| it.scope != PolicyScope::Cluster || it.name != policy.name);
    with.policies.push(policy);
    (with.policies).sort_by(|a, b| (a.scope as u8, &a.name).cmp(&(b.scope as u8, &b.name)));
    // Its condition may not fit the Upstreams held.
    if Bundle::new(with.clone()).is_ok() {
        *spec = with;
    }
}
