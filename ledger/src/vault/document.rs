//! Where the vault's documents are kept whole: in files, or where several ledgers reach them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::kek::Kek;
use super::tenant::TenantKeys;
use super::{TEXTS, Vault, VaultError, file, private_file};

/// How often a change is made anew on what another ledger put there meanwhile.
pub(super) const TRIES_MAX: usize = 16;

/// A document as it is kept.
pub struct Document {
    /// Its name.
    pub name: String,
    /// Another one after every change.
    pub version: u64,
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Keeps documents, each authenticated as a whole by who writes it.
pub trait Documents: Send + Sync {
    /// Those documents of the named ones that are there in another version than the one known.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError>;

    /// Puts a document in the place of the version known: its new version, or none where that is not there any more.
    ///
    /// # Errors
    /// Where it cannot be written; it may be there all the same.
    fn replace(
        &self,
        name: &str,
        known: Option<u64>,
        bytes: &[u8],
    ) -> Result<Option<u64>, VaultError>;

    /// What a document is called where something is wrong with it.
    fn path(&self, name: &str) -> PathBuf;

    /// Whether others change them as well.
    fn is_shared(&self) -> bool;
}

/// A document that was put back as it was has keys and secrets that are gone.
pub(super) fn put_back(path: PathBuf) -> VaultError {
    VaultError::Tampered {
        path,
        what: "it is older than what was read before".to_owned(),
    }
}

/// Files of one process, which read what they wrote.
pub(super) struct Files(pub(super) PathBuf);

impl Documents for Files {
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError> {
        let mut found = Vec::new();
        for (name, _) in known.iter().filter(|(_, version)| version.is_none()) {
            if let Some(bytes) = private_file::read(&self.path(name), file::BYTES_MAX)? {
                found.push(Document {
                    name: (*name).to_owned(),
                    version: 0,
                    bytes,
                });
            }
        }
        Ok(found)
    }

