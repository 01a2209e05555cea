//! Names that nobody declares and that are passed on under audit: each gets an address of its own, as a declared one does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use actpass_core::host::HostName;

use super::{ADDRESSES_MAX, address};

/// Most names learned: half of the range. An agent that asks for more gets no address for them.
pub(super) const LEARNED_MAX: usize = ADDRESSES_MAX / 2;

/// Names and their addresses, from the end of the range downwards. None ever changes, so that a connection made long after
/// its name was asked for still says which it was.
#[derive(Debug, Default)]
pub(super) struct Learned {
    by_name: BTreeMap<HostName, usize>,
    names: Vec<HostName>,
}

impl Learned {
    /// The address of a name; `None`: there is no room for another.
    pub(super) fn learn(&mut self, name: &HostName) -> Option<Ipv4Addr> {
        if let Some(at) = self.by_name.get(name) {
            return Some(address(ADDRESSES_MAX - 1 - at));
        }
        let at = self.names.len();
        if at >= LEARNED_MAX {
            return None;
        }
        self.names.push(name.clone());
        self.by_name.insert(name.clone(), at);
        Some(address(ADDRESSES_MAX - 1 - at))
    }

    /// The name that the address of this index was given to.
    pub(super) fn name_at(&self, index: usize) -> Option<HostName> {
        let at = (ADDRESSES_MAX - 1).checked_sub(index)?;
        self.names.get(at).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
