//! `actpass verify` of an exported log in one pass: in memory that does not grow with the log, from a file or as it comes, and on from
//! where an earlier verification ended, however that ended.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_core::evidence::checkpoint::Checkpoint;
use actpass_core::evidence::leaf::{EventBody, GapLimits, LostHead, StreamEnd};
use actpass_core::evidence::record::{Body, Note, stream_id};
use actpass_core::hash::{b64u_encode, sha256};
use actpass_tests::exported::Exported;
use actpass_tests::logbook::{Logbook, Sidecar, policy, refund};
use actpass_tests::{actpass, fed, scaled};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use tempfile::TempDir;

const TENANT: &str = "local/default/5a";

/// A log of so many leaves by one sidecar; of three, one is an intent with texts beside it.
struct Long {
    log: Logbook,
    sidecar: Sidecar,
    leaves: u32,
}

impl Long {
    fn new() -> Self {
        let mut log = Logbook::new(TENANT, 200).unwrap();
        log.activate(policy(TENANT, "enforce"), None).unwrap();
        let sidecar = Sidecar::new(1);
        log.event(sidecar.opened(None)).unwrap();
        let leaves = 3;
        Self {
            log,
            sidecar,
            leaves,
        }
    }

    fn grown(mut self, leaves: u32) -> Self {
        while self.leaves < leaves {
            if self.leaves.is_multiple_of(3) {
                let refund = refund(TENANT, 1_000_000, "ch_1").unwrap();
                self.log.intent(&mut self.sidecar, &refund).unwrap();
            } else {
                let note = Note {
                    note: "fence".to_owned(),
                    text: format!("held {}", self.leaves),
                };
                let signed = self.leaves.is_multiple_of(10) || self.leaves + 1 == leaves;
                let body = Body::Note(note);
                self.log.record(&mut self.sidecar, body, signed).unwrap();
            }
            self.leaves += 1;
        }
        self
    }

    fn exported(&self) -> String {
        self.log.exported(None).unwrap()
    }
}

fn private(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn verify(args: &[&Path]) -> Command {
    let mut command = Command::new(actpass());
    command.args(["verify", "--output", "json"]).args(args);
    command
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// What is found in a file, and the exit code.
fn found(args: &[&Path]) -> (Value, i32) {
    let output = verify(args).output().unwrap();
    (said(&output), output.status.code().unwrap())
}

/// The same but for how it came about.
fn judged(mut said: Value) -> Value {
    let log = said["logs"][0].as_object_mut().unwrap();
    log.remove("resumed_from");
    log.remove("anchors");
    said
}

/// Most memory, in KiB, that a program had; it has to succeed.
fn peak(program: &Path, args: &[&str], file: &Path) -> u64 {
    let script = "import resource, subprocess, sys\n\
        subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-I", "-c", script]).arg(program).args(args);
    let output = command.arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let peak = String::from_utf8(output.stdout).unwrap();
    peak.trim().parse().unwrap()
}

#[test]
fn a_log_ten_times_as_long_takes_no_more_memory() {
    let files = Files::new();
    let log = Long::new().grown(2_000);
    let tenth = files.write("tenth.jsonl", log.exported());
    let log = log.grown(20_000);
    let whole = files.write("whole.jsonl", log.exported());
    let log = log.grown(scaled(200_000));
    let long = files.write("long.jsonl", log.exported());
    let ours = |file: &Path| peak(&actpass(), &["verify"], file);
    let few = if scaled(10) > 1 { &whole } else { &tenth };
    let (few, many) = (ours(few), ours(&long));
    println!("{few} KiB, then {many} KiB");
    assert!(many * 100 < few * 115, "{few} KiB, then {many} KiB");
    // The other verifier reads whole files, so that memory that grows would show here.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/actpass_verify.py");
    let script = ["-I", script.to_str().unwrap()];
    let theirs = |file: &Path| peak(Path::new("python3"), &script, file);
    let (few, many) = (theirs(&tenth), theirs(&whole));
    println!("whole in memory: {few} KiB, then {many} KiB");
    assert!(many * 100 > few * 130, "{few} KiB, then {many} KiB");
}

