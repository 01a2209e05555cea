//! A server's certificate from its Secret, and each newer one.

use std::sync::Arc;

use actpass_transport::server::{Identity, IdentityError, Shown};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::names::{TLS_CERTIFICATE, TLS_KEY};
use crate::watched;

/// Waits for the certificate in the TLS Secret `name`, then shows it and whatever replaces it.
///
/// # Errors
/// The watch ended before there was one.
pub async fn from_secret(
    client: Client,
    namespace: &str,
    name: &str,
) -> Result<(Arc<Shown>, JoinHandle<()>), crate::Error> {
    let mut watched = watched::watch(Api::<Secret>::namespaced(client, namespace), name);
    let first = loop {
        let seen = watched.current.borrow_and_update().clone();
        match seen.as_ref().map(shown) {
            Some(Ok(shown)) => break shown,
            Some(Err(error)) => tracing::info!(%error, name, "No certificate yet; waiting"),
            None => tracing::info!(name, "No certificate yet; waiting"),
        }
        if watched.current.changed().await.is_err() {
            return Err(crate::Error::Content {
                what: format!("Secret `{name}`"),
                why: "it can no longer be watched".to_owned(),
            });
        }
    };
    let shown_now = Arc::new(first);
    let replaced = shown_now.clone();
    let name = name.to_owned();
    let following = tokio::spawn(async move {
        while watched.current.changed().await.is_ok() {
            let seen = watched.current.borrow_and_update().clone();
            let Some(secret) = seen else { continue };
            match identity(&secret).and_then(|identity| replaced.replace(identity)) {
                Ok(()) => tracing::info!(name, "New certificate in use"),
                Err(error) => {
                    tracing::error!(%error, name, "New certificate not usable; the old one stays");
                }
            }
        }
    });
    Ok((shown_now, following))
}

fn shown(secret: &Secret) -> Result<Shown, IdentityError> {
    Shown::new(identity(secret)?)
}

fn identity(secret: &Secret) -> Result<Identity, IdentityError> {
    let value = |key: &'static str| {
        let found = secret.data.as_ref().and_then(|data| data.get(key));
        found.map(|value| value.0.as_slice())
    };
    let chain = value(TLS_CERTIFICATE).ok_or(IdentityError::Pem(TLS_CERTIFICATE))?;
    let key = value(TLS_KEY).ok_or(IdentityError::Pem(TLS_KEY))?;
    Identity::from_pem(chain, key)
}
