//! What the verifier found last: for the metrics, the evidence and the controller.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use actpass_core::session::{FENCE_BYTES_MAX, FENCE_STANDS, FENCE_UNVERIFIED};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ways::{PROXY_WAY, Pass, Wrong, is_shut};

/// How often it is looked whether there is a newer result. The verifier leaves a find there for longer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the last pass counts: as long as the alert ActPassFenceUnverified waits.
pub const UNVERIFIED_AFTER: Duration = Duration::from_secs(300);

/// Longest result that is read: nine ways with a sentence each.
const RESULT_BYTES_MAX: usize = 16 * 1024;

/// What is known of the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// No pass has ended yet.
    Unknown,
    /// No pass found anything.
    Stands,
    /// The last pass found ways out: which, and what happened, in visible ASCII.
    Open(String),
    /// No pass has ended for [`UNVERIFIED_AFTER`].
    Unverified,
}

impl Fence {
    /// After another pass. What the sidecar answers says nothing of the fence while the sidecar does not answer: it is away or
    /// busy, and then nothing passes at all.
    fn after(&self, pass: &Pass) -> Self {
        let away = pass.wrong.iter().any(|it| it.way == PROXY_WAY);
        let counts = |it: &&Wrong| !away || is_shut(&it.way);
        let open: Vec<&Wrong> = pass.wrong.iter().filter(counts).collect();
        match (open.as_slice(), self) {
            ([], before) if away => before.clone(),
            ([], _) => Self::Stands,
            (open, _) => Self::Open(said(open)),
        }
    }

    /// After a long time without a pass. What was found open is not shut by that.
    fn after_silence(&self) -> Self {
        match self {
            Self::Open(_) => self.clone(),
            Self::Unknown | Self::Stands | Self::Unverified => Self::Unverified,
        }
    }

    /// For the evidence, in a sentence, given what was known before; nothing while nothing is known.
    pub fn sentence(&self, before: &Self) -> Option<String> {
        match (self, before) {
            (Self::Unknown, _) => None,
            (Self::Stands, Self::Open(_)) => Some("The way out that was open is shut.".to_owned()),
            (Self::Stands, _) => {
                Some("The ways out of the pod were tried: none is open.".to_owned())
            }
            (Self::Open(ways), _) => Some(format!("A way out beside the sidecar is open: {ways}")),
            (Self::Unverified, _) => {
                let minutes = UNVERIFIED_AFTER.as_secs() / 60;
                Some(format!(
                    "The ways out of the pod were not tried for {minutes} minutes."
                ))
            }
        }
    }

    /// As the controller is told; nothing while nothing is known.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Unknown => None,
            Self::Stands => Some(FENCE_STANDS),
            Self::Open(ways) => Some(ways),
            Self::Unverified => Some(FENCE_UNVERIFIED),
        }
    }

    /// Whether the controller, which was told `told`, is to be told. That the fence stands is no news where nothing else was said.
    pub fn is_news(&self, told: &Self) -> bool {
        !matches!(
            (self, told),
            (Self::Unknown, _) | (Self::Stands, Self::Unknown)
        ) && self != told
    }
}

fn said(wrong: &[&Wrong]) -> String {
    let ways = wrong.iter().map(|it| format!("{}: {}", it.way, it.said));
    let ways = ways.collect::<Vec<_>>().join("; ");
    let visible = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    ways.chars().map(visible).take(FENCE_BYTES_MAX).collect()
}

/// What is known of the fence by the result that is there.
pub fn known(result: &Path) -> Fence {
    let pass = last(result);
    pass.map_or(Fence::Unknown, |pass| Fence::Unknown.after(&pass))
}

