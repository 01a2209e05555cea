//! The uid and the marks of one pod's sidecar.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::read::{agents, list, some_text, text};
use crate::ruleset::Marks;
use crate::settings::UidRange;

/// What makes uids unpredictable to who builds images: 32 random bytes, the same in all replicas of the webhook.
#[derive(Clone)]
pub struct UidSecret([u8; 32]);

/// What tells one pod's sidecar from everything else in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Uid and gid of the sidecar.
    pub uid: u32,
    /// Marks of its packets and connections.
    pub marks: Marks,
}

impl UidSecret {
    /// A secret of these bytes.
    pub fn new(bytes: [u8; 32]) -> UidSecret {
        UidSecret(bytes)
    }
}

impl fmt::Debug for UidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Identity {
    /// The identity of the pod's sidecar: always the same for the same pod, so that injecting twice injects once.
    ///
    /// A fixed uid could be built into an image as its `USER` or as the owner of a setuid file; this one depends on the
    /// image. It is HMAC-SHA256 over namespace, owner and images: nothing that only one of mutation and validation
    /// sees. So `generateName` comes before `name`, which the API server makes from it in between.
    pub(crate) fn derive(
        secret: &UidSecret,
        namespace: &str,
        pod: &Value,
        uids: UidRange,
    ) -> Identity {
        let mut parts = vec![namespace];
        parts.extend(owner(pod));
        parts.extend(agents(pod).map(|agent| text(agent.value, &["image"]).unwrap_or_default()));
        // A key shorter than a block is filled up with zeros (RFC 2104 section 2).
        let mut block = [0; 64];
        for (byte, key) in block.iter_mut().zip(secret.0) {
            *byte = key;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(b"actpass.sidecar-uid/1\0");
        for part in parts {
            // Lengths first, so that no two lists of texts are one.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let number = |at: usize, count: usize| {
            let bytes = bytes.iter().skip(at).take(count);
            bytes.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        // A mark of 0 is no mark.
        let mark = |at| u32::try_from(number(at, 4)).unwrap_or_default().max(1);
        Identity {
            uid: uids.pick(number(0, 8)),
            marks: Marks {
                packet: mark(8),
                connection: mark(12),
            },
        }
    }
}

/// Kind and name of the controller that made the pod, else the pod's own name.
fn owner(pod: &Value) -> [&str; 2] {
    let controller = list(pod, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    if let Some(owner) = controller {
        return [
            text(owner, &["kind"]).unwrap_or_default(),
            text(owner, &["name"]).unwrap_or_default(),
        ];
    }
    let name = some_text(pod, &["metadata", "generateName"])
        .or_else(|| some_text(pod, &["metadata", "name"]));
    ["", name.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn derived(secret: u8, namespace: &str, pod: &Value) -> Identity {
        let uids = UidRange::new(40_000, 49_999).unwrap();
        Identity::derive(&UidSecret::new([secret; 32]), namespace, pod, uids)
    }

    #[test]
    fn only_what_names_the_pod_changes_its_uid() {
        let pod = json!({"metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "a", "image": "x"}]}});
        let first = derived(1, "shop", &pod);
        let named = json!({"metadata": {"generateName": "a-", "name": "a-7f"},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "x"}],
                "initContainers": [{"name": "actpass-proxy", "image": "ours"}]}});
        assert_eq!(derived(1, "shop", &named), first);
        assert!((40_000..=49_999).contains(&first.uid));
        let image = json!({"metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "a", "image": "y"}]}});
        let owned = json!({"metadata": {"generateName": "a-",
            "ownerReferences": [{"kind": "Job", "name": "a", "controller": true}]},
            "spec": {"containers": [{"name": "a", "image": "x"}]}});
        for other in [
            derived(2, "shop", &pod),
            derived(1, "sho", &pod),
            derived(1, "shop", &image),
            derived(1, "shop", &owned),
        ] {
            assert_ne!(other.marks, first.marks);
        }
        assert_eq!(format!("{:?}", UidSecret::new([7; 32])), "[redacted]");
    }
}