    fn replace(&self, name: &str, _: Option<u64>, bytes: &[u8]) -> Result<Option<u64>, VaultError> {
        let path = self.path(name);
        if let Some(dir) = path.parent().filter(|dir| *dir != self.0) {
            private_file::make_dir(dir)?;
        }
        // What is not kept any more may be a key that was destroyed.
        private_file::replace_and_wipe(&path, bytes)?;
        Ok(Some(0))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// Documents that are looked at: what is put among them stays in memory.
struct Unwritten(Box<dyn Documents>);

impl Documents for Unwritten {
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError> {
        self.0.newer(known)
    }

    fn replace(&self, _: &str, known: Option<u64>, _: &[u8]) -> Result<Option<u64>, VaultError> {
        Ok(known.or(Some(0)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
}

/// A document that was read, verified and understood. It lies under one key as a whole, with all that it holds: who changes it
/// stays with that one, and a start moves it to its own first.
pub(super) struct Kept<T> {
    pub(super) content: T,
    /// The keys, that one first; none while there is no document.
    under: Option<Kek>,
    name: &'static str,
    version: Option<u64>,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    pub(super) fn nothing(name: &'static str) -> Self
    where
        T: Default,
    {
        Self {
            content: T::default(),
            under: None,
            name,
            version: None,
        }
    }

    pub(super) fn known(&self) -> (&str, Option<u64>) {
        (self.name, self.version)
    }

    /// The keys, the one it lies under first; none while there is no document.
    pub(super) fn under(&self) -> Option<&Kek> {
        self.under.as_ref()
    }

    /// Takes in the one of them that is newer.
    pub(super) fn take(
        &mut self,
        newer: &[Document],
        documents: &dyn Documents,
        kek: &Kek,
    ) -> Result<(), VaultError> {
        if let Some(newer) = newer.iter().find(|it| it.name == self.name) {
            if Some(newer.version) < self.version {
                return Err(put_back(documents.path(self.name)));
            }
            let path = documents.path(self.name);
            let (content, under) = file::open(&path, kek, &newer.bytes)?;
            (self.content, self.under) = (content, Some(under));
            self.version = Some(newer.version);
        }
        Ok(())
    }

    /// Puts `next`, all of which lies under the first of these keys, in its place, unless another ledger did; whether it is there.
    pub(super) fn replace(
        &mut self,
        next: T,
        documents: &dyn Documents,
        kek: &Kek,
    ) -> Result<bool, VaultError> {
        let whole = file::sealed(&documents.path(self.name), kek, &next)?;
        let version = documents.replace(self.name, self.version, &whole)?;
        if version.is_some() {
            (self.content, self.version, self.under) = (next, version, Some(kek.clone()));
        }
        Ok(version.is_some())
    }
}

impl Vault {
    /// Opens the vault in `dir`, which is made if absent, and verifies it.
    ///
    /// # Errors
    /// [`VaultError::WrongKek`] and [`VaultError::Tampered`].
    pub fn open(dir: &Path, kek: Kek) -> Result<Vault, VaultError> {
        private_file::make_dir(dir)?;
        for dir in [dir.to_owned(), dir.join(TEXTS)] {
            private_file::discard_all_unfinished(&dir)?;
        }
        Self::over(Box::new(Files(dir.to_owned())), kek)
    }

    /// The vault in `dir` for who only looks: what they change is in memory, and nothing is made.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn look(dir: &Path, kek: Kek) -> Result<Vault, VaultError> {
        Self::look_over(Box::new(Files(dir.to_owned())), kek)
    }

    /// The same of these documents.
    ///
    /// # Errors
    /// As [`Vault::over`].
    pub fn look_over(documents: Box<dyn Documents>, kek: Kek) -> Result<Vault, VaultError> {
        Self::opened_over(Box::new(Unwritten(documents)), kek)
    }

    /// Opens the vault that these documents make, verifies it, and writes what lies under a key before the first anew under the first.
    ///
    /// # Errors
    /// The same, or that they cannot be read or written.
    pub fn over(documents: Box<dyn Documents>, kek: Kek) -> Result<Vault, VaultError> {
        let vault = Self::opened_over(documents, kek)?;
        vault.rewrap()?;
        Ok(vault)
    }

    fn opened_over(documents: Box<dyn Documents>, kek: Kek) -> Result<Vault, VaultError> {
        let vault = Self {
            documents,
            kek,
            state: Default::default(),
        };
        vault.take_newer(&mut vault.state())?;
        Ok(vault)
    }

    /// Takes in what other ledgers changed.
    ///
    /// # Errors
    /// Where it cannot be read now, or is not what was written.
    pub fn refresh(&self) -> Result<(), VaultError> {
        match self.documents.is_shared() {
            true => self.take_newer(&mut self.state()),
            false => Ok(()),
        }
    }

    pub(super) fn take_newer(&self, state: &mut super::State) -> Result<(), VaultError> {
        let mut known = vec![state.credentials.known(), state.tenants.known()];
        known.extend(state.open.values().map(TenantKeys::known));
        let newer = self.documents.newer(&known)?;
        let documents = &*self.documents;
        state.credentials.take(&newer, documents, &self.kek)?;
        state.tenants.take(&newer, documents, &self.kek)?;
        self.take_texts(state, &newer)
    }

    /// Changes the state by `change`, which says whether what it made is there, on the newest that there is.
    pub(super) fn changed<T>(
        &self,
        state: &mut super::State,
        mut change: impl FnMut(&mut super::State) -> Result<Option<T>, VaultError>,
    ) -> Result<T, VaultError> {
        for _ in 0..TRIES_MAX {
            if self.documents.is_shared() {
                self.take_newer(state)?;
            }
            if let Some(changed) = change(state)? {
                return Ok(changed);
            }
        }
        Err(VaultError::Away(
            "other ledgers change it all the time".to_owned(),
        ))
    }
}
