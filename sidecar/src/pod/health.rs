//! What the kubelet and Prometheus ask a pod's proxy, over plain HTTP/1.1 on the pod's address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Connections at once: a kubelet and a few Prometheus.
const CONNECTIONS_MAX: usize = 16;

/// A request is there at once, and its answer is short.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers a path with a status and a text of that type.
pub type Answers = Arc<dyn Fn(&str) -> (StatusCode, &'static str, String) + Send + Sync>;

/// Answers GET requests until cancelled.
pub async fn serve(listener: TcpListener, answers: Answers) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let socket = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "Probe not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let answers = answers.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, answers.clone()));
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), service);
            // Whoever asks too slowly is not answered.
            drop(tokio::time::timeout(CONNECTION_MAX, serving).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Answers,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match *request.method() {
        Method::GET | Method::HEAD => answers(request.uri().path()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
