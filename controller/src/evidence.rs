//! EvidenceLogs: what was seen of each log, kept where the ledger cannot write.
//!
//! A ledger that loses the end of its log, or keeps two, shows against what stands here: a head is only ever replaced by one that
//! is proved to extend it (RFC 9162 section 2.1.4), and the one that contradicts it stays out.

use std::collections::BTreeSet;
use std::time::Duration;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteVerifier};
use actpass_core::evidence::merkle::{ProofError, verify_consistency};
use actpass_core::evidence::receipt::hashes;
use actpass_core::hash::{HexError, TreeRoot};
use actpass_crds::condition::{Condition, ConditionStatus, ConditionType, Reason, set};
use actpass_crds::evidence_log::EvidenceLogStatus;
use actpass_crds::instant::Instant as At;
use actpass_crds::resource::API_VERSION;
use anyhow::Context as _;
use ed25519_dalek::VerifyingKey;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, Patch};
use serde_json::{Value, json};

use crate::ledger;
use crate::metrics::Metrics;
use crate::object::api_resource;
use crate::reconcile::{Leader, apply};

/// How often each log is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// Namespaces at a time.
const AT_A_TIME: usize = 16;
/// Name of the one EvidenceLog of a namespace.
pub const NAME: &str = "evidence";

/// A head of a log whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    origin: String,
    size: u64,
    root: TreeRoot,
    key_id: String,
    /// That it extends the head before, as hex.
    proof: Vec<String>,
}

/// Looks at the logs until it is dropped.
pub async fn run(leader: &Leader) {
    let _told = Told(&leader.metrics);
    let mut contradicting = BTreeSet::new();
    let mut steps = tokio::time::interval(EVERY);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        let namespaces = leader.world.namespaces().into_iter();
        let logs = namespaces.filter(|it| leader.world.published(it).is_some());
        let looked = stream::iter(logs).map(|namespace| async move {
            let tenant = format!("{}/{}/{}", leader.cluster, namespace.name, namespace.uid);
            let consistent = look(leader, &namespace.name, &tenant).await;
            let consistent = consistent.map_err(|error| {
                let error = format!("{error:#}");
                tracing::warn!(namespace = namespace.name, error, "EvidenceLog not read");
            });
            (tenant, consistent.ok())
        });
        let looked: Vec<(String, Option<bool>)> =
            looked.buffer_unordered(AT_A_TIME).collect().await;
        contradicting = still(&contradicting, looked);
        leader.metrics.contradicting(contradicting.len());
    }
}

/// The logs that contradict what was seen before, after a look at all: one that could not be looked at stays what it was.
fn still(before: &BTreeSet<String>, looked: Vec<(String, Option<bool>)>) -> BTreeSet<String> {
    let contradicting = looked.into_iter().filter(|(tenant, consistent)| {
        let consistent = consistent.unwrap_or_else(|| !before.contains(tenant));
        !consistent
    });
    contradicting.map(|(tenant, _)| tenant).collect()
}

/// Who leads no more says nothing of logs.
struct Told<'a>(&'a Metrics);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.contradicting(0);
    }
}

/// Whether the log is consistent with what was seen of it before.
async fn look(leader: &Leader, namespace: &str, tenant: &str) -> anyhow::Result<bool> {
    let resource = api_resource("EvidenceLog").context("a kind of ours")?;
    let api = Api::<DynamicObject>::namespaced_with(leader.client.clone(), namespace, &resource);
    let found = api.get_opt(NAME).await?;
    let before = found
        .as_ref()
        .and_then(|found| found.data.get("status"))
        .cloned();
    let before: EvidenceLogStatus = before
        .and_then(|status: Value| serde_json::from_value(status).ok())
        .unwrap_or_default();
    let since = size(&before, &origin(tenant));
    let seen = leader.ledger.checkpoint(tenant, since).await;
    let trusted: Vec<VerifyingKey> = leader
        .trust
        .borrow()
        .ledger_keys
        .believed()
        .copied()
        .collect();
    let seen = match seen {
        Ok(seen) => head(&seen, tenant, &trusted),
        Err(error) => Err(error.to_string()),
    };
    let status = status(&before, seen, Timestamp::now());
    let consistent = status.conditions.iter().find(|it| it.kind == "Consistent");
    let consistent = consistent.is_none_or(|it| it.status != ConditionStatus::False);
    if !consistent {
        tracing::error!(
            namespace,
            "The log contradicts what was seen of it before; see its EvidenceLog"
        );
    }
    let written = write(&api, found.is_none(), status).await;
    if let Err(error) = written {
        let error = format!("{error:#}");
        tracing::warn!(namespace, error, "EvidenceLog not written");
    }
    Ok(consistent)
}

