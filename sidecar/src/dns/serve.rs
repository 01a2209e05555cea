//! The responder's sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{DnsAnswer, DnsEvent, Transport};

/// Connections at once. Stub resolvers turn to TCP only for long answers, and ours never are.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may stay without a whole query, or without taking its answer.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest datagram read, in bytes; a longer one is cut and so unreadable. Queries take under 300.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// What answers a query: the zone in force.
pub type Responder = Arc<dyn Fn(&[u8], Transport) -> DnsAnswer + Send + Sync>;

/// What asks elsewhere, for queries that it takes; the responder answers the others. Under audit only.
pub type Relay = Arc<dyn Fn(&[u8], Transport) -> Option<Relayed> + Send + Sync>;

/// A query that is asked elsewhere.
pub struct Relayed {
    /// What is worth a record, before it is asked.
    pub event: Option<DnsEvent>,
    /// Its answer; `None` where there is none, as from a server that is away.
    pub answer: BoxFuture<'static, Option<Vec<u8>>>,
}

/// Most queries over UDP that are asked elsewhere at once; further ones are asked again by their clients.
const RELAYED_MAX: usize = 128;

/// What answers, and what is told.
#[derive(Clone)]
struct Answers {
    responder: Responder,
    relay: Relay,
    events: mpsc::Sender<DnsEvent>,
}

/// Answers queries on both sockets until cancelled.
///
/// *Guarantees*: an event is in `events` before its answer is sent, so a full channel slows whoever asks for
/// undeclared names instead of losing a record. A closed channel is no error: the process is ending.
///
/// # Errors
/// Reading the UDP socket failed. Failures to send are ignored: an answer to a spoofed source may be refused.
pub async fn serve(
    responder: Responder,
    udp: UdpSocket,
    tcp: TcpListener,
    events: mpsc::Sender<DnsEvent>,
) -> io::Result<()> {
    serve_relaying(responder, Arc::new(|_, _| None), udp, tcp, events).await
}

/// The same, with some queries asked elsewhere.
///
/// # Errors
/// As [`serve`].
pub async fn serve_relaying(
    responder: Responder,
    relay: Relay,
    udp: UdpSocket,
    tcp: TcpListener,
    events: mpsc::Sender<DnsEvent>,
) -> io::Result<()> {
    let answers = Answers {
        responder,
        relay,
        events,
    };
    serve_all(answers, udp, tcp, IDLE).await
}

/// As [`serve`], closing connections that idle for `idle`.
#[cfg(test)]
pub(super) async fn serve_idling(
    responder: Responder,
    udp: UdpSocket,
    tcp: TcpListener,
    events: mpsc::Sender<DnsEvent>,
    idle: Duration,
) -> io::Result<()> {
    let relay: Relay = Arc::new(|_, _| None);
    let answers = Answers {
        responder,
        relay,
        events,
    };
    serve_all(answers, udp, tcp, idle).await
}

async fn serve_all(
    answers: Answers,
    udp: UdpSocket,
    tcp: TcpListener,
    idle: Duration,
) -> io::Result<()> {
    tokio::select! {
        done = serve_udp(&answers, Arc::new(udp)) => done,
        () = serve_tcp(&answers, &tcp, idle) => Ok(()),
    }
}

/// One query after the other: an answer takes microseconds. Those that wait for another host do so beside.
async fn serve_udp(answers: &Answers, udp: Arc<UdpSocket>) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut relayed = JoinSet::new();
    loop {
        let (length, from) = tokio::select! {
            received = udp.recv_from(&mut buffer) => received?,
            Some(_) = relayed.join_next(), if !relayed.is_empty() => continue,
        };
        let query = buffer.get(..length).unwrap_or_default();
        match answers.relayed(query, Transport::Udp).await {
            Some(answer) if relayed.len() < RELAYED_MAX => {
                let udp = udp.clone();
                relayed.spawn(async move {
                    if let Some(bytes) = answer.await {
                        udp.send_to(&bytes, from).await.ok();
                    }
                });
            }
            Some(_) => {}
            None => {
                if let Some(bytes) = answers.answer(query, Transport::Udp).await {
                    udp.send_to(&bytes, from).await.ok();
                }
            }
        }
    }
}

async fn serve_tcp(answers: &Answers, tcp: &TcpListener, idle: Duration) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = tcp.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(answers.clone(), stream, idle));
                }
                Err(error) => {
                    tracing::warn!(%error, "DNS connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Answers the queries of one connection, each behind its length in two bytes (RFC 1035 section 4.2.2), until the
/// peer leaves, errs or idles.
async fn converse(answers: Answers, mut stream: TcpStream, idle: Duration) {
    while let Ok(Ok(query)) = timeout(idle, read_framed(&mut stream)).await {
        let bytes = match answers.relayed(&query, Transport::Tcp).await {
            Some(answer) => answer.await,
            None => answers.answer(&query, Transport::Tcp).await,
        };
        let Some(bytes) = bytes else {
            return;
        };
        let Ok(length) = u16::try_from(bytes.len()) else {
            return;
        };
        let framed = [length.to_be_bytes().as_slice(), &bytes].concat();
        if !matches!(timeout(idle, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

impl Answers {
    async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let answer = (self.responder)(query, transport);
        self.tell(answer.event).await;
        answer.bytes
    }

    /// The answer that comes from elsewhere, if this query is asked there; it is told before.
    async fn relayed(
        &self,
        query: &[u8],
        transport: Transport,
    ) -> Option<BoxFuture<'static, Option<Vec<u8>>>> {
        let Relayed { event, answer } = (self.relay)(query, transport)?;
        self.tell(event).await;
        Some(answer)
    }

    async fn tell(&self, event: Option<DnsEvent>) {
        if let Some(event) = event {
            self.events.send(event).await.ok();
        }
    }
}
