//! What the file of `--save-anchor` holds already is never replaced by less.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use actpass_ledger::keys::Keys;
use actpass_tests::growth::grow;
use actpass_tests::home::{Home, text};

use super::state::{copied, copy_tree};
use super::{LOGS, Stored, log_dir, verify};

/// A home whose log goes on behind what directory `old` has of it, and the directory `other` with another log.
fn two_ages() -> Home {
    grown_by(40)
}

/// The same, by so many leaves.
fn grown_by(leaves: u64) -> Home {
    let [other, ours] = &*LOGS;
    let home = copied(ours);
    copy_tree(&log_dir(&home), &home.path().join("old"));
    copy_tree(&log_dir(other), &home.path().join("other"));
    let key = Keys::load(&home.path().join("state/keys"), "log");
    let stored = Stored::read(&log_dir(&home));
    let size = stored.leaves.len() as u64 + leaves;
    grow(&log_dir(&home), &key.unwrap().unwrap(), &stored.log, size).unwrap();
    let all = format!("--reference={}", home.path().join("policy.yaml").display());
    let mut chown = Command::new("chown");
    assert!(
        chown
            .args(["-Rh", &all])
            .arg(home.path())
            .status()
            .unwrap()
            .success()
    );
    home
}

#[test]
fn a_head_is_never_replaced_by_one_over_fewer_leaves() {
    let home = two_ages();
    let file = home.path().join("anchor");
    let save = |log: &str| {
        let (code, output) = verify(&home, &[log, "--save-anchor", "anchor"]);
        (code, text(&output))
    };
    let (code, output) = save("old");
    assert_eq!(code, Some(0), "{output}");
    let old = fs::read_to_string(&file).unwrap();
    let (code, output) = save("state/log");
    assert_eq!(code, Some(0), "{output}");
    let new = fs::read_to_string(&file).unwrap();
    assert_ne!(old, new, "a longer log takes the place");
    let (code, output) = save("old");
    assert_eq!(code, Some(3), "{output}");
    assert!(
        output.contains("is missing: the log was seen with"),
        "{output}"
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        new,
        "the larger head stays"
    );
    let (code, output) = save("other");
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("holds a head of log"), "{output}");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        new,
        "another log has its own file"
    );
}

#[test]
fn what_is_no_head_is_not_replaced_by_one() {
    let home = two_ages();
    let file = home.path().join("anchor");
    let (code, output) = verify(&home, &["old", "--save-anchor", "anchor"]);
    assert_eq!(code, Some(0), "{}", text(&output));
    let good = fs::read_to_string(&file).unwrap();
    let cut = good.get(..good.len() / 2).unwrap();
    let strange: [&[u8]; 4] = [b"", cut.as_bytes(), &[0xff; 40], b"notes of somebody\n"];
    for held in strange {
        fs::write(&file, held).unwrap();
        let (code, output) = verify(&home, &["old", "--save-anchor", "anchor"]);
        assert_eq!(code, Some(1), "{}", text(&output));
        assert!(
            text(&output).contains("name another file"),
            "{}",
            text(&output)
        );
        assert_eq!(fs::read(&file).unwrap(), held);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (code, output) = verify(&home, &["old", "--save-anchor", "anchor"]);
    assert_eq!(code, Some(1), "{}", text(&output));
    assert!(text(&output).contains("it is no file"), "{}", text(&output));
}

#[test]
fn nothing_is_written_through_a_link_beside_the_file() {
    let home = two_ages();
    let kept = home.path().join("kept");
    for name in ["anchor.new", ".anchor.new"] {
        fs::write(&kept, "as it was").unwrap();
        symlink(&kept, home.path().join(name)).unwrap();
    }
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o666)).unwrap();
    let (code, output) = verify(&home, &["old", "--save-anchor", "anchor.txt"]);
    assert_eq!(code, Some(0), "{}", text(&output));
    assert_eq!(fs::read_to_string(&kept).unwrap(), "as it was");
}

#[test]
fn a_head_that_another_run_saved_meanwhile_is_not_replaced_unseen() {
    let home = grown_by(400);
    let export = home.actpass(&["export", "--to", "whole.jsonl"]).output();
    assert!(export.as_ref().unwrap().status.success());
    let whole = fs::read(home.path().join("whole.jsonl")).unwrap();
    let file = home.path().join("anchor");
    let mut slow = home.actpass(&["verify", "-", "--save-anchor", "anchor"]);
    slow.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut slow = slow.stderr(Stdio::piped()).spawn().unwrap();
    let mut fed = slow.stdin.take().unwrap();
    // More than a pipe holds, so that what would be replaced was read before.
    let (begin, rest) = whole.split_at(whole.len() - 10);
    assert!(begin.len() > 64 * 1024, "{} bytes", begin.len());
    fed.write_all(begin).unwrap();
    let (code, output) = verify(&home, &["old", "--save-anchor", "anchor"]);
    assert_eq!(code, Some(0), "{}", text(&output));
    let saved = fs::read_to_string(&file).unwrap();
    fed.write_all(rest).unwrap();
    drop(fed);
    let output = slow.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("was changed meanwhile"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), saved);
}
