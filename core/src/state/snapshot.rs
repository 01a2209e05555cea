//! A state as bytes, so that a ledger which starts anew need not take in its log from the first leaf on.
//!
//! The same state gives the same bytes, and bytes that are read are the ones that would be written: what follows from the
//! rest, such as which approvals a digest has, is not in them. They are no evidence: whoever keeps them signs them, and
//! verification takes in every leaf.

use serde::{Deserialize, Serialize};

use super::{Bundles, State};
use crate::canonical::{self, CanonicalError};
use crate::hash::BundleDigest;

/// Version of the form. Another one is not read: the log is taken in instead.
pub const STATE_VERSION: &str = "actpass.state/2";

/// A state as it is written down; its bundle by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    active: Option<BundleDigest>,
    state: State,
    v: String,
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not in the form above.
    #[error("not a kept state")]
    Form(#[from] CanonicalError),
    /// Written by another version.
    #[error("the kept state has version `{0}`, this build reads {STATE_VERSION}")]
    Version(String),
    /// Its active bundle is not there.
    #[error("bundle {0} is named and not there")]
    MissingBundle(BundleDigest),
}

impl Snapshot {
    /// Of this state, as it is now.
    pub fn of(state: &State) -> Self {
        Self {
            active: state.active.as_ref().map(|bundle| bundle.digest()),
            state: state.clone(),
            v: STATE_VERSION.to_owned(),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Where a number in it is beyond what canonical JSON holds.
    pub fn to_vec(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// The state of these bytes.
    ///
    /// # Errors
    /// Where they are no state of this version, or its bundle is missing.
    pub fn restore(bytes: &[u8], bundles: &dyn Bundles) -> Result<State, SnapshotError> {
        #[derive(Deserialize)]
        struct Version {
            v: String,
        }
        if let Ok(Version { v }) = serde_json::from_slice(bytes)
            && v != STATE_VERSION
        {
            return Err(SnapshotError::Version(canonical::excerpt(&v)));
        }
        let Self {
            active, mut state, ..
        } = canonical::from_slice_exact(bytes)?;
        if let Some(digest) = active {
            let bundle = bundles.bundle(&digest);
            state.active = Some(bundle.ok_or(SnapshotError::MissingBundle(digest))?);
        }
        let open = state.streams.iter().filter(|(_, it)| it.ended.is_none());
        let pods = open.filter_map(|(id, stream)| Some((stream.pod_uid.clone()?, *id)));
        state.pods = pods.collect();
        Ok(state)
    }
}
