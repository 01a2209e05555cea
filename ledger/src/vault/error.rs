//! Why the vault refuses.

use std::path::PathBuf;

use super::{Gone, KEKS_MAX, NAME_BYTES_MAX, Outside, PrivateFileError, SECRET_BYTES_MAX};

/// Why a credential is not lent.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// There is none of this name.
    #[error("no credential `{name}` is stored for `{tenant}`")]
    NoCredential {
        /// The tenant.
        tenant: String,
        /// The name.
        name: String,
    },
    /// It was not stored for this destination.
    #[error("credential `{name}` is not bound to this destination: {outside}")]
    Outside {
        /// The name.
        name: String,
        /// In what.
        outside: Outside,
    },
    /// It cannot be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Why the vault did not open or do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No KEK, no start.
    #[error(
        "no key encryption key at `{path}`, so no start: put 32 random bytes there, mode 0600, for example by \
         `umask 077; openssl rand -hex 32 > {path}`"
    )]
    NoKek {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The key file holds something else.
    #[error("`{path}` holds no key encryption key: {what}")]
    BadKek {
        /// The file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
    /// The vault was written under another key.
    #[error(
        "`{path}` lies under key encryption key `{id}`, and those given are `{given}`; put that one behind them, or restore the file"
    )]
    WrongKek {
        /// The vault's file.
        path: PathBuf,
        /// Name of the key that is missing.
        id: String,
        /// Names of those that are there.
        given: String,
    },
    /// Something in the vault was encrypted under another key.
    #[error(
        "what `{path}` holds for `{of}` lies under a key encryption key that is not given, and those that are, are `{given}`; put the one          before them behind them, and start with all of them once"
    )]
    NotUnder {
        /// The vault's file.
        path: PathBuf,
        /// A tenant, or a credential.
        of: String,
        /// Names of those that are there.
        given: String,
    },
    /// The key file takes no more.
    #[error(
        "`{path}` holds {KEKS_MAX} key encryption keys already; take away those before the first, under which nothing lies once a ledger \
         has started with it"
    )]
    TooManyKeks {
        /// The file.
        path: PathBuf,
    },
    /// Bytes of the vault are not what was written.
    #[error("`{path}` was changed: {what}; restore it from a copy")]
    Tampered {
        /// The vault's file.
        path: PathBuf,
        /// What gave it away.
        what: String,
    },
    /// Sealed bytes are not what was sealed, or not for this tenant and purpose.
    #[error("sealed bytes of `{tenant}` are not what was sealed")]
    Sealed {
        /// The tenant.
        tenant: String,
    },
    /// The key of sealed bytes was destroyed on purpose.
    #[error("the texts are erased")]
    Erased {
        /// The tenant.
        tenant: String,
        /// With what.
        gone: Gone,
    },
    /// A secret of no or too many bytes.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes, not {0}")]
    SecretSize(usize),
    /// A secret that no header can carry.
    #[error("a secret is visible ascii, inner spaces allowed; is there a line break at its end?")]
    SecretText,
    /// A name of no or too many bytes, or with control characters.
    #[error("`{0}` is not a name of 1 to {NAME_BYTES_MAX} printable ascii characters")]
    Name(String),
    /// Bindings that make no sense.
    #[error("bindings: {0}")]
    Bindings(String),
    /// The vault is full.
    #[error("the vault is full with {max} {what}; delete some")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// There is none of this name.
    #[error("no credential `{name}` is stored for `{tenant}`")]
    NotFound {
        /// The tenant.
        tenant: String,
        /// The name.
        name: String,
    },
    /// A file of the vault could not be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Where the vault is kept it cannot be read or changed now.
    #[error("the vault cannot be used now: {0}")]
    Away(String),
    /// The system gave no random bytes.
    #[error("draw randomness: {0}")]
    Randomness(String),
    /// The content has no JSON form.
    #[error("encode the vault: {0}")]
    Encode(String),
}
