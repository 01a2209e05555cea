//! The controller's API to sidecars: one stream per pod that carries policy, passports and their end.
//!
//! `GET /v1/session` over TLS 1.3, with a client certificate over the stream's Ed25519 key and the pod's token
//! (`Authorization: Bearer`, audience `actpass`). The answer is one line of JSON after the other ([`SessionLine`]) and has
//! no end: where it ends, the sidecar asks again, and goes on meanwhile with what it has, as long as its passport lasts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Path of the stream.
pub const SESSION_PATH: &str = "/v1/session";

/// Header of the request for a stream: what the pod's own check of its fence found. The ways that are open, in visible ASCII of
/// at most [`FENCE_BYTES_MAX`], or one of the two words below; absent while nothing is known. A sidecar asks anew when it changes.
pub const FENCE_HEADER: &str = "actpass-fence";

/// In [`FENCE_HEADER`]: no way is open.
pub const FENCE_STANDS: &str = "stands";

/// In [`FENCE_HEADER`]: the check has not ended for so long that it says nothing any more.
pub const FENCE_UNVERIFIED: &str = "unverified";

/// Longest [`FENCE_HEADER`].
pub const FENCE_BYTES_MAX: usize = 512;

/// Longest line: a bundle of 1 MiB as a JSON string, every byte of it escaped, and room for the rest.
pub const LINE_BYTES_MAX: usize = 2 * (1 << 20) + 64 * 1024;

/// How often the controller says that it is there.
pub const PING_EVERY: Duration = Duration::from_secs(10);

/// After how long without a line the sidecar asks another replica.
pub const SILENCE_MAX: Duration = Duration::from_secs(25);

/// One line. A kind that is not known says nothing, so that newer controllers can say more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SessionLine {
    /// The policy from now on. The first line of a stream, and again when it changes.
    Bundle {
        /// The bundle's exact bytes, as [`crate::bundle::Bundle::parse`] reads them.
        bundle: String,
    },
    /// The keys that passports and checkpoints are signed with from now on: before the first passport, and again when they change.
    Keys {
        /// An [`crate::succession`]; sidecars believe what leads back to a key that their pod was made with.
        issuer: String,
        /// The same for checkpoints. Nothing where a controller does not say, and those before stay.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        checkpoints: String,
    },
    /// A passport, bound to the connection's key; a newer one follows at a third of its life.
    Passport {
        /// Name of the Passport resource.
        name: String,
        /// A compact JWS, as [`crate::passport::jws::verify`] reads it.
        token: String,
    },
    /// No passport from now on, or none yet: what was said of one so far counts no more.
    Revoked {
        /// Why, in one line for people.
        why: String,
    },
    /// The controller is there.
    Ping,
    /// Something newer than this build.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let lines = [
            (
                SessionLine::Bundle {
                    bundle: r#"{"v":"actpass.bundle/1"}"#.to_owned(),
                },
                r#"{"kind":"bundle","bundle":"{\"v\":\"actpass.bundle/1\"}"}"#,
            ),
            (
                SessionLine::Keys {
                    issuer: "AAAA ended\n".to_owned(),
                    checkpoints: String::new(),
                },
                r#"{"kind":"keys","issuer":"AAAA ended\n"}"#,
            ),
            (
                SessionLine::Keys {
                    issuer: "AAAA\n".to_owned(),
                    checkpoints: "BBBB\n".to_owned(),
                },
                r#"{"kind":"keys","issuer":"AAAA\n","checkpoints":"BBBB\n"}"#,
            ),
            (
                SessionLine::Passport {
                    name: "refunds".to_owned(),
                    token: "a.b.c".to_owned(),
                },
                r#"{"kind":"passport","name":"refunds","token":"a.b.c"}"#,
            ),
            (
                SessionLine::Revoked {
                    why: "suspended".to_owned(),
                },
                r#"{"kind":"revoked","why":"suspended"}"#,
            ),
            (SessionLine::Ping, r#"{"kind":"ping"}"#),
        ];
        for (line, text) in lines {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<SessionLine>(text).unwrap(), line);
        }
    }

    #[test]
    fn a_line_of_a_newer_controller_says_nothing() {
        let newer = r#"{"kind":"weather","rain":true}"#;
        let read: SessionLine = serde_json::from_str(newer).unwrap();
        assert_eq!(read, SessionLine::Unknown);
        assert!(serde_json::from_str::<SessionLine>("{}").is_err());
    }
}
