//! Credentials, encrypted at rest and lent only where they were meant to go; and the keys of tenants.
//!
//! An AES-256-GCM envelope: each version of a credential has a data key of its own, wrapped by the key encryption key
//! ([`Kek`]). Both layers authenticate tenant, name, version and [`Bindings`], so a secret whose entry was edited does
//! not decrypt; and each file as a whole is authenticated (`vault/file.rs`).
//!
//! # Guarantees
//! - A change is durable when its call returns; a crash leaves the file before or after it.
//! - A secret leaves only by [`Vault::lend`], within the bindings it was stored with.
//! - What [`Vault::destroy`] destroyed is in no file of the vault and in no memory of this process.
//! - Secrets and keys are wiped from memory when dropped, and no text form of anything here shows one.
//!
//! # Assumptions
//! One process at a time has the directory open: the ledger's lock on its log covers the vault beside it. Several ledgers share a vault
//! whose documents are where all of them reach it; a change is made on the newest one only, and what others changed is taken in by
//! [`Vault::refresh`].

mod bindings;
mod cipher;
mod document;
mod error;
mod file;
mod kek;
pub(crate) mod private_file;
mod rewrapped;
mod secret;
mod tenant;
mod texts;
mod tree;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::bindings::{Bindings, Destination, HOSTS_MAX, Outside, PORTS_MAX};
use self::cipher::Key;
use self::document::Kept;
pub use self::document::{Document, Documents};
pub use self::error::{LendError, VaultError};
pub use self::kek::{KEKS_MAX, Kek, NotAKek};
pub use self::private_file::PrivateFileError;
pub use self::secret::Secret;
pub(crate) use self::tenant::is_recorded;
use self::tenant::{TenantKeys, Tenants};
pub use self::texts::{About, Destroyed, Doomed, Gone, KeyName};
pub use actpass_core::upstream::Effect;

/// Largest secret in bytes: a header value; common servers refuse header lines over 8 KiB.
pub const SECRET_BYTES_MAX: usize = 8 * 1024;

/// Most credentials in one vault: they are one file, rewritten on each change, of about 11 MiB at the most usual.
pub const CREDENTIALS_MAX: usize = 1024;

/// Most tenants with keys in one vault, 200 bytes each.
pub const TENANTS_MAX: usize = 65_536;

/// Directory of the keys of texts, in that of the vault.
pub const TEXTS: &str = "texts";

/// Longest name of a tenant or credential in bytes.
pub const NAME_BYTES_MAX: usize = 253;

/// The vault of one ledger. Its methods may be called from any thread; those that change it wait for the disk.
pub struct Vault {
    documents: Box<dyn Documents>,
    kek: Kek,
    state: Mutex<State>,
}

/// What one can know of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialInfo {
    /// Whose it is.
    pub tenant: String,
    /// Its name among the tenant's.
    pub name: String,
    /// Grows with each change and is used once in this vault, so evidence names one secret by it.
    pub version: u64,
    /// Where it may be lent.
    pub bindings: Bindings,
    /// When this version was stored.
    #[serde(with = "instant")]
    pub created: Timestamp,
}

/// A secret on its way to an upstream.
#[derive(Debug)]
pub struct Lent {
    /// Name of the credential.
    pub name: String,
    /// Version of the credential.
    pub version: u64,
    /// The secret, without what the format puts around it.
    pub secret: Secret,
}

struct State {
    credentials: Kept<Credentials>,
    tenants: Kept<Tenants>,
    /// Unwrapped keys of the tenants in use.
    open: HashMap<String, TenantKeys>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            credentials: Kept::nothing("credentials.json"),
            tenants: Kept::nothing("tenants.json"),
            open: HashMap::new(),
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    last_version: u64,
    credentials: Vec<Stored>,
}

/// A credential at rest. `key` is the wrapped data key, `secret` the secret under it, both base64url.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    tenant: String,
    name: String,
    version: u64,
    bindings: Bindings,
    #[serde(with = "instant")]
    created: Timestamp,
    key: String,
    secret: String,
}

