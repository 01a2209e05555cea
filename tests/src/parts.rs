//! Ledger and sidecar in the test's own process, over real TLS: the ledger can be stopped, its disk broken, and a sidecar
//! dropped as a kill would, at exactly the moment a test is about.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use actpass_core::action::Action;
use actpass_core::bundle::{Bundle, BundleSpec};
use actpass_core::canonical;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_core::evidence::record::{Body, Containment, OutcomeResult};
use actpass_core::hash::{StreamId, sha256};
use actpass_core::mode::Mode;
use actpass_core::passport::jws::{self, Claims, Cnf, IssuerKeys, Jwk, key_id};
use actpass_core::verify::{Against, Class, Inputs, Kept, Report, verify};
use actpass_crds::bundle::{Options, compile};
use actpass_crds::read::parse_documents;
use actpass_ledger::api::{People, Token};
use actpass_ledger::keys::Ring as LogRing;
use actpass_ledger::storage::memory::MemoryDisk;
use actpass_ledger::storage::segment::{SEGMENT_BYTES_MIN, SegmentOptions};
use actpass_ledger::storage::{
    Entry, MemoryStorage, PostgresConfig, PostgresDocuments, PostgresStorage, SegmentStorage,
    Storage, StorageError,
};
use actpass_ledger::tail::Target;
use actpass_ledger::vault::{Bindings, Kek, Secret, Vault};
use actpass_ledger::{Config, Ledger, fixed};
use actpass_sidecar::judge::{Judge, Judgement, Received};
use actpass_sidecar::known_log::KnownLog;
use actpass_sidecar::ledger_client::{LedgerAddress, LedgerClient, stream_id};
use actpass_sidecar::pep::Pep;
use actpass_sidecar::recorder::Recorder;
use actpass_sidecar::ring::Ring;
use actpass_sidecar::session::{Session, SessionError};
use actpass_sidecar::shipper::ShipError;
use actpass_transport::names;
use actpass_transport::server::{Identity, Shown};
use anyhow::{Context, anyhow, ensure};
use ed25519_dalek::{SigningKey, VerifyingKey};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::disk::Disk;

const TENANT: &str = "local/default/1";

