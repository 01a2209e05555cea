//! An installation whose ledgers keep their logs in PostgreSQL: two of them over one server outside of the cluster, known by its
//! certificate. Ledgers are killed and replaced, also with another key encryption key, another key signs checkpoints, and the server dies while agents pay; what was paid was permitted, each payment
//! once, and people reach the ledger as they always do.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actpass_tests::account::Account;
use actpass_tests::actpass;
use actpass_tests::authority::Authority;
use actpass_tests::cluster::{Cluster, Own, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::{CHART, Installed, SYSTEM};
use actpass_tests::postgres::Postgres;
use actpass_tests::shop::Shop;
use anyhow::ensure;
use serde_json::json;

/// Name of the server, as the world knows it.
const SERVER: &str = "db.example";

/// Pays small bills until it is told to stop, each with a note of its own.
const AGENT: &str = r#"
pay() { i=0; while [ ! -e /tmp/stop ]; do i=$((i+1))
  curl -sS -m 20 -o /dev/null -H 'content-type: application/json' -d "{\"amount\":100,\"note\":\"$1-$i\"}" \
    https://PROVIDER/v1/payments || sleep 0.2
done; }
for k in 1 2; do pay $k & done; wait; sleep inf
"#;

/// Whoever connects is at the server at that port of this machine.
fn lead(listener: TcpListener, port: u16) {
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            let ways = [
                (from.try_clone().unwrap(), to.try_clone().unwrap()),
                (to, from),
            ];
            for (mut from, mut to) in ways {
                std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(std::net::Shutdown::Both).ok();
                });
            }
        }
    });
}

/// A server that knows `ledger` by a password, and what the chart has to be told of it.
fn server(cluster: &Cluster) -> (Postgres, tempfile::NamedTempFile) {
    let mut server = Postgres::start().unwrap();
    let role =
        "CREATE ROLE ledger LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE postgres TO ledger";
    server.sql(role).unwrap();
    let authority = Authority::new().unwrap();
    let (certificate, key) = authority.certificate(&[SERVER]).unwrap();
    server.stop().unwrap();
    server.secure(&certificate, &key).unwrap();
    server.resume().unwrap();
    lead(cluster.serve(SERVER, 5432).unwrap(), server.port());

    let secret = |name: &str, key: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM}, "stringData": {key: value}});
    cluster.ask(&["create", "namespace", SYSTEM]).unwrap();
    let password = secret("ledger-db", "password", "right\n").to_string();
    cluster.apply_in(SYSTEM, &password).unwrap();
    let authorities = secret("ledger-db-ca", "ca.crt", &authority.pem).to_string();
    cluster.apply_in(SYSTEM, &authorities).unwrap();
    let values = json!({"ledger": {"replicas": 2, "postgres": {
        "url": format!("postgresql://ledger@{SERVER}:5432/postgres"),
        "passwordSecret": "ledger-db", "caSecret": "ledger-db-ca",
    }}});
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(file.path(), values.to_string()).unwrap();
    (server, file)
}

/// Names of the ledger's pods.
fn ledgers(cluster: &Cluster) -> Vec<String> {
    let selector = "--selector=app.kubernetes.io/component=ledger";
    let pods = cluster.ask(&["get", "pod", "-n", SYSTEM, selector, "-o=name"]);
    pods.unwrap().lines().map(str::to_owned).collect()
}

/// The private keys of checkpoints, as the Secret has them.
fn seeds(cluster: &Cluster) -> String {
    let secret = ["get", "secret", "actpass-ledger", "-n", SYSTEM];
    let seeds = "-o=go-template={{index .data \"log.key\" | base64decode}}";
    cluster.ask(&[&secret[..], &[seeds]].concat()).unwrap()
}

