//! The log as a bookkeeper reads it: each permit, what came of it, and whether what happened was permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use actpass_core::evidence::leaf::{EventBody, Leaf, RulingVerdict, StreamEnd};
use actpass_core::evidence::record::{Body, OutcomeResult, RESTARTED};
use actpass_core::hash::StreamId;
use actpass_core::upstream::AttributeValue;
use actpass_ledger::storage::{Entry, SegmentReader};
use anyhow::{Context, bail, ensure};

use crate::exported::Exported;

/// A record, by its stream and number.
pub type Id = (StreamId, u64);

/// Permits of actions with an attribute `note` in clear, which is another for each.
#[derive(Debug, Default)]
pub struct Account {
    /// Notes of the permits.
    pub permits: BTreeMap<Id, String>,
    /// Outcomes of permits.
    pub outcomes: BTreeMap<Id, OutcomeResult>,
    /// Streams that ended, and how.
    pub ended: BTreeMap<StreamId, StreamEnd>,
    /// Records that came after their stream had ended.
    pub late: usize,
}

impl Account {
    /// What the log in that directory says, of the tenants whose log's origin contains `of`.
    ///
    /// # Errors
    /// Where it cannot be read, or says two things of one permit.
    pub fn of(log: &Path, of: &str) -> anyhow::Result<Self> {
        let mut account = Self::default();
        let mut wrong = None;
        SegmentReader::open_read_only(log)?.replay(&mut |entry| {
            if let Entry::Leaf { bytes, .. } = entry {
                let entered = Leaf::parse(bytes).map_err(anyhow::Error::from);
                let entered = entered.and_then(|leaf| match leaf.h.log.contains(of) {
                    true => account.enter(&leaf),
                    false => Ok(()),
                });
                if let Err(error) = entered {
                    wrong = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        wrong.map_or(Ok(account), Err)
    }

    /// What an exported log says.
    ///
    /// # Errors
    /// As there.
    pub fn of_export(text: &str) -> anyhow::Result<Self> {
        let mut account = Self::default();
        let exported = Exported::parse(text)?;
        for at in exported.leaves() {
            let line = exported.lines.get(at).context("a leaf")?;
            account.enter(&Leaf::parse(line)?)?;
        }
        Ok(account)
    }

    fn enter(&mut self, leaf: &Leaf) -> anyhow::Result<()> {
        if let Some(EventBody::StreamEnded { stream, how }) = leaf.event() {
            self.ended.insert(*stream, *how);
        }
        let Some((record, ruling)) = leaf.record() else {
            return Ok(());
        };
        self.late += usize::from(ruling.late);
        let id = (record.stream, record.seq);
        match &record.body {
            Body::Intent(judged) if ruling.verdict == RulingVerdict::Permit => {
                let action = judged.action.as_ref();
                let note = action.and_then(|action| action.attributes.get("note"));
                let Some(AttributeValue::String(note)) = note else {
                    bail!("the note of {id:?} is not in clear")
                };
                let other = self.permits.insert(id, note.clone());
                ensure!(other.is_none(), "{id:?} twice");
            }
            Body::Outcome(outcome) => {
                let of = (record.stream, outcome.of);
                ensure!(
                    self.permits.contains_key(&of),
                    "an outcome of nothing: {of:?}"
                );
                let second = self.outcomes.insert(of, outcome.result);
                ensure!(second.is_none(), "two outcomes of {of:?}");
            }
            // Another process went on with the stream: whatever it found open nobody knows the outcome of.
            Body::Note(note) if note.note == RESTARTED => {
                for of in self.permits.keys().filter(|(stream, _)| *stream == id.0) {
                    self.outcomes.entry(*of).or_insert(OutcomeResult::Ambiguous);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Permits without an outcome.
    pub fn open(&self) -> usize {
        self.permits.len() - self.outcomes.len()
    }

    /// Holds each effect, by its note, against the permit of that note: one permit for each, none that says it was not
    /// sent.
    ///
    /// # Errors
    /// The first effect without a permit or permit without its effect.
    pub fn justify(&self, effects: &[String]) -> anyhow::Result<()> {
        let mut by_note: BTreeMap<&str, Id> = BTreeMap::new();
        for (id, note) in &self.permits {
            let other = by_note.insert(note, *id);
            ensure!(other.is_none(), "two permits for {note}");
        }
        let mut happened = BTreeSet::new();
        for note in effects {
            let id = by_note.get(note.as_str());
            let id = id.with_context(|| format!("{note} happened without a permit"))?;
            ensure!(happened.insert(*id), "{note} happened twice");
            let said = self.outcomes.get(id);
            ensure!(
                matches!(
                    said,
                    None | Some(OutcomeResult::Ok | OutcomeResult::Ambiguous)
                ),
                "{note} happened and the log says {said:?}"
            );
        }
        for (id, result) in &self.outcomes {
            let must = *result == OutcomeResult::Ok;
            ensure!(
                !must || happened.contains(id),
                "{:?} did not happen",
                self.permits.get(id)
            );
        }
        Ok(())
    }
}
