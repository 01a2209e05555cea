//! A whole sidecar in the test's own process, in front of an upstream that does over TLS what the test says, and behind a
//! socket in clear where the test is the agent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::hash::{hex, sha256};
use actpass_core::mode::Mode;
use actpass_core::upstream::Effect;
use actpass_ledger::Ledger;
use actpass_ledger::vault::Bindings;
use actpass_sidecar::connect::ConnectTo;
use actpass_sidecar::execute::{Clock, Executor};
use actpass_sidecar::listen::{self, Capture, Lookup};
use actpass_sidecar::mint::Mint;
use actpass_sidecar::names::Names;
use actpass_sidecar::proxy::{Dialled, Proxy};
use anyhow::Context;
use jiff::Timestamp;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::authority::Authority;
use crate::parts::{Agent, Parts};

/// The upstream's name.
pub const HOST: &str = "api.shop.example";

/// What the upstream is sent as `authorization: Bearer …`.
pub const SECRET: &str = "sk_live_0123456789";

/// An upstream's way to answer: gets the first line of a request read whole, and where to write. Its error closes
/// the connection.
pub type Script = Arc<dyn Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync>;

/// Heads of requests, in order.
pub type Heads = Arc<Mutex<Vec<String>>>;

/// A running sidecar.
pub struct Proxied {
    /// Ledger's parts, and what is in its log.
    pub parts: Parts,
    /// Where the agent connects.
    pub address: SocketAddr,
    /// What can be dialled.
    pub names: Arc<Names>,
    /// Signs the leaves that agents meet.
    pub mint: Arc<Mint>,
    /// Heads of the requests that reached the upstream, each with its first line.
    pub heads: Heads,
    ledger: Ledger,
    agent: Agent,
    proxy: Arc<Proxy>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<io::Result<()>>,
}

/// What stands behind it.
struct Served<'a> {
    authority: &'a Authority,
    port: u16,
    heads: Heads,
}

/// What a sidecar is made of.
pub(crate) struct Whole {
    pub(crate) parts: Parts,
    pub(crate) ledger: Ledger,
    pub(crate) agent: Agent,
    pub(crate) executor: Executor,
    pub(crate) heads: Heads,
}

impl Proxied {
    /// Starts all of it under a policy that says `TLS` where its Upstream `shop` at [`HOST`] says how.
    ///
    /// # Errors
    /// Where something of it does not start.
    pub async fn start(policy: &str, script: Script) -> anyhow::Result<Self> {
        Self::start_at(policy, script, Arc::new(Timestamp::now)).await
    }

    /// The same, for connections that the kernel turns around to it: TLS ends here, and the name dialled is that of the
    /// original destination among [`Names`].
    ///
    /// # Errors
    /// Where something of it does not start.
    pub async fn start_redirected(policy: &str, script: Script) -> anyhow::Result<Self> {
        let clock: Clock = Arc::new(Timestamp::now);
        Self::scripted(Mode::Enforce, policy, script, clock, Capture::Redirected).await
    }

    /// The same as [`Proxied::start`] in front of a server that listens on `127.0.0.1:port` with a certificate of `authority`,
    /// instead of a script: what reached it, it must say itself.
    ///
    /// # Errors
    /// Where something of it does not start.
    pub async fn start_before(
        policy: &str,
        authority: &Authority,
        port: u16,
    ) -> anyhow::Result<Self> {
        let (clock, heads) = (Arc::new(Timestamp::now), Heads::default());
        let served = Served {
            authority,
            port,
            heads,
        };
        Self::begin(Mode::Enforce, policy, served, clock, Capture::Addressed).await
    }

    /// The same; `clock` tells the time to whatever sends requests.
    ///
    /// # Errors
    /// Where something of it does not start.
    pub async fn start_at(policy: &str, script: Script, clock: Clock) -> anyhow::Result<Self> {
        Self::scripted(Mode::Enforce, policy, script, clock, Capture::Addressed).await
    }

    /// The same for a namespace under audit.
    ///
    /// # Errors
    /// Where something of it does not start.
    pub async fn start_audited(policy: &str, script: Script) -> anyhow::Result<Self> {
        let clock: Clock = Arc::new(Timestamp::now);
        Self::scripted(Mode::Audit, policy, script, clock, Capture::Addressed).await
    }

    async fn scripted(
        mode: Mode,
        policy: &str,
        script: Script,
        clock: Clock,
        capture: Capture,
    ) -> anyhow::Result<Self> {
        let (authority, heads) = (&Authority::new()?, Heads::default());
        let port = answering(authority.server(HOST)?, script, heads.clone())?;
        let served = Served {
            authority,
            port,
            heads,
        };
        Self::begin(mode, policy, served, clock, capture).await
    }

