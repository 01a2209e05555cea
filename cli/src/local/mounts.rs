//! What the command sees of the file system: the host's, with some places covered.
//!
//! Nothing is written on the host. Contents live in memory (tmpfs), bound read-only over what they replace. Without
//! capabilities the command cannot unmount them; in a user namespace of its own making they are locked to what is
//! below (mount_namespaces(7), "Restrictions on mount namespaces").

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::plan::{OwnFile, Plan};

/// A plan's covers with all symbolic links resolved, before anything is mounted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    hidden_dirs: Vec<PathBuf>,
    hidden_files: Vec<PathBuf>,
    dirs: Vec<(PathBuf, Vec<OwnFile>)>,
    files: Vec<(PathBuf, Vec<u8>)>,
    working_dir: PathBuf,
}

/// Covers what `plan` says. Needs a mount namespace of our own and the capabilities over it.
pub(super) fn cover(plan: &Plan) -> io::Result<()> {
    let layout = Layout::resolve(plan)?;
    // Else what is mounted here would show outside.
    let everything = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, everything, NONE).map_err(on(Path::new("/")))?;
    freeze_kernel_settings()?;
    bind_files(&layout)?;
    for dir in &layout.hidden_dirs {
        tmpfs(dir, "0000", MsFlags::MS_RDONLY)?;
    }
    for (dir, files) in &layout.dirs {
        tmpfs(dir, "0755", MsFlags::empty())?;
        for file in files {
            let path = dir.join(&file.path);
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .map_err(at(&path))?;
            write_file(&path, &file.content, 0o444)?;
        }
        make_read_only(dir)?;
    }
    Ok(())
}

impl Layout {
    fn resolve(plan: &Plan) -> io::Result<Layout> {
        let mut layout = Layout {
            working_dir: canonical(&plan.working_dir)?,
            ..Layout::default()
        };
        for path in &plan.hide {
            let path = canonical(path)?;
            let list = if path.is_dir() {
                &mut layout.hidden_dirs
            } else {
                &mut layout.hidden_files
            };
            list.push(path);
        }
        for dir in &plan.dirs {
            layout
                .dirs
                .push((canonical(&dir.target)?, dir.files.clone()));
        }
        for file in &plan.files {
            match canonical(&file.target) {
                Ok(target) => layout.files.push((target, file.content.clone())),
                Err(error) if file.required => return Err(error),
                Err(_) => {}
            }
        }
        layout.refuse_hidden()?;
        Ok(layout.settle())
    }

    /// Refuses what the command needs and could not reach.
    fn refuse_hidden(&self) -> io::Result<()> {
        let dirs = self.dirs.iter().map(|(target, _)| target);
        let files = self.files.iter().map(|(target, _)| target);
        let hidden = |path: &&PathBuf| self.hidden_dirs.iter().any(|dir| path.starts_with(dir));
        match dirs.chain(files).chain([&self.working_dir]).find(hidden) {
            None => Ok(()),
            Some(path) => {
                let path = path.display();
                let text = format!("`{path}` is needed inside, but lies in a hidden directory");
                Err(io::Error::other(text))
            }
        }
    }

    /// Moves files whose target lies in a directory of ours into that directory: `/etc/resolv.conf` often leads
    /// into the one of systemd-resolved, which is covered.
    fn settle(mut self) -> Layout {
        for (target, content) in std::mem::take(&mut self.files) {
            let inside = self.dirs.iter_mut().find_map(|(dir, files)| {
                target
                    .strip_prefix(dir.as_path())
                    .ok()
                    .map(|path| (path.to_path_buf(), files))
            });
            match inside {
                Some((path, files)) => files.push(OwnFile { path, content }),
                None => self.files.push((target, content)),
            }
        }
        self
    }
}

/// Binds the layout's files over their targets, and empty ones nobody may read over hidden files.
///
/// The contents are written into a tmpfs that stays mounted for this moment only. It covers some directory, so the
/// targets are opened before, and reached through their descriptors.
fn bind_files(layout: &Layout) -> io::Result<()> {
    let shown = layout
        .files
        .iter()
        .map(|(path, content)| (path, content.as_slice(), 0o444));
    let hidden = layout
        .hidden_files
        .iter()
        .map(|path| (path, [].as_slice(), 0o000));
    let covers: Vec<(&PathBuf, &[u8], u32)> = shown.chain(hidden).collect();
    let open = |(path, ..): &(&PathBuf, &[u8], u32)| {
        let flags = i32::try_from(rustix::fs::OFlags::PATH.bits()).unwrap_or_default();
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(at(path))
    };
    let targets = covers.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let scratch = SCRATCH.iter().map(Path::new).find(|dir| dir.is_dir());
    let scratch = scratch.ok_or_else(|| io::Error::other("no /tmp, /mnt or /etc to mount over"))?;
    tmpfs(scratch, "0700", MsFlags::empty())?;
    for (index, ((path, content, mode), target)) in covers.iter().zip(&targets).enumerate() {
        let source = scratch.join(index.to_string());
        write_file(&source, content, *mode)?;
        let target = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(target));
        mount(Some(&source), target.as_str(), NONE, MsFlags::MS_BIND, NONE).map_err(on(path))?;
    }
    umount2(scratch, MntFlags::empty()).map_err(on(scratch))?;
    covers
        .iter()
        .try_for_each(|(path, ..)| make_read_only(path))
}

