//! The responder's sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

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
    serve_idling(responder, udp, tcp, events, IDLE).await
}

/// As [`serve`], closing connections that idle for `idle`.
pub(super) async fn serve_idling(
    responder: Responder,
    udp: UdpSocket,
    tcp: TcpListener,
    events: mpsc::Sender<DnsEvent>,
    idle: Duration,
) -> io::Result<()> {
    tokio::select! {
        done = serve_udp(&responder, &udp, &events) => done,
        () = serve_tcp(&responder, &tcp, &events, idle) => Ok(()),
    }
}

/// One query after the other: an answer takes microseconds and never waits for another host.
async fn serve_udp(
    responder: &Responder,
    udp: &UdpSocket,
    events: &mpsc::Sender<DnsEvent>,
) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, from) = udp.recv_from(&mut buffer).await?;
        let query = buffer.get(..length).unwrap_or_default();
        if let Some(bytes) = answer(responder, query, Transport::Udp, events).await {
            udp.send_to(&bytes, from).await.ok();
        }
    }
}

async fn serve_tcp(
    responder: &Responder,
    tcp: &TcpListener,
    events: &mpsc::Sender<DnsEvent>,
    idle: Duration,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = tcp.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(responder.clone(), stream, events.clone(), idle));
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
async fn converse(
    responder: Responder,
    mut stream: TcpStream,
    events: mpsc::Sender<DnsEvent>,
    idle: Duration,
) {
    while let Ok(Ok(query)) = timeout(idle, read_framed(&mut stream)).await {
        let Some(bytes) = answer(&responder, &query, Transport::Tcp, &events).await else {
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

async fn answer(
    responder: &Responder,
    query: &[u8],
    transport: Transport,
    events: &mpsc::Sender<DnsEvent>,
) -> Option<Vec<u8>> {
    let answer = responder(query, transport);
    if let Some(event) = answer.event {
        events.send(event).await.ok();
    }
    answer.bytes
}
