//! The packet filter of an agent's pod, as text for `nft -f -`.
//!
//! *Flow*: whatever an agent sends by TCP goes to the sidecar's listener, every DNS query to its responder, and the rest
//! is refused. Three locks, each of which stops packets alone: `out` at the output hook, `fence` after routing, which
//! also sees packets that no socket owns and sockets bound to an interface, and `actpass_wire` on each interface for
//! frames that never were packets.
//!
//! *Guarantees*: no agent process, whatever it does without capabilities and under another uid than the sidecar's, puts
//! a frame on an interface, except answers to connections made to a declared port.
//!
//! *Assumptions*: no agent owns a socket with the sidecar's uid, none has `NET_ADMIN`, seccomp refuses `AF_VSOCK`. The
//! webhook sees to all three. Interfaces that appear later have locks 1 and 2 only.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::contract::{ADMIN_PORT, CAPTURE_PORT, DNS_PORT, HEALTH_PORT, METRICS_PORT, OWN_PORTS};
use crate::canonical::excerpt;

#[cfg(test)]
mod tests;

/// Most ports on which agents of one pod may be reached: what fits one argument and a person's eye.
pub const INBOUND_MAX: usize = 64;

/// Longest name of an interface, in bytes (`IFNAMSIZ` less its NUL).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// What the rules of one pod depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    sidecar_uid: u32,
    inbound: BTreeSet<u16>,
    marks: Marks,
    interfaces: BTreeSet<Interface>,
}

/// The two marks that tell our own packets from others where no uid is known any more. Neither is a secret: to set a
/// mark takes a capability that agents do not have. Per pod they are so that nothing else on the node uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Packet mark: passed the fence.
    pub packet: u32,
    /// Connection mark: opened by the sidecar.
    pub connection: u32,
}

/// The name of a network interface other than `lo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(String);

/// Why there is no ruleset for these parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    /// Root, or the value that the kernel takes for "no uid".
    #[error("the sidecar cannot run as uid {0}; give it a uid of its own")]
    Uid(u32),
    /// The port is one of ours, or 0.
    #[error("port {0} cannot be an agent's; ActPass listens there")]
    Inbound(u16),
    /// More than [`INBOUND_MAX`].
    #[error("{0} inbound ports; at most {INBOUND_MAX}")]
    InboundMany(usize),
    /// Zero, which is what unmarked packets and connections have.
    #[error("a mark of 0 marks nothing")]
    Mark,
    /// Without an interface there is nothing to hold lock 3.
    #[error("no network interface but `lo`")]
    NoInterface,
}

/// Why a text is not an interface's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a network interface other than `lo`")]
pub struct InterfaceError(String);

impl Ruleset {
    /// The rules for a sidecar with this uid, agents reachable by TCP on `inbound`, and these interfaces, all of the pod
    /// but `lo`.
    pub fn new(
        sidecar_uid: u32,
        inbound: BTreeSet<u16>,
        marks: Marks,
        interfaces: BTreeSet<Interface>,
    ) -> Result<Ruleset, RulesetError> {
        if matches!(sidecar_uid, 0 | u32::MAX) {
            return Err(RulesetError::Uid(sidecar_uid));
        }
        if inbound.len() > INBOUND_MAX {
            return Err(RulesetError::InboundMany(inbound.len()));
        }
        if let Some(port) = inbound
            .iter()
            .find(|port| **port == 0 || OWN_PORTS.contains(port))
        {
            return Err(RulesetError::Inbound(*port));
        }
        if marks.packet == 0 || marks.connection == 0 {
            return Err(RulesetError::Mark);
        }
        if interfaces.is_empty() {
            return Err(RulesetError::NoInterface);
        }
        Ok(Ruleset {
            sidecar_uid,
            inbound,
            marks,
            interfaces,
        })
    }

