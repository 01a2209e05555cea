//! Frames on a link, seen by a socket that the kernel gives all of them to: the only judge of what left.

use std::fmt;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, bind, recvmsg, setsockopt, sockopt,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, eth, send, socket_with,
};

/// Room for what a burst leaves unread, in bytes: 60,000 short frames with what the kernel keeps beside each. What does not fit
/// is counted, and fails the test.
const ROOM: usize = 128 << 20;

/// What is on its way has arrived when nothing came for so long.
const QUIET: Duration = Duration::from_millis(500);

/// What was there has been read when nothing came for so long, be it that more is on its way.
const GAP: Duration = Duration::from_millis(1);

/// The last frame of a round, which nobody but a [`Sniffer`] sends: to nobody, of a type for local experiments (IEEE 802).
/// Behind it the kernel says how many frames it lost before it.
const LAST: [u8; 14] = [2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0x88, 0xb7];

/// More than any test makes: a link that is never quiet is a failed test.
const FRAMES_MAX: usize = 500_000;

/// A frame that was just sent on this machine is there by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest frame, with segments that a link takes for one.
const FRAME_BYTES_MAX: usize = 1 << 18;

/// `PACKET_OUTGOING` of `linux/if_packet.h`: sent by the end that listens.
const OUTGOING: u8 = 4;

/// Number of `lo` in every network.
const LOOPBACK: usize = 1;

/// Extension headers of IPv6 that are passed over: hop-by-hop, routing, destination (RFC 8200 section 4).
const EXTENSIONS: [u8; 3] = [0, 43, 60];

/// Ethernet type of ARP (RFC 826).
const ARP: u16 = 0x0806;

/// Protocol number (RFC 4443).
const ICMPV6: u8 = 58;

/// One end of a link.
#[derive(Debug)]
pub struct Sniffer {
    socket: OwnedFd,
    /// Number of its interface. Until the socket is bound it is given frames of all.
    link: usize,
    /// Sends [`LAST`]; a socket does not see what it sends itself.
    other: OwnedFd,
}

/// Somebody who notes each frame when it comes.
#[derive(Debug)]
pub struct Watch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Frame>>>,
}

/// A frame that came from the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Number of the interface that it came to.
    pub link: usize,
    /// Ethernet type.
    pub kind: u16,
    /// Where it is an IP packet.
    pub packet: Option<Packet>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Whom an IP packet is from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Source and destination port, of TCP and UDP; of others the first four bytes are taken for them.
    pub ports: (u16, u16),
}

impl Sniffer {
    /// Listens at that interface of the calling thread's network, from now on.
    ///
    /// # Errors
    /// Where there is none, or this user may not.
    pub fn on(interface: &str) -> anyhow::Result<Self> {
        Self::with_room(interface, ROOM)
    }

    /// The same, with so many bytes of room for what is not read yet.
    ///
    /// # Errors
    /// As there.
    pub fn with_room(interface: &str, room: usize) -> anyhow::Result<Self> {
        let of_it = |it: InterfaceAddress| {
            let link = it.address.filter(|_| it.interface_name == interface)?;
            link.as_link_addr().copied()
        };
        let link = getifaddrs()?.find_map(of_it);
        let link = link.with_context(|| format!("no interface `{interface}`"))?;
        let socket = listening(room)?;
        bind(socket.as_raw_fd(), &link)?;
        let other = raw(None)?;
        bind(other.as_raw_fd(), &link)?;
        Ok(Self {
            socket,
            link: link.ifindex(),
            other,
        })
    }

    /// What came since the last time, once nothing comes any more.
    ///
    /// # Errors
    /// Where it never ends, a frame was lost, or the link went away.
    pub fn seen(&self) -> anyhow::Result<Vec<Frame>> {
        self.until(QUIET)
    }

    /// What came since the last time, where something may come all the time.
    ///
    /// # Errors
    /// As there.
    pub fn so_far(&self) -> anyhow::Result<Vec<Frame>> {
        self.until(GAP)
    }

    /// What came until nothing did for so long.
    fn until(&self, gap: Duration) -> anyhow::Result<Vec<Frame>> {
        let mut seen = Vec::new();
        while let Some(came) = next(&self.socket, gap)? {
            came.keep(&mut seen)?;
        }
        send(&self.other, &LAST, SendFlags::empty()).context("send the last frame")?;
        loop {
            match next(&self.socket, PATIENCE)?.context("the last frame was lost")? {
                Came::Last => {
                    seen.retain(|frame: &Frame| frame.link == self.link);
                    return Ok(seen);
                }
                came => came.keep(&mut seen)?,
            }
        }
    }
}