/// A shop where one clerk reads, and pays 100.00 USD a day without asking.
pub const SHOP: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions:
    - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
    - name: pay
      match: {http: {method: POST, path: /v1/pay}}
      effect: Irreversible
      body: {format: JSON}
      params: {allow: [amount]}
      amount: {from: body.amount, unit: Major, currency: {const: USD}}
      meters: [{name: paid, from: Amount}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Read and pay
  scope: [{capability: shop.read}, {capability: shop.pay}]
  limits: [{meter: paid, unit: USD, max: "100.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - {name: reads, decision: Allow, capabilities: [shop.read]}
    - {name: pays, decision: Allow, allowIrreversible: true, capabilities: [shop.pay]}
"#;

/// Where the log is on a disk of segments.
pub const LOG_DIR: &str = "/log";

/// A ledger's disk, keys and address, which outlive the ledger.
pub struct Parts {
    /// Ring files and the vault are here.
    pub dir: tempfile::TempDir,
    /// The log; breaks on demand.
    pub disk: MemoryDisk,
    /// Where segments are written, in place of that disk.
    pub segments: Option<Disk>,
    /// A server that keeps the log, in place of both.
    pub server: Option<PostgresConfig>,
    bundle: Arc<Bundle>,
    address: SocketAddr,
    identity: Identity,
    /// What its ledgers sign the log with: at first the one that [`Parts::log_key`] is of.
    pub log_keys: LogRing,
    log_key: SigningKey,
    issuer: SigningKey,
}

/// A sidecar that serves requests handed to it.
pub struct Agent {
    /// Its enforcement point.
    pub pep: Arc<Pep>,
    /// Its stream.
    pub stream: StreamId,
    /// Its ring file.
    pub ring: PathBuf,
    shipping: JoinHandle<Result<(), ShipError>>,
}

impl Parts {
    /// Parts under a policy in YAML with exactly one Passport.
    ///
    /// # Errors
    /// Where the policy does not compile, or there is no socket.
    pub fn new(policy: &str) -> anyhow::Result<Self> {
        Self::under(Mode::Enforce, policy)
    }

    /// The same, for a namespace of that mode.
    ///
    /// # Errors
    /// As there.
    pub fn under(mode: Mode, policy: &str) -> anyhow::Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST, mode, policy)
    }

    /// The same, with the ledger at that address of the calling thread's network.
    ///
    /// # Errors
    /// As there.
    pub fn at(address: Ipv4Addr, mode: Mode, policy: &str) -> anyhow::Result<Self> {
        let bundle = compiled(policy, TENANT)?;
        let spec = BundleSpec {
            mode,
            ..bundle.spec().clone()
        };
        let listener = std::net::TcpListener::bind((address, 0))?;
        let log_key = fresh_key()?;
        Ok(Self {
            dir: tempfile::tempdir()?,
            disk: MemoryDisk::default(),
            segments: None,
            server: None,
            bundle: Arc::new(Bundle::new(spec)?),
            address: listener.local_addr()?,
            identity: Identity::make(names::LEDGER)?,
            log_keys: log_key.clone().into(),
            log_key,
            issuer: fresh_key()?,
        })
    }

    /// Starts the ledger over what the disk holds, at the same address each time.
    ///
    /// # Errors
    /// Where it does not start, or does not take the policy.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        let storage = self.storage(self.segments.clone())?;
        let heads = self.dir.path().join("head");
        let ledger = self.over(storage, Some(heads), self.address)?;
        self.put_policy().await?;
        Ok(ledger)
    }

    /// Starts one of several ledgers over what the disk holds, at an address of its own; the policy is there once
    /// [`Parts::ledger`] has run.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn replica(&self) -> anyhow::Result<Ledger> {
        let storage: Box<dyn Storage> = match &self.server {
            Some(server) => Box::new(PostgresStorage::open(server.clone())?),
            None => Box::new(MemoryStorage::shared(self.disk.clone())),
        };
        self.replica_over(storage)
    }

    /// The same, over that storage.
    ///
    /// # Errors
    /// As there.
    pub fn replica_over(&self, storage: Box<dyn Storage>) -> anyhow::Result<Ledger> {
        self.over(storage, None, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, which passes leaves on to that file.
    ///
    /// # Errors
    /// As there.
    pub fn replica_to(&self, storage: Box<dyn Storage>, file: PathBuf) -> anyhow::Result<Ledger> {
        let target = Target {
            cursor: file.with_extension("cursor"),
            file: Some(file),
        };
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        self.passing(storage, None, address, Some(target))
    }

    fn over(
        &self,
        storage: Box<dyn Storage>,
        heads: Option<PathBuf>,
        address: SocketAddr,
    ) -> anyhow::Result<Ledger> {
        self.passing(storage, heads, address, None)
    }

    fn passing(
        &self,
        storage: Box<dyn Storage>,
        heads: Option<PathBuf>,
        address: SocketAddr,
        evidence_to: Option<Target>,
    ) -> anyhow::Result<Ledger> {
        let issuer = self.issuer.verifying_key();
        let config = Config {
            storage,
            vault: self.vault()?,
            log_key: self.log_keys.clone(),
            heads,
            issuer_keys: fixed(IssuerKeys::from([(key_id(&issuer), issuer)])),
            people: People::Holder(Token::new(Zeroizing::new("token".to_owned()), "tester")),
            shown: Arc::new(Shown::new(self.identity.clone())?),
            evidence_to,
        };
        Ok(Ledger::start(config, bound(address)?)?)
    }

    /// Puts a secret into the vault; before the ledger starts.
    ///
    /// # Errors
    /// Where the vault does not take it.
    pub fn store(&self, name: &str, bindings: Bindings, secret: &str) -> anyhow::Result<()> {
        let vault = self.vault()?;
        let secret = Secret::from(secret.to_owned());
        vault.put(TENANT, name, bindings, &secret, Timestamp::now())?;
        Ok(())
    }

    /// The policy.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The ledger's address, as a sidecar needs it.
    pub fn address(&self) -> LedgerAddress {
        LedgerAddress {
            address: self.address.to_string(),
            authorities: self.identity.certificate().cloned().into_iter().collect(),
        }
    }

    /// Checks the ledger's checkpoints.
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier::new(format!("actpass/{TENANT}"), self.log_key.verifying_key())
    }

    /// A passport for the key, that ends after so many seconds.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn passport(&self, holder: &VerifyingKey, seconds: i64) -> anyhow::Result<String> {
        Ok(self.session(holder, seconds)?.token()?)
    }

    /// A sidecar with an open stream, under passports that live for an hour.
    ///
    /// # Errors
    /// Where its stream is not taken.
    pub async fn agent(&self) -> anyhow::Result<Agent> {
        self.agent_at(self.address).await
    }

    /// The same, of a ledger at that address.
    ///
    /// # Errors
    /// As there.
    pub async fn agent_at(&self, ledger: SocketAddr) -> anyhow::Result<Agent> {
        self.agent_knowing(ledger, self.verifier().into()).await
    }

    /// The same, which believes what that log's keys sign.
    ///
    /// # Errors
    /// As there.
    pub async fn agent_knowing(&self, ledger: SocketAddr, log: KnownLog) -> anyhow::Result<Agent> {
        let address = LedgerAddress {
            address: ledger.to_string(),
            ..self.address()
        };
        let key = fresh_key()?;
        let session = self.session(&key.verifying_key(), 3_600)?;
        Agent::open(key, session, self.dir.path(), address, log).await
    }

    /// All leaves of the log.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn leaves(&self) -> anyhow::Result<Vec<Leaf>> {
        let leaves = self.stored()?.into_iter();
        Ok(leaves
            .map(|bytes| Leaf::parse(&bytes))
            .collect::<Result<_, _>>()?)
    }

    /// Every action that was permitted, read back whole from the log and what lies sealed beside it, with what became of it;
    /// once the ledger has stopped.
    ///
    /// # Errors
    /// Where a leaf or a sealed text cannot be read, or an action ended twice.
    pub fn permitted(&self) -> anyhow::Result<Vec<(Action, Option<OutcomeResult>)>> {
        let vault = self.vault()?;
        let (leaves, sealed) = (self.leaves()?, self.sealed()?);
        let mut ended = BTreeMap::new();
        for (record, _) in leaves.iter().filter_map(Leaf::record) {
            if let Body::Outcome(outcome) = &record.body {
                let twice = ended.insert((record.stream, outcome.of), outcome.result);
                ensure!(twice.is_none(), "{outcome:?} ends what had ended");
            }
        }
        let mut actions = Vec::new();
        for leaf in &leaves {
            let Some((record, ruling)) = leaf.record() else {
                continue;
            };
            let judged = match &record.body {
                Body::Decision(judged) if judged.verdict == "permit" => judged,
                Body::Intent(judged) if ruling.verdict == RulingVerdict::Permit => judged,
                _ => continue,
            };
            let side = format!("actpass.side/1\n{}\n{}", leaf.h.log, leaf.h.seq);
            let texts = sealed
                .get(&sha256(&[side.as_bytes()]))
                .context("no texts")?;
            let openings: Openings =
                canonical::from_slice(&vault.open_sealed(TENANT, side.as_bytes(), texts)?)?;
            let action = judged.action.as_ref().context("no action")?;
            let end = ended.get(&(record.stream, record.seq)).copied();
            actions.push((action.reveal(&openings)?, end));
        }
        Ok(actions)
    }

    /// The vault; once the ledger has stopped.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn vault(&self) -> anyhow::Result<Vault> {
        let (kek, _) = Kek::load_or_generate(&self.dir.path().join("kek"))?;
        if let Some(server) = &self.server {
            let documents = PostgresDocuments::open(server.clone())?;
            return Ok(Vault::over(Box::new(documents), kek)?);
        }
        Ok(Vault::open(&self.dir.path().join("vault"), kek)?)
    }

    /// Public half of the key that checkpoints are signed with.
    pub fn log_key(&self) -> VerifyingKey {
        self.log_key.verifying_key()
    }

    /// Verifies the log's structure and state.
    ///
    /// # Errors
    /// Where it is found invalid, with what was found.
    pub fn verified(&self) -> anyhow::Result<()> {
        let leaves = self.stored()?;
        let leaves = leaves.iter().map(Ok::<_, String>);
        let report: Report = verify(leaves, &Against::default(), self);
        match report.class() {
            Class::Invalid => Err(anyhow!("{:?}", report.findings)),
            _ => Ok(()),
        }
    }

    fn storage(&self, segments: Option<Disk>) -> Result<Box<dyn Storage>, StorageError> {
        if let Some(server) = &self.server {
            return Ok(Box::new(PostgresStorage::open(server.clone())?));
        }
        let Some(disk) = segments else {
            return Ok(Box::new(MemoryStorage::on(self.disk.clone())));
        };
        // A bundle and what a batch brings go into one segment.
        let options = SegmentOptions {
            segment_bytes: 4 * SEGMENT_BYTES_MIN,
        };
        let opened = SegmentStorage::open_on(Arc::new(disk), Path::new(LOG_DIR), options)?;
        Ok(Box::new(opened))
    }

    /// What is written now, for who reads beside the ledger.
    fn written(&self) -> Result<Box<dyn Storage>, StorageError> {
        self.storage(self.segments.as_ref().map(Disk::copy))
    }

    fn stored(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut leaves = Vec::new();
        self.written()?.replay(&mut |entry| {
            if let Entry::Leaf { bytes, .. } = entry {
                leaves.push(bytes.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        Ok(leaves)
    }

    /// What lies sealed beside the log, by name.
    fn sealed(&self) -> anyhow::Result<BTreeMap<[u8; 32], Vec<u8>>> {
        let mut sealed = BTreeMap::new();
        self.written()?.replay(&mut |entry| {
            if let Entry::Blob { name, bytes, .. } = entry {
                sealed.insert(*name, bytes.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        Ok(sealed)
    }

    fn session(&self, holder: &VerifyingKey, seconds: i64) -> anyhow::Result<TestSession> {
        TestSession::new(self.bundle.clone(), self.issuer.clone(), holder, seconds)
    }

    async fn put_policy(&self) -> anyhow::Result<()> {
        let file = self.dir.path().join("bundle.json");
        std::fs::write(&file, self.bundle.bytes())?;
        let url = format!("https://{}/v1/bundles", self.address);
        tokio::task::spawn_blocking(move || put(&url, &file)).await?
    }
}

/// A policy in YAML as a tenant's bundle.
///
/// # Errors
/// Where it does not compile.
pub fn compiled(policy: &str, tenant: &str) -> anyhow::Result<Arc<Bundle>> {
    let (resources, problems) = parse_documents("policy.yaml", policy);
    anyhow::ensure!(problems.is_empty(), "{problems:?}");
    let options = Options {
        tenant: tenant.to_owned(),
        environment: None,
    };
    let spec = compile(&resources, &options).map_err(|problems| anyhow!("{problems:?}"))?;
    Ok(Arc::new(Bundle::new(spec)?))
}

/// A listener there, as soon as whoever took the port meanwhile has given it back: a connection to elsewhere, say.
fn bound(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let begun = std::time::Instant::now();
    loop {
        match std::net::TcpListener::bind(address) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && begun.elapsed().as_secs() < 60 =>
            {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            bound => return bound,
        }
    }
}

fn put(url: &str, file: &Path) -> anyhow::Result<()> {
    let body = format!("@{}", file.display());
    let output = Command::new("curl")
        .args(["-sSk", "-m", "10", "--fail-with-body", "-X", "PUT"])
        .args([
            "-H",
            "authorization: Bearer token",
            "--data-binary",
            &body,
            url,
        ])
        .output()
        .context("curl")?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(())
}

impl Inputs for Parts {
    fn bundle(&self, digest: &actpass_core::hash::BundleDigest) -> Option<Vec<u8>> {
        (self.bundle.digest() == *digest).then(|| self.bundle.bytes().to_vec())
    }

    fn openings(&self, _: u64) -> Kept<Openings> {
        Kept::NotGiven
    }
}

impl Agent {
    /// One whose stream is open.
    pub(crate) async fn open(
        key: SigningKey,
        session: TestSession,
        dir: &Path,
        address: LedgerAddress,
        log: impl Into<KnownLog>,
    ) -> anyhow::Result<Self> {
        let stream = stream_id(&key);
        let ring = dir.join(format!("{stream}.ring"));
        let recorder = Arc::new(Recorder::new(stream, Ring::create(&ring, &key)?));
        let client = Arc::new(LedgerClient::new(address, &key)?);
        let session = Arc::new(session);
        let pep = Pep::new(session, recorder, client, Containment::NetworkOnly);
        let pep = Arc::new(pep);
        let mut shipper = pep.shipper(key, log);
        shipper.open().await?;
        let shipping = tokio::spawn(shipper.run());
        Ok(Self {
            pep,
            stream,
            ring,
            shipping,
        })
    }

    /// Judges a request.
    pub async fn judge(&self, method: &str, target: &str, body: &str) -> anyhow::Result<Judgement> {
        let mut headers = http::HeaderMap::new();
        headers.insert(
            "content-type",
            http::HeaderValue::from_static("application/json"),
        );
        let received = Received {
            host: "api.shop.example".parse()?,
            port: 443,
            method: method.parse()?,
            target: target.parse()?,
            headers,
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            http2: false,
        };
        Ok(self.pep.judge(&received).await)
    }

    /// The code of a denial, or `permit`.
    ///
    /// # Errors
    /// Where the request cannot be made.
    pub async fn verdict(&self, method: &str, target: &str, body: &str) -> anyhow::Result<String> {
        Ok(match self.judge(method, target, body).await? {
            Judgement::Permit(_) => "permit".to_owned(),
            Judgement::Deny(denial) => denial.code.into_owned(),
        })
    }

    /// Ends as a killed process does: nothing more is sent or written. The ring file's path is left.
    pub async fn kill(self) -> PathBuf {
        self.shipping.abort();
        // It ends by the abort, which is no result of its own.
        drop(self.shipping.await);
        self.ring
    }

    /// Ends in order.
    ///
    /// # Errors
    /// Where the last records are not taken.
    pub async fn close(self) -> anyhow::Result<()> {
        self.pep.close();
        Ok(self.shipping.await??)
    }
}

pub(crate) struct TestSession {
    bundle: Arc<Bundle>,
    passport: String,
    agent: String,
    issuer: SigningKey,
    holder: VerifyingKey,
    seconds: i64,
    /// Uid of the pod it is for.
    pub(crate) pod_uid: Option<String>,
}

impl TestSession {
    /// Passports of a policy with exactly one.
    pub(crate) fn new(
        bundle: Arc<Bundle>,
        issuer: SigningKey,
        holder: &VerifyingKey,
        seconds: i64,
    ) -> anyhow::Result<Self> {
        let [passport] = bundle.spec().passports.as_slice() else {
            return Err(anyhow!("the policy has not exactly one Passport"));
        };
        Ok(Self {
            passport: passport.name.clone(),
            agent: passport.agent_id.clone(),
            bundle,
            issuer,
            holder: *holder,
            seconds,
            pod_uid: None,
        })
    }
}

impl Session for TestSession {
    fn bundle(&self) -> Arc<Bundle> {
        self.bundle.clone()
    }

    fn passport(&self) -> Result<Arc<str>, SessionError> {
        Ok(self.passport.as_str().into())
    }

    fn token(&self) -> Result<String, SessionError> {
        let now = Timestamp::now().as_second();
        let claims = Claims {
            iss: "actpass-local".to_owned(),
            sub: "local".to_owned(),
            tenant: self.bundle.spec().tenant.clone(),
            agent: self.agent.clone(),
            passport: self.passport.clone(),
            cnf: Cnf {
                jwk: Jwk::new(&self.holder),
            },
            pod_uid: self.pod_uid.clone(),
            iat: now,
            exp: now + self.seconds,
            jti: now.to_string(),
        };
        jws::issue(&claims, &self.issuer, &key_id(&self.issuer.verifying_key()))
            .map_err(|error| SessionError(error.to_string()))
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A key that nobody has.
///
/// # Errors
/// Where the system gives no randomness.
pub fn fresh_key() -> anyhow::Result<SigningKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(SigningKey::from_bytes(&seed))
}
