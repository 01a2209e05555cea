//! The ways out of a pod that can be tried in somebody's own cluster, for a report: what `kubectl actpass prove` runs as an agent.
//!
//! Nothing waits for an answer from outside: each attempt says by itself whether it was held, since either the kernel refuses it
//! at once or the sidecar answers in the place of whoever was meant. Numbers are those of `docs/security-model.md`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use actpass_core::hash::hex;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, connect, ipproto, sendto, sockopt};
use serde::{Deserialize, Serialize};

use super::prove_self::SELF;
use super::ways::{self, ANSWERING, PATIENCE, Way, any, exchanged, has_family, judged};
use crate::dns::INTERNAL_NAME;
use crate::names::{CANARIES, CLEAR_PORT};

/// Version of [`Proof`].
pub const PROOF_VERSION: &str = "actpass.proof/1";

/// End of the name that puts a proof on the record.
const RECORD_ZONE: &str = "proof.actpass.invalid";

/// What one pod found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// [`PROOF_VERSION`].
    pub v: String,
    /// What the caller wanted on the record with it: the digest of its own findings, lowercase hex.
    pub with: String,
    /// When it ended, seconds since the epoch.
    pub time: i64,
    /// Name of the pod.
    pub pod: String,
    /// Name of its node.
    pub node: String,
    /// Release of the node's kernel.
    pub kernel: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// What was tried.
    pub attempts: Vec<Tried>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Row of the table in `docs/security-model.md`.
    pub row: u8,
    /// What was tried.
    pub attempt: String,
    /// What came of it.
    pub verdict: Verdict,
    /// By what that is known.
    pub said: String,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was refused, or ended at the sidecar.
    Held,
    /// It was not.
    Open,
    /// It could not be tried to its end.
    Unknown,
}

/// What came of an attempt, in words.
pub(super) type Came = Result<String, (Verdict, String)>;

/// Where the attempts are made.
#[derive(Clone, Debug)]
pub struct Place {
    /// The pod's name server.
    pub nameserver: IpAddr,
    /// Addresses of its node.
    pub node: Vec<IpAddr>,
}

/// Tries everything.
pub fn attempts(place: &Place) -> Vec<Tried> {
    let connections = connections(place);
    let connections = connections.iter().map(|(row, attempt, to, plain)| {
        let came = there(to.ip(), || match plain {
            true => connected(*to),
            false => multipath(*to),
        });
        tried(*row, attempt, came)
    });
    let datagrams = datagrams(place).into_iter();
    let datagrams = datagrams.map(|(row, attempt, to)| {
        let came = there(to.ip(), || datagram(to));
        tried(row, &attempt, came)
    });
    let names = names(place).into_iter();
    let names = names.map(|(row, attempt, came)| tried(row, attempt, came));
    let checks = CHECKS.iter();
    let checks = checks.map(|(row, attempt, way)| tried(*row, attempt, checked(*way, place)));
    let families = FAMILIES.iter();
    let families = families.map(|(name, number)| tried(18, name, family(*number)));
    let this = SELF
        .iter()
        .map(|(row, attempt, look)| tried(*row, attempt, look()));
    let all = connections.chain(datagrams).chain(names);
    all.chain(checks).chain(families).chain(this).collect()
}

fn tried(row: u8, attempt: &str, came: Came) -> Tried {
    let (verdict, said) = match came {
        Ok(said) => (Verdict::Held, said),
        Err(other) => other,
    };
    let attempt = attempt.to_owned();
    Tried {
        row,
        attempt,
        verdict,
        said,
    }
}

/// Puts the digest of a proof on the record: a name that nobody declares is refused, and what was asked for is evidence.
///
/// # Errors
/// Where it is not refused.
pub fn put_on_record(nameserver: IpAddr, digest: &[u8; 32]) -> Result<(), String> {
    let name = record_name(digest);
    match ways::ask(nameserver, &name)?.metadata.response_code {
        ResponseCode::NXDomain => Ok(()),
        code => Err(format!("`{name}` was answered with {code}")),
    }
}

