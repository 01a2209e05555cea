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

use actpass_core::hash::StreamId;
use actpass_core::passport::jws::IssuerKeys;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::vault::Vault;

pub use auth::{Person, Token};

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
    stop: watch::Receiver<bool>,
) {
    actpass_transport::serve::serve(router(context), listener, tls, stop).await;
}
