//! The result of a pass as it lies in the verifier's directory, and whether it lets the agents start.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::ways::Pass;

/// Between two looks at the result.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Puts a result in the place of the last one, whole.
///
/// # Errors
/// Where it cannot be written.
pub fn write(result: &Path, pass: &Pass) -> io::Result<()> {
    let new = result.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(pass)?)?;
    std::fs::rename(&new, result)
}

/// Takes away what an earlier container of the pod left: it says nothing of the network that this one stands in.
///
/// # Errors
/// Where it cannot be taken away.
pub fn forget(result: &Path) -> io::Result<()> {
    match std::fs::remove_file(result) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The last pass, as soon as one found nothing; else what there is when `patience` is over. `rest` sleeps.
///
/// # Errors
/// There is no pass yet, or it cannot be read.
pub fn wait(
    result: &Path,
    patience: Duration,
    mut rest: impl FnMut(Duration),
) -> Result<Pass, String> {
    let mut waited = Duration::ZERO;
    loop {
        let last = read(result);
        let passed = last.as_ref().is_ok_and(|pass| pass.wrong.is_empty());
        if passed || waited >= patience {
            return last;
        }
        rest(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

fn read(result: &Path) -> Result<Pass, String> {
    let bytes = std::fs::read(result).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::ways::Wrong;

    /// A pass that found nothing, or one thing.
    fn pass(wrong: bool) -> Pass {
        let found = Wrong {
            way: "udp".to_owned(),
            said: "a datagram was not refused".to_owned(),
        };
        Pass {
            time: 7,
            wrong: wrong.then_some(found).into_iter().collect(),
        }
    }

    #[test]
    fn a_probe_waits_for_a_pass_that_found_nothing_and_no_longer() {
        struct Case {
            name: &'static str,
            /// What is written when that much was waited, and whether it is wrong.
            given: &'static [(u64, bool)],
            /// How long it waits, and what it says: whether the pass is wrong.
            want: (u64, Option<bool>),
        }
        let cases = [
            Case {
                name: "one that is there is taken at once",
                given: &[(0, false)],
                want: (0, Some(false)),
            },
            Case {
                name: "one that comes is taken when it comes",
                given: &[(100, false)],
                want: (100, Some(false)),
            },
            Case {
                name: "one that found something is no end",
                given: &[(0, true), (200, false)],
                want: (200, Some(false)),
            },
            Case {
                name: "one that goes on finding something is said at the end",
                given: &[(40, true)],
                want: (1000, Some(true)),
            },
            Case {
                name: "without one there is nothing to say",
                given: &[],
                want: (1000, None),
            },
            Case {
                name: "one that comes too late is the next probe's",
                given: &[(1020, false)],
                want: (1000, None),
            },
        ];
        for Case { name, given, want } in cases {
            let dir = tempfile::tempdir().unwrap();
            let result = dir.path().join("result.json");
            let written = |now: u128| {
                for (_, wrong) in given.iter().filter(|(at, _)| u128::from(*at) == now) {
                    write(&result, &pass(*wrong)).unwrap();
                }
            };
            written(0);
            let mut now = Duration::ZERO;
            let said = wait(&result, Duration::from_secs(1), |rest| {
                now += rest;
                written(now.as_millis());
            });
            let said = said.ok().map(|pass| !pass.wrong.is_empty());
            assert_eq!(
                (now, said),
                (Duration::from_millis(want.0), want.1),
                "{name}"
            );
        }
    }

    #[test]
    fn what_an_earlier_container_left_lets_nobody_start() {
        let dir = tempfile::tempdir().unwrap();
        let result = dir.path().join("result.json");
        forget(&result).unwrap();
        write(&result, &pass(false)).unwrap();
        assert_eq!(wait(&result, Duration::ZERO, |_| ()), Ok(pass(false)));
        forget(&result).unwrap();
        assert!(wait(&result, Duration::ZERO, |_| ()).is_err());
    }
}