#[test]
fn a_stream_that_has_ended_takes_less_than_a_kibibyte() {
    let files = Files::new();
    let count = scaled(100_000);
    let mut logs = [true, false].map(|streams| {
        let mut log = Logbook::new(TENANT, 200).unwrap();
        for number in 0..count {
            let seed = sha256(&[&number.to_be_bytes()]);
            let key = SigningKey::from_bytes(&seed).verifying_key();
            let stream = stream_id(&key);
            let revoked = EventBody::Revoked {
                passport: "nobody".to_owned(),
                by: "tester".to_owned(),
                why: "x".repeat(300),
            };
            let opened = match Sidecar::new(1).opened(None) {
                EventBody::StreamOpened {
                    passport,
                    agent,
                    jti,
                    expires,
                    ..
                } => EventBody::StreamOpened {
                    stream,
                    key: b64u_encode(key.as_bytes()),
                    passport,
                    agent,
                    jti,
                    expires,
                    issuer: None,
                    pod_uid: Some(stream.to_string()),
                },
                other => other,
            };
            let how = StreamEnd::Closed;
            let ended = EventBody::StreamEnded { stream, how };
            let events = if streams {
                [opened, ended]
            } else {
                [revoked.clone(), revoked]
            };
            events
                .into_iter()
                .for_each(|event| log.event(event).unwrap());
        }
        log.exported(None).unwrap()
    });
    let peaks = ["streams", "none"].map(|name| {
        let file = files.write(name, std::mem::take(&mut logs[usize::from(name == "none")]));
        peak(&actpass(), &["verify"], &file)
    });
    let each = peaks[0].saturating_sub(peaks[1]) * 1_024 / u64::from(count);
    println!("{each} bytes for a stream that has ended");
    assert!((50..1_024).contains(&each), "{each} bytes, {peaks:?}");
}

#[test]
fn as_it_comes_a_log_is_judged_as_in_a_file() {
    let files = Files::new();
    let text = Long::new().grown(60).exported();
    let export = Exported::parse(&text).unwrap();
    let mut cases = vec![("whole", text.clone().into_bytes())];
    for at in (0..text.len()).step_by(text.len() / scaled(400) as usize) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        cases.push(("a byte", bytes));
    }
    let mut cut = export.clone();
    cut.checkpoint = None;
    cases.push(("without its last line", cut.bytes().unwrap()));
    let mut cut = export.clone();
    cut.lines.truncate(30);
    cases.push(("fewer leaves than signed", cut.bytes().unwrap()));
    for (name, bytes) in cases {
        let file = files.write("log.jsonl", &bytes);
        let (of_file, code) = found(&[&file]);
        let stream = fed(&mut verify(&[Path::new("-")]), &bytes).unwrap();
        if stream.status.code() == Some(1) {
            // Then something beside the leaves was not found where it belongs, and only a file can be read again.
            assert_ne!(code, 0, "{name}: {stream:?}");
            continue;
        }
        let of_stream = said(&stream);
        assert_eq!(stream.status.code(), Some(code), "{name}: {stream:?}");
        assert_eq!(of_file["class"], of_stream["class"], "{name}");
        let first = |said: &Value| said.pointer("/logs/0/findings/0/leaf").cloned();
        assert_eq!(first(&of_file), first(&of_stream), "{name}");
        assert_eq!(
            of_file["files"]["offset"], of_stream["files"]["offset"],
            "{name}"
        );
    }

    // Behind its leaf, where no ledger puts it, a text is still found in a file.
    let mut moved = export.clone();
    let is_text = |line: &Vec<u8>| line.starts_with(b"{\"blob\":") && line.ends_with(b"\"}}");
    let at = moved.lines.iter().rposition(is_text).unwrap();
    let text = moved.lines.remove(at);
    moved.lines.push(text);
    let bytes = moved.bytes().unwrap();
    let (of_file, code) = found(&[&files.write("moved.jsonl", &bytes)]);
    assert_eq!((code, &of_file["class"]), (0, &"valid".into()));
    let stream = fed(&mut verify(&[Path::new("-")]), &bytes).unwrap();
    assert_eq!(stream.status.code(), Some(1), "{stream:?}");
    let error = String::from_utf8(stream.stderr).unwrap();
    assert!(error.contains("keep it as a file"), "{error}");
}

