//! What a verification found, in words for people and classes for scripts.

use std::collections::BTreeMap;
use std::fmt;

use super::beside::{Beside, Texts};
use super::lost::LostHistory;
use super::replay::Replay;
use super::structure::End;
use crate::action::ActionEvidenceError;
use crate::evidence::checkpoint::{CheckpointError, NoteVerifier};
use crate::evidence::leaf::LeafError;
use crate::evidence::log_keys::{LogKeyRefused, LogKeys};
use crate::evidence::record::BatchError;
use crate::hash::{BundleDigest, StreamId, TreeRoot};
use crate::state::StateError;

/// Most findings kept. What follows the first is mostly its consequence, so more would hide more than they show.
pub const FINDINGS_MAX: usize = 64;

/// What a verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Name of the log; `None` where there is no first leaf to tell.
    pub origin: Option<String>,
    /// The key it was held against: the given one, else the one its first leaf names.
    pub key: Option<NoteVerifier>,
    /// The keys that its checkpoints are signed with, by size, as far as they follow one another.
    pub keys: LogKeys,
    /// Leaves read.
    pub leaves: u64,
    /// Root over them, as computed here.
    pub root: TreeRoot,
    /// Leaves covered by a signed checkpoint.
    pub covered: u64,
    /// Whether bytes are where they were when they were logged.
    pub structure: Level,
    /// Whether the log's claims follow from one another.
    pub state: Level,
    /// The texts that leaves commit to, as far as they were opened.
    pub texts: Texts,
    /// Leaves of which texts came disclosed, and are what they commit to.
    pub disclosed: u64,
    /// How many intents were decided again.
    pub redecided: Redecided,
    /// What is wrong, in order of the leaves, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings there are, those not kept included.
    pub found: u64,
    /// What could not be checked.
    pub gaps: Vec<Gap>,
    /// Parts of the log that are lost, as it says itself, oldest first.
    pub lost: Vec<LostHistory>,
}

impl Report {
    /// The first leaf that is wrong.
    pub fn first_bad(&self) -> Option<&Finding> {
        self.findings.first()
    }

    /// What the report amounts to.
    pub fn class(&self) -> Class {
        if self.found > 0 {
            Class::Invalid
        } else if self.gaps.is_empty() && self.lost.is_empty() {
            Class::Valid
        } else {
            Class::Incomplete
        }
    }
}

/// What a report amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Everything holds.
    Valid,
    /// Nothing is wrong, but something needed to say more is missing.
    Incomplete,
    /// Something is wrong.
    Invalid,
}

impl Class {
    /// Exit code of `actpass verify`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Incomplete => 2,
            Self::Invalid => 3,
        }
    }
}

/// How one level came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Holds for every leaf.
    Holds,
    /// Does not hold.
    Broken,
    /// Was checked up to this leaf only: something it rests on is wrong or missing.
    CheckedTo(u64),
}

/// How many intents were decided again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redecided {
    /// Intents in the log.
    pub intents: u64,
    /// Of those, decided again with the logged result.
    pub same: u64,
    /// Of the others, how many lack which input.
    pub missing: BTreeMap<&'static str, u64>,
    /// Actions that were passed on under audit, whatever was decided.
    pub unenforced: u64,
    /// Of those, decided again with the logged result. The others lack their texts, or what they were decided by.
    pub unenforced_same: u64,
}

