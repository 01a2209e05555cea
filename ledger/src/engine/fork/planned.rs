//! Which logs lost what.

use std::collections::BTreeSet;

use actpass_core::evidence::checkpoint::{Checkpoint, CheckpointError, NoteVerifier};
use actpass_core::evidence::leaf::{FIELD_BYTES_MAX, LostHead};
use actpass_core::evidence::merkle::Tree;
use actpass_core::hash::TreeRoot;
use actpass_core::state::LOST_HEADS_MAX;

use super::{Fork, ForkError, Given, Request};
use crate::engine::{Log, Logs, Parts};
use crate::heads::{self, HeadsError};
use crate::keys::Ring;

/// A gap of a log that begins anew is the leaf behind its first, so that it can name no head of one leaf. Such a head covers no
/// more than which key signs.
const BEGUN_LEAVES: u64 = 1;

pub(super) fn planned(
    logs: &Logs,
    parts: &Parts,
    request: &Request,
) -> Result<Vec<Fork>, ForkError> {
    let long = |text: &str| text.is_empty() || text.len() > FIELD_BYTES_MAX;
    if long(&request.why) || long(&request.by) {
        return Err(ForkError::Form(
            "who and why are texts of 1 to 1024 bytes, which stand in the log in clear",
        ));
    }
    let (kept, restored) = match &parts.heads {
        Some(path) => (
            heads::read(path).map_err(HeadsError::from)?,
            heads::restored(path)?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    let noted = |given: &Given| matches!(given, Given::Noted(_));
    if request.log.is_none() && request.lost.iter().any(noted) {
        return Err(ForkError::Form("a size and root are of one log: name it"));
    }
    let mut known: Vec<Given> = kept.into_iter().map(Given::Checkpoint).collect();
    known.extend(request.lost.iter().cloned());
    let signed = known.iter().filter_map(|given| match given {
        Given::Checkpoint(note) => Some(heads::named(note)),
        Given::Noted(_) => None,
    });
    // Only what our key signed names a log that is not here: anything else may be a slip of the pen.
    let signed: BTreeSet<&str> = signed.collect();
    let of_others = |named: &&str| !logs.contains_key(*named);
    let gone: Vec<&str> = signed.into_iter().filter(of_others).collect();
    let named = request.log.as_deref();
    if let Some(named) = named.filter(|log| !logs.contains_key(*log) && !gone.contains(log)) {
        return Err(ForkError::NoLog(named.to_owned()));
    }
    let of_asked = |given: &Given| match given {
        Given::Checkpoint(note) => named.is_none_or(|named| named == heads::named(note)),
        Given::Noted(_) => true,
    };
    if let Some(Given::Checkpoint(note)) = request.lost.first()
        && !request.lost.iter().any(of_asked)
    {
        return Err(ForkError::OfOther(heads::named(note).to_owned()));
    }
    let mut forks = Vec::new();
    for log in logs.values() {
        let is_named = named == Some(log.origin());
        if named.is_some() && !is_named {
            continue;
        }
        let lost = lost_of(log, &known, is_named)?;
        let restored = restored.iter().find(|it| it.name == log.origin());
        if !lost.is_empty() || restored.is_some() {
            forks.push(of(log, lost, restored.map(|it| it.leaves)));
        }
    }
    for origin in gone {
        let is_named = named == Some(origin);
        if named.is_none() || is_named {
            forks.push(begun_anew(origin, &known, is_named, &parts.log_key)?);
        }
    }
    match forks.is_empty() {
        true => Err(ForkError::NothingLost),
        false => Ok(forks),
    }
}

/// The logs that lost nothing, or said so already: what a crash cut short may be said in them.
pub(super) fn whole(
    logs: &Logs,
    parts: &Parts,
    request: &Request,
    forks: &[Fork],
) -> Result<Vec<String>, ForkError> {
    let (kept, restored) = match &parts.heads {
        Some(path) => (
            heads::read(path).map_err(HeadsError::from)?,
            heads::restored(path)?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    let mut known: Vec<Given> = kept.into_iter().map(Given::Checkpoint).collect();
    known.extend(request.lost.iter().cloned());
    let is_whole = |log: &&Log| {
        if let Some(fork) = forks.iter().find(|fork| fork.log == log.origin()) {
            return fork.said;
        }
        // One that went on past what it lost is not whole either.
        let nothing = lost_of(log, &known, false).is_ok_and(|lost| lost.is_empty());
        let restored = restored.iter().find(|it| it.name == log.origin());
        nothing && restored.is_none_or(|it| of(log, Vec::new(), Some(it.leaves)).said)
    };
    let whole = logs.values().filter(is_whole);
    Ok(whole.map(|log| log.origin().to_owned()).collect())
}

fn of(log: &Log, lost: Vec<LostHead>, restored: Option<u64>) -> Fork {
    let size = log.size();
    let since = |leaves: u64| log.state().gaps().iter().any(|gap| gap.leaf >= leaves);
    Fork {
        log: log.origin().to_owned(),
        gone: false,
        size,
        root: log.root_at(size).unwrap_or(TreeRoot::from_bytes([0; 32])),
        said: lost.is_empty() && restored.is_some_and(since),
        lost,
    }
}

/// A log of which nothing is left but heads.
fn begun_anew(
    origin: &str,
    known: &[Given],
    is_named: bool,
    keys: &Ring,
) -> Result<Fork, ForkError> {
    let read = |note: &str| {
        let mut all = keys.all().map(|key| key.verifying_key());
        let signed =
            all.find_map(|key| Checkpoint::verify(note, &NoteVerifier::new(origin, key)).ok());
        let first = || NoteVerifier::new(origin, keys.oldest().verifying_key());
        signed.map_or_else(|| Checkpoint::verify(note, &first()), Ok)
    };
    let mut lost = Vec::new();
    for given in known {
        let head = match given {
            Given::Checkpoint(note) if heads::named(note) == origin => head(read(note), origin)?,
            Given::Noted(head) if is_named => *head,
            _ => continue,
        };
        if head.size > BEGUN_LEAVES {
            lost.push(head);
        }
    }
    Ok(Fork {
        log: origin.to_owned(),
        gone: true,
        size: 0,
        root: Tree::new().root(),
        said: false,
        lost: in_order(lost)?,
    })
}

/// Known heads that the log does not have and does not say that it lost.
fn lost_of(log: &Log, known: &[Given], is_named: bool) -> Result<Vec<LostHead>, ForkError> {
    let mut lost = Vec::new();
    for given in known {
        let head = match given {
            Given::Checkpoint(note) if heads::named(note) == log.origin() => {
                head(log.read_head(note), log.origin())?
            }
            Given::Noted(head) if is_named => *head,
            _ => continue,
        };
        if log.root_at(head.size) == Some(head.root) || log.is_said_lost(&head) {
            continue;
        }
        if head.size <= log.size() {
            return Err(ForkError::WentOn {
                log: log.origin().to_owned(),
                size: head.size,
                found: log.size(),
            });
        }
        lost.push(head);
    }
    in_order(lost)
}

fn head(read: Result<Checkpoint, CheckpointError>, origin: &str) -> Result<LostHead, ForkError> {
    let Checkpoint { root, size, .. } = read.map_err(|source| ForkError::NotOurs {
        log: origin.to_owned(),
        source,
    })?;
    Ok(LostHead { root, size })
}

fn in_order(mut lost: Vec<LostHead>) -> Result<Vec<LostHead>, ForkError> {
    lost.sort();
    lost.dedup();
    if lost.len() > LOST_HEADS_MAX {
        return Err(ForkError::Form("a gap names 16 lost heads at most"));
    }
    match lost.is_sorted_by(|one, next| one.size < next.size) {
        true => Ok(lost),
        false => Err(ForkError::Form(
            "two heads of one size contradict each other: one log was signed twice",
        )),
    }
}

impl Log {
    /// Whether a gap of it names this head, or it began anew and that head covers its first leaf of before.
    pub(crate) fn is_said_lost(&self, head: &LostHead) -> bool {
        let mut gaps = self.state().gaps().iter();
        gaps.any(|gap| {
            gap.heads.contains(head) || (gap.leaf, head.size) == (BEGUN_LEAVES, BEGUN_LEAVES)
        })
    }
}
