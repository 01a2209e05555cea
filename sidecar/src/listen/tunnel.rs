//! Connections that are passed on unread, under audit: to what nobody declares, and where reading would break them.
//!
//! *Guarantees.* On the record before the first byte goes on, once for equal ones of ten seconds. Cut within [`LOOK_EVERY`] when the
//! audit ends. What is never an upstream (metadata services, this pod itself) is not reached.

use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::evidence::record::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use crate::execute::Target;
use crate::judge::Judge;
use crate::proxy::Proxy;

/// How often it is looked whether the audit still lasts.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A connection as it stands on the record.
pub(crate) struct Tunnel {
    pub(crate) target: Target,
    /// Why nothing of it is read.
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// What is spoken, where it is known.
    pub(crate) protocol: &'static str,
}

impl Proxy {
    /// Passes a connection on until either side ends, or the audit does. `first` was read already.
    pub(crate) async fn tunnel<S>(&self, socket: &mut S, first: &[u8], tunnel: &Tunnel)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(leave) = self.judge().audit() else {
            return;
        };
        let target = format!("{} to {}", tunnel.protocol, tunnel.target);
        let code = tunnel.code.to_owned();
        self.judge()
            .would_refuse(Refusal { code, target }, &tunnel.detail);
        let mut upstream = match self.executor().reach(&leave, &tunnel.target).await {
            Ok(upstream) => upstream,
            Err(error) => {
                tracing::info!(error = %chain(&error), "A connection under audit has nobody at its other end");
                return;
            }
        };
        if upstream.write_all(first).await.is_ok() {
            copy(socket, &mut upstream, self.judge()).await;
        }
    }
}

/// Copies both ways until either side ends, or the audit does.
pub(crate) async fn copy<A, B>(one: &mut A, other: &mut B, judge: &dyn Judge)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let over = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if judge.audit().is_none() {
                return;
            }
        }
    };
    tokio::select! {
        copied = copy_bidirectional(one, other) => {
            if let Err(error) = copied {
                tracing::debug!(%error, "A connection under audit ended");
            }
        }
        () = over => tracing::info!("A connection is cut: the audit is over"),
    }
}
