//! A directory, a policy and a state of one user's own, to run `actpass` in as a person would.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};

use crate::actpass;

/// Manifests of an agent that may read one shop.
pub const SHOP: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions:
    - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: reader}
spec:
  agentId: reader
  owner: owner@example.com
  purpose: Read the shop
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: reads}
spec:
  targetRefs: [{kind: Passport, name: reader}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

/// The same, but that the agent's reads are denied.
pub fn closed_shop() -> String {
    SHOP.replace("decision: Allow", "decision: Deny")
}

/// Who runs a test's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The id, of the user and the group.
    pub uid: u32,
}

impl User {
    /// The one who runs the tests.
    pub fn own() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Whether it is the superuser.
    pub fn is_root(self) -> bool {
        self.uid == 0
    }
}

/// The users to run as: root, nobody and an ordinary one where we are root, else ourselves; what that leaves out is
/// printed.
pub fn users() -> Vec<User> {
    let own = User::own();
    if own.is_root() && has_all_ids() {
        return [0, 65534, 1000].map(|uid| User { uid }).into();
    }
    println!("LEFT OUT: other users, since only root of the machine can become them; run as root");
    vec![own]
}

/// Whether our user namespace knows every id, as that of the machine does.
pub fn has_all_ids() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Such a directory.
pub struct Home {
    dir: tempfile::TempDir,
    /// Whose it is.
    pub user: User,
}

impl Home {
    /// Makes one with `policy` as `policy.yaml`, and `actpass` where that user can run it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(user: User, policy: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let home = Self { dir, user };
        home.install(&actpass())?;
        home.write("policy.yaml", policy)?;
        chown(home.path(), Some(user.uid), Some(user.uid))?;
        Ok(home)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a program here, since that of a build may lie where only its owner may look.
    ///
    /// # Errors
    /// Where it cannot be copied.
    pub fn install(&self, program: &Path) -> anyhow::Result<PathBuf> {
        let name = program.file_name().unwrap_or_default();
        let here = self.path().join(name);
        // A link is free; it needs the same file system.
        if fs::hard_link(program, &here).is_err() {
            fs::copy(program, &here)?;
        }
        Ok(here)
    }

    /// Writes a file of the user's.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, content)?;
        chown(&path, Some(self.user.uid), Some(self.user.uid))?;
        Ok(path)
    }

    /// A program as this user, in this directory.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("ACTPASS_STATE_DIR", self.path().join("state"))
            .env("ACTPASS_LOG", "error")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null());
        if rustix::process::geteuid().as_raw() != self.user.uid {
            command.uid(self.user.uid).gid(self.user.uid);
        }
        command
    }

    /// `actpass` with these arguments.
    pub fn actpass(&self, args: &[&str]) -> Command {
        let mut command = self.command(self.path().join("actpass"));
        command.args(args);
        command
    }

    /// Stores a credential by `actpass credentials put NAME` and more arguments.
    ///
    /// # Errors
    /// Where it is not stored.
    pub fn store(&self, name: &str, args: &[&str], secret: &str) -> anyhow::Result<()> {
        let put = [&["credentials", "put", name], args].concat();
        let mut command = self.actpass(&put);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().context("standard input")?;
        { stdin }.write_all(secret.as_bytes())?;
        ensure!(child.wait()?.success(), "`{name}` is not stored");
        Ok(())
    }

    /// `actpass run` of a command under the policy.
    pub fn run(&self, program: &[&str]) -> Command {
        let mut command = self.actpass(&["run", "-f", "policy.yaml", "--"]);
        command.args(program);
        command
    }

    /// `actpass run` of a shell script, ended.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn script(&self, script: &str) -> anyhow::Result<Output> {
        Ok(self.run(&["sh", "-c", script]).output()?)
    }

    /// All bytes of the log, as text as far as they are text.
    ///
    /// # Errors
    /// Where there is none.
    pub fn log(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        for entry in fs::read_dir(self.path().join("state/log/segments"))? {
            text.push_str(&String::from_utf8_lossy(&fs::read(entry?.path())?));
        }
        Ok(text)
    }
}

/// The records in a log's bytes, in order: every leaf's record with `kind`, `seq`, `stream` and `body`.
pub fn records(log: &str) -> Vec<serde_json::Value> {
    // A leaf begins with what was decided on it, or with where it stands.
    let starts = |mark: &str| {
        log.match_indices(mark)
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    let mut starts = [starts("{\"d\":{"), starts("{\"h\":{\"log\"")].concat();
    starts.sort_unstable();
    starts
        .into_iter()
        .filter_map(|at| {
            let leaf = serde_json::Deserializer::from_str(log.get(at..)?);
            let leaf = leaf.into_iter::<serde_json::Value>().next()?.ok()?;
            leaf.get("r")
                .filter(|it| it.get("stream").is_some())
                .cloned()
        })
        .collect()
}

/// Both outputs of a program.
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
