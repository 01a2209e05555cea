//! When another key than the one that a pod's session belongs to is that of its sidecar all the same.
//!
//! A sidecar's key lies in the pod's memory, and is gone with that: after a crash of the node, or once the sandbox was made
//! anew and the sidecar had ended its stream. The proof that the earlier sidecar is over is the kubelet's word: `actpass-init`
//! is no sidecar, so the kubelet runs it to its end once in each sandbox, and only after it has ended all containers of the
//! one before. Another container of `actpass-init` that came to a good end therefore means that every process of the earlier
//! sandbox is gone. A container of the sidecar that was merely started anew proves nothing, and needs nothing: it finds its key.
//!
//! It is not asked whether the earlier stream is silent: so is a sidecar that was stopped, and it comes back. Addresses are no
//! proof either: a new sandbox may have the old ones.
//!
//! *Assumptions*: nobody but the kubelet writes `pods/status` of agents; the roles `edit` and `admin` do not hold that right.

use actpass_core::pod::contract::{INIT, PROXY};
use ed25519_dalek::VerifyingKey;
use serde_json::Value;

/// What the kubelet says of a pod's sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// Id of the container that loaded the rules of the sandbox; absent until it came to a good end.
    pub(super) id: Option<String>,
    /// Whether a sidecar runs in it.
    sidecar_runs: bool,
}

/// Whose a pod's session is, and in which sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The sidecar's key.
    pub(super) key: VerifyingKey,
    /// Absent where an earlier release bound it.
    pub(super) sandbox: Option<String>,
}

/// What becomes of a key that is shown for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged<'a> {
    /// The session belongs to it.
    Holds,
    /// To it from now on, in this sandbox. What stream the pod has under another key is over.
    Takes(&'a str),
    /// To another one, which may still be in use.
    Second,
    /// The kubelet has not said yet in which sandbox it is.
    Unknown,
}

impl Sandbox {
    /// That of a pod.
    pub(super) fn of(pod: &Value) -> Self {
        let statuses = pod.pointer("/status/initContainerStatuses");
        let statuses = statuses.and_then(Value::as_array);
        let status = |name: &str| {
            let mut statuses = statuses.into_iter().flatten();
            statuses.find(|it| it.get("name").and_then(Value::as_str) == Some(name))
        };
        let id = || {
            let init = status(INIT)?;
            let code = init.pointer("/state/terminated/exitCode")?.as_i64();
            let id = init.get("containerID")?.as_str();
            id.filter(|id| code == Some(0) && !id.is_empty())
        };
        let runs = |status: &Value| status.pointer("/state/running").is_some();
        Self {
            id: id().map(str::to_owned),
            sidecar_runs: status(PROXY).is_some_and(runs),
        }
    }

