//! What is known of a log beside the log: from the command line, and from the state directory whose log it is.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::receipt::KeptHead;
use actpass_ledger::heads;
use actpass_ledger::keys::Ring;
use actpass_ledger::offline::{Known, LogKey, TextKeys};
use actpass_ledger::storage::{Entry, SegmentReader};
use actpass_ledger::vault::{Kek, Vault};
use anyhow::{Context, anyhow, bail};

use crate::state::StateDir;

/// What a log is held against, with where it comes from.
#[derive(Default)]
pub(crate) struct Elsewhere {
    anchors: Vec<String>,
    /// Sizes and roots that a cluster keeps outside of its ledger.
    heads: Vec<(String, KeptHead)>,
    /// The log's keys, the newest first.
    pub(super) keys: Vec<LogKey>,
    /// Where they are from.
    pub(super) source: Option<Source>,
    /// The vault with the keys of the texts, or why it cannot be used; none where it is not ours to look for.
    vault: Option<Result<Vault, String>>,
}

/// Where something is known from.
#[derive(Debug)]
pub(crate) enum Source {
    /// This file of the state directory.
    State(PathBuf),
    /// This file, given on the command line.
    Given(PathBuf),
    /// What the cluster publishes of its ledger.
    Cluster,
}

impl Elsewhere {
    /// What the state directory knows of its own log.
    ///
    /// # Errors
    /// Where its key cannot be read: what is missing here may have been taken away by whoever changed the log.
    pub(crate) fn of_state(state: &StateDir) -> anyhow::Result<Self> {
        let path = state.keys().join("log.key");
        let apart = || {
            format!(
                "so the log cannot be held against it; put it back, or verify the log without it: `actpass verify {}`",
                state.log().display()
            )
        };
        let ring = Ring::load(&state.keys(), "log").with_context(apart)?;
        let ring = ring.ok_or_else(|| anyhow!("`{}` is not there, {}", path.display(), apart()))?;
        // One of several has a file of its own.
        let path = match ring.all().count() {
            1 => path,
            _ => state.keys(),
        };
        let keys = ring.all().map(|key| LogKey::Public(key.verifying_key()));
        // A log that was restored from before a rotation names its newest key again once a ledger started on it. Of any other one an older
        // key, which somebody may have stolen, says nothing.
        let count = match heads::is_restored(&state.head())? {
            true => usize::MAX,
            false => 1,
        };
        Ok(Self {
            keys: keys.take(count).collect(),
            source: Some(Source::State(path)),
            // Read before the log, which may be growing.
            anchors: heads::read(&state.head())?,
            heads: Vec::new(),
            vault: Some(vault(state).map_err(|error| format!("{error:#}"))),
        })
    }

    /// What the state directory knows of a log elsewhere: nothing, unless the log is a copy of its own.
    pub(super) fn of_copy(dir: &Path, state: Option<&StateDir>) -> anyhow::Result<Self> {
        Self::of_log(|| first_log(dir), state)
    }

    /// The same of a log by its name.
    pub(super) fn of_log(
        log: impl FnOnce() -> Option<String>,
        state: Option<&StateDir>,
    ) -> anyhow::Result<Self> {
        let tenant = state.and_then(|state| state.tenant_made().ok().flatten());
        let own = tenant.map(|tenant| format!("actpass/{tenant}"));
        match (state, own) {
            (Some(state), Some(own)) if log().as_ref() == Some(&own) => {
                let known = Self::of_state(state)?;
                // A copy may be older than the head.
                Ok(Self {
                    anchors: Vec::new(),
                    ..known
                })
            }
            _ => Ok(Self::default()),
        }
    }

    /// What a cluster knows of a log of its ledger; the newest key first.
    pub(crate) fn of_cluster(keys: Vec<LogKey>, heads: Vec<(String, KeptHead)>) -> Self {
        Self {
            heads,
            keys,
            source: Some(Source::Cluster),
            ..Self::default()
        }
    }

    /// Adds what the command line names; a key given there is believed before the state directory's.
    pub(crate) fn add(&mut self, anchors: &[PathBuf], key: Option<&Path>) -> anyhow::Result<()> {
        for path in anchors {
            let read = std::fs::read_to_string(path);
            let read = read.with_context(|| format!("read the anchor `{}`", path.display()))?;
            let notes = heads::notes(&read);
            if notes.is_empty() {
                bail!("the anchor `{}` holds no signed checkpoint", path.display());
            }
            self.anchors.extend(notes);
        }
        if let Some(path) = key {
            self.keys = keys_in(path)?;
            self.source = Some(Source::Given(path.to_owned()));
        }
        Ok(())
    }

    /// Whether this is the newest key that is known of its log.
    pub(super) fn is_newest(&self, key: &NoteVerifier) -> bool {
        let mut keys = self.keys.iter();
        keys.find_map(|known| known.of(key.name())).as_ref() == Some(key)
    }

    /// The same, for the verification.
    pub(crate) fn known(&self) -> Known<'_> {
        Known {
            anchors: &self.anchors,
            heads: &self.heads,
            keys: &self.keys,
            texts: match &self.vault {
                None => TextKeys::NotGiven,
                Some(Ok(vault)) => TextKeys::Vault(vault),
                Some(Err(why)) => TextKeys::Unusable(why),
            },
            progress: None,
            resume: None,
        }
    }
}

/// The log's public keys in a file, the newest first, which there stands last.
///
/// # Errors
/// Where it cannot be read, or holds something else.
pub(super) fn keys_in(path: &Path) -> anyhow::Result<Vec<LogKey>> {
    let read = std::fs::read_to_string(path);
    let read = read.with_context(|| format!("read the key `{}`", path.display()))?;
    let mut keys = LogKey::parse_list(&read)
        .with_context(|| format!("`{}` is not a log's public key", path.display()))?;
    keys.reverse();
    Ok(keys)
}

impl Source {
    /// For scripts.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::State(_) => "state",
            Self::Given(_) => "given",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(path) | Self::Given(path) => {
                write!(f, "known from `{}`", path.display())
            }
            Self::Cluster => f.write_str("known from ConfigMap `actpass-trust` of the cluster"),
        }
    }
}

/// The vault as it is; nothing is made.
pub(crate) fn vault(state: &StateDir) -> anyhow::Result<Vault> {
    let kek = Kek::from_file(&state.kek())?;
    if !state.vault().is_dir() {
        bail!("`{}` is not there", state.vault().display());
    }
    Ok(Vault::look(&state.vault(), kek)?)
}

/// The log written first in a directory, as far as it can be read.
fn first_log(dir: &Path) -> Option<String> {
    let mut first = None;
    let mut reader = SegmentReader::open_read_only(dir).ok()?;
    let read = reader.replay(&mut |entry| {
        if let Entry::Leaf { log, .. } = entry {
            first = Some(log.to_owned());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    // What cannot be read is the verification's to say.
    drop(read);
    first
}
