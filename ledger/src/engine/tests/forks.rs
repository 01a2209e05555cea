//! What `fork` logs, and in how many logs at once.

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::leaf::GapLimits;
use actpass_core::hash::TreeRoot;

use super::*;
use crate::engine::fork::{Fork, ForkError, Given, Request, fork};
use crate::storage::segment::SEGMENT_BYTES_MIN;

/// Has logs that are gone begin anew in segments as small as they may be.
fn begun_anew(dir: &Path, gone: u32, log: Option<&str>) -> Result<Vec<Fork>, ForkError> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let head = |nth: u32| {
        let origin = format!("actpass/local/default/{nth}");
        let lost = Checkpoint {
            origin: origin.clone(),
            size: 20,
            root: TreeRoot::from_bytes([9; 32]),
        };
        Given::Checkpoint(lost.sign(&NoteSigner::new(origin, key.clone())))
    };
    let options = SegmentOptions {
        segment_bytes: SEGMENT_BYTES_MIN,
    };
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    let parts = Parts {
        storage: Box::new(SegmentStorage::open(&dir.join("log"), options).unwrap()),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: key.clone().into(),
        metrics: Arc::default(),
        heads: None,
    };
    let request = Request {
        log: log.map(str::to_owned),
        by: "ann".to_owned(),
        why: "case 17".to_owned(),
        lost: (0..gone).map(head).collect(),
        limits: GapLimits::UsedUp,
    };
    fork(parts, &request)
}

#[test]
fn logs_whose_gaps_are_more_than_one_write_takes_are_named_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let refused = begun_anew(dir.path(), 40, None).unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("name one log after the other"), "{why}");
    for nth in 0..40 {
        let log = format!("actpass/local/default/{nth}");
        let forked = begun_anew(dir.path(), 40, Some(&log)).unwrap();
        let found: Vec<_> = forked.iter().map(|it| (it.log.as_str(), it.gone)).collect();
        assert_eq!(found, [(log.as_str(), true)]);
    }
    let none = begun_anew(dir.path(), 40, None).unwrap_err();
    assert!(matches!(none, ForkError::NothingLost), "{none}");
}
