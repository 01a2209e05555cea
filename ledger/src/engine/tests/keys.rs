//! Keys that follow one another while a ledger serves.

use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::log_keys::LogKeys;
use ed25519_dalek::VerifyingKey;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Those of these seeds, the oldest first, of which `signs` is to sign.
fn ring(signs: u8, seeds: &[u8]) -> Ring {
    Ring::of(key(signs), seeds.iter().copied().map(key).collect())
}

fn holding(
    dir: &Path,
    disk: &MemoryDisk,
    ring: &Ring,
    is_shared: bool,
) -> Result<Engine, OpenError> {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    let storage = match is_shared {
        true => MemoryStorage::shared(disk.clone()),
        false => MemoryStorage::on(disk.clone()),
    };
    Engine::start(Parts {
        storage: Box::new(storage),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: ring.clone(),
        metrics: Arc::default(),
        heads: None,
    })
}

/// Has the newest key of `ring` be that of `signs`, and all of `seeds` held.
async fn moved(ledger: &Engine, ring: &Ring, signs: u8, seeds: &[u8]) {
    ring.exchange(key(signs), seeds.iter().copied().map(key).collect());
    ledger.sign_with_newest().await.unwrap();
}

async fn in_force(ledger: &Engine) -> BTreeSet<[u8; 32]> {
    let keys = ledger.keys_in_force().await.unwrap();
    keys.iter().map(VerifyingKey::to_bytes).collect()
}

fn public(seed: u8) -> BTreeSet<[u8; 32]> {
    [key(seed).verifying_key().to_bytes()].into()
}

/// Seeds of the keys that the leaves of a log name, as one would follow them who knows the first.
fn followed(disk: &MemoryDisk, log: &str) -> Vec<u8> {
    let mut keys: Option<LogKeys> = None;
    for leaf in leaves(disk).iter().filter(|leaf| leaf.h.log == log) {
        match leaf.event() {
            Some(EventBody::Genesis { log_key, .. }) => {
                let first = actpass_core::evidence::log_keys::named(log_key, log);
                keys = Some(LogKeys::of(first.unwrap()));
            }
            Some(EventBody::LogKey { key, by }) => {
                keys.as_mut().unwrap().rotate(leaf.h.seq, key, by).unwrap();
            }
            _ => {}
        }
    }
    let keys = keys.unwrap();
    let seed = |named: &VerifyingKey| (0..=9).find(|seed| key(*seed).verifying_key() == *named);
    keys.iter()
        .map(|(_, named)| seed(named.key()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_key_is_held_then_used_in_every_log_then_alone_and_nothing_is_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, ring) = (MemoryDisk::default(), ring(1, &[1]));
    let ledger = holding(dir.path(), &disk, &ring, false).unwrap();
    // More than one group takes.
    let logs: Vec<String> = (0..GROUP_JOBS_MAX + 3)
        .map(|nth| format!("actpass/local/default/{nth}"))
        .collect();
    for log in &logs {
        ledger.make_log(log, BTreeMap::new()).await.unwrap();
    }
    moved(&ledger, &ring, 1, &[1, 2]).await;
    assert_eq!(in_force(&ledger).await, public(1), "announced only");
    assert!(ledger.signs_with_newest().await.unwrap());
    moved(&ledger, &ring, 2, &[1, 2]).await;
    assert_eq!(in_force(&ledger).await, public(2));
    let count = leaves(&disk).len();
    assert_eq!(count, 2 * logs.len(), "each log says it once");
    ledger
        .make_log("actpass/local/later/1", BTreeMap::new())
        .await
        .unwrap();
    moved(&ledger, &ring, 2, &[2]).await;
    note(&ledger, 1).await.unwrap();
    ledger.join();
    assert_eq!(followed(&disk, ORIGIN), [1, 2]);
    assert_eq!(followed(&disk, "actpass/local/later/1"), [2]);

    // Whoever starts with what is left goes on, and is told what is missing where it is the wrong one.
    let error = holding(dir.path(), &disk, &self::ring(1, &[1]), false).unwrap_err();
    let missing = NoteVerifier::new(&logs[0], key(2).verifying_key()).id();
    let said = error.to_string();
    assert!(matches!(error, OpenError::OtherKey { .. }), "{said}");
    assert!(
        said.contains("put back") && said.contains("is signed with key"),
        "{said}"
    );
    assert!(said.contains(&missing), "{said}");
    let again = holding(dir.path(), &disk, &self::ring(2, &[2, 3]), false).unwrap();
    note(&again, 2).await.unwrap();
    again.join();
    assert_eq!(
        followed(&disk, ORIGIN),
        [1, 2],
        "the last is announced only"
    );
}

#[tokio::test]
async fn a_ledger_that_uses_a_key_later_than_another_goes_on_with_it_and_back_to_none() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let rings = [ring(1, &[1, 2]), ring(1, &[1, 2])];
    let [early, late] = rings
        .each_ref()
        .map(|ring| holding(dir.path(), &disk, ring, true).unwrap());
    early.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    note(&late, 0).await.unwrap();
    moved(&early, &rings[0], 2, &[1, 2]).await;
    note(&late, 1).await.unwrap();
    moved(&late, &rings[1], 1, &[1, 2]).await;
    assert_eq!(in_force(&late).await, public(2), "what the log says");
    moved(&late, &rings[1], 2, &[1, 2]).await;
    note(&early, 2).await.unwrap();
    let names = leaves(&disk);
    let named = names
        .iter()
        .filter(|leaf| matches!(leaf.event(), Some(EventBody::LogKey { .. })));
    assert_eq!(named.count(), 1);
    [early, late].into_iter().for_each(Engine::join);
    assert_eq!(followed(&disk, ORIGIN), [1, 2]);
}

