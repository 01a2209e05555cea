//! Ways out of a pod, tried as an agent would: what the verifier does before the agent starts, and again and again.
//!
//! None of them leaves a record: they ask for names and ports of ours, or send what the kernel refuses.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use actpass_core::pod::contract::{ADMIN_PORT, CAPTURE_PORT, DNS_PORT, METRICS_PORT};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use serde::{Deserialize, Serialize};

use super::families;
use super::search::CANARY;
use crate::dns::{INTERNAL_NAME, RANGE_FIRST, RANGE_PREFIX};
use crate::names::{CANARIES, CLEAR_PORT};

/// The newest [`Pass`], in the verifier's directory.
pub const RESULT_FILE: &str = "result.json";

/// Everything tried here is answered by this machine.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What a proxy that has started answers. 403: there is no passport, and it says so.
const STARTED: [&str; 2] = ["200", "403"];

/// What any proxy answers. 503: it has not heard from the controller yet.
pub(super) const ANSWERING: [&str; 3] = ["200", "403", "503"];

/// Discard (RFC 863).
const DISCARD: u16 = 9;

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// One pass over all ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When it ended, seconds since the epoch.
    pub time: i64,
    /// What was wrong: empty if the fence stands.
    pub wrong: Vec<Wrong>,
}

/// A way that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Which: a constant.
    pub way: String,
    /// What happened.
    pub said: String,
}

