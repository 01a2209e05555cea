//! A PostgreSQL that was put back to an older state: no ledger starts on it until each log says what it lost.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::hash::b64u_encode;
use actpass_ledger::engine::{Engine, Parts};
use actpass_ledger::storage::{
    Appended, Blob, Entry, LogGroup, PostgresDocuments, PostgresStorage, SegmentStorage, Storage,
};
use actpass_ledger::vault::{Kek, Vault};
use actpass_tests::home::{SHOP, text};
use actpass_tests::parts::compiled;
use actpass_tests::postgres::Postgres;
use actpass_tests::{actpass, program};
use ed25519_dalek::SigningKey;
use serde_json::Value;

const KEY: [u8; 32] = [7; 32];
const FIRST: &str = "local/default/1";
const SECOND: &str = "local/default/2";

/// A ledger's directory beside a PostgreSQL.
struct Beside {
    dir: tempfile::TempDir,
    server: Postgres,
}

impl Beside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Postgres::start().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        private(&dir.path().join("log.key"), b64u_encode(&KEY).as_bytes());
        Self { dir, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn storage(&self) -> PostgresStorage {
        PostgresStorage::open(self.server.config().unwrap()).unwrap()
    }

    /// Has a ledger log that many policies of a tenant, or says why none starts.
    async fn log(&self, tenant: &str, leaves: usize) -> Result<(), String> {
        let documents = PostgresDocuments::open(self.server.config().unwrap()).unwrap();
        let (kek, _) = Kek::load_or_generate(&self.path("kek")).unwrap();
        let engine = Engine::start(Parts {
            storage: Box::new(self.storage()),
            vault: Arc::new(Vault::over(Box::new(documents), kek).unwrap()),
            log_key: SigningKey::from_bytes(&KEY).into(),
            metrics: Arc::default(),
            heads: Some(self.path("data/head")),
        });
        let engine = engine.map_err(|error| error.to_string())?;
        let policies = [SHOP.to_owned(), SHOP.replace("Read the shop", "Look")];
        let policies = policies.map(|policy| compiled(&policy, tenant).unwrap());
        let bundles: [Arc<Bundle>; 2] = policies;
        for bundle in bundles.iter().cycle().take(leaves) {
            let set = engine.set_bundle(bundle.clone(), None, BTreeMap::new());
            set.await.unwrap();
        }
        // With it the newest heads are written down.
        engine.join();
        Ok(())
    }

    fn fork(&self, more: &[&str]) -> Output {
        let url = format!(
            "postgresql://tester@127.0.0.1:{}/postgres",
            self.server.port()
        );
        let mut command = Command::new(program("actpass-ledger"));
        command.args(["fork", "--all", "--by=ann", "--why=case 17"]);
        command.arg("--data").arg(self.path("data"));
        command.arg("--postgres-url").arg(url);
        command.arg("--log-key").arg(self.path("log.key"));
        command.arg("--kek").arg(self.path("kek"));
        command.args(more).output().unwrap()
    }

    /// All rows, as text.
    fn rows(&self) -> String {
        let tables = ["form", "head", "batch", "named", "document"];
        let rows = tables.map(|table| {
            let all = format!(
                "SELECT md5(string_agg(row::text, '|' ORDER BY row::text)) FROM actpass.{table} row"
            );
            self.server.sql(&all).unwrap()
        });
        rows.join(" ")
    }

    /// The same logs as files, for who verifies them.
    fn as_files(&self) -> PathBuf {
        let to = self.path("log");
        let mut files = SegmentStorage::open(&to, Default::default()).unwrap();
        let mut beside = Vec::new();
        let mut visit = |entry: Entry<'_>| {
            match entry {
                Entry::Blob {
                    kind, name, bytes, ..
                } => beside.push(Blob {
                    kind,
                    name: *name,
                    bytes: bytes.to_vec(),
                }),
                Entry::Leaf { log, bytes, .. } => {
                    let appended = files.append(&[LogGroup {
                        log: log.to_owned(),
                        expected_head: files.head(log),
                        leaves: vec![bytes.to_vec().into()],
                        blobs: std::mem::take(&mut beside),
                    }]);
                    assert!(matches!(appended.unwrap()[0], Appended::Appended { .. }));
                }
            }
            ControlFlow::Continue(())
        };
        self.storage().replay(&mut visit).unwrap();
        to
    }
}

fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_postgres_that_was_put_back_goes_on_only_once_each_log_says_what_it_lost() {
    let mut here = Beside::new();
    here.log(FIRST, 20).await.unwrap();
    here.server.copy().unwrap();
    here.log(FIRST, 30).await.unwrap();
    // A log that is not in the copy at all.
    here.log(SECOND, 10).await.unwrap();
    fs::copy(here.path("data/head"), here.path("anchors")).unwrap();
    here.server.put_back().unwrap();
    let why = here.log(FIRST, 1).await.unwrap_err();
    assert!(why.contains("`fork`"), "{why}");

    let before = here.rows();
    let plan = here.fork(&[]);
    assert!(plan.status.success(), "{}", text(&plan));
    assert!(text(&plan).contains("goes on after 21 leaves"));
    assert!(text(&plan).contains("is gone, and begins anew"));
    assert_eq!(here.rows(), before, "nothing is written");
    assert!(here.log(FIRST, 1).await.is_err());

    let done = here.fork(&["--yes"]);
    assert!(done.status.success(), "{}", text(&done));
    let again = here.fork(&["--yes"]);
    assert!(text(&again).contains("nothing is known to be lost"));
    here.log(FIRST, 20).await.unwrap();
    here.log(SECOND, 5).await.unwrap();

    let mut verify = Command::new(actpass());
    verify.args(["verify", "--output=json", "--anchor"]);
    verify.arg(here.path("anchors")).arg(here.as_files());
    let verified = verify.output().unwrap();
    assert_eq!(verified.status.code(), Some(2), "{}", text(&verified));
    let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
    for (nth, leaf) in [(0, 21), (1, 1)] {
        let lost = &found["logs"][nth]["lost"][0];
        assert_eq!((&lost["leaf"], &lost["anchors"]), (&leaf.into(), &1.into()));
    }
}