#[test]
fn a_verification_that_was_killed_goes_on_where_it_was() {
    let files = Files::new();
    let log = Long::new().grown(2_000);
    let text = log.exported();
    let file = files.write("log.jsonl", &text);
    let (anew, code) = found(&[&file]);
    assert_eq!(code, 0, "{anew}");
    for part in 1..=scaled(40).min(8) as usize {
        let state = files.path(&format!("{part}.state"));
        let mut command = verify(&[Path::new("-"), Path::new("--resume"), &state]);
        command.args(["--resume-every", "50"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(&text.as_bytes()[..text.len() * part / 9])
            .unwrap();
        while !state.exists() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL, wherever it is now, maybe in the midst of keeping more.
        child.kill().unwrap();
        child.wait().unwrap();
        let (resumed, code) = found(&[&file, Path::new("--resume"), &state]);
        let from = resumed["logs"][0]["resumed_from"].as_u64().unwrap();
        assert!((50..2_000).contains(&from) && code == 0, "{resumed}");
        assert_eq!(judged(resumed), judged(anew.clone()));
    }

    // A later export goes on from the end of the earlier one.
    let state = files.path("1.state");
    let longer = log.grown(2_100);
    let file = files.write("longer.jsonl", longer.exported());
    let (later, code) = found(&[&file, Path::new("--resume"), &state]);
    assert_eq!(
        (code, &later["logs"][0]["resumed_from"]),
        (0, &2_000.into())
    );
    assert_eq!(judged(later), judged(found(&[&file]).0));
}

#[test]
fn what_was_verified_once_has_to_be_in_every_later_file() {
    let files = Files::new();
    let log = Long::new().grown(300);
    let file = files.write("log.jsonl", log.exported());
    let state = files.path("log.state");
    let resume = |file: &Path| found(&[file, Path::new("--resume"), &state]);
    assert_eq!(resume(&file).1, 0);
    let kept = std::fs::read(&state).unwrap();

    // The same ledger, with all its keys, tells another history of the same length, and a longer one, and a shorter one.
    let mut other = Long::new();
    other.log.wait(1);
    let other = other.grown(300);
    let same_length = files.write("other.jsonl", other.exported());
    let longer = files.write("longer.jsonl", other.grown(400).exported());
    let shorter = files.write("shorter.jsonl", Long::new().grown(100).exported());
    for file in [&same_length, &longer, &shorter] {
        assert_eq!(found(&[file]).1, 0, "by itself it is a log");
        let (said, code) = resume(file);
        assert_eq!((code, &said["class"]), (3, &"invalid".into()), "{said}");
        assert_eq!(
            std::fs::read(&state).unwrap(),
            kept,
            "nothing is kept of it"
        );
    }
    // A leaf before is changed in the true file.
    let mut changed = Exported::parse(&log.exported()).unwrap();
    let mut leaf = changed.leaf(40).unwrap();
    leaf["r"]["body"]["text"] = "another".into();
    changed.put(40, &leaf);
    let changed = files.write("changed.jsonl", changed.bytes().unwrap());
    let (said, code) = resume(&changed);
    assert_eq!(code, 3, "{said}");
    assert_eq!(judged(said), judged(found(&[&changed]).0));

    let refused = |file: &Path, state: &Path, want: &str| {
        private(state);
        let output = verify(&[file, Path::new("--resume"), state]).output();
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{want}: {error}");
        assert!(error.contains(want), "{want}: {error}");
    };
    let mut foreign = Logbook::new("local/default/6b", 200).unwrap();
    foreign.event(Sidecar::new(1).opened(None)).unwrap();
    let foreign = files.write("foreign.jsonl", foreign.exported(None).unwrap());
    refused(&foreign, &state, "give each log a file of its own");
    let mut damaged = kept.clone();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    refused(&file, &files.write("damaged", &damaged), "is damaged");
    refused(&file, &files.write("cut", &kept[..at]), "is damaged");
    refused(&file, &files.write("empty", b""), "is damaged");
    let text = String::from_utf8(kept).unwrap();
    let version = format!("\"program\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version));
    let text = text.replacen(&version, "\"program\":\"0.0.1\"", 1);
    refused(&file, &files.write("older", text), "version 0.0.1");
}

#[test]
fn what_was_missing_once_is_looked_for_again() {
    let files = Files::new();
    let text = Long::new().grown(300).exported();
    let whole = files.write("whole.jsonl", &text);
    let mut lacking = Exported::parse(&text).unwrap();
    let is_text = |line: &Vec<u8>| line.starts_with(b"{\"blob\":") && line.ends_with(b"\"}}");
    let nth = lacking.lines.iter().position(is_text).unwrap();
    lacking.lines.remove(nth);
    let lacking = files.write("lacking.jsonl", lacking.bytes().unwrap());
    let (anew, code) = found(&[&whole]);
    assert_eq!(code, 0, "{anew}");
    for (name, given) in [("file", &*lacking), ("stream", Path::new("-"))] {
        let state = files.path(name);
        let mut command = verify(&[given, Path::new("--resume"), &state]);
        command.args(["--resume-every", "50"]);
        let input = match name {
            "stream" => std::fs::read(&lacking).unwrap(),
            _ => Vec::new(),
        };
        let output = fed(&mut command, &input).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        assert_eq!(said(&output)["class"], "incomplete", "{name}");
        // Somebody brings the text.
        let (later, code) = found(&[&whole, Path::new("--resume"), &state]);
        assert_eq!((code, &later["class"]), (0, &"valid".into()), "{name}");
        assert_eq!(judged(later), judged(anew.clone()), "{name}");
        let (kept, _) = found(&[&whole, Path::new("--resume"), &state]);
        assert_eq!(kept["logs"][0]["resumed_from"], 300, "{name}");
    }
}

#[test]
fn what_was_kept_is_the_verifiers_own_and_written_through_no_link() {
    let files = Files::new();
    let log = files.write("log.jsonl", Long::new().grown(100).exported());
    let state = files.path("log.state");
    let resume = |state: &Path| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 0; exec \"$0\" \"$@\""])
            .arg(actpass());
        command.arg("verify").arg(&log).arg("--resume").arg(state);
        command.output().unwrap()
    };
    let other = files.write("other", "mine");
    for name in ["log.state.new", ".log.state.new"] {
        symlink(&other, files.path(name)).unwrap();
    }
    assert!(resume(&state).status.success());
    let mode = std::fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read(&other).unwrap(), b"mine");

    let refused = |state: &Path, want: &str| {
        let output = resume(state);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{want}: {error}");
        assert!(error.contains(want), "{want}: {error}");
    };
    let link = files.path("link");
    symlink(&state, &link).unwrap();
    refused(&link, "is a link");
    symlink(files.path("nowhere"), files.path("dangling")).unwrap();
    refused(&files.path("dangling"), "is a link");
    for mode in [0o620, 0o602, 0o640] {
        std::fs::set_permissions(&state, Permissions::from_mode(mode)).unwrap();
        refused(&state, "chmod 600");
    }
    private(&state);
    assert!(resume(&state).status.success());
}

