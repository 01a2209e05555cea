//! The second and third level: the state that follows from the leaves, and their decisions taken again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Inputs;
use super::beside::Revealed;
use super::report::{Findings, Gap, Redecided, What};
use super::saved::ResumeError;
use crate::action::Action;
use crate::bundle::Bundle;
use crate::evidence::leaf::{ActionMacs, EventBody, Leaf, ReadLeaf, Ruling, RulingVerdict};
use crate::evidence::record::{Body, Record};
use crate::hash::BundleDigest;
use crate::kept;
use crate::state::{Bundles, Snapshot, State};

/// The reason under which the ledger denies what policy permits, because the vault does not lend.
const CREDENTIAL_UNAVAILABLE: &str = "credential_unavailable";

/// What intents may lack to be decided again.
const ERASED_TEXTS: &str = "erased texts";
const SIDE_FRAME: &str = "side frame";
const VAULT: &str = "vault";

/// The replay as it goes through the leaves. It stops at the first that is wrong: what follows rests on it.
pub(super) struct Replay<'a> {
    inputs: &'a dyn Inputs,
    state: Option<State>,
    bundle: Newest,
    replayed: u64,
    redecided: Redecided,
    gap: Option<Gap>,
}

/// The bundle named last. The state keeps the active one itself.
#[derive(Default)]
struct Newest(Option<Arc<Bundle>>);

impl Bundles for Newest {
    fn bundle(&self, digest: &BundleDigest) -> Option<Arc<Bundle>> {
        self.0.clone().filter(|bundle| bundle.digest() == *digest)
    }
}

/// What a later replay needs of this one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedReplay {
    /// The active bundle and the state, each in its canonical form.
    bundle: Option<String>,
    state: String,
    replayed: u64,
    intents: u64,
    same: u64,
    #[serde(with = "kept::pairs")]
    missing: BTreeMap<Missing, u64>,
    unenforced: u64,
    unenforced_same: u64,
}

/// An input that was missing, where a later replay goes on nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Missing {
    ErasedTexts,
    SideFrame,
    Vault,
}

impl Missing {
    const ALL: [(Self, &'static str); 3] = [
        (Self::ErasedTexts, ERASED_TEXTS),
        (Self::SideFrame, SIDE_FRAME),
        (Self::Vault, VAULT),
    ];
}

impl<'a> Replay<'a> {
    /// What a later replay needs; none where this one has stopped or has seen nothing.
    pub(super) fn save(&self) -> Option<SavedReplay> {
        let state = self.state.as_ref().filter(|_| self.gap.is_none())?;
        let bundle = state.active().map(|bundle| bundle.bytes().to_vec());
        let missing = Missing::ALL.iter().filter_map(|(missing, name)| {
            let count = self.redecided.missing.get(name)?;
            Some((*missing, *count))
        });
        Some(SavedReplay {
            bundle: bundle.and_then(|bytes| String::from_utf8(bytes).ok()),
            state: String::from_utf8(Snapshot::of(state).to_vec().ok()?).ok()?,
            replayed: self.replayed,
            intents: self.redecided.intents,
            same: self.redecided.same,
            missing: missing.collect(),
            unenforced: self.redecided.unenforced,
            unenforced_same: self.redecided.unenforced_same,
        })
    }

    /// One that goes on where another ended.
    pub(super) fn resumed(inputs: &'a dyn Inputs, saved: SavedReplay) -> Result<Self, ResumeError> {
        let bundle = saved.bundle.map(|text| Bundle::parse(text.as_bytes()));
        let bundle = bundle.transpose().map_err(|_| ResumeError::Bundle)?;
        let bundle = Newest(bundle.map(Arc::new));
        let state = Snapshot::restore(saved.state.as_bytes(), &bundle)?;
        let missing = Missing::ALL.iter().filter_map(|(missing, name)| {
            let count = saved.missing.get(missing)?;
            Some((*name, *count))
        });
        Ok(Self {
            state: Some(state),
            bundle,
            replayed: saved.replayed,
            redecided: Redecided {
                intents: saved.intents,
                same: saved.same,
                missing: missing.collect(),
                unenforced: saved.unenforced,
                unenforced_same: saved.unenforced_same,
            },
            ..Self::new(inputs)
        })
    }

    pub(super) fn new(inputs: &'a dyn Inputs) -> Self {
        Self {
            inputs,
            state: None,
            bundle: Newest::default(),
            replayed: 0,
            redecided: Redecided::default(),
            gap: None,
        }
    }

    /// Takes in the next leaf, unless something before it is wrong or missing.
    pub(super) fn leaf(&mut self, read: &ReadLeaf, revealed: Revealed, findings: &mut Findings) {
        let leaf = read.leaf();
        if findings.any() {
            return;
        }
        let intent = leaf
            .record()
            .filter(|(record, _)| matches!(record.body, Body::Intent(_)));
        self.redecided.intents += u64::from(intent.is_some());
        self.redecided.unenforced += u64::from(is_unenforced(leaf));
        if self.gap.is_some() {
            return;
        }
        match self.checked(read, revealed) {
            Ok(()) if self.gap.is_none() => self.replayed += 1,
            Ok(()) => {}
            Err(what) => findings.add(leaf.h.seq, what),
        }
    }