    async fn begin(
        mode: Mode,
        policy: &str,
        served: Served<'_>,
        clock: Clock,
        capture: Capture,
    ) -> anyhow::Result<Self> {
        let Served {
            authority,
            port: to_port,
            heads,
        } = served;
        let tls = format!("tls:\n    caBundle: |\n{}", authority.block(6));
        let parts = Parts::under(mode, &policy.replace("TLS", tls.trim_end()))?;
        let upstream = parts.bundle().upstream("shop").context("no `shop`")?;
        let ca = upstream.tls.ca_bundle.as_deref().unwrap_or_default();
        let bindings = Bindings {
            ca_sha256: Some(hex(&sha256(&[ca.as_bytes()]))),
            effects: vec![Effect::Read, Effect::Write, Effect::Irreversible],
            format: None,
            header: "authorization".to_owned(),
            hosts: vec![HOST.to_owned()],
            ports: vec![443],
        };
        parts.store("shop", bindings, SECRET)?;
        let ledger = parts.ledger().await?;
        let agent = parts.agent().await?;
        let executor = Executor::new(vec![ConnectTo {
            host: HOST.parse()?,
            port: 443,
            to_host: "127.0.0.1".to_owned(),
            to_port,
        }])
        .with_clock(clock);
        let socket = TcpListener::bind(("127.0.0.1", 0))?;
        let port = socket.local_addr()?.port();
        let mut sockets = vec![socket];
        if capture == Capture::Redirected {
            sockets.push(TcpListener::bind(("::1", port))?);
        }
        let whole = Whole {
            parts,
            ledger,
            agent,
            executor,
            heads,
        };
        Self::of(whole, sockets, capture)
    }

    /// One of these parts that serves at these sockets.
    pub(crate) fn of(
        whole: Whole,
        sockets: Vec<TcpListener>,
        capture: Capture,
    ) -> anyhow::Result<Self> {
        let Whole {
            parts,
            ledger,
            agent,
            executor,
            heads,
        } = whole;
        let address = sockets.first().context("no socket")?.local_addr()?;
        let clear = Dialled {
            host: HOST.parse()?,
            port: 443,
            tls: false,
        };
        let names = Arc::new(Names::new(parts.bundle())?);
        let known = names.clone();
        let lookup: Lookup = Arc::new(move |address| match capture {
            Capture::Addressed => Ok(clear.clone()),
            Capture::Redirected => known.dialled(address),
        });
        let proxy = Proxy::new(agent.pep.clone(), agent.pep.clone(), executor);
        let proxy = Arc::new(proxy.measured(agent.pep.metrics().clone()));
        let (stop, stopped) = watch::channel(false);
        let mint = Arc::new(Mint::new()?);
        let serving = tokio::spawn(listen::serve(
            sockets,
            capture,
            lookup,
            mint.clone(),
            proxy.clone(),
            stopped,
        ));
        Ok(Self {
            parts,
            address,
            names,
            mint,
            heads,
            ledger,
            agent,
            proxy,
            stop,
            serving,
        })
    }

    /// The metrics of this moment.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        self.agent.pep.write_metrics(&mut text);
        text
    }

    /// Ends in order, gives what runs without its agent a second, and leaves what is in the log.
    ///
    /// # Errors
    /// Where something does not end well.
    pub async fn close(self) -> anyhow::Result<Parts> {
        self.stop.send(true)?;
        self.serving.await??;
        self.proxy.settle(Duration::from_secs(1)).await;
        self.agent.close().await?;
        self.ledger.stop().await;
        Ok(self.parts)
    }
}

/// Sends a request on a connection of its own and gives all that comes back.
///
/// # Errors
/// Where the sidecar is not reached.
pub async fn ask(address: SocketAddr, request: String) -> anyhow::Result<Vec<u8>> {
    let asking = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<u8>> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        // An answer that is broken off ends as it may; what came is what counts.
        socket.read_to_end(&mut answer).ok();
        Ok(answer)
    });
    asking.await?
}

/// One connection per thread; it ends where the script fails.
fn answering(config: Arc<ServerConfig>, script: Script, heads: Heads) -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, script, heads) = (config.clone(), script.clone(), heads.clone());
            // A connection that breaks off is the test's own doing.
            std::thread::spawn(move || answer(socket, config, &script, &heads).ok());
        }
    });
    Ok(port)
}

fn answer(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    script: &Script,
    heads: &Heads,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, socket));
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut head = first.clone();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            head += &line;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        stream.read_exact(&mut vec![0; length])?;
        heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(head);
        script(first.trim_end(), stream.get_mut())?;
        stream.get_mut().flush()?;
    }
}
