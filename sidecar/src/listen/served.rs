//! One connection to a declared name, from its first byte on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actpass_core::evidence::record::Refusal;
use actpass_core::host::HostName;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::lengths::{Conflict, Watched};
use super::seen::Seen;
use super::{is_ours, not_intercepted, passed_unread};
use crate::metrics::ConnectionRefused;
use crate::mint::Mint;
use crate::proxy::{Dialled, Proxy};

/// A ClientHello is there at once, and so are request headers.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest target of a refusal, well below the bound of a field.
const TARGET_CHARS_MAX: usize = 300;

/// Why a connection ended.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection that was made to `dialled`, until it ends or `stop` turns true: TLS where that is spoken there, and in
/// it one request after another.
///
/// # Errors
/// Why it ended, where it did not end well. What was refused of it is on the record.
pub async fn serve_connection<S>(
    socket: S,
    dialled: Dialled,
    mint: &Mint,
    proxy: Arc<Proxy>,
    stop: watch::Receiver<bool>,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if !dialled.tls {
        return serve_http(socket, dialled, proxy, stop).await;
    }
    let audited = proxy.judge().audit().is_some() && !is_ours(&dialled.host);
    let mut start = hello(Seen::new(socket, audited), &dialled, &proxy).await?;
    let sni = start.client_hello().server_name().map(str::to_owned);
    let matches = sni
        .as_ref()
        .and_then(|sni| sni.parse::<HostName>().ok())
        .is_some_and(|sni| {
            let below = || sni.as_str().ends_with(dialled.host.as_str());
            sni == dialled.host || (crate::SEEDED_BUGS && below())
        });
    if !matches && audited {
        let detail = "The TLS server name is not the name that was dialled.";
        let tunnel = not_intercepted(&dialled, "host_mismatch", detail);
        let (socket, seen) = start.io.into_parts();
        passed_unread(socket, &seen, &tunnel, &proxy, stop).await;
        return Ok(());
    }
    if !matches {
        let said = sni.map_or_else(
            || "no server name".to_owned(),
            |sni| format!("server name {}", sni.escape_debug()),
        );
        let detail = "The TLS server name is not the name that was dialled.";
        let target = format!("TLS to {}:{} with {said}", dialled.host, dialled.port);
        refuse(
            &proxy,
            ConnectionRefused::HostMismatch,
            "host_mismatch",
            &target,
            detail,
        );
        return Err("server name is not the name dialled".into());
    }
    let config = mint.server_config(&dialled.host)?;
    start.io.forget();
    let stream = tokio::time::timeout(HELLO_TIMEOUT, start.into_stream(config)).await?;
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            // The agent does not take our authority: what it does next is to come through.
            if audited {
                proxy.pass_unread(&dialled.host, dialled.port);
            }
            if we_end_it(&error) {
                let detail =
                    "What the TLS handshake offers is refused, such as TLS older than 1.2.";
                not_tls(&proxy, &dialled, detail);
            }
            return Err(error.into());
        }
    };
    serve_http(stream, dialled, proxy, stop).await
}

/// The ClientHello, whole. What is none is on the record; a connection that ended without a byte asked for nothing.
async fn hello<S>(
    socket: Seen<S>,
    dialled: &Dialled,
    proxy: &Proxy,
) -> Result<StartHandshake<Seen<S>>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), socket);
    let detail = match tokio::time::timeout(HELLO_TIMEOUT, &mut hello).await {
        Ok(Ok(start)) => return Ok(start),
        Ok(Err(_)) if hello.take_io().is_some_and(|socket| socket.is_untouched()) => {
            return Err("nothing was sent".into());
        }
        Ok(Err(error)) if rustls_error(&error).is_some() => "What was sent is no TLS handshake.",
        Ok(Err(_)) => "The TLS handshake did not begin whole.",
        Err(_) => "No TLS handshake began in time.",
    };
    not_tls(proxy, dialled, detail);
    Err(detail.into())
}

fn not_tls(proxy: &Proxy, dialled: &Dialled, detail: &str) {
    let target = format!("TLS to {}:{}", dialled.host, dialled.port);
    let reason = ConnectionRefused::NotTls;
    refuse(proxy, reason, "unparsable", &target, detail);
}

fn refuse(proxy: &Proxy, reason: ConnectionRefused, code: &str, target: &str, detail: &str) {
    proxy.metrics().connection_refused(reason);
    let refusal = Refusal {
        code: code.to_owned(),
        target: target.chars().take(TARGET_CHARS_MAX).collect(),
    };
    proxy.refuse(refusal, detail);
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the handshake ends by our word and not the agent's: one that says no to our certificate, or goes away, sent
/// nothing that is refused.
fn we_end_it(error: &io::Error) -> bool {
    rustls_error(error).is_some_and(|error| !matches!(error, rustls::Error::AlertReceived(_)))
}

async fn serve_http<I>(
    io: I,
    dialled: Dialled,
    proxy: Arc<Proxy>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO_TIMEOUT)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(32 * 1024)
        .max_pending_accept_reset_streams(20);
    let (dialled, refused) = (Arc::new(dialled), proxy.clone());
    let to = dialled.clone();
    let service = hyper::service::service_fn(move |request| {
        let (proxy, dialled) = (proxy.clone(), to.clone());
        async move { Ok::<_, std::convert::Infallible>(proxy.serve(&dialled, request).await) }
    });
    let conflict = Conflict::default();
    let io = TokioIo::new(Watched::new(io, conflict.clone()));
    let serving = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => Some(served),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = &served
        && let Some(error) = error.downcast_ref::<hyper::Error>()
        && error.is_parse()
    {
        let detail = match conflict.found() {
            true => "The request has two lengths, Content-Length and Transfer-Encoding.".to_owned(),
            // One of a fixed set of sentences, without what was read.
            false => format!("Not one request after another: {error}."),
        };
        refused.refuse_unreadable(&dialled, &detail);
    }
    served
}