/// The name that puts this digest on the record: a label has at most 63 bytes.
pub fn record_name(digest: &[u8; 32]) -> String {
    let digits = hex(digest);
    let (first, second) = digits.split_at_checked(32).unwrap_or((&digits, ""));
    format!("{first}.{second}.{RECORD_ZONE}")
}

const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The kubelet's port.
const KUBELET: u16 = 10250;

/// Connections: row, what it is, where to, and whether by plain TCP.
fn connections(place: &Place) -> Vec<(u8, String, SocketAddr, bool)> {
    let mut all = Vec::new();
    for canary in CANARIES {
        let family = family_of(canary);
        let row = if canary.is_ipv4() { 1 } else { 2 };
        let to = |port| SocketAddr::from((canary, port));
        all.push((
            row,
            format!("TCP to an {family} address"),
            to(CLEAR_PORT),
            true,
        ));
        all.push((row, format!("TCP to port 8080, {family}"), to(8080), true));
        all.push((7, format!("Multipath TCP, {family}"), to(CLEAR_PORT), false));
        if let IpAddr::V4(address) = canary {
            let mapped = IpAddr::V6(address.to_ipv6_mapped());
            let attempt = "TCP to an IPv4 address written as IPv6".to_owned();
            all.push((2, attempt, (mapped, CLEAR_PORT).into(), true));
        }
    }
    for metadata in METADATA {
        let attempt = format!("the metadata service, {}", family_of(metadata));
        all.push((70, attempt, (metadata, CLEAR_PORT).into(), true));
    }
    for node in &place.node {
        let attempt = format!("the kubelet of the node, {}", family_of(*node));
        all.push((70, attempt, (*node, KUBELET).into(), true));
    }
    all
}

fn family_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// What is tried at an address, where the pod has such addresses: else there is no way to be shut.
fn there(address: IpAddr, attempt: impl FnOnce() -> Came) -> Came {
    match has_family(&address.to_canonical()) {
        true => attempt(),
        false => Ok("the pod has no such addresses".to_owned()),
    }
}

/// Held where the sidecar answers in the place of whoever was meant.
fn connected(to: SocketAddr) -> Came {
    answered(to, TcpStream::connect_timeout(&to, PATIENCE))
}

fn multipath(to: SocketAddr) -> Came {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = match ways::socket_of(family, SocketType::STREAM, Some(ipproto::MPTCP)) {
        Ok(socket) => socket,
        Err(error) => return Ok(format!("the kernel makes no such socket: {error}")),
    };
    let connected = sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))
        .and_then(|()| connect(&socket, &to));
    answered(
        to,
        connected
            .map(|()| TcpStream::from(socket))
            .map_err(io::Error::from),
    )
}

/// What the sidecar has no name for it ends without a byte, once it has taken the connection; to [`CANARIES`] it answers. Where
/// nobody takes it, the way led past the sidecar.
fn answered(to: SocketAddr, connected: io::Result<TcpStream>) -> Came {
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            return Err((Verdict::Open, format!("no sidecar took it: {error}")));
        }
    };
    let is_canary = CANARIES.contains(&to.ip().to_canonical()) && to.port() == CLEAR_PORT;
    match ways::request_on(stream) {
        Ok(answer) if is_canary && ways::is_json(&answer) => match judged(&answer, &ANSWERING) {
            Ok(()) => Ok("the sidecar answered".to_owned()),
            Err(said) => Err((Verdict::Open, said)),
        },
        Ok(answer) if !answer.is_empty() => {
            let said = answer.lines().next().unwrap_or_default().escape_debug();
            Err((Verdict::Open, format!("somebody else answered `{said}`")))
        }
        _ if is_canary => Err((Verdict::Open, "the sidecar did not answer".to_owned())),
        Ok(_) => Ok("it was taken and ended".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Ok("it was taken and ended".to_owned())
        }
        Err(error) => Err((Verdict::Open, format!("it was taken, and then: {error}"))),
    }
}

