//! Small files that only their owner may read, written so that a crash leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Why a private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// Others could read or change it.
    #[error("`{path}` has mode {mode:03o} and can be read by others; run `chmod 600 {path}`")]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs neither to this user nor to root.
    #[error("`{path}` belongs to user {owner}; it must belong to the user who runs this")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is a link.
    #[error("`{path}` is a link, and where that leads others may decide; name the file itself")]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// It is there already.
    #[error("`{path}` exists already and was left as it is")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than such a file can be.
    #[error("`{path}` is larger than {max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// The system refused.
    #[error("{did} `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        did: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Reads a whole file, none if there is none. Refuses one that others may read.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateFileError> {
    match File::open(path) {
        Ok(file) => opened(path, file, max).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read")(error)),
    }
}

/// The same of one that somebody names who writes it anew, too: a link is refused.
pub(crate) fn read_own(
    path: &Path,
    max: u64,
) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateFileError> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.read(true).custom_flags(flags.bits().cast_signed());
    match options.open(path) {
        Ok(file) => opened(path, file, max).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            let path = path.to_path_buf();
            Err(PrivateFileError::Link { path })
        }
        Err(error) => Err(failed(path, "read")(error)),
    }
}

fn opened(path: &Path, file: File, max: u64) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let failed = failed(path, "read");
    let about = file.metadata().map_err(&failed)?;
    let (path, mode) = (path.to_path_buf(), about.mode() & 0o777);
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Loose { path, mode });
    }
    let owner = about.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(PrivateFileError::Foreign { path, owner });
    }
    if about.len() > max {
        return Err(PrivateFileError::TooLarge { path, max });
    }
    // All at once, as a vector that grows leaves copies of the secret behind.
    let size = usize::try_from(about.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    let read = file.take(about.len()).read_to_end(&mut bytes);
    read.map_err(failed)?;
    Ok(bytes)
}

/// Makes a directory for private files, mode 0700.
pub(crate) fn make_dir(path: &Path) -> Result<(), PrivateFileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed(path, "make directory"))
}

/// Gives a file another name, durably. One that has that name already is replaced.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), PrivateFileError> {
    fs::rename(from, to).map_err(failed(from, "rename"))?;
    sync_dir(to)
}

/// Puts a file in the place of the one that may be there. One process at a time does this.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    discard_unfinished(path)?;
    let unfinished = unfinished(path, UNFINISHED);
    write_synced(&unfinished, bytes)?;
    fs::rename(&unfinished, path).map_err(failed(path, "replace"))?;
    sync_dir(path)
}

/// Takes away what a crash left of a [`replace`], with zeros over it: it may hold keys that were destroyed since.
pub(crate) fn discard_unfinished(path: &Path) -> Result<(), PrivateFileError> {
    discard(&unfinished(path, UNFINISHED))
}

/// The same of all files of a directory, where there is one.
pub(crate) fn discard_all_unfinished(dir: &Path) -> Result<(), PrivateFileError> {
    let files = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.map_err(failed(dir, "read"))?,
    };
    for file in files {
        let file = file.map_err(failed(dir, "read"))?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(&format!(".{UNFINISHED}")) {
            discard(&file.path())?;
        }
    }
    Ok(())
}

fn discard(path: &Path) -> Result<(), PrivateFileError> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.write(true).custom_flags(flags.bits().cast_signed());
    // What cannot be opened, as a link, has nothing of ours to wipe.
    if let Ok(file) = options.open(path) {
        wipe(&file, path, 1);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Writes zeros over a file that has at most so many names left; one with more is somebody's copy as well, and stays.
fn wipe(mut file: &File, path: &Path, names_max: u64) {
    let mut wiped = || {
        let about = file.metadata()?;
        if about.nlink() > names_max {
            return Ok(false);
        }
        let length = usize::try_from(about.len()).unwrap_or_default();
        file.write_all(&vec![0; length])?;
        file.sync_all().map(|()| true)
    };
    // The new file is in its place whatever comes of this.
    match wiped() {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            path = %path.display(),
            "The file before has another name as well, under which it keeps the keys it had"
        ),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "Old keys could not be written over; their file is gone");
        }
    }
}

/// [`replace`], and writes zeros over what the old file held: where the disk writes in place, that is gone too.
pub(crate) fn replace_and_wipe(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let old = match OpenOptions::new().write(true).open(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(path, "open")(error)),
    };
    replace(path, bytes)?;
    if let Some(old) = old {
        wipe(&old, path, 0);
    }
    Ok(())
}

/// [`replace`] of a file that somebody names: a link is refused.
pub(crate) fn replace_own(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    not_a_link(path)?;
    replace(path, bytes)
}

/// The same, and writes zeros over what the old file held.
pub(crate) fn replace_own_and_wipe(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    not_a_link(path)?;
    replace_and_wipe(path, bytes)
}

fn not_a_link(path: &Path) -> Result<(), PrivateFileError> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.file_type().is_symlink() => {
            let path = path.to_path_buf();
            Err(PrivateFileError::Link { path })
        }
        _ => Ok(()),
    }
}

/// Keeps others who ask for it from changing the files of its directory, until the answer is dropped.
pub(crate) fn lock_dir_of(path: &Path) -> Result<File, PrivateFileError> {
    let dir = dir_of(path);
    let failed = failed(dir, "lock");
    let file = File::open(dir).map_err(&failed)?;
    let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive);
    locked.map_err(|errno| failed(errno.into()))?;
    Ok(file)
}

/// Makes a file that must not exist; of several processes that try at once, one succeeds.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| {
        failed(path, "draw randomness for")(io::Error::other(error.to_string()))
    })?;
    let unfinished = unfinished(path, &format!("{:016x}", u64::from_le_bytes(random)));
    write_synced(&unfinished, bytes)?;
    // A link, unlike a rename, does not take the place of a file that is there.
    let linked = fs::hard_link(&unfinished, path);
    let removed = fs::remove_file(&unfinished);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(PrivateFileError::Exists {
                path: path.to_path_buf(),
            });
        }
        other => other.map_err(failed(path, "create"))?,
    }
    removed.map_err(failed(&unfinished, "remove"))?;
    sync_dir(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed(path, "create"))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(failed(path, "write"))
}

fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn sync_dir(path: &Path) -> Result<(), PrivateFileError> {
    let dir = dir_of(path);
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(failed(dir, "sync"))
}

/// Behind the name of a file that is not whole yet.
const UNFINISHED: &str = "new";

fn unfinished(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{suffix}"))
}

fn failed(path: &Path, did: &'static str) -> impl Fn(io::Error) -> PrivateFileError {
    move |source| PrivateFileError::Io {
        path: path.to_path_buf(),
        did,
        source,
    }
}
