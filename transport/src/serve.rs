//! Accepting connections, and serving a router on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::bodies::{Room, bounded};
use crate::server;

/// Most connections at a time: a sidecar holds one.
const CONNECTIONS_MAX: usize = 4_096;

/// A handshake takes milliseconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be without a first request.
const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// How often a quiet HTTP/2 connection is asked whether anybody is there, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long accepting rests after an error.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Who is at the other end of a request's connection: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// The Ed25519 key whose holder it proved to be.
    pub key: Option<[u8; 32]>,
}

/// Serves until `stop` turns true; then finishes what has begun.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let router = router.layer(from_fn_with_state(Room::default(), bounded));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    let mut logged = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Where descriptors run out it fails again at once.
                if logged.is_none_or(|last: Instant| last.elapsed() >= Duration::from_secs(1)) {
                    tracing::warn!(%error, "Connection not accepted");
                    logged = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!("Too many connections; one is refused");
            continue;
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = connection(socket, address, acceptor, router, stop).await {
                tracing::debug!(%error, "Connection ended");
            }
            drop(slot);
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    socket: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = Peer {
        address,
        key: certificates.and_then(server::client_key),
    };
    let asked = Arc::new(AtomicBool::new(false));
    let noting = asked.clone();
    let router = router.layer(axum::Extension(peer)).layer(map_request(
        move |request: axum::extract::Request| {
            noting.store(true, Ordering::Relaxed);
            std::future::ready(request)
        },
    ));
    let service = TowerToHyperService::new(router);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        // A peer that is gone without a word does not keep its place.
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(100);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let silent = async {
        tokio::time::sleep(FIRST_REQUEST).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = serving.as_mut() => return served,
        // Whoever says nothing keeps no place.
        () = silent => return Err("no request came".into()),
        _ = stop.wait_for(|stop| *stop) => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}
