//! Bytes that are no state, and states of others.

use super::testlog::TestBundles;
use super::*;

fn kept(log: &TestLog) -> Vec<u8> {
    Snapshot::of(&log.state).to_vec().unwrap()
}

#[test]
fn a_kept_state_without_its_bundle_is_refused() {
    let (log, ..) = granted();
    let refused = Snapshot::restore(&kept(&log), &TestBundles::default()).unwrap_err();
    let digest = log.state.active().unwrap().digest();
    assert_eq!(refused, SnapshotError::MissingBundle(digest));
}

#[test]
fn a_state_of_another_version_is_not_read() {
    let (log, ..) = granted();
    let text = String::from_utf8(kept(&log)).unwrap();
    let later = text.replace(STATE_VERSION, "actpass.state/9");
    assert_ne!(later, text);
    let refused = Snapshot::restore(later.as_bytes(), &log.bundles).unwrap_err();
    assert_eq!(
        refused,
        SnapshotError::Version("actpass.state/9".to_owned())
    );
}

/// What was written by us is canonical, so another spelling was not, and what stands twice or in another order neither.
#[test]
fn bytes_that_would_not_be_written_are_no_state() {
    let (log, ..) = granted();
    let text = String::from_utf8(kept(&log)).unwrap();
    let approvals = text.find("\"approvals\":[{").unwrap();
    let (before, rest) = text.split_at(approvals + "\"approvals\":[".len());
    let end = rest.find("}],\"").unwrap() + 1;
    let (first, after) = rest.split_at(end);
    let twice = format!("{before}{first},{first}{after}");
    for (what, bytes) in [
        ("cut short", text.strip_suffix('}').unwrap()),
        ("empty", ""),
        ("with a space", &text.replacen(':', ": ", 1)),
        ("an approval twice", &twice),
        ("a part more", &text.replacen('{', "{\"a\":1,", 1)),
    ] {
        let refused = Snapshot::restore(bytes.as_bytes(), &log.bundles).unwrap_err();
        assert!(
            matches!(refused, SnapshotError::Form(_)),
            "{what}: {refused}"
        );
    }
}
