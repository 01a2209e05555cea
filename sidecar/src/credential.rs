//! A lent secret on its way into one request header.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The header that carries a lent secret. Prints as redacted; the text it was made from is zeroised.
#[derive(Clone)]
pub struct Credential {
    name: HeaderName,
    value: HeaderValue,
    secret: Arc<Zeroizing<Vec<u8>>>,
}

/// The secret does not make a header.
#[derive(Debug, thiserror::Error)]
#[error(
    "does not make a header: its name, format or secret holds a character that no header may hold"
)]
pub struct CredentialError;

impl Credential {
    /// Puts `secret` into `format` where that says `{secret}`.
    ///
    /// # Errors
    /// Where header name or value cannot be sent.
    pub fn new(header: &str, format: &str, secret: &str) -> Result<Self, CredentialError> {
        let name = header.parse().map_err(|_| CredentialError)?;
        let text = Zeroizing::new(format.replace("{secret}", secret));
        let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialError)?;
        value.set_sensitive(true);
        let secret = Arc::new(Zeroizing::new(secret.as_bytes().to_vec()));
        Ok(Self {
            name,
            value,
            secret,
        })
    }

    /// The header's name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The secret alone, to be searched for.
    pub(crate) fn secret(&self) -> &Arc<Zeroizing<Vec<u8>>> {
        &self.secret
    }

    /// The header's value, marked sensitive.
    pub(crate) fn value(&self) -> HeaderValue {
        self.value.clone()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}: [redacted])", self.name)
    }
}
