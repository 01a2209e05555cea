//! A sidecar behind the fence, under its own user, as a pod has it: the kernel turns connections and names around to it. Its ledger
//! is in the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actpass_core::pod::contract::{CAPTURE_PORT, DNS_PORT};
use actpass_sidecar::dns::{self, Responder};
use actpass_sidecar::execute::Executor;
use actpass_sidecar::listen::{self, Capture, Lookup};
use actpass_sidecar::mint::Mint;
use actpass_sidecar::names::Names;
use actpass_sidecar::proxy::Proxy;
use anyhow::Context;
use nix::unistd::{Uid, setfsuid};
use tokio::net;
use tokio::sync::mpsc::channel;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::SIDECAR;
use crate::permit::HOST;
use crate::{ledger, policy, sidecar};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// It ends when this is dropped.
pub(super) struct Pod {
    _stop: oneshot::Sender<()>,
}

/// Starts both, and returns once they listen. A thread's user is that of the sockets it makes, and of threads it starts.
pub(super) fn started(ledger: TcpListener) -> anyhow::Result<Pod> {
    let (stop, stopped) = oneshot::channel();
    let (up, is_up) = mpsc::channel();
    std::thread::spawn(move || {
        setfsuid(Uid::from_raw(SIDECAR));
        let runtime = crate::runtime(2).map_err(Into::into);
        let ran = runtime.and_then(|runtime| runtime.block_on(serving(ledger, &up, stopped)));
        // Nobody waits any more for one that had started.
        up.send(ran).ok();
    });
    is_up.recv_timeout(PATIENCE).context("no sidecar")??;
    Ok(Pod { _stop: stop })
}

async fn serving(
    socket: TcpListener,
    up: &mpsc::Sender<anyhow::Result<()>>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let bundle = Arc::new(policy::bundle(HOST, 443, "", 10)?);
    let started = ledger::start_on(socket, dir.path(), &bundle).await?;
    let (pep, shipping) = sidecar::pep(&started.handover, bundle.clone(), dir.path()).await?;
    let names = Arc::new(Names::new(&bundle)?);
    let (mut sockets, mut serving) = (Vec::new(), JoinSet::new());
    // What is asked for in vain would be recorded: here nobody does.
    let (events, _) = channel(1);
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for address in loopback {
        sockets.push(TcpListener::bind((address, CAPTURE_PORT))?);
        let udp = net::UdpSocket::bind((address, DNS_PORT)).await?;
        let tcp = net::TcpListener::bind((address, DNS_PORT)).await?;
        let zone = names.zone().clone();
        let responder: Responder = Arc::new(move |query, transport| zone.answer(query, transport));
        serving.spawn(dns::serve(responder, udp, tcp, events.clone()));
    }
    let proxy = Arc::new(Proxy::new(pep.clone(), pep.clone(), Executor::new(vec![])));
    let lookup: Lookup = Arc::new(move |address| names.dialled(address));
    let (_stop, never) = watch::channel(false);
    let (capture, mint) = (Capture::Redirected, Arc::new(Mint::new()?));
    serving.spawn(listen::serve(sockets, capture, lookup, mint, proxy, never));
    up.send(Ok(()))?;
    // Told to, or left.
    stopped.await.ok();
    serving.shutdown().await;
    pep.close();
    shipping.await??;
    started.ledger.stop().await;
    Ok(())
}
