//! The log's key changes by `actpass keys rotate`, and whatever it is cut short in, the log goes on with one key or the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actpass_tests::home::{Home, User, closed_shop, text};

use super::state::says;

/// A home with a log.
fn home() -> Home {
    let home = Home::new(User::own(), &closed_shop()).unwrap();
    let bound = ["--host", "api.payments.example", "--effect", "Write"];
    home.store("payments", &bound, "sk_test_rotation").unwrap();
    home
}

fn keys(home: &Home) -> PathBuf {
    home.path().join("state/keys")
}

fn rotate(home: &Home) {
    says(
        &home.actpass(&["keys", "rotate"]).output().unwrap(),
        0,
        "signs",
    );
}

fn is_valid(home: &Home) {
    says(&home.actpass(&["verify"]).output().unwrap(), 0, "VALID");
}

/// How many keys the log has named.
fn rotations(home: &Home) -> usize {
    home.log().unwrap().matches("\"kind\":\"log_key\"").count()
}

fn copy(home: &Home, name: &str) -> PathBuf {
    let to = home.path().join(name);
    fs::copy(keys(home).join(name), &to).unwrap();
    to
}

#[test]
fn each_key_leads_to_the_next_and_an_old_one_is_needed_no_more() {
    let home = home();
    let anchor = |name: &str| fs::copy(home.path().join("state/head"), home.path().join(name));
    anchor("first.txt").unwrap();
    rotate(&home);
    rotate(&home);
    is_valid(&home);
    assert_eq!(rotations(&home), 2);
    let held = home.actpass(&["verify", "--anchor", "first.txt"]).output();
    says(&held.unwrap(), 0, "VALID");
    let first = copy(&home, "log.key");
    fs::remove_file(keys(&home).join("log.key")).unwrap();
    rotate(&home);
    is_valid(&home);

    // The newest is needed: without it nothing can follow.
    fs::remove_file(keys(&home).join("log-4.key")).unwrap();
    let refused = home.actpass(&["keys", "rotate"]).output().unwrap();
    says(&refused, 1, "is signed with key");
    assert!(first.exists());
}

#[test]
fn a_rotation_that_is_cut_short_goes_on_at_the_next_start() {
    let home = home();
    let (next, second) = (
        keys(&home).join("log-next.key"),
        keys(&home).join("log-2.key"),
    );
    rotate(&home);
    // The log names it, and its file was not renamed yet.
    fs::rename(&second, &next).unwrap();
    is_valid(&home);
    says(&home.actpass(&["limits"]).output().unwrap(), 0, "");
    assert!(second.exists() && !next.exists());
    assert_eq!(rotations(&home), 1, "it is named once");
    is_valid(&home);
}

