//! A tenant's log in one file, verified without the ledger; and its leaves as people read them.

use std::path::Path;

use actpass_core::verify::Class;
use actpass_ledger::export::{First, Last, VERSION};
use actpass_ledger::offline::{Files, Known, LogKey, Verified, verify_export};
use actpass_tests::scaled;
use serde_json::{Value, json};

use super::{SHOP, World};

/// What somebody with the right gets from a path of the shop's.
async fn fetched(world: &World, path: &str) -> String {
    let tenants = &world.tenants;
    tenants.know("auditor", "ada", [format!("get evidence {SHOP}")]);
    let (status, said) = tenants
        .call(Some("auditor"), "GET", path, b"")
        .await
        .unwrap();
    assert_eq!(status, 200, "{path}: {said}");
    // Its last line end is taken for that of the status behind it.
    format!("{}\n", said.as_str().unwrap())
}

fn verified(file: &Path, bytes: &[u8], key: &LogKey) -> Verified {
    std::fs::write(file, bytes).unwrap();
    let known = Known {
        keys: std::slice::from_ref(key),
        ..Known::default()
    };
    verify_export(file, &known).unwrap()
}

#[tokio::test]
async fn an_exported_log_verifies_elsewhere_and_every_changed_byte_is_found() {
    let world = World::new().await;
    let text = fetched(&world, "/v1/export?namespace=shop").await;
    let key = LogKey::parse(&world.tenants.log_key()).unwrap();
    world.end().await;
    assert!(text.contains("actpass/0c1d/shop/aaaa") && !text.contains("0c1d/bank"));
    assert!(!text.contains("s3cr3t"), "a secret of the vault");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.jsonl");
    let whole = verified(&file, text.as_bytes(), &key);
    assert_eq!(whole.class(), Class::Valid, "{whole:?}");
    let [log] = whole.logs.as_slice() else {
        panic!("{whole:?}");
    };
    assert!(log.key_known && log.report.leaves > 5 && log.report.texts.sealed > 0);

    let stride = text.len() / scaled(4_000) as usize + 1;
    let mut changed = 0;
    for at in (0..text.len()).step_by(stride) {
        let mut other = text.clone().into_bytes();
        other[at] ^= 0x01;
        let found = verified(&file, &other, &key);
        assert_ne!(found.class(), Class::Valid, "byte {at}: {found:?}");
        changed += 1;
    }
    println!("{changed} bytes changed, each found");

    // Cut anywhere, it does not pass for whole.
    for keep in [
        text.len() - 1,
        text.len() / 2,
        text.find('\n').unwrap() + 1,
        0,
    ] {
        let found = verified(&file, &text.as_bytes()[..keep], &key);
        assert_ne!(found.class(), Class::Valid, "{keep} bytes: {found:?}");
    }
}

/// Writes the last line anew, as whoever changes the file on purpose does.
fn summed(lines: &[&str]) -> String {
    let (last, before) = lines.split_last().unwrap();
    let mut last: Last = serde_json::from_str(last).unwrap();
    let before = before
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    let sum = actpass_core::hash::sha256(&[before.as_bytes()]);
    last.sha256 = actpass_core::hash::hex(&sum);
    format!("{before}{}\n", serde_json::to_string(&last).unwrap())
}

#[tokio::test]
async fn whoever_writes_the_sum_anew_is_found_by_the_signed_checkpoint() {
    let world = World::new().await;
    let text = fetched(&world, "/v1/export?namespace=shop").await;
    let key = LogKey::parse(&world.tenants.log_key()).unwrap();
    world.end().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let first: First = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first.export, VERSION);
    assert_eq!(
        verified(&file, summed(&lines).as_bytes(), &key).class(),
        Class::Valid
    );
    let leaves: Vec<usize> = (1..lines.len() - 1)
        .filter(|at| !lines[*at].starts_with("{\"blob\""))
        .collect();
    assert_eq!(leaves.len() as u64, first.leaves);
    for (seq, at) in leaves.iter().enumerate() {
        let mut without = lines.clone();
        without.remove(*at);
        let found = verified(&file, summed(&without).as_bytes(), &key);
        assert_eq!(
            found.class(),
            Class::Invalid,
            "without leaf {seq}: {found:?}"
        );
        let changed = lines[*at].replacen("0c1d/shop", "0c1d/shoq", 1);
        let mut other = lines.clone();
        other[*at] = &changed;
        let found = verified(&file, summed(&other).as_bytes(), &key);
        let first = found.logs[0].report.findings.first().map(|it| it.seq);
        assert_eq!(first, Some(seq as u64), "leaf {seq} changed: {found:?}");
        assert!(matches!(found.files, Files::Export { .. }));
    }
}