#[tokio::test]
async fn a_ledger_that_reads_of_a_key_which_it_does_not_hold_stops_and_goes_on_once_it_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let rings = [ring(1, &[1, 2]), ring(1, &[1])];
    let [early, late] = rings
        .each_ref()
        .map(|ring| holding(dir.path(), &disk, ring, true).unwrap());
    early.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    note(&late, 0).await.unwrap();
    moved(&early, &rings[0], 2, &[1, 2]).await;
    assert!(matches!(note(&late, 1).await, Err(ApiError::Poisoned)));
    late.poisoned().await;
    late.join();
    let again = holding(dir.path(), &disk, &ring(1, &[1, 2]), true).unwrap();
    note(&again, 1).await.unwrap();
    [early, again].into_iter().for_each(Engine::join);
}

#[tokio::test]
async fn a_log_that_is_keys_behind_names_each_of_them_at_a_start_and_while_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let first = holding(dir.path(), &disk, &ring(1, &[1]), false).unwrap();
    first.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    first.join();
    // As it is after a copy was restored that was made before the keys followed.
    let serving = ring(3, &[1, 2, 3, 4]);
    let ledger = holding(dir.path(), &disk, &serving, false).unwrap();
    note(&ledger, 1).await.unwrap();
    assert!(ledger.signs_with_newest().await.unwrap());
    moved(&ledger, &serving, 5, &[1, 2, 3, 4, 5]).await;
    assert_eq!(in_force(&ledger).await, public(5));
    assert!(ledger.signs_with_newest().await.unwrap());
    ledger.join();
    assert_eq!(followed(&disk, ORIGIN), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_log_that_began_with_a_later_key_is_not_moved_back_by_a_ledger_that_signs_with_one_before()
 {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let first = holding(dir.path(), &disk, &ring(2, &[1, 2]), false).unwrap();
    first.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    first.join();
    // As where the list that says which is in use is gone.
    let serving = ring(1, &[1, 2]);
    let ledger = holding(dir.path(), &disk, &serving, false).unwrap();
    note(&ledger, 1).await.unwrap();
    moved(&ledger, &serving, 2, &[1, 2]).await;
    note(&ledger, 2).await.unwrap();
    ledger.join();
    assert_eq!(followed(&disk, ORIGIN), [2]);
}

#[tokio::test]
async fn a_ledger_whose_key_was_taken_away_signs_with_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, ring) = (MemoryDisk::default(), ring(1, &[1]));
    let ledger = holding(dir.path(), &disk, &ring, false).unwrap();
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    note(&ledger, 0).await.unwrap();
    moved(&ledger, &ring, 2, &[2]).await;
    assert!(matches!(note(&ledger, 1).await, Err(ApiError::Poisoned)));
    ledger.join();
    let again = holding(dir.path(), &disk, &self::ring(1, &[1]), false).unwrap();
    note(&again, 1).await.unwrap();
    again.join();
}
