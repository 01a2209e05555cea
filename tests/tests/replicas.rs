//! Several ledgers over one storage: whichever is asked, and whichever of them ends, limits hold to the cent, nothing is permitted
//! twice, and what was answered before something was asked stands before it in the log.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_ledger::Ledger;
use actpass_ledger::storage::memory::Fault;
use actpass_tests::parts::{Parts, SHOP};
use actpass_tests::scaled;
use actpass_tests::several::{Clock, Door, Permitted, consistent_with_time, most_used, pays};
use tokio::task::JoinSet;

/// Far more than it takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Parts whose log is there, with room for so many payments.
async fn parts(max: usize) -> Parts {
    let policy = SHOP.replace("100.00", &format!("{max}.00"));
    let parts = Parts::new(&policy).unwrap();
    parts.ledger().await.unwrap().stop().await;
    parts
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
