//! The report of `kubectl actpass prove`, and whether it is the one that was put on the record.
//!
//! ```text
//! around  what was found from outside the pods; its digest stands in each pod's proof
//! pods    each pod's proof, and the leaf of the namespace's log that names the proof's digest, with what leads from that leaf
//!         to a checkpoint that the ledger signed
//! ```
//!
//! Digests are SHA-256 over canonical JSON. So nothing in a report changes without the leaf no longer naming it. What that does
//! not show: that the program in the pod was ours. Whoever may make pods in the namespace can put another report on the record.

use actpass_core::canonical;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::proof::logged;
use actpass_core::evidence::receipt::hashes;
use actpass_core::evidence::record::Body;
use actpass_core::hash::{hex, sha256};
use actpass_ledger::offline::LogKey;
use actpass_sidecar::pod::prove::{Proof, Tried, Verdict, record_name};
use anyhow::{Context, anyhow, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of [`Report`].
pub(crate) const REPORT_VERSION: &str = "actpass.report/1";

/// Longest report that is read: some hundred pods.
pub(crate) const REPORT_BYTES_MAX: u64 = 16 << 20;

/// What was tried in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// [`REPORT_VERSION`].
    pub(crate) v: String,
    pub(crate) around: Around,
    pub(crate) pods: Vec<Witnessed>,
}

/// What was found from outside the pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Around {
    pub(crate) namespace: String,
    /// When, seconds since the epoch.
    pub(crate) time: i64,
    pub(crate) attempts: Vec<Tried>,
}

/// What one pod found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witnessed {
    pub(crate) proof: Proof,
    /// None where the log was not to be read.
    pub(crate) evidence: Option<Evidence>,
}

/// Where a proof stands in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    /// The leaf, as it stands there.
    pub(crate) leaf: String,
    /// Its place.
    pub(crate) index: u64,
    /// The inclusion proof (RFC 9162 section 2.1.3), lowercase hex.
    pub(crate) path: Vec<String>,
    /// The signed checkpoint (C2SP `tlog-checkpoint`).
    pub(crate) checkpoint: String,
    /// The key that it is signed with, as the ledger said: a C2SP verifier key.
    pub(crate) key: String,
}

/// What a report amounts to.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Name of the log and id of the key, where all of it is on the record.
    pub(crate) signed: Option<(String, String)>,
    /// Newest time of a leaf that names it.
    pub(crate) recorded: Option<Timestamp>,
}

/// SHA-256 over the canonical JSON of a part.
///
/// # Errors
/// Where it has none.
pub(crate) fn digest<T: Serialize>(part: &T) -> anyhow::Result<[u8; 32]> {
    Ok(sha256(&[&canonical::to_vec(part)?]))
}

