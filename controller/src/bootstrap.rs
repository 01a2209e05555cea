//! What the parts need before they can speak to each other: keys, certificates, trust.
//!
//! *Flow*: the leader makes what is missing in the controller's own Secret, then the certificates of all parts, then the
//! trust ConfigMap; it asks ledger and webhook for their keys as soon as they answer. Every replica reads the results.
//!
//! *Guarantees*: every step may be done again, and by two at once: what exists is never exchanged, only certificates that
//! are due. Private keys of other parts are never seen.

use std::fmt::Display;
use std::sync::Arc;

use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::{
    CONTROLLER_SECRET, CONTROLLER_TLS, LEDGER_KEYS, LEDGER_TLS, TLS_AUTHORITY, TLS_CERTIFICATE,
    TLS_KEY, TRUST, VOTE_KEYS, WEBHOOK_TLS,
};
use actpass_transport::names;
use anyhow::{Context as _, bail};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certificates::{Authority, Facts};
use crate::http::Part;
use crate::ledger;
use crate::metrics::Metrics;
use crate::trust::{Trust, grown};

/// In the controller's Secret: the seed of the key that passports are signed with, base64url.
pub const ISSUER_KEY: &str = "issuer.key";
/// In the controller's Secret: the authority's certificate, PEM.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// In the controller's Secret: the authority's key, PEM.
pub const CA_KEY: &str = "ca.key";

/// Name of both webhook configurations.
const WEBHOOK_CONFIGURATION: &str = "actpass";

/// What the controller itself needs of its Secret.
#[derive(Clone)]
pub struct Own {
    /// The key that passports are signed with.
    pub issuer: Arc<SigningKey>,
    /// The authority's certificate.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Own {
    /// That of the controller's Secret, once it is filled.
    ///
    /// # Errors
    /// What is filled and cannot be used.
    pub fn of(secret: &Secret) -> anyhow::Result<Option<Self>> {
        let value = |key| {
            let found = secret.data.as_ref().and_then(|data| data.get(key));
            found.map(|ByteString(bytes)| bytes.as_slice())
        };
        let (Some(seed), Some(certificate)) = (value(ISSUER_KEY), value(CA_CERTIFICATE)) else {
            return Ok(None);
        };
        let seed = std::str::from_utf8(seed).unwrap_or_default().trim();
        let Ok(seed) = b64u_decode_array(seed) else {
            bail!("`{ISSUER_KEY}` of Secret `{CONTROLLER_SECRET}` is no key");
        };
        let authorities = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|all| !all.is_empty());
        let Some(authorities) = authorities else {
            bail!("`{CA_CERTIFICATE}` of Secret `{CONTROLLER_SECRET}` is no certificate");
        };
        Ok(Some(Self {
            issuer: Arc::new(SigningKey::from_bytes(&seed)),
            authorities,
        }))
    }
}

/// The leader's part.
pub struct Bootstrap {
    /// Of the API server.
    pub client: Client,
    /// The install namespace.
    pub namespace: String,
    /// Id of the cluster.
    pub cluster: String,
    /// What happened is counted here.
    pub metrics: Arc<Metrics>,
}

impl Bootstrap {
    /// Makes what is missing of all that needs no other part. Done again, it renews what is due.
    ///
    /// # Errors
    /// The API server does not answer, a Secret is not there, or what is kept cannot be used.
    pub async fn make(&self) -> anyhow::Result<()> {
        let kept = Kept::new(self.client.clone(), &self.namespace, CONTROLLER_SECRET);
        let (seed, _) = kept.load_or_make(ISSUER_KEY, issuer_seed).await?;
        let (key, _) = kept
            .load_or_make(CA_KEY, || Authority::make_key().map(String::into_bytes))
            .await?;
        let key = String::from_utf8(key).context("the authority's key is no text")?;
        let (certificate, made) = kept
            .load_or_make(CA_CERTIFICATE, || {
                let made = Authority::make_certificate(&key, &self.cluster, Timestamp::now());
                made.map(String::into_bytes)
            })
            .await?;
        if made {
            tracing::info!("Made the authority of this installation");
        }
        let certificate =
            String::from_utf8(certificate).context("the authority's certificate is no text")?;
        let authority = Authority::read(&certificate, &key)
            .with_context(|| format!("Secret `{CONTROLLER_SECRET}` holds no authority"))?;
        for (secret, name, service) in PARTS {
            self.certificate(&authority, secret, name, service).await?;
        }
        let issuer = issuer_public(&seed)?;
        let trust = self
            .change_trust(|trust| {
                trust.authorities.clone_from(&certificate);
                if !trust.issuer_keys.contains(&issuer) {
                    trust.issuer_keys.push(issuer.clone());
                }
                Ok(())
            })
            .await?;
        self.ca_bundles(&trust).await
    }

