//! Sockets that no network namespace holds: refused by number, before the kernel looks at them.
//!
//! AF_VSOCK leads to the machine below this one, whichever network a process is in; other families reach Bluetooth, CAN
//! or crypto devices. The four that remain are those that the other namespaces contain. io_uring makes sockets without
//! the system call, so it is refused too; libraries fall back, as they do in containers.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// The families of sockets that namespaces contain.
const CONTAINED: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// Bit of the system calls of x86_64's second interface, x32, which the kernel tells apart by the number alone.
const X32: i64 = 0x4000_0000;

/// Refuses other sockets to this thread and all that comes of it, for good. Programs for another architecture than
/// ours, whose numbers mean other calls, are killed.
pub(super) fn refuse() -> io::Result<()> {
    let families = CONTAINED
        .iter()
        .map(|family| {
            let family = u64::try_from(*family).map_err(io::Error::other)?;
            let argument = SeccompCmpArgLen::Dword;
            SeccompCondition::new(0, argument, SeccompCmpOp::Ne, family).map_err(failed)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let other_family = SeccompRule::new(families).map_err(failed)?;
    install(libc::SYS_socket, vec![other_family], libc::EAFNOSUPPORT)?;
    install(libc::SYS_io_uring_setup, Vec::new(), libc::EPERM)
}

/// One filter: `call` gives `errno` where one of the rules holds, or always where there is none.
fn install(call: libc::c_long, rules: Vec<SeccompRule>, errno: i32) -> io::Result<()> {
    let errno = u32::try_from(errno).map_err(io::Error::other)?;
    let calls = BTreeMap::from([(call, rules.clone()), (call | X32, rules)]);
    let arch = ARCH.try_into().map_err(failed)?;
    let filter = SeccompFilter::new(
        calls,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        arch,
    )
    .map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    apply_filter(&program).map_err(|error: Error| io::Error::other(error))
}

fn failed(error: BackendError) -> io::Error {
    io::Error::other(error)
}