    /// Leaves replayed, decisions taken again, and what was missing.
    pub(super) fn finish(mut self) -> (u64, Redecided, Option<Gap>) {
        let done = self.redecided.same + self.redecided.missing.values().sum::<u64>();
        if let Some(undone) = self
            .redecided
            .intents
            .checked_sub(done)
            .filter(|undone| *undone > 0)
        {
            self.redecided.missing.insert("bundle", undone);
        }
        (self.replayed, self.redecided, self.gap)
    }

    fn checked(&mut self, read: &ReadLeaf, revealed: Revealed) -> Result<(), What> {
        let leaf = read.leaf();
        if let Some(EventBody::Bundle { digest, .. }) = leaf.event() {
            let Some(bytes) = self.inputs.bundle(digest) else {
                self.gap = Some(Gap::BundleMissing {
                    seq: leaf.h.seq,
                    digest: *digest,
                });
                return Ok(());
            };
            let bundle = Bundle::parse(&bytes)
                .ok()
                .filter(|bundle| bundle.digest() == *digest);
            self.bundle = Newest(Some(Arc::new(bundle.ok_or(What::Bundle(*digest))?)));
        }
        let state = self.state.get_or_insert_with(|| State::new(&leaf.h.log));
        if let Some((record, ruling)) = leaf.record() {
            rerun(
                state,
                leaf,
                record,
                ruling,
                revealed,
                self.inputs,
                &mut self.redecided,
            )?;
        }
        state.apply_read(read, &self.bundle).map_err(What::State)
    }
}

/// Whether the leaf is of an action that was decided and not held to it.
fn is_unenforced(leaf: &Leaf) -> bool {
    let Some((
        Record {
            body: Body::Decision(judged),
            ..
        },
        _,
    )) = leaf.record()
    else {
        return false;
    };
    !judged.enforced && judged.action.is_some()
}

/// Rules on the record again, and compares.
fn rerun(
    state: &State,
    leaf: &Leaf,
    record: &Record,
    logged: &Ruling,
    revealed: Revealed,
    inputs: &dyn Inputs,
    redecided: &mut Redecided,
) -> Result<(), What> {
    let asks = match &record.body {
        Body::Intent(_) => true,
        Body::Decision(judged) => !judged.enforced && judged.action.is_some(),
        Body::Outcome(_) | Body::Note(_) => false,
    };
    if !asks {
        // What asks nothing needs nothing; a record out of place is the state's to refuse.
        let again = state.rule_on(record, None, leaf.h.time);
        return again.map_or(Ok(()), |again| compare(logged, &again));
    }
    let enforced = matches!(&record.body, Body::Intent(_));
    let given = match revealed {
        Revealed::Action(action) => Some(with_macs(*action, logged, inputs)?),
        Revealed::Nothing => None,
        Revealed::Missing | Revealed::Erased => {
            let input = match revealed {
                Revealed::Erased => ERASED_TEXTS,
                _ => SIDE_FRAME,
            };
            if enforced {
                *redecided.missing.entry(input).or_default() += 1;
            }
            return Ok(());
        }
    };
    let given = given.as_ref().map(|given| (&given.0, &given.1));
    let Ok(again) = state.rule_on(record, given, leaf.h.time) else {
        return Ok(());
    };
    if !enforced {
        compare(logged, &again)?;
        redecided.unenforced_same += 1;
        return Ok(());
    }
    if logged.reason.as_deref() == Some(CREDENTIAL_UNAVAILABLE) {
        // Policy permitted and the vault did not: the vault's word is not in the log.
        *redecided.missing.entry(VAULT).or_default() += 1;
        let same = again.verdict == RulingVerdict::Permit
            && again.rules == logged.rules
            && again.facts == logged.facts;
        return if same {
            Ok(())
        } else {
            Err(What::Ruling("verdict"))
        };
    }
    compare(logged, &again)?;
    redecided.same += 1;
    Ok(())
}

/// The action with its MACs as logged, which must be those of the action where the key is at hand.
fn with_macs(
    action: Action,
    logged: &Ruling,
    inputs: &dyn Inputs,
) -> Result<(Action, ActionMacs), What> {
    let digest = logged.digest.ok_or(What::Ruling("digest"))?;
    let macs = ActionMacs {
        digest,
        resource: logged.resource,
        subject: logged.subject,
    };
    match inputs.mac_key() {
        Some(key) if key.macs(&action) != macs => Err(What::Mac),
        _ => Ok((action, macs)),
    }
}

/// The first part in which two rulings differ. The credential is the vault's word, which decides nothing.
fn compare(logged: &Ruling, again: &Ruling) -> Result<(), What> {
    let parts = [
        ("verdict", logged.verdict == again.verdict),
        ("reason", logged.reason == again.reason),
        ("detail", logged.detail == again.detail),
        ("rules", logged.rules == again.rules),
        ("shadow", logged.shadow == again.shadow),
        (
            "digest",
            (logged.digest, logged.resource, logged.subject)
                == (again.digest, again.resource, again.subject),
        ),
        ("facts", logged.facts == again.facts),
        ("reservations", logged.reservations == again.reservations),
        ("limit", logged.limit == again.limit),
        ("approval", logged.approval == again.approval),
        ("obligations", logged.obligations == again.obligations),
        ("not_after", logged.not_after == again.not_after),
        ("settles", logged.settles == again.settles),
        ("late", logged.late == again.late),
        ("would", logged.would == again.would),
    ];
    match parts.iter().find(|(_, same)| !same) {
        Some((part, _)) => Err(What::Ruling(part)),
        None => Ok(()),
    }
}
