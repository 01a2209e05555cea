//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Takes lines.
pub trait Sink: Send {
    /// What people call it.
    fn name(&self) -> String;

    /// Makes ready to take lines, and says where they will begin, of a sink that can tell. `end` is where it ended when the cursor was
    /// kept: what is behind it there is not known to be whole, and goes.
    ///
    /// # Errors
    /// Where it cannot take anything.
    fn ready(&mut self, end: Option<FileEnd>) -> io::Result<Option<FileEnd>>;

    /// Takes whole lines, once it is ready, as durably as it can, and says where it ends.
    ///
    /// # Errors
    /// Then they are not known to be taken; it is made ready again first.
    fn take(&mut self, lines: &[u8]) -> io::Result<Option<FileEnd>>;
}

/// Where a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEnd {
    /// Which file.
    pub inode: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Standard output. Who reads it may see lines twice after a crash.
#[derive(Debug, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn name(&self) -> String {
        "standard output".to_owned()
    }

    fn ready(&mut self, _: Option<FileEnd>) -> io::Result<Option<FileEnd>> {
        Ok(None)
    }

    fn take(&mut self, lines: &[u8]) -> io::Result<Option<FileEnd>> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()?;
        Ok(None)
    }
}

/// A file that grows. Where it was renamed or removed, as who rotates files does, another is begun under its name; what a crash left in
/// it behind the cursor is cut off, so that each line stands in it once.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    open: Option<File>,
    /// Whether half a line at its end goes, of a file whose end no cursor knows.
    whole_lines: bool,
}

/// How each line begins.
const LINE_BEGINS: &[u8] = b"{\"leaf\":";

/// More than a line has: a leaf of 32 KiB at most, and some 100 bytes around it.
const LINE_BYTES_MAX: u64 = 64 * 1024;

impl FileSink {
    /// Lines go to the end of this file, which is made, for its owner alone, where it is absent.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: None,
            whole_lines: false,
        }
    }

    /// The same where no cursor outlives the process that says where the file ended: of what a crash left behind it, only half a line is
    /// cut off.
    #[must_use]
    pub fn of_whole_lines(self) -> Self {
        Self {
            whole_lines: true,
            ..self
        }
    }

    /// Whether the file still goes by its name.
    fn is_named(&self, file: &File) -> bool {
        let named = std::fs::metadata(&self.path).map(|about| about.ino());
        end_of(file).is_ok_and(|open| named.is_ok_and(|named| named == open.inode))
    }
}

fn end_of(file: &File) -> io::Result<FileEnd> {
    let about = file.metadata()?;
    Ok(FileEnd {
        inode: about.ino(),
        bytes: about.len(),
    })
}

/// Whether a line of ours may have been cut to this.
fn is_begun(half: &[u8]) -> bool {
    let len = half.len().min(LINE_BEGINS.len());
    half.get(..len) == LINE_BEGINS.get(..len)
}

fn sync_dir(file: &Path) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// Cuts off what stands behind the last end of a line.
fn cut_half_line(file: &mut File, bytes: u64) -> io::Result<()> {
    let from = bytes.saturating_sub(LINE_BYTES_MAX);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(LINE_BYTES_MAX).read_to_end(&mut end)?;
    let half = end.iter().rev().position(|byte| *byte == b'\n');
    let begins = half.map_or(0, |half| end.len().saturating_sub(half));
    if end.get(begins..).is_some_and(|line| !is_begun(line)) {
        return Err(io::Error::other(
            "what stands behind its last whole line is none of ours; name another file",
        ));
    }
    match half.and_then(|half| u64::try_from(half).ok()) {
        Some(0) => Ok(()),
        Some(half) => file.set_len(bytes.saturating_sub(half)),
        None if from == 0 => file.set_len(0),
        None => Err(io::Error::other("it does not end in a line of ours")),
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn ready(&mut self, end: Option<FileEnd>) -> io::Result<Option<FileEnd>> {
        if let Some(file) = self.open.take().filter(|file| self.is_named(file)) {
            let begins = end_of(&file)?;
            self.open = Some(file);
            return Ok(Some(begins));
        }
        let mut options = OpenOptions::new();
        options.append(true).read(self.whole_lines);
        options.create(true).mode(0o600);
        let is_new = !self.path.try_exists()?;
        let mut file = options.open(&self.path)?;
        if is_new {
            // The cursor counts lines in it: its name has to last as they do.
            sync_dir(&self.path)?;
        }
        let mut begins = end_of(&file)?;
        if let Some(end) = end.filter(|end| end.inode == begins.inode && end.bytes < begins.bytes) {
            file.set_len(end.bytes)?;
            begins = end;
        } else if self.whole_lines && file.metadata()?.is_file() {
            cut_half_line(&mut file, begins.bytes)?;
            begins = end_of(&file)?;
        }
        self.open = Some(file);
        Ok(Some(begins))
    }

    fn take(&mut self, lines: &[u8]) -> io::Result<Option<FileEnd>> {
        // Taken out: where this fails, the file is opened anew, and what was written of it is cut off then.
        let mut file = self.open.take().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(lines)?;
        file.sync_data()?;
        let end = end_of(&file)?;
        self.open = Some(file);
        Ok(Some(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_of_ours_is_cut_off_and_what_is_none_of_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        for (held, want) in [
            ("", Some("")),
            ("{\"leaf\":{}}\n", Some("{\"leaf\":{}}\n")),
            ("{\"leaf\":{}}\n{\"le", Some("{\"leaf\":{}}\n")),
            ("{\"leaf\":{\"h\"", Some("")),
            ("notes of somebody", None),
            ("notes of\nsomebody", None),
            ("notes of somebody\n", Some("notes of somebody\n")),
        ] {
            std::fs::write(&path, held).unwrap();
            let ready = FileSink::new(&path).of_whole_lines().ready(None);
            assert_eq!(ready.is_ok(), want.is_some(), "{held:?}: {ready:?}");
            let left = std::fs::read_to_string(&path).unwrap();
            assert_eq!(left, want.unwrap_or(held), "{held:?}");
        }
    }
}
