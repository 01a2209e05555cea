//! The state directory: the log, the vault, the keys, and how to reach a running `actpass`.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use tempfile::NamedTempFile;

/// Where everything is kept. Nothing of it is visible inside a contained command.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// The given directory, or the user's own; made for its owner only.
    pub(crate) fn new(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match given {
            Some(path) => path,
            None => default_dir()?,
        };
        make_dir(&path)?;
        let path = path
            .canonicalize()
            .with_context(|| format!("state directory `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// The given directory, or the user's own, as it is: it may not exist.
    pub(crate) fn named(given: Option<PathBuf>) -> anyhow::Result<Self> {
        given.map_or_else(default_dir, Ok).map(Self)
    }

    /// The given directory, or the user's own, in which something was run or stored before.
    ///
    /// # Errors
    /// Where there is none: the path is mistyped, or there is nothing to show yet.
    pub(crate) fn existing(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let named = Self::named(given)?;
        if named.tenant_made()?.is_none() {
            bail!(
                "`{}` is no state directory yet; `actpass run` and `actpass credentials put` make one, --state-dir names another",
                named.0.display()
            );
        }
        Self::new(Some(named.0))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The head of the log, signed last; outside the log.
    pub(crate) fn head(&self) -> PathBuf {
        self.0.join("head")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    pub(crate) fn kek(&self) -> PathBuf {
        self.keys().join("kek")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control.json")
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.0.join("control.token")
    }

    /// Directory of the ring files.
    pub(crate) fn rings(&self) -> anyhow::Result<PathBuf> {
        let dir = self.0.join("rings");
        make_dir(&dir)?;
        Ok(dir)
    }

    /// `local/default/<id>`: the id is made once, so that another state directory is another tenant.
    pub(crate) fn tenant(&self) -> anyhow::Result<String> {
        if let Some(tenant) = self.tenant_made()? {
            return Ok(tenant);
        }
        let id = random_hex()?;
        write_private(&self.cluster_id(), &id)?;
        Ok(tenant_of(&id))
    }

    /// [`StateDir::tenant`], if it was made.
    pub(crate) fn tenant_made(&self) -> anyhow::Result<Option<String>> {
        let path = self.cluster_id();
        match fs::read_to_string(&path) {
            Ok(id) => Ok(Some(tenant_of(id.trim()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
        }
    }

    fn cluster_id(&self) -> PathBuf {
        self.0.join("cluster-id")
    }
}

fn tenant_of(id: &str) -> String {
    format!("local/default/{id}")
}

/// 128 random bits as hex.
pub(crate) fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(actpass_core::hash::hex(&bytes))
}

/// Writes a file for its owner only, whole or not at all. Until then it has a name that nobody had before, so nobody put a link there.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        // Made with mode 600, and gone again where something fails.
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("write `{}`", path.display()))
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory `{}`", path.display()))
}

fn default_dir() -> anyhow::Result<PathBuf> {
    if let Some(base) = std::env::var_os("XDG_STATE_HOME").filter(|base| !base.is_empty()) {
        return Ok(PathBuf::from(base).join("actpass"));
    }
    let home = std::env::var_os("HOME")
        .ok_or_else(|| anyhow!("neither XDG_STATE_HOME nor HOME is set; name a --state-dir"))?;
    Ok(PathBuf::from(home).join(".local/state/actpass"))
}
