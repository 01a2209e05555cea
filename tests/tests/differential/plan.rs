//! Connections: requests that are sent one behind the other, or side by side.

use super::cases::{self, Req};
use super::faults::faulty;
use super::made::{good, marker, odd};
use super::random::Random;
use super::{http1, http1_wrong, http2, http2_wrong};

/// A request as it was sent.
pub(crate) struct Sent {
    /// What names it.
    pub(crate) marker: String,
    /// What it says.
    pub(crate) says: Says,
}

/// What a request says, as far as it can be said before it is read.
pub(crate) enum Says {
    /// This.
    Exactly(Req),
    /// Something of these bytes.
    Within(Vec<u8>),
    /// Whatever became of it.
    Garbled,
}

/// Of a hundred requests, how many are wrong, and how.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    /// In how they are written.
    pub(crate) wrong: usize,
    /// In what they say.
    pub(crate) faulty: usize,
}

/// What is sent on one connection.
pub(crate) struct Connection {
    /// The requests.
    pub(crate) requests: Vec<Sent>,
    /// All bytes in the pieces in which they are written.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Whether each piece is a request that waits for the answer to the one before.
    pub(crate) turns: bool,
    /// Whether HTTP/2 is spoken, and the streams that are answered there.
    pub(crate) http2: Option<Vec<u32>>,
}

/// The connection of this number: always the same for one seed.
pub(crate) fn connection(seed: u64, mix: Mix, number: usize, table: &[cases::Case]) -> Connection {
    let mut random = Random::new(seed, number as u64);
    if random.percent(45) {
        streams(&mut random, mix, number, table)
    } else {
        lines(&mut random, mix, number, table)
    }
}

/// What a request is made of.
enum Kind {
    Good,
    /// Wrong in what it says.
    Faulty,
    /// Wrong in how it is written.
    Wrong,
}

fn kind(random: &mut Random, mix: Mix) -> Kind {
    match random.below(100) {
        at if at < mix.wrong => Kind::Wrong,
        at if at < mix.wrong + mix.faulty => Kind::Faulty,
        _ => Kind::Good,
    }
}

fn made(random: &mut Random, kind: &Kind, marker: &str, table: &[cases::Case]) -> Req {
    let mut req = good(random, marker);
    for _ in 0..random.below(3) {
        odd(random, &mut req);
    }
    match kind {
        Kind::Faulty => faulty(random, marker, req, table),
        Kind::Good | Kind::Wrong => req,
    }
}

fn lines(random: &mut Random, mix: Mix, number: usize, table: &[cases::Case]) -> Connection {
    let count = random.below(8) + 1;
    let (mut requests, mut all) = (Vec::new(), Vec::new());
    for at in 0..count {
        let marker = marker(number, at);
        // The last is good: it is what hides behind the one before, and it ends the connection.
        let last = at + 1 == count;
        let kind = if last { Kind::Good } else { kind(random, mix) };
        let req = made(random, &kind, &marker, table);
        let bytes = match kind {
            Kind::Wrong => http1_wrong::wrong(random, &marker, &req),
            Kind::Good | Kind::Faulty => http1::plain(random, &req, last),
        };
        all.push(bytes.clone());
        let says = match kind {
            Kind::Good => Says::Exactly(req),
            Kind::Faulty | Kind::Wrong => Says::Within(bytes),
        };
        requests.push(Sent { marker, says });
    }
    let beyond_doubt = |sent: &Sent| matches!(sent.says, Says::Exactly(_));
    let turns = requests.iter().all(beyond_doubt) && random.percent(50);
    Connection {
        pieces: match turns {
            true => all,
            false => pieces(random, &all.concat()),
        },
        requests,
        turns,
        http2: None,
    }
}

fn streams(random: &mut Random, mix: Mix, number: usize, table: &[cases::Case]) -> Connection {
    let mut requests = Vec::new();
    let mut frames = Vec::new();
    for at in 0..=random.below(10) {
        let marker = marker(number, at);
        let kind = kind(random, mix);
        let req = made(random, &kind, &marker, table);
        let stream = u32::try_from(at).unwrap_or(0) * 2 + 1;
        let sent = match kind {
            Kind::Wrong => http2_wrong::wrong(random, &req, stream),
            Kind::Good | Kind::Faulty => http2::plain(random, &req, stream),
        };
        let says = match (kind, &sent.block) {
            (Kind::Good, _) => Says::Exactly(req),
            (_, Some(block)) => Says::Within(block.clone()),
            (_, None) => Says::Garbled,
        };
        requests.push(Sent { marker, says });
        frames.push(sent);
    }
    let answered = frames
        .iter()
        .filter(|it| it.ends)
        .map(|it| it.stream)
        .collect();
    let mut all = http2::opening();
    all.extend(woven(random, frames));
    Connection {
        pieces: pieces(random, &all),
        requests,
        turns: false,
        http2: Some(answered),
    }
}

/// The frames of all streams, in between each other; streams begin in the order of their numbers.
fn woven(random: &mut Random, frames: Vec<http2::Frames>) -> Vec<u8> {
    let mut waiting = frames.into_iter().map(|it| it.items.into_iter());
    let mut open: Vec<std::vec::IntoIter<Vec<u8>>> = Vec::new();
    let mut bytes = Vec::new();
    loop {
        let more = open.is_empty() || random.percent(50);
        if let Some(mut next) = more.then(|| waiting.next()).flatten() {
            bytes.extend(next.next().unwrap_or_default());
            open.push(next);
            continue;
        }
        if open.is_empty() {
            return bytes;
        }
        let at = random.below(open.len());
        match open[at].next() {
            Some(item) => bytes.extend(item),
            None => drop(open.remove(at)),
        }
    }
}

/// The bytes in pieces of one or many.
fn pieces(random: &mut Random, bytes: &[u8]) -> Vec<Vec<u8>> {
    let most = match random.below(10) {
        0 => 40,
        1 | 2 => 700,
        _ => return vec![bytes.to_vec()],
    };
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < 200 {
        let (piece, behind) = rest.split_at(rest.len().min(random.below(most) + 1));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces.push(rest.to_vec());
    pieces
}
