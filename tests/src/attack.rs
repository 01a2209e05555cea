//! The attack kit: every attempt to leave a pod, what shows that one worked, and which stay shut in a fenced pod.
//!
//! `tests/attack` is the program; [`ATTEMPTS`] names what it tries. Numbers are those of `docs/security-model.md`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::frames::Frame;
use crate::home::text;

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Row of the table in `docs/security-model.md`.
    pub number: u8,
    /// As the program calls it.
    pub name: &'static str,
    /// How it shows that it worked.
    pub shows: Shows,
    /// Whether it is refused at once in a fenced pod. Others get as far as the sidecar, or are lost in silence.
    pub refused: bool,
}

/// How an attempt that works shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A packet to that address on the link.
    To(&'static str),
    /// A frame with these bytes in it.
    Holds(&'static [u8]),
    /// Only in what the program says: what a machine does not have is closed without a fence too.
    Says,
}

/// What the program said of one attempt.
#[derive(Clone, Debug)]
pub struct Said {
    /// The attempt.
    pub attempt: Attempt,
    /// Whether it got as far as it can tell itself.
    pub open: bool,
    /// Why not.
    pub why: String,
}

/// Builds the program, unless that was done.
///
/// # Errors
/// Where no C compiler builds it.
pub fn program() -> anyhow::Result<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/attack/build");
    let output = Command::new(script)
        .env("ACTPASS_CACHE", crate::tools::cache())
        .output()?;
    ensure!(output.status.success(), "{script}: {}", text(&output));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Reads what `attack all` printed.
///
/// # Errors
/// Where an attempt is missing, or one that nobody knows is there.
pub fn said(printed: &str) -> anyhow::Result<Vec<Said>> {
    let said = printed.lines().map(|line| {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, state, why] = words.as_slice() else {
            anyhow::bail!("`{line}` is nothing that the attack kit says");
        };
        let attempt = ATTEMPTS.iter().find(|it| it.name == *name);
        Ok(Said {
            attempt: *attempt.with_context(|| format!("`{name}` is no known attempt"))?,
            open: *state == "open",
            why: (*why).to_owned(),
        })
    });
    let said: Vec<Said> = said.collect::<anyhow::Result<_>>()?;
    let missing = ATTEMPTS
        .iter()
        .filter(|attempt| !said.iter().any(|it| it.attempt.name == attempt.name));
    let missing: Vec<&str> = missing.map(|it| it.name).collect();
    ensure!(missing.is_empty(), "not tried: {missing:?}\n{printed}");
    Ok(said)
}

/// Those that stay closed where there is no fence, each with why: none should. Left out are [`CLOSED_ANYWHERE`], those that
/// `own` names, and what this machine does not have, which is printed.
pub fn closed_without_a_fence(
    said: &[Said],
    frames: &[Frame],
    own: impl Fn(&Attempt) -> bool,
) -> Vec<String> {
    let mut closed = Vec::new();
    for it in said {
        let Said { attempt, why, .. } = it;
        let anywhere = CLOSED_ANYWHERE.contains(&attempt.name);
        if it.worked(frames) || anywhere || own(attempt) {
            continue;
        }
        let line = format!("{}: {why}", attempt.name);
        match it.is_not_there() {
            true => println!("not on this machine: {line}"),
            false => closed.push(line),
        }
    }
    closed
}

/// What no kernel lets out, whoever asks: these attempts end by themselves. Nobody takes orders where there is no sidecar.
const CLOSED_ANYWHERE: [&str; 7] = [
    "freebind_tcp4",
    "freebind_udp4",
    "freebind_dns4",
    "device_loopback",
    "user_namespace_flush",
    "network_namespace",
    "health_orders",
];

/// What a kernel says of what it was built without.
const NOT_THERE: [&str; 5] = [
    "not supported",
    "not implemented",
    "No such file",
    "No such device",
    "No such process",
];

