//! The listeners: made inside, where their addresses exist, and passed out to whoever serves them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::plan::{ListenSpec, Plan};
use super::wire::{self, DESCRIPTORS_MAX, RECEIVED, Report};

/// Where the responder listens: what resolv.conf names, and what resolvers ask when there is none.
const DNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 53);

/// The plan's sockets, outside.
pub(super) struct Sockets {
    pub(super) dns: Option<(UdpSocket, TcpListener)>,
    pub(super) listeners: Vec<(ListenSpec, TcpListener)>,
}

/// Inside: makes the plan's sockets and passes them out, round by round, DNS first. A round's own copies are closed
/// before the next begins.
pub(super) fn pass_out(control: &UnixStream, plan: &Plan) -> io::Result<()> {
    if plan.dns {
        let (udp, tcp) = (UdpSocket::bind(DNS).map_err(at(DNS))?, listen(DNS)?);
        pass_round(control, &[udp.as_fd(), tcp.as_fd()])?;
    }
    for round in plan.listeners.chunks(DESCRIPTORS_MAX) {
        let made = round
            .iter()
            .map(|spec| listen(spec.socket_addr()))
            .collect::<io::Result<Vec<_>>>()?;
        pass_round(control, &made.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn pass_round(control: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    wire::send_frame(control, &Report::Descriptors(descriptors.len()))?;
    wire::send_descriptors(control, descriptors)?;
    wire::await_byte(control, RECEIVED)
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    TcpListener::bind(address).map_err(at(address))
}

fn at(address: SocketAddrV4) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("listen on {address}: {error}"))
}

/// Outside: gives the descriptors that arrived their places in the plan, non-blocking, after checking that each
/// listens where it should.
pub(super) fn assign(plan: &Plan, descriptors: Vec<OwnedFd>) -> io::Result<Sockets> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || {
        descriptors
            .next()
            .ok_or_else(|| io::Error::other("too few listeners arrived"))
    };
    let listener = |address: SocketAddrV4, descriptor: OwnedFd| {
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        checked(address, listener.local_addr()?.to_string()).map(|()| listener)
    };
    let dns = match plan.dns {
        true => {
            let udp = UdpSocket::from(next()?);
            udp.set_nonblocking(true)?;
            checked(DNS, udp.local_addr()?.to_string())?;
            Some((udp, listener(DNS, next()?)?))
        }
        false => None,
    };
    let placed = |spec: &ListenSpec| Ok((*spec, listener(spec.socket_addr(), next()?)?));
    let listeners = plan
        .listeners
        .iter()
        .map(placed)
        .collect::<io::Result<_>>()?;
    match descriptors.next() {
        None => Ok(Sockets { dns, listeners }),
        Some(_) => Err(io::Error::other("too many listeners arrived")),
    }
}

fn checked(wanted: SocketAddrV4, found: String) -> io::Result<()> {
    if wanted.to_string() != found {
        return Err(io::Error::other(format!(
            "a listener for {wanted} arrived that listens on {found}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(listeners: Vec<ListenSpec>) -> Plan {
        Plan {
            listeners,
            dns: false,
            command: vec![],
            env: vec![],
            working_dir: "/".into(),
            files: vec![],
            dirs: vec![],
            hide: vec![],
        }
    }

    #[test]
    fn listeners_find_their_places_or_are_refused() {
        let bound = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            (
                ListenSpec {
                    addr: Ipv4Addr::LOCALHOST,
                    port,
                },
                OwnedFd::from(listener),
            )
        };
        let ((one, first), (two, second), (_, third)) = (bound(), bound(), bound());
        let sockets = assign(&plan(vec![one, two]), vec![first, second]).unwrap();
        assert_eq!(
            sockets
                .listeners
                .iter()
                .map(|(spec, _)| *spec)
                .collect::<Vec<_>>(),
            [one, two]
        );
        assert!(
            assign(&plan(vec![one]), vec![third]).is_err(),
            "another address"
        );
        assert!(assign(&plan(vec![one]), vec![]).is_err(), "too few");
        assert!(assign(&plan(vec![]), vec![bound().1]).is_err(), "too many");
    }
}
