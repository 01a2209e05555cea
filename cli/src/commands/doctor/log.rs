//! The log: who has it, whether it verifies, and whether the clock is behind it.

use std::fs::{self, File};
use std::path::Path;

use actpass_core::evidence::leaf::Leaf;
use actpass_core::verify::Class;
use actpass_ledger::heads;
use actpass_ledger::offline::{Files, verify_dir};
use actpass_ledger::storage::Entry;
use actpass_ledger::storage::reader::{SegmentReader, Tail};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use super::{Finding, chain};
use crate::commands::verify::known::Elsewhere;
use crate::state::StateDir;

/// Before this the clock was certainly never set: ActPass did not exist.
const CLOCK_MIN: &str = "2025-01-01T00:00:00Z";

/// How far a clock may be off before intents are denied, in seconds.
const SKEW_SECONDS_MAX: i64 = 30;

/// All that is said of the log.
pub(super) fn log(state: &StateDir) -> Vec<Finding> {
    let dir = state.log();
    if !dir.join("segments").is_dir() {
        let log = match heads::none_kept(&state.head()) {
            Ok(()) => {
                let says = "there is no log yet; the first `actpass run` makes it";
                Finding::note("log", says)
            }
            Err(gone) => Finding::problem("log", chain(gone), None),
        };
        return vec![log, clock(Timestamp::now(), None)];
    }
    let (lock, running) = lock(state);
    vec![
        lock,
        verifies(state, running),
        head(state),
        clock(Timestamp::now(), last_time(&dir)),
    ]
}

/// Whether a run has the log. The lock is taken for an instant, and shared, so that another `doctor` is not in the way.
fn lock(state: &StateDir) -> (Finding, bool) {
    const CHECK: &str = "lock";
    let path = state.log().join("LOCK");
    let Ok(file) = File::open(&path) else {
        return (Finding::ok(CHECK, "nobody has the log"), false);
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) if state.control().exists() => {
            let says = "nobody has the log; the last `actpass run` was killed, and the next one takes up from there";
            (Finding::note(CHECK, says), false)
        }
        Ok(()) => (Finding::ok(CHECK, "nobody has the log"), false),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let says = format!(
                "process {} has the log, so a second `actpass run` needs another --state-dir",
                pid.trim()
            );
            (Finding::note(CHECK, says), true)
        }
        Err(error) => {
            let says = format!(
                "`{}` cannot be locked: {}",
                path.display(),
                std::io::Error::from(error)
            );
            (Finding::problem(CHECK, says, None), false)
        }
    }
}

fn verifies(state: &StateDir, running: bool) -> Finding {
    const CHECK: &str = "log";
    let elsewhere = match Elsewhere::of_state(state) {
        Ok(elsewhere) => elsewhere,
        Err(error) => return Finding::problem(CHECK, chain(error), None),
    };
    let verified = match verify_dir(&state.log(), &elsewhere.known()) {
        Ok(verified) => verified,
        Err(error) => {
            let remedy = "see that this user may read it".to_owned();
            return Finding::problem(CHECK, chain(error), remedy);
        }
    };
    let leaves: u64 = verified.logs.iter().map(|log| log.report.leaves).sum();
    match (&verified.files, verified.class()) {
        (Files::Damaged(error), _) => {
            let remedy = "nothing runs on it until the file is restored from a copy; `actpass verify` says it again";
            Finding::problem(CHECK, error.to_string(), remedy.to_owned())
        }
        (_, Class::Invalid) => {
            let remedy = "run `actpass verify` for the places".to_owned();
            Finding::problem(CHECK, format!("its {leaves} leaves do not verify"), remedy)
        }
        (Files::Torn(checked), _) if !running => {
            let what = match &checked.tail {
                Tail::Torn { path, offset, what } => {
                    format!("`{}` at byte {offset}: {what}", path.display())
                }
                Tail::Clean => String::new(),
            };
            let says = format!(
                "{leaves} leaves verify; a crash cut the last write short ({what}), and the next run drops it and says so"
            );
            Finding::note(CHECK, says)
        }
        (_, Class::Incomplete) if !running => {
            let says = format!("{leaves} leaves; `actpass verify` says what could not be checked");
            Finding::note(CHECK, says)
        }
        _ => Finding::ok(CHECK, format!("{leaves} leaves verify")),
    }
}

/// Whether a head is kept outside the log. What it says of the log, the verification has said.
fn head(state: &StateDir) -> Finding {
    const CHECK: &str = "head";
    let path = state.head();
    match heads::read(&path) {
        Ok(kept) if kept.is_empty() => {
            let says = format!(
                "no head of the log is kept in `{}`, so that it was cut short would not show; the next run keeps one",
                path.display()
            );
            Finding::note(CHECK, says)
        }
        Ok(kept) => {
            let sizes = kept.iter().filter_map(|note| note.lines().nth(1));
            let sizes: Vec<&str> = sizes.collect();
            let says = format!(
                "`{}` keeps the head of {} leaves",
                path.display(),
                sizes.join(", ")
            );
            Finding::ok(CHECK, says)
        }
        Err(error) => Finding::problem(CHECK, chain(error), None),
    }
}

/// The time of the last leaf.
fn last_time(dir: &Path) -> Option<Timestamp> {
    let mut last = None;
    let mut reader = SegmentReader::open_read_only(dir).ok()?;
    let read = reader.read_on(&mut |entry| {
        if let Entry::Leaf { bytes, .. } = entry {
            last = Some(bytes.to_vec());
        }
    });
    read.ok()?;
    Leaf::parse(&last?).ok().map(|leaf| leaf.h.time)
}

fn clock(now: Timestamp, last: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    let remedy = "set the clock, for example by `timedatectl set-ntp true`: limits, expiry and approvals go by it";
    let unset = CLOCK_MIN
        .parse::<Timestamp>()
        .is_ok_and(|earliest| now < earliest);
    let shown = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let behind = last.map_or(0, |last| last.duration_since(now).as_secs());
    if unset {
        let says = format!("the clock says {shown}, which is long past");
        Finding::problem(CHECK, says, remedy.to_owned())
    } else if behind > SKEW_SECONDS_MAX {
        let says = format!("the clock says {shown}, {behind} s before the log's last leaf");
        Finding::problem(CHECK, says, remedy.to_owned())
    } else {
        Finding::ok(CHECK, format!("the clock says {shown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_is_a_problem() {
        struct Case {
            name: &'static str,
            given: (&'static str, Option<&'static str>),
            want: State,
        }
        let cases = [
            Case {
                name: "an empty log",
                given: ("2026-05-01T09:00:00Z", None),
                want: State::Ok,
            },
            Case {
                name: "after the last leaf",
                given: ("2026-05-01T09:00:00Z", Some("2026-05-01T08:59:00Z")),
                want: State::Ok,
            },
            Case {
                name: "a little behind it",
                given: ("2026-05-01T09:00:00Z", Some("2026-05-01T09:00:30Z")),
                want: State::Ok,
            },
            Case {
                name: "well behind it",
                given: ("2026-05-01T09:00:00Z", Some("2026-05-01T09:00:31Z")),
                want: State::Problem,
            },
            Case {
                name: "never set",
                given: ("1970-01-01T00:02:00Z", None),
                want: State::Problem,
            },
        ];
        for Case { name, given, want } in cases {
            let last = given.1.map(|text| text.parse().unwrap());
            let found = clock(given.0.parse().unwrap(), last);
            assert_eq!(found.state, want, "{name}: {found:?}");
        }
    }
}