/// Tells what is known of the fence as it changes, until nobody listens.
pub async fn follow(result: &Path, fence: watch::Sender<Fence>) {
    let (mut newest, mut seen) = (None, Instant::now());
    while !fence.is_closed() {
        // One that starts anew takes its result away at first.
        let pass = last(result).filter(|pass| newest.as_ref() != Some(pass));
        let next = match pass {
            Some(pass) => {
                seen = Instant::now();
                let next = fence.borrow().after(&pass);
                newest = Some(pass);
                next
            }
            None if seen.elapsed() > UNVERIFIED_AFTER => fence.borrow().after_silence(),
            None => fence.borrow().clone(),
        };
        fence.send_if_modified(|now| {
            let changed = *now != next;
            *now = next;
            changed
        });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The newest pass, if there is one.
fn last(result: &Path) -> Option<Pass> {
    let read = std::fs::read(result).ok();
    let read = read.filter(|bytes| bytes.len() <= RESULT_BYTES_MAX)?;
    serde_json::from_slice(&read).ok()
}

/// Appends whether the last pass found nothing, and when it ended, as OpenMetrics text. Without a result there is neither.
pub fn write_metrics(text: &mut String, result: &Path) {
    let Some(pass) = last(result) else {
        return;
    };
    let stands = u8::from(pass.wrong.is_empty());
    let time = pass.time;
    let written = write!(
        text,
        "# HELP actpass_sidecar_fence_stands Whether the last pass over all ways out of the pod found nothing.\n\
         # TYPE actpass_sidecar_fence_stands gauge\n\
         actpass_sidecar_fence_stands {stands}\n\
         # HELP actpass_sidecar_fence_verified_timestamp_seconds When that pass ended, since the epoch.\n\
         # TYPE actpass_sidecar_fence_verified_timestamp_seconds gauge\n\
         # UNIT actpass_sidecar_fence_verified_timestamp_seconds seconds\n\
         actpass_sidecar_fence_verified_timestamp_seconds {time}\n"
    );
    if written.is_err() {
        tracing::error!("The result of the verifier has no room");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::ways::Wrong;

    #[test]
    fn what_is_known_of_the_fence_is_what_the_last_pass_found() {
        let pass = |wrong: &[&str]| Pass {
            time: 7,
            wrong: wrong
                .iter()
                .map(|said| Wrong {
                    way: "udp".to_owned(),
                    said: (*said).to_owned(),
                })
                .collect(),
        };
        let open = |text: &str| Fence::Open(format!("udp: {text}"));
        let mut fence = Fence::Unknown;
        for (found, want) in [
            (vec![], Fence::Stands),
            (vec![], Fence::Stands),
            (vec!["not refused"], open("not refused")),
            (vec!["na\u{ef}ve\nline"], open("na?ve?line")),
            (vec![], Fence::Stands),
            (vec!["a", "b"], open("a; udp: b")),
        ] {
            fence = fence.after(&pass(&found));
            assert_eq!(fence, want);
        }
        let long = "x".repeat(2 * FENCE_BYTES_MAX);
        let Fence::Open(said) = fence.after(&pass(&[&long])) else {
            panic!("it is open");
        };
        assert_eq!(said.len(), FENCE_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verifier_that_falls_silent_is_told_and_shuts_nothing_by_that() {
        let dir = tempfile::tempdir().unwrap();
        let result = dir.path().join("result.json");
        let wrote = |time: i64, ways: &[&str]| {
            let pass = Pass {
                time,
                ..Pass::of(ways)
            };
            std::fs::write(&result, serde_json::to_vec(&pass).unwrap()).unwrap();
        };
        let (fence, mut told) = watch::channel(Fence::Unknown);
        let following = {
            let result = result.clone();
            tokio::spawn(async move { follow(&result, fence).await })
        };
        let open = Fence::Open("udp: x".to_owned());
        let mut until = async |want: Fence| {
            let seen = told.wait_for(|it| *it == want);
            let seen = tokio::time::timeout(UNVERIFIED_AFTER * 2, seen).await;
            assert!(seen.is_ok(), "{want:?}");
        };
        wrote(1, &[]);
        until(Fence::Stands).await;
        until(Fence::Unverified).await;
        wrote(2, &[]);
        until(Fence::Stands).await;
        wrote(3, &["udp"]);
        until(open.clone()).await;
        tokio::time::sleep(UNVERIFIED_AFTER * 2).await;
        assert_eq!(*told.borrow(), open, "nobody has seen that it is shut");
        drop(told);
        following.await.unwrap();
    }

    #[test]
    fn a_sidecar_that_does_not_answer_is_no_way_out() {
        let pass = Pass::of;
        let away = ["proxy", "captured", "undeclared_name"];
        for before in [Fence::Unknown, Fence::Stands, Fence::Unverified] {
            assert_eq!(before.after(&pass(&away)), before);
        }
        let open = Fence::Stands.after(&pass(&["proxy", "captured", "udp"]));
        assert_eq!(open, Fence::Open("udp: x".to_owned()));
        // It answers at its name, and connections go past it.
        let past = Fence::Stands.after(&pass(&["captured"]));
        assert_eq!(past, Fence::Open("captured: x".to_owned()));
    }

    #[test]
    fn the_last_pass_is_shown_and_nothing_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        let shown = || {
            let mut text = String::new();
            write_metrics(&mut text, &path);
            text
        };
        assert_eq!(shown(), "");
        let wrong = Wrong {
            way: "udp".to_owned(),
            said: "a datagram was not refused".to_owned(),
        };
        for (wrong, stands) in [(Vec::new(), "stands 1\n"), (vec![wrong], "stands 0\n")] {
            let pass = Pass { time: 7, wrong };
            std::fs::write(&path, serde_json::to_vec(&pass).unwrap()).unwrap();
            assert!(shown().contains(stands), "{}", shown());
            assert!(shown().ends_with("verified_timestamp_seconds 7\n"));
        }
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(shown(), "");
    }
}