impl Said {
    /// Whether the kernel lacks it: it cannot show that a fence holds it.
    fn is_not_there(&self) -> bool {
        !self.open && NOT_THERE.iter().any(|it| self.why.contains(it))
    }

    /// Whether it worked, by what is seen of it.
    pub fn worked(&self, frames: &[Frame]) -> bool {
        match self.attempt.shows {
            Shows::To(address) => frames
                .iter()
                .filter_map(|it| it.packet)
                .any(|it| it.to.to_string() == address),
            Shows::Holds(bytes) => frames.iter().any(|it| it.holds(bytes)),
            Shows::Says => self.open,
        }
    }
}

const fn to(number: u8, name: &'static str, address: &'static str) -> Attempt {
    let shows = Shows::To(address);
    Attempt {
        number,
        name,
        shows,
        refused: false,
    }
}

/// One that shows in the same way and is refused.
const fn refused(number: u8, name: &'static str, shows: Shows) -> Attempt {
    Attempt {
        number,
        name,
        shows,
        refused: true,
    }
}

const fn says(number: u8, name: &'static str) -> Attempt {
    refused(number, name, Shows::Says)
}

const fn datagram(number: u8, name: &'static str, address: &'static str) -> Attempt {
    refused(number, name, Shows::To(address))
}