#[test]
fn two_ledgers_over_one_postgres_serve_a_cluster_whatever_dies() {
    if !possible() {
        return;
    }
    let cluster = Own::up().unwrap();
    let (mut server, values) = server(&cluster);
    let installed = Installed::valued(&cluster, values.path()).unwrap();
    let before = ledgers(&cluster);
    assert_eq!(before.len(), 2, "{before:?}");
    let shop = Shop::working(&installed, "several", &["sh", "-c", AGENT]).unwrap();
    shop.goes_on("the start").unwrap();

    for pod in &before {
        let gone = ["delete", pod, "-n", SYSTEM, "--grace-period=0", "--force"];
        cluster.ask(&gone).unwrap();
        shop.goes_on(&format!("the death of {pod}")).unwrap();
        installed.rolled_out().unwrap();
    }
    let after = ledgers(&cluster);
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");

    server.kill().unwrap();
    server.resume().unwrap();
    shop.goes_on("the death of the server").unwrap();

    another_kek(&cluster);
    shop.goes_on("ledgers with another key").unwrap();

    // Another key of checkpoints, which both bring into use without a start.
    let short = "--set=keys.noticeSeconds=3,keys.overlapSeconds=20";
    let upgrade = ["upgrade", "actpass", CHART, "--reuse-values", short];
    installed.change(&upgrade).unwrap();
    installed.rolled_out().unwrap();
    let before = (ledgers(&cluster), seeds(&cluster));
    assert_eq!(before.1.lines().count(), 1);
    let root = installed.person("root", &["system:masters"]).unwrap();
    let rotate = ["keys", "rotate", "checkpoints"];
    let asked = root.actpass(&cluster, &rotate).unwrap();
    assert!(asked.status.success(), "{}", text(&asked));
    eventually(Duration::from_secs(180), || {
        let now = seeds(&cluster);
        let alone = now.lines().count() == 1 && now != before.1;
        ensure!(alone, "{} seeds", now.lines().count());
        Ok(())
    })
    .unwrap();
    shop.goes_on("another key of checkpoints").unwrap();
    assert_eq!(ledgers(&cluster), before.0);
    let restarts = [
        "get",
        "pod",
        "-n",
        SYSTEM,
        "--selector=app.kubernetes.io/component=ledger",
    ];
    let counts = "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = cluster.ask(&[&restarts[..], &[counts]].concat()).unwrap();
    assert_eq!(restarts, "0 0");

    let stop = shop.namespace.exec("agent", "touch /tmp/stop").unwrap();
    assert!(stop.status.success(), "{}", text(&stop));
    let name = shop.namespace.name.as_str();
    let bea = installed.token_person("bea").unwrap();
    installed.may_reach_the_ledger(&bea).unwrap();
    installed
        .allow(&shop.namespace, &bea, "actpass-auditor")
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl");
    let file = file.to_str().unwrap();
    let account = eventually(Duration::from_secs(90), || {
        drop(fs::remove_file(file));
        let exported = bea.actpass(&cluster, &["export", name, "--to", file])?;
        ensure!(exported.status.success(), "{}", text(&exported));
        let account = Account::of_export(&fs::read_to_string(file)?)?;
        ensure!(account.open() == 0, "{} permits are open", account.open());
        // What was permitted last may still be on its way to the provider.
        account.justify(&shop.paid()?).map(|()| account)
    })
    .unwrap();
    let verified = Command::new(actpass()).args(["verify", file]).output();
    let verified = verified.unwrap();
    assert!(
        matches!(verified.status.code(), Some(0 | 2)) && !text(&verified).contains("INVALID"),
        "{}",
        text(&verified)
    );
    let verified = bea.actpass(&cluster, &["verify", name]).unwrap();
    assert!(
        matches!(verified.status.code(), Some(0 | 2)) && !text(&verified).contains("INVALID"),
        "{}",
        text(&verified)
    );
    println!(
        "{} payments of {} permits",
        shop.paid().unwrap().len(),
        account.permits.len()
    );
}

/// Exchanges the key encryption key by the lines that the page of keys has for it: known to all, used by all, alone.
fn another_kek(cluster: &Cluster) {
    let kek = || {
        let of = ["get", "secret", "actpass-ledger", "-n", SYSTEM];
        let path = ["-o=go-template={{.data.kek | base64decode}}"];
        cluster.ask(&[&of[..], &path].concat()).unwrap()
    };
    let before = kek();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keys.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, lines) = page.split_once("```sh\nsecret()").unwrap();
    let (lines, _) = lines.split_once("```").unwrap();
    let lines = format!("set -eu\nsecret(){lines}");
    let output = cluster.kube("bash").args(["-c", &lines]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let after = kek();
    let keys = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    assert_eq!(keys(&after).len(), 1, "the new one alone");
    assert_ne!(keys(&before), keys(&after));
}
