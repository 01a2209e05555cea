//! Manifests against this machine: mistakes in them, credentials they name, hosts they declare.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actpass_core::hash::sha256;
use actpass_core::host::HostPattern;
use actpass_core::upstream::{CredentialUse, Effect, TlsMode, Upstream};
use actpass_crds::bundle::Options;
use actpass_ledger::vault::{CredentialInfo, Destination, Kek, Outside, Vault};

use super::{Finding, chain};
use crate::args::DoctorArgs;
use crate::run::policy as manifests;
use crate::state::StateDir;

/// How long all lookups together may take: a resolver that does not answer takes 5 s each by itself.
const LOOKUPS_MAX: Duration = Duration::from_secs(5);

/// All that is said of the manifests.
pub(super) fn policy(args: &DoctorArgs, state: &StateDir) -> Vec<Finding> {
    const CHECK: &str = "policy";
    let options = Options {
        tenant: "local/doctor/doctor".to_owned(),
        environment: None,
    };
    let spec = match manifests::check(&args.files, args.catalog, &options) {
        Ok(checked) => checked.spec,
        Err(problems) => {
            let says = problems.iter().map(ToString::to_string);
            return says
                .map(|says| Finding::problem(CHECK, says, None))
                .collect();
        }
    };
    let mut findings = vec![Finding::ok(CHECK, "the manifests have no mistakes")];
    match stored(state) {
        Ok(stored) => findings.extend(credentials(&spec.upstreams, &stored)),
        Err(finding) => findings.push(*finding),
    }
    findings.extend(hosts(&spec.upstreams));
    findings
}

/// What the vault holds, read without taking it from a run that may have it.
fn stored(state: &StateDir) -> Result<Vec<CredentialInfo>, Box<Finding>> {
    if !state.kek().exists() || !state.vault().is_dir() {
        return Ok(Vec::new());
    }
    let opened = Kek::from_file(&state.kek()).and_then(|kek| Vault::open(&state.vault(), kek));
    match opened {
        Ok(vault) => Ok(vault.list()),
        Err(error) => Err(Box::new(Finding::problem("vault", chain(error), None))),
    }
}

/// Each credential that an action would be lent: stored, and bound to every place it would be sent to.
fn credentials(upstreams: &[Upstream], stored: &[CredentialInfo]) -> Vec<Finding> {
    let uses = upstreams.iter().flat_map(|upstream| {
        let named = upstream.credentials.iter();
        named.map(move |wanted| (upstream, wanted))
    });
    uses.map(|(upstream, wanted)| {
        const CHECK: &str = "credential";
        let name = &wanted.name;
        let put = put_command(upstream, wanted);
        let Some(info) = stored.iter().find(|info| info.name == *name) else {
            let says = format!("Upstream `{}` lends `{name}`, which is not stored", upstream.name);
            return Finding::problem(CHECK, says, format!("run `{put}`"));
        };
        match outside(upstream, wanted, info) {
            None => Finding::ok(
                CHECK,
                format!("`{name}` is stored and bound to where Upstream `{}` sends it", upstream.name),
            ),
            Some(Outside::NotIntercepted) => Finding::problem(
                CHECK,
                format!("Upstream `{}` has no intercepted TLS, so `{name}` is never lent", upstream.name),
                "set `tls: {mode: Intercept}`, or take the credential off the Upstream".to_owned(),
            ),
            Some(outside) => Finding::problem(
                CHECK,
                format!("`{name}` is not lent to Upstream `{}`: {outside}", upstream.name),
                format!("bindings are set when a secret is stored: if the Upstream is right, run `{put}`"),
            ),
        }
    })
    .collect()
}

/// The first destination of the credential that its bindings do not cover.
fn outside(upstream: &Upstream, wanted: &CredentialUse, info: &CredentialInfo) -> Option<Outside> {
    let ca = upstream.tls.ca_bundle.as_ref();
    let ca_sha256 = ca.map(|pem| sha256(&[pem.as_bytes()]));
    let mut destinations = upstream.hosts.iter().flat_map(|host| {
        let ports = upstream.ports.iter();
        ports.flat_map(move |port| {
            let effects = effects(upstream, wanted).into_iter();
            effects.map(move |effect| Destination {
                host: some_name(host),
                port: *port,
                header: wanted.header.clone(),
                format: wanted.format.clone(),
                ca_sha256,
                effect,
                intercepted: upstream.tls.mode == TlsMode::Intercept,
            })
        })
    });
    destinations.find_map(|to| info.bindings.cover(&to).err())
}

/// The effects of its actions that the credential is lent for.
fn effects(upstream: &Upstream, wanted: &CredentialUse) -> BTreeSet<Effect> {
    let effects = upstream.actions.iter().map(|action| action.effect);
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

/// Whether the exact hosts are found by the resolver that will look them up.
fn hosts(upstreams: &[Upstream]) -> Vec<Finding> {
    const CHECK: &str = "hosts";
    let exact = upstreams
        .iter()
        .flat_map(|upstream| upstream.hosts.iter())
        .filter_map(HostPattern::as_exact)
        .map(ToString::to_string)
        .collect::<BTreeSet<_>>();
    let (answer, answers) = mpsc::channel();
    for host in exact.clone() {
        let answer = answer.clone();
        // A lookup cannot be broken off, so one that takes too long is left to end with the process.
        std::thread::spawn(move || {
            let found = (host.as_str(), 443).to_socket_addrs().map(|_| ());
            // Nobody waits for it any more once the time is over.
            drop(answer.send((host, found)));
        });
    }
    drop(answer);
    let end = Instant::now() + LOOKUPS_MAX;
    let mut waiting = exact;
    let mut findings = Vec::new();
    while let Ok((host, found)) =
        answers.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        waiting.remove(&host);
        findings.push(match found {
            Ok(()) => Finding::ok(CHECK, format!("`{host}` resolves")),
            Err(error) => Finding::note(CHECK, unresolved(&host, &error.to_string())),
        });
    }
    let late = waiting.iter();
    findings.extend(late.map(|host| Finding::note(CHECK, unresolved(host, "no answer in time"))));
    findings.sort_by(|one, other| one.says.cmp(&other.says));
    findings
}

fn unresolved(host: &str, why: &str) -> String {
    format!(
        "`{host}` does not resolve here ({why}): requests to it fail, unless `--connect-to` says where it is"
    )
}