/// Datagrams: row, what it is, and where to.
fn datagrams(place: &Place) -> Vec<(u8, String, SocketAddr)> {
    let mut all = Vec::new();
    for canary in CANARIES {
        let family = family_of(canary);
        for (row, what, port) in [
            (3, "UDP", 9),
            (3, "QUIC", 443),
            (32, "DNS over QUIC", 853),
            (3, "NTP", 123),
        ] {
            all.push((row, format!("{what}, {family}"), (canary, port).into()));
        }
    }
    for (row, what, to) in [
        (8, "broadcast", IpAddr::V4(Ipv4Addr::BROADCAST)),
        (8, "multicast DNS", Ipv4Addr::new(224, 0, 0, 251).into()),
        (8, "multicast, IPv4", Ipv4Addr::new(239, 1, 2, 3).into()),
        (
            8,
            "multicast, IPv6",
            Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 1, 2).into(),
        ),
    ] {
        all.push((row, what.to_owned(), (to, 5353).into()));
    }
    for node in &place.node {
        let what = format!("UDP to the node, {}", family_of(*node));
        all.push((70, what, (*node, 9).into()));
    }
    all
}

/// Held where the kernel refuses it at once.
fn datagram(to: SocketAddr) -> Came {
    let sent = || -> io::Result<usize> {
        let socket = UdpSocket::bind((any(to.ip()), 0))?;
        if let IpAddr::V4(Ipv4Addr::BROADCAST) = to.ip() {
            socket.set_broadcast(true)?;
        }
        socket.send_to(b"actpass", to)
    };
    refused(sent(), &format!("a datagram to {to}"))
}

fn refused<T>(sent: io::Result<T>, what: &str) -> Came {
    match sent {
        Ok(_) => Err((Verdict::Open, format!("{what} was not refused"))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok("the kernel refused it at once".to_owned())
        }
        Err(error) => Err((Verdict::Unknown, format!("{what}: {error}"))),
    }
}

/// Public name servers that are not the pod's own.
const OTHER_SERVERS: [(u8, &str, IpAddr); 3] = [
    (
        29,
        "another name server",
        IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    ),
    (
        29,
        "another name server, IPv6",
        IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    ),
    (29, "the name server of the metadata service", METADATA[0]),
];

fn names(place: &Place) -> Vec<(u8, &'static str, Came)> {
    let mut all: Vec<(u8, &str, Came)> = OTHER_SERVERS
        .iter()
        .map(|(row, attempt, server)| (*row, *attempt, there(*server, || responded(*server))))
        .collect();
    all.push((29, "names by TCP", responded_by_tcp(place.nameserver)));
    let undeclared = checked(ways::undeclared_name, place);
    all.push((30, "data in a name that is asked for", undeclared));
    all
}

/// Held where the sidecar's responder answers in its place: no other knows its own name.
fn responded(server: IpAddr) -> Came {
    let way = format!("a question to {server}");
    match exchanged(server, INTERNAL_NAME) {
        Ok(answer) => ours(&answer, &way),
        Err(error) => Err((Verdict::Open, format!("{way} is lost: {error}"))),
    }
}

fn ours(answer: &hickory_proto::op::Message, way: &str) -> Came {
    let is_ours = answer.answers.iter().any(|record| match &record.data {
        RData::A(address) => ways::is_proxys(address.0),
        _ => false,
    });
    match is_ours {
        true => Ok("the sidecar answered in its place".to_owned()),
        false => Err((
            Verdict::Open,
            format!("{way} was answered by somebody else"),
        )),
    }
}

