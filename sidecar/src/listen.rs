//! Listeners: who was dialled is known from the address that was dialled, TLS ends here, and SNI must say the same name.

mod lengths;
mod refused;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actpass_core::evidence::record::Refusal;
use actpass_core::host::HostName;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;

use crate::metrics::ConnectionRefused;
use crate::mint::Mint;
use crate::names::Undialled;
use crate::proxy::{Dialled, Proxy};
use lengths::{Conflict, Watched};
use refused::AcceptErrors;

/// Connections of one agent at a time: 1,000 idle ones and room.
const CONNECTIONS_MAX: usize = 2_048;

/// Descriptors kept for everything but connections and listeners: the log's files, the ledger's own connections, resolvers.
const DESCRIPTORS_KEPT: usize = 64;

/// A ClientHello is there at once, and so are request headers.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

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
            let Some(dialled) = self.dialled(&socket) else {
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
                if let Err(error) = connection(socket, dialled, &mint, proxy.clone(), stop).await {
                    tracing::debug!(%error, "Connection ended");
                }
                drop(slot);
            });
        }
        // What is under way may finish; the process ends them after its grace period.
        while connections.join_next().await.is_some() {}
    }

    /// What the connection is to. One to nothing declared is recorded: the address may itself be what was to be leaked.
    fn dialled(&self, socket: &TcpStream) -> Option<Dialled> {
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
            Ok(dialled) => return Some(dialled),
            Err(undialled) => undialled,
        };
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

async fn connection(
    socket: TcpStream,
    dialled: Dialled,
    mint: &Mint,
    proxy: Arc<Proxy>,
    stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    if !dialled.tls {
        return serve_http(socket, dialled, proxy, stop).await;
    }
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
    let start = tokio::time::timeout(HELLO_TIMEOUT, hello).await??;
    let sni = start.client_hello().server_name().map(str::to_owned);
    let matches = sni
        .as_ref()
        .and_then(|sni| sni.parse::<HostName>().ok())
        .is_some_and(|sni| sni == dialled.host);
    if !matches {
        let said = sni.map_or_else(
            || "no server name".to_owned(),
            |sni| format!("server name {}", sni.escape_debug()),
        );
        let target: String = format!("TLS to {}:{} with {said}", dialled.host, dialled.port)
            .chars()
            .take(300)
            .collect();
        let refusal = Refusal {
            code: "host_mismatch".to_owned(),
            target,
        };
        proxy
            .metrics()
            .connection_refused(ConnectionRefused::HostMismatch);
        proxy.refuse(
            refusal,
            "The TLS server name is not the name that was dialled.",
        );
        return Err("server name is not the name dialled".into());
    }
    let config = mint.server_config(&dialled.host)?;
    let stream = tokio::time::timeout(HELLO_TIMEOUT, start.into_stream(config)).await??;
    serve_http(stream, dialled, proxy, stop).await
}

async fn serve_http<I>(
    io: I,
    dialled: Dialled,
    proxy: Arc<Proxy>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO_TIMEOUT)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(32 * 1024)
        .max_pending_accept_reset_streams(20);
    let (dialled, refused) = (Arc::new(dialled), proxy.clone());
    let to = dialled.clone();
    let service = hyper::service::service_fn(move |request| {
        let (proxy, dialled) = (proxy.clone(), to.clone());
        async move { Ok::<_, std::convert::Infallible>(proxy.serve(&dialled, request).await) }
    });
    let conflict = Conflict::default();
    let io = TokioIo::new(Watched::new(io, conflict.clone()));
    let serving = builder.serve_connection(io, service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => Some(served),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = &served
        && let Some(error) = error.downcast_ref::<hyper::Error>()
        && error.is_parse()
    {
        let detail = match conflict.found() {
            true => "The request has two lengths, Content-Length and Transfer-Encoding.".to_owned(),
            // One of a fixed set of sentences, without what was read.
            false => format!("Not one request after another: {error}."),
        };
        refused.refuse_unreadable(&dialled, &detail);
    }
    served
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
