//! A log whose last write a crash cut short.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Bytes at the end of a group, without which it is none.
const TRAILER_BYTES: usize = 64;

/// Takes the end of the last group away, so that zeros stand there, as where a sector was never written.
///
/// # Errors
/// Where the directory holds no segment with a group.
pub fn tear(log: &Path) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(log.join("segments"))? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|it| it == "seg") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths.iter().rev() {
        let mut bytes = std::fs::read(path)?;
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            continue;
        };
        let trailer = last.checked_sub(TRAILER_BYTES - 1);
        let trailer = trailer.and_then(|from| bytes.get_mut(from..=last));
        trailer.context("a segment without a group")?.fill(0);
        return Ok(std::fs::write(path, bytes)?);
    }
    anyhow::bail!("`{}` holds nothing", log.display())
}
