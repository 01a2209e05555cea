//! Exchange of the key encryption key: what lies under a key before the first is written anew under the first.
//!
//! *Flow.* At the start, where more than one key is given: the keys of each tenant's texts, the credentials, and last the tenants; each a
//! document that is replaced as a whole. *What a crash leaves.* Some documents under the one key and some under the other, each of which
//! is given; the next start goes on. The tenants lie under the first only once all that belongs to them does, so that a start with that
//! key alone is refused before. *Several ledgers.* Whoever loses to another's change looks again. Who changes a document stays with the key
//! it lies under ([`Kept`](super::document::Kept)), so one that was given the keys in another order, and goes on for a while, puts nothing
//! back under its own first. So each has to be given the next key, behind the one in use, before one of them is given it as the first.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::document::TRIES_MAX;
use super::tenant::{key_aad, texts_document};
use super::{Credentials, Kek, State, Stored, Vault, VaultError, cipher, credential_aad};

impl Vault {
    /// Writes what lies under another key anew under the first. Keys of texts that cannot be read are left as they are, and that is said.
    ///
    /// # Errors
    /// Where a document cannot be written, or holds a key that none of those given opens.
    pub(super) fn rewrap(&self) -> Result<(), VaultError> {
        let mut state = self.state();
        if !self.kek.has_others() {
            return self.opens(&state, &self.kek);
        }
        let (mut done, mut written) = (BTreeSet::new(), 0_usize);
        for _ in 0..TRIES_MAX {
            written = written.saturating_add(self.rewrap_all_texts(&state, &mut done)?);
            let again = self.changed(&mut state, |state| self.rewrap_credentials(state))?;
            written = written.saturating_add(usize::from(again));
            let again = self.changed(&mut state, |state| self.rewrap_tenants(state, &done))?;
            let Some(again) = again else { continue };
            written = written.saturating_add(usize::from(again));
            if written > 0 {
                tracing::info!(documents = written, kek = %self.kek.id(), "The vault lies under another key encryption key now");
            }
            return Ok(());
        }
        Err(VaultError::Away(
            "other ledgers make tenants all the time".to_owned(),
        ))
    }

    /// Makes sure that the keys given open each key of credentials and tenants, as a start does. Changes nothing.
    ///
    /// # Errors
    /// The first that none of them opens.
    pub fn check_keys(&self) -> Result<(), VaultError> {
        self.opens(&self.state(), &self.kek)
    }

