//! A ledger of several tenants in the test's own process, over real TLS, whose gate knows the people of the test: what a
//! cluster's ledger is, but for the API server that says who they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_core::hash::{BundleDigest, hex};
use actpass_core::passport::jws::{IssuerKeys, key_id};
use actpass_core::verify::{Against, Class, Inputs, Kept, verify};
use actpass_core::vote::{SignedVote, VoteKeys};
use actpass_ledger::api::{Gate, Needed, People, Person};
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::storage::{Entry, SegmentReader, SegmentStorage, StorageError};
use actpass_ledger::tail::Target;
use actpass_ledger::vault::{Kek, Vault};
use actpass_ledger::{ApiError, Config, Ledger};
use actpass_sidecar::ledger_client::LedgerAddress;
use actpass_transport::names;
use actpass_transport::server::{Identity, Shown};
use anyhow::Context;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::watch;

use crate::growth::{grow, opened};
use crate::parts::{Agent, TestSession, compiled, fresh_key};

/// All leaves, as they are passed on.
const EVIDENCE: &str = "evidence.jsonl";

/// A ledger and its keys.
pub struct Tenants {
    dir: tempfile::TempDir,
    identity: Identity,
    address: SocketAddr,
    ledger: Ledger,
    log_key: SigningKey,
    /// Signs passports.
    pub issuer: SigningKey,
    /// Keys of issuers that the ledger believes.
    pub issuers: watch::Sender<IssuerKeys>,
    /// Stamps votes.
    pub voter: SigningKey,
    people: Arc<Table>,
    bundles: Mutex<BTreeMap<BundleDigest, Vec<u8>>>,
}

/// What a token stands for: a person, and `verb resource tenant` for each of their rights.
type Rights = (Person, BTreeSet<String>);

/// People by their tokens.
#[derive(Default)]
struct Table {
    people: Mutex<BTreeMap<String, Rights>>,
    /// Users whose votes were signed and never made.
    unmade: Mutex<BTreeSet<String>>,
}

impl Gate for Table {
    fn person<'a>(
        &'a self,
        token: &'a str,
        needed: Needed<'a>,
    ) -> BoxFuture<'a, Result<Person, ApiError>> {
        Box::pin(std::future::ready(self.find(token, &needed)))
    }

    fn tenant<'a>(
        &'a self,
        _: &'a str,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<String, ApiError>> {
        let tenant = self.named(namespace);
        let tenant = tenant.unwrap_or_else(|| format!("0c1d/{namespace}/gone"));
        Box::pin(std::future::ready(Ok(tenant)))
    }

    fn has_vote<'a>(
        &'a self,
        _: &'a str,
        vote: &'a SignedVote,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        let unmade = self.unmade.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(Ok(!unmade.contains(&vote.vote.user))))
    }
}

impl Table {
    /// The tenant of that namespace that somebody has a right in.
    fn named(&self, namespace: &str) -> Option<String> {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let rights = people.values().flat_map(|(_, rights)| rights);
        let mut tenants = rights.filter_map(|right| right.rsplit(' ').next());
        let tenant = tenants.find(|tenant| tenant.split('/').nth(1) == Some(namespace));
        tenant.map(str::to_owned)
    }

    fn find(&self, token: &str, needed: &Needed<'_>) -> Result<Person, ApiError> {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let (person, rights) = people
            .get(token)
            .ok_or(ApiError::Unauthorized("nobody knows this token"))?;
        let Some(tenant) = needed.tenant else {
            return Err(ApiError::Malformed("name a tenant".to_owned()));
        };
        let right = format!("{} {} {tenant}", needed.verb.word(), needed.resource.word());
        match rights.contains(&right) {
            true => Ok(person.clone()),
            false => Err(ApiError::Forbidden(format!("no right: {right}"))),
        }
    }
}

