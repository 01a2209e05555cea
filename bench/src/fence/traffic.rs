//! TCP between the sidecar's user and the world, with and without the rules in turn, so that what else the machine does
//! meets both alike.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use nix::unistd::{Uid, setfsuid};

use super::SIDECAR;
use crate::sample::ratio;

/// What is sent.
pub(super) struct Kind {
    name: &'static str,
    /// Of which so many are counted per second.
    unit: &'static str,
    /// How many in one measurement.
    times: u32,
    once: fn(&mut Peer) -> io::Result<()>,
}

/// In one part of a bulk.
const BULK: usize = 1 << 20;

/// A small request, and its answer.
const SMALL: usize = 200;

pub(super) const KINDS: [Kind; 3] = [
    Kind {
        name: "bulk over one connection",
        unit: "MiB/s",
        times: 512,
        once: |peer| peer.exchange(BULK, 1),
    },
    Kind {
        name: "requests of 200 B over one connection",
        unit: "requests/s",
        times: 5_000,
        once: |peer| peer.exchange(SMALL, SMALL),
    },
    Kind {
        name: "connections, each with one request",
        unit: "connections/s",
        times: 300,
        once: |peer| {
            *peer = Peer::at(peer.address)?;
            peer.exchange(SMALL, SMALL)
        },
    },
];

/// Rates of one kind.
pub(super) struct Rates {
    kind: Kind,
    without: Vec<u128>,
    with: Vec<u128>,
    ratios: Vec<u128>,
}

impl Rates {
    /// Measures round after round, each without the rules and with them, the first of them in turn.
    pub(super) fn measured(
        kind: Kind,
        world: SocketAddr,
        rounds: usize,
        mut fence: impl FnMut(bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut rates = Self {
            kind,
            without: Vec::new(),
            with: Vec::new(),
            ratios: Vec::new(),
        };
        for round in 0..rounds {
            let first = round % 2 == 0;
            for fenced in [first, !first] {
                fence(fenced)?;
                let rate = rates.kind.rate(world)?;
                match fenced {
                    true => rates.with.push(rate),
                    false => rates.without.push(rate),
                }
            }
            if let (Some(with), Some(without)) = (rates.with.last(), rates.without.last()) {
                rates.ratios.push(with * 1_000 / without.max(&1));
            }
        }
        Ok(rates)
    }
}

impl Kind {
    /// How often per second, by the sidecar's user.
    fn rate(&self, world: SocketAddr) -> anyhow::Result<u128> {
        let (once, times) = (self.once, self.times);
        let client = std::thread::spawn(move || -> io::Result<u128> {
            // A thread's user is that of its sockets.
            setfsuid(Uid::from_raw(SIDECAR));
            let mut peer = Peer::at(world)?;
            once(&mut peer)?;
            let begun = Instant::now();
            for _ in 0..times {
                once(&mut peer)?;
            }
            let took = begun.elapsed().as_nanos().max(1);
            Ok(u128::from(times) * 1_000_000_000 / took)
        });
        let ended = client.join();
        let ended = ended.map_err(|_| anyhow::anyhow!("a client panicked"))?;
        Ok(ended?)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |rates: &[u128], percent| {
            let mut sorted = rates.to_vec();
            sorted.sort_unstable();
            let index = (sorted.len().saturating_sub(1)) * percent / 100;
            sorted.get(index).copied().unwrap_or_default()
        };
        let (without, with) = (at(&self.without, 50), at(&self.with, 50));
        let thousandths = |percent| {
            let ratio = at(&self.ratios, percent);
            format!("{}.{:03}", ratio / 1_000, ratio % 1_000)
        };
        let Kind { name, unit, .. } = self.kind;
        write!(
            f,
            "| {name}, {unit} | {without} | {with} | {} | {} ({} to {}) |",
            ratio(with, without),
            thousandths(50),
            thousandths(25),
            thousandths(75),
        )
    }
}

/// A connection.
struct Peer {
    address: SocketAddr,
    stream: TcpStream,
    /// Made once, so that what is measured is not the filling of memory.
    order: Vec<u8>,
    answer: Vec<u8>,
}

impl Peer {
    fn at(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            address,
            stream,
            order: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// So many bytes there, and so many back, the same each time. First the world is told how many.
    fn exchange(&mut self, there: usize, back: usize) -> io::Result<()> {
        if self.order.is_empty() {
            let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
            self.order.extend(length(there)?.to_be_bytes());
            self.order.extend(length(back)?.to_be_bytes());
            self.order.resize(self.order.len() + there, b'x');
            self.answer.resize(back, 0);
        }
        self.stream.write_all(&self.order)?;
        self.stream.read_exact(&mut self.answer)
    }
}

/// The world's end: does what each order says, one connection after the other's end on a thread of its own.
pub(super) fn answer(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // It ends with the connection.
        std::thread::spawn(move || answer_one(stream));
    }
}

fn answer_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut got, mut answer) = (Vec::new(), Vec::new());
    loop {
        let (mut there, mut back) = ([0; 4], [0; 4]);
        stream.read_exact(&mut there)?;
        stream.read_exact(&mut back)?;
        let length = |bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(io::Error::other);
        got.resize(length(there)?, 0);
        stream.read_exact(&mut got)?;
        answer.resize(length(back)?, 0);
        stream.write_all(&answer)?;
    }
}
