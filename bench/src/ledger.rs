//! A ledger over segment files, with the measured policy active and its credentials stored.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::hash::{b64u_encode, hex, sha256};
use actpass_core::passport::jws::{IssuerKeys, key_id};
use actpass_ledger::api::{People, Token};
use actpass_ledger::storage::segment::{SegmentOptions, SegmentStorage};
use actpass_ledger::vault::{Bindings, Kek, Secret, Vault};
use actpass_ledger::{Config, Ledger, fixed};
use actpass_sidecar::ledger_client::LedgerAddress;
use actpass_transport::names;
use actpass_transport::server::{Identity, Shown};
use anyhow::anyhow;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use crate::handover::Handover;
use crate::policy;

#[derive(clap::Args)]
pub(crate) struct LedgerArgs {
    /// Directory of its log and vault
    #[arg(long)]
    dir: PathBuf,
    /// File to write its address and keys to
    #[arg(long)]
    handover: PathBuf,
    /// Where it listens; port 0 is any
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the upstream of the policy is
    #[command(flatten)]
    upstream: UpstreamArgs,
}

/// The upstream that the policy is about.
#[derive(clap::Args)]
pub(crate) struct UpstreamArgs {
    /// Name in its certificate
    #[arg(long, default_value = "up.test")]
    pub(crate) host: String,
    /// Port that agents dial
    #[arg(long)]
    pub(crate) port: u16,
    /// PEM file of the authority its certificate is from, where that is no public one
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// Rules in the policy
    #[arg(long, default_value_t = 10)]
    pub(crate) rules: usize,
}

impl UpstreamArgs {
    pub(crate) fn bundle(&self) -> anyhow::Result<Arc<Bundle>> {
        let pem = self.ca.as_ref().map(std::fs::read_to_string);
        let pem = pem.transpose()?.unwrap_or_default();
        Ok(Arc::new(policy::bundle(
            &self.host, self.port, &pem, self.rules,
        )?))
    }
}

pub(crate) async fn ledger(args: LedgerArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)?;
    let started = start_on(listener, &args.dir, &args.upstream.bundle()?).await?;
    started.handover.write(&args.handover)?;
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    term.recv().await;
    started.ledger.stop().await;
    Ok(())
}

pub(crate) struct Started {
    pub(crate) ledger: Ledger,
    pub(crate) handover: Handover,
}

/// Where a ledger in `dir` has its log.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// A ledger whose log follows `bundle`.
pub(crate) async fn start(dir: &Path, bundle: &Arc<Bundle>) -> anyhow::Result<Started> {
    start_on(TcpListener::bind(("127.0.0.1", 0))?, dir, bundle).await
}

/// The same, there.
pub(crate) async fn start_on(
    listener: TcpListener,
    dir: &Path,
    bundle: &Arc<Bundle>,
) -> anyhow::Result<Started> {
    let (log_key, issuer) = (fresh_key()?, fresh_key()?);
    let (kek, _) = Kek::load_or_generate(&dir.join("kek"))?;
    let vault = Vault::open(&dir.join("vault"), kek)?;
    store_credentials(&vault, bundle)?;
    let identity = Identity::make(names::LEDGER)?;
    let certificate = identity.certificate()?.clone();
    let issuer_id = key_id(&issuer.verifying_key());
    let config = Config {
        storage: Box::new(SegmentStorage::open(
            &log_dir(dir),
            SegmentOptions::shared(),
        )?),
        vault,
        log_key: log_key.clone().into(),
        heads: Some(dir.join("head")),
        issuer_keys: fixed(IssuerKeys::from([(
            issuer_id.clone(),
            issuer.verifying_key(),
        )])),
        people: People::Holder(Token::new("unused".to_owned().into(), "bench")),
        shown: Arc::new(Shown::new(identity)?),
        evidence_to: None,
    };
    let ledger = Ledger::start(config, listener)?;
    let keys = BTreeMap::from([(issuer_id, b64u_encode(issuer.verifying_key().as_bytes()))]);
    ledger
        .engine()
        .set_bundle(bundle.clone(), None, keys)
        .await?;
    let handover = Handover {
        ledger: LedgerAddress {
            address: ledger.address().to_string(),
            authorities: vec![certificate],
        },
        log_key: log_key.verifying_key(),
        issuer,
    };
    Ok(Started { ledger, handover })
}

fn store_credentials(vault: &Vault, bundle: &Bundle) -> anyhow::Result<()> {
    let upstream = bundle
        .upstream("up")
        .ok_or_else(|| anyhow!("no upstream"))?;
    let host = upstream.single_exact_host().map(ToString::to_string);
    for (name, effect) in policy::CREDENTIALS {
        let bindings = Bindings {
            ca_sha256: upstream
                .tls
                .ca_bundle
                .as_ref()
                .map(|pem| hex(&sha256(&[pem.as_bytes()]))),
            effects: vec![serde_json::from_value(effect.into())?],
            format: None,
            header: "authorization".to_owned(),
            hosts: host.clone().into_iter().collect(),
            ports: upstream.ports.clone(),
        };
        let secret = Secret::new(b"a_key_of_the_bench".to_vec());
        vault.put(policy::TENANT, name, bindings, &secret, Timestamp::now())?;
    }
    Ok(())
}

pub(crate) fn fresh_key() -> anyhow::Result<SigningKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(SigningKey::from_bytes(&seed))
}
