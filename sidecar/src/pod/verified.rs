//! What the verifier found last, for the metrics.

use std::fmt::Write;
use std::path::Path;

use super::ways::Pass;

/// Longest result that is read: seven ways with a sentence each.
const RESULT_BYTES_MAX: usize = 16 * 1024;

/// Appends whether the last pass found nothing, and when it ended, as OpenMetrics text. Without a result there is neither.
pub fn write_metrics(text: &mut String, result: &Path) {
    let read = std::fs::read(result).ok();
    let read = read.filter(|bytes| bytes.len() <= RESULT_BYTES_MAX);
    let Some(pass) = read.and_then(|bytes| serde_json::from_slice::<Pass>(&bytes).ok()) else {
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