/// A way: its name, and what says whether it is as it must be, given the pod's nameserver.
type Named = (&'static str, Way);

/// How a way is tried.
pub(super) type Way = fn(IpAddr) -> Result<(), String>;

/// Those that the sidecar answers.
const ANSWERED: [Named; 3] = [
    (PROXY_WAY, proxy),
    ("captured", captured),
    ("undeclared_name", undeclared_name),
];

/// The way of [`ANSWERED`] without which the others say nothing.
pub(super) const PROXY_WAY: &str = "proxy";

/// Whether a way is shut also without a sidecar.
pub(super) fn is_shut(way: &str) -> bool {
    SHUT.iter().any(|(name, _)| *name == way)
}

/// Those that are shut whether there is a sidecar or not.
const SHUT: [Named; 6] = [
    ("udp", udp),
    ("ping", ping),
    ("own_ports", own_ports),
    ("raw_socket", raw_socket),
    ("packet_socket", packet_socket),
    ("vsock", vsock),
];

/// Tries all ways. `nameserver` is the pod's own.
pub fn pass(nameserver: IpAddr, time: i64) -> Pass {
    let pass = tried(&[&ANSWERED[..], &SHUT].concat(), nameserver, time);
    match pass.lacks_answers() {
        true => pass.confirmed(&tried(&ANSWERED, nameserver, time)),
        false => pass,
    }
}

impl Pass {
    /// Whether the sidecar answered at first and then did not: it may have ended meanwhile, or had no time.
    fn lacks_answers(&self) -> bool {
        let of = |name: &str| self.wrong.iter().any(|it| it.way == name);
        !of(PROXY_WAY) && ANSWERED.iter().any(|(name, _)| of(name))
    }

    /// What is still so when the sidecar's answers are asked for `again`; that it does not answer at all is said then.
    fn confirmed(mut self, again: &Self) -> Self {
        let still = |it: &Wrong| again.wrong.iter().any(|again| again.way == it.way);
        self.wrong.retain(|it| is_shut(&it.way) || still(it));
        let away = again.wrong.iter().find(|it| it.way == PROXY_WAY);
        self.wrong.extend(away.cloned());
        self
    }
}

/// Tries those that are shut also while the sidecar has not started.
pub fn shut(nameserver: IpAddr, time: i64) -> Pass {
    tried(&SHUT, nameserver, time)
}

#[cfg(test)]
impl Pass {
    /// One in which these were wrong.
    pub(super) fn of(ways: &[&str]) -> Self {
        let wrong = ways.iter().map(|way| Wrong {
            way: (*way).to_owned(),
            said: "x".to_owned(),
        });
        Self {
            time: 7,
            wrong: wrong.collect(),
        }
    }
}

fn tried(ways: &[Named], nameserver: IpAddr, time: i64) -> Pass {
    let wrong = ways.iter().filter_map(|(way, tried)| {
        let said = tried(nameserver).err()?;
        let way = (*way).to_owned();
        Some(Wrong { way, said })
    });
    Pass {
        time,
        wrong: wrong.collect(),
    }
}

/// The first nameserver of a `resolv.conf`.
pub fn nameserver(resolv_conf: &str) -> Option<IpAddr> {
    let mut servers = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.find_map(|rest| rest.trim().parse().ok())
}

/// Whether the sidecar has started: the proxy answers, and has heard from the controller what counts.
///
/// # Errors
/// What it says instead.
pub fn started(nameserver: IpAddr) -> Result<(), String> {
    answered(nameserver, &STARTED)
}

/// A declared name leads to the proxy, and the proxy answers, be it that it has started anew and not heard yet.
fn proxy(nameserver: IpAddr) -> Result<(), String> {
    answered(nameserver, &ANSWERING)
}

fn answered(nameserver: IpAddr, statuses: &[&str]) -> Result<(), String> {
    let answer = ask(nameserver, INTERNAL_NAME)?;
    let mut addresses = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
    let address = addresses.next().ok_or_else(|| {
        format!(
            "{INTERNAL_NAME} has no address: {}",
            answer.metadata.response_code
        )
    })?;
    if !is_proxys(address) {
        return Err(format!(
            "{INTERNAL_NAME} has the address {address}, which is not the proxy's"
        ));
    }
    let answer = request(address.into());
    let answer = answer.map_err(|error| format!("the proxy does not answer: {error}"))?;
    judged(&answer, statuses)
}

/// Whether it is an address that the responder gives to declared names: no other server does.
pub(super) fn is_proxys(address: Ipv4Addr) -> bool {
    let prefix = |address: Ipv4Addr| u32::from(address) >> (32 - RANGE_PREFIX);
    prefix(address) == prefix(RANGE_FIRST)
}

/// What answers at that address, taken for the proxy.
fn request(address: IpAddr) -> io::Result<String> {
    let address = SocketAddr::from((address, CLEAR_PORT));
    request_on(TcpStream::connect_timeout(&address, PATIENCE)?)
}

/// What answers on that connection, taken for the proxy.
pub(super) fn request_on(stream: TcpStream) -> io::Result<String> {
    let request =
        format!("GET /v1/passport HTTP/1.1\r\nhost: {INTERNAL_NAME}\r\nconnection: close\r\n\r\n");
    exchange(stream, &request)
}

/// Sends a request and reads the answer to its end.
pub(super) fn exchange(mut stream: TcpStream, request: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Nobody's addresses of each family that the pod has, by its addresses and routes: of what a kernel answers where a family is
/// not there nothing can be told from a route that leads nowhere, behind which another may lead out.
pub(super) fn canaries() -> Vec<IpAddr> {
    CANARIES.into_iter().filter(has_family).collect()
}

/// Whether the pod has the family of an address.
pub(super) fn has_family(address: &IpAddr) -> bool {
    let has = families::present();
    if address.is_ipv4() { has.v4 } else { has.v6 }
}

/// A connection to anywhere ends at the proxy.
fn captured(_: IpAddr) -> Result<(), String> {
    let canaries = canaries();
    if canaries.is_empty() {
        return Err("the pod has neither IPv4 nor IPv6".to_owned());
    }
    for address in canaries {
        let answer = request(address);
        let answer =
            answer.map_err(|error| format!("a connection to {address} is lost: {error}"))?;
        let said = judged(&answer, &ANSWERING);
        said.map_err(|said| format!("a connection to {address}: {said}"))?;
    }
    Ok(())
}

/// Whether an answer has one of these statuses.
pub(super) fn judged(answer: &str, statuses: &[&str]) -> Result<(), String> {
    let status = answer.strip_prefix("HTTP/1.1 ").unwrap_or_default();
    let status = status.split(' ').next().unwrap_or_default();
    if statuses.contains(&status) {
        return Ok(());
    }
    let said = answer.lines().next().unwrap_or_default().escape_debug();
    Err(match detail(answer) {
        Some(detail) => format!("the proxy answers `{said}`: {detail}"),
        None => format!("the proxy answers `{said}`"),
    })
}

/// Whether an answer's body is an object of JSON: the sidecar's always is, and those of other proxies are pages for people.
pub(super) fn is_json(answer: &str) -> bool {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let body = body.and_then(|body| serde_json::from_str(body).ok());
    matches!(body, Some(serde_json::Value::Object(_)))
}

/// What a refusal of the proxy says for people.
fn detail(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}

/// A name that nobody declares does not exist.
pub(super) fn undeclared_name(nameserver: IpAddr) -> Result<(), String> {
    match ask(nameserver, CANARY)?.metadata.response_code {
        ResponseCode::NXDomain => Ok(()),
        code => Err(format!("an undeclared name was answered with {code}")),
    }
}

/// UDP to anywhere else is refused at once, not dropped.
fn udp(_: IpAddr) -> Result<(), String> {
    for outside in canaries() {
        let sent = || -> io::Result<()> {
            let socket = UdpSocket::bind((any(outside), 0))?;
            socket.connect((outside, DISCARD))?;
            socket.send(b"actpass").map(drop)
        };
        match sent() {
            Ok(()) => return Err(format!("a datagram to {outside} was not refused")),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(format!("a datagram to {outside}: {error}")),
        }
    }
    Ok(())
}

/// An echo request is refused where a socket for it is to be had. Of IPv6 the kernel does not say so.
pub(super) fn ping(_: IpAddr) -> Result<(), String> {
    const ECHO: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
    let family = AddressFamily::INET;
    let Ok(socket) = socket_of(family, SocketType::DGRAM, Some(ipproto::ICMP)) else {
        return Ok(());
    };
    for outside in canaries().into_iter().filter(IpAddr::is_ipv4) {
        let to = SocketAddr::from((outside, 0));
        match sendto(&socket, &ECHO, SendFlags::empty(), &to) {
            Ok(_) => return Err(format!("an echo request to {outside} was not refused")),
            Err(Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(format!("an echo request to {outside}: {error}")),
        }
    }
    Ok(())
}

pub(super) fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The pod's addresses: those that it would send from.
fn own_addresses() -> Vec<IpAddr> {
    let own = |outside: &IpAddr| {
        let socket = UdpSocket::bind((any(*outside), 0)).ok()?;
        // It sends nothing.
        socket.connect((*outside, DISCARD)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let own = CANARIES.iter().filter_map(own);
    loopback.into_iter().chain(own).collect()
}

/// Ports of the sidecar are closed to agents. The capture and DNS ports answer only what was steered to them.
pub(super) fn own_ports(_: IpAddr) -> Result<(), String> {
    for address in own_addresses() {
        for port in [ADMIN_PORT, CAPTURE_PORT, DNS_PORT, METRICS_PORT] {
            let there = SocketAddr::from((address, port));
            if TcpStream::connect_timeout(&there, PATIENCE).is_ok() {
                return Err(format!(
                    "port {port} of the sidecar takes connections of agents at {address}"
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn raw_socket(_: IpAddr) -> Result<(), String> {
    let icmp = Some(ipproto::ICMP);
    refused(AddressFamily::INET, SocketType::RAW, icmp, "a raw socket")
}

pub(super) fn packet_socket(_: IpAddr) -> Result<(), String> {
    let what = "a packet socket";
    refused(AddressFamily::PACKET, SocketType::RAW, None, what)
}

/// A virtual machine's way to its host passes every packet filter.
pub(super) fn vsock(_: IpAddr) -> Result<(), String> {
    let what = "an AF_VSOCK socket";
    refused(AddressFamily::VSOCK, SocketType::STREAM, None, what)
}

pub(super) fn refused(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
    what: &str,
) -> Result<(), String> {
    match socket_of(family, kind, protocol) {
        Ok(_) => Err(format!(
            "{what} can be made; the container runs without its seccomp profile or with a capability"
        )),
        Err(_) => Ok(()),
    }
}

pub(super) fn socket_of(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

/// Asks for the IPv4 address of a name.
pub(super) fn ask(nameserver: IpAddr, name: &str) -> Result<Message, String> {
    exchanged(nameserver, name)
        .map_err(|error| format!("the name server {nameserver} gave no answer for {name}: {error}"))
}

/// A question and its answer.
pub(super) fn exchanged(nameserver: IpAddr, name: &str) -> io::Result<Message> {
    let query = query(name).map_err(io::Error::other)?;
    let socket = UdpSocket::bind((any(nameserver), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((nameserver, 53))?;
    socket.send(&query)?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Message::from_vec(&answer).map_err(io::Error::other)
}

/// The bytes of a question for the IPv4 address of a name.
pub(super) fn query(name: &str) -> Result<Vec<u8>, String> {
    let absolute = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(absolute, RecordType::A));
    query.to_vec().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nameserver_counts() {
        let text = "search a\nnameserver 10.96.0.10\nnameserver 10.96.0.11\n";
        assert_eq!(nameserver(text), Some(IpAddr::from([10, 96, 0, 10])));
        assert_eq!(nameserver("# nameserver 10.0.0.1\n"), None);
    }

    #[test]
    fn a_proxy_has_started_once_it_says_anything_but_that_it_waits() {
        let waiting = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n\
                       {\"detail\":\"no passport: the controller was not reached yet\"}";
        let said = "the proxy answers `HTTP/1.1 503 Service Unavailable`: no passport: the controller was not reached yet";
        for (answer, started, answers) in [
            ("HTTP/1.1 200 OK\r\n\r\n{}", Ok(()), true),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Ok(()), true),
            (waiting, Err(said), true),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                Err("the proxy answers `HTTP/1.1 404 Not Found`"),
                false,
            ),
            ("SSH-2.0", Err("the proxy answers `SSH-2.0`"), false),
            ("", Err("the proxy answers ``"), false),
        ] {
            let want = started.map_err(str::to_owned);
            assert_eq!(judged(answer, &STARTED), want, "{answer}");
            assert_eq!(judged(answer, &ANSWERING).is_ok(), answers, "{answer}");
        }
    }

    #[test]
    fn a_sidecar_that_ends_in_the_middle_of_a_pass_is_no_way_out() {
        let pass = Pass::of;
        for (first, asked_again) in [
            (&[][..], false),
            (&["udp"], false),
            (&["proxy", "captured", "undeclared_name"], false),
            (&["captured"], true),
            (&["undeclared_name", "udp"], true),
        ] {
            assert_eq!(pass(first).lacks_answers(), asked_again, "{first:?}");
        }
        let first = pass(&["captured", "undeclared_name", "udp"]);
        for (again, want) in [
            (&[][..], &["udp"][..]),
            (&["captured"], &["captured", "udp"]),
            (
                &["proxy", "captured", "undeclared_name"],
                &["captured", "undeclared_name", "udp", "proxy"],
            ),
        ] {
            assert_eq!(first.clone().confirmed(&pass(again)), pass(want));
        }
    }

    #[test]
    fn without_a_fence_the_pass_says_what_is_open() {
        // On the machine of a test nobody is fenced: sockets of root exist, and no proxy answers.
        let pass = pass(IpAddr::from([127, 0, 0, 1]), 0);
        let ways: Vec<&str> = pass.wrong.iter().map(|wrong| wrong.way.as_str()).collect();
        assert!(ways.contains(&"proxy"), "{ways:?}");
        assert!(ways.contains(&"undeclared_name"), "{ways:?}");
    }
}
