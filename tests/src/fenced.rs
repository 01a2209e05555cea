//! A whole sidecar in a lab, behind the rules of a pod and under a user of its own: the kernel turns the agent's connections and
//! names around to it. Ledger, name server and upstream are in the world, at the other end of the only link.

#![expect(
    clippy::unwrap_used,
    reason = "a test's world that cannot be made is a failed test"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actpass_core::mode::Mode;
use actpass_core::pod::contract::{CAPTURE_PORT, DNS_PORT};
use actpass_sidecar::dns::{self, Responder};
use actpass_sidecar::execute::Executor;
use actpass_sidecar::listen::Capture;
use nix::unistd::{Uid, setfsuid};
use rustix::net::sockopt::set_socket_linger;
use tokio::net;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::frames::Packet;
use crate::lab::{Agent, Lab, SIDECAR, as_agent, cover, left, rules};
use crate::link::ROUTERS;
use crate::parts::Parts;
use crate::proxied::{Heads, Proxied, Whole};

/// Public addresses of the upstream: nobody's in this network but the world's.
pub const UPSTREAM: [&str; 2] = ["93.184.215.14", "2606:2800:21f::14"];

/// The upstream's port.
pub const PORT: u16 = 8_080;

/// A path whose connection stays open; others are closed after their answer.
pub const HELD: &str = "/v1/held";

/// Number of the protocol.
const TCP: u8 = 6;

/// What the name server says of a name and a type (1: A, 28: AAAA), each time that it is asked.
pub type Says = Arc<dyn Fn(&str, u16) -> Vec<IpAddr> + Send + Sync>;

/// A lab with a sidecar.
pub struct Fenced {
    /// Where it is.
    pub lab: Lab,
    /// What the name server was asked: type and name.
    pub asked: Lines,
    /// What the upstream was sent: the address that it was reached at, and the first line.
    pub reached: Lines,
    /// Connections that the upstream has open.
    open: Open,
    stop: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<Parts>,
}

type Open = Arc<Mutex<Vec<TcpStream>>>;

/// What was noted, in order.
pub type Lines = Arc<Mutex<Vec<String>>>;

/// What was noted since the last time.
pub fn taken(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut *lines.lock().unwrap())
}

impl Fenced {
    /// Starts all of it under that policy.
    pub fn start(policy: &str, says: Says) -> Self {
        let lab = Lab::new();
        let resolv = tempfile::NamedTempFile::new().unwrap();
        let (_, path) = resolv.keep().unwrap();
        cover(
            "/etc/resolv.conf",
            &format!("nameserver {}\n", ROUTERS[0]),
            &path,
        );
        for address in [
            format!("{}/24", ROUTERS[0]),
            format!("{}/64 nodad", ROUTERS[1]),
        ] {
            lab.world.ip(&format!("address add {address} dev w0"));
        }
        for (address, prefix) in UPSTREAM.into_iter().zip(["32", "128 nodad"]) {
            lab.world
                .ip(&format!("address add {address}/{prefix} dev w0"));
        }
        let (asked, reached) = (Lines::default(), Lines::default());
        let (noted, arrived) = (asked.clone(), reached.clone());
        let open = Open::default();
        let opened = open.clone();
        let policy = policy.to_owned();
        let (parts, ledger) = lab.world.there(move || {
            let socket = UdpSocket::bind((ROUTERS[0], 53)).unwrap();
            std::thread::spawn(move || answer_names(&socket, &says, &noted));
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).unwrap();
            std::thread::spawn(move || serve(&listener, &arrived, &opened));
            // The sidecar's ring file is in the same directory.
            setfsuid(Uid::from_raw(SIDECAR));
            let address: Ipv4Addr = ROUTERS[0].parse().unwrap();
            let parts = Parts::at(address, Mode::Enforce, &policy).unwrap();
            setfsuid(Uid::from_raw(0));
            let runtime = Runtime::new().unwrap();
            let ledger = runtime.block_on(parts.ledger()).unwrap();
            // It goes on until the test's process ends.
            std::mem::forget(runtime);
            (parts, ledger)
        });
        lab.load(&rules(&["eth0"]));
        let (stop, stopped) = oneshot::channel();
        let (up, is_up) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            // A thread's user is that of its sockets, and of the threads it starts.
            setfsuid(Uid::from_raw(SIDECAR));
            let runtime = Runtime::new().unwrap();
            let parts = runtime.block_on(async {
                let agent = parts.agent().await.unwrap();
                let whole = Whole {
                    parts,
                    ledger,
                    agent,
                    executor: Executor::new(Vec::new()),
                    heads: Heads::default(),
                };
                let bind = |address: IpAddr| TcpListener::bind((address, CAPTURE_PORT)).unwrap();
                let sockets = LOOPBACK.into_iter().map(bind).collect();
                let proxied = Proxied::of(whole, sockets, Capture::Redirected).unwrap();
                let mut serving = JoinSet::new();
                for address in LOOPBACK {
                    serving.spawn(responding(address, &proxied).await);
                }
                up.send(()).unwrap();
                stopped.await.ok();
                serving.shutdown().await;
                proxied.close().await.unwrap()
            });
            end.send(parts).ok();
        });
        is_up.recv().unwrap();
        lab.seen();
        taken(&asked);
        Self {
            lab,
            asked,
            reached,
            open,
            stop: Some(stop),
            ended,
        }
    }

    /// What curl prints, as the agent.
    pub fn curl(&self, args: &[&str]) -> String {
        let output = as_agent(Agent::Confined, Path::new("curl"))
            .args(["-sS", "-m", "10"])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Frames to anybody but the ledger, since the last time.
    pub fn sent(&self) -> Vec<String> {
        let mut frames = self.lab.seen();
        let ledgers = |it: Packet| (it.to.to_string(), it.protocol) == (ROUTERS[0].to_owned(), TCP);
        frames.retain(|it| !it.packet.is_some_and(ledgers));
        left(&frames)
    }

    /// Frames to anybody but the ledger and the name server.
    pub fn dialled(&self) -> Vec<String> {
        let mut sent = self.sent();
        sent.retain(|it| !it.contains(&format!("> {}, protocol 17, ", ROUTERS[0])));
        sent
    }

    /// Ends the upstream's connections by a reset.
    pub fn reset(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // What is closed while something lingers for no time at all is reset.
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            stream.shutdown(Shutdown::Read).ok();
        }
    }

    /// Ends in order, and leaves what is in the log.
    pub fn close(mut self) -> Parts {
        drop(self.stop.take());
        self.ended.recv().unwrap()
    }
}

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// The sidecar's responder at that address.
async fn responding(
    address: IpAddr,
    proxied: &Proxied,
) -> impl Future<Output = std::io::Result<()>> + Send + use<> {
    let udp = net::UdpSocket::bind((address, DNS_PORT)).await.unwrap();
    let tcp = net::TcpListener::bind((address, DNS_PORT)).await.unwrap();
    let zone = proxied.names.zone().clone();
    let responder: Responder = Arc::new(move |query, transport| zone.answer(query, transport));
    // Who would keep what was asked for is not here.
    let (events, _) = tokio::sync::mpsc::channel(1);
    dns::serve(responder, udp, tcp, events)
}

