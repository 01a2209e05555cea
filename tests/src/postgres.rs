//! A PostgreSQL server of the test's own, in a directory of its own, on a port of this machine: it can be stopped, killed, set
//! wrong, copied to a standby and cut off.

use std::fs::{File, Permissions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use actpass_ledger::storage::{PostgresConfig, StorageError};
use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

/// Far more than a server needs to start or stop, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where Debian has the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Small, and quick to start; whoever may reach it is who may run tests here.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
max_connections = 40
max_wal_senders = 4
max_wal_size = 256MB
autovacuum = off
log_min_messages = warning
";

/// A server, ended when it is dropped.
pub struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// One with checksums that is running, without anything in it.
    ///
    /// # Errors
    /// Where the programs of PostgreSQL are missing, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(&["--data-checksums"], "")
    }

    /// One that was made with those arguments, and set to that.
    ///
    /// # Errors
    /// As there.
    pub fn with(made: &[&str], settings: &str) -> anyhow::Result<Self> {
        let mut server = Self::nothing()?;
        let data = server.data();
        let data = data.to_str().context("a path that is no text")?;
        let given = [
            "--pgdata",
            data,
            "--username=tester",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
        ];
        ran(program("initdb")?.args(given).args(made))?;
        server.set(settings)?;
        server.resume()?;
        Ok(server)
    }

    /// A standby of this one, which follows it, and is set to that.
    ///
    /// # Errors
    /// Where it cannot be copied.
    pub fn standby(&self, name: &str, settings: &str) -> anyhow::Result<Self> {
        let mut standby = Self::nothing()?;
        let from = format!("{} application_name={name}", self.conninfo());
        ran(program("pg_basebackup")?
            .args(["--pgdata"])
            .arg(standby.data())
            .args([
                "--dbname",
                &from,
                "--write-recovery-conf",
                "--no-sync",
                "--checkpoint=fast",
            ]))?;
        standby.set(settings)?;
        standby.resume()?;
        Ok(standby)
    }

    fn nothing() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        if let Some(user) = unprivileged()? {
            chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        // Free now; whoever takes it meanwhile fails this test.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Ok(Self {
            dir,
            port,
            server: None,
        })
    }

    /// Adds settings, for the next start.
    ///
    /// # Errors
    /// Where its directory cannot be written.
    pub fn set(&mut self, settings: &str) -> anyhow::Result<()> {
        let file = self.data().join("postgresql.conf");
        let mut file = File::options().append(true).open(file)?;
        writeln!(file, "{SETTINGS}port = {}\n{settings}", self.port)?;
        Ok(())
    }

    /// Has it show a certificate, and let in by TLS and a password only who does not come as the tests do; for the next start.
    ///
    /// # Errors
    /// Where its directory cannot be written.
    pub fn secure(&mut self, certificate: &str, key: &str) -> anyhow::Result<()> {
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            (
                "pg_hba.conf",
                "hostssl all ledger 127.0.0.1/32 scram-sha-256\nhostnossl all tester 127.0.0.1/32 trust\n",
            ),
        ] {
            let path = self.data().join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            if let Some(user) = unprivileged()? {
                chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        self.set("ssl = on")
    }

    /// Starts it again.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = program("postgres")?;
        command.arg("-D").arg(self.data());
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.server = Some(command.spawn()?);
        let begun = Instant::now();
        while self.sql("SELECT 1").is_err() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "it does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Copies all that it has, as a backup of the file system does, in place of an earlier copy; it runs again then.
    ///
    /// # Errors
    /// Where it does not end or start, or cannot be copied.
    pub fn copy(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.instead(&self.data(), &self.copied())?;
        self.resume()
    }

    /// Puts that copy in the place of what it has, and starts it.
    ///
    /// # Errors
    /// As there.
    pub fn put_back(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.instead(&self.copied(), &self.data())?;
        self.resume()
    }

    fn copied(&self) -> PathBuf {
        self.data().with_extension("copied")
    }

    fn instead(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        if to.exists() {
            std::fs::remove_dir_all(to)?;
        }
        ran(Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
    }

    /// Ends it at once, as `pg_ctl stop -m immediate` does: nothing is written any more.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGQUIT)?;
        self.ended()
    }

    /// Kills all of its processes at the same time.
    ///
    /// # Errors
    /// Where they do not end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let all = self.processes()?;
        for process in &all {
            // One may have ended by itself since.
            kill(*process, Signal::SIGKILL).ok();
        }
        self.ended()?;
        // Its children are not ours, and a new start waits for their shared memory to be gone.
        let begun = Instant::now();
        while all.iter().any(|process| runs(*process)) {
            ensure!(begun.elapsed() < PATIENCE, "killed processes that stay");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops all its processes where they are, or lets them go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let signal = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        for process in self.processes()? {
            kill(process, signal).ok();
        }
        Ok(())
    }

    /// Makes a standby a server of its own.
    ///
    /// # Errors
    /// Where it does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.sql("SELECT pg_promote()").map(drop)
    }

    /// Its answer to a statement, columns separated by `|`.
    ///
    /// # Errors
    /// Where it says no, with what it says.
    pub fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let output = ran(program("psql")?
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .args(["--dbname", &self.conninfo(), "--command", statement]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What a ledger needs to reach it.
    ///
    /// # Errors
    /// Never, as it is on this machine.
    pub fn config(&self) -> Result<PostgresConfig, StorageError> {
        config_at(self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn conninfo(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=tester dbname=postgres connect_timeout=5",
            self.port
        )
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let server = self.server.as_ref().context("it does not run")?;
        Ok(Pid::from_raw(i32::try_from(server.id())?))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    /// The server and its children.
    fn processes(&self) -> anyhow::Result<Vec<Pid>> {
        let pid = self.pid()?;
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children)?;
        let children = children.split_whitespace().filter_map(|it| it.parse().ok());
        Ok(std::iter::once(pid)
            .chain(children.map(Pid::from_raw))
            .collect())
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.wait()?;
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            // One that was stopped where it was ends only once it goes on.
            self.freeze(false).ok();
            if let Err(error) = self.stop() {
                println!("a PostgreSQL of a test is left: {error:#}");
            }
        }
    }
}

/// A server on that port of this machine.
///
/// # Errors
/// Never.
pub fn config_at(port: u16) -> Result<PostgresConfig, StorageError> {
    let url = format!("postgresql://tester@127.0.0.1:{port}/postgres");
    PostgresConfig::parse(&url, None, None)
}

fn runs(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // One that nobody waits for stays as a zombie.
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// One of its programs, as a user who may run it: it refuses root.
fn program(name: &str) -> anyhow::Result<Command> {
    let path = newest()?.join("bin").join(name);
    let mut command = match unprivileged()? {
        None => Command::new(path),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .args(["--clear-groups", "--"])
                .arg(path);
            command
        }
    };
    command
        .current_dir("/")
        .env("LC_ALL", "C")
        .env_remove("PGHOST");
    Ok(command)
}

fn unprivileged() -> anyhow::Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    User::from_name("nobody")?
        .map(Some)
        .context("there is no user `nobody` to run PostgreSQL as")
}

fn newest() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let versions = versions.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    match versions.max() {
        Some(version) if version >= 15 => Ok(Path::new(VERSIONS).join(version.to_string())),
        _ => bail!("there is no PostgreSQL of version 15 or later in {VERSIONS}; run `make setup`"),
    }
}

fn ran(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.stdin(Stdio::null()).output().context("setpriv")?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
