//! Answers that nobody asked for yet: an upstream that speaks before its turn, over a connection that waits in the pool.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actpass_core::evidence::record::OutcomeResult;
use actpass_tests::authority::Authority;
use actpass_tests::proxied::{HOST, Proxied};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::task::block_in_place;

use super::leftovers::LEFT;
use super::{POLICY, agent, attacks};

/// When the first connection gets an answer too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unasked {
    /// With the last bytes of its side of the handshake: it is there before a request can be written.
    Handshake,
    /// Right behind the handshake: it crosses the request on the way.
    Crossing,
    /// Once the agent has the answer to its request, and the connection waits.
    Later,
}

/// What the upstream and the test tell each other.
struct Said {
    /// To the upstream: the agent has its answer.
    answered: Sender<()>,
    /// From the upstream: the first connection is closed, and whether it brought a request.
    closed: Receiver<bool>,
}

/// An upstream whose first connection is as told; all others answer each request once.
fn upstream(authority: &Authority, unasked: Unasked) -> (u16, Said) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = ServerConfig::clone(&authority.server(HOST).unwrap());
    config.send_half_rtt_data = unasked == Unasked::Handshake;
    let config = Arc::new(config);
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
            let asked = first(&mut stream, unasked, &wait);
            if !matches!(stream.read(&mut [0]), Ok(1)) {
                close.send(asked).ok();
            }
        }
    });
    (port, Said { answered, closed })
}

/// Serves the first connection, and says whether it brought a request.
fn first(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    unasked: Unasked,
    wait: &Receiver<()>,
) -> bool {
    match unasked {
        // It is kept until the handshake is as far.
        Unasked::Handshake => left(&mut stream.conn.writer()),
        Unasked::Crossing => left(stream),
        Unasked::Later => {}
    }
    let asked = serve(stream).is_ok();
    wait.recv().ok();
    if unasked == Unasked::Later {
        left(stream);
    }
    asked
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
    for unasked in [Unasked::Handshake, Unasked::Crossing, Unasked::Later] {
        let authority = Authority::new().unwrap();
        let (port, said) = upstream(&authority, unasked);
        let proxied = Proxied::start_before(POLICY, &authority, port).await;
        let proxied = proxied.unwrap();
        let (served, asked) = block_in_place(|| asked_twice(proxied.address, unasked, &said));
        let parts = proxied.close().await.unwrap();
        parts.verified().unwrap();
        let permitted = parts.permitted().unwrap();
        let ends: Vec<_> = permitted.iter().filter_map(|(_, end)| *end).collect();
        println!("{unasked:?}: {served:?}, {ends:?}");
        let seen = (served, asked, ends);
        let (ok, not_sent) = (OutcomeResult::Ok, OutcomeResult::NotSent);
        let after = vec!["GET /v1/unasked/after".to_owned()];
        match unasked {
            // Nothing was sent, and that is what is said.
            Unasked::Handshake => assert_eq!(seen, (vec![], false, vec![not_sent, ok])),
            // It comes when an answer may come, and nothing tells it from one.
            Unasked::Crossing => assert_eq!(seen.2.len(), 2),
            Unasked::Later => assert_eq!(seen, (after, true, vec![ok, ok])),
        }
    }
}

/// What the agent is told of as served first, and whether the upstream's first connection brought that request; a second one
/// has its own answer.
fn asked_twice(address: SocketAddr, unasked: Unasked, said: &Said) -> (Vec<String>, bool) {
    let request = attacks::after("unasked");
    let first = agent::say(address, request.as_bytes(), "GET /v1/unasked/after");
    said.answered.send(()).unwrap();
    let asked = said.closed.recv_timeout(Duration::from_secs(30));
    let asked = asked.unwrap_or_else(|_| panic!("{unasked:?}: its connection is kept"));
    let second = agent::good(address, "unasked", "second");
    let want = ["GET /v1/unasked/second"];
    assert_eq!(second.served, want, "{unasked:?}: {}", second.text);
    (first.served, asked)
}
