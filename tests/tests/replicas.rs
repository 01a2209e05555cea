//! Several ledgers over one storage: whichever is asked, and whichever of them ends, limits hold to the cent, nothing is permitted
//! twice, and what was answered before something was asked stands before it in the log.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_core::evidence::record::{Body, Outcome, OutcomeResult};
use actpass_core::hash::StreamId;
use actpass_ledger::Ledger;
use actpass_ledger::storage::memory::Fault;
use actpass_sidecar::judge::{Judge, Judgement};
use actpass_tests::parts::{Agent, Parts, SHOP};
use actpass_tests::scaled;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Far more than it takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

const PAY: &str = r#"{"amount":"1.00"}"#;

/// Asked and permitted, in ticks of one clock, with the place in its stream.
struct Permitted {
    asked: u64,
    answered: u64,
    stream: StreamId,
    seq: u64,
}

#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Parts whose log is there, with room for so many payments.
async fn parts(max: usize) -> Parts {
    let policy = SHOP.replace("100.00", &format!("{max}.00"));
    let parts = Parts::new(&policy).unwrap();
    parts.ledger().await.unwrap().stop().await;
    parts
}

/// Pays until it is told that there is no more, and of every seventh payment says that it was not sent.
async fn pays(agent: &Agent, clock: &Clock) -> Vec<Permitted> {
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
fn most_used(leaves: &[Leaf]) -> i64 {
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
fn consistent_with_time(permitted: &mut [Permitted], leaves: &[Leaf]) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_ledgers_over_one_log_are_as_one() {
    let room = usize::try_from(scaled(1_000)).unwrap().max(60);
    let parts = Arc::new(parts(room).await);
    let replicas: Vec<Ledger> = (0..3).map(|_| parts.replica().unwrap()).collect();
    let clock = Arc::new(Clock::default());
    let mut clients = JoinSet::new();
    for at in 0..12 {
        let (parts, clock) = (parts.clone(), clock.clone());
        let address = replicas[at % replicas.len()].address();
        clients.spawn(async move {
            let agent = parts.agent_at(address).await.unwrap();
            let permitted = pays(&agent, &clock).await;
            agent.close().await.unwrap();
            permitted
        });
    }
    let all = tokio::time::timeout(PATIENCE, clients.join_all());
    let mut permitted: Vec<Permitted> = all.await.unwrap().into_iter().flatten().collect();
    for replica in replicas {
        replica.stop().await;
    }
    let leaves = parts.leaves().unwrap();
    consistent_with_time(&mut permitted, &leaves);
    assert_eq!(most_used(&leaves), i64::try_from(room).unwrap());
    parts.verified().unwrap();
    let conflicts = parts.disk.conflicts();
    assert!(conflicts > 0, "nobody was ever faster than another");
    println!(
        "{} permits among {} leaves of three ledgers; {conflicts} groups came too late and were decided again",
        permitted.len(),
        leaves.len()
    );
}

/// A way to whichever of several ledgers is there, as a Service is: each connection to another one.
struct Door {
    address: SocketAddr,
    behind: Arc<Mutex<Vec<Behind>>>,
}

/// One ledger and the connections to it.
struct Behind {
    address: SocketAddr,
    connections: JoinSet<()>,
}

impl Door {
    async fn open(addresses: impl Iterator<Item = SocketAddr>) -> Self {
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
    fn cut(&self, at: usize, address: SocketAddr) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind[at] = Behind {
            address,
            connections: JoinSet::new(),
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_that_end_and_answers_that_get_lost_leave_one_log() {
    let room = usize::try_from(scaled(4_000)).unwrap().max(200);
    let parts = Arc::new(parts(room).await);
    let mut replicas: Vec<Ledger> = (0..3).map(|_| parts.replica().unwrap()).collect();
    let door = Door::open(replicas.iter().map(Ledger::address)).await;
    let clock = Arc::new(Clock::default());
    let mut clients = JoinSet::new();
    for _ in 0..scaled(64).max(12) {
        // A sidecar whose first connection is cut starts anew, which is none of this.
        let agent = parts.agent_at(door.address).await.unwrap();
        let clock = clock.clone();
        clients.spawn(async move {
            let permitted = pays(&agent, &clock).await;
            agent.close().await.unwrap();
            permitted
        });
    }
    let (mut permitted, mut ended, begun) = (Vec::new(), 0_usize, Instant::now());
    while let Some(joined) = {
        tokio::select! {
            joined = clients.join_next() => joined.map(Some),
            () = tokio::time::sleep(Duration::from_millis(20)) => Some(None),
        }
    } {
        assert!(begun.elapsed() < PATIENCE, "clients that never end");
        if let Some(joined) = joined {
            permitted.extend(joined.unwrap());
            continue;
        }
        // In turn: the storage takes a group and nobody is told so, it takes none, or a ledger goes with all its connections.
        match ended % 3 {
            0 => parts.disk.fail_after(2, Fault::UnknownKept),
            1 => parts.disk.fail_after(2, Fault::UnknownLost),
            _ => {
                let at = ended / 3 % replicas.len();
                let new = parts.replica().unwrap();
                door.cut(at, new.address());
                std::mem::replace(&mut replicas[at], new).stop().await;
            }
        }
        ended += 1;
    }
    for replica in replicas {
        replica.stop().await;
    }
    let leaves = parts.leaves().unwrap();
    consistent_with_time(&mut permitted, &leaves);
    assert_eq!(most_used(&leaves), i64::try_from(room).unwrap());
    assert!(ended >= 3, "nothing went wrong in so short a time: {ended}");
    parts.verified().unwrap();
    println!(
        "{} permits told, {} leaves, {ended} faults; {} groups came too late and were decided again",
        permitted.len(),
        leaves.len(),
        parts.disk.conflicts()
    );
}
