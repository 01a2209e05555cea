//! Streams of pods, and the keys that their passports rest on.

use std::collections::BTreeMap;

use super::*;
use crate::evidence::leaf::TrustedKeys;

fn opened_by(sidecar: &testlog::Sidecar, pod: Option<&str>, issuer: Option<&str>) -> EventBody {
    let mut event = opened(sidecar, Timestamp::MAX);
    let EventBody::StreamOpened {
        pod_uid,
        issuer: by,
        ..
    } = &mut event
    else {
        panic!("{event:?}")
    };
    *pod_uid = pod.map(str::to_owned);
    *by = issuer.map(str::to_owned);
    event
}

fn end(sidecar: &testlog::Sidecar) -> EventBody {
    EventBody::StreamEnded {
        stream: sidecar.id(),
        how: StreamEnd::Closed,
    }
}

#[test]
fn a_pod_has_one_stream_at_a_time() {
    let mut log = TestLog::new();
    let (first, second, other) = (
        testlog::Sidecar::new(1),
        testlog::Sidecar::new(2),
        testlog::Sidecar::new(3),
    );
    log.event(opened_by(&first, Some("u-1"), None)).unwrap();
    log.event(opened_by(&first, Some("u-1"), None)).unwrap();
    log.event(opened_by(&other, Some("u-2"), None)).unwrap();
    assert_eq!(log.state.stream_of_pod("u-1"), Some(&first.id()));
    assert_eq!(
        log.clone().event(opened_by(&second, Some("u-1"), None)),
        Err(StateError::SecondStream("u-1".to_owned()))
    );
    for (name, pod) in [("another pod", Some("u-3")), ("no pod", None)] {
        assert_eq!(
            log.clone().event(opened_by(&first, pod, None)),
            Err(StateError::NotOpen(first.id())),
            "a stream stays its pod's: {name}"
        );
    }
    log.event(end(&first)).unwrap();
    assert_eq!(log.state.stream_of_pod("u-1"), None);
    log.event(opened_by(&second, Some("u-1"), None)).unwrap();
    assert_eq!(log.state.stream_of_pod("u-1"), Some(&second.id()));
}

#[test]
fn a_passport_rests_on_a_key_that_the_log_names() {
    let mut log = TestLog::new();
    let sidecar = testlog::Sidecar::new(1);
    let by_new = opened_by(&sidecar, None, Some("k2"));
    assert!(log.clone().event(by_new.clone()).is_err());
    let named = |kid: &str| {
        EventBody::Keys(TrustedKeys {
            issuer_keys: BTreeMap::from([(kid.to_owned(), "x".to_owned())]),
            vote_keys: BTreeMap::new(),
        })
    };
    log.event(named("k2")).unwrap();
    log.event(by_new.clone()).unwrap();
    log.event(named("k3")).unwrap();
    assert!(log.event(by_new).is_err(), "it is believed no more");
}
