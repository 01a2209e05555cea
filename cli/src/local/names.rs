//! How names are resolved inside: by our responder, and by nothing of the host's.

use std::fs;
use std::path::Path;

use super::plan::{BoundFile, OwnDir};

/// One attempt, briefly: the responder is in this machine. `ndots:1` and no search list, so that a declared name is
/// asked for as it is and no suffix makes an undeclared one of it.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\nsearch .\noptions ndots:1 timeout:2 attempts:2\n";

/// No `resolve`, `myhostname`, `mdns` or `nis`: those speak to daemons of the host over sockets in the file system,
/// which cross network namespaces.
const NSSWITCH_CONF: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                             protocols: files\nservices: files\nethers: files\nrpc: files\nnetgroup: files\n";

/// Directories of the sockets behind which the host resolves names: systemd-resolved, nscd at both of its places,
/// Avahi (mDNS), and D-Bus, over which systemd-resolved answers too.
const SOCKET_DIRS: [&str; 5] = [
    "/run/systemd/resolve",
    "/run/nscd",
    "/var/run/nscd",
    "/run/avahi-daemon",
    "/run/dbus",
];

/// `resolv.conf`, `nsswitch.conf` and `hosts` for the inside. One that the host does not have stays missing: the C
/// libraries' defaults are 127.0.0.1 and "files, then DNS" as well.
pub(crate) fn resolver_files() -> Vec<BoundFile> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let files = [
        ("/etc/resolv.conf", RESOLV_CONF),
        ("/etc/nsswitch.conf", NSSWITCH_CONF),
        ("/etc/hosts", &hosts(&host)),
    ];
    let bound = |(target, content): (&str, &str)| BoundFile {
        target: target.into(),
        content: content.into(),
        required: false,
    };
    files.map(bound).into()
}

/// Empty covers for the directories of the host's resolvers, as far as they are there.
pub(crate) fn resolver_sockets() -> Vec<OwnDir> {
    let mut targets: Vec<_> = SOCKET_DIRS
        .iter()
        .filter_map(|dir| Path::new(dir).canonicalize().ok())
        .collect();
    targets.sort();
    targets.dedup();
    targets
        .into_iter()
        .map(|target| OwnDir {
            target,
            files: vec![],
        })
        .collect()
}

/// The machine's own name stays known, since many programs ask for it at start.
fn hosts(host: &str) -> String {
    let host = host.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let own = match !host.is_empty() && host.bytes().all(plain) {
        true => format!("127.0.1.1 {host}\n"),
        false => String::new(),
    };
    format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_is_kept_unless_it_could_be_another_line() {
        assert!(hosts("laptop\n").ends_with("127.0.1.1 laptop\n"));
        for odd in ["", "\n", "a b", "a\n198.18.0.1 api.stripe.com", "#"] {
            assert!(!hosts(odd).contains("127.0.1.1"), "`{odd}`");
        }
    }
}