#[test]
fn a_ledger_killed_while_it_rotates_leaves_a_log_that_is_valid_and_goes_on() {
    let home = home();
    for at in 0..12 {
        let mut rotating = home.actpass(&["keys", "rotate"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(10 * at));
        rotating.kill().unwrap();
        rotating.wait().unwrap();
        is_valid(&home);
    }
    let through = rotations(&home);
    println!("{through} rotations came through before they were killed");
    // The last may stand in the log and wait for no more than its file's name.
    rotate(&home);
    let before = rotations(&home);
    rotate(&home);
    is_valid(&home);
    assert!(rotations(&home) > before);
    assert!(!keys(&home).join("log-next.key").exists());
}

#[test]
fn a_key_that_is_asked_for_and_not_in_the_log_yet_is_none_that_verifies() {
    let home = home();
    let stray = Home::new(User::own(), &closed_shop()).unwrap();
    let bound = ["--host", "api.payments.example", "--effect", "Write"];
    stray.store("payments", &bound, "sk_test_rotation").unwrap();
    put(
        &keys(&stray).join("log.key"),
        &keys(&home).join("log-next.key"),
    );
    is_valid(&home);
    // As if it had been brought into use, and no leaf says so.
    put(
        &keys(&stray).join("log.key"),
        &keys(&home).join("log-2.key"),
    );
    let verified = home.actpass(&["verify"]).output().unwrap();
    says(&verified, 3, "names another log key");
    assert!(text(&verified).contains("leaf 0"));
}

#[test]
fn a_log_restored_from_before_a_rotation_is_held_against_the_key_that_it_names() {
    let home = home();
    let state = home.path().join("state");
    let kept = home.path().join("backup");
    let to = kept.to_str().unwrap();
    says(
        &home.actpass(&["backup", "--to", to]).output().unwrap(),
        0,
        "",
    );
    rotate(&home);
    rotate(&home);
    let beside = ["keys", "kek"].map(|name| (state.join(name), home.path().join(name)));
    for (at, aside) in beside.iter().filter(|(at, _)| at.exists()) {
        fs::rename(at, aside).unwrap();
    }
    fs::remove_dir_all(&state).unwrap();
    let restored = ["restore", "--from", to, "--to", state.to_str().unwrap()];
    says(&home.actpass(&restored).output().unwrap(), 0, "");
    for (at, aside) in beside.iter().filter(|(_, aside)| aside.exists()) {
        fs::rename(aside, at).unwrap();
    }
    let verified = home.actpass(&["verify"]).output().unwrap();
    says(&verified, 0, "names no newer one of the keys there");
    // A key that is given is the only one.
    let listed = home.actpass(&["keys", "list"]).output().unwrap();
    let listed = text(&listed);
    let newest = listed.split_whitespace().next().unwrap();
    fs::write(home.path().join("given.pub"), newest).unwrap();
    let given = home.actpass(&["verify", "--key", "given.pub"]).output();
    says(&given.unwrap(), 3, "names another log key");
    // Nor is an older key known to be that of a log that was not restored: who stole it could have made it.
    fs::remove_file(state.join("restored")).unwrap();
    let verified = home.actpass(&["verify"]).output().unwrap();
    says(&verified, 3, "names another log key");
}

fn put(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn what_keys_signed_that_are_lost_with_the_leaf_that_named_them_is_of_what_is_lost() {
    let home = home();
    let done = |words: &[&str]| says(&home.actpass(words).output().unwrap(), 0, "");
    let at = |name: &str| home.path().join(name);
    done(&["backup", "--to", "before"]);
    for anchor in ["second.txt", "third.txt"] {
        rotate(&home);
        assert!(home.script("true").unwrap().status.success());
        fs::copy(at("state/head"), at(anchor)).unwrap();
    }
    done(&["backup", "--to", "after"]);
    done(&["export", "--to", "whole.jsonl"]);
    let resume = ["verify", "--resume", "resumed", "whole.jsonl"];
    says(&home.actpass(&resume).output().unwrap(), 0, "VALID");

    fs::rename(at("state"), at("lost")).unwrap();
    done(&["restore", "--from", "before", "--to", "state"]);
    for file in fs::read_dir(at("lost/keys")).unwrap() {
        let file = file.unwrap();
        fs::create_dir_all(at("state/keys")).unwrap();
        fs::copy(file.path(), keys(&home).join(file.file_name())).unwrap();
    }
    let anchors = ["--anchor", "second.txt", "--anchor", "third.txt"];
    let verify = [&["verify"][..], &anchors].concat();
    says(&home.actpass(&verify).output().unwrap(), 3, "INVALID");
    let fork = ["fork", "--why=case 17", "--yes"];
    let lost = ["--lost", "second.txt", "--lost", "third.txt"];
    done(&[&fork[..], &lost].concat());
    let known = |verified: &std::process::Output| text(verified).contains("2 of the anchors are");
    for again in [false, true] {
        let verified = home.actpass(&verify).output().unwrap();
        says(&verified, 2, "INCOMPLETE");
        assert!(known(&verified), "{}", text(&verified));
        assert_eq!(rotations(&home), 2, "each key is named once more");
        assert!(again || home.script("true").unwrap().status.success());
    }

    done(&["backup", "--to", "after"]);
    done(&["export", "--to", "forked.jsonl"]);
    let resume = ["verify", "--resume", "resumed", "forked.jsonl"];
    says(&home.actpass(&resume).output().unwrap(), 2, "INCOMPLETE");
    let second = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/actpass_verify.py");
    let mut python = std::process::Command::new("python3");
    python.arg(second).arg(at("forked.jsonl"));
    for anchor in ["second.txt", "third.txt"] {
        python.arg("--anchor").arg(at(anchor));
    }
    says(&python.output().unwrap(), 2, "INCOMPLETE");
}

#[test]
fn a_log_that_is_gone_begins_anew_with_the_oldest_key_so_that_what_each_key_signed_is_known() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    for anchor in ["first.txt", "second.txt"] {
        assert!(home.script("true").unwrap().status.success());
        fs::copy(at("state/head"), at(anchor)).unwrap();
        rotate(&home);
    }
    fs::remove_dir_all(at("state/log")).unwrap();
    let anchored = |command: &[&'static str], option| {
        let anchors = ["first.txt", "second.txt"].map(|anchor| [option, anchor]);
        [command, &anchors.concat()].concat()
    };
    let fork = anchored(&["fork", "--why=case 17", "--yes"], "--lost");
    says(&home.actpass(&fork).output().unwrap(), 0, "begins anew");
    assert_eq!(rotations(&home), 2);
    let verify = anchored(&["verify"], "--anchor");
    for again in [false, true] {
        let verified = home.actpass(&verify).output().unwrap();
        says(&verified, 2, "of the anchors are of what is lost");
        assert!(again || home.script("true").unwrap().status.success());
    }
}

#[test]
fn a_log_is_held_against_the_newest_of_a_list_of_keys_that_it_names() {
    let home = home();
    let verify = |file: &str, keys: &str| {
        let named = home.actpass(&["verify", file, "--key", keys]).output();
        named.unwrap()
    };
    let piped = |file: &str, keys: &str| {
        let mut piped = home.actpass(&["verify", "-", "--key", keys]);
        let file = fs::File::open(home.path().join(file)).unwrap();
        piped.stdin(file).output().unwrap()
    };
    let prove = |name: &str| {
        let proved = home.actpass(&["proof", "0", "--to", name]).output();
        let proved = proved.unwrap();
        assert!(proved.status.success(), "{}", text(&proved));
    };
    let export = |name: &str| {
        let exported = home.actpass(&["export", "--to", name]).output().unwrap();
        assert!(exported.status.success(), "{}", text(&exported));
    };
    export("before.jsonl");
    prove("before.proof");
    rotate(&home);
    export("after.jsonl");
    prove("after.proof");
    let public = |name: &str| {
        let line = fs::read_to_string(keys(&home).join(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let (first, second) = (public("log.key"), public("log-2.key"));
    let stranger = actpass_core::hash::b64u_encode(
        ed25519_dalek::SigningKey::from_bytes(&[9; 32])
            .verifying_key()
            .as_bytes(),
    );
    let list = |name: &str, keys: &[&str]| {
        fs::write(home.path().join(name), keys.join("\n")).unwrap();
    };
    // As ConfigMap `actpass-trust` has it.
    let ended = format!("{first} ended");
    list(
        "all",
        &[&ended, &format!("{second} from=2026-05-04T10:00:00Z")],
    );
    list("more", &[&first, &second, &stranger]);
    list("others", &[&stranger]);
    list("none", &[&ended]);
    // With a key that has ended whoever stole it makes what was before the other; to that one the rest leads.
    for (file, all, none) in [
        ("before.jsonl", "INCOMPLETE", "INCOMPLETE"),
        ("after.jsonl", "VALID", "INCOMPLETE"),
        ("before.proof", "INCOMPLETE", "INCOMPLETE"),
        ("after.proof", "VALID", "INVALID"),
        ("state/log", "VALID", "INCOMPLETE"),
    ] {
        for (keys, want) in [
            ("all", all),
            ("more", "VALID"),
            ("none", none),
            ("others", "INVALID"),
        ] {
            let mut found = vec![verify(file, keys)];
            if file.ends_with(".jsonl") {
                found.push(piped(file, keys));
            }
            for found in found {
                let code = match want {
                    "VALID" => 0,
                    "INCOMPLETE" => 2,
                    _ => 3,
                };
                let said = text(&found);
                let about = format!("{file} by {keys}: {said}");
                assert_eq!(found.status.code(), Some(code), "{about}");
                assert!(said.contains(want), "{about}");
                assert_eq!(
                    said.contains("it has ENDED"),
                    want == "INCOMPLETE",
                    "{about}"
                );
                let older = keys == "more" && !file.ends_with(".proof");
                assert_eq!(said.contains("no newer one"), older, "{about}");
            }
        }
    }
    list("spoilt", &[&first, "and a note"]);
    let refused = home
        .actpass(&["verify", "after.jsonl", "--key", "spoilt"])
        .output();
    says(&refused.unwrap(), 1, "is not a log's public key");
}
