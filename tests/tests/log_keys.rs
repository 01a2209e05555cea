//! The key of checkpoints follows another while sidecars ask for permits: who was told of it notices nothing, and who was not is denied.

use actpass_sidecar::known_log::{KnownLog, LedgerKeys};
use actpass_tests::parts::{Agent, Parts, SHOP, fresh_key};

/// Whether it is permitted, or why not.
async fn pay(agent: &Agent) -> String {
    let body = r#"{"amount":"1.00"}"#;
    let asked = agent.verdict("POST", "/v1/pay", body).await;
    asked.unwrap_or_else(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_was_told_of_a_key_is_refused_nothing_and_another_permits_nothing_under_it()
{
    let parts = Parts::new(&SHOP.replace("100.00", "10000.00")).unwrap();
    let ledger = parts.ledger().await.unwrap();
    let (first, next) = (parts.log_keys.newest(), fresh_key().unwrap());
    let public = [&first, &next].map(|key| key.verifying_key());
    let keys = LedgerKeys::new(public[..1].to_vec());
    let log = KnownLog::new(parts.verifier().name(), keys.clone());
    let told = parts.agent_knowing(ledger.address(), log).await.unwrap();
    let untold = parts.agent().await.unwrap();
    for agent in [&told, &untold] {
        assert_eq!(pay(agent).await, "permit");
    }

    // Announced: held by the ledger, known to the one, used by nobody.
    let both = vec![first.clone(), next.clone()];
    parts.log_keys.exchange(first.clone(), both.clone());
    ledger.engine().sign_with_newest().await.unwrap();
    keys.exchange(public.to_vec());
    for agent in [&told, &untold] {
        assert_eq!(pay(agent).await, "permit");
    }

    // Used from somewhere in between.
    let paying = async {
        for _ in 0..40 {
            assert_eq!(pay(&told).await, "permit");
        }
    };
    let using = async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        parts.log_keys.exchange(next.clone(), both.clone());
        ledger.engine().sign_with_newest().await.unwrap();
    };
    tokio::join!(paying, using);
    assert_ne!(pay(&untold).await, "permit");
    assert!(untold.close().await.is_err(), "its stream is broken off");

    // Alone, also after another start.
    parts.log_keys.exchange(next.clone(), vec![next]);
    keys.exchange(public[1..].to_vec());
    assert_eq!(pay(&told).await, "permit");
    told.close().await.unwrap();
    ledger.stop().await;
    parts.ledger().await.unwrap().stop().await;
    parts.verified().unwrap();
}
