//! The ledger's HTTP API: TLS 1.3, HTTP/2 and HTTP/1.1, JSON.
//!
//! Sidecars are known by the key of their client certificate, people and the controller by a token. Paths and forms:
//! [`actpass_core::wire`].

mod approvals;
mod auth;
mod control;
mod records;
mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actpass_core::hash::StreamId;
use actpass_core::passport::jws::IssuerKeys;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::tls;
use crate::vault::Vault;

pub use auth::{Person, Token};

/// Most connections at a time: a sidecar holds one.
const CONNECTIONS_MAX: usize = 4_096;

/// A handshake takes milliseconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests after an error.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Largest request: a sealed request of 1 MiB, or a bundle of the same size, with room for its frame.
const BODY_BYTES_MAX: usize = (1 << 20) + 64 * 1024;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) engine: Arc<Engine>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) issuer_keys: Arc<IssuerKeys>,
    pub(crate) token: Arc<Token>,
    /// Streams opened since the start, and the logs they write to.
    pub(crate) streams: Arc<Mutex<BTreeMap<StreamId, String>>>,
}

fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/streams", post(streams::open))
        .route("/v1/streams/{stream}", delete(streams::close))
        .route("/v1/streams/{stream}/records", post(records::append))
        .route(
            "/v1/streams/{stream}/permits/{seq}/credential",
            get(streams::credential),
        )
        .route("/v1/streams/{stream}/leases", post(streams::lease))
        .route("/v1/streams/{stream}/sealed/{seq}", put(streams::seal))
        .route(
            "/v1/streams/{stream}/sealed-requests/{approval}",
            get(streams::sealed),
        )
        .route(
            "/v1/streams/{stream}/approvals/{approval}",
            get(streams::approval),
        )
        .route("/v1/bundles", put(control::put_bundle))
        .route("/v1/revocations", post(control::revoke))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::show))
        .route("/v1/approvals/{id}/votes", post(approvals::vote))
        .route("/v1/limits", get(control::limits))
        .route("/v1/intents", get(control::intents))
        .route(
            "/v1/intents/{stream}/{seq}/resolution",
            post(control::resolve),
        )
        .route("/v1/credentials", get(control::credentials))
        .route(
            "/v1/credentials/{name}",
            put(control::put_credential).delete(control::delete_credential),
        )
        .route("/v1/checkpoint", get(control::checkpoint))
        .route("/metrics", get(control::metrics))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(control::ready))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(context)
}

/// Serves until `stop` turns true; then finishes what has begun.
pub(crate) async fn serve(
    context: Context,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let router = router(context);
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    let mut logged = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
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
            if let Err(error) = connection(socket, acceptor, router, stop).await {
                tracing::debug!(%error, "Connection ended");
            }
            drop(slot);
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    socket: tokio::net::TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
    let peer = auth::Peer(
        stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(tls::client_stream),
    );
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        served = serving.as_mut() => return served,
        _ = stop.wait_for(|stop| *stop) => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}