/// What the kernel lets its root write to change the machine itself, as container runtimes list it (OCI runtime
/// specification, `readonlyPaths`). Without a capability root still could, and the kernel would run a program named
/// there outside (core_pattern(5), cgroups' `release_agent`).
const KERNEL_SETTINGS: [&str; 6] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/sys",
];

/// Makes those read-only, with everything mounted below them.
fn freeze_kernel_settings() -> io::Result<()> {
    let present = || {
        KERNEL_SETTINGS
            .iter()
            .map(Path::new)
            .filter(|it| it.exists())
    };
    for path in present() {
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(path), path, NONE, bind, NONE).map_err(on(path))?;
    }
    let mounted = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounted.lines().filter_map(mount_point);
    let mut frozen: Vec<PathBuf> = points
        .filter(|point| present().any(|path| point.starts_with(path)))
        .collect();
    frozen.sort_unstable();
    frozen.dedup();
    frozen.iter().try_for_each(|point| make_read_only(point))
}

/// The mount point in a line of mountinfo (proc_pid_mountinfo(5), field 5, octal escapes).
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let mut parts = field.split('\\');
    let mut point = parts.next()?.to_owned();
    for part in parts {
        let (octal, rest) = part.split_at_checked(3)?;
        point.push(char::from(u8::from_str_radix(octal, 8).ok()?));
        point.push_str(rest);
    }
    Some(point.into())
}

/// Directories one of which is everywhere.
const SCRATCH: [&str; 3] = ["/tmp", "/mnt", "/etc"];

const NONE: Option<&str> = None;

/// What no mount of ours needs.
const PLAIN: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

fn tmpfs(dir: &Path, mode: &str, more: MsFlags) -> io::Result<()> {
    let options = format!("mode={mode},size={TMPFS_BYTES_MAX}");
    mount(
        Some("actpass"),
        dir,
        Some("tmpfs"),
        PLAIN | more,
        Some(options.as_str()),
    )
    .map_err(on(dir))
}

/// Bound on each tmpfs: twice what a whole plan may hold.
const TMPFS_BYTES_MAX: usize = 64 << 20;

/// Makes the topmost mount at `path` read-only.
fn make_read_only(path: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | PLAIN;
    mount(NONE, path, NONE, flags, NONE).map_err(on(path))
}

/// The mode is given to the open file, since the umask may narrow what is asked for on creation.
fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
    };
    write().map_err(at(path))
}

fn canonical(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().map_err(at(path))
}

/// Names the file in an error.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("`{path}`: {error}"))
}

fn on(path: &Path) -> impl Fn(nix::errno::Errno) -> io::Error {
    let named = at(path);
    move |errno| named(errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> OwnFile {
        OwnFile {
            path: path.into(),
            content: vec![1],
        }
    }

    #[test]
    fn files_below_a_directory_of_ours_move_into_it() {
        let layout = Layout {
            dirs: vec![
                ("/run/systemd/resolve".into(), vec![]),
                ("/run/nscd".into(), vec![]),
            ],
            files: vec![
                ("/run/systemd/resolve/stub/resolv.conf".into(), vec![1]),
                ("/run/systemd/resolve-not".into(), vec![1]),
                ("/etc/hosts".into(), vec![1]),
            ],
            ..Layout::default()
        };
        let want = Layout {
            dirs: vec![
                (
                    "/run/systemd/resolve".into(),
                    vec![file("stub/resolv.conf")],
                ),
                ("/run/nscd".into(), vec![]),
            ],
            files: vec![
                ("/run/systemd/resolve-not".into(), vec![1]),
                ("/etc/hosts".into(), vec![1]),
            ],
            ..Layout::default()
        };
        assert_eq!(layout.settle(), want);
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = "36 35 98:0 /mnt1 /sys/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some("/sys/a b\\c".into()));
        assert_eq!(mount_point("36 35 98:0 /"), None);
    }

    #[test]
    fn nothing_needed_may_lie_in_a_hidden_directory() {
        let hidden = || Layout {
            hidden_dirs: vec!["/state".into()],
            ..Layout::default()
        };
        assert!(hidden().refuse_hidden().is_ok());
        let dir = Layout {
            dirs: vec![("/state/trust".into(), vec![])],
            ..hidden()
        };
        let bound = Layout {
            files: vec![("/state/ca.pem".into(), vec![])],
            ..hidden()
        };
        let working = Layout {
            working_dir: "/state/x".into(),
            ..hidden()
        };
        let beside = Layout {
            files: vec![("/state-of/ca.pem".into(), vec![])],
            ..hidden()
        };
        assert!(
            dir.refuse_hidden()
                .unwrap_err()
                .to_string()
                .contains("`/state/trust`")
        );
        assert!(
            bound
                .refuse_hidden()
                .unwrap_err()
                .to_string()
                .contains("`/state/ca.pem`")
        );
        assert!(
            working
                .refuse_hidden()
                .unwrap_err()
                .to_string()
                .contains("`/state/x`")
        );
        assert!(beside.refuse_hidden().is_ok());
    }
}
