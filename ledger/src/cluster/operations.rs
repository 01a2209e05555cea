//! What whoever operates the ledger asks: is it alive, is it ready, what does it count. Plain HTTP, nothing secret.

use std::net::SocketAddr;

use actpass_ledger::Health;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
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
///
/// Whoever comes from 127.0.0.1 came by `kubectl port-forward`, as people do who may ask about one namespace. Counters name
/// all tenants, so these they do not get; Prometheus and the kubelet come by the pod's address. A listener on 127.0.0.1 alone has
/// nobody else to answer.
pub(super) async fn serve(listener: TcpListener, stage: watch::Receiver<Stage>) {
    let own = listener.local_addr().map(|at| at.ip().is_loopback());
    let shown = match own {
        Ok(true) => get(counters),
        Ok(false) | Err(_) => get(metrics),
    };
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", shown)
        .with_state(stage);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).await {
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

async fn metrics(
    stage: State<watch::Receiver<Stage>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Response {
    if from.ip().to_canonical().is_loopback() {
        let why = "counters name all tenants: ask by the pod's address";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    counters(stage).await.into_response()
}

async fn counters(State(stage): State<watch::Receiver<Stage>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let stage = stage.borrow().clone();
    let text = match stage {
        Stage::Serving(health) => health.metrics().await,
        Stage::Starting(_) | Stage::Stopping => "# EOF\n".to_owned(),
    };
    ([(CONTENT_TYPE, kind)], text)
}
