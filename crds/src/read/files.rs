//! Which files hold manifests, and their texts.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::of_file;
use crate::problem::Problem;
use crate::yaml::{FILE_BYTES_MAX, Place};

/// Most files of all directories together: one per resource of the largest bundle, and as many again.
const FILES_MAX: usize = 2_000;

/// The manifests that the paths name: files, and the `*.yaml` and `*.yml` of directories.
pub(super) fn files_of(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match directory(path) {
            Ok(None) => files.push(path.clone()),
            Ok(Some(found)) if found.is_empty() => {
                problems.push(of_file(
                    path,
                    START,
                    "holds no *.yaml or *.yml file; directories below are not read",
                ));
            }
            Ok(Some(found)) => files.extend(found),
            Err(error) => problems.push(of_file(path, START, format!("cannot be read: {error}"))),
        }
    }
    // A file named twice, or beside its directory, is one file.
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(std::fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
    if let Some(file) = files.get(FILES_MAX) {
        problems.push(of_file(
            file,
            START,
            format!("is one file too many; at most {FILES_MAX} are read"),
        ));
        files.truncate(FILES_MAX);
    }
    files
}

/// The manifests of a directory, sorted; or that `path` is none.
fn directory(path: &Path) -> std::io::Result<Option<Vec<PathBuf>>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(None);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let yaml = file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(Some(files))
}

/// The text of a file, which may also be a pipe; never more than is ever parsed.
///
/// # Errors
/// What is wrong with the file, and where.
pub(super) fn text_of(path: &Path) -> Result<String, (Place, String)> {
    let unreadable = |error: std::io::Error| (START, format!("cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        let what = format!("is larger than {FILE_BYTES_MAX} bytes, which is the most that is read");
        return Err((START, what));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let in_line = before.iter().rev().take_while(|byte| **byte != b'\n');
        let column = in_line.count() + 1;
        (
            Place { line, column },
            "is not UTF-8 from here on; write the file as UTF-8".to_owned(),
        )
    })
}

/// Where what is said of a whole file stands.
pub(super) const START: Place = Place { line: 1, column: 1 };
