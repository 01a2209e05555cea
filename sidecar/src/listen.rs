//! Listeners: who was dialled is known from the address that was dialled, TLS ends here, and SNI must say the same name.

mod lengths;
mod refused;
mod seen;
mod served;
pub(crate) mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;

use actpass_core::evidence::record::Refusal;
use actpass_core::host::HostName;
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::connect::is_passable;
use crate::execute::Target;
use crate::metrics::ConnectionRefused;
use crate::mint::Mint;
use crate::names::Undialled;
use crate::proxy::{Dialled, INTERNAL_NAME, Proxy};
use refused::AcceptErrors;
use served::{BoxError, HELLO_TIMEOUT};
use tunnel::Tunnel;

pub use served::serve_connection;

/// Connections of one agent at a time: 1,000 idle ones and room.
const CONNECTIONS_MAX: usize = 2_048;

/// Descriptors kept for everything but connections and listeners: the log's files, the ledger's own connections, resolvers.
const DESCRIPTORS_KEPT: usize = 64;

/// What a connection to an address is.
pub type Lookup = Arc<dyn Fn(SocketAddr) -> Result<Dialled, Undialled> + Send + Sync>;

/// How connections come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// A listener has each address and port that can be dialled: what was dialled is the connection's local address.
    Addressed,
    /// The kernel turned the connection around to us: what was dialled is its original destination (SO_ORIGINAL_DST).
    Redirected,
}

impl Capture {
    fn dialled(self, socket: &TcpStream) -> std::io::Result<SocketAddr> {
        let local = socket.local_addr()?;
        let socket = SockRef::from(socket);
        let original = match (self, local.is_ipv4()) {
            (Self::Addressed, _) => return Ok(local),
            (Self::Redirected, true) => socket.original_dst_v4()?,
            (Self::Redirected, false) => socket.original_dst_v6()?,
        };
        original
            .as_socket()
            .ok_or_else(|| std::io::Error::other("an original destination without an address"))
    }
}

/// Accepts connections until `stop` turns true. The listeners are bound inside the agent's network.
///
/// # Errors
/// Where a listener cannot be used.
pub async fn serve(
    listeners: Vec<std::net::TcpListener>,
    capture: Capture,
    lookup: Lookup,
    mint: Arc<Mint>,
    proxy: Arc<Proxy>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let slots = Arc::new(Semaphore::new(connections_max(
        getrlimit(Resource::Nofile).current,
        listeners.len(),
    )));
    let mut accepting = tokio::task::JoinSet::new();
    for socket in listeners {
        socket.set_nonblocking(true)?;
        let context = Accepting {
            listener: TcpListener::from_std(socket)?,
            capture,
            lookup: lookup.clone(),
            mint: mint.clone(),
            proxy: proxy.clone(),
            slots: slots.clone(),
        };
        accepting.spawn(context.run(stop.clone()));
    }
    while accepting.join_next().await.is_some() {}
    Ok(())
}

/// Connections at a time under a limit of open files: each takes one descriptor here and one to its upstream, so at most half
/// of what is left. More are refused in order instead of failing where something needs a descriptor.
fn connections_max(open_files: Option<u64>, listeners: usize) -> usize {
    let open_files = open_files.and_then(|limit| usize::try_from(limit).ok());
    let left = open_files
        .unwrap_or(usize::MAX)
        .saturating_sub(DESCRIPTORS_KEPT)
        .saturating_sub(listeners);
    (left / 2).clamp(1, CONNECTIONS_MAX)
}

struct Accepting {
    listener: TcpListener,
    capture: Capture,
    lookup: Lookup,
    mint: Arc<Mint>,
    proxy: Arc<Proxy>,
    slots: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut connections = tokio::task::JoinSet::new();
        let mut errors = AcceptErrors::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    errors.rest(&error).await;
                    continue;
                }
            };
            let Some(captured) = self.captured(&socket) else {
                continue;
            };
            let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                self.proxy
                    .metrics()
                    .connection_refused(ConnectionRefused::TooMany);
                tracing::warn!("Too many connections; one is refused");
                continue;
            };
            let (mint, proxy, stop) = (self.mint.clone(), self.proxy.clone(), stop.clone());
            connections.spawn(async move {
                let _open = proxy.metrics().connection();
                match captured {
                    Captured::Dialled(dialled) => {
                        let served = connection(socket, dialled, &mint, proxy.clone(), stop);
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "Connection ended");
                        }
                    }
                    Captured::Unread(tunnel) => {
                        passed_unread(socket, &[], &tunnel, &proxy, stop).await;
                    }
                }
                drop(slot);
            });
        }
        // What is under way may finish; the process ends them after its grace period.
        while connections.join_next().await.is_some() {}
    }

    /// What the connection is to. One to nothing declared is recorded: the address may itself be what was to be leaked. Under
    /// audit it is passed on.
    fn captured(&self, socket: &TcpStream) -> Option<Captured> {
        let address = match self.capture.dialled(socket) {
            Ok(address) => address,
            Err(error) => {
                self.proxy
                    .metrics()
                    .connection_refused(ConnectionRefused::NoName);
                tracing::warn!(%error, "A connection that does not say what it was to is refused");
                return None;
            }
        };
        let undialled = match (self.lookup)(address) {
            Ok(dialled) => return Some(Captured::Dialled(dialled)),
            Err(undialled) => undialled,
        };
        if self.proxy.judge().audit().is_some()
            && let Some(tunnel) = passable(&undialled)
        {
            return Some(Captured::Unread(tunnel));
        }
        let (reason, target) = match &undialled {
            Undialled::Address(address) => (ConnectionRefused::NoName, format!("TCP to {address}")),
            Undialled::Port(host, port) => (
                ConnectionRefused::UndeclaredPort,
                format!("TCP to {host}:{port}"),
            ),
        };
        self.proxy.metrics().connection_refused(reason);
        let refusal = Refusal {
            code: "undeclared_address".to_owned(),
            target,
        };
        self.proxy.refuse(refusal, &format!("{undialled}."));
        None
    }
}

