//! What whoever operates the ledger asks: is it alive, is it ready, what does it count. Plain HTTP, nothing secret.

use actpass_ledger::Health;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How far it is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// It waits for this.
    Starting(&'static str),
    /// It serves.
    Serving(Health),
    /// It ends.
    Stopping,
}

/// Answers until the process ends.
pub(super) async fn serve(listener: TcpListener, stage: watch::Receiver<Stage>) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(stage);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "No metrics and probes any more");
    }
}

async fn ready(State(stage): State<watch::Receiver<Stage>>) -> (StatusCode, String) {
    let stage = stage.borrow().clone();
    let not_yet = match stage {
        Stage::Starting(what) => format!("waiting for {what}"),
        Stage::Stopping => "stopping".to_owned(),
        Stage::Serving(health) if health.ready().await => {
            return (StatusCode::OK, "ok".to_owned());
        }
        Stage::Serving(_) => "the log takes nothing".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, not_yet)
}

async fn metrics(State(stage): State<watch::Receiver<Stage>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let stage = stage.borrow().clone();
    let text = match stage {
        Stage::Serving(health) => health.metrics().await,
        Stage::Starting(_) | Stage::Stopping => "# EOF\n".to_owned(),
    };
    ([(CONTENT_TYPE, kind)], text)
}
