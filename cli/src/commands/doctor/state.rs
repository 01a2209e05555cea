//! The state directory and the keys in it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::state::StateDir;

const CHECK: &str = "state";

/// Whether the directory is ours, closed to others and writable, and so are the keys.
pub(super) fn directory(state: &StateDir) -> Vec<Finding> {
    let path = state.path();
    let shown = path.display();
    if !path.exists() {
        let says = format!("`{shown}` is not there yet; the first `actpass run` makes it");
        return vec![Finding::note(CHECK, says)];
    }
    if !path.is_dir() {
        let remedy = "name another one by --state-dir, or move the file away".to_owned();
        let says = format!("`{shown}` is no directory");
        return vec![Finding::problem(CHECK, says, remedy)];
    }
    let mut findings = vec![private(CHECK, path, 0o700)];
    findings.push(match tempfile::tempfile_in(path) {
        Ok(_) => Finding::ok(CHECK, format!("`{shown}` can be written")),
        Err(error) => Finding::problem(
            CHECK,
            format!("`{shown}` cannot be written: {error}"),
            format!("run `chown -R \"$(id -un)\" {shown}`, or name another one by --state-dir"),
        ),
    });
    findings.extend(keys(state));
    findings
}

fn keys(state: &StateDir) -> Vec<Finding> {
    let kek = state.kek();
    let vault = state.vault().join("credentials.json");
    let mut findings = Vec::new();
    if kek.exists() {
        findings.push(private("kek", &kek, 0o600));
    } else if vault.exists() {
        findings.push(Finding::problem(
            "kek",
            format!("the vault is there, and its key `{}` is not", kek.display()),
            "put the key back from where it is kept; without it no credential can be read"
                .to_owned(),
        ));
    } else {
        let says = "there is no key encryption key yet; the first `actpass run` makes it";
        findings.push(Finding::note("kek", says));
    }
    match private_keys(&state.keys()) {
        Ok(keys) => findings.extend(keys.iter().map(|path| private("keys", path, 0o600))),
        Err(error) => {
            let says = format!("`{}` cannot be listed: {error}", state.keys().display());
            findings.push(Finding::problem("keys", says, None));
        }
    }
    if vault.exists() {
        findings.push(private("keys", &vault, 0o600));
    }
    findings
}

/// All private keys, also those of the log that were there before the one in force, and one that is asked for.
fn private_keys(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let list = match dir.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list?,
    };
    let paths = list.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "key"));
    paths.sort();
    Ok(paths)
}

/// Whether a file or directory belongs to us or root and has no more than these permission bits.
fn private(check: &'static str, path: &Path, most: u32) -> Finding {
    let shown = path.display();
    let about = match path.metadata() {
        Ok(about) => about,
        Err(error) => {
            return Finding::problem(
                check,
                format!("`{shown}` cannot be looked at: {error}"),
                None,
            );
        }
    };
    let (mode, owner) = (about.mode() & 0o777, about.uid());
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let says = format!("`{shown}` belongs to user {owner}");
        Finding::problem(check, says, format!("run `chown \"$(id -un)\" {shown}`"))
    } else if mode & !most & 0o777 != 0 {
        let says = format!("`{shown}` has mode {mode:03o}, so others may look into it");
        Finding::problem(check, says, format!("run `chmod {most:o} {shown}`"))
    } else {
        Finding::ok(
            check,
            format!("`{shown}` is closed to others (mode {mode:03o})"),
        )
    }
}