    /// What becomes of `key` where the session is bound so, or to nobody yet.
    pub(super) fn judge(&self, bound: Option<&Binding>, key: &VerifyingKey) -> Judged<'_> {
        let here = self.id.as_deref();
        let taken = here.map_or(Judged::Unknown, Judged::Takes);
        let Some(bound) = bound else { return taken };
        let same = here.is_some() && bound.sandbox.as_deref() == here;
        match bound.key == *key {
            true if here.is_none() || same => Judged::Holds,
            true => taken,
            false if here.is_none() => Judged::Unknown,
            // What the API server has may be of the sandbox before: in the one that is asked from, the sidecar runs.
            false if same && !self.sidecar_runs => Judged::Unknown,
            false if same || bound.sandbox.is_none() => Judged::Second,
            false => taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[byte; 32]).verifying_key()
    }

    fn bound(byte: u8, sandbox: Option<&str>) -> Option<Binding> {
        Some(Binding {
            key: key(byte),
            sandbox: sandbox.map(str::to_owned),
        })
    }

    #[test]
    fn another_key_is_taken_where_the_sandbox_is_another_one_alone() {
        struct Case {
            name: &'static str,
            bound: Option<Binding>,
            /// Whose sandbox the kubelet speaks of, and whether a sidecar runs in it.
            said: (Option<&'static str>, bool),
            want: Judged<'static>,
        }
        use Judged::{Holds, Second, Takes, Unknown};
        #[rustfmt::skip]
        let cases = [
            Case { name: "the first key", bound: None, said: (Some("a"), true), want: Takes("a") },
            Case { name: "the first key, before the sidecar is said to run", bound: None, said: (Some("a"), false), want: Takes("a") },
            Case { name: "the first key, of a pod of which nothing is known", bound: None, said: (None, false), want: Unknown },
            Case { name: "its own", bound: bound(1, Some("a")), said: (Some("a"), true), want: Holds },
            Case { name: "its own, after the container was started anew", bound: bound(1, Some("a")), said: (Some("a"), false), want: Holds },
            Case { name: "its own, of which nothing is known now", bound: bound(1, Some("a")), said: (None, true), want: Holds },
            Case { name: "its own, kept over a sandbox", bound: bound(1, Some("a")), said: (Some("b"), true), want: Takes("b") },
            Case { name: "its own, bound by an earlier release", bound: bound(1, None), said: (Some("a"), true), want: Takes("a") },
            Case { name: "its own, by an earlier release, nothing known", bound: bound(1, None), said: (None, true), want: Holds },
            Case { name: "another beside the sidecar", bound: bound(2, Some("a")), said: (Some("a"), true), want: Second },
            Case { name: "another while no sidecar is said to run", bound: bound(2, Some("a")), said: (Some("a"), false), want: Unknown },
            Case { name: "another in another sandbox", bound: bound(2, Some("a")), said: (Some("b"), true), want: Takes("b") },
            Case { name: "another there, said a moment late", bound: bound(2, Some("a")), said: (Some("b"), false), want: Takes("b") },
            Case { name: "another while the rules are not loaded", bound: bound(2, Some("a")), said: (None, true), want: Unknown },
            Case { name: "another, bound by an earlier release", bound: bound(2, None), said: (Some("b"), true), want: Second },
        ];
        for case in cases {
            let (id, sidecar_runs) = case.said;
            let sandbox = Sandbox {
                id: id.map(str::to_owned),
                sidecar_runs,
            };
            let judged = sandbox.judge(case.bound.as_ref(), &key(1));
            assert_eq!(judged, case.want, "{}", case.name);
        }
    }

    #[test]
    fn the_key_before_is_a_second_one_from_then_on() {
        let mut held = None;
        for (byte, id) in [(1, "a"), (2, "b"), (3, "c")] {
            let sandbox = Sandbox {
                id: Some(id.to_owned()),
                sidecar_runs: true,
            };
            let judged = sandbox.judge(held.as_ref(), &key(byte));
            assert_eq!(judged, Judged::Takes(id));
            held = bound(byte, Some(id));
            for other in (1..=4).filter(|other| *other != byte) {
                let judged = sandbox.judge(held.as_ref(), &key(other));
                assert_eq!(judged, Judged::Second, "{other} beside {byte}");
            }
        }
    }

    #[test]
    fn a_sandbox_is_named_by_what_loaded_its_rules() {
        let ended = |code: i64| json!({"terminated": {"exitCode": code}});
        let running = || json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let status = |init: Value, proxy: Value| {
            json!({"status": {"initContainerStatuses": [
                {"name": "early", "containerID": "c://9", "state": ended(0)},
                {"name": PROXY, "containerID": "c://2", "state": proxy},
                {"name": INIT, "containerID": "c://1", "state": init},
            ]}})
        };
        let cases = [
            ("both", status(ended(0), running()), Some("c://1"), true),
            (
                "no sidecar",
                status(ended(0), ended(137)),
                Some("c://1"),
                false,
            ),
            ("rules that failed", status(ended(1), running()), None, true),
            (
                "rules on their way",
                status(running(), json!({"waiting": {}})),
                None,
                false,
            ),
            ("nothing said", json!({"status": {}}), None, false),
        ];
        for (name, pod, id, sidecar_runs) in cases {
            let want = Sandbox {
                id: id.map(str::to_owned),
                sidecar_runs,
            };
            assert_eq!(Sandbox::of(&pod), want, "{name}");
        }
    }
}
