//! The ledger in this process, over the state directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use actpass_core::hash::b64u_encode;
use actpass_core::passport::jws::{IssuerKeys, key_id};
use actpass_ledger::api::{People, Token};
use actpass_ledger::heads;
use actpass_ledger::keys::{Keys, Ring};
use actpass_ledger::storage::Storage;
use actpass_ledger::storage::segment::{SegmentOptions, SegmentStorage};
use actpass_ledger::vault::{Kek, Vault};
use actpass_ledger::{Config, Ledger, fixed};
use actpass_transport::names;
use actpass_transport::server::{Identity, Shown};
use anyhow::{Context, bail};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::state::{StateDir, random_hex};

/// A ledger that serves, and what its clients need.
pub(crate) struct Opened {
    pub(crate) ledger: Ledger,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) token: Zeroizing<String>,
    pub(crate) issuer: SigningKey,
    pub(crate) log_key: VerifyingKey,
}

impl Opened {
    /// Opens log, vault and keys, makes the log if it is new, and serves on 127.0.0.1.
    pub(crate) async fn open(state: &StateDir) -> anyhow::Result<Self> {
        let origin = format!("actpass/{}", state.tenant()?);
        check_head(state, &origin)?;
        let storage = SegmentStorage::open(&state.log(), SegmentOptions::default())
            .context("the log cannot be opened")?;
        if let Some(dropped) = storage.recovery() {
            tracing::warn!(
                file = %dropped.path.display(), offset = dropped.offset, bytes = dropped.bytes, what = %dropped.what,
                "A write that was cut short was dropped from the log; it was never answered",
            );
        }
        let (log_key, issuer) = (
            Ring::load_or_make(&state.keys(), "log")?,
            Keys::load_or_make(&state.keys(), "issuer")?,
        );
        if !state.kek().exists() && state.vault().join("credentials.json").exists() {
            bail!(
                "the vault is there, and its key `{}` is not; put the key back from where it is kept, since no other opens it",
                state.kek().display()
            );
        }
        let (kek, made) = Kek::load_or_generate(&state.kek())?;
        if made {
            tracing::warn!(path = %state.kek().display(), "A key encryption key was made; keep it apart from copies of the vault");
        }
        let vault = Vault::open(&state.vault(), kek)?;
        let token = Zeroizing::new(random_hex()?);
        let identity = Identity::make(names::LEDGER)?;
        let certificate = identity.certificate()?.clone();
        let issuer_keys =
            IssuerKeys::from([(key_id(&issuer.verifying_key()), issuer.verifying_key())]);
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).context("no socket on 127.0.0.1")?;
        let newest = log_key.newest().verifying_key();
        let config = Config {
            storage: Box::new(storage),
            vault,
            log_key,
            heads: Some(state.head()),
            issuer_keys: fixed(issuer_keys),
            people: People::Holder(Token::new(token.clone(), &user())),
            shown: Arc::new(Shown::new(identity)?),
            evidence_to: None,
        };
        let ledger = Ledger::start(config, listener)?;
        let keys = BTreeMap::from([(
            key_id(&issuer.verifying_key()),
            b64u_encode(issuer.verifying_key().as_bytes()),
        )]);
        ledger.engine().make_log(&origin, keys).await?;
        if ledger.engine().signs_with_newest().await? {
            Ring::settle(&state.keys(), "log")?;
        }
        let in_force = ledger.engine().log_key(&origin).await?;
        let verifying = in_force.unwrap_or(newest);
        Ok(Self {
            ledger,
            certificate,
            token,
            issuer,
            log_key: verifying,
        })
    }
}

/// Finds that the log of the kept head is not here, before another is made in its place.
fn check_head(state: &StateDir, origin: &str) -> anyhow::Result<()> {
    if !state.log().exists() {
        heads::none_kept(&state.head())?;
    }
    let kept = heads::read(&state.head())?;
    let Some(other) = kept
        .iter()
        .map(|note| heads::named(note))
        .find(|log| *log != origin)
    else {
        return Ok(());
    };
    bail!(
        "the state directory is that of `{origin}`, and the head in `{}` is of `{}`: put back the file `cluster-id` that belongs to it",
        state.head().display(),
        other.escape_debug()
    )
}

/// The operating-system user, as votes name it.
pub(crate) fn user() -> String {
    let uid = nix::unistd::getuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}