/// Something that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// No leaf at all.
    Empty,
    /// Leaves from this one on are covered by no signed checkpoint.
    Uncovered {
        /// First such leaf.
        from: u64,
    },
    /// The last records of a stream are covered by no batch signature.
    Unsigned {
        /// The stream.
        stream: StreamId,
        /// Leaf of the first such record.
        from: u64,
    },
    /// A bundle is not at hand, so limits and decisions from here on are unchecked.
    BundleMissing {
        /// The leaf that makes it the active one.
        seq: u64,
        /// The bundle.
        digest: BundleDigest,
    },
    /// Texts that leaves commit to are not there.
    TextsMissing {
        /// First such leaf.
        from: u64,
        /// How many such leaves there are.
        count: u64,
    },
    /// Keys of texts are gone, and no leaf after these says that they were erased.
    ErasureUnsaid {
        /// First leaf with such texts.
        from: u64,
        /// How many such leaves there are.
        count: u64,
    },
    /// The request that a leaf says is kept is not there.
    RequestMissing {
        /// The first such leaf.
        seq: u64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the log has no leaves"),
            Self::Uncovered { from } => write!(
                f,
                "no signed checkpoint covers leaf {from} and what follows"
            ),
            Self::Unsigned { stream, from } => {
                write!(
                    f,
                    "no batch signature covers the last records of stream {stream}, from leaf {from} on"
                )
            }
            Self::BundleMissing { seq, digest } => {
                write!(
                    f,
                    "bundle {digest} is not at hand: limits and decisions from leaf {seq} on are not checked"
                )
            }
            Self::TextsMissing { from, count } => write!(
                f,
                "the texts that {count} leaves commit to are not there, first those of leaf {from}"
            ),
            Self::ErasureUnsaid { from, count } => write!(
                f,
                "the keys of the texts of {count} leaves are gone, first those of leaf {from}, and no leaf says that they were erased; \
                 the ledger says so when it starts"
            ),
            Self::RequestMissing { seq } => {
                write!(f, "the request that leaf {seq} says is kept is not there")
            }
        }
    }
}

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The leaf.
    pub seq: u64,
    /// What is wrong with it.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf {}: {}", self.seq, self.what)?;
        let mut cause = std::error::Error::source(&self.what);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What is wrong with a leaf.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum What {
    /// Its bytes could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its bytes are no leaf.
    #[error("is not a leaf")]
    Form(#[source] LeafError),
    /// Another log's.
    #[error("belongs to log `{0}`")]
    Log(String),
    /// Another place's: leaves were dropped, repeated or moved.
    #[error("says that it is leaf {0}")]
    Seq(u64),
    /// Not later than the one before.
    #[error("is not later than the leaf before it")]
    Time,
    /// The first is not genesis, or a later one is.
    #[error("genesis must be the first leaf and no other")]
    Genesis,
    /// The next leaf was chained to other bytes than these.
    #[error("was changed: the leaf after it follows other bytes")]
    Changed,
    /// It was chained to other bytes than those before it.
    #[error("does not follow the leaf before it")]
    Chain,
    /// The key named in the log is no key, or another log's.
    #[error("names a log key that cannot be used")]
    LogKey(#[source] CheckpointError),
    /// No key named in the log is the one known from elsewhere.
    #[error(
        "names another log key than the one it is held against, and none that follows is that one"
    )]
    OtherLogKey,
    /// A key is announced that does not follow the one in force.
    #[error("announces a log key that does not follow the one before")]
    NextLogKey(#[source] LogKeyRefused),
    /// A record out of its stream's order or chain.
    #[error("record {seq} does not continue its stream")]
    Stream {
        /// The record.
        seq: u64,
    },
    /// A record of a stream that is not open.
    #[error("holds a record of a stream that is not open")]
    StreamNotOpen,
    /// A stream whose name is not the hash of its key.
    #[error("opens a stream under a key that is not its own")]
    StreamKey,
    /// A batch signature that does not hold.
    #[error("batch signature")]
    Batch(#[source] BatchError),
    /// A checkpoint or anchor that cannot be believed.
    #[error("the checkpoint over it cannot be believed")]
    Checkpoint(#[source] CheckpointError),
    /// Leaves are missing at the end.
    #[error("is missing: the log was seen with {size} leaves")]
    Truncated {
        /// Size it was seen with.
        size: u64,
    },
    /// The tree is not the one a head was given for.
    #[error(
        "or one before it was rewritten: the root over the first {size} leaves is not the one in the {source_name}"
    )]
    Root {
        /// Size of the head.
        size: u64,
        /// `checkpoint` or `anchor`.
        source_name: &'static str,
    },
    /// A gap that stands elsewhere than it says.
    #[error("says that part of the log is lost after other leaves than those before it")]
    Gap,
    /// Its claim does not follow from the leaves before it.
    #[error("does not follow from the log")]
    State(#[source] StateError),
    /// A bundle's bytes are not those its digest names, or no bundle.
    #[error("the bytes kept for bundle {0} are not that bundle")]
    Bundle(BundleDigest),
    /// The texts kept beside it are not those it commits to.
    #[error("the texts kept beside it are not those it commits to")]
    Openings(#[source] ActionEvidenceError),
    /// Texts came with it as its own, and it commits to others or to none.
    #[error("the texts disclosed of it are not those it commits to")]
    Disclosed,
    /// The texts kept beside it are not what was sealed for it.
    #[error("the texts kept beside it cannot be opened: {0}")]
    SideFrame(String),
    /// The texts kept beside it are said to be erased with those of another subject.
    #[error("the texts kept beside it name the erased key of another subject than its own")]
    ErasedForAnother,
    /// The request kept for an approval is not the one sealed then.
    #[error("the request kept for its approval is not the one whose digest it names")]
    SealedRequest,
    /// Its MAC is not that of the action.
    #[error("names another action than the texts beside it")]
    Mac,
    /// Deciding again gives another ruling.
    #[error("deciding again gives another `{0}`")]
    Ruling(&'static str),
}

impl What {
    /// Whether bytes are not what was logged, as against claims that do not follow.
    fn is_structural(&self) -> bool {
        !self.is_of_state() && !self.is_beside()
    }

    /// Whether it is what lies beside a leaf that is wrong.
    pub fn is_beside(&self) -> bool {
        use What::{Disclosed, ErasedForAnother, Openings, SealedRequest, SideFrame};
        matches!(
            self,
            Disclosed | Openings(_) | SideFrame(_) | SealedRequest | ErasedForAnother
        )
    }

    fn is_of_state(&self) -> bool {
        use What::{Bundle, Mac, Ruling, State};
        matches!(self, State(_) | Bundle(_) | Mac | Ruling(_))
    }
}

/// Findings as they come, at most one per leaf and [`FINDINGS_MAX`] kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: BTreeMap<u64, What>,
    found: u64,
}

impl Findings {
    pub(super) fn add(&mut self, seq: u64, what: What) {
        if self.kept.contains_key(&seq) {
            return;
        }
        self.found += 1;
        self.kept.insert(seq, what);
        if self.kept.len() > FINDINGS_MAX {
            self.kept.pop_last();
        }
    }

    pub(super) fn any(&self) -> bool {
        self.found > 0
    }

    /// Whether leaves themselves are wrong.
    pub(super) fn structural(&self) -> bool {
        self.kept.values().any(What::is_structural)
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        self.kept.contains_key(&seq)
    }
}

pub(super) fn report(
    end: End,
    beside: Beside<'_>,
    disclosed: u64,
    replay: Replay<'_>,
    findings: Findings,
) -> Report {
    let End {
        origin,
        key,
        keys,
        leaves,
        root,
        covered,
        mut gaps,
        lost,
    } = end;
    let structure = if findings.structural() {
        Level::Broken
    } else {
        Level::Holds
    };
    let texts = beside.finish(&mut gaps);
    let (replayed, redecided, missing) = replay.finish();
    let state = if findings.kept.values().any(What::is_of_state) {
        Level::Broken
    } else if replayed < leaves {
        Level::CheckedTo(replayed)
    } else {
        Level::Holds
    };
    gaps.extend(missing);
    let found = findings.found;
    let findings = findings
        .kept
        .into_iter()
        .map(|(seq, what)| Finding { seq, what })
        .collect();
    Report {
        origin,
        key,
        keys,
        leaves,
        root,
        covered,
        structure,
        state,
        texts,
        disclosed,
        redecided,
        findings,
        found,
        gaps,
        lost,
    }
}
