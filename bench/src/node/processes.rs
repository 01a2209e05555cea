//! Resident memory of processes of this machine, as the kernel counts it.

use std::fs;

use anyhow::Context;

/// A process's memory, KiB.
pub(super) struct Process {
    /// Resident now.
    pub(super) resident: u64,
    /// The most that was.
    pub(super) most: u64,
}

/// All processes of that name, of which the kernel keeps 15 bytes.
pub(super) fn named(name: &str) -> anyhow::Result<Vec<Process>> {
    let name: String = name.chars().take(15).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A process may end meanwhile.
        let Ok(status) = fs::read_to_string(entry?.path().join("status")) else {
            continue;
        };
        let field = |field: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(field))
                .map(str::trim)
        };
        if field("Name:") == Some(name.as_str()) {
            let kib = |name| -> anyhow::Result<u64> {
                let text = field(name).and_then(|text| text.strip_suffix(" kB"));
                Ok(text
                    .with_context(|| format!("`{name}` of a process"))?
                    .trim()
                    .parse()?)
            };
            found.push(Process {
                resident: kib("VmRSS:")?,
                most: kib("VmHWM:")?,
            });
        }
    }
    Ok(found)
}