/// A socket for frames; with a protocol it gets them.
fn raw(protocol: Option<Protocol>) -> anyhow::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?)
}

/// One that gets them all, with so many bytes of room, and counts what it has none for.
fn listening(room: usize) -> anyhow::Result<OwnedFd> {
    let socket = raw(Some(eth::ALL))?;
    // Root of a user namespace alone has as much as everybody.
    setsockopt(&socket, sockopt::RcvBufForce, &room)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &room))?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    Ok(socket)
}

/// What comes next, if anything does for so long.
fn next(socket: &OwnedFd, patience: Duration) -> anyhow::Result<Option<Came>> {
    set_socket_timeout(socket, Timeout::Recv, Some(patience))?;
    let (mut bytes, mut beside) = (vec![0; FRAME_BYTES_MAX], cmsg_space!(u32));
    let (length, from) = loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        let (fd, none) = (socket.as_raw_fd(), MsgFlags::empty());
        match recvmsg::<LinkAddr>(fd, &mut into, Some(&mut beside), none) {
            Ok(got) => {
                for it in got.cmsgs()? {
                    if let ControlMessageOwned::RxqOvfl(lost) = it {
                        bail!("{lost} frames were lost: who sees only a part cannot judge");
                    }
                }
                ensure!(!got.flags.contains(MsgFlags::MSG_TRUNC), "a frame was cut");
                break (got.bytes, got.address);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            // ENETDOWN and the like: whatever comes later is not seen.
            Err(error) => return Err(error).context("the link cannot be listened on any more"),
        }
    };
    bytes.truncate(length);
    let own = from.is_some_and(|it| it.pkttype() == OUTGOING);
    Ok(Some(match (own, bytes == LAST) {
        (true, true) => Came::Last,
        (true, false) | (_, true) => Came::Own,
        (false, false) => Came::Frame(from.map_or(0, |it| it.ifindex()), bytes),
    }))
}

/// What a [`Sniffer`] reads.
enum Came {
    /// From the other end, at the interface of that number.
    Frame(usize, Vec<u8>),
    /// From this end.
    Own,
    /// [`LAST`].
    Last,
}

impl Came {
    fn keep(self, seen: &mut Vec<Frame>) -> anyhow::Result<()> {
        if let Self::Frame(link, bytes) = self {
            seen.extend(Frame::of(link, bytes));
        }
        ensure!(seen.len() < FRAMES_MAX, "frames without end");
        Ok(())
    }
}

impl Watch {
    /// Notes what comes at all interfaces of the calling thread's network from now on, those to come too, but for what it says to
    /// itself: on a node that alone would soon fill all room.
    ///
    /// # Errors
    /// Where this user may not.
    pub fn everywhere() -> anyhow::Result<Self> {
        let socket = listening(ROOM)?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut noted = Vec::new();
            loop {
                // Looked at first: what is there by then is read yet.
                let last = told.load(Ordering::Relaxed);
                while let Some(came) = next(&socket, GAP)? {
                    if !matches!(came, Came::Frame(LOOPBACK, _)) {
                        came.keep(&mut noted)?;
                    }
                    if !last && told.load(Ordering::Relaxed) {
                        break;
                    }
                }
                if last {
                    return Ok(noted);
                }
            }
        });
        Ok(Self { ends, thread })
    }

    /// All that came.
    ///
    /// # Errors
    /// Where it could not be noted.
    pub fn frames(self) -> anyhow::Result<Vec<Frame>> {
        self.ends.store(true, Ordering::Relaxed);
        let noted = self.thread.join();
        noted.unwrap_or_else(|_| bail!("nobody watches"))
    }
}

impl Frame {
    /// `None`: shorter than an Ethernet header.
    fn of(link: usize, bytes: Vec<u8>) -> Option<Self> {
        let kind = u16::from_be_bytes(*bytes.get(12..)?.first_chunk()?);
        let packet = bytes.get(14..).and_then(|inner| match kind {
            0x0800 => Packet::v4(inner),
            0x86dd => Packet::v6(inner),
            _ => None,
        });
        Some(Self {
            link,
            kind,
            packet,
            bytes,
        })
    }

