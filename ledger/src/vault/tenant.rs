//! The keys of tenants: one seals side frames and requests, one hides action digests. Erasing them erases what
//! they protect, everywhere.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cipher::{self, Key};
use super::{State, TENANTS_MAX, Vault, VaultError, check_name};

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenants {
    pub(super) tenants: BTreeMap<String, WrappedKeys>,
}

/// The wrapped keys of a tenant, base64url.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrappedKeys {
    data: String,
    digest: String,
}

#[derive(Clone)]
pub(super) struct TenantKeys {
    data: Key,
    digest: Key,
}

impl Vault {
    /// Encrypts `text` for a tenant; `aad` says what it is and must be the same to open it.
    ///
    /// # Errors
    /// The disk, when the tenant gets its keys now.
    pub fn seal(&self, tenant: &str, aad: &[u8], text: &[u8]) -> Result<Vec<u8>, VaultError> {
        let keys = self.tenant_keys(tenant, true)?;
        cipher::seal(&keys.data, &tenant_aad(tenant, aad), text)
    }

    /// The text behind [`Vault::seal`].
    ///
    /// # Errors
    /// [`VaultError::Sealed`].
    pub fn open_sealed(
        &self,
        tenant: &str,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let keys = self.tenant_keys(tenant, false)?;
        let text = cipher::open(&keys.data, &tenant_aad(tenant, aad), sealed);
        text.ok_or_else(|| VaultError::Sealed {
            tenant: tenant.to_owned(),
        })
    }

    /// The key under which a tenant's action digests stand in its leaves, made on first use.
    ///
    /// # Errors
    /// The disk, when the tenant gets its keys now.
    pub fn digest_key(&self, tenant: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.tenant_keys(tenant, true).map(|keys| keys.digest)
    }

    /// [`Vault::digest_key`] of a tenant that has its keys, none of one that has not. Changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Tampered`].
    pub fn digest_key_made(&self, tenant: &str) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        if !self.state().tenants.content.tenants.contains_key(tenant) {
            return Ok(None);
        }
        self.tenant_keys(tenant, false)
            .map(|keys| Some(keys.digest))
    }

    fn tenant_keys(&self, tenant: &str, make: bool) -> Result<TenantKeys, VaultError> {
        let mut state = self.state();
        if let Some(keys) = state.open.get(tenant) {
            return Ok(keys.clone());
        }
        let keys = match self.made_keys(&state, tenant)? {
            Some(keys) => keys,
            None if make => self.changed(&mut state, |state| {
                // Another ledger may have made them since.
                match self.made_keys(state, tenant)? {
                    Some(keys) => Ok(Some(keys)),
                    None => self.make_tenant_keys(state, tenant),
                }
            })?,
            None => {
                return Err(VaultError::Sealed {
                    tenant: tenant.to_owned(),
                });
            }
        };
        state.open.insert(tenant.to_owned(), keys.clone());
        Ok(keys)
    }

    fn made_keys(&self, state: &State, tenant: &str) -> Result<Option<TenantKeys>, VaultError> {
        let Some(wrapped) = state.tenants.content.tenants.get(tenant) else {
            return Ok(None);
        };
        Ok(Some(TenantKeys {
            data: self.unwrap_key(tenant, "data", &wrapped.data)?,
            digest: self.unwrap_key(tenant, "digest", &wrapped.digest)?,
        }))
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
        let keys = TenantKeys {
            data: cipher::new_key()?,
            digest: cipher::new_key()?,
        };
        let wrap = |purpose, key: &Key| {
            let aad = key_aad(tenant, purpose);
            let wrapped = cipher::encrypt(self.kek.bytes(), &aad, key.as_ref());
            wrapped.map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
        };
        let wrapped = WrappedKeys {
            data: wrap("data", &keys.data)?,
            digest: wrap("digest", &keys.digest)?,
        };
        let mut next = state.tenants.content.clone();
        next.tenants.insert(tenant.to_owned(), wrapped);
        let there = state.tenants.replace(next, &*self.documents, &self.kek)?;
        Ok(there.then_some(keys))
    }

    fn unwrap_key(&self, tenant: &str, purpose: &str, wrapped: &str) -> Result<Key, VaultError> {
        let unwrapped = || {
            let wrapped = URL_SAFE_NO_PAD.decode(wrapped).ok()?;
            let key = cipher::decrypt(self.kek.bytes(), &key_aad(tenant, purpose), &wrapped)?;
            key.as_slice().try_into().ok().map(Zeroizing::new)
        };
        unwrapped().ok_or_else(|| VaultError::Tampered {
            path: self.documents.path("tenants.json"),
            what: format!("the {purpose} key of `{tenant}` does not decrypt"),
        })
    }
}

/// Names have no control characters, so the zero bytes separate.
fn key_aad(tenant: &str, purpose: &str) -> Vec<u8> {
    format!("actpass.tenant-key/1\0{tenant}\0{purpose}").into_bytes()
}

fn tenant_aad(tenant: &str, aad: &[u8]) -> Vec<u8> {
    [b"actpass.sealed/1\0", tenant.as_bytes(), b"\0", aad].concat()
}
