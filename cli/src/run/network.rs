//! The contained network of one run: names, listeners, trust.

use std::path::PathBuf;
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::host::{HostName, HostPattern};
use actpass_core::upstream::{TlsMode, Upstream};
use actpass_sidecar::connect::ConnectTo;
use actpass_sidecar::dns::{NameSlot, Zone};
use actpass_sidecar::listen::Listener;
use actpass_sidecar::mint::Mint;
use anyhow::{Context, anyhow, bail};

use crate::args::RunArgs;
use crate::local::{
    BoundFile, ListenSpec, Plan, TrustFiles, environment, resolver_files, resolver_sockets,
    system_bundles, trust_bundle,
};
use crate::state::StateDir;

/// Port of `actpass.internal` and of the upstreams in clear.
const CLEAR_PORT: u16 = 80;

/// What each listener of a plan is for, in its order.
pub(super) struct Names {
    pub(super) zone: Arc<Zone>,
    listeners: Vec<(ListenSpec, bool)>,
}

impl Names {
    /// Gives every declared name, and `<upstream>.actpass.internal` for those with one exact host, an address.
    pub(super) fn new(bundle: &Bundle) -> anyhow::Result<Self> {
        let upstreams = &bundle.spec().upstreams;
        let mut patterns: Vec<HostPattern> = upstreams
            .iter()
            .flat_map(|upstream| upstream.hosts.clone())
            .collect();
        for upstream in upstreams
            .iter()
            .filter(|upstream| upstream.single_exact_host().is_some())
        {
            patterns.extend(format!("{}.actpass.internal", upstream.name).parse::<HostPattern>());
        }
        let zone = Zone::new(&patterns)?;
        let mut listeners = Vec::new();
        for (addr, slot) in zone.addresses() {
            for (port, tls) in ports_of(&slot, upstreams) {
                listeners.push((ListenSpec { addr, port }, tls));
            }
        }
        Ok(Self {
            zone: Arc::new(zone),
            listeners,
        })
    }

    /// The listeners as the plan wants them.
    pub(super) fn specs(&self) -> Vec<ListenSpec> {
        self.listeners.iter().map(|(spec, _)| *spec).collect()
    }

    /// The sockets made by the plan, as the sidecar wants them.
    pub(super) fn listeners(
        &self,
        sockets: Vec<(ListenSpec, std::net::TcpListener)>,
    ) -> Vec<Listener> {
        let with_tls = self.listeners.iter().map(|(_, tls)| *tls);
        sockets
            .into_iter()
            .zip(with_tls)
            .map(|((spec, socket), tls)| Listener {
                socket,
                port: spec.port,
                tls,
            })
            .collect()
    }
}

fn ports_of(slot: &NameSlot, upstreams: &[Upstream]) -> Vec<(u16, bool)> {
    let declared = |upstream: &&Upstream| match slot {
        NameSlot::Exact(name) => upstream.hosts.iter().any(|host| host.matches(name)),
        NameSlot::Wildcard { pattern, .. } => upstream.hosts.contains(pattern),
    };
    let mut ports: Vec<(u16, bool)> = upstreams
        .iter()
        .filter(declared)
        .flat_map(|upstream| {
            upstream
                .ports
                .iter()
                .map(|port| (*port, upstream.tls.mode != TlsMode::None))
        })
        .collect();
    if let NameSlot::Exact(name) = slot
        && (name.as_str() == "actpass.internal" || name.as_str().ends_with(".actpass.internal"))
    {
        ports.push((CLEAR_PORT, false));
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The plan of the contained command.
pub(super) fn plan(
    args: &RunArgs,
    state: &StateDir,
    bundle: &Bundle,
    names: &Names,
    mint: &Mint,
) -> anyhow::Result<Plan> {
    let declared: Vec<String> = bundle
        .spec()
        .upstreams
        .iter()
        .filter_map(|it| it.tls.ca_bundle.clone())
        .collect();
    let pem = trust_bundle(mint.ca_pem(), &declared);
    let trust = TrustFiles::new(trust_dir()?);
    let (env, overridden) = environment(std::env::vars_os(), &trust);
    if !overridden.is_empty() {
        let variables = overridden.join(" ");
        tracing::debug!(variables, "Set to our CA bundle inside");
    }
    let mut files = resolver_files();
    files.extend(system_bundles(&pem));
    for target in &args.trust_file {
        files.push(BoundFile {
            target: target.clone(),
            content: pem.clone(),
            required: true,
        });
    }
    let mut dirs = resolver_sockets();
    dirs.push(trust.own_dir(mint.ca_pem(), &pem));
    let hide: Vec<PathBuf> = vec![state.path().to_owned()];
    Ok(Plan {
        listeners: names.specs(),
        dns: true,
        command: args.command.clone(),
        env,
        working_dir: std::env::current_dir().context("the working directory")?,
        files,
        dirs,
        hide,
    })
}

/// Where the CA files stand inside: empty on the host, so that runs share it and nothing is left behind.
fn trust_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(cache.join("actpass/trust"))
}

/// Reads `HOST:PORT:HOST:PORT`.
pub(super) fn connect_to(text: &str) -> anyhow::Result<ConnectTo> {
    let wrong = || {
        anyhow!(
            "`--connect-to {text}`: expected HOST:PORT:HOST:PORT, such as api.stripe.com:443:127.0.0.1:8443"
        )
    };
    let (rest, to_port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (host, rest) = rest.split_once(':').ok_or_else(wrong)?;
    let (port, to_host) = rest.split_once(':').ok_or_else(wrong)?;
    let to_host = to_host.trim_start_matches('[').trim_end_matches(']');
    if to_host.is_empty() {
        return Err(wrong());
    }
    Ok(ConnectTo {
        host: host.parse::<HostName>().map_err(|_| wrong())?,
        port: port.parse().map_err(|_| wrong())?,
        to_host: to_host.to_owned(),
        to_port: to_port.parse().map_err(|_| wrong())?,
    })
}

/// Refuses to redirect what nobody declared: the host is mistyped then, and the real one would be reached.
pub(super) fn declared(connect_to: &[ConnectTo], bundle: &Bundle) -> anyhow::Result<()> {
    for ConnectTo { host, port, .. } in connect_to {
        let mut upstreams = bundle.spec().upstreams.iter();
        let declares = |upstream: &Upstream| {
            let mut hosts = upstream.hosts.iter();
            upstream.ports.contains(port) && hosts.any(|pattern| pattern.matches(host))
        };
        if !upstreams.any(declares) {
            bail!("`--connect-to {host}:{port}:…`: no Upstream declares {host} with port {port}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_to_reads_what_curl_reads() {
        let read = connect_to("api.stripe.com:443:127.0.0.1:8443").unwrap();
        assert_eq!((read.host.as_str(), read.port), ("api.stripe.com", 443));
        assert_eq!((read.to_host.as_str(), read.to_port), ("127.0.0.1", 8443));
        assert_eq!(connect_to("a.test:443:[::1]:8443").unwrap().to_host, "::1");
        for wrong in [
            "",
            "a.test:443",
            "a.test:443:b",
            "a.test:x:b:1",
            "a.test:443::1",
            ":443:b:1",
        ] {
            assert!(connect_to(wrong).is_err(), "`{wrong}`");
        }
    }
}
