//! EvidenceLogs: what was seen of each log, kept where the ledger cannot write.
//!
//! A ledger that loses the end of its log, or keeps two, shows against what stands here: a head is only ever replaced by one that
//! is not smaller, and the one that contradicts it stays out.

use std::time::Duration;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteVerifier};
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
    size: i64,
    root: String,
    key_id: String,
}

/// Looks at the logs until it is dropped.
pub async fn run(leader: &Leader) {
    let mut steps = tokio::time::interval(EVERY);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        let namespaces = leader.world.namespaces().into_iter();
        let logs = namespaces.filter(|it| leader.world.published(it).is_some());
        let looked = stream::iter(logs).map(|namespace| async move {
            let tenant = format!("{}/{}/{}", leader.cluster, namespace.name, namespace.uid);
            if let Err(error) = look(leader, &namespace.name, &tenant).await {
                let error = format!("{error:#}");
                tracing::warn!(namespace = namespace.name, error, "EvidenceLog not written");
            }
        });
        looked.buffer_unordered(AT_A_TIME).collect::<()>().await;
    }
}

async fn look(leader: &Leader, namespace: &str, tenant: &str) -> anyhow::Result<()> {
    let seen = leader.ledger.checkpoint(tenant).await;
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
    let status = status(&before, seen, Timestamp::now());
    let consistent = status.conditions.iter().find(|it| it.kind == "Consistent");
    if consistent.is_some_and(|it| it.status == ConditionStatus::False) {
        tracing::error!(
            namespace,
            "The log contradicts what was seen of it before; see its EvidenceLog"
        );
    }
    let object = |status: Value| json!({"apiVersion": API_VERSION, "kind": resource.kind, "metadata": {"name": NAME}, "status": status});
    if found.is_none() {
        let made = api
            .patch(NAME, &apply(), &Patch::Apply(&object(json!({}))))
            .await;
        made.context("make the EvidenceLog")?;
    }
    let status = object(serde_json::to_value(status)?);
    let written = api
        .patch_status(NAME, &apply(), &Patch::Apply(&status))
        .await;
    written.context("write the EvidenceLog")?;
    Ok(())
}

/// The head that a checkpoint states, signed by a key that is believed.
fn head(seen: &ledger::Checkpoint, tenant: &str, trusted: &[VerifyingKey]) -> Result<Head, String> {
    let verifier = NoteVerifier::from_vkey(&seen.key).map_err(|error| error.to_string())?;
    let origin = format!("actpass/{tenant}");
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
        size: i64::try_from(checkpoint.size).unwrap_or(i64::MAX),
        root: checkpoint.root.to_string(),
        key_id: verifier.id(),
    })
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
    // A head of another log is no head of this one: the namespace was made anew.
    let same = before.origin.as_ref() == Some(&head.origin);
    let (size, root) = match same {
        true => (before.size.unwrap_or_default(), before.root.as_ref()),
        false => (0, None),
    };
    if head.size < size {
        let message = format!("the log has {} leaves, and had {size}", head.size);
        say(ConditionType::Consistent, false, Reason::Truncated, message);
        return status;
    }
    if head.size == size && root.is_some_and(|root| *root != head.root) {
        let message = format!(
            "of {size} leaves there are two roots, {} besides",
            head.root
        );
        say(ConditionType::Consistent, false, Reason::Forked, message);
        return status;
    }
    let message = "the log did not shrink, and has one root for each size seen".to_owned();
    say(ConditionType::Consistent, true, Reason::Consistent, message);
    status.origin = Some(head.origin);
    status.size = Some(head.size);
    status.root = Some(head.root);
    status.key_id = Some(head.key_id);
    status.last_checkpoint_time = Some(At(now));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: i64, root: &str) -> Result<Head, String> {
        Ok(Head {
            origin: "actpass/c-1/shop/n-1".to_owned(),
            size,
            root: root.repeat(32),
            key_id: "k".to_owned(),
        })
    }

    fn consistent(status: &EvidenceLogStatus) -> String {
        let conditions = status.conditions.iter();
        let mut found = conditions.filter(|it| it.kind == "Consistent");
        found.next().map(|it| it.reason.clone()).unwrap_or_default()
    }

    #[test]
    fn a_head_is_only_replaced_by_one_that_does_not_contradict_it() {
        let now: Timestamp = "2026-05-04T10:00:00Z".parse().unwrap();
        let first = status(&EvidenceLogStatus::default(), head(3, "aa"), now);
        assert_eq!(
            (first.size, consistent(&first).as_str()),
            (Some(3), "Consistent")
        );
        for (name, seen, size, reason) in [
            ("it grew", head(4, "bb"), 4, "Consistent"),
            ("nothing new", head(3, "aa"), 3, "Consistent"),
            ("it shrank", head(2, "cc"), 3, "Truncated"),
            ("another root", head(3, "cc"), 3, "Forked"),
            ("no answer", Err("away".to_owned()), 3, "Consistent"),
        ] {
            let after = status(&first, seen, now);
            assert_eq!(after.size, Some(size), "{name}");
            assert_eq!(consistent(&after), reason, "{name}");
        }
        let mut anew = head(1, "dd").unwrap();
        anew.origin = "actpass/c-1/shop/n-2".to_owned();
        assert_eq!(status(&first, Ok(anew), now).size, Some(1));
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
            root: actpass_core::evidence::merkle::Tree::new().root(),
        };
        let seen = ledger::Checkpoint {
            checkpoint: checkpoint.sign(&signer),
            key: signer.verifier().to_vkey(),
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
