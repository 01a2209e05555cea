//! Whether the credentials that manifests name can be lent: stored, and bound to every place they would be sent to.

use std::collections::BTreeSet;

use actpass_core::bundle::BundleSpec;
use actpass_core::hash::sha256;
use actpass_core::host::HostPattern;
use actpass_core::upstream::{ActionSpec, CredentialUse, Effect, TlsMode, Upstream};
use actpass_ledger::vault::{CredentialInfo, Destination, Kek, Outside, Vault, VaultError};

use crate::state::StateDir;

/// One credential of one Upstream.
pub(crate) struct Lending {
    /// What is so.
    pub(crate) says: String,
    /// What to do, where it cannot be lent.
    pub(crate) remedy: Option<String>,
}

/// Each credential that an action in the scope of some Passport would be lent.
///
/// # Errors
/// Where the vault is there and cannot be opened.
pub(crate) fn lending(spec: &BundleSpec, state: &StateDir) -> Result<Vec<Lending>, VaultError> {
    let stored = stored(state)?;
    let mut found = Vec::new();
    for upstream in &spec.upstreams {
        let in_scope = |action: &&ActionSpec| {
            let mut scopes = spec.passports.iter().flat_map(|passport| &passport.scope);
            scopes.any(|entry| entry.capability.matches(&action.capability))
        };
        let actions: Vec<&ActionSpec> = upstream.actions.iter().filter(in_scope).collect();
        for wanted in &upstream.credentials {
            let effects = effects(upstream, &actions, wanted);
            if !effects.is_empty() {
                found.push(one(upstream, wanted, &effects, &stored));
            }
        }
    }
    Ok(found)
}

/// What the vault holds, read without taking it from a run that may have it.
fn stored(state: &StateDir) -> Result<Vec<CredentialInfo>, VaultError> {
    if !state.kek().exists() || !state.vault().is_dir() {
        return Ok(Vec::new());
    }
    let vault = Vault::look(&state.vault(), Kek::from_file(&state.kek())?)?;
    Ok(vault.list())
}

fn one(
    upstream: &Upstream,
    wanted: &CredentialUse,
    effects: &BTreeSet<Effect>,
    stored: &[CredentialInfo],
) -> Lending {
    let (name, of) = (&wanted.name, &upstream.name);
    let put = put_command(upstream, wanted);
    let cannot = |says: String, remedy: String| Lending {
        says,
        remedy: Some(remedy),
    };
    let Some(info) = stored.iter().find(|info| info.name == *name) else {
        let says = format!("Upstream `{of}` lends `{name}`, which is not stored");
        return cannot(says, format!("run `{put}`"));
    };
    match outside(upstream, wanted, effects, info) {
        None => Lending {
            says: format!("`{name}` is stored and bound to where Upstream `{of}` sends it"),
            remedy: None,
        },
        Some(Outside::NotIntercepted) => cannot(
            format!("Upstream `{of}` has no intercepted TLS, so `{name}` is never lent"),
            "set `tls: {mode: Intercept}`, or take the credential off the Upstream".to_owned(),
        ),
        Some(outside) => cannot(
            format!("`{name}` is not lent to Upstream `{of}`: {outside}"),
            format!(
                "bindings are set when a secret is stored: if the Upstream is right, run `{put}`"
            ),
        ),
    }
}

/// The first destination of the credential that its bindings do not cover.
fn outside(
    upstream: &Upstream,
    wanted: &CredentialUse,
    effects: &BTreeSet<Effect>,
    info: &CredentialInfo,
) -> Option<Outside> {
    let ca = upstream.tls.ca_bundle.as_ref();
    let ca_sha256 = ca.map(|pem| sha256(&[pem.as_bytes()]));
    let mut destinations = upstream.hosts.iter().flat_map(|host| {
        let ports = upstream.ports.iter();
        ports.flat_map(move |port| {
            effects.iter().map(move |effect| Destination {
                host: some_name(host),
                port: *port,
                header: wanted.header.clone(),
                format: wanted.format.clone(),
                ca_sha256,
                effect: *effect,
                intercepted: upstream.tls.mode == TlsMode::Intercept,
            })
        })
    });
    destinations.find_map(|to| info.bindings.cover(&to).err())
}

/// The effects of these actions that the credential is lent for.
fn effects(
    upstream: &Upstream,
    actions: &[&ActionSpec],
    wanted: &CredentialUse,
) -> BTreeSet<Effect> {
    let effects = actions.iter().map(|action| action.effect);
    let lent = upstream.credentials.iter();
    // Where two credentials serve one effect, the first is lent.
    effects
        .filter(|effect| {
            let mut lent = lent.clone();
            lent.find(|it| it.effects.contains(effect)) == Some(wanted)
        })
        .collect()
}

/// A name under the pattern.
fn some_name(host: &HostPattern) -> String {
    let text = host.to_string();
    match text.strip_prefix("*.") {
        Some(parent) => format!("any.{parent}"),
        None => text,
    }
}

/// The command that stores the credential for this Upstream.
fn put_command(upstream: &Upstream, wanted: &CredentialUse) -> String {
    let mut command = format!("actpass credentials put {}", wanted.name);
    for host in &upstream.hosts {
        command.push_str(&format!(" --host '{host}'"));
    }
    for port in upstream
        .ports
        .iter()
        .filter(|port| upstream.ports.len() > 1 || **port != 443)
    {
        command.push_str(&format!(" --port {port}"));
    }
    if !wanted.header.eq_ignore_ascii_case("authorization") {
        command.push_str(&format!(" --header {}", wanted.header));
    }
    for effect in &wanted.effects {
        command.push_str(&format!(" --effect {effect:?}"));
    }
    if upstream.tls.ca_bundle.is_some() {
        command.push_str(" --ca-file CA.pem");
    }
    command + " < KEY"
}
