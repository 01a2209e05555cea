//! What can be dialled under one policy: the declared names with their addresses, and the ports behind each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::host::{HostName, HostPattern};
use actpass_core::upstream::TlsMode;

use crate::dns::{INTERNAL_NAME, NameSlot, Zone, ZoneError};
use crate::proxy::Dialled;

/// Port of `actpass.internal` and of the upstreams in clear.
pub const CLEAR_PORT: u16 = 80;

/// Nobody's addresses (RFC 5737, RFC 3849), where `actpass.internal` answers too: that a connection to them comes here shows that
/// every connection does.
pub const CANARIES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The names of one policy.
#[derive(Debug)]
pub struct Names {
    zone: Arc<Zone>,
    ports: Vec<Ports>,
}

/// Ports of some names.
#[derive(Debug)]
struct Ports {
    hosts: Vec<HostPattern>,
    ports: Vec<u16>,
    tls: bool,
}

/// Why a connection is none to a declared name and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undialled {
    /// No name has the address: it was not learned from our responder.
    #[error("{0} is not the address of a declared name")]
    Address(SocketAddr),
    /// The name is declared, and not with this port.
    #[error("no Upstream declares {0} with port {1}")]
    Port(HostName, u16),
}

impl Names {
    /// The names of the first policy: every declared one, and `<upstream>.actpass.internal` for upstreams with one exact
    /// host.
    ///
    /// # Errors
    /// More names than there are addresses.
    pub fn new(bundle: &Bundle) -> Result<Self, ZoneError> {
        Self::of(&Zone::default(), bundle)
    }

    /// The names of the next policy. No address changes its name.
    ///
    /// # Errors
    /// More names so far than there are addresses.
    pub fn next(&self, bundle: &Bundle) -> Result<Self, ZoneError> {
        Self::of(&self.zone, bundle)
    }

    fn of(before: &Zone, bundle: &Bundle) -> Result<Self, ZoneError> {
        let upstreams = &bundle.spec().upstreams;
        let in_clear = upstreams
            .iter()
            .filter(|upstream| upstream.single_exact_host().is_some())
            .map(|upstream| format!("{}.{INTERNAL_NAME}", upstream.name))
            .chain([INTERNAL_NAME.to_owned()]);
        let in_clear = Ports {
            hosts: in_clear.filter_map(|name| name.parse().ok()).collect(),
            ports: vec![CLEAR_PORT],
            tls: false,
        };
        let declared = upstreams.iter().map(|upstream| Ports {
            hosts: upstream.hosts.clone(),
            ports: upstream.ports.clone(),
            tls: upstream.tls.mode != TlsMode::None,
        });
        // Our own names first: no Upstream can take them over.
        let ports: Vec<Ports> = [in_clear].into_iter().chain(declared).collect();
        let names: Vec<HostPattern> = ports.iter().flat_map(|it| it.hosts.clone()).collect();
        Ok(Self {
            zone: Arc::new(before.with(&names)?),
            ports,
        })
    }