#[tokio::test]
async fn leaves_are_shown_from_an_instant_on_with_those_that_name_the_streams() {
    let world = World::new().await;
    let all = fetched(&world, "/v1/events?namespace=shop").await;
    let all: Vec<&str> = all.lines().collect();
    let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let seqs: Vec<u64> = all
        .iter()
        .map(|line| parsed(line)["h"]["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>());
    let last = parsed(all.last().unwrap());
    let since = last["h"]["time"].as_str().unwrap().to_owned();
    for path in [
        format!("/v1/events?namespace=shop&since={since}"),
        "/v1/events?namespace=shop&last=1".to_owned(),
    ] {
        let shown = fetched(&world, &path).await;
        let shown: Vec<Value> = shown.lines().map(parsed).collect();
        let (newest, before) = shown.split_last().unwrap();
        assert_eq!(*newest, last, "{path}");
        assert!(!before.is_empty(), "{path}");
        for leaf in before {
            assert_eq!(leaf["r"]["kind"], "stream_opened", "{path}: {leaf}");
        }
    }
    world.end().await;
}

/// The tokens of people with these rights in the shop's log.
fn with_rights(world: &World, token: &str, resources: &[&str]) {
    let rights = resources.iter().map(|it| format!("get {it} {SHOP}"));
    world
        .tenants
        .know(token, "ada", rights.collect::<Vec<String>>());
}

#[tokio::test]
async fn texts_are_disclosed_to_those_alone_who_have_the_right_to_hand_them_out() {
    let world = World::new().await;
    with_rights(&world, "reader", &["evidence"]);
    with_rights(&world, "texts", &["evidence/texts"]);
    with_rights(&world, "both", &["evidence", "evidence/texts"]);
    let asked = async |token: &str, query: &str| {
        let path = format!("/v1/export?{query}");
        let said = world.tenants.call(Some(token), "GET", &path, b"").await;
        said.unwrap()
    };
    let all = "namespace=shop&disclose=all";
    for (token, want) in [("reader", "get evidence/texts"), ("texts", "get evidence ")] {
        let (status, said) = asked(token, all).await;
        assert_eq!(status, 403, "{token}: {said}");
        assert!(said["detail"].as_str().unwrap().contains(want), "{said}");
    }
    // The right in one log is none in another.
    let (status, said) = asked("both", "namespace=bank&disclose=all").await;
    assert_eq!(status, 403, "{said}");
    for (leaves, want) in [
        ("x", "names no leaves"),
        ("9-2", "ends before it begins"),
        ("99999", "leaf 99999 is none of them"),
        ("", "names no leaves"),
    ] {
        let (status, said) = asked("both", &format!("namespace=shop&disclose={leaves}")).await;
        assert_eq!(status, 400, "{leaves}: {said}");
        assert!(said["detail"].as_str().unwrap().contains(want), "{said}");
    }

    let (status, plain) = asked("both", "namespace=shop").await;
    assert_eq!(status, 200, "{plain}");
    let plain = plain.as_str().unwrap().to_owned();
    assert!(!plain.contains("\"salt\":"), "texts in clear");
    let told = async || {
        let events = fetched(&world, "/v1/events?namespace=shop").await;
        let events = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let told = events.filter(|it| it["r"]["kind"] == "texts_disclosed");
        told.collect::<Vec<Value>>()
    };
    assert_eq!(told().await, Vec::<Value>::new(), "nothing was handed out");
    let (status, said) = asked("both", all).await;
    assert_eq!(status, 200, "{said}");
    let text = format!("{}\n", said.as_str().unwrap());
    let disclosed = text.lines().filter(|it| it.starts_with("{\"disclosed\":"));
    let disclosed: Vec<&str> = disclosed.collect();
    let path = r#"\"path\":\"/v1/pay\""#;
    let with_path = disclosed.iter().all(|line| line.contains(path));
    assert!(with_path && !disclosed.is_empty(), "{disclosed:?}");
    // Who, and which: all that was there until then. The file holds the leaf that says so.
    let [once] = &told().await[..] else {
        panic!("not once")
    };
    let (seq, body) = (once["h"]["seq"].as_u64().unwrap(), &once["r"]["body"]);
    assert_eq!(body["by"], "ada");
    assert_eq!(body["leaves"], json!([{"first": 0, "last": seq - 1}]));
    assert!(text.contains(&once.to_string()), "{once}");
    // Whoever takes no more than the first bytes has been told of, too.
    world
        .tenants
        .begin("both", &format!("/v1/export?{all}"))
        .await
        .unwrap();
    assert_eq!(told().await.len(), 2);
    let key = LogKey::parse(&world.tenants.log_key()).unwrap();
    world.end().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.jsonl");
    let first = text.find(disclosed[0]).unwrap() + disclosed[0].len() + 1;
    let cut = verified(&file, &text.as_bytes()[..first + 10], &key);
    assert_eq!(cut.class(), Class::Incomplete, "broken off: {cut:?}");
    let found = verified(&file, text.as_bytes(), &key);
    assert_eq!(found.class(), Class::Valid, "{found:?}");
    let report = &found.logs[0].report;
    assert_eq!(report.disclosed, disclosed.len() as u64);
    assert_eq!(report.texts.committed, report.disclosed, "all of them");
}
