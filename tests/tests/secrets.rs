//! The upstream's key is nowhere but in the vault and on the wire to the upstream: searched for as bytes, in every form
//! it could take, in all that an agent, an operator or an auditor ever gets to see.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_tests::authority::Authority;
use actpass_tests::front::Front;
use actpass_tests::stripe::{DUMMY, HOST, KEY, World};
use actpass_tests::tools::python;

/// The key as it is, in hex, base64 (at each of the three places it can start in a group), and encoded for a URL.
fn forms() -> Vec<Vec<u8>> {
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url = KEY
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let mut forms = vec![
        KEY.to_owned(),
        hex.to_uppercase(),
        hex,
        url.to_lowercase(),
        url,
    ];
    forms.extend((0..3).map(|before| base64_core(&[&vec![b' '; before], KEY.as_bytes()].concat())));
    forms.into_iter().map(String::into_bytes).collect()
}

/// Base64 without the digits at both ends that depend on the neighbours.
fn base64_core(bytes: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["base64", "-A"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let text = text.trim_end_matches('=');
    text.get(4..text.len() - 4).unwrap().to_owned()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// Asserts that none of the forms stands in `bytes`.
fn clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        let found = contains(bytes, &form);
        assert!(
            !found,
            "{what} holds the key as `{}`",
            String::from_utf8_lossy(&form)
        );
    }
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// Runs the curious agent; with its end comes what `/metrics` showed while it was still there.
fn run(world: &World, policy: &str, connect_to: &str, charge: &str) -> (Output, Vec<u8>) {
    let python = python();
    let (out, log) = (world.path("stdout"), world.path("stderr"));
    let mut child = world
        .command(&["run", "-f", policy, "--connect-to", connect_to, "--"])
        .args([python.to_str().unwrap(), "snoop.py"])
        .env("CHARGE", charge)
        .env("STATE", world.path("state"))
        .env("ACTPASS_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let ready = world.path("snooped");
    while !ready.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let metrics = ready.exists().then(|| scrape(world));
    drop(child.stdin.take());
    let output = Output {
        status: child.wait().unwrap(),
        stdout: fs::read(out).unwrap(),
        stderr: fs::read(log).unwrap(),
    };
    // It may be run again in the same place.
    fs::remove_file(ready).ok();
    (output, metrics.unwrap_or_default())
}

fn scrape(world: &World) -> Vec<u8> {
    let control = fs::read(world.path("state/control.json")).unwrap();
    let control: serde_json::Value = serde_json::from_slice(&control).unwrap();
    let url = format!("https://{}/metrics", control["address"].as_str().unwrap());
    let curl = Command::new("curl").args(["-sk", "-m", "5", &url]).output();
    curl.unwrap().stdout
}

#[test]
fn the_key_reaches_the_provider_and_nobody_else() {
    let world = World::start();
    let charge = world.charge();
    let connect_to = format!("{HOST}:443:127.0.0.1:{}", world.front.port);
    let (output, metrics) = run(&world, "policy.yaml", &connect_to, &charge);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // The search can find: the provider got the key for the refund and for the read, as a header of the request.
    let seen = world.front.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for request in &seen {
        assert!(contains(format!("{request:?}").as_bytes(), KEY.as_bytes()));
    }
    // And what the agent sent as its own is in its memory, while the real one is not.
    let memory = fs::read(world.path("agent.mem")).unwrap();
    assert!(
        memory.len() > 1 << 20,
        "only {} bytes of memory",
        memory.len()
    );
    assert!(contains(&memory, DUMMY.as_bytes()));
    clean("the agent's memory", &memory);

    // Environment, answers, and whatever the attempts printed.
    assert!(
        text.contains("\"object\": \"refund\"") || text.contains("\"object\":\"refund\""),
        "{text}"
    );
    clean("what the agent printed", &output.stdout);
    let log = &output.stderr;
    assert!(
        contains(log, b"TRACE"),
        "the log is not at its most talkative"
    );
    clean("the log at level trace", log);
    assert!(
        contains(&metrics, b"stripe.refunds.create"),
        "the metrics are not of this run: {}",
        String::from_utf8_lossy(&metrics)
    );
    clean("the metrics", &metrics);

    // All files: evidence, ring, vault, keys, policy, what the agent wrote.
    let all = files(world.path("").as_path());
    assert!(
        all.iter()
            .any(|file| file.ends_with("vault/credentials.json")),
        "{all:?}"
    );
    assert!(
        all.iter()
            .any(|file| file.extension().is_some_and(|it| it == "seg")),
        "{all:?}"
    );
    for file in all {
        clean(&file.display().to_string(), &fs::read(&file).unwrap());
    }

    // What people are shown.
    for shown in [
        vec!["credentials", "list", "--output", "json"],
        vec!["approvals", "list", "--output", "json"],
        vec!["limits", "--output", "json"],
        vec!["verify"],
    ] {
        let output = world.command(&shown).output().unwrap();
        assert!(output.status.success(), "{shown:?}: {output:?}");
        clean(&shown.join(" "), &[output.stdout, output.stderr].concat());
    }
}

#[test]
fn vault_keys_and_tokens_cannot_be_opened_from_inside() {
    let world = World::start();
    let charge = world.charge();
    let connect_to = format!("{HOST}:443:127.0.0.1:{}", world.front.port);
    let (output, _) = run(&world, "policy.yaml", &connect_to, &charge);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for secret in [
        "vault/credentials.json",
        "vault/tenants.json",
        "keys/kek",
        "keys/log.key",
    ] {
        assert!(
            world.path("state").join(secret).exists(),
            "no `{secret}` outside; the attempt inside says nothing"
        );
    }
    let refused = text
        .lines()
        .filter(|line| line.starts_with("refused open"))
        .count();
    assert_eq!(refused, 6, "{text}");
    assert!(text.contains("refused list the state directory"), "{text}");
    assert!(
        text.contains("refused read the memory of ActPass"),
        "{text}"
    );
    assert!(text.contains("refused read environ of ActPass"), "{text}");
    assert!(!world.path("actpass.mem").exists(), "some of it was read");
}

#[test]
fn an_upstream_edited_to_another_host_gets_no_credential() {
    let world = World::start();
    let charge = world.charge();
    let thief = Authority::new().unwrap();
    let elsewhere = Front::start(&thief, "api.stripe.example", 1).unwrap();
    let declared = fs::read_to_string(world.path("policy.yaml")).unwrap();
    let edited = declared.replace("hosts: [api.stripe.com]", "hosts: [api.stripe.example]");
    assert_ne!(edited, declared);
    fs::write(world.path("edited.yaml"), edited).unwrap();
    let connect_to = format!("api.stripe.example:443:127.0.0.1:{}", elsewhere.port);
    let script = format!(
        "curl -s https://api.stripe.example/v1/refunds -d charge={charge} -d amount=12000; \
         curl -s https://api.stripe.example/v1/charges"
    );
    let args = [
        "run",
        "-f",
        "edited.yaml",
        "--connect-to",
        &connect_to,
        "--",
        "sh",
        "-c",
        &script,
    ];
    let output = world.command(&args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let denied = "{\"code\":\"credential_unavailable\",\"detail\"";
    assert_eq!(text.matches(denied).count(), 2, "{text}");
    assert!(text.contains("is not one of its hosts"), "{text}");
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    clean("the answer", &output.stdout);
}