    /// The addresses, for the responder.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// Every address and port that can be dialled, in ascending order.
    pub fn dialable(&self) -> Vec<(Ipv4Addr, u16)> {
        let mut all = Vec::new();
        for (address, slot) in self.zone.addresses() {
            let declared = |ports: &&Ports| match &slot {
                NameSlot::Exact(name) => ports.hosts.iter().any(|host| host.matches(name)),
                NameSlot::Wildcard { pattern, .. } => ports.hosts.contains(pattern),
            };
            let ports = self.ports.iter().filter(declared).flat_map(|it| &it.ports);
            all.extend(ports.map(|port| (address, *port)));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What a connection to `address` is to.
    ///
    /// # Errors
    /// It is to nothing that is declared.
    pub fn dialled(&self, address: SocketAddr) -> Result<Dialled, Undialled> {
        let name = match address.ip() {
            canary if CANARIES.contains(&canary) && address.port() == CLEAR_PORT => {
                INTERNAL_NAME.parse().ok()
            }
            IpAddr::V4(ip) => self.zone.name_of(ip),
            IpAddr::V6(_) => None,
        };
        let host = name.ok_or(Undialled::Address(address))?;
        let port = address.port();
        let exactly = |it: &&Ports| it.hosts.iter().any(|it| it.as_exact() == Some(&host));
        let covered = |it: &&Ports| it.hosts.iter().any(|it| it.matches(&host));
        let mut declared = self.ports.iter().filter(|it| it.ports.contains(&port));
        match declared
            .clone()
            .find(exactly)
            .or_else(|| declared.find(covered))
        {
            Some(Ports { tls, .. }) => Ok(Dialled {
                host,
                port,
                tls: *tls,
            }),
            None => Err(Undialled::Port(host, port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use actpass_core::bundle::{BUNDLE_VERSION, BundleSpec};
    use serde_json::json;

    use super::*;

    fn bundle(upstreams: &[(&str, &[&str], &[u16], &str)]) -> Bundle {
        let upstream = |(name, hosts, ports, mode): &(&str, &[&str], &[u16], &str)| {
            let text = json!({
                "name": name, "hosts": hosts, "ports": ports, "addresses": "Public", "protocol": "HTTP",
                "tls": {"mode": mode, "ca_bundle": null}, "credentials": [], "actions": [],
                "error_style": "Problem", "failed_statuses": [],
            });
            serde_json::from_value(text).unwrap()
        };
        Bundle::new(BundleSpec {
            v: BUNDLE_VERSION.to_owned(),
            tenant: "local/default/1".to_owned(),
            environment: None,
            mode: actpass_core::mode::Mode::Enforce,
            passports: Vec::new(),
            upstreams: upstreams.iter().map(upstream).collect(),
            policies: Vec::new(),
        })
        .unwrap()
    }

    fn address(names: &Names, name: &str) -> Ipv4Addr {
        let slots = names.zone().addresses();
        let is = |slot: &NameSlot| matches!(slot, NameSlot::Exact(exact) if exact.as_str() == name);
        slots.iter().find(|(_, slot)| is(slot)).unwrap().0
    }

    #[test]
    fn a_connection_is_to_the_name_of_its_address_and_a_declared_port() {
        let names = Names::new(&bundle(&[
            ("pay", &["api.pay.test"], &[443, 8443], "Intercept"),
            ("all", &["*.pay.test"], &[443, 9000], "None"),
        ]))
        .unwrap();
        struct Case {
            name: &'static str,
            port: u16,
            want: Option<bool>,
        }
        let cases = [
            Case {
                name: "api.pay.test",
                port: 443,
                want: Some(true),
            },
            Case {
                name: "api.pay.test",
                port: 8443,
                want: Some(true),
            },
            Case {
                name: "api.pay.test",
                port: 9000,
                want: Some(false),
            },
            Case {
                name: "api.pay.test",
                port: 80,
                want: None,
            },
            Case {
                name: "actpass.internal",
                port: 80,
                want: Some(false),
            },
            Case {
                name: "actpass.internal",
                port: 443,
                want: None,
            },
            Case {
                name: "pay.actpass.internal",
                port: 80,
                want: Some(false),
            },
        ];
        for Case { name, port, want } in cases {
            let dialled = names.dialled((address(&names, name), port).into());
            match want {
                Some(tls) => {
                    let dialled = dialled.unwrap();
                    let got = (dialled.host.as_str(), dialled.port, dialled.tls);
                    assert_eq!(got, (name, port, tls));
                }
                None => {
                    let host = name.parse().unwrap();
                    assert_eq!(dialled.unwrap_err(), Undialled::Port(host, port));
                }
            }
        }
        for nobody in ["203.0.113.9:443", "198.18.255.1:443", "[2001:db8::1]:443"] {
            let nobody: SocketAddr = nobody.parse().unwrap();
            let got = names.dialled(nobody).unwrap_err();
            assert_eq!(got, Undialled::Address(nobody));
        }
    }

    #[test]
    fn what_can_be_dialled_is_what_leads_somewhere() {
        let names =
            Names::new(&bundle(&[("pay", &["api.pay.test"], &[443], "Intercept")])).unwrap();
        let dialable = names.dialable();
        assert_eq!(dialable.len(), 3, "{dialable:?}");
        for (address, port) in dialable {
            names.dialled((address, port).into()).unwrap();
        }
    }
}