impl Report {
    /// All that was tried, with the pod that tried it.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (Option<&Proof>, &Tried)> {
        let around = self.around.attempts.iter().map(|tried| (None, tried));
        let pods = self.pods.iter().flat_map(|pod| {
            let attempts = pod.proof.attempts.iter();
            attempts.map(|tried| (Some(&pod.proof), tried))
        });
        around.chain(pods)
    }

    /// Whether everything was held, as far as it could be known: of families of sockets alone it may not be.
    pub(crate) fn is_held(&self) -> bool {
        let tried = |attempts: &[Tried]| !attempts.is_empty();
        let around = &self.around.attempts;
        let held = around.iter().all(|it| it.verdict == Verdict::Held);
        let pods = self.pods.iter().all(|pod| tried(&pod.proof.attempts));
        tried(around) && held && !self.pods.is_empty() && pods && self.count(Verdict::Open) == 0
    }

    /// How many attempts were held, were not, and of how many it is not known.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [Verdict::Held, Verdict::Open, Verdict::Unknown].map(|verdict| self.count(verdict))
    }

    /// How many attempts came to that.
    fn count(&self, verdict: Verdict) -> usize {
        self.attempts()
            .filter(|(_, tried)| tried.verdict == verdict)
            .count()
    }

    /// Whether the report is the one on the record. A `key` is believed in the place of the one in the report.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn check(&self, key: Option<&LogKey>) -> anyhow::Result<Checked> {
        ensure!(
            self.v == REPORT_VERSION,
            "it is of version `{}`; this program reads `{REPORT_VERSION}`",
            canonical::excerpt(&self.v)
        );
        let around = hex(&digest(&self.around)?);
        let mut signed = Vec::new();
        for Witnessed { proof, evidence } in &self.pods {
            let pod = canonical::excerpt(&proof.pod);
            ensure!(
                proof.with == around,
                "what was found around the pods is not what pod `{pod}` put on the record"
            );
            if let Some(evidence) = evidence {
                let found = evidence.check(proof, key);
                signed.push(found.with_context(|| format!("pod `{pod}`"))?);
            }
        }
        for (log, ..) in &signed {
            // `actpass/CLUSTER/NAMESPACE/UID`: one key signs the logs of all namespaces.
            ensure!(
                log.split('/').nth(2) == Some(self.around.namespace.as_str()),
                "the report says namespace `{}`, and is on the record of log `{}`",
                canonical::excerpt(&self.around.namespace),
                canonical::excerpt(log)
            );
            let first = signed.first().map(|(log, ..)| log);
            ensure!(
                first == Some(log),
                "its pods are on the records of several logs"
            );
        }
        let whole = signed.len() == self.pods.len();
        Ok(Checked {
            recorded: signed.iter().map(|(_, _, time)| *time).max(),
            signed: (signed.into_iter().next())
                .filter(|_| whole)
                .map(|(log, key, _)| (log, key)),
        })
    }
}

impl Evidence {
    /// The log, the id of the key and the time.
    fn check(
        &self,
        proof: &Proof,
        key: Option<&LogKey>,
    ) -> anyhow::Result<(String, String, Timestamp)> {
        let named = NoteVerifier::from_vkey(&self.key).context("the report's key")?;
        let verifier = match key {
            None => named,
            Some(key) => key_of(key, named.name())?,
        };
        let path = hashes(&self.path).context("the inclusion proof")?;
        let leaf = self.leaf.as_bytes();
        let (head, leaf) = logged(leaf, self.index, &path, &self.checkpoint, &verifier)?;
        let Some((record, _)) = leaf.record() else {
            bail!("the leaf is of no pod");
        };
        let name = record_name(&digest(proof)?);
        ensure!(
            names(&record.body, &name),
            "its proof is not what stands on the record: it was changed"
        );
        Ok((head.origin, verifier.id(), leaf.h.time))
    }
}

/// What holds under the first of these keys under which it does; why it does not under the first, where it holds under none.
pub(crate) fn by_any<'a, T>(
    keys: impl IntoIterator<Item = &'a LogKey>,
    mut check: impl FnMut(&LogKey) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut failed = None;
    for key in keys {
        match check(key) {
            Ok(found) => return Ok(found),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or_else(|| anyhow!("no key is known")))
}

/// The key of that log, as known from elsewhere.
///
/// # Errors
/// Where it is of another.
pub(crate) fn key_of(key: &LogKey, log: &str) -> anyhow::Result<NoteVerifier> {
    let other = || {
        format!(
            "the key given is of another log than `{}`",
            canonical::excerpt(log)
        )
    };
    key.of(log).with_context(other)
}

/// Whether it is the refusal of that name.
pub(crate) fn names(body: &Body, name: &str) -> bool {
    let (Body::Decision(judged) | Body::Intent(judged)) = body else {
        return false;
    };
    let target = judged
        .refusal
        .as_ref()
        .map(|refusal| refusal.target.as_str());
    let target = target.and_then(|target| target.strip_prefix("A "));
    target.is_some_and(|target| target.trim_end_matches('.') == name)
}