#[test]
fn a_head_that_was_kept_is_lost_only_where_its_own_key_says_so() {
    let files = Files::new();
    let whole = Long::new().grown(300);
    let file = files.write("log.jsonl", whole.exported());
    let state = files.path("log.state");
    assert_eq!(found(&[&file, Path::new("--resume"), &state]).1, 0);
    let kept = std::fs::read(&state).unwrap();
    let note = whole.log.checkpoint(None).unwrap();
    let head = Checkpoint::verify(&note, &whole.log.signer().verifier()).unwrap();

    // Who has the ledger's own key, and who makes a log of that name under another one.
    for (seed, want) in [(200, 2), (201, 3)] {
        let mut log = Logbook::new(TENANT, seed).unwrap();
        let tree = log.checkpoint(None).unwrap();
        let tree = Checkpoint::verify(&tree, &log.signer().verifier()).unwrap();
        log.event(EventBody::Gap {
            size: tree.size,
            root: tree.root,
            lost: vec![LostHead {
                size: head.size,
                root: head.root,
            }],
            limits: GapLimits::UsedUp,
            by: "ann".to_owned(),
            why: "the disk broke".to_owned(),
        })
        .unwrap();
        let forked = files.write("forked.jsonl", log.exported(None).unwrap());
        std::fs::write(&state, &kept).unwrap();
        let (said, code) = found(&[&forked, Path::new("--resume"), &state]);
        assert_eq!(code, want, "{seed}: {said}");
    }
}
