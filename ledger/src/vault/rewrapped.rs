//! Exchange of the key encryption key: what lies under a key before the first is written anew under the first.
//!
//! *Flow.* At the start, where more than one key is given: the keys of each tenant's texts, then the tenants, then the credentials; each a
//! document that is replaced as a whole. *What a crash leaves.* Some documents under the one key and some under the other, each of which
//! is given; the next start goes on. *Several ledgers.* Whoever loses to another's change looks again, and all of them write under
//! their own first key. So each has to be given the next key, behind the one in use, before one of them is given it as the first.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::document::TRIES_MAX;
use super::tenant::{key_aad, texts_document};
use super::{Credentials, State, Vault, VaultError, cipher, credential_aad};

impl Vault {
    /// Writes what lies under another key anew under the first. What cannot be read is left as it is, and said.
    ///
    /// # Errors
    /// Where a document cannot be written.
    pub(super) fn rewrap(&self) -> Result<(), VaultError> {
        if !self.kek.has_others() {
            return Ok(());
        }
        let mut state = self.state();
        let mut written: usize = 0;
        let tenants: Vec<String> = state.tenants.content.tenants.keys().cloned().collect();
        for tenant in &tenants {
            match self.rewrap_texts(tenant) {
                Ok(again) => written = written.saturating_add(usize::from(again)),
                Err(error @ VaultError::Tampered { .. }) => {
                    tracing::error!(%error, %tenant, "Keys of texts stay under the key encryption key they lie under");
                }
                Err(error) => return Err(error),
            }
        }
        written = written.saturating_add(usize::from(
            self.changed(&mut state, |state| self.rewrap_tenants(state))?,
        ));
        written = written.saturating_add(usize::from(
            self.changed(&mut state, |state| self.rewrap_credentials(state))?,
        ));
        if written > 0 {
            tracing::info!(documents = written, kek = %self.kek.id(), "The vault lies under another key encryption key now");
        }
        Ok(())
    }

    /// Makes sure that all of it lies under the first key alone, so that the others can go.
    ///
    /// # Errors
    /// The first document that does not.
    pub fn lies_under_first(&self) -> Result<(), VaultError> {
        let state = self.state();
        for (tenant, wrapped) in &state.tenants.content.tenants {
            self.unwrap_key(tenant, "digest", &wrapped.digest)?;
            let (sealed, _) = self.texts_as_kept(tenant)?;
            let text = cipher::decrypt(self.kek.bytes(), &key_aad(tenant, "texts"), &sealed);
            text.ok_or_else(|| {
                self.texts_tampered(tenant, "it does not decrypt under the first key")
            })?;
        }
        for stored in &state.credentials.content.credentials {
            self.reveal(stored)?;
        }
        let documents = [
            ("tenants.json", state.tenants.under_first),
            ("credentials.json", state.credentials.under_first),
        ];
        match documents.iter().find(|(_, under_first)| !under_first) {
            Some((name, _)) => Err(VaultError::Tampered {
                path: self.documents.path(name),
                what: "it lies under a key before the first".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Whether they lay under another key.
    fn rewrap_texts(&self, tenant: &str) -> Result<bool, VaultError> {
        let aad = key_aad(tenant, "texts");
        for _ in 0..TRIES_MAX {
            let (sealed, version) = self.texts_as_kept(tenant)?;
            let opened = self.kek.decrypt(&aad, &sealed);
            let (text, under_first) =
                opened.ok_or_else(|| self.texts_tampered(tenant, "it does not decrypt"))?;
            if under_first {
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

    /// None where another ledger changed them meanwhile.
    fn rewrap_tenants(&self, state: &mut State) -> Result<Option<bool>, VaultError> {
        if state.tenants.under_first {
            return Ok(Some(false));
        }
        let mut next = state.tenants.content.clone();
        for (tenant, wrapped) in &mut next.tenants {
            let digest = self.unwrap_key(tenant, "digest", &wrapped.digest)?;
            let again = cipher::encrypt(
                self.kek.bytes(),
                &key_aad(tenant, "digest"),
                digest.as_ref(),
            )?;
            wrapped.digest = URL_SAFE_NO_PAD.encode(again);
        }
        let there = state.tenants.replace(next, &*self.documents, &self.kek)?;
        Ok(there.then_some(true))
    }

    /// The same of credentials: their data keys, and so no secret, are encrypted again.
    fn rewrap_credentials(&self, state: &mut State) -> Result<Option<bool>, VaultError> {
        if state.credentials.under_first {
            return Ok(Some(false));
        }
        let mut next: Credentials = state.credentials.content.clone();
        for stored in &mut next.credentials {
            let aad = credential_aad(
                &stored.tenant,
                &stored.name,
                stored.version,
                &stored.bindings,
            )?;
            let key = URL_SAFE_NO_PAD.decode(&stored.key).ok();
            let key = key.and_then(|key| self.kek.decrypt(&aad, &key));
            let (key, _) = key.ok_or_else(|| VaultError::Tampered {
                path: self.documents.path("credentials.json"),
                what: format!("credential `{}` does not decrypt", stored.name),
            })?;
            stored.key = URL_SAFE_NO_PAD.encode(cipher::encrypt(self.kek.bytes(), &aad, &key)?);
        }
        let there = state
            .credentials
            .replace(next, &*self.documents, &self.kek)?;
        Ok(there.then_some(true))
    }
}
