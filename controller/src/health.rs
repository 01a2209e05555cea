//! The port for the kubelet and Prometheus, without TLS: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::contact::{Contact, SILENCE_MAX};
use crate::metrics::Metrics;
use crate::trust::Trust;
use crate::world::World;

/// What readiness rests on.
#[derive(Clone)]
pub struct Health {
    /// What is shown.
    pub metrics: Arc<Metrics>,
    /// What the API server says.
    pub world: Arc<World>,
    /// Whether it still answers.
    pub contact: Arc<Contact>,
    /// What the parts believe of each other.
    pub trust: watch::Receiver<Trust>,
    /// Whether sessions are served.
    pub serving: watch::Receiver<bool>,
    /// Whether it ends.
    pub stop: watch::Receiver<bool>,
}

impl Health {
    /// Why it is not ready; `None`: it is.
    pub fn why_not(&self) -> Option<String> {
        if *self.stop.borrow() {
            return Some("ending".to_owned());
        }
        if self.contact.is_lost(Instant::now()) {
            let silent = SILENCE_MAX.as_secs();
            return Some(format!(
                "the API server has not answered for {silent} seconds"
            ));
        }
        if !self.world.is_listed() {
            return Some("the API server has not shown everything yet".to_owned());
        }
        let missing = self.trust.borrow().missing();
        if !missing.is_empty() {
            return Some(format!(
                "ConfigMap `actpass-trust` lacks {}",
                missing.join(", ")
            ));
        }
        match *self.serving.borrow() {
            true => None,
            false => Some("no certificate to serve sessions with yet".to_owned()),
        }
    }
}

/// Serves until the process ends.
///
/// # Errors
/// Where the port fails.
pub async fn serve(listener: TcpListener, health: Health) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(health);
    axum::serve(listener, router).await
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match health.why_not() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn text(State(health): State<Health>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.text())
}