async fn write(
    api: &Api<DynamicObject>,
    is_new: bool,
    status: EvidenceLogStatus,
) -> anyhow::Result<()> {
    let object = |status: Value| json!({"apiVersion": API_VERSION, "kind": "EvidenceLog", "metadata": {"name": NAME}, "status": status});
    if is_new {
        let empty = Patch::Apply(object(json!({})));
        let made = api.patch(NAME, &apply(), &empty).await;
        made.context("make the EvidenceLog")?;
    }
    let status = Patch::Apply(object(serde_json::to_value(status)?));
    let written = api.patch_status(NAME, &apply(), &status).await;
    written.context("write its status")?;
    Ok(())
}

/// Name of a tenant's log.
fn origin(tenant: &str) -> String {
    format!("actpass/{tenant}")
}

/// Size of the head that was kept of that log. A head of another is no head of this one: the namespace was made anew.
fn size(kept: &EvidenceLogStatus, origin: &str) -> u64 {
    let same = kept.origin.as_deref() == Some(origin);
    let size = kept.size.filter(|_| same);
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

/// The head that a checkpoint states, signed by a key that is believed.
fn head(seen: &ledger::Checkpoint, tenant: &str, trusted: &[VerifyingKey]) -> Result<Head, String> {
    let verifier = NoteVerifier::from_vkey(&seen.key).map_err(|error| error.to_string())?;
    let origin = origin(tenant);
    if verifier.name() != origin {
        return Err(format!("the ledger shows the log of `{}`", verifier.name()));
    }
    if !trusted.contains(verifier.key()) {
        return Err("the log is signed with a key that is not believed".to_owned());
    }
    let checkpoint =
        Checkpoint::verify(&seen.checkpoint, &verifier).map_err(|error| error.to_string())?;
    Ok(Head {
        origin,
        size: checkpoint.size,
        root: checkpoint.root,
        key_id: verifier.id(),
        proof: seen.consistency.clone(),
    })
}

/// Why a head contradicts what was seen before.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error("what is kept here is no head: {0}")]
    Kept(#[source] HexError),
    #[error("the proof that it does is none: {0}")]
    Form(#[source] HexError),
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// Checks that the head extends one of that size and root.
fn extends(size: u64, root: Option<&str>, head: &Head) -> Result<(), Contradiction> {
    // Every log extends an empty one.
    if size == 0 {
        return Ok(());
    }
    let root: TreeRoot = root
        .unwrap_or_default()
        .parse()
        .map_err(Contradiction::Kept)?;
    let proof = hashes(&head.proof).map_err(Contradiction::Form)?;
    Ok(verify_consistency(
        size, root, head.size, head.root, &proof,
    )?)
}

/// The status after a look.
fn status(
    before: &EvidenceLogStatus,
    seen: Result<Head, String>,
    now: Timestamp,
) -> EvidenceLogStatus {
    let mut status = before.clone();
    let mut say = |kind, holds, reason, message: String| {
        let holds = match holds {
            true => ConditionStatus::True,
            false => ConditionStatus::False,
        };
        let condition = Condition::new(kind, holds, reason, message, None, now);
        set(&mut status.conditions, condition);
    };
    let head = match seen {
        Ok(head) => head,
        Err(why) => {
            say(ConditionType::Ready, false, Reason::LedgerUnavailable, why);
            return status;
        }
    };
    let message = "the log is there and answers".to_owned();
    say(ConditionType::Ready, true, Reason::Serving, message);
    let size = size(before, &head.origin);
    match extends(size, before.root.as_deref(), &head) {
        Ok(()) => {}
        Err(Contradiction::Proof(ProofError::Shrunk { .. })) => {
            let message = format!("the log has {} leaves, and had {size}", head.size);
            say(ConditionType::Consistent, false, Reason::Truncated, message);
            return status;
        }
        Err(why) => {
            let message = format!(
                "{} leaves with root {} do not extend the {size} seen before: {why}",
                head.size, head.root
            );
            say(ConditionType::Consistent, false, Reason::Forked, message);
            return status;
        }
    }
    let message = "the log is proved to extend what was seen of it before".to_owned();
    say(ConditionType::Consistent, true, Reason::Consistent, message);
    status.origin = Some(head.origin);
    status.size = i64::try_from(head.size).ok();
    status.root = Some(head.root.to_string());
    status.key_id = Some(head.key_id);
    status.last_checkpoint_time = Some(At(now));
    status
}

#[cfg(test)]
mod tests {
    use actpass_core::evidence::merkle::{Tree, leaf_hash};
    use actpass_core::hash::hex;

    use super::*;

    const ORIGIN: &str = "actpass/c-1/shop/n-1";

    /// The log of leaves with that text.
    fn log(leaves: &str) -> Tree {
        let mut tree = Tree::new();
        leaves
            .bytes()
            .for_each(|leaf| tree.push(leaf_hash(&[leaf])));
        tree
    }

    fn head(log: &Tree, since: u64) -> Head {
        let proof = log.consistency(since, log.size()).unwrap_or_default();
        Head {
            origin: ORIGIN.to_owned(),
            size: log.size(),
            root: log.root(),
            key_id: "k".to_owned(),
            proof: proof.iter().map(|hash| hex(hash)).collect(),
        }
    }

    fn consistent(status: &EvidenceLogStatus) -> String {
        let conditions = status.conditions.iter();
        let mut found = conditions.filter(|it| it.kind == "Consistent");
        found.next().map(|it| it.reason.clone()).unwrap_or_default()
    }

    #[test]
    fn a_head_is_only_replaced_by_one_that_is_proved_to_extend_it() {
        let now: Timestamp = "2026-05-04T10:00:00Z".parse().unwrap();
        let first = head(&log("abc"), 0);
        let first = status(&EvidenceLogStatus::default(), Ok(first), now);
        assert_eq!(
            (first.size, consistent(&first).as_str()),
            (Some(3), "Consistent")
        );
        let unproved = Head {
            proof: Vec::new(),
            ..head(&log("abcd"), 3)
        };
        let no_hash = Head {
            proof: vec!["ab".to_owned()],
            ..head(&log("abcd"), 3)
        };
        for (name, seen, size, reason) in [
            ("it grew", Ok(head(&log("abcd"), 3)), 4, "Consistent"),
            ("nothing new", Ok(head(&log("abc"), 3)), 3, "Consistent"),
            ("it shrank", Ok(head(&log("ab"), 3)), 3, "Truncated"),
            ("another root", Ok(head(&log("abx"), 3)), 3, "Forked"),
            (
                "written anew and grown",
                Ok(head(&log("abxde"), 3)),
                3,
                "Forked",
            ),
            ("no proof", Ok(unproved), 3, "Forked"),
            ("no hash in the proof", Ok(no_hash), 3, "Forked"),
            ("no answer", Err("away".to_owned()), 3, "Consistent"),
        ] {
            let after = status(&first, seen, now);
            assert_eq!(after.size, Some(size), "{name}");
            assert_eq!(consistent(&after), reason, "{name}");
        }
        let anew = Head {
            origin: "actpass/c-1/shop/n-2".to_owned(),
            ..head(&log("d"), 0)
        };
        assert_eq!(size(&first, &anew.origin), 0);
        assert_eq!(status(&first, Ok(anew), now).size, Some(1));
        let changed = EvidenceLogStatus {
            root: Some("none".to_owned()),
            ..first
        };
        let after = status(&changed, Ok(head(&log("abcd"), 3)), now);
        assert_eq!(consistent(&after), "Forked");
    }

    #[test]
    fn a_log_that_cannot_be_looked_at_stays_what_it_was() {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|it| (*it).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let before = set(&["a", "b", "gone"]);
        let looked = [
            ("a", None),
            ("b", Some(true)),
            ("c", Some(false)),
            ("d", None),
        ];
        let looked = looked.map(|(name, consistent)| (name.to_owned(), consistent));
        assert_eq!(still(&before, looked.to_vec()), set(&["a", "c"]));
    }

    #[test]
    fn only_a_head_signed_with_a_key_that_is_believed_counts() {
        use actpass_core::evidence::checkpoint::NoteSigner;
        use ed25519_dalek::SigningKey;
        let key = SigningKey::from_bytes(&[3; 32]);
        let signer = NoteSigner::new("actpass/c-1/shop/n-1", key.clone());
        let checkpoint = Checkpoint {
            origin: "actpass/c-1/shop/n-1".to_owned(),
            size: 0,
            root: Tree::new().root(),
        };
        let seen = ledger::Checkpoint {
            checkpoint: checkpoint.sign(&signer),
            key: signer.verifier().to_vkey(),
            consistency: Vec::new(),
        };
        let trusted = [key.verifying_key()];
        assert_eq!(
            super::head(&seen, "c-1/shop/n-1", &trusted).unwrap().size,
            0
        );
        assert!(super::head(&seen, "c-1/shop/n-1", &[]).is_err());
        assert!(super::head(&seen, "c-1/other/n-1", &trusted).is_err());
    }
}