    /// Makes sure that all of it lies under the first key alone, so that the others can go.
    ///
    /// # Errors
    /// The first document that does not.
    pub fn lies_under_first(&self) -> Result<(), VaultError> {
        let (state, first) = (self.state(), self.kek.newest());
        self.opens(&state, &first)?;
        for tenant in state.tenants.content.tenants.keys() {
            let (sealed, _) = self.texts_as_kept(tenant)?;
            first
                .decrypt(&key_aad(tenant, "texts"), &sealed)
                .ok_or_else(|| {
                    self.texts_tampered(tenant, "it does not decrypt under the first key")
                })?;
        }
        let documents = [
            ("tenants.json", state.tenants.under()),
            ("credentials.json", state.credentials.under()),
        ];
        for (name, under) in documents {
            if under.is_some_and(|under| !under.has_first_of(&first)) {
                return Err(VaultError::Tampered {
                    path: self.documents.path(name),
                    what: "it lies under a key before the first".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Makes sure that one of these keys opens each key of credentials and tenants.
    fn opens(&self, state: &State, keks: &Kek) -> Result<(), VaultError> {
        for (tenant, wrapped) in &state.tenants.content.tenants {
            let digest = URL_SAFE_NO_PAD.decode(&wrapped.digest).ok();
            let opened = digest.and_then(|it| keks.decrypt(&key_aad(tenant, "digest"), &it));
            opened.ok_or_else(|| self.not_opened(keks, "tenants.json", tenant))?;
        }
        for stored in &state.credentials.content.credentials {
            self.data_key(stored, keks)?;
        }
        Ok(())
    }

    fn data_key(
        &self,
        stored: &Stored,
        keks: &Kek,
    ) -> Result<(zeroize::Zeroizing<Vec<u8>>, Kek), VaultError> {
        let aad = stored_aad(stored)?;
        let key = URL_SAFE_NO_PAD.decode(&stored.key).ok();
        let opened = key.and_then(|key| keks.decrypt(&aad, &key));
        opened.ok_or_else(|| self.not_opened(keks, "credentials.json", &stored.name))
    }

    fn not_opened(&self, keks: &Kek, document: &str, of: &str) -> VaultError {
        VaultError::NotUnder {
            path: self.documents.path(document),
            of: of.to_owned(),
            given: keks.ids().join("`, `"),
        }
    }

    /// Of all tenants that are not done yet; how many lay under another key.
    fn rewrap_all_texts(
        &self,
        state: &State,
        done: &mut BTreeSet<String>,
    ) -> Result<usize, VaultError> {
        let mut written = 0_usize;
        for tenant in state.tenants.content.tenants.keys() {
            if !done.insert(tenant.clone()) {
                continue;
            }
            match self.rewrap_texts(tenant) {
                Ok(again) => written = written.saturating_add(usize::from(again)),
                Err(error @ VaultError::Tampered { .. }) => {
                    tracing::error!(%error, %tenant, "Keys of texts stay under the key encryption key they lie under");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Whether they lay under another key.
    fn rewrap_texts(&self, tenant: &str) -> Result<bool, VaultError> {
        let aad = key_aad(tenant, "texts");
        for _ in 0..TRIES_MAX {
            let (sealed, version) = self.texts_as_kept(tenant)?;
            let opened = self.kek.decrypt(&aad, &sealed);
            let (text, under) =
                opened.ok_or_else(|| self.texts_tampered(tenant, "it does not decrypt"))?;
            if under.has_first_of(&self.kek) {
                return Ok(false);
            }
            let again = cipher::encrypt(self.kek.bytes(), &aad, &text)?;
            let name = texts_document(tenant);
            if self
                .documents
                .replace(&name, Some(version), &again)?
                .is_some()
            {
                return Ok(true);
            }
        }
        Err(VaultError::Away(
            "other ledgers change it all the time".to_owned(),
        ))
    }

    fn texts_as_kept(
        &self,
        tenant: &str,
    ) -> Result<(zeroize::Zeroizing<Vec<u8>>, u64), VaultError> {
        let mut found = self.documents.newer(&[(&texts_document(tenant), None)])?;
        let found = found.pop();
        let found = found.ok_or_else(|| self.texts_tampered(tenant, "it is not there"))?;
        Ok((found.bytes, found.version))
    }

    /// Whether they lay under another key; none inside where there are tenants whose texts are not done. None where another ledger
    /// changed them meanwhile.
    fn rewrap_tenants(
        &self,
        state: &mut State,
        done: &BTreeSet<String>,
    ) -> Result<Option<Option<bool>>, VaultError> {
        let mut next = state.tenants.content.clone();
        if next.tenants.keys().any(|tenant| !done.contains(tenant)) {
            return Ok(Some(None));
        }
        let mut moved = lies_elsewhere(state.tenants.under(), &self.kek);
        for (tenant, wrapped) in &mut next.tenants {
            let aad = key_aad(tenant, "digest");
            let digest = URL_SAFE_NO_PAD.decode(&wrapped.digest).ok();
            let digest = digest.and_then(|digest| self.kek.decrypt(&aad, &digest));
            let (digest, under) =
                digest.ok_or_else(|| self.not_opened(&self.kek, "tenants.json", tenant))?;
            if !under.has_first_of(&self.kek) {
                let again = cipher::encrypt(self.kek.bytes(), &aad, &digest)?;
                wrapped.digest = URL_SAFE_NO_PAD.encode(again);
                moved = true;
            }
        }
        if !moved {
            return Ok(Some(Some(false)));
        }
        let there = state.tenants.replace(next, &*self.documents, &self.kek)?;
        Ok(there.then_some(Some(true)))
    }

    /// The same of credentials: their data keys, and so no secret, are encrypted again.
    fn rewrap_credentials(&self, state: &mut State) -> Result<Option<bool>, VaultError> {
        let mut next: Credentials = state.credentials.content.clone();
        let mut moved = lies_elsewhere(state.credentials.under(), &self.kek);
        for stored in &mut next.credentials {
            let (key, under) = self.data_key(stored, &self.kek)?;
            if !under.has_first_of(&self.kek) {
                let again = cipher::encrypt(self.kek.bytes(), &stored_aad(stored)?, &key)?;
                stored.key = URL_SAFE_NO_PAD.encode(again);
                moved = true;
            }
        }
        if !moved {
            return Ok(Some(false));
        }
        let there = state
            .credentials
            .replace(next, &*self.documents, &self.kek)?;
        Ok(there.then_some(true))
    }
}

fn lies_elsewhere(under: Option<&Kek>, kek: &Kek) -> bool {
    under.is_some_and(|under| !under.has_first_of(kek))
}

fn stored_aad(stored: &Stored) -> Result<Vec<u8>, VaultError> {
    credential_aad(
        &stored.tenant,
        &stored.name,
        stored.version,
        &stored.bindings,
    )
}