/// A file capability, `struct vfs_cap_data` of revision 2 (`linux/capability.h`): effective, NET_ADMIN (12) permitted.
pub const NET_ADMIN: [u8; 20] = [
    1, 0, 0, 2, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// All of them, as the program orders them.
pub const ATTEMPTS: &[Attempt] = &[
    to(1, "tcp4", "203.0.113.1"),
    to(1, "tcp4_capture_port", "203.0.113.2"),
    to(2, "tcp6", "2001:db8:ff::1"),
    to(2, "tcp_mapped", "203.0.113.3"),
    to(70, "tcp_metadata", "169.254.169.254"),
    to(70, "tcp_metadata6", "fd00:ec2::254"),
    to(70, "tcp_kubelet", "203.0.113.4"),
    to(29, "dns_tcp4", "8.8.4.4"),
    to(29, "dns_tcp6", "2001:4860:4860::8844"),
    to(32, "dot", "9.9.9.9"),
    to(7, "mptcp4", "203.0.113.5"),
    to(7, "mptcp6", "2001:db8:ff::5"),
    datagram(6, "udp_lite4", "203.0.113.6"),
    datagram(6, "udp_lite6", "2001:db8:ff::6"),
    datagram(6, "sctp4", "203.0.113.7"),
    datagram(6, "sctp6", "2001:db8:ff::7"),
    datagram(6, "dccp4", "203.0.113.8"),
    to(4, "ping4", "203.0.113.9"),
    to(4, "ping6", "2001:db8:ff::9"),
    datagram(5, "raw_icmp4", "203.0.113.10"),
    datagram(5, "raw_icmp6", "2001:db8:ff::10"),
    datagram(5, "raw_header", "203.0.113.11"),
    refused(5, "packet", Shows::Holds(&[0x88, 0xb5, b'o', b'u', b't'])),
    refused(
        5,
        "packet_past_queues",
        Shows::Holds(&[0x88, 0xb6, b'o', b'u', b't']),
    ),
    refused(
        5,
        "packet_as_arp",
        Shows::Holds(&[0x08, 0x06, b'o', b'u', b't']),
    ),
    says(17, "vsock"),
    says(18, "xdp"),
    says(18, "alg"),
    says(18, "key"),
    says(18, "rxrpc"),
    says(18, "tipc"),
    says(18, "smc"),
    says(18, "rds"),
    says(18, "bluetooth"),
    says(18, "can"),
    says(18, "nfc"),
    says(18, "bpf"),
    datagram(18, "io_uring", "203.0.113.12"),
    datagram(3, "udp4", "203.0.113.20"),
    datagram(3, "udp6", "2001:db8:ff::20"),
    datagram(3, "udp_mapped", "203.0.113.21"),
    datagram(3, "quic4", "203.0.113.22"),
    datagram(3, "quic6", "2001:db8:ff::22"),
    datagram(32, "doq", "203.0.113.23"),
    datagram(8, "broadcast", "255.255.255.255"),
    datagram(8, "mdns", "224.0.0.251"),
    datagram(8, "multicast4", "239.1.2.3"),
    datagram(8, "multicast6", "ff02::1"),
    to(29, "dns4", "8.8.8.8"),
    to(29, "dns6", "2001:4860:4860::8888"),
    to(29, "dns_metadata", "169.254.169.254"),
    Attempt {
        number: 8,
        name: "igmp",
        shows: Shows::Holds(&[239, 1, 2, 4]),
        refused: false,
    },
    Attempt {
        number: 8,
        name: "mld",
        shows: Shows::Holds(&[0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]),
        refused: false,
    },
    to(9, "device_tcp4", "203.0.113.30"),
    to(9, "device_tcp6", "2001:db8:ff::30"),
    datagram(9, "device_udp4", "203.0.113.31"),
    datagram(9, "device_udp6", "2001:db8:ff::31"),
    datagram(9, "device_dns4", "203.0.113.32"),
    datagram(9, "device_dns6", "2001:db8:ff::32"),
    says(9, "device_loopback"),
    datagram(9, "unicast4", "203.0.113.34"),
    datagram(9, "unicast6", "2001:db8:ff::34"),
    datagram(10, "mark", "203.0.113.35"),
    datagram(10, "source_route", "203.0.113.36"),
    datagram(10, "routing_header", "2001:db8:ff::36"),
    says(11, "freebind_tcp4"),
    says(11, "freebind_udp4"),
    says(11, "freebind_dns4"),
    datagram(11, "freebind_tcp6", "2001:db8:ff::37"),
    datagram(11, "freebind_udp6", "2001:db8:ff::38"),
    datagram(11, "freebind_dns6", "2001:db8:ff::39"),
    datagram(11, "freebind_loopback6", "2001:db8:ff::40"),
    datagram(10, "transparent4", "203.0.113.41"),
    datagram(10, "transparent6", "2001:db8:ff::41"),
    to(12, "fast_open4", "203.0.113.42"),
    to(12, "fast_open6", "2001:db8:ff::42"),
    datagram(13, "set_uid", "203.0.113.60"),
    datagram(13, "set_gid", "203.0.113.61"),
    datagram(14, "setuid_file", "203.0.113.62"),
    datagram(14, "setuid_became", "203.0.113.62"),
    datagram(15, "file_capability", "203.0.113.63"),
    datagram(15, "flush", "203.0.113.64"),
    datagram(15, "su", "203.0.113.68"),
    datagram(15, "sudo", "203.0.113.69"),
    datagram(15, "newuidmap", "203.0.113.72"),
    datagram(16, "user_namespace", "203.0.113.65"),
    datagram(16, "user_namespace_flush", "203.0.113.66"),
    says(16, "network_namespace"),
    says(26, "sidecar_process"),
    says(22, "admin_port"),
    says(21, "capture_port"),
    says(21, "dns_port"),
    says(21, "dns_port_udp"),
    says(22, "metrics_port"),
    says(22, "health_orders"),
    to(20, "stale_dns4", "10.96.0.10"),
    to(20, "stale_dns6", "2001:db8:ff::53"),
    says(20, "stale_tcp"),
    says(20, "stale_tcp6"),
    says(26, "abstract_sockets"),
    says(27, "read_state"),
    says(27, "read_state_by_detour"),
    says(27, "read_token"),
    says(27, "read_authorities"),
    says(27, "read_service_account"),
    says(27, "write_trust"),
    says(27, "add_trust"),
    says(27, "write_verify"),
    says(28, "write_resolv_conf"),
    says(28, "write_hosts"),
    says(28, "write_nsswitch_conf"),
];
