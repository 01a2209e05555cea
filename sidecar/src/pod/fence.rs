//! The packet filter of the pod this process is in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use actpass_core::pod::ruleset::{Interface, InterfaceError, Ruleset};
use rustix::fs::{MemfdFlags, memfd_create};

/// The program that loads rules, in the image.
pub const NFT: &str = "/usr/sbin/nft";

/// Where the kernel lists interfaces.
const INTERFACES: &str = "/sys/class/net";

/// The rules were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The interfaces cannot be listed.
    #[error("list the interfaces in `{INTERFACES}`")]
    Interfaces(#[source] io::Error),
    /// One has a name that rules cannot hold: it would be without the third lock.
    #[error(transparent)]
    Name(#[from] InterfaceError),
    /// The program does not run.
    #[error("run `{program}`")]
    Program {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel says no.
    #[error("the kernel took no rules: {0}")]
    Refused(String),
}

/// A part of the kernel that the rules need: its name, and rules that need no other but those before it.
type Part = (&'static str, &'static str);

/// Each needs what stands before it.
const PARTS: [Part; 7] = [
    (
        "nf_tables with the inet family",
        "table inet actpass_probe {}",
    ),
    (
        "filter chains of nf_tables",
        "table inet actpass_probe { chain c { type filter hook output priority 0; meta skuid 1 counter accept; }; }",
    ),
    (
        "NAT of nf_tables (nft_chain_nat, nft_redir)",
        "table inet actpass_probe { chain c { type nat hook output priority -100; meta l4proto tcp redirect to :1; }; }",
    ),
    (
        "conntrack of nf_tables (nft_ct), with zones and marks",
        "table inet actpass_probe { chain r { type filter hook output priority raw; ct zone set 1; }; \
         chain c { type filter hook output priority 0; ct direction reply ct state established ct mark set 1; }; }",
    ),
    (
        "fib of nf_tables (nft_fib_inet)",
        "table inet actpass_probe { chain c { type filter hook output priority 0; fib saddr type local accept; }; }",
    ),
    (
        "reject of nf_tables (nft_reject_inet)",
        "table inet actpass_probe { chain c { type filter hook output priority 0; \
         meta l4proto tcp reject with tcp reset; reject with icmpx type admin-prohibited; }; }",
    ),
    (
        "the egress hook of the netdev family (Linux 5.16, CONFIG_NETFILTER_EGRESS)",
        "table netdev actpass_probe { chain c { type filter hook egress device \"lo\" priority 0; accept; }; }",
    ),
];

/// What refused rules are for: `said` is what it says of them, `refused` of each of the parts, which are tried alone.
fn explained(said: &str, refused: impl Fn(&str) -> Option<String>) -> String {
    let said = said.trim();
    // By the words of the C library for EPERM: nothing else can be tried without it.
    if said.contains("Operation not permitted") {
        return format!("{said}; it takes the capability NET_ADMIN in this network");
    }
    let missing = PARTS
        .iter()
        .find_map(|(name, rules)| Some((name, refused(rules)?)));
    match missing {
        Some((name, why)) => format!("{said}; it lacks {name}: {}", why.trim()),
        None => format!("{said}; it has each of the parts they need"),
    }
}

/// All interfaces but `lo`.
///
/// # Errors
/// Where they cannot be listed.
pub fn interfaces() -> Result<BTreeSet<Interface>, FenceError> {
    let mut found = BTreeSet::new();
    for entry in Path::new(INTERFACES)
        .read_dir()
        .map_err(FenceError::Interfaces)?
    {
        let name = entry.map_err(FenceError::Interfaces)?.file_name();
        // Files beside the interfaces, such as `bonding_masters`, are none.
        if name == "lo" || !Path::new(INTERFACES).join(&name).is_dir() {
            continue;
        }
        found.insert(name.to_string_lossy().parse()?);
    }
    Ok(found)
}

/// Loads the rules, all or none.
///
/// # Errors
/// Where the program does not run or the kernel refuses.
pub fn load(rules: &Ruleset, program: &str) -> Result<(), FenceError> {
    match run(program, &["-f", "-"], &rules.text())? {
        Ok(()) => Ok(()),
        Err(said) => {
            let refused = |part: &str| run(program, &["-c", "-f", "-"], part).ok()?.err();
            Err(FenceError::Refused(explained(&said, refused)))
        }
    }
}

/// What the program says of rules that it does not take.
fn run(program: &str, args: &[&str], rules: &str) -> Result<Result<(), String>, FenceError> {
    let failed = |source| FenceError::Program {
        program: program.to_owned(),
        source,
    };
    let output = Command::new(program)
        .args(args)
        .stdin(whole(rules).map_err(failed)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(failed)?;
    Ok(match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

/// A file with all of the text before anybody reads it. Of a pipe whose writer is killed the program would take the first half,
/// and the first half of our rules deletes what was there.
fn whole(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("rules", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_said_by_its_name() {
        let said = "/dev/stdin:18:3-40: Error: Could not process rule: No such file or directory\n";
        for (index, (name, part)) in PARTS.iter().enumerate() {
            // Where a part is missing, what stands on it may be missing too.
            for and_later in [false, true] {
                let refused = |rules: &str| {
                    let at = PARTS.iter().position(|(_, it)| *it == rules)?;
                    let is = at == index || (and_later && at > index);
                    is.then(|| format!("Error: {at} is not supported\n"))
                };
                let want = format!(
                    "{}; it lacks {name}: Error: {index} is not supported",
                    said.trim()
                );
                assert_eq!(explained(said, refused), want, "{part}");
            }
        }
        let explained_as = |said: &str| explained(said, |_| None);
        let want = "busy; it has each of the parts they need";
        assert_eq!(explained_as("busy\n"), want);
        let said = "Operation not permitted (you must be root)";
        let want = format!("{said}; it takes the capability NET_ADMIN in this network");
        assert_eq!(explained_as(said), want);
    }
}
