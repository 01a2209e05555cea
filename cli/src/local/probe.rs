//! Trying the ways out from inside, just before the command may.

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use rustix::net::{AddressFamily, SocketType, socket};

/// Addresses set aside for documentation (RFC 5737, RFC 3849): nobody is there, so even a broken containment sends
/// only to nobody.
const OUTSIDE: [&str; 2] = ["192.0.2.1:80", "[2001:db8::1]:80"];

/// A setting that makes the kernel run a program outside.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// How long a connection may take to fail. Where there is no route it fails at once.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Errno of a machine without IPv6: no socket of the family, or no address to send from.
const NO_FAMILY: [i32; 2] = [97, 99];

/// Fails unless every way out tried is closed: TCP and UDP to foreign addresses, a socket to the machine below this
/// one, a setting of the kernel's, reading or uncovering `hidden`.
pub(super) fn check(hidden: &[PathBuf]) -> io::Result<()> {
    for outside in OUTSIDE {
        let address: SocketAddr = outside.parse().map_err(io::Error::other)?;
        closed(
            &format!("TCP to {outside}"),
            TcpStream::connect_timeout(&address, ATTEMPT),
        )?;
        closed(&format!("UDP to {outside}"), send_udp(address))?;
    }
    if socket(AddressFamily::VSOCK, SocketType::STREAM, None).is_ok() {
        return Err(open("a socket to the hypervisor can be made"));
    }
    if OpenOptions::new().append(true).open(CORE_PATTERN).is_ok() {
        return Err(open(&format!("`{CORE_PATTERN}` can be written")));
    }
    for path in hidden {
        let shown = path.display();
        if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
            || std::fs::read(path).is_ok()
        {
            return Err(open(&format!("`{shown}` can be read")));
        }
        if umount2(path, MntFlags::MNT_DETACH).is_ok() {
            return Err(open(&format!("`{shown}` could be uncovered")));
        }
    }
    Ok(())
}

fn send_udp(address: SocketAddr) -> io::Result<()> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.send_to(b"actpass probe", address).map(|_| ())
}

/// Only an answer that says "there is no route" counts as closed; a time-out says that something left.
fn closed<T>(way: &str, attempt: io::Result<T>) -> io::Result<()> {
    match attempt {
        Ok(_) => Err(open(&format!("{way} works"))),
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(()),
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|errno| NO_FAMILY.contains(&errno)) =>
        {
            Ok(())
        }
        Err(error) => Err(open(&format!("{way} fails, but by `{error}`"))),
    }
}

fn open(way: &str) -> io::Error {
    io::Error::other(format!("the self-check found a way out: {way}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_route_counts_as_closed() {
        struct Case {
            name: &'static str,
            given: io::Result<()>,
            want: bool,
        }
        let errno = io::Error::from_raw_os_error;
        let cases = [
            Case {
                name: "network unreachable",
                given: Err(errno(101)),
                want: true,
            },
            Case {
                name: "no IPv6",
                given: Err(errno(97)),
                want: true,
            },
            Case {
                name: "no IPv6 address",
                given: Err(errno(99)),
                want: true,
            },
            Case {
                name: "connected",
                given: Ok(()),
                want: false,
            },
            Case {
                name: "refused by a host",
                given: Err(errno(111)),
                want: false,
            },
            Case {
                name: "no route to host, said by a router",
                given: Err(errno(113)),
                want: false,
            },
            Case {
                name: "timed out",
                given: Err(io::ErrorKind::TimedOut.into()),
                want: false,
            },
        ];
        for case in cases {
            assert_eq!(
                closed("a way", case.given).is_ok(),
                case.want,
                "{}",
                case.name
            );
        }
    }
}