/// A name server, RFC 1035 section 4: one question, and the addresses that it is told.
fn answer_names(socket: &UdpSocket, says: &Says, asked: &Lines) {
    let mut bytes = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let query = bytes.get(..length).unwrap();
        let (mut name, mut at) = (String::new(), 12);
        while let Some(size @ 1..) = query.get(at).copied().map(usize::from) {
            let label = query.get(at + 1..at + 1 + size).unwrap();
            name += &String::from_utf8_lossy(label).to_ascii_lowercase();
            name.push('.');
            at += 1 + size;
        }
        let [high, low] = *query.get(at + 1..).unwrap().first_chunk().unwrap();
        let kind = u16::from_be_bytes([high, low]);
        asked.lock().unwrap().push(format!("{kind} {name}"));
        let found = says(name.trim_end_matches('.'), kind);
        let records: Vec<Vec<u8>> = found.iter().filter_map(|it| record(kind, *it)).collect();
        let count = u8::try_from(records.len()).unwrap();
        // Its number; an answer with recursion; one question, so many answers.
        let number = query.get(..2).unwrap();
        let head = [number, &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]].concat();
        let question = query.get(12..at + 5).unwrap();
        let answer = [head, question.to_vec(), records.concat()].concat();
        socket.send_to(&answer, from).unwrap();
    }
}

/// An address of the name that was asked for, for no time at all; none of another type.
fn record(kind: u16, address: IpAddr) -> Option<Vec<u8>> {
    let data = match (kind, address) {
        (1, IpAddr::V4(it)) => it.octets().to_vec(),
        (28, IpAddr::V6(it)) => it.octets().to_vec(),
        _ => return None,
    };
    let [high, low] = kind.to_be_bytes();
    let length = u8::try_from(data.len()).ok()?;
    // The name is that at byte 12; class IN, 0 seconds.
    let head = [0xc0, 12, high, low, 0, 1, 0, 0, 0, 0, 0, length];
    Some([&head[..], &data].concat())
}

/// An upstream in clear at a listener, until the test's process ends; it notes as [`Fenced::reached`] does.
pub fn upstream_at(listener: TcpListener, reached: &Lines) {
    let reached = reached.clone();
    std::thread::spawn(move || serve(&listener, &reached, &Open::default()));
}

fn serve(listener: &TcpListener, reached: &Lines, open: &Open) {
    for stream in listener.incoming().flatten() {
        let reached = reached.clone();
        open.lock().unwrap().push(stream.try_clone().unwrap());
        // A connection that breaks off is the test's own doing.
        std::thread::spawn(move || serve_one(stream, &reached).ok());
    }
}

fn serve_one(stream: TcpStream, reached: &Lines) -> std::io::Result<()> {
    let at = stream.local_addr()?.ip().to_canonical();
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
        }
        let noted = format!("{at} {}", first.trim_end());
        reached.lock().unwrap().push(noted);
        let held = first.contains(HELD);
        let connection = if held { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: 8\r\n\r\nupstream"
        );
        stream.get_mut().write_all(answer.as_bytes())?;
        if !held {
            return Ok(());
        }
    }
}
