//! Upstreams: names that are theirs alone, credentials that are lent, actions that do not tie.

use actpass_core::upstream::{Effect, Protocol, TlsMode, Upstream};

use super::Check;
use super::headers::is_transport;
use crate::problem::{Said, listed};
use crate::read::Located;
use crate::resource::{Kind, Resource};
use crate::upstream::{NamespacesFrom, UpstreamSpec};

impl<'a> Check<'a> {
    pub(super) fn upstream(&mut self, at: &'a Located, name: &str, written: &UpstreamSpec) {
        let selects = written
            .allowed_namespaces
            .as_ref()
            .map(|allowed| (allowed.from, &allowed.selector));
        match selects {
            Some((NamespacesFrom::Selector, None)) => {
                self.error(
                    at,
                    "spec.allowedNamespaces",
                    "`from: Selector` needs `selector`",
                );
            }
            Some((NamespacesFrom::Same | NamespacesFrom::All, Some(_))) => {
                let said = Said::from("`selector` is only read with `from: Selector`");
                self.error(
                    at,
                    "spec.allowedNamespaces.selector",
                    said.help("leave it out, or write `from: Selector`"),
                );
            }
            _ => {}
        }
        let selector = selects.and_then(|(_, selector)| selector.as_ref());
        self.selector(at, "spec.allowedNamespaces.selector", selector);
        let Some(upstream) = self
            .spec
            .upstreams
            .iter()
            .find(|upstream| upstream.name == name)
        else {
            return;
        };
        self.hosts(at, upstream);
        let inspected =
            upstream.protocol != Protocol::Tcp && upstream.tls.mode != TlsMode::Passthrough;
        self.transport(at, upstream, inspected);
        self.credentials(at, upstream, inspected);
        self.ties(at, upstream);
        for (index, action) in upstream.actions.iter().enumerate() {
            self.action(at, &format!("spec.actions[{index}]"), upstream, action);
        }
    }

    /// Upstreams of another namespace, unless they are shared with this one.
    pub(super) fn shared_upstreams(&mut self, namespace: &str) {
        for located in self.of_kind(Kind::Upstream) {
            let Resource::Upstream(metadata, spec) = &located.resource else {
                continue;
            };
            let Some(other) = metadata
                .namespace
                .as_deref()
                .filter(|other| *other != namespace)
            else {
                continue;
            };
            let shared = spec
                .allowed_namespaces
                .as_ref()
                .is_some_and(|allowed| allowed.from != NamespacesFrom::Same);
            if !shared {
                let said = Said::from(format!(
                    "namespace `{other}` does not share this Upstream with `{namespace}`"
                ));
                let said = said.help("add `allowedNamespaces: {from: All}`, or move it");
                self.error(located, "metadata.namespace", said);
            }
        }
    }

    /// No two Upstreams serve one name on one port: the name decides which credential is lent.
    fn hosts(&mut self, at: &Located, upstream: &Upstream) {
        for other in self
            .spec
            .upstreams
            .iter()
            .filter(|other| *other.name < *upstream.name)
        {
            let Some(port) = upstream
                .ports
                .iter()
                .find(|port| other.ports.contains(port))
            else {
                continue;
            };
            for (index, host) in upstream.hosts.iter().enumerate() {
                if let Some(theirs) = other.hosts.iter().find(|theirs| theirs.overlaps(host)) {
                    let said = Said::from(format!(
                        "Upstream `{}` has `{theirs}` on port {port} too",
                        other.name
                    ));
                    self.error(
                        at,
                        &format!("spec.hosts[{index}]"),
                        said.help("a name and port belong to one Upstream"),
                    );
                }
            }
        }
        for (index, host) in upstream.hosts.iter().enumerate() {
            if let Some(wider) = upstream
                .hosts
                .iter()
                .find(|other| *other != host && other.is_wildcard() && other.overlaps(host))
            {
                self.warning(
                    at,
                    &format!("spec.hosts[{index}]"),
                    format!("`{wider}` covers `{host}` already"),
                );
            }
        }
    }

