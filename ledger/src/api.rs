//! The ledger's HTTP API: TLS 1.3, HTTP/2 and HTTP/1.1, JSON.
//!
//! Sidecars are known by the key of their client certificate, people and the controller by a token and the rights that a
//! [`Gate`] says go with it. Forms: [`actpass_core::wire`]; paths and rights: `docs/ledger.md`.

mod approvals;
mod auth;
mod control;
mod erasures;
mod evidence;
mod gate;
mod records;
mod streams;
mod tlog;
mod votes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actpass_core::evidence::leaf::TrustedKeys;
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

pub(crate) use evidence::{Evidence, Source};
pub use gate::{Gate, Needed, People, Person, Resource, Token, Verb};

/// Largest request: a sealed request of 1 MiB, or a bundle of the same size, with room for its frame.
const BODY_BYTES_MAX: usize = (1 << 20) + 64 * 1024;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) engine: Arc<Engine>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) metrics: Arc<Metrics>,
    /// Keys passports are signed with, as they change.
    pub(crate) issuer_keys: watch::Receiver<IssuerKeys>,
    pub(crate) people: Arc<People>,
    /// Public half of the key that checkpoints are signed with.
    pub(crate) log_keys: crate::keys::Ring,
    /// Streams opened since the start, and the logs they write to.
    pub(crate) streams: Arc<Mutex<BTreeMap<StreamId, String>>>,
    /// Where leaves are read that lie on disk.
    pub(crate) evidence: Arc<Evidence>,
    /// Who erases waits for who does.
    pub(crate) erasing: Arc<tokio::sync::Mutex<()>>,
}

impl Context {
    /// The keys believed now, as a log names them.
    pub(crate) fn believed_keys(&self) -> TrustedKeys {
        TrustedKeys {
            issuer_keys: control::as_text(&self.issuer_keys.borrow()),
            vote_keys: match self.people.as_ref() {
                People::Holder(_) => BTreeMap::new(),
                People::Reviewed { vote_keys, .. } => control::as_text(&vote_keys.borrow()),
            },
        }
    }
}

/// Largest of the small requests: a secret of 32 KiB, escaped.
const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

fn router(context: Context) -> Router {
    // In a cluster counters name every tenant, so they are shown elsewhere: to whoever may look at all of them.
    let counters = match *context.people {
        People::Holder(_) => Router::new().route("/metrics", get(control::metrics)),
        People::Reviewed { .. } => Router::new(),
    };
    Router::new()
        .merge(counters)
        .route("/v1/keys", get(control::keys))
        .route("/v1/streams", post(streams::open).layer(small()))
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
        .route("/v1/revocations", post(control::revoke).layer(small()))
        .route("/v1/pods/{uid}", delete(control::end_pod))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::show))
        .route("/v1/approvals/{id}/votes", post(votes::vote).layer(small()))
        .route("/v1/limits", get(control::limits))
        .route("/v1/intents", get(control::intents))
        .route(
            "/v1/intents/{stream}/{seq}/resolution",
            post(control::resolve).layer(small()),
        )
        .route("/v1/credentials", get(control::credentials))
        .route(
            "/v1/credentials/{name}",
            put(control::put_credential)
                .delete(control::delete_credential)
                .layer(small()),
        )
        .route(
            "/v1/erasures",
            get(erasures::list).post(erasures::erase).layer(small()),
        )
        .route("/v1/checkpoint", get(control::checkpoint))
        .route("/v1/events", get(evidence::events))
        .route("/v1/export", get(evidence::export))
        .route("/v1/logs/{tenant}/checkpoint", get(tlog::checkpoint))
        .route("/v1/logs/{tenant}/tile/{*tile}", get(tlog::tile))
        .route("/v1/logs/{tenant}/proof/{seq}", get(tlog::proof))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(control::ready))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(context)
}

/// The bound of requests that carry a token, a vote or a secret: whoever is not known yet makes nobody keep more.
fn small() -> DefaultBodyLimit {
    DefaultBodyLimit::max(SMALL_BODY_BYTES_MAX)
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