    /// Whether these bytes stand anywhere in it.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.bytes.windows(bytes.len()).any(|it| it == bytes)
    }

    /// Whether it says which groups somebody listens to (RFC 3810 section 5.2).
    pub fn is_membership(&self) -> bool {
        let report = |it: Packet| it.protocol == ICMPV6 && it.ports.0 >> 8 == 143;
        self.packet.is_some_and(report)
    }

    /// Whether the kernel made it for the link itself: who has an address (ARP), neighbours and routers (RFC 4861).
    pub fn is_of_the_link(&self) -> bool {
        let neighbour = |it: &Packet| {
            let kind = it.ports.0 >> 8;
            it.protocol == ICMPV6 && matches!(kind, 133 | 135 | 136)
        };
        // A frame made by hand can say that it is ARP: a real one names an IPv4 address of four bytes.
        let real = self.bytes.get(14..20) == Some(&[0, 1, 8, 0, 6, 4]);
        (self.kind == ARP && real) || self.packet.as_ref().is_some_and(neighbour)
    }
}

impl Packet {
    /// Whether it says which groups a machine is in (RFC 3810).
    pub fn is_about_groups(&self) -> bool {
        self.protocol == ICMPV6 && self.ports.0 >> 8 == 143
    }

    fn v4(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?));
        let header = usize::from(bytes.first()? & 15) * 4;
        Some(Self {
            from: address(12)?.into(),
            to: address(16)?.into(),
            protocol: *bytes.get(9)?,
            ports: ports(bytes.get(header..)),
        })
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?));
        let (mut protocol, mut rest) = (*bytes.get(6)?, bytes.get(40..)?);
        while EXTENSIONS.contains(&protocol) {
            let length = usize::from(*rest.get(1)?) * 8 + 8;
            protocol = *rest.first()?;
            rest = rest.get(length..)?;
        }
        Some(Self {
            from: address(8)?.into(),
            to: address(24)?.into(),
            protocol,
            ports: ports(Some(rest)),
        })
    }
}

fn ports(transport: Option<&[u8]>) -> (u16, u16) {
    let at = |at: usize| {
        let pair = transport?.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*pair))
    };
    (at(0).unwrap_or(0), at(2).unwrap_or(0))
}

impl fmt::Display for Frame {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.packet {
            Some(it) => {
                let (from_port, to_port) = it.ports;
                let protocol = it.protocol;
                write!(
                    to,
                    "{} > {}, protocol {protocol}, {from_port} > {to_port}",
                    it.from, it.to
                )
            }
            None => write!(to, "Ethernet type {:#06x}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u16, inner: &[u8]) -> Frame {
        let bytes = [&[0; 12][..], &kind.to_be_bytes(), inner].concat();
        Frame::of(1, bytes).unwrap()
    }

    #[test]
    fn a_packet_is_known_behind_options_and_extension_headers() {
        let mut v4 = vec![
            0x46, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 203, 0, 113, 7,
        ];
        v4.extend([0x83, 3, 4, 0, 0, 7, 0, 53]);
        let said = frame(0x0800, &v4).to_string();
        assert_eq!(said, "10.0.0.1 > 203.0.113.7, protocol 17, 7 > 53");

        let mut v6 = vec![0x60, 0, 0, 0, 0, 0, 0, 64];
        v6.extend([0; 15].into_iter().chain([1]).chain([0; 15]).chain([2]));
        v6.extend([58, 0, 0, 0, 0, 0, 0, 0, 143, 0, 0, 0]);
        let report = frame(0x86dd, &v6);
        assert_eq!(report.packet.unwrap().protocol, 58);
        assert!(!report.is_of_the_link(), "group membership is no neighbour");
        *v6.get_mut(48).unwrap() = 135;
        assert!(frame(0x86dd, &v6).is_of_the_link());
    }

    #[test]
    fn a_frame_that_calls_itself_arp_is_not_taken_for_it() {
        assert!(frame(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]).is_of_the_link());
        let forged = frame(0x0806, b"out");
        assert!(!forged.is_of_the_link() && forged.holds(b"out"));
        assert!(Frame::of(1, vec![0; 13]).is_none());
    }
}