/// RFC 1035 section 4.2.2: a length before each message.
fn responded_by_tcp(server: IpAddr) -> Came {
    let way = format!("a question by TCP to {server}");
    let asked = || -> io::Result<Vec<u8>> {
        let query = ways::query(INTERNAL_NAME).map_err(io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&(server, 53).into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().map_err(|error| (Verdict::Open, format!("{way} is lost: {error}")))?;
    let answer = hickory_proto::op::Message::from_vec(&answer);
    ours(
        &answer.map_err(|error| (Verdict::Open, error.to_string()))?,
        &way,
    )
}

/// Checks of the verifier.
const CHECKS: [(u8, &str, Way); 8] = [
    (4, "an echo request", ways::ping),
    (5, "a raw socket", ways::raw_socket),
    (5, "a raw socket, IPv6", raw_socket6),
    (5, "a packet socket", ways::packet_socket),
    (6, "UDP-Lite", udp_lite),
    (17, "a socket to the hypervisor (AF_VSOCK)", ways::vsock),
    (21, "the sidecar's ports", ways::own_ports),
    (22, "orders at the port of probes", health_orders),
];

fn checked(way: Way, place: &Place) -> Came {
    match way(place.nameserver) {
        Ok(()) => Ok("it was refused".to_owned()),
        Err(said) => Err((Verdict::Open, said)),
    }
}

fn raw_socket6(_: IpAddr) -> Result<(), String> {
    let icmp = Some(ipproto::ICMPV6);
    ways::refused(AddressFamily::INET6, SocketType::RAW, icmp, "a raw socket")
}

/// RFC 3828; many kernels do not have it.
fn udp_lite(_: IpAddr) -> Result<(), String> {
    for outside in ways::canaries() {
        let (family, from) = match outside {
            IpAddr::V4(_) => (AddressFamily::INET, any(outside)),
            IpAddr::V6(_) => (AddressFamily::INET6, any(outside)),
        };
        let Ok(socket) = ways::socket_of(family, SocketType::DGRAM, Some(ipproto::UDPLITE)) else {
            continue;
        };
        let to = SocketAddr::from((outside, 9));
        let sent = bind(&socket, &SocketAddr::from((from, 0)))
            .and_then(|()| sendto(&socket, b"actpass", SendFlags::empty(), &to));
        match sent {
            Err(Errno::PERM | Errno::ACCESS) => {}
            Ok(_) => return Err(format!("a datagram to {outside} was not refused")),
            Err(error) => return Err(format!("a datagram to {outside}: {error}")),
        }
    }
    Ok(())
}

/// The one port of the sidecar that answers everybody takes no orders.
fn health_orders(_: IpAddr) -> Result<(), String> {
    use actpass_core::pod::contract::HEALTH_PORT;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, HEALTH_PORT));
    for target in ["/quitquitquit", "/drain", "/config_dump"] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let stream = TcpStream::connect_timeout(&loopback, PATIENCE);
        // It may not even take the connection.
        let Ok(answer) = stream.and_then(|stream| ways::exchange(stream, &request)) else {
            continue;
        };
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if !status.is_empty() && !status.starts_with('4') {
            let said = answer.lines().next().unwrap_or_default().escape_debug();
            return Err(format!("`POST {target}` was answered `{said}`"));
        }
    }
    Ok(())
}

/// Families whose sockets lead somewhere without IP, by their numbers (`include/linux/socket.h`).
const FAMILIES: [(&str, u16); 9] = [
    ("AF_XDP", 44),
    ("AF_KEY", 15),
    ("AF_RXRPC", 33),
    ("AF_TIPC", 30),
    ("AF_SMC", 43),
    ("AF_RDS", 21),
    ("AF_BLUETOOTH", 31),
    ("AF_CAN", 29),
    ("AF_NFC", 39),
];

fn family(number: u16) -> Came {
    let kinds = [
        SocketType::STREAM,
        SocketType::DGRAM,
        SocketType::RAW,
        SocketType::SEQPACKET,
    ];
    let made = |kind| ways::socket_of(AddressFamily::from_raw(number), kind, None).is_ok();
    match kinds.into_iter().any(made) {
        false => Ok("no such socket can be made".to_owned()),
        true => {
            let said = "a socket of this family can be made; whether it leads out is not known";
            Err((Verdict::Unknown, said.to_owned()))
        }
    }
}
