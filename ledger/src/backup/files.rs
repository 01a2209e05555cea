//! Files of a copy: made durable, summed up, linked, and taken away so that no key stays.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use actpass_core::hash::hex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use super::manifest::FileIn;

/// Bytes read at a time.
const PART_BYTES: usize = 256 * 1024;

/// The path without links, as far as it is there.
pub(super) fn real(path: &Path) -> Result<PathBuf, BackupError> {
    let whole = std::path::absolute(path).map_err(failed(path, "name"))?;
    let mut there = whole.as_path();
    loop {
        match (there.canonicalize(), there.parent()) {
            (Ok(found), _) => {
                let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
                return Ok(found.join(rest));
            }
            (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => there = above,
            (Err(error), _) => return Err(failed(path, "find")(error)),
        }
    }
}

pub(super) fn make_dir(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed(path, "make directory"))
}

/// Names of what is in a directory, sorted.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let mut names = list().map_err(failed(dir, "list"))?;
    names.sort();
    Ok(names)
}

/// Paths of all files below a directory, sorted.
pub(super) fn tree(dir: &Path) -> Result<Vec<String>, BackupError> {
    let mut all = Vec::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        for name in names(&dir.join(&below))? {
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            // A link is a file here, wherever it leads.
            match is_dir(&dir.join(&path)) {
                true => open.push(path),
                false => all.push(path),
            }
        }
    }
    all.sort();
    Ok(all)
}

/// Copies a file, durably; what it is.
pub(super) fn copy(from: &Path, to: &Path) -> Result<FileIn, BackupError> {
    let mut source = File::open(from).map_err(failed(from, "open"))?;
    let mut target = create(to)?;
    let file = through(&mut source, from, &mut |part| {
        target.write_all(part).map_err(failed(to, "write"))
    })?;
    target.sync_all().map_err(failed(to, "sync"))?;
    Ok(file)
}

/// Copies a file that somebody writes to, in place of an earlier copy. What was read of it is durable where it comes from.
pub(super) fn copy_again(from: &Path, to: &Path) -> Result<u64, BackupError> {
    remove(to)?;
    let file = copy(from, to)?;
    let synced = File::open(from).and_then(|source| source.sync_data());
    synced.map_err(failed(from, "sync"))?;
    Ok(file.bytes)
}

/// Gives a file of a copy before another name in this one, where it is still what it was; whether it did.
pub(super) fn link(from: &Path, to: &Path, known: &FileIn) -> Result<bool, BackupError> {
    // What was changed there is copied anew, and what cannot be linked on this file system.
    match sum(from) {
        Ok(found) if found == *known => Ok(fs::hard_link(from, to).is_ok()),
        _ => Ok(false),
    }
}

/// Writes a new file, durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    let mut file = create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(failed(path, "write"))
}

/// All of a small file, none where there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BackupError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read")(error)),
    }
}

pub(super) fn sum(path: &Path) -> Result<FileIn, BackupError> {
    let mut file = File::open(path).map_err(failed(path, "open"))?;
    through(&mut file, path, &mut |_| Ok(()))
}

fn through(
    file: &mut File,
    path: &Path,
    each: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<FileIn, BackupError> {
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let mut buffer = Zeroizing::new(vec![0; PART_BYTES]);
    loop {
        let read = file.read(&mut buffer).map_err(failed(path, "read"))?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            let sha256 = hex(&<[u8; 32]>::from(hash.finalize()));
            return Ok(FileIn { bytes, sha256 });
        }
        hash.update(part);
        bytes = bytes.saturating_add(read as u64);
        each(part)?;
    }
}

fn create(path: &Path) -> Result<File, BackupError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(failed(path, "create"))
}

pub(super) fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Takes a copy away. Its vault is written over first: it may hold keys of texts that were erased since. Segments may have
/// another name in a copy that stays, and are only unlinked.
pub(super) fn remove_copy(dir: &Path) -> Result<(), BackupError> {
    if !dir.exists() {
        return Ok(());
    }
    let vault = dir.join("vault");
    if is_dir(&vault) {
        for name in tree(&vault)? {
            let path = vault.join(name);
            wipe(&path).map_err(failed(&path, "write over"))?;
        }
    }
    fs::remove_dir_all(dir).map_err(failed(dir, "remove"))?;
    dir.parent().map_or(Ok(()), sync_dir)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_dir())
}

fn wipe(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let mut file = options.open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(failed(dir, "sync"))
}

/// Makes all names in and below a directory durable.
pub(super) fn sync_all_dirs(dir: &Path) -> Result<(), BackupError> {
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        sync_dir(&next)?;
        let below = names(&next)?.into_iter().map(|name| next.join(name));
        open.extend(below.filter(|path| path.is_dir()));
    }
    Ok(())
}

pub(super) fn failed(path: &Path, did: &'static str) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io {
        path: path.to_path_buf(),
        did,
        source,
    }
}
