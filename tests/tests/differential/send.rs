//! Sends connections as they are planned, some at once, each until all of it is answered or it ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actpass_tests::raw::{answers_of, streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::task::JoinSet;

use super::cases;
use super::plan::{Connection, Mix, connection};

/// Connections at a time.
const AT_ONCE: usize = 24;

/// A connection on which nothing more is said waits for bytes that never come: a length lied. It is cut off.
const SILENCE: Duration = Duration::from_secs(4);

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Requests of HTTP/1.1.
    pub(crate) http1: usize,
    /// Requests of HTTP/2.
    pub(crate) http2: usize,
    /// Connections.
    pub(crate) connections: usize,
    /// Connections that were cut off.
    pub(crate) cut_off: usize,
}

/// Sends connection after connection until there were so many requests.
pub(crate) async fn send(address: SocketAddr, seed: u64, mix: Mix, requests: usize) -> Figures {
    let plan = Arc::new(Mutex::new(Plan {
        table: cases::all(),
        seed,
        mix,
        left: requests,
        figures: Figures::default(),
    }));
    let mut agents = JoinSet::new();
    for _ in 0..AT_ONCE {
        let plan = plan.clone();
        agents.spawn(async move {
            loop {
                let next = plan.lock().unwrap().next();
                let Some(planned) = next else { return };
                let answered = converse(address, &planned).await;
                plan.lock().unwrap().figures.cut_off += usize::from(!answered);
            }
        });
    }
    while let Some(ended) = agents.join_next().await {
        ended.unwrap();
    }
    std::mem::take(&mut plan.lock().unwrap().figures)
}

/// The connections that are still to be made.
struct Plan {
    table: Vec<cases::Case>,
    seed: u64,
    mix: Mix,
    /// Requests still to be sent.
    left: usize,
    figures: Figures,
}

impl Plan {
    fn next(&mut self) -> Option<Connection> {
        if self.left == 0 {
            return None;
        }
        let planned = connection(self.seed, self.mix, self.figures.connections, &self.table);
        let count = planned.requests.len();
        self.left = self.left.saturating_sub(count);
        self.figures.connections += 1;
        match planned.http2 {
            Some(_) => self.figures.http2 += count,
            None => self.figures.http1 += count,
        }
        Some(planned)
    }
}

/// Whether everything that is answered was, or the connection ended.
async fn converse(address: SocketAddr, planned: &Connection) -> bool {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut from, mut to) = socket.split();
    let mut read = Vec::new();
    if planned.turns {
        for (at, piece) in planned.pieces.iter().enumerate() {
            to.write_all(piece).await.unwrap();
            let answered = |read: &[u8]| answers_of(read, false).len() > at;
            if !hear(&mut from, &mut read, answered).await {
                return false;
            }
        }
        return true;
    }
    let writing = async {
        for piece in &planned.pieces {
            // Who refuses a head may close before it has all of it.
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let wanted = planned.http2.as_ref();
    let reading = hear(&mut from, &mut read, |read| {
        wanted.is_some_and(|wanted| all_ended(wanted, read))
    });
    tokio::pin!(reading);
    tokio::select! {
        answered = &mut reading => answered,
        () = writing => reading.await,
    }
}

/// Reads until it is enough or the connection ends; false where neither comes.
async fn hear(from: &mut ReadHalf<'_>, read: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) -> bool {
    let mut chunk = [0; 8 * 1024];
    while !enough(read) {
        match tokio::time::timeout(SILENCE, from.read(&mut chunk)).await {
            Err(_) => return false,
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(length)) => read.extend_from_slice(&chunk[..length]),
        }
    }
    true
}

/// Whether each of these streams of HTTP/2 has ended, or the connection has.
fn all_ended(wanted: &[u32], read: &[u8]) -> bool {
    let found = streams(read);
    let ended = |id: u32| found.iter().any(|stream| stream.id == id && stream.ended);
    ended(0) || wanted.iter().all(|id| ended(*id))
}
