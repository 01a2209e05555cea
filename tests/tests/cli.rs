//! The commands beside `run`, as a user meets them.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use actpass_tests::home::{Home, User, closed_shop, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A read that the policy denies.
const DENIED: &str = "curl -sS -m 5 https://api.shop.example/v1/items";

fn home() -> Home {
    Home::new(User::own(), &closed_shop()).unwrap()
}

fn done(home: &Home, args: &[&str]) -> Output {
    home.actpass(args).output().unwrap()
}

fn run(home: &Home, script: &str) {
    let output = home.script(script).unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Starts a command whose lines come through the channel.
fn lines(home: &Home, args: &[&str]) -> (Child, Receiver<String>) {
    let mut child = home.actpass(args).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in stdout.lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Waits for the end of a child that is to end by itself soon.
fn ended(mut child: Child) -> Option<i32> {
    for _ in 0..100 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn events_show_a_denial_under_the_id_the_caller_got() {
    let home = home();
    run(&home, &format!("{DENIED} -D answer -o /dev/null"));
    let answer = fs::read_to_string(home.path().join("answer")).unwrap();
    let header = answer
        .lines()
        .find_map(|line| line.strip_prefix("actpass-evidence: "));
    let id = header.unwrap().trim();
    let shown = done(&home, &["events", "--verdict", "deny"]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = text(&shown);
    let [line] = shown.lines().collect::<Vec<_>>()[..] else {
        panic!("one denial, one line: {shown}");
    };
    for part in [
        "reader",
        "shop.read",
        "api.shop.example",
        "rule_denies reads/reads",
        id,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let json = done(
        &home,
        &["events", "--output", "json", "--capability", "shop.*"],
    );
    let event: Value = serde_json::from_slice(&json.stdout).unwrap();
    let record = &event["r"];
    let own = format!("{}/{}", record["stream"].as_str().unwrap(), record["seq"]);
    assert_eq!(own, id);
    assert_eq!(event["r"]["body"]["reason"], "rule_denies");
    let all = text(&done(&home, &["events"]));
    let last = text(&done(&home, &["events", "--limit", "2"]));
    assert!(all.lines().count() > 4, "{all}");
    assert!(all.ends_with(&last) && last.lines().count() == 2, "{last}");
}

#[test]
fn events_follow_a_run_and_end_with_ctrl_c_or_their_reader() {
    let home = home();
    let follow = ["events", "--follow", "--verdict", "deny"];
    let (child, lines) = lines(&home, &follow);
    run(&home, DENIED);
    let line = lines.recv_timeout(SOON).unwrap();
    assert!(line.contains("rule_denies"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(ended(child), Some(0), "Ctrl-C is a clean end");

    let mut child = home
        .actpass(&follow)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert_eq!(first.trim_end(), line, "what was there comes first");
    drop(stdout);
    assert_eq!(ended(child), Some(0), "a closed pipe is a clean end");
}

#[test]
fn events_are_read_while_a_run_writes_them_and_make_nothing_where_nothing_is() {
    let home = home();
    let none = done(&home, &["events"]);
    assert_eq!(none.status.code(), Some(1), "{}", text(&none));
    assert!(text(&none).contains("holds no log"), "{}", text(&none));
    assert!(!home.path().join("state").exists(), "reading makes nothing");
    let mut run = home
        .actpass(&[
            "run",
            "-f",
            "policy.yaml",
            "--",
            "sh",
            "-c",
            "echo up; read line",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    stdout.read_line(&mut up).unwrap();
    let shown = done(&home, &["events", "state/log", "--verdict", "ledger"]);
    run.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(run.wait().unwrap().success());
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    assert!(text(&shown).contains("passport=reader"), "{}", text(&shown));
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let before = done(&home, &["doctor"]);
    assert_eq!(before.status.code(), Some(0), "{}", text(&before));
    assert!(!home.path().join("state").exists(), "looking makes nothing");
    run(&home, DENIED);
    let after = done(&home, &["doctor", "-f", "policy.yaml"]);
    assert_eq!(after.status.code(), Some(0), "{}", text(&after));

    let kek = home.path().join("state/keys/kek");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o644)).unwrap();
    let segment = home.path().join("state/log/segments/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[700] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::write(
        home.path().join("policy.yaml"),
        closed_shop().replace("Deny", "Dny"),
    )
    .unwrap();
    let found = done(&home, &["doctor", "-f", "policy.yaml", "--output", "json"]);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    for (check, part) in [
        ("kek", "chmod 600"),
        ("log", "00000001.seg"),
        ("policy", "Dny"),
    ] {
        let of_check = |it: &&Value| it["check"] == check && it["state"] == "problem";
        let problem = found.as_array().unwrap().iter().find(of_check);
        let problem = problem.map(ToString::to_string).unwrap_or_default();
        assert!(problem.contains(part), "{check}: {found:#}");
    }

    // A key that came later is one like the first.
    let second = home.path().join("state/keys/log-2.key");
    fs::copy(home.path().join("state/keys/log.key"), &second).unwrap();
    fs::set_permissions(&second, fs::Permissions::from_mode(0o640)).unwrap();
    let found = done(&home, &["doctor"]);
    let line = format!("{} has mode 640", second.display());
    assert!(
        text(&found).replace('`', "").contains(&line),
        "{}",
        text(&found)
    );
}

#[test]
fn every_command_ends_with_the_code_it_documents() {
    struct Case {
        name: &'static str,
        given: &'static [&'static str],
        want: i32,
    }
    let cases = [
        Case {
            name: "help",
            given: &["--help"],
            want: 0,
        },
        Case {
            name: "an unknown command",
            given: &["rn"],
            want: 1,
        },
        Case {
            name: "a run that cannot be",
            given: &["run", "--", "true"],
            want: 125,
        },
        Case {
            name: "a run with manifests that are not there",
            given: &["run", "-f", "none", "--", "true"],
            want: 125,
        },
        Case {
            name: "a command not found",
            given: &["run", "-f", "policy.yaml", "--", "no-such-program"],
            want: 127,
        },
        Case {
            name: "a command that fails",
            given: &["run", "-f", "policy.yaml", "--", "sh", "-c", "exit 9"],
            want: 9,
        },
        Case {
            name: "a good manifest",
            given: &["check", "policy.yaml"],
            want: 0,
        },
        Case {
            name: "a bad manifest",
            given: &["check", "bad.yaml"],
            want: 1,
        },
        Case {
            name: "a valid log",
            given: &["verify"],
            want: 0,
        },
        Case {
            name: "no log",
            given: &["verify", "."],
            want: 1,
        },
        Case {
            name: "limits",
            given: &["limits"],
            want: 0,
        },
        Case {
            name: "approvals",
            given: &["approvals", "list"],
            want: 0,
        },
        Case {
            name: "an approval nobody asked for",
            given: &["approvals", "approve", "A-1"],
            want: 1,
        },
        Case {
            name: "open intents",
            given: &["intents", "list"],
            want: 0,
        },
        Case {
            name: "credentials",
            given: &["credentials", "list"],
            want: 0,
        },
        Case {
            name: "a credential that is not there",
            given: &["credentials", "delete", "none"],
            want: 1,
        },
        Case {
            name: "an event pattern that is none",
            given: &["events", "--capability", "a..b"],
            want: 1,
        },
    ];
    let home = home();
    fs::write(
        home.path().join("bad.yaml"),
        closed_shop().replace("Deny", "Dny"),
    )
    .unwrap();
    run(&home, "true");
    for Case { name, given, want } in cases {
        let output = done(&home, given);
        assert_eq!(
            output.status.code(),
            Some(want),
            "{name}: {}",
            text(&output)
        );
        let said = text(&output);
        assert!(
            want == 0 || want == 9 || !said.trim().is_empty(),
            "{name} says why"
        );
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
}

#[test]
fn shells_and_man_know_every_command() {
    let home = home();
    for shell in ["bash", "zsh", "fish"] {
        let output = done(&home, &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output);
        for word in ["events", "doctor", "approvals", "save-anchor"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let bash = home
        .actpass(&["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    fs::write(home.path().join("actpass.bash"), bash).unwrap();
    let checked = Command::new("bash")
        .args(["-n", "actpass.bash"])
        .current_dir(home.path())
        .status();
    assert!(checked.unwrap().success(), "bash reads it");
    let man = done(&home, &["man", "--dir", "man/man1"]);
    assert_eq!(man.status.code(), Some(0), "{}", text(&man));
    let page = fs::read_to_string(home.path().join("man/man1/actpass-events.1")).unwrap();
    assert!(page.starts_with(".ie"), "a manual page: {page:.60}");
    assert!(page.contains("\\-\\-follow"), "{page}");
}

/// What is probably not meant is said before the command runs, and what cannot be meant is refused.
#[test]
fn run_says_what_will_be_denied_and_refuses_to_redirect_what_nobody_declared() {
    let home = home();
    let lends = "spec:\n  tls: {mode: Intercept}\n  credentials: [{name: shop-read, effects: [Read], \
                 header: Authorization, format: \"Bearer {secret}\"}]\n  hosts: [api";
    fs::write(
        home.path().join("policy.yaml"),
        closed_shop().replacen("spec:\n  hosts: [api", lends, 1),
    )
    .unwrap();
    let said = done(
        &home,
        &[
            "run",
            "-f",
            "policy.yaml",
            "--environment",
            "prod",
            "--",
            "true",
        ],
    );
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    for part in [
        "`shop-read`, which is not stored; run `actpass credentials put shop-read --host 'api.shop.example' --effect Read < KEY`",
        "no rule is for `--environment prod`",
    ] {
        assert!(text(&said).contains(part), "{part}: {}", text(&said));
    }
    let mistyped = "api.shp.example:443:127.0.0.1:8443";
    let args = [
        "run",
        "-f",
        "policy.yaml",
        "--connect-to",
        mistyped,
        "--",
        "echo",
        "ran",
    ];
    let refused = done(&home, &args);
    assert_eq!(refused.status.code(), Some(125), "{}", text(&refused));
    assert!(text(&refused).contains("no Upstream declares api.shp.example"));
    assert!(!text(&refused).contains("ran\n"), "{}", text(&refused));
}

#[test]
fn looking_makes_nothing_and_a_missing_key_is_not_made_anew() {
    let home = home();
    let commands: [&[&str]; 4] = [
        &["limits"],
        &["approvals", "list"],
        &["intents", "list"],
        &["credentials", "list"],
    ];
    for given in commands {
        let shown = done(&home, given);
        assert_eq!(shown.status.code(), Some(1), "{given:?}: {}", text(&shown));
        assert!(
            text(&shown).contains("is no state directory yet"),
            "{}",
            text(&shown)
        );
        assert!(!home.path().join("state").exists(), "{given:?}");
    }
    let bound = ["--host", "api.shop.example", "--effect", "Read"];
    home.store("key", &bound, "secret").unwrap();
    let kek = home.path().join("state/keys/kek");
    let away = home.path().join("kek-elsewhere");
    fs::rename(&kek, &away).unwrap();
    let listed = done(&home, &["credentials", "list"]);
    assert_eq!(listed.status.code(), Some(1), "{}", text(&listed));
    assert!(
        text(&listed).contains("put the key back"),
        "{}",
        text(&listed)
    );
    assert!(!kek.exists(), "no other is made in its place");
    fs::rename(&away, &kek).unwrap();
    assert!(done(&home, &["credentials", "list"]).status.success());
}