    /// One batch for `nft -f -`. It replaces what an earlier one made, all of it or nothing.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // `add` first, since deleting what is not there is an error.
        for table in ["inet actpass", "netdev actpass_wire"] {
            text.push_str(&format!("table {table} {{}}\ndelete table {table}\n"));
        }
        text.push_str(&self.defines());
        text.push_str("table inet actpass {\n");
        text.push_str(&self.inbound_set());
        text.push_str(CHAINS);
        text.push_str("}\n");
        text.push_str(&self.wire());
        text
    }

    fn defines(&self) -> String {
        format!(
            "define SC  = {}\n\
             define TCP = {CAPTURE_PORT}\n\
             define DNS = {DNS_PORT}\n\
             define ADM = {ADMIN_PORT}\n\
             define HLT = {HEALTH_PORT}\n\
             define MET = {METRICS_PORT}\n\
             define CTM = {:#010x}\n\
             define OKM = {:#010x}\n\
             define ANY = 0-4294967295\n",
            self.sidecar_uid, self.marks.connection, self.marks.packet
        )
    }

    /// The set also exists where it is empty, so that the rules are the same.
    fn inbound_set(&self) -> String {
        let ports: Vec<String> = self.inbound.iter().map(u16::to_string).collect();
        let elements = match ports.is_empty() {
            true => String::new(),
            false => format!(" elements = {{ {} }};", ports.join(", ")),
        };
        format!("  set inb {{ type inet_service;{elements} }}\n")
    }

    /// Lock 3. `ct` does not exist at this hook, which is what the packet mark is for.
    fn wire(&self) -> String {
        let mut text = String::from("table netdev actpass_wire {\n");
        for (index, interface) in self.interfaces.iter().enumerate() {
            text.push_str(&format!(
                "  chain eg{index} {{ type filter hook egress device \"{}\" priority 0; policy drop;\n\
                 \x20   meta skuid $SC accept\n\
                 \x20   meta mark $OKM accept\n\
                 \x20   ether type arp meta skuid $ANY counter drop\n\
                 \x20   ether type arp accept\n\
                 \x20   counter drop\n\
                 \x20 }}\n",
                interface.0
            ));
        }
        text.push_str("}\n");
        text
    }
}

impl Interface {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Only names that need no escape in the rules.
impl FromStr for Interface {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
        let named = !text.is_empty() && text.len() <= INTERFACE_BYTES_MAX;
        match named && text.bytes().all(plain) && !matches!(text, "lo" | "." | "..") {
            true => Ok(Interface(text.to_owned())),
            false => Err(InterfaceError(excerpt(text))),
        }
    }
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Locks 1 and 2 and what steers to the sidecar. Each line is there because without it frames left the pod.
const CHAINS: &str = r#"  set own { type inet_service; elements = { $TCP, $DNS, $ADM, $MET }; }

  # The sidecar's DNS in a conntrack zone of its own: neither side can use the other's entries.
  chain zone_out { type filter hook output priority raw; policy accept;
    meta skuid $SC udp dport 53 ct zone set 1
  }
  chain zone_in { type filter hook prerouting priority raw; policy accept;
    iifname != "lo" udp sport 53 ct zone set 1
  }

  chain steer { type nat hook output priority -100; policy accept;
    meta skuid $SC accept
    meta l4proto { tcp, udp } th dport 53 redirect to :$DNS
    fib daddr type local accept
    meta l4proto tcp redirect to :$TCP
  }

  # Lock 1. Nothing is accepted as established before its owner is known.
  chain out { type filter hook output priority filter; policy drop;
    meta skuid $SC goto sidecar
    # A source that is not ours makes the sidecar answer to wherever the agent wrote (IPV6_FREEBIND).
    meta skuid $ANY fib saddr type != local counter drop
    # `oifname` is still the one from before the redirect: what was steered shows in `ct`.
    ct status dnat tcp dport $TCP accept
    ct status dnat meta l4proto { tcp, udp } th dport $DNS accept
    tcp dport @own counter reject with tcp reset
    udp dport @own counter drop
    # Whoever takes a port of ours while the sidecar is away cannot answer on it.
    meta skuid $ANY meta l4proto { tcp, udp } th sport @own counter drop
    oifname "lo" accept
    tcp sport @inb ct direction reply ct state established accept
    # Refused and not dropped, so that a client falls back at once.
    meta skuid $ANY meta l4proto tcp counter reject with tcp reset
    meta skuid $ANY counter reject with icmpx type admin-prohibited
    goto ownerless
  }
  chain sidecar {
    oifname "lo" ct direction reply accept
    # Nobody talks the sidecar into asking the agent's own ports.
    oifname "lo" counter reject with icmpx type admin-prohibited
    tcp sport { $HLT, $MET } ct direction reply accept
    # The other listeners answer on loopback only.
    meta l4proto { tcp, udp } th sport @own counter drop
    meta l4proto tcp ct mark set $CTM accept
    udp dport 53 accept
    counter reject with icmpx type admin-prohibited
  }
  # Made by the kernel: the end of a connection whose socket is gone, and neighbour discovery.
  chain ownerless {
    meta l4proto tcp ct mark $CTM ct state established,related meta mark set $OKM accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 meta mark set $OKM accept
    counter drop
  }

  # Lock 2, whatever the protocol.
  chain fence { type filter hook postrouting priority 300; policy drop;
    oifname "lo" accept
    meta l4proto { tcp, udp } fib saddr type != local counter drop
    meta skuid $SC meta mark set $OKM accept
    tcp sport @inb ct direction reply ct state established meta mark set $OKM accept
    meta skuid $ANY counter drop
    goto ownerless
  }

  chain in { type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established accept
    tcp dport { $HLT, $MET } accept
    tcp dport @inb accept
    ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big, destination-unreachable, time-exceeded } accept
    counter drop
  }
  chain forwarded { type filter hook forward priority filter; policy drop; }
"#;
