//! Bad requests, each one fault away from a good one, and an agent that sends them all: each is answered as its table says and is on
//! the record, and the upstream gets not a byte of it; without its fault it passes. Where the agent is contained does not matter.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helpers: an agent that cannot be judged is a failed test"
)]

mod answered;
mod behind;
#[expect(dead_code, reason = "it has parts for the reading of requests alone")]
#[path = "../../sidecar/src/extract/tests/cases/mod.rs"]
mod cases;
mod http2;
mod pairs;
mod record;
mod wire;

use crate::books::{Books, Kept};
use crate::raw::header;

pub use answered::Sender;
pub use behind::writes;
pub use pairs::{Pair, pairs};
pub use record::Seen;

use answered::Answered;
use record::Refusal;
use wire::WireWant;

/// Whom they are for.
pub const HOST: &str = "api.shop.test";

/// What that shop offers, and an agent that may all of it. For `CA_BUNDLE` stands the shop's authority.
pub const SHOP: &str = include_str!("bad_requests/shop.yaml");

/// An agent that sends them, and what it has come to so far.
pub struct Trial<'a> {
    sender: Sender,
    books: &'a Books,
    seen: Seen,
}

impl<'a> Trial<'a> {
    /// One that begins. Its requests reach those books, as far as they are permitted.
    pub fn of(sender: Sender, books: &'a Books) -> Self {
        Self {
            sender,
            books,
            seen: Seen::default(),
        }
    }

    /// Sends the bad ones, of which nothing arrives, not even a connection.
    ///
    /// # Panics
    /// Where something does, or one is not answered as its table says.
    pub fn bad(&mut self, bad: &[Pair]) {
        for pair in bad {
            let answered = self.sender.one(&pair.bad);
            self.seen.refused.push(check(pair, answered));
        }
        let kept = self.books.take();
        assert_eq!(
            (kept.connections, kept.requests.len(), kept.rest.len()),
            (0, 0, 0),
            "{kept:?}"
        );
    }

    /// Sends the same without their faults: each arrives once, with its body.
    ///
    /// # Panics
    /// Where one does not.
    pub fn without_faults(&mut self, bad: &[Pair]) {
        for pair in bad {
            let answered = self.sender.one(&pair.good);
            assert!(
                answered.ok,
                "{}, without its fault: {answered:?}",
                pair.name
            );
            let kept = self.taken();
            let [(head, body)] = kept.requests.as_slice() else {
                panic!("{}, without its fault: {kept:?}", pair.name);
            };
            let marker = header(head, "user-agent").unwrap().as_bytes();
            let its_own = pair.good.windows(4).any(|it| it == marker);
            assert!(its_own, "{}: {head}", pair.name);
            assert_eq!(*body, pair.body, "{}: {head}", pair.name);
        }
    }

    /// Sends what can be read in one way only: that arrives, and nothing of the fault.
    ///
    /// # Panics
    /// Where something else does.
    pub fn harmless(&mut self, harmless: &[Pair]) {
        for pair in harmless {
            let answered = self.sender.one(&pair.bad);
            assert!(answered.ok, "{}: {answered:?}", pair.name);
            let kept = self.taken();
            let (WireWant::Harmless(line), [(head, _)]) = (pair.want, kept.requests.as_slice())
            else {
                panic!("{}: {kept:?}", pair.name)
            };
            assert!(head.starts_with(line), "{}: {head}", pair.name);
            assert!(
                header(head, "transfer-encoding").is_none(),
                "{}: {head}",
                pair.name
            );
        }
    }

    /// Ends the agent.
    pub fn end(self) -> Seen {
        self.sender.end();
        self.seen
    }

    /// What arrived since the last time: whole requests and nothing else.
    fn taken(&mut self) -> Kept {
        let kept = self.books.take();
        assert!(kept.rest.is_empty(), "{kept:?}");
        for (head, body) in &kept.requests {
            let method = head.split(' ').next().unwrap_or_default();
            let length = body.len().try_into().unwrap();
            self.seen.arrived.push((method.to_owned(), length));
        }
        kept
    }
}

/// Checks the answer to a bad request.
fn check(pair: &Pair, answered: Answered) -> Refusal {
    let Pair { name, want, .. } = pair;
    let refusal = |evidence, reason| Refusal {
        name,
        evidence,
        reason,
    };
    match *want {
        WireWant::Refused(status, code, says) => {
            assert_eq!(answered.status, status, "{name}: {answered:?}");
            // An answer to HEAD has no body.
            if !pair.bad.starts_with(b"HEAD ") {
                assert_eq!(answered.code, code, "{name}: {answered:?}");
                assert!(answered.detail.contains(says), "{name}: {answered:?}");
            }
            assert!(answered.evidence.is_some(), "{name}: {answered:?}");
            refusal(answered.evidence, Some(code.to_owned()))
        }
        WireWant::NotHttp(status) => {
            assert_eq!(answered.status, status, "{name}: {answered:?}");
            refusal(None, Some(record::NOT_HTTP.to_owned()))
        }
        WireWant::Reset(error) => {
            assert_eq!(answered.reset, Some(error), "{name}: {answered:?}");
            refusal(None, None)
        }
        WireWant::Broken(error) => {
            assert_eq!(answered.reset, Some(error), "{name}: {answered:?}");
            refusal(None, Some("broken".to_owned()))
        }
        WireWant::Harmless(_) => panic!("{name} is none"),
    }
}

/// Cases that the table must not fall below.
const CASES_MIN: usize = 200;

/// All bad ones, and those that are harmless.
///
/// # Panics
/// Where they have become too few.
pub fn bad_and_harmless() -> (Vec<Pair>, Vec<Pair>) {
    let is_bad = |pair: &Pair| !matches!(pair.want, WireWant::Harmless(_));
    let (bad, harmless): (Vec<Pair>, Vec<Pair>) = pairs().into_iter().partition(is_bad);
    let (many, others) = (bad.len(), harmless.len());
    println!("{many} bad requests, {others} harmless ones");
    assert!(many >= CASES_MIN, "{many} cases");
    (bad, harmless)
}