impl Vault {
    /// Stores a secret under a name, in place of the one that has it.
    ///
    /// # Errors
    /// A bound, or the disk. Then the vault is as it was.
    pub fn put(
        &self,
        tenant: &str,
        name: &str,
        bindings: Bindings,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<CredentialInfo, VaultError> {
        check_name(tenant)?;
        check_name(name)?;
        let bindings = bindings.normalised().map_err(VaultError::Bindings)?;
        self.change(tenant, name, |_| Ok(bindings.clone()), secret, now)
    }

    /// Stores a new secret under a name, with the bindings it has.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], a bound, or the disk. Then the vault is as it was.
    pub fn rotate(
        &self,
        tenant: &str,
        name: &str,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<CredentialInfo, VaultError> {
        let same = |found: Option<&Stored>| match found {
            Some(found) => Ok(found.bindings.clone()),
            None => Err(not_found(tenant, name)),
        };
        self.change(tenant, name, same, secret, now)
    }

    /// Forgets a credential.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or the disk. Then the vault is as it was.
    pub fn delete(&self, tenant: &str, name: &str) -> Result<(), VaultError> {
        self.changed(&mut self.state(), |state| {
            let mut next = state.credentials.content.clone();
            next.credentials.retain(|stored| !stored.is(tenant, name));
            if next.credentials.len() == state.credentials.content.credentials.len() {
                return Err(not_found(tenant, name));
            }
            let kek = state.credentials.under().unwrap_or(&self.kek).clone();
            let there = state.credentials.replace(next, &*self.documents, &kek)?;
            Ok(there.then_some(()))
        })
    }

    /// All credentials, without their secrets, in the order in which they were first stored.
    pub fn list(&self) -> Vec<CredentialInfo> {
        let state = self.state();
        let all = state.credentials.content.credentials.iter();
        all.map(Stored::info).collect()
    }

    /// The credentials of one tenant, as [`Vault::list`].
    pub fn list_of(&self, tenant: &str) -> Vec<CredentialInfo> {
        let state = self.state();
        let all = state.credentials.content.credentials.iter();
        all.filter(|stored| stored.tenant == tenant)
            .map(Stored::info)
            .collect()
    }

    /// Lends a secret for one destination.
    ///
    /// # Errors
    /// [`LendError::Outside`] when it was not stored for that destination.
    pub fn lend(&self, tenant: &str, name: &str, to: &Destination) -> Result<Lent, LendError> {
        let state = self.state();
        let mut all = state.credentials.content.credentials.iter();
        let Some(stored) = all.find(|stored| stored.is(tenant, name)) else {
            return Err(LendError::NoCredential {
                tenant: tenant.to_owned(),
                name: name.to_owned(),
            });
        };
        stored
            .bindings
            .cover(to)
            .map_err(|outside| LendError::Outside {
                name: name.to_owned(),
                outside,
            })?;
        Ok(Lent {
            name: stored.name.clone(),
            version: stored.version,
            secret: self.reveal(stored)?,
        })
    }

    fn change(
        &self,
        tenant: &str,
        name: &str,
        bindings: impl Fn(Option<&Stored>) -> Result<Bindings, VaultError>,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<CredentialInfo, VaultError> {
        check_secret(secret)?;
        self.changed(&mut self.state(), |state| {
            let next = state.credentials.content.clone();
            // A vault with nothing but tenants lies under their key.
            let under = state.credentials.under().or(state.tenants.under());
            let kek = under.unwrap_or(&self.kek).clone();
            let (next, info) = with(next, &kek, (tenant, name), &bindings, secret, now)?;
            let there = state.credentials.replace(next, &*self.documents, &kek)?;
            Ok(there.then_some(info))
        })
    }

    fn reveal(&self, stored: &Stored) -> Result<Secret, VaultError> {
        let aad = credential_aad(
            &stored.tenant,
            &stored.name,
            stored.version,
            &stored.bindings,
        )?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let revealed = || {
            let (key, _) = self.kek.decrypt(&aad, &decode(&stored.key)?)?;
            let key: Key = Zeroizing::new(key.as_slice().try_into().ok()?);
            let mut secret = cipher::decrypt(&key, &aad, &decode(&stored.secret)?)?;
            Some(Secret::new(std::mem::take(&mut *secret)))
        };
        revealed().ok_or_else(|| VaultError::Tampered {
            path: self.documents.path("credentials.json"),
            what: format!("credential `{}` does not decrypt", stored.name),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state moves only after the file is written, so a panic elsewhere leaves none half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The credentials with one more, or another one of that name.
fn with(
    mut next: Credentials,
    kek: &Kek,
    (tenant, name): (&str, &str),
    bindings: impl Fn(Option<&Stored>) -> Result<Bindings, VaultError>,
    secret: &Secret,
    now: Timestamp,
) -> Result<(Credentials, CredentialInfo), VaultError> {
    let mut all = next.credentials.iter();
    let at = all.position(|stored| stored.is(tenant, name));
    let bindings = bindings(at.and_then(|at| next.credentials.get(at)))?;
    let version = next.last_version.saturating_add(1);
    let data_key = cipher::new_key()?;
    let aad = credential_aad(tenant, name, version, &bindings)?;
    let key = cipher::encrypt(kek.bytes(), &aad, data_key.as_ref())?;
    let sealed = cipher::encrypt(&data_key, &aad, secret.expose())?;
    let stored = Stored {
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        version,
        bindings,
        created: now,
        key: URL_SAFE_NO_PAD.encode(key),
        secret: URL_SAFE_NO_PAD.encode(sealed),
    };
    let info = stored.info();
    let full = next.credentials.len() >= CREDENTIALS_MAX;
    match at.and_then(|at| next.credentials.get_mut(at)) {
        Some(found) => *found = stored,
        None if full => {
            return Err(VaultError::TooMany {
                what: "credentials",
                max: CREDENTIALS_MAX,
            });
        }
        None => next.credentials.push(stored),
    }
    next.last_version = version;
    Ok((next, info))
}

impl Stored {
    fn is(&self, tenant: &str, name: &str) -> bool {
        self.tenant == tenant && self.name == name
    }

    fn info(&self) -> CredentialInfo {
        CredentialInfo {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            version: self.version,
            bindings: self.bindings.clone(),
            created: self.created,
        }
    }
}

/// What a credential's encryption authenticates: canonical JSON, as its fields stand in the order of their names.
fn credential_aad(
    tenant: &str,
    name: &str,
    version: u64,
    bindings: &Bindings,
) -> Result<Vec<u8>, VaultError> {
    #[derive(Serialize)]
    struct Aad<'a> {
        bindings: &'a Bindings,
        name: &'a str,
        tenant: &'a str,
        v: &'a str,
        version: u64,
    }
    let aad = Aad {
        bindings,
        name,
        tenant,
        v: "actpass.credential/1",
        version,
    };
    serde_json::to_vec(&aad).map_err(|error| VaultError::Encode(error.to_string()))
}

/// RFC 3339 in UTC with six decimals.
mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{at:.6}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

fn check_name(name: &str) -> Result<(), VaultError> {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    match printable && (1..=NAME_BYTES_MAX).contains(&name.len()) {
        true => Ok(()),
        false => Err(VaultError::Name(name.escape_debug().to_string())),
    }
}

fn check_secret(secret: &Secret) -> Result<(), VaultError> {
    let bytes = secret.expose();
    if !(1..=SECRET_BYTES_MAX).contains(&bytes.len()) {
        return Err(VaultError::SecretSize(bytes.len()));
    }
    let visible = bytes
        .iter()
        .all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    let trimmed = bytes.trim_ascii().len() == bytes.len();
    match visible && trimmed {
        true => Ok(()),
        false => Err(VaultError::SecretText),
    }
}

fn not_found(tenant: &str, name: &str) -> VaultError {
    VaultError::NotFound {
        tenant: tenant.to_owned(),
        name: name.to_owned(),
    }
}

/// Lower-case hex, wiped when dropped.
fn hex(bytes: &[u8]) -> Zeroizing<String> {
    // Room for all of it at once, as a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().saturating_mul(2)));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests;