impl Tenants {
    /// A ledger without tenants and people.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (log_key, issuer, voter) = (fresh_key()?, fresh_key()?, fresh_key()?);
        Self::on(dir, [log_key, issuer, voter])
    }

    /// The same again, after an end in order. People are known as before, bundles are not.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn restarted(self) -> anyhow::Result<Self> {
        self.restarted_after(|_, _| Ok(())).await
    }

    /// The same with a tenant's log grown to that many leaves meanwhile.
    ///
    /// # Errors
    /// As there, and where the log does not grow to that.
    pub async fn grown(self, tenant: &str, leaves: u64) -> anyhow::Result<Self> {
        let origin = format!("actpass/{tenant}");
        self.restarted_after(|log, key| grow(log, key, &origin, leaves))
            .await
    }

    async fn restarted_after(
        self,
        change: impl FnOnce(&Path, &SigningKey) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let Self {
            dir,
            ledger,
            log_key,
            issuer,
            voter,
            people,
            ..
        } = self;
        ledger.stop().await;
        let log = dir.path().join("log");
        free(&log).await?;
        change(&log, &log_key)?;
        let known = people.people.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner).clone();
        let again = Self::on(dir, [log_key, issuer, voter])?;
        *(again.people.people.lock()).unwrap_or_else(PoisonError::into_inner) = known;
        Ok(again)
    }

    fn on(
        dir: tempfile::TempDir,
        [log_key, issuer, voter]: [SigningKey; 3],
    ) -> anyhow::Result<Self> {
        let identity = Identity::make(names::LEDGER)?;
        let by_id = |key: &SigningKey| {
            let public = key.verifying_key();
            BTreeMap::from([(key_id(&public), public)])
        };
        let (issuers, issuer_keys) = watch::channel(IssuerKeys::from(by_id(&issuer)));
        let vote_keys = actpass_ledger::fixed(VoteKeys::from(by_id(&voter)));
        let people = Arc::new(Table::default());
        let (kek, _) = Kek::load_or_generate(&dir.path().join("kek"))?;
        let config = Config {
            storage: Box::new(opened(&dir.path().join("log"))?),
            vault: Vault::open(&dir.path().join("vault"), kek)?,
            log_key: log_key.clone().into(),
            heads: None,
            issuer_keys,
            people: People::Reviewed {
                gate: people.clone(),
                vote_keys,
            },
            shown: Arc::new(Shown::new(identity.clone())?),
            evidence_to: Some(Target {
                file: Some(dir.path().join(EVIDENCE)),
                cursor: dir.path().join("cursor"),
            }),
        };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ledger = Ledger::start(config, listener)?;
        Ok(Self {
            dir,
            identity,
            address,
            ledger,
            log_key,
            issuer,
            issuers,
            voter,
            people,
            bundles: Mutex::default(),
        })
    }

    /// Where all leaves are passed on to.
    pub fn evidence(&self) -> PathBuf {
        self.dir.path().join(EVIDENCE)
    }

    /// What the ledger counts.
    pub fn metrics(&self) -> String {
        self.ledger.metrics().text()
    }

    /// Ends it.
    pub async fn stop(self) {
        drop(self.end().await);
    }

    /// Ends it; its directory is there as long as what this gives.
    pub async fn end(self) -> tempfile::TempDir {
        self.ledger.stop().await;
        self.dir
    }

    /// Whoever shows `token` is `user`, with these rights: `verb resource tenant` each.
    pub fn know(&self, token: &str, user: &str, rights: impl IntoIterator<Item = String>) {
        let person = Person {
            user: user.to_owned(),
            groups: Vec::new(),
        };
        let rights = rights.into_iter().collect();
        let mut people = (self.people.people.lock()).unwrap_or_else(PoisonError::into_inner);
        people.insert(token.to_owned(), (person, rights));
    }

    /// Votes of `user` are signed and stand nowhere, as of who asked the webhook past the API server.
    pub fn unmake(&self, user: &str) {
        let mut unmade = (self.people.unmade.lock()).unwrap_or_else(PoisonError::into_inner);
        unmade.insert(user.to_owned());
    }

    /// A policy as a tenant's bundle, which the ledger does not have yet.
    ///
    /// # Errors
    /// Where it does not compile.
    pub fn bundle(&self, policy: &str, tenant: &str) -> anyhow::Result<Arc<Bundle>> {
        let bundle = compiled(policy, tenant)?;
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        bundles.insert(bundle.digest(), bundle.bytes().to_vec());
        Ok(bundle)
    }

    /// A sidecar of a pod under the bundle's one Passport.
    ///
    /// # Errors
    /// Where its stream is not taken.
    pub async fn agent(&self, bundle: &Arc<Bundle>, pod: &str) -> anyhow::Result<Agent> {
        self.agent_of(bundle, pod, self.issuer.clone()).await
    }

    /// [`Tenants::agent`] whose passport that issuer signs.
    ///
    /// # Errors
    /// Where its stream is not taken.
    pub async fn agent_of(
        &self,
        bundle: &Arc<Bundle>,
        pod: &str,
        issuer: SigningKey,
    ) -> anyhow::Result<Agent> {
        let key = fresh_key()?;
        let mut session = TestSession::new(bundle.clone(), issuer, &key.verifying_key(), 3_600)?;
        session.pod_uid = Some(pod.to_owned());
        let address = LedgerAddress {
            address: self.address.to_string(),
            authorities: vec![self.identity.certificate()?.clone()],
        };
        let origin = format!("actpass/{}", bundle.spec().tenant);
        let verifier = NoteVerifier::new(origin, self.log_key.verifying_key());
        Agent::open(key, session, self.dir.path(), address, verifier).await
    }

    /// What the ledger answers: status and body.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn call(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> anyhow::Result<(u16, Value)> {
        let mut curl = Command::new("curl");
        // This curl takes an HTTP/2 answer that comes before all of its body was read for an error.
        curl.args([
            "-sSk",
            "--http1.1",
            "-m",
            "10",
            "-X",
            method,
            "-w",
            "\n%{http_code}",
        ])
        .args(["-H", "content-type: application/json"])
        .args(["--data-binary", "@-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
        if let Some(token) = token {
            curl.args(["-H", &format!("authorization: Bearer {token}")]);
        }
        let mut child = curl
            .arg(format!("https://{}{path}", self.address))
            .spawn()?;
        let mut stdin = child.stdin.take().context("standard input")?;
        stdin.write_all(body).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        // A tile is no text, and only asked for to see the status.
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, status) = text.rsplit_once('\n').context("no status")?;
        let body = match body.trim() {
            "" => Value::Null,
            body => serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())),
        };
        Ok((status.trim().parse()?, body))
    }

    /// Asks for a path, and is gone once the answer has begun.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn begin(&self, token: &str, path: &str) -> anyhow::Result<()> {
        let mut curl = Command::new("curl")
            .args(["-sSkfN", "--http1.1", "-m", "10"])
            .args(["-H", &format!("authorization: Bearer {token}")])
            .arg(format!("https://{}{path}", self.address))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut begun = [0; 8];
        let mut answer = curl.stdout.take().context("standard output")?;
        answer.read_exact(&mut begun).await?;
        Ok(curl.kill().await?)
    }

    /// The leaves of a tenant's log.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn leaves(&self, tenant: &str) -> anyhow::Result<Vec<Leaf>> {
        let leaves = self.stored(tenant)?;
        let leaves = leaves.iter().map(|bytes| Leaf::parse(bytes));
        Ok(leaves.collect::<Result<_, _>>()?)
    }

    /// Verifies structure and state of a tenant's log, from its bytes alone.
    ///
    /// # Errors
    /// Where it is found invalid, with what was found.
    pub fn verified(&self, tenant: &str) -> anyhow::Result<()> {
        let leaves = self.stored(tenant)?;
        let report = verify(
            leaves.iter().map(Ok::<_, String>),
            &Against::default(),
            self,
        );
        anyhow::ensure!(report.class() != Class::Invalid, "{:?}", report.findings);
        Ok(())
    }

    fn stored(&self, tenant: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let origin = format!("actpass/{tenant}");
        let mut leaves = Vec::new();
        SegmentReader::open_read_only(&self.dir.path().join("log"))?.replay(&mut |entry| {
            if let Entry::Leaf { bytes, log, .. } = entry
                && log == origin
            {
                leaves.push(bytes.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        Ok(leaves)
    }

    /// Where it is reached, and the certificate that it shows.
    ///
    /// # Errors
    /// Where it has none.
    pub fn reached(&self) -> anyhow::Result<(SocketAddr, &CertificateDer<'static>)> {
        Ok((self.address, self.identity.certificate()?))
    }

    /// Where a tenant's leaves lie.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// The key of a tenant's log as a C2SP verifier key.
    pub fn vkey(&self, tenant: &str) -> String {
        let origin = format!("actpass/{tenant}");
        NoteVerifier::new(origin, self.log_key.verifying_key()).to_vkey()
    }

    /// The log's public key as `/v1/keys` shows it.
    pub fn log_key(&self) -> String {
        actpass_core::hash::b64u_encode(self.log_key.verifying_key().as_bytes())
    }

    /// The events of a tenant's log, by kind and in order.
    ///
    /// # Errors
    /// Where a leaf cannot be read.
    pub fn events(&self, tenant: &str) -> anyhow::Result<Vec<EventBody>> {
        let leaves = self.leaves(tenant)?;
        Ok(leaves.iter().filter_map(Leaf::event).cloned().collect())
    }
}

/// Waits until nobody has the log in `dir` open: a client's last connection ends a moment after the ledger that served it.
async fn free(dir: &Path) -> anyhow::Result<()> {
    for _ in 0..500 {
        match SegmentStorage::open(dir, SegmentOptions::default()) {
            Err(StorageError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            opened => return Ok(opened.map(drop)?),
        }
    }
    anyhow::bail!("`{}` stays open", dir.display())
}

/// As `?tenant=` takes it.
pub fn encoded(tenant: &str) -> String {
    let bytes = tenant.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        other => format!("%{}", hex(&[other])),
    });
    bytes.collect()
}

impl Inputs for Tenants {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        let bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        bundles.get(digest).cloned()
    }

    fn openings(&self, _: u64) -> Kept<actpass_core::evidence::commitment::Openings> {
        Kept::NotGiven
    }
}