/// What a connection is, before anything of it is read.
enum Captured {
    /// To a declared name and port.
    Dialled(Dialled),
    /// To something else, under audit.
    Unread(Tunnel),
}

/// How a connection to nothing declared is passed on; not where it leads to what is never an upstream.
fn passable(undialled: &Undialled) -> Option<Tunnel> {
    let (target, code) = match undialled {
        Undialled::Address(address) => {
            let target = Target::Address(*address);
            (
                is_passable(address.ip()).then_some(target)?,
                "undeclared_address",
            )
        }
        Undialled::Port(host, _) if is_ours(host) => return None,
        Undialled::Port(host, port) => (Target::Name(host.clone(), *port), "undeclared"),
    };
    Some(Tunnel {
        target,
        code,
        detail: format!("{undialled}."),
        protocol: "TCP",
    })
}

/// Names that are answered here and nowhere else.
fn is_ours(host: &HostName) -> bool {
    let rest = host.as_str().strip_suffix(INTERNAL_NAME);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Passes a connection on, until the sidecar stops.
async fn passed_unread<S>(
    mut socket: S,
    first: &[u8],
    tunnel: &Tunnel,
    proxy: &Proxy,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        () = proxy.tunnel(&mut socket, first, tunnel) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Why a connection to a declared name is not read under audit, before anything of it was: somebody does not take to it,
/// or it speaks something else than was declared.
async fn unread(socket: &TcpStream, dialled: &Dialled, proxy: &Proxy) -> Option<&'static str> {
    if is_ours(&dialled.host) {
        return None;
    }
    proxy.judge().audit()?;
    if dialled.tls && proxy.is_unread(&dialled.host, dialled.port) {
        return Some("TLS to this name cannot be intercepted.");
    }
    let mut first = [0; 1];
    let peeked = tokio::time::timeout(HELLO_TIMEOUT, socket.peek(&mut first)).await;
    let [first] = first;
    match peeked {
        // A handshake record (RFC 8446 section 5.1), or the method of a request.
        Ok(Ok(1)) if dialled.tls => (first != 0x16).then_some("What is sent is not TLS."),
        Ok(Ok(1)) => (!first.is_ascii_uppercase()).then_some("What is sent is not HTTP."),
        // Whoever waits to be spoken to speaks neither.
        Err(_) => Some("Nothing is sent at first."),
        Ok(_) => None,
    }
}

fn not_intercepted(dialled: &Dialled, code: &'static str, detail: &str) -> Tunnel {
    Tunnel {
        target: Target::Name(dialled.host.clone(), dialled.port),
        code,
        detail: detail.to_owned(),
        protocol: if dialled.tls { "TLS" } else { "TCP" },
    }
}

async fn connection(
    socket: TcpStream,
    dialled: Dialled,
    mint: &Mint,
    proxy: Arc<Proxy>,
    stop: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    socket.set_nodelay(true)?;
    if let Some(why) = unread(&socket, &dialled, &proxy).await {
        let tunnel = not_intercepted(&dialled, "not_intercepted", why);
        passed_unread(socket, &[], &tunnel, &proxy, stop).await;
        return Ok(());
    }
    serve_connection(socket, dialled, mint, proxy, stop).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (open_files, listeners, want) in [
            (None, 4, CONNECTIONS_MAX),
            (Some(1 << 20), 4, CONNECTIONS_MAX),
            (Some(1_024), 4, 478),
            (Some(256), 100, 46),
            (Some(64), 4, 1),
            (Some(0), 0, 1),
        ] {
            let found = connections_max(open_files, listeners);
            assert_eq!(found, want, "{open_files:?} and {listeners}");
        }
    }
}
