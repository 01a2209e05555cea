//! The treasury agent of the tour: an ordinary HTTPS client. It knows nothing of ActPass but the variable
//! `SSL_CERT_FILE`, as any client does, and the id of the approval it was told to wait for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exit::Exit;

const HOST: &str = "api.payments.example";

/// How long it waits for a person: the tour answers at once.
const WAIT_STEPS: u32 = 200;
const WAIT_STEP: Duration = Duration::from_millis(100);

/// Does what a treasury agent does, one line of JSON per step.
pub(crate) async fn agent() -> anyhow::Result<Exit> {
    report("read the balance", &call("GET", "/v1/balance", None).await?);
    pay("pay ven_acme 120.00", "ven_acme", "120.00").await?;
    pay("pay ven_acme 15000.00", "ven_acme", "15000.00").await?;
    pay("pay shell_company 120.00", "shell_company", "120.00").await?;
    let asked = pay("pay ven_acme 2500.00", "ven_acme", "2500.00").await?;
    wait_for(
        asked
            .pointer("/approval/id")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )
    .await?;
    pay("pay ven_acme 2500.00 again", "ven_acme", "2500.00").await?;
    pay("pay ven_acme 2500.00 once more", "ven_acme", "2500.00").await?;
    pay("pay ven_initech 400.00", "ven_initech", "400.00").await?;
    let found = std::env::vars_os().any(|(_, value)| value.to_string_lossy().contains(super::KEY));
    say(
        "look for the key",
        if found { "FOUND" } else { "not found" },
        "",
        "in environment",
        None,
    );
    let known = tokio::net::lookup_host(("example.com", 443)).await.is_ok();
    say(
        "resolve example.com",
        if known { "resolved" } else { "no such name" },
        "",
        "",
        None,
    );
    Ok(Exit::Ok)
}

async fn pay(what: &str, vendor: &str, amount: &str) -> anyhow::Result<Value> {
    let body = json!({ "vendor": vendor, "amount": amount, "currency": "USD" });
    let (status, answer) = call("POST", "/v1/payouts", Some(body)).await?;
    report(what, &(status, answer.clone()));
    Ok(answer)
}

fn report(what: &str, (status, answer): &(u16, Value)) {
    let text = |field: &str| {
        answer
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let detail = if text("detail").is_empty() {
        "done".to_owned()
    } else {
        text("detail").to_owned()
    };
    let approval = answer.pointer("/approval/id").and_then(Value::as_str);
    say(what, &status.to_string(), text("code"), &detail, approval);
}

fn say(what: &str, status: &str, code: &str, detail: &str, approval: Option<&str>) {
    let shown = format!("{status} {detail}");
    let line = json!({ "what": what, "status": status, "code": code, "shown": shown, "approval": approval });
    println!("{line}");
}

/// Waits until a person has answered.
async fn wait_for(approval: &str) -> anyhow::Result<()> {
    for _ in 0..WAIT_STEPS {
        let tcp = TcpStream::connect(("actpass.internal", 80)).await?;
        let path = format!("/v1/approvals/{approval}");
        let (_, answer) = exchange(tcp, "actpass.internal", "GET", &path, None).await?;
        if answer.get("state").and_then(Value::as_str) == Some("granted") {
            return Ok(());
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
    anyhow::bail!("nobody answered")
}

async fn call(method: &str, path: &str, body: Option<Value>) -> anyhow::Result<(u16, Value)> {
    let file = std::env::var("SSL_CERT_FILE").context("SSL_CERT_FILE")?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file)? {
        // A host's bundle may hold certificates that this library does not take.
        roots.add_parsable_certificates([certificate?]);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect((HOST, 443)).await.context("connect")?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(HOST)?, tcp)
        .await?;
    exchange(tls, HOST, method, path, body).await
}

async fn exchange<I>(
    io: I,
    host: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(u16, Value)>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body
        .map(|body| Bytes::from(body.to_string()))
        .unwrap_or_default();
    let response = sender.send_request(request.body(Full::new(body))?).await?;
    let status = response.status().as_u16();
    let bytes = Limited::new(response.into_body(), 1 << 20)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!(error))?;
    connection.abort();
    Ok((
        status,
        serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default(),
    ))
}
