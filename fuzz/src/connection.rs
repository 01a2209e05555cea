//! One connection of an agent through the code that serves connections, up to an upstream that keeps every byte.

mod judge;
mod upstream;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actpass_core::evidence::record::Refusal;
use actpass_sidecar::connect::ConnectTo;
use actpass_sidecar::execute::Executor;
use actpass_sidecar::listen::serve_connection;
use actpass_sidecar::mint::Mint;
use actpass_sidecar::proxy::{Dialled, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};

use judge::{Nobody, Watching};
use upstream::Upstream;

/// The name that every connection here is to.
pub(crate) const HOST: &str = "api.shop.test";

/// The port.
pub(crate) const PORT: u16 = 443;

/// What is on its way between agent and sidecar at most.
const PIPE_BYTES: usize = 128 * 1024;

/// Most pieces in which an input comes: each takes a turn of all tasks.
const PIECES_MAX: usize = 512;

/// Turns of all tasks without a byte anywhere, after which none is to be expected: a request that is forwarded takes fewer
/// from one byte to the next.
const STILL_TURNS: usize = 16;

/// No input has so much to say that it takes more turns: a connection that goes on for ever is a finding.
const TURNS_MAX: usize = 100_000;

/// No connection whose agent has gone takes so long to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Signs the certificates of every run.
pub(crate) static MINT: LazyLock<Mint> = LazyLock::new(|| Mint::new().expect("an authority"));

/// What became of a connection.
#[derive(Debug)]
pub(crate) struct Carried {
    /// What the agent was answered.
    pub(crate) answered: Vec<u8>,
    /// What was put on the record beside actions.
    pub(crate) refused: Vec<Refusal>,
    /// How many requests reached the upstream.
    pub(crate) forwarded: usize,
}

/// Sends `bytes` in pieces of `step` (0: in one; longer ones where it would be too many) on a connection of its own, and ends it once nothing happens any more.
///
/// # Panics
/// Where something crashed, or does not end, or a byte reached the upstream that is not of a request that was judged and
/// permitted, once.
pub(crate) fn carry(bytes: &[u8], step: usize, tls: bool) -> Carried {
    assert!(bytes.len() <= PIPE_BYTES, "all of it is on its way at once");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let upstream = Upstream::start().expect("an upstream");
        let judge = Arc::new(Watching::default());
        let (agent, serving) = connected(&upstream, &judge, tls);
        let answered = spoken(bytes, step, agent, || judge.asked() + upstream.bytes());
        let (answered, served) = tokio::time::timeout(END_PATIENCE, async {
            let answered = answered.await;
            let served = serving.await;
            upstream.ended().await;
            (answered, served)
        })
        .await
        .expect("a connection ends when its agent has gone");
        served.expect("nothing crashes");
        let forwarded = judge.check(&upstream.connections());
        Carried {
            answered,
            refused: judge.refused(),
            forwarded,
        }
    })
}

/// The agent's end of a connection that is being served.
fn connected(
    upstream: &Upstream,
    judge: &Arc<Watching>,
    tls: bool,
) -> (DuplexStream, JoinHandle<()>) {
    let host = HOST.parse().expect("a host");
    let executor = Executor::new(vec![ConnectTo {
        host: HOST.parse().expect("a host"),
        port: PORT,
        to_host: "127.0.0.1".to_owned(),
        to_port: upstream.port,
    }]);
    let proxy = Arc::new(Proxy::new(judge.clone(), Arc::new(Nobody), executor));
    let dialled = Dialled {
        host,
        port: PORT,
        tls,
    };
    let (agent, sidecar) = tokio::io::duplex(PIPE_BYTES);
    let serving = tokio::spawn(async move {
        let (_run, stop) = watch::channel(false);
        let served = serve_connection(sidecar, dialled, &MINT, proxy, stop).await;
        // How it ended is the agent's business; what was forwarded is ours.
        drop(served);
    });
    (agent, serving)
}

/// Speaks, listens until nothing happens any more, says that no more comes, and gives what was answered.
async fn spoken(
    bytes: &[u8],
    step: usize,
    agent: DuplexStream,
    progress: impl Fn() -> usize,
) -> Vec<u8> {
    let (reader, mut writer) = tokio::io::split(agent);
    let answered = Arc::new(Mutex::new(Vec::new()));
    let listening = tokio::spawn(listen(reader, answered.clone()));
    let step = if step == 0 { PIPE_BYTES } else { step };
    for piece in bytes.chunks(step.max(bytes.len() / PIECES_MAX)) {
        // Whoever is not heard any more has said enough.
        if writer.write_all(piece).await.is_err() {
            break;
        }
        yield_now().await;
    }
    rest(|| progress() + locked(&answered).len()).await;
    // Where the other end has gone, it knows.
    drop(writer.shutdown().await);
    drop(listening.await);
    std::mem::take(&mut *locked(&answered))
}

/// Lets all tasks go on until nothing moves any more.
async fn rest(progress: impl Fn() -> usize) {
    let (mut still, mut before) = (0, usize::MAX);
    for _ in 0..TURNS_MAX {
        yield_now().await;
        let now = progress();
        still = if now == before { still + 1 } else { 0 };
        before = now;
        if still > STILL_TURNS {
            return;
        }
    }
    panic!("a connection that never rests");
}

async fn listen(mut reader: ReadHalf<DuplexStream>, answered: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut chunk).await {
        locked(&answered).extend_from_slice(&chunk[..length]);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /v1/charges/ch_1 HTTP/1.1\r\nhost: api.shop.test\r\n\r\n";

    #[test]
    fn what_is_permitted_arrives_and_what_is_refused_does_not() {
        let both = GET.repeat(3) + &GET.replace("GET", "DELETE");
        for step in [1, 7, 4096] {
            let carried = carry(both.as_bytes(), step, false);
            assert_eq!(carried.forwarded, 3, "by {step}: {carried:?}");
        }
        let odd = carry(b"\0\r\n\r\n", 1, false);
        assert_eq!((odd.forwarded, odd.refused.len()), (0, 1), "{odd:?}");
    }
}
