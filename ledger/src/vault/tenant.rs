//! The keys of tenants: those of its texts, and one that hides action digests.
//!
//! `tenants.json` names every tenant and holds its digest key; the keys of its texts are a document of its own in `texts/`, which
//! is written when the tenant is new and at each erasure.

use std::collections::{BTreeMap, HashMap};

use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::sha256;
use actpass_core::state::Erasure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cipher::{self, Key};
use super::document::put_back;
use super::texts::{About, Doomed, KeyName, TextKeys};
use super::{Document, Kek, State, TENANTS_MAX, TEXTS, Vault, VaultError, check_name, hex};

/// Keys of texts that are kept ready: making one takes a hundred hashes, and an agent writes about few subjects at a time.
const READY_MAX: usize = 1_024;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenants {
    pub(super) tenants: BTreeMap<String, WrappedKeys>,
}

/// The wrapped key of a tenant, base64url.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrappedKeys {
    pub(super) digest: String,
}

pub(super) struct TenantKeys {
    digest: Key,
    texts: TextKeys,
    ready: HashMap<KeyName, Key>,
    /// The document that holds the keys of texts, and its version.
    document: String,
    version: Option<u64>,
    /// The keys, the one that document lies under first.
    under: Kek,
}

/// The keys of texts as they are kept: in which version of their document, and the keys with the one that lies under first.
struct KeptTexts {
    keys: TextKeys,
    version: u64,
    under: Kek,
}

impl TenantKeys {
    fn new(tenant: &str, digest: Key, texts: KeptTexts) -> Self {
        Self {
            digest,
            texts: texts.keys,
            ready: HashMap::new(),
            document: texts_document(tenant),
            version: Some(texts.version),
            under: texts.under,
        }
    }

    /// What is known of its document.
    pub(super) fn known(&self) -> (&str, Option<u64>) {
        (&self.document, self.version)
    }

    fn text_key(&mut self, tenant: &str, name: &KeyName) -> Result<Key, VaultError> {
        if let Some(key) = self.ready.get(name) {
            return Ok(key.clone());
        }
        let key = self.texts.key(name).map_err(|gone| VaultError::Erased {
            tenant: tenant.to_owned(),
            gone,
        })?;
        if self.ready.len() >= READY_MAX {
            self.ready.clear();
        }
        self.ready.insert(*name, key.clone());
        Ok(key)
    }
}

impl Vault {
    /// Encrypts `text` for a tenant; `aad` says what it is and must be the same to open it. Its first bytes name the key.
    ///
    /// # Errors
    /// The disk, when the tenant gets its keys now.
    pub fn seal(
        &self,
        tenant: &str,
        about: &About,
        aad: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let (name, key) = self.with_keys(tenant, true, |keys| {
            let name = keys.texts.name(about);
            Ok((name.bytes(), keys.text_key(tenant, &name)?))
        })?;
        let sealed = cipher::seal(&key, &text_aad(tenant, &name, aad), text)?;
        Ok([name, sealed].concat())
    }

    /// The text behind [`Vault::seal`].
    ///
    /// # Errors
    /// [`VaultError::Sealed`], or [`VaultError::Erased`].
    pub fn open_sealed(
        &self,
        tenant: &str,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let unfit = || VaultError::Sealed {
            tenant: tenant.to_owned(),
        };
        let (name, sealed) = KeyName::split(sealed).ok_or_else(unfit)?;
        let key = self.with_keys(tenant, false, |keys| keys.text_key(tenant, &name))?;
        cipher::open(&key, &text_aad(tenant, &name.bytes(), aad), sealed).ok_or_else(unfit)
    }

    /// Whether texts under the key of that name can be opened.
    pub fn can_open(&self, tenant: &str, name: &KeyName) -> bool {
        let key = self.with_keys(tenant, false, |keys| keys.text_key(tenant, name));
        key.is_ok()
    }

