//! The packet filter of the pod this process is in.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use actpass_core::pod::ruleset::{Interface, InterfaceError, Ruleset};

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
    #[error(
        "the kernel took no rules: {0}; it needs nf_tables with inet and netdev families, NAT, conntrack and fib"
    )]
    Refused(String),
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
    let failed = |source| FenceError::Program {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.text().as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(FenceError::Refused(said.trim().to_owned()))
        }
    }
}
