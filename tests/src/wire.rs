//! A way to a server over TCP that can be cut, held, and led elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "helpers of tests: a socket that cannot be had is a failed test"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// It ends with the runtime it was opened in.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    led: Arc<Mutex<Led>>,
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct Led {
    to: u16,
    connections: JoinSet<()>,
}

impl Wire {
    /// A way to that port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let led = Led {
            to: port,
            connections: JoinSet::new(),
        };
        let (held, holds) = watch::channel(false);
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            led: Arc::new(Mutex::new(led)),
            held,
        };
        let led = wire.led.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let mut led = led.lock().unwrap_or_else(PoisonError::into_inner);
                let far = SocketAddr::from((Ipv4Addr::LOCALHOST, led.to));
                led.connections.spawn(carry(near, far, holds.clone()));
            }
        });
        wire
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks all connections off; new ones go through.
    pub fn cut(&self) {
        self.led().connections = JoinSet::new();
    }

    /// Carries nothing, and says nothing of it, until that is over.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Breaks all connections off, and leads new ones to another port.
    pub fn lead_to(&self, port: u16) {
        let mut led = self.led();
        led.connections = JoinSet::new();
        led.to = port;
    }

    fn led(&self) -> MutexGuard<'_, Led> {
        self.led.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(near: TcpStream, far: SocketAddr, holds: watch::Receiver<bool>) {
    let Ok(far) = TcpStream::connect(far).await else {
        return;
    };
    let ((near_from, near_to), (far_from, far_to)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = one_way(near_from, far_to, holds.clone()) => {}
        () = one_way(far_from, near_to, holds) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut holds: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let open = holds.wait_for(|held| !held).await.is_ok();
        let Some(read) = bytes.get(..count).filter(|_| open) else {
            return;
        };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}