    /// Asks a part for its keys, and believes them.
    ///
    /// # Errors
    /// It does not answer, or lacks a key that is believed.
    pub async fn ask_keys(&self, part: &Part, entry: &'static str) -> anyhow::Result<()> {
        let now = ledger::keys(part).await?;
        self.change_trust(|trust| {
            let believed = match entry {
                LEDGER_KEYS => &mut trust.ledger_keys,
                VOTE_KEYS => &mut trust.vote_keys,
                _ => bail!("`{entry}` holds no keys of another part"),
            };
            *believed = grown(entry, believed, now.clone())?;
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// The certificate of one part, made anew where it is due or of another authority.
    async fn certificate(
        &self,
        authority: &Authority,
        secret: &str,
        name: &str,
        service: &str,
    ) -> anyhow::Result<()> {
        let wanted = [name.to_owned(), format!("{service}.{}.svc", self.namespace)];
        let now = Timestamp::now();
        let kept = Kept::new(self.client.clone(), &self.namespace, secret);
        let found = kept.load(TLS_CERTIFICATE).await?;
        let facts = found.and_then(|pem| Facts::read(&pem).ok());
        let ours =
            kept.load(TLS_AUTHORITY).await?.as_deref() == Some(authority.certificate().as_bytes());
        if let Some(facts) = facts.filter(|facts| ours && !facts.is_due(&wanted, now)) {
            self.metrics.certificate(service, facts.not_after);
            return Ok(());
        }
        let made = authority.leaf(&wanted, now)?;
        let facts = Facts::read(made.certificate.as_bytes())?;
        let authority = authority.certificate().as_bytes().to_vec();
        kept.replace(&[
            (TLS_CERTIFICATE, made.certificate.into_bytes()),
            (TLS_KEY, made.key.into_bytes()),
            (TLS_AUTHORITY, authority),
        ])
        .await?;
        self.metrics.certificate(service, facts.not_after);
        tracing::info!(secret, until = %facts.not_after, "Made a certificate");
        Ok(())
    }

    /// Changes the trust ConfigMap as it then stands; made where there is none.
    async fn change_trust(
        &self,
        mut change: impl FnMut(&mut Trust) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trust> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let params = PostParams::default();
        for _ in 0..TRIES {
            let found = api.get_opt(TRUST).await?;
            let exists = found.is_some();
            let mut map = found.unwrap_or_default();
            let mut trust = Trust::of(map.data.as_ref());
            change(&mut trust)?;
            let data = trust.data();
            if map.data.as_ref() == Some(&data) {
                return Ok(trust);
            }
            map.data = Some(data);
            let written = match exists {
                true => api.replace(TRUST, &params, &map).await,
                false => {
                    map.metadata.name = Some(TRUST.to_owned());
                    api.create(&params, &map).await
                }
            };
            match written {
                Ok(_) => {
                    let missing = trust.missing().join(", ");
                    tracing::info!(missing, "Changed what the parts believe of each other");
                    return Ok(trust);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error).context("write ConfigMap `actpass-trust`"),
            }
        }
        bail!("ConfigMap `{TRUST}` changes all the time")
    }

    /// Tells the API server by whom the webhook's certificate is signed.
    async fn ca_bundles(&self, trust: &Trust) -> anyhow::Result<()> {
        let bundle = ByteString(trust.authorities.clone().into_bytes());
        let set = |config: &mut WebhookClientConfig| {
            let changed = config.ca_bundle.as_ref() != Some(&bundle);
            config.ca_bundle = Some(bundle.clone());
            changed
        };
        let mutating = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        if let Some(mut found) = there("MutatingWebhookConfiguration", &mutating).await? {
            let hooks = found.webhooks.iter_mut().flatten();
            if hooks.fold(false, |any, hook| set(&mut hook.client_config) | any) {
                let params = PostParams::default();
                mutating
                    .replace(WEBHOOK_CONFIGURATION, &params, &found)
                    .await?;
            }
        }
        let validating = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        if let Some(mut found) = there("ValidatingWebhookConfiguration", &validating).await? {
            let hooks = found.webhooks.iter_mut().flatten();
            if hooks.fold(false, |any, hook| set(&mut hook.client_config) | any) {
                let params = PostParams::default();
                validating
                    .replace(WEBHOOK_CONFIGURATION, &params, &found)
                    .await?;
            }
        }
        Ok(())
    }
}

async fn there<K>(kind: &str, api: &Api<K>) -> anyhow::Result<Option<K>>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let found = api.get_opt(WEBHOOK_CONFIGURATION).await?;
    if found.is_none() {
        tracing::info!(
            kind,
            name = WEBHOOK_CONFIGURATION,
            "Not there, so its authority is not set"
        );
    }
    Ok(found)
}

/// Secrets of certificates, the name in each, and the Service in front.
const PARTS: [(&str, &str, &str); 3] = [
    (CONTROLLER_TLS, names::CONTROLLER, "actpass-controller"),
    (LEDGER_TLS, names::LEDGER, "actpass-ledger"),
    (WEBHOOK_TLS, names::WEBHOOK, "actpass-webhook"),
];

/// How often a change is tried after somebody else was quicker.
const TRIES: u32 = 8;

fn issuer_seed() -> Result<Vec<u8>, impl Display> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map(|()| b64u_encode(&seed).into_bytes())
}

fn issuer_public(seed: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(seed).unwrap_or_default().trim();
    let Ok(seed) = b64u_decode_array(text) else {
        bail!("`{ISSUER_KEY}` of Secret `{CONTROLLER_SECRET}` is no key");
    };
    let key = SigningKey::from_bytes(&seed).verifying_key();
    Ok(b64u_encode(key.as_bytes()))
}
