//! What the parts need before they can speak to each other: keys, certificates, trust.
//!
//! *Flow*: the leader makes what is missing in the controller's own Secret, then the certificates of all parts, then the
//! trust ConfigMap; it asks ledger and webhook for their keys as soon as they answer. Every replica reads the results.
//!
//! *Guarantees*: every step may be done again, and by two at once: what exists is never exchanged, only certificates that
//! are due. Private keys of other parts are never seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use actpass_core::succession::{Purpose, ROTATE_AUTHORITY, ROTATE_ISSUER, ROTATE_VOTES, Rhythm};
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::{
    CONTROLLER_SECRET, CONTROLLER_TLS, LEDGER_KEYS, LEDGER_TLS, TLS_AUTHORITY, TLS_CERTIFICATE,
    TLS_KEY, TRUST, VOTE_KEYS, WEBHOOK_TLS,
};
use actpass_kubernetes::seeds::{Seeds, asked, turned};
use actpass_transport::names;
use anyhow::{Context as _, bail};
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
use crate::trust::{Trust, follow};

/// In the controller's Secret: the keys that passports are signed with, [`actpass_kubernetes::seeds`].
pub const ISSUER_KEY: &str = "issuer.key";
/// In the controller's Secret: the certificates of the authority and of those before it, PEM.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// In the controller's Secret: the authority's key, PEM.
pub const CA_KEY: &str = "ca.key";
/// In the controller's Secret: what leads from the authority to those before it, PEM.
pub const CA_CHAIN: &str = "ca.chain";

/// Name of both webhook configurations.
const WEBHOOK_CONFIGURATION: &str = "actpass";

/// What the controller itself needs of its Secret.
#[derive(Clone, Debug)]
pub struct Own {
    /// The keys that passports are signed with.
    pub seeds: Seeds,
    /// The certificates of the authority and of those before it.
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
        let (Some(seeds), Some(certificate)) = (value(ISSUER_KEY), value(CA_CERTIFICATE)) else {
            return Ok(None);
        };
        let seeds = Seeds::read(seeds);
        let seeds =
            seeds.with_context(|| format!("`{ISSUER_KEY}` of Secret `{CONTROLLER_SECRET}`"))?;
        if seeds.keys().is_empty() {
            return Ok(None);
        }
        let authorities = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|all| !all.is_empty());
        let Some(authorities) = authorities else {
            bail!("`{CA_CERTIFICATE}` of Secret `{CONTROLLER_SECRET}` is no certificate");
        };
        Ok(Some(Self { seeds, authorities }))
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
    /// When keys follow one another.
    pub rhythm: Rhythm,
    /// What happened is counted here.
    pub metrics: Arc<Metrics>,
}

