//! A machine's network that ends in the test: its only way out is a link to a sniffer, so that whatever leaves is seen
//! and nothing reaches anybody.
//!
//! *Flow*: [`in_a_network_of_our_own`] starts the calling test once more under `unshare`, in network and mount
//! namespaces; there [`Outside::new`] makes links, resolver and sockets of the host.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's world that cannot be made is a failed test"
)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::frames::Frame;
use crate::link::{self, World};
use crate::ways::{ABSTRACT, LOOPBACK, RESOLVER, RESOLVER_SOCKETS};

/// Set in the copy of the test that runs inside.
const INSIDE: &str = "ACTPASSTESTS_OWN_NETWORK";

/// Runs `body` in network and mount namespaces of its own, by way of a second process that runs the test `name` alone.
///
/// # Panics
/// Where the namespaces cannot be made, or `body` fails there.
pub fn in_a_network_of_our_own(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("`unshare` of util-linux runs");
    assert!(
        status.success(),
        "{name}, in a network of its own: {status}"
    );
}

/// What there is outside, in the network this process is in.
pub struct Outside {
    world: World,
    /// A listener's name for each visit, none for one that brings [`LAST`].
    visits: mpsc::Receiver<Option<&'static str>>,
}

impl Outside {
    /// Makes links, addresses, resolver and listeners.
    pub fn new() -> Self {
        let world = link::made();
        link::addressed();
        // Who may ping is said per network; where only root is known, other ids are no ids.
        let range = "/proc/sys/net/ipv4/ping_group_range";
        fs::write(range, "0 65534")
            .or_else(|_| fs::write(range, "0 0"))
            .unwrap();
        let (visited, visits) = mpsc::channel();
        let outside = Self { world, visits };
        host_files();
        listen(&visited);
        outside
    }

    /// What left and what was reached since the last time, in order of names: addresses of frames, names of listeners.
    pub fn seen(&self) -> Vec<String> {
        let frames = self.world.sniffer.seen().unwrap();
        let mut seen: Vec<String> = frames.iter().filter_map(bound_for).collect();
        let mut open = visit_all();
        while open > 0 {
            match self.visits.recv_timeout(PATIENCE).unwrap() {
                Some(name) => seen.push(name.to_owned()),
                None => open -= 1,
            }
        }
        seen.sort();
        seen
    }
}

/// Listens wherever a host would, and tells of each visit.
fn listen(visits: &mpsc::Sender<Option<&'static str>>) {
    let count = |name, listener: Box<dyn Fn() -> io::Result<bool> + Send>| {
        let visits = visits.clone();
        thread::spawn(move || {
            while let Ok(last) = listener() {
                if visits.send((!last).then_some(name)).is_err() {
                    return;
                }
            }
        });
    };
    let address = UnixAddr::from_abstract_name(ABSTRACT).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    count(
        ABSTRACT,
        Box::new(move || Ok(is_last(listener.accept()?.0))),
    );
    for path in RESOLVER_SOCKETS {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        count(path, Box::new(move || Ok(is_last(listener.accept()?.0))));
    }
    let [stub, services @ ..] = LOOPBACK;
    let socket = UdpSocket::bind(stub).unwrap();
    let datagram = move || {
        let mut first = [0];
        socket.recv(&mut first)?;
        Ok(first == LAST)
    };
    count(stub, Box::new(datagram));
    for service in services {
        let listener = TcpListener::bind(service).unwrap();
        count(service, Box::new(move || Ok(is_last(listener.accept()?.0))));
    }
}

/// Brings [`LAST`] to every listener, behind whoever came before. Gives their number.
fn visit_all() -> usize {
    let address = UnixAddr::from_abstract_name(ABSTRACT).unwrap();
    UnixStream::connect_addr(&address)
        .unwrap()
        .write_all(&LAST)
        .unwrap();
    for path in RESOLVER_SOCKETS {
        UnixStream::connect(path).unwrap().write_all(&LAST).unwrap();
    }
    let [stub, services @ ..] = LOOPBACK;
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(&LAST, stub)
        .unwrap();
    for service in services {
        TcpStream::connect(service)
            .unwrap()
            .write_all(&LAST)
            .unwrap();
    }
    1 + RESOLVER_SOCKETS.len() + LOOPBACK.len()
}

/// Whether a visitor brings [`LAST`]; others bring something else, or leave.
fn is_last(mut visitor: impl Read) -> bool {
    let mut first = [0];
    visitor.read(&mut first).is_ok_and(|read| read == 1) && first == LAST
}

/// First byte of no protocol that visitors speak.
const LAST: [u8; 1] = [0xff];

/// What is on its way on this machine arrives by then.
const PATIENCE: Duration = Duration::from_secs(10);

impl Default for Outside {
    fn default() -> Self {
        Self::new()
    }
}

/// The resolver's files as systemd-resolved sets them up: resolv.conf is a link into its directory.
fn host_files() {
    let copy = tempfile::tempdir().unwrap().keep();
    let shell = |script: &str| {
        let status = Command::new("sh").arg("-euc").arg(script).status().unwrap();
        assert!(status.success(), "{script}");
    };
    // Some files of /etc are not for everybody; none of those is needed.
    shell(&format!(
        "mount -t tmpfs etc {0}; cp -a /etc/. {0} 2>/dev/null || true; mount --bind {0} /etc; umount {0}; rmdir {0}; \
         mount -t tmpfs run /run; chmod 755 /run; mkdir -p /run/systemd/resolve /run/nscd; \
         [ -e /var/run/nscd ] || ln -s /run/nscd /var/run/nscd; \
         echo 'nameserver {RESOLVER}\noptions timeout:1 attempts:1' > /run/systemd/resolve/stub-resolv.conf; \
         rm -f /etc/resolv.conf; ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf; \
         echo 'hosts: files dns' > /etc/nsswitch.conf",
        copy.display()
    ));
}

/// Where a frame is bound for, or its type where that is no version of IP. `None`: of the kernel's own making (neighbours and
/// routers of IPv6, RFC 4861, and its groups, RFC 3810).
fn bound_for(frame: &Frame) -> Option<String> {
    match frame.packet {
        _ if frame.is_of_the_link() => None,
        Some(packet) if packet.is_about_groups() => None,
        Some(packet) => Some(packet.to.to_string()),
        None => Some(format!("0x{:04x}", frame.kind)),
    }
}
