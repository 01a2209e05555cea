//! The port for the kubelet and Prometheus, without TLS: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::Metrics;

/// Why it is not ready; nothing: it is.
pub type Readiness = watch::Sender<Option<String>>;

#[derive(Clone)]
struct Health {
    metrics: Arc<Metrics>,
    readiness: watch::Receiver<Option<String>>,
}

/// Serves until the process ends.
///
/// # Errors
/// Where the port fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: watch::Receiver<Option<String>>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Health { metrics, readiness });
    axum::serve(listener, router).await
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match &*health.readiness.borrow() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn text(State(health): State<Health>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.text())
}
