//! The proof of one event as people keep it: `actpass proof`, `actpass verify FILE`, and the same file in Go's hands.

use std::process::{Command, Output};

use actpass_tests::home::{Home, User, text};
use serde_json::Value;

use super::{Checker, POLICY, fs, scaled};

fn said(command: &mut Command) -> (i32, String) {
    let output: Output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

#[tokio::test]
async fn one_event_is_kept_and_verified_anywhere_and_every_changed_byte_is_found() {
    let home = Home::new(User::own(), POLICY).unwrap();
    let asked = home.script("curl -sS -m 5 https://api.shop.example/v2/items; true");
    assert!(asked.unwrap().status.success());
    let (code, kept) = said(&mut home.actpass(&["proof", "2"]));
    assert_eq!(code, 0, "{kept}");
    assert!(kept.contains("Proof: 2.tlog-proof"), "{kept}");
    let (code, again) = said(&mut home.actpass(&["proof", "2"]));
    assert!(code == 1 && again.contains("is there already"), "{again}");
    let (code, none) = said(&mut home.actpass(&["proof", "99999"]));
    assert!(
        code == 1 && none.contains("leaf 99999 is not there"),
        "{none}"
    );
    let json = home
        .actpass(&["proof", "3", "--to", "3", "--output", "json"])
        .output();
    let json: Value = serde_json::from_slice(&json.unwrap().stdout).unwrap();
    assert_eq!((&json["leaf"], &json["file"]), (&3.into(), &"3".into()));
    home.write("log.vkey", json["key"].as_str().unwrap())
        .unwrap();

    // Here the state directory knows the key; elsewhere it has to be given.
    let verify = |args: &[&str]| {
        let mut command = home.actpass(&[&["verify", "2.tlog-proof"], args].concat());
        command.env("ACTPASS_STATE_DIR", home.path().join("elsewhere"));
        said(&mut command)
    };
    let (code, here) = said(&mut home.actpass(&["verify", "2.tlog-proof"]));
    assert!(code == 0 && here.starts_with("VALID"), "{here}");
    let (code, without) = verify(&[]);
    assert!(code == 1 && without.contains("--key"), "{without}");
    let (code, with) = verify(&["--key", "log.vkey"]);
    assert!(
        code == 0 && with.starts_with("VALID") && with.contains("leaf 2 of log"),
        "{with}"
    );
    let (code, shown) = verify(&["--key", "log.vkey", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (code, &shown["class"], &shown["leaf"]["h"]["seq"]),
        (0, &"valid".into(), &2.into())
    );
    let (code, anchor) = verify(&["--key", "log.vkey", "--save-anchor", "anchor"]);
    assert!(
        code == 1 && anchor.contains("anchors are for logs"),
        "{anchor}"
    );
    let other = json["key"]
        .as_str()
        .unwrap()
        .replace("actpass/", "actpass2/");
    home.write("other.vkey", &other).unwrap();
    let (code, refused) = verify(&["--key", "other.vkey"]);
    assert_eq!(code, 1, "a key whose hash is another's: {refused}");

    let file = home.path().join("2.tlog-proof");
    let whole = fs::read(&file).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let stride = whole.len() / scaled(400) as usize + 1;
    for at in (first_line..whole.len()).step_by(stride) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&file, changed).unwrap();
        let (code, found) = verify(&["--key", "log.vkey"]);
        assert!(
            code == 3 && found.starts_with("INVALID"),
            "byte {at}: {found}"
        );
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(verify(&["--key", "log.vkey"]).0, 3, "cut");
    fs::write(&file, &whole).unwrap();

    let Some(checker) = Checker::new() else {
        return;
    };
    checker.write("vkey", json["key"].as_str().unwrap());
    assert_eq!(checker.proof(&file).await.unwrap()["proofs"], 1);
}
