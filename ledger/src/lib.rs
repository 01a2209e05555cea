//! The evidence log, limits, approvals and the credential vault.
//!
//! *Flow*: [`api`] checks who asks and what, [`engine`] decides and logs in groups, [`storage`] makes durable,
//! [`vault`] keeps secrets. The state is a pure function of the log: [`actpass_core::state`].

pub mod api;
pub mod backup;
pub mod disclosure;
pub mod engine;
mod error;
pub mod export;
pub mod heads;
pub mod keys;
pub mod metrics;
pub mod offline;
pub mod storage;
pub mod tail;
pub mod vault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use actpass_core::passport::jws::IssuerKeys;
use actpass_transport::server::{self, IdentityError, Shown};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::engine::{Engine, OpenError, Parts};
use crate::keys::Ring;
use crate::metrics::Metrics;
use crate::storage::Storage;
use crate::tail::{Logs, Passing, Target};
use crate::vault::Vault;

pub use error::ApiError;

#[cfg(all(feature = "seeded-bugs", not(fuzzing)))]
compile_error!("`seeded-bugs` plants bugs on purpose: only `make fuzz-seeded` builds with it");

/// Whether one bug is planted in each parser, which only `make fuzz-seeded` asks for, to see that it is found.
const SEEDED_BUGS: bool = cfg!(feature = "seeded-bugs");

/// What a ledger is made of.
pub struct Config {
    /// Where leaves are kept.
    pub storage: Box<dyn Storage>,
    /// Secrets.
    pub vault: Vault,
    /// Sign checkpoints; a log that is signed with another than the newest goes on with that from its next leaf on.
    pub log_key: Ring,
    /// File that keeps the heads signed last, outside the log; none where something else guards the log.
    pub heads: Option<PathBuf>,
    /// Keys passports are signed with, as they change.
    pub issuer_keys: watch::Receiver<IssuerKeys>,
    /// How people and the controller are known.
    pub people: api::People,
    /// Its certificate, which may change.
    pub shown: Arc<Shown>,
    /// Where leaves are passed on to as they come, if anywhere.
    pub evidence_to: Option<Target>,
}

/// A value that never changes, where one that may is asked for.
pub fn fixed<T>(value: T) -> watch::Receiver<T> {
    watch::channel(value).1
}

/// A ledger that serves.
#[derive(Debug)]
pub struct Ledger {
    address: SocketAddr,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    passing: Option<Passing>,
}

/// The ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log or the vault says no.
    #[error("the ledger cannot start")]
    Open(#[from] OpenError),
    /// The certificate does not work.
    #[error("the ledger's certificate cannot be used")]
    Tls(#[from] IdentityError),
    /// The socket does not work.
    #[error("the ledger's socket cannot be used")]
    Socket(#[from] std::io::Error),
}

impl Ledger {
    /// Reads the log, then serves on `listener`.
    ///
    /// # Errors
    /// Where the log is damaged, or the certificate or socket cannot be used. Nothing listens then.
    pub fn start(config: Config, listener: std::net::TcpListener) -> Result<Self, StartError> {
        let Config {
            storage,
            vault,
            log_key,
            heads,
            issuer_keys,
            people,
            shown,
            evidence_to,
        } = config;
        let logs = Logs::of(&*storage);
        let (log_keys, source) = (log_key.clone(), api::Source::of(&*storage));
        let tls = server::config(shown)?;
        let (vault, metrics) = (Arc::new(vault), Arc::new(Metrics::default()));
        let parts = Parts {
            storage,
            vault: vault.clone(),
            log_key,
            metrics: metrics.clone(),
            heads,
        };
        let engine = Arc::new(Engine::start(parts)?);
        let passing = evidence_to.zip(logs).map(|(target, logs)| {
            Passing::start(target, logs, engine.durable_sizes(), metrics.clone())
        });
        let passing = passing.transpose().map_err(OpenError::Thread)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let context = api::Context {
            engine: engine.clone(),
            vault,
            metrics: metrics.clone(),
            issuer_keys,
            people: Arc::new(people),
            log_keys,
            streams: Arc::new(Mutex::new(BTreeMap::new())),
            evidence: Arc::new(api::Evidence::new(source, stopped.clone())),
            erasing: Arc::default(),
        };
        let serving = tokio::spawn(api::serve(context, listener, tls, stopped));
        Ok(Self {
            address,
            engine,
            metrics,
            stop,
            serving,
            passing,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its sequencer.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, for who must not keep it from ending.
    pub fn engine_for_now(&self) -> Weak<Engine> {
        Arc::downgrade(&self.engine)
    }

    /// What it shows under `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What can be asked of it while it serves, and for as long.
    pub fn health(&self) -> Health {
        Health {
            engine: Arc::downgrade(&self.engine),
            metrics: self.metrics.clone(),
        }
    }

    /// Finishes what has begun, and stops.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "The ledger's server ended badly");
        }
        if let Ok(engine) = Arc::try_unwrap(self.engine) {
            engine.join();
        }
        // What was logged last is passed on before the end.
        drop(self.passing);
    }
}

/// How a ledger is.
#[derive(Clone, Debug)]
pub struct Health {
    engine: Weak<Engine>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// Whether its sequencer answers.
    pub async fn ready(&self) -> bool {
        match self.engine.upgrade() {
            Some(engine) => engine.query(|_| Ok(())).await.is_ok(),
            None => false,
        }
    }

    /// What it counts, as OpenMetrics text.
    pub async fn metrics(&self) -> String {
        if let Some(engine) = self.engine.upgrade() {
            // One that has stopped shows what it has counted.
            if let Ok(waiting) = engine.waiting().await {
                self.metrics.waiting(waiting);
            }
        }
        self.metrics.text()
    }
}