    /// The key under which a tenant's action digests stand in its leaves, made on first use.
    ///
    /// # Errors
    /// The disk, when the tenant gets its keys now.
    pub fn digest_key(&self, tenant: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.with_keys(tenant, true, |keys| Ok(keys.digest.clone()))
    }

    /// [`Vault::digest_key`] of a tenant that has its keys, none of one that has not. Changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Tampered`].
    pub fn digest_key_made(&self, tenant: &str) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        if !self.state().tenants.content.tenants.contains_key(tenant) {
            return Ok(None);
        }
        self.with_keys(tenant, false, |keys| Ok(Some(keys.digest.clone())))
    }

    /// Destroys keys of a tenant's texts, in memory and on disk. The event that `event` makes of the generation that is gone is
    /// kept until [`Vault::follow`] finds it in the log, so that a crash in between leaves no erasure that the log does not tell of. None
    /// where nothing was left to destroy.
    ///
    /// # Errors
    /// A bound, or the disk. Then nothing is destroyed; after an error of the disk that may be seen only at the next start.
    pub fn destroy(
        &self,
        tenant: &str,
        doomed: &Doomed,
        event: impl Fn(Option<u64>) -> EventBody,
    ) -> Result<Option<EventBody>, VaultError> {
        self.change_texts(tenant, |texts| texts.destroy(doomed, &event))
    }

    /// Destroys what the log says is destroyed, as in a vault that was put back from an older copy, and forgets what the log
    /// tells of already. Whether anything had to be destroyed again.
    ///
    /// # Errors
    /// The disk.
    pub fn follow(&self, tenant: &str, erasures: &[Erasure]) -> Result<bool, VaultError> {
        if !self.state().tenants.content.tenants.contains_key(tenant) {
            return Ok(false);
        }
        let again = self.change_texts(tenant, |texts| {
            let mut again = false;
            for erasure in erasures {
                let doomed = erasure.subject.map(Doomed::Subject);
                let doomed = doomed.or(erasure.before.map(Doomed::Before));
                if let Some(doomed) = doomed {
                    again |= texts.follow(&doomed, erasure.generation);
                }
            }
            let known = texts.recorded(|event| is_recorded(event, erasures));
            Ok((again || known).then_some(again))
        })?;
        Ok(again.unwrap_or_default())
    }

    /// What was destroyed of a tenant and may not be in its log yet, oldest first.
    ///
    /// # Errors
    /// [`VaultError::Tampered`].
    pub fn unrecorded(&self, tenant: &str) -> Result<Vec<EventBody>, VaultError> {
        if !self.state().tenants.content.tenants.contains_key(tenant) {
            return Ok(Vec::new());
        }
        self.with_keys(tenant, false, |keys| Ok(keys.texts.unrecorded().to_vec()))
    }

    /// Changes the keys of a tenant's texts, durably where `change` gives something.
    fn change_texts<T>(
        &self,
        tenant: &str,
        change: impl Fn(&mut TextKeys) -> Result<Option<T>, VaultError>,
    ) -> Result<Option<T>, VaultError> {
        let mut state = self.state();
        self.opened(&mut state, tenant, false)?;
        self.changed(&mut state, |state| {
            let keys = state.open.get_mut(tenant).ok_or_else(|| sealed(tenant))?;
            let mut next = keys.texts.clone();
            let Some(changed) = change(&mut next)? else {
                return Ok(Some(None));
            };
            let version = self.write_texts(tenant, &next, keys.version, &keys.under)?;
            if version.is_none() {
                return Ok(None);
            }
            keys.ready.clear();
            (keys.texts, keys.version) = (next, version);
            Ok(Some(Some(changed)))
        })
    }

    /// Takes in what another ledger destroyed.
    pub(super) fn take_texts(
        &self,
        state: &mut State,
        newer: &[Document],
    ) -> Result<(), VaultError> {
        for (tenant, keys) in &mut state.open {
            if let Some(newer) = newer.iter().find(|it| it.name == keys.document) {
                if Some(newer.version) < keys.version {
                    return Err(put_back(self.documents.path(&newer.name)));
                }
                (keys.texts, keys.under) = self.texts_of(tenant, &newer.bytes)?;
                keys.version = Some(newer.version);
                keys.ready.clear();
            }
        }
        Ok(())
    }

    fn with_keys<T>(
        &self,
        tenant: &str,
        make: bool,
        then: impl FnOnce(&mut TenantKeys) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let mut state = self.state();
        then(self.opened(&mut state, tenant, make)?)
    }

    fn opened<'a>(
        &self,
        state: &'a mut State,
        tenant: &str,
        make: bool,
    ) -> Result<&'a mut TenantKeys, VaultError> {
        if !state.open.contains_key(tenant) {
            let keys = match self.made_keys(state, tenant)? {
                Some(keys) => keys,
                None if make => self.changed(state, |state| {
                    // Another ledger may have made them since.
                    match self.made_keys(state, tenant)? {
                        Some(keys) => Ok(Some(keys)),
                        None => self.make_tenant_keys(state, tenant),
                    }
                })?,
                None => return Err(sealed(tenant)),
            };
            state.open.insert(tenant.to_owned(), keys);
        }
        state.open.get_mut(tenant).ok_or_else(|| sealed(tenant))
    }

    fn made_keys(&self, state: &State, tenant: &str) -> Result<Option<TenantKeys>, VaultError> {
        let Some(wrapped) = state.tenants.content.tenants.get(tenant) else {
            return Ok(None);
        };
        let digest = self.unwrap_key(tenant, "digest", &wrapped.digest)?;
        Ok(Some(TenantKeys::new(
            tenant,
            digest,
            self.read_texts(tenant)?,
        )))
    }

    /// None where another ledger changed the keys of tenants meanwhile.
    fn make_tenant_keys(
        &self,
        state: &mut State,
        tenant: &str,
    ) -> Result<Option<TenantKeys>, VaultError> {
        check_name(tenant)?;
        if state.tenants.content.tenants.len() >= TENANTS_MAX {
            return Err(VaultError::TooMany {
                what: "tenants",
                max: TENANTS_MAX,
            });
        }
        let under = state.tenants.under().or(state.credentials.under());
        let kek = under.unwrap_or(&self.kek).clone();
        let digest = cipher::new_key()?;
        let wrapped = cipher::encrypt(kek.bytes(), &key_aad(tenant, "digest"), digest.as_ref())?;
        let wrapped = WrappedKeys {
            digest: URL_SAFE_NO_PAD.encode(wrapped),
        };
        // The document first: a tenant that is named has one, and who finds none knows that it was taken away.
        let Some(texts) = self.make_texts(tenant, &kek)? else {
            return Ok(None);
        };
        let mut next = state.tenants.content.clone();
        next.tenants.insert(tenant.to_owned(), wrapped);
        let there = state.tenants.replace(next, &*self.documents, &kek)?;
        Ok(there.then(|| TenantKeys::new(tenant, digest, texts)))
    }

    /// The keys of texts of a tenant that is not named yet, under the first of these keys; none where another ledger is at it.
    fn make_texts(&self, tenant: &str, kek: &Kek) -> Result<Option<KeptTexts>, VaultError> {
        let mut found = self.documents.newer(&[(&texts_document(tenant), None)])?;
        let found = found.pop();
        // Another ledger makes them too, or ended before it named the tenant. Nothing can lie under those that nobody opens.
        let opened = found.as_ref().map(|it| self.texts_of(tenant, &it.bytes));
        let (keys, known) = match opened {
            Some(Ok((keys, under))) if under.has_first_of(kek) => {
                let version = found.map_or(0, |it| it.version);
                return Ok(Some(KeptTexts {
                    keys,
                    version,
                    under,
                }));
            }
            Some(Ok((keys, _))) => (keys, found.map(|it| it.version)),
            Some(Err(error)) => {
                tracing::warn!(%error, "Keys of texts that no tenant was named for are made anew");
                (TextKeys::new()?, found.map(|it| it.version))
            }
            None => (TextKeys::new()?, None),
        };
        let version = self.write_texts(tenant, &keys, known, kek)?;
        Ok(version.map(|version| KeptTexts {
            keys,
            version,
            under: kek.clone(),
        }))
    }

    pub(super) fn unwrap_key(
        &self,
        tenant: &str,
        purpose: &str,
        wrapped: &str,
    ) -> Result<Key, VaultError> {
        let unwrapped = || {
            let wrapped = URL_SAFE_NO_PAD.decode(wrapped).ok()?;
            let (key, _) = self.kek.decrypt(&key_aad(tenant, purpose), &wrapped)?;
            key.as_slice().try_into().ok().map(Zeroizing::new)
        };
        unwrapped().ok_or_else(|| VaultError::Tampered {
            path: self.documents.path("tenants.json"),
            what: format!("the {purpose} key of `{tenant}` does not decrypt"),
        })
    }

    fn read_texts(&self, tenant: &str) -> Result<KeptTexts, VaultError> {
        let name = texts_document(tenant);
        let mut found = self.documents.newer(&[(&name, None)])?;
        let found = found.pop();
        let found = found.ok_or_else(|| self.texts_tampered(tenant, "it is not there"))?;
        let (keys, under) = self.texts_of(tenant, &found.bytes)?;
        Ok(KeptTexts {
            keys,
            version: found.version,
            under,
        })
    }

    fn texts_of(&self, tenant: &str, bytes: &[u8]) -> Result<(TextKeys, Kek), VaultError> {
        let text = self.kek.decrypt(&key_aad(tenant, "texts"), bytes);
        let keys = text.and_then(|(text, under)| Some((TextKeys::read(&text)?, under)));
        keys.ok_or_else(|| self.texts_tampered(tenant, "it does not decrypt"))
    }

    pub(super) fn texts_tampered(&self, tenant: &str, what: &str) -> VaultError {
        VaultError::Tampered {
            path: self.documents.path(&texts_document(tenant)),
            what: format!("{what}; it holds the keys of the texts of `{tenant}`"),
        }
    }

    /// None where another ledger changed them meanwhile.
    fn write_texts(
        &self,
        tenant: &str,
        keys: &TextKeys,
        known: Option<u64>,
        kek: &Kek,
    ) -> Result<Option<u64>, VaultError> {
        let text = keys.to_vec()?;
        let sealed = cipher::encrypt(kek.bytes(), &key_aad(tenant, "texts"), &text)?;
        self.documents
            .replace(&texts_document(tenant), known, &sealed)
    }
}

pub(super) fn texts_document(tenant: &str) -> String {
    let hash = sha256(&[b"actpass.texts/1\0", tenant.as_bytes()]);
    format!("{TEXTS}/{}", *hex(&hash))
}

/// Whether the log tells of it: by its own leaf, or by one of more months.
pub(crate) fn is_recorded(event: &EventBody, erasures: &[Erasure]) -> bool {
    match event {
        EventBody::Erasure { id, before, .. } => erasures.iter().any(|known| {
            known.id == *id || before.is_some_and(|before| known.before >= Some(before))
        }),
        _ => true,
    }
}

fn sealed(tenant: &str) -> VaultError {
    VaultError::Sealed {
        tenant: tenant.to_owned(),
    }
}

/// Names have no control characters, so the zero bytes separate.
pub(super) fn key_aad(tenant: &str, purpose: &str) -> Vec<u8> {
    format!("actpass.tenant-key/1\0{tenant}\0{purpose}").into_bytes()
}

/// The name of the key has a length of its own, as its first bytes say.
fn text_aad(tenant: &str, name: &[u8], aad: &[u8]) -> Vec<u8> {
    [b"actpass.sealed/1\0", tenant.as_bytes(), b"\0", name, aad].concat()
}
