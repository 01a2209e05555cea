//! The contained network of one run: names, listeners, trust.

use std::path::PathBuf;

use actpass_core::bundle::Bundle;
use actpass_core::host::HostName;
use actpass_core::upstream::Upstream;
use actpass_sidecar::connect::ConnectTo;
use actpass_sidecar::mint::Mint;
use actpass_sidecar::names::Names;
use anyhow::{Context, anyhow, bail};

use crate::args::RunArgs;
use crate::local::{
    BoundFile, ListenSpec, Plan, TrustFiles, environment, resolver_files, resolver_sockets,
    system_bundles, trust_bundle,
};
use crate::state::StateDir;

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
        listeners: names
            .dialable()
            .into_iter()
            .map(|(addr, port)| ListenSpec { addr, port })
            .collect(),
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
