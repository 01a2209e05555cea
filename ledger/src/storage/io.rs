//! The file operations of the segment storage, behind a seam through which tests break them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, FlockOperation};

use super::StorageError;

/// A file system, as far as the segment storage needs one.
pub trait Io: Send + Sync {
    /// Makes a directory, mode 0700, and those above it.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn IoFile>>;

    /// Makes a new file, mode 0600; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>>;

    /// Gives a file another name, taking the place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes an exclusive lock, held until the answer is dropped.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it, [`StorageError::Io`] else.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading what the disk has, as far as the kernel lets one: for recovery.
    Recover,
    /// Reading and writing.
    Write,
}

/// An open file.
pub trait IoFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; `UnexpectedEof` when the file ends before.
    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves blocks for the first `size` bytes and makes the file at least that long.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    fn resize(&self, size: u64) -> io::Result<()>;

    /// Makes content, and the metadata needed to read it, durable.
    fn fdatasync(&self) -> io::Result<()>;
}

/// The system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIo;

impl Io for SystemIo {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn IoFile>> {
        let write = access == Access::Write;
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        // After a failed fsync the page cache may show bytes the disk does not have (fsyncgate, 2018), so it is asked
        // to forget them. Only here: the first write to a page that is not in the cache waits for a read of it.
        if access == Access::Recover
            && let Err(errno) = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
        {
            tracing::debug!(%errno, path = %path.display(), "Page cache kept");
        }
        Ok(Box::new(SystemFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Box::new(SystemFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError> {
        let failed = |source| StorageError::Io {
            path: path.to_path_buf(),
            did: "lock",
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(path).ok();
                return Err(StorageError::Locked {
                    path: path.to_path_buf(),
                    pid: pid.and_then(|text| text.trim().parse().ok()),
                });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        // Told to whoever is refused, and to nobody else: the lock itself is the kernel's.
        file.set_len(0).map_err(failed)?;
        let pid = format!("{}\n", std::process::id());
        file.write_all_at(pid.as_bytes(), 0).map_err(failed)?;
        Ok(Box::new(file))
    }
}

struct SystemFile(File);

impl IoFile for SystemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, size) {
            // Some file systems cannot; writing the zeros then reserves the blocks.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(size),
            other => Ok(other?),
        }
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn fdatasync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}