impl Bootstrap {
    /// Makes what is missing of all that needs no other part. Done again, it renews what is due.
    ///
    /// # Errors
    /// The API server does not answer, a Secret is not there, or what is kept cannot be used.
    pub async fn make(&self) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let kept = Kept::new(self.client.clone(), &self.namespace, CONTROLLER_SECRET);
        let map = self.trust_map().get_opt(TRUST).await?;
        let listed = Trust::of(map.as_ref().and_then(|map| map.data.as_ref()))?.issuer_keys;
        let wish = asked(map.as_ref(), ROTATE_ISSUER);
        let seeds = turned(&kept, ISSUER_KEY, (&listed, &[]), self.rhythm, wish, now).await?;
        let wish = asked(map.as_ref(), ROTATE_AUTHORITY);
        let authority = self.authority(&kept, wish, now).await?;
        for (secret, name, service) in PARTS {
            self.certificate(&authority, secret, name, service).await?;
        }
        let trust = self
            .change_trust(|trust, _| {
                trust.authorities = authority.certificates().to_owned();
                seeds.list(&mut trust.issuer_keys, Purpose::Passports, self.rhythm, now);
                Ok(())
            })
            .await?;
        self.ca_bundles(&trust).await
    }

    /// The authority, made where there is none, and followed by another where that is due.
    async fn authority(
        &self,
        kept: &Kept,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> anyhow::Result<Authority> {
        let (key, _) = kept
            .load_or_make(CA_KEY, || Authority::make_key().map(String::into_bytes))
            .await?;
        let key = String::from_utf8(key).context("the authority's key is no text")?;
        let (certificates, made) = kept
            .load_or_make(CA_CERTIFICATE, || {
                let made = Authority::make_certificate(&key, &self.cluster, now);
                made.map(String::into_bytes)
            })
            .await?;
        if made {
            tracing::info!("Made the authority of this installation");
        }
        let chain = kept.load(CA_CHAIN).await?.unwrap_or_default();
        let facts = Facts::read(&certificates)?;
        let text =
            |bytes| String::from_utf8(bytes).context("the authority's certificate is no text");
        let authority = Authority::read(&text(certificates)?, &text(chain)?, &key);
        let authority = authority
            .with_context(|| format!("Secret `{CONTROLLER_SECRET}` holds no authority"))?;
        let wanted = asked.is_some_and(|asked| facts.made() < asked && asked <= now);
        if !wanted && !facts.is_old(now) {
            return Ok(authority);
        }
        let next = authority.next(&self.cluster, now)?;
        let values = [
            (CA_KEY, next.key.clone().into_bytes()),
            (CA_CERTIFICATE, next.certificates.clone().into_bytes()),
            (CA_CHAIN, next.chain.clone().into_bytes()),
        ];
        if !kept.exchange(CA_KEY, key.as_bytes(), &values).await? {
            bail!("another leader exchanged the authority");
        }
        tracing::info!("Made another authority, which the one before vouches for");
        Ok(Authority::read(&next.certificates, &next.chain, &next.key)?)
    }

    /// Asks a part for its keys, and believes them.
    ///
    /// # Errors
    /// It does not answer, or lacks a key that is believed.
    pub async fn ask_keys(&self, part: &Part, entry: &'static str) -> anyhow::Result<()> {
        let from = self.rhythm.first_use(Timestamp::now());
        let named = ledger::keys(part, from).await?;
        self.change_trust(|trust, annotations| {
            let now = Timestamp::now();
            let (believed, purpose) = match entry {
                LEDGER_KEYS => (&mut trust.ledger_keys, Purpose::Checkpoints),
                VOTE_KEYS => (&mut trust.vote_keys, Purpose::Votes),
                _ => bail!("`{entry}` holds no keys of another part"),
            };
            follow((entry, purpose), believed, &named, self.rhythm, now)?;
            // The webhook does as it is asked, and has no clock of its own for this.
            if entry == VOTE_KEYS && believed.is_due(self.rhythm, None, now) {
                annotations.insert(ROTATE_VOTES.to_owned(), now.to_string());
            }
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
            kept.load(TLS_AUTHORITY).await?.as_deref() == Some(authority.certificates().as_bytes());
        if let Some(facts) = facts.filter(|facts| ours && !facts.is_due(&wanted, now)) {
            self.metrics.certificate(service, facts.not_after);
            return Ok(());
        }
        let made = authority.leaf(&wanted, now)?;
        let facts = Facts::read(made.certificate.as_bytes())?;
        let authority = authority.certificates().as_bytes().to_vec();
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
        mut change: impl FnMut(&mut Trust, &mut BTreeMap<String, String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trust> {
        let api = self.trust_map();
        let params = PostParams::default();
        for _ in 0..TRIES {
            let found = api.get_opt(TRUST).await?;
            let exists = found.is_some();
            let mut map = found.unwrap_or_default();
            let before = map.clone();
            let mut trust = Trust::of(map.data.as_ref())?;
            let mut annotations = map.metadata.annotations.take().unwrap_or_default();
            change(&mut trust, &mut annotations)?;
            map.data = Some(trust.data());
            map.metadata.annotations = Some(annotations).filter(|them| !them.is_empty());
            if map == before {
                return Ok(trust);
            }
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

    fn trust_map(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
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
