//! Local mode's containment: one command that can reach nothing but the names declared for it.
//!
//! *Flow*: [`start`] runs this program again as the *inner* process ([`inner_main`]). That one leaves for user,
//! network and mount namespaces of its own, makes every listener in there, passes them out as descriptors, covers and
//! binds files, gives up every privilege, tries the ways out, and waits. [`Held::go`] lets it become the command, once
//! whoever called is serving the listeners.
//!
//! *Guarantees*: outside 127/8 and the synthetic range every address is "network unreachable", by IPv4, IPv6, TCP, UDP
//! and raw sockets, because the network namespace has no other route and no other interface; sockets that no network
//! namespace holds cannot be made. The command cannot undo a mount, gain a privilege or outlive ActPass itself.
//!
//! *Limits*: this contains the network only. The command still sees the processes of its user and may signal them;
//! what it starts may outlive ActPass (cut off, since nobody serves its listeners then); sockets in the file system
//! cross network namespaces, and only those that resolve names are covered. The memory of ActPass itself is closed to them:
//! it is not dumpable.

mod exec;
mod inner;
mod mounts;
mod names;
mod namespaces;
mod netlink;
mod plan;
mod privileges;
mod probe;
mod signals;
mod sockets;
mod start;
mod syscalls;
mod trial;
mod trust;
mod wire;

pub(crate) use inner::{INNER, inner_main};
pub(crate) use names::{resolver_files, resolver_sockets};
pub(crate) use plan::{BoundFile, ListenSpec, Plan};
pub(crate) use signals::{Forwarder, exit_code};
pub(crate) use start::{Running, start};
pub(crate) use trial::{TRY, try_main};
pub(crate) use trust::{TrustFiles, environment, system_bundles, trust_bundle};

/// Exit code of `run` for failures of its own, so that they are not taken for the command's.
pub(crate) const EXIT_OURS: u8 = 125;