    fn transport(&mut self, at: &Located, upstream: &Upstream, inspected: bool) {
        if !inspected && !upstream.actions.is_empty() {
            let said = Said::from("no action can be read off bytes that are passed through");
            let said = said
                .help("leave `actions` out, or use `protocol: HTTP` with `tls: {mode: Intercept}`");
            self.error(at, "spec.actions", said);
        }
        let unread = match (upstream.protocol, upstream.tls.mode) {
            // What is wrong already.
            _ if !inspected && !upstream.actions.is_empty() => None,
            (Protocol::Tcp, TlsMode::Intercept) => None,
            (Protocol::Mcp, _) => Some(("spec.protocol", "MCP is not read")),
            (Protocol::Tcp, _) => Some(("spec.protocol", "TCP is not passed on")),
            (_, TlsMode::Passthrough) => Some(("spec.tls.mode", "TLS is not passed through")),
            _ => None,
        };
        if let Some((field, what)) = unread {
            let said = Said::from(format!("{what} by this version"));
            self.warning(at, field, said.help("every request there is denied"));
        }
        if upstream.protocol == Protocol::Http && inspected && upstream.actions.is_empty() {
            self.error(
                at,
                "spec.actions",
                Said::from("missing; without actions everything there is denied")
                    .help("declare what may be done"),
            );
        }
        if upstream.tls.ca_bundle.is_some() && upstream.tls.mode != TlsMode::Intercept {
            let said = Said::from("is only read with `mode: Intercept`");
            self.error(at, "spec.tls.caBundle", said.help("leave it out"));
        }
        if upstream.protocol == Protocol::Tcp && upstream.tls.mode == TlsMode::Intercept {
            let said = Said::from("`protocol: TCP` is not inspected, so TLS cannot be intercepted");
            self.error(
                at,
                "spec.tls",
                said.help("write `tls: {mode: Passthrough}`, or `None`"),
            );
        }
    }

    fn credentials(&mut self, at: &Located, upstream: &Upstream, inspected: bool) {
        if upstream.tls.mode != TlsMode::Intercept || !inspected {
            if !upstream.credentials.is_empty() {
                let said = Said::from("a credential is lent only where TLS is intercepted");
                self.error(at, "spec.credentials", said.help("use `tls: {mode: Intercept}` and `protocol: HTTP`, or leave `credentials` out"));
            }
            return;
        }
        for (index, credential) in upstream.credentials.iter().enumerate() {
            let field = format!("spec.credentials[{index}]");
            for effect in &credential.effects {
                let first = upstream
                    .credentials
                    .iter()
                    .take(index)
                    .find(|earlier| earlier.effects.contains(effect));
                if let Some(first) = first {
                    let said = format!(
                        "`{}` is lent for {effect:?} actions already; one effect has one credential",
                        first.name
                    );
                    self.error(at, &format!("{field}.effects"), said);
                }
            }
            if is_transport(&credential.header) {
                let said = Said::from(format!(
                    "header `{}` belongs to the transport",
                    credential.header
                ));
                self.error(
                    at,
                    &format!("{field}.header"),
                    said.help("name the header that the upstream reads the secret from"),
                );
            }
        }
        for effect in [Effect::Write, Effect::Irreversible] {
            let actions = upstream
                .actions
                .iter()
                .filter(|action| action.effect == effect);
            let names: Vec<&str> = actions.map(|action| action.capability.action()).collect();
            if !names.is_empty() && upstream.credential_for(effect).is_none() {
                let names = listed(names.into_iter().take(super::NAMES_SHOWN), "and");
                let said = Said::from(format!(
                    "no credential is lent for {effect:?} actions ({names}); they go out without one"
                ));
                let field = if upstream.credentials.is_empty() {
                    "spec"
                } else {
                    "spec.credentials"
                };
                self.warning(
                    at,
                    field,
                    said.help(format!("add one with `effects: [{effect:?}]`")),
                );
            }
        }
    }

    /// Of all actions that match a request one is the most specific.
    fn ties(&mut self, at: &Located, upstream: &Upstream) {
        for (index, action) in upstream.actions.iter().enumerate() {
            for (first, earlier) in upstream.actions.iter().enumerate().take(index) {
                if earlier.method == action.method && earlier.path.ties(&action.path) {
                    let (method, path, name) =
                        (&action.method, &action.path, earlier.capability.action());
                    let said = Said::from(format!(
                        "ties with `{name}` (spec.actions[{first}]): both match some {method} requests and neither is more specific"
                    ));
                    let said = match earlier.path == *path {
                        true => said.help("keep one"),
                        false => {
                            said.help(format!("make `{path}` or `{}` more specific", earlier.path))
                        }
                    };
                    self.error(at, &format!("spec.actions[{index}].match.http.path"), said);
                }
            }
        }
    }
}
