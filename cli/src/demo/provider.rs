//! A payment provider on loopback, over TLS: it pays whoever shows a key, and remembers whom.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Largest request it reads.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A provider that serves until the process ends.
pub(super) struct Provider {
    port: u16,
    ca_pem: String,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    paid: Vec<String>,
    keys: Vec<String>,
}

impl Provider {
    /// Makes its certificates and serves on a free port of 127.0.0.1.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_pem = params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec!["api.payments.example".to_owned()])?
            .signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("a port on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        let books = Arc::new(Mutex::new(Books::default()));
        // Ends with the process, which is the tour.
        tokio::spawn(serve(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            books.clone(),
        ));
        Ok(Self {
            port,
            ca_pem,
            books,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Whom it paid, in order.
    pub(super) fn paid(&self) -> Vec<String> {
        self.books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .paid
            .clone()
    }

    /// Keys it was shown.
    pub(super) fn keys_seen(&self) -> Vec<String> {
        self.books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys
            .clone()
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, books: Arc<Mutex<Books>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, books) = (acceptor.clone(), books.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else {
                return;
            };
            let service = hyper::service::service_fn(move |request| answer(request, books.clone()));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "Connection to the provider ended");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    books: Arc<Mutex<Books>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let key = header
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let pays = request.uri().path() == "/v1/payouts";
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    let body: Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .unwrap_or_default();
    let text = |field: &str| {
        body.get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, json) = if key.is_empty() {
        (StatusCode::UNAUTHORIZED, json!({ "message": "no key" }))
    } else if pays {
        books
            .paid
            .push(format!("{} {}", text("vendor"), text("amount")));
        (
            StatusCode::OK,
            json!({ "id": format!("po_{}", books.paid.len()), "status": "paid" }),
        )
    } else {
        (StatusCode::OK, json!({ "balance": "1000000.00" }))
    };
    books.keys.push(key);
    let mut response = Response::new(Full::new(Bytes::from(json.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
