//! Answers that nobody asked for yet: an upstream that speaks before its turn, over a connection that waits in the pool.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actpass_tests::authority::Authority;
use actpass_tests::proxied::{HOST, Proxied};
use rustls::{ServerConnection, StreamOwned};
use tokio::task::block_in_place;

use super::leftovers::LEFT;
use super::{POLICY, agent, attacks};

/// When the first connection gets an answer too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unasked {
    /// Before its request.
    Before,
    /// Once the agent has the answer to its request, and the connection waits.
    Later,
}

/// What the upstream and the test tell each other.
struct Said {
    /// To the upstream: the agent has its answer.
    answered: Sender<()>,
    /// From the upstream: the first connection is closed.
    closed: Receiver<()>,
}

/// An upstream whose first connection is as told; all others answer each request once.
fn upstream(authority: &Authority, unasked: Unasked) -> (u16, Said) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = authority.server(HOST).unwrap();
    let (answered, wait) = channel();
    let (close, closed) = channel();
    std::thread::spawn(move || {
        for (at, socket) in listener.incoming().flatten().enumerate() {
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, socket);
            if at > 0 {
                // One after the other: the sidecar has one request at a time here.
                serve(&mut stream).ok();
                continue;
            }
            if unasked == Unasked::Before {
                left(&mut stream);
            }
            serve(&mut stream).ok();
            wait.recv().ok();
            if unasked == Unasked::Later {
                left(&mut stream);
            }
            let mut byte = [0];
            let ended = !matches!(stream.read(&mut byte), Ok(1));
            if ended {
                close.send(()).ok();
            }
        }
    });
    (port, Said { answered, closed })
}

/// Writes the answer to nobody; the other side may be gone.
fn left(stream: &mut impl Write) {
    stream.write_all(LEFT.as_bytes()).ok();
    stream.flush().ok();
}

/// Answers one request without a body.
fn serve(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.split(' ').nth(1).unwrap_or_default();
    let body = format!("served: GET {target}\n");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_its_request_is_not_the_next_ones() {
    for unasked in [Unasked::Before, Unasked::Later] {
        let authority = Authority::new().unwrap();
        let (port, said) = upstream(&authority, unasked);
        let proxied = Proxied::start_before(POLICY, &authority, port).await;
        let proxied = proxied.unwrap();
        block_in_place(|| {
            let request = attacks::after("unasked");
            let last = "GET /v1/unasked/after";
            let first = agent::say(proxied.address, request.as_bytes(), last);
            println!("{unasked:?}: {:?}", first.served);
            said.answered.send(()).unwrap();
            let closed = said.closed.recv_timeout(Duration::from_secs(30));
            assert!(closed.is_ok(), "{unasked:?}: its connection is kept");
            let second = agent::good(proxied.address, "unasked", "second");
            let want = ["GET /v1/unasked/second"];
            assert_eq!(second.served, want, "{unasked:?}: {}", second.text);
        });
        proxied.close().await.unwrap().verified().unwrap();
    }
}
