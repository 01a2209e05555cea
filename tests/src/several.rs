//! Several ledgers over one storage, for whichever storage: clients that note when they asked and were answered, a way to whichever
//! ledger is there, and what must hold of the log whatever went wrong.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "helpers of tests: what does not hold is a failed test"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_core::evidence::record::{Body, Outcome, OutcomeResult};
use actpass_core::hash::StreamId;
use actpass_sidecar::judge::{Judge, Judgement};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::parts::Agent;

const PAY: &str = r#"{"amount":"1.00"}"#;

/// Asked and permitted, in ticks of one clock, with the place in its stream.
#[derive(Debug)]
pub struct Permitted {
    asked: u64,
    answered: u64,
    stream: StreamId,
    seq: u64,
}

/// A clock that everybody in a test shares.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Pays until it is told that there is no more, and of every seventh payment says that it was not sent.
pub async fn pays(agent: &Agent, clock: &Clock) -> Vec<Permitted> {
    let mut permitted = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let asked = clock.tick();
        match agent.judge("POST", "/v1/pay", PAY).await.unwrap() {
            Judgement::Permit(permit) => {
                let answered = clock.tick();
                let result = match permit.of % 7 {
                    3 => OutcomeResult::NotSent,
                    _ => OutcomeResult::Ok,
                };
                permitted.push(Permitted {
                    asked,
                    answered,
                    stream: agent.stream,
                    seq: permit.of,
                });
                agent.pep.outcome(Outcome {
                    of: permit.of,
                    result,
                    status: (result == OutcomeResult::Ok).then_some(200),
                    detail: None,
                    micros: 1,
                    response_bytes: 0,
                });
            }
            Judgement::Deny(denial) if denial.code == "limit_exceeded" => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // A replica that ended under it, or one that others were faster than.
            Judgement::Deny(denial) => {
                assert!(
                    ["ledger_unavailable", "busy", "outcome_unknown"].contains(&&*denial.code),
                    "{denial:?}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    permitted
}

/// Where each record stands in the log; every one stands once.
fn places(leaves: &[Leaf]) -> BTreeMap<(StreamId, u64), (u64, RulingVerdict)> {
    let mut places = BTreeMap::new();
    for leaf in leaves {
        if let Some((record, ruling)) = leaf.record() {
            let place = (leaf.h.seq, ruling.verdict);
            let twice = places.insert((record.stream, record.seq), place);
            assert_eq!(
                twice, None,
                "record {} of {} stands twice",
                record.seq, record.stream
            );
        }
    }
    places
}

/// What is used and not given back, at every place of the log.
pub fn most_used(leaves: &[Leaf]) -> i64 {
    let (mut used, mut most) = (0, 0);
    for (record, ruling) in leaves.iter().filter_map(Leaf::record) {
        match &record.body {
            Body::Intent(_) if ruling.verdict == RulingVerdict::Permit => used += 1,
            Body::Outcome(outcome) if outcome.result == OutcomeResult::NotSent => {
                used -= i64::from(ruling.settles.is_some());
            }
            _ => {}
        }
        most = most.max(used);
    }
    most
}

/// Every permit that was told is in the log as one, and one that was told before another was asked stands before it.
pub fn consistent_with_time(permitted: &mut [Permitted], leaves: &[Leaf]) {
    let places = places(leaves);
    let place = |it: &Permitted| {
        let (place, verdict) = places[&(it.stream, it.seq)];
        assert_eq!(verdict, RulingVerdict::Permit);
        place
    };
    let mut answered: Vec<(u64, u64)> = permitted
        .iter()
        .map(|it| (it.answered, place(it)))
        .collect();
    answered.sort_unstable();
    permitted.sort_by_key(|it| it.asked);
    let (mut before, mut latest) = (answered.into_iter().peekable(), None);
    for asked in permitted.iter() {
        while let Some((_, place)) = before.next_if(|(answered, _)| *answered < asked.asked) {
            latest = latest.max(Some(place));
        }
        let own = place(asked);
        assert!(
            latest < Some(own),
            "{latest:?} was answered before {own} was asked"
        );
    }
}

/// A way to whichever of several ledgers is there, as a Service is: each connection to another one.
#[derive(Debug)]
pub struct Door {
    /// Where to reach it.
    pub address: SocketAddr,
    behind: Arc<Mutex<Vec<Behind>>>,
}

/// One ledger and the connections to it.
#[derive(Debug)]
struct Behind {
    address: SocketAddr,
    connections: JoinSet<()>,
}

impl Door {
    /// Opens it.
    pub async fn open(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let behind = addresses.map(|address| Behind {
            address,
            connections: JoinSet::new(),
        });
        let door = Self {
            address: listener.local_addr().unwrap(),
            behind: Arc::new(Mutex::new(behind.collect())),
        };
        let behind = door.behind.clone();
        tokio::spawn(async move {
            for turn in 0_usize.. {
                let (mut from, _) = listener.accept().await.unwrap();
                let mut behind = behind.lock().unwrap_or_else(PoisonError::into_inner);
                let count = behind.len();
                let chosen = &mut behind[turn % count];
                let address = chosen.address;
                chosen.connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(address).await {
                        // Ends when either side does, or is cut.
                        tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
                    }
                });
            }
        });
        door
    }

    /// Cuts all connections to one ledger; what was asked on them may have been done. New ones go to `address`.
    pub fn cut(&self, at: usize, address: SocketAddr) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind[at] = Behind {
            address,
            connections: JoinSet::new(),
        };
    }
}
