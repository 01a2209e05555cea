use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use actpass_core::state::Erasure;

use super::*;
use crate::vault::{Kek, Vault};

const TENANT: &str = "local/shop/1";

fn open(dir: &Path) -> Vault {
    let mut key: Vec<u8> = (0..32).collect();
    key.rotate_left(3);
    Vault::open(&dir.join("vault"), Kek::from_bytes(&key).unwrap()).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn customer(number: u8) -> DigestMac {
    DigestMac::from_bytes([number; 32])
}

/// A text sealed in a month, about a customer.
fn sealed(vault: &Vault, month: &str, about: Option<u8>) -> Vec<u8> {
    let about = About {
        at: at(&format!("{month}-17T12:00:00Z")),
        subject: about.map(customer),
    };
    let text = format!("{about:?}");
    vault
        .seal(TENANT, &about, b"leaf", text.as_bytes())
        .unwrap()
}

fn opens(vault: &Vault, sealed: &[u8]) -> Result<(), Gone> {
    match vault.open_sealed(TENANT, b"leaf", sealed) {
        Ok(_) => Ok(()),
        Err(VaultError::Erased { gone, .. }) => Err(gone),
        Err(error) => unreachable!("{error}"),
    }
}

fn event(id: &str, doomed: &Doomed, generation: Option<u64>) -> EventBody {
    let (subject, before) = match doomed {
        Doomed::Subject(mac) => (Some(*mac), None),
        Doomed::Before(before) => (None, Some(*before)),
    };
    EventBody::Erasure {
        id: id.to_owned(),
        subject,
        generation,
        before,
        by: "ann".to_owned(),
        why: "request 4711".to_owned(),
    }
}

fn destroy(vault: &Vault, id: &str, doomed: &Doomed) -> Result<EventBody, VaultError> {
    let destroyed = vault.destroy(TENANT, doomed, |generation| event(id, doomed, generation));
    destroyed.map(|event| event.expect("something was left"))
}

/// The erasure as the log tells of it.
fn logged(of: &EventBody) -> Erasure {
    let EventBody::Erasure {
        id,
        subject,
        generation,
        before,
        by,
        why,
    } = of.clone()
    else {
        unreachable!("{of:?}")
    };
    Erasure {
        id,
        leaf: 9,
        time: at("2026-11-22T12:00:00Z"),
        subject,
        generation,
        before,
        by,
        why,
    }
}

fn keys_file(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("vault/texts")).unwrap();
    let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

#[test]
fn an_erased_subject_is_gone_in_every_month_and_nobody_else_is() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let of_one = ["2025-01", "2026-10", "2026-11"].map(|month| sealed(&vault, month, Some(1)));
    let others = [
        sealed(&vault, "2026-11", Some(2)),
        sealed(&vault, "2026-11", None),
    ];
    let before = fs::read(keys_file(temp.path())).unwrap();
    destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    let later = sealed(&vault, "2026-11", Some(1));
    for (name, vault) in [("as it runs", &vault), ("opened anew", &open(temp.path()))] {
        for text in &of_one {
            assert_eq!(opens(vault, text), Err(Gone::Subject([1; 8])), "{name}");
        }
        for text in others.iter().chain([&later]) {
            assert_eq!(opens(vault, text), Ok(()), "{name}");
        }
    }
    // Each erasure begins another generation, and a second takes the later texts too.
    destroy(&vault, "ers_2", &Doomed::Subject(customer(1))).unwrap();
    assert_eq!(opens(&vault, &later), Err(Gone::Subject([1; 8])));
    // What is gone is gone because the file is another one: a copy from before opens them all.
    fs::write(keys_file(temp.path()), before).unwrap();
    let older = open(temp.path());
    for text in of_one.iter().chain(&others) {
        assert_eq!(opens(&older, text), Ok(()), "with a copy from before");
    }
}

#[test]
fn whole_months_are_gone_with_everything_in_them() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let (early, late) = (
        [
            sealed(&vault, "2026-09", Some(1)),
            sealed(&vault, "2026-10", None),
        ],
        [
            sealed(&vault, "2026-11", Some(1)),
            sealed(&vault, "2026-12", None),
        ],
    );
    destroy(&vault, "ers_1", &Doomed::Before(at("2026-11-01T00:00:00Z"))).unwrap();
    // Nothing is left of those months, so there is nothing to log, and nothing that keeps a later erasure back.
    for before in ["2026-11-01T00:00:00Z", "2026-09-01T00:00:00Z"] {
        let doomed = Doomed::Before(at(before));
        let again = vault.destroy(TENANT, &doomed, |generation| {
            event("ers_2", &doomed, generation)
        });
        assert_eq!(again.unwrap(), None);
    }
    assert_eq!(vault.unrecorded(TENANT).unwrap().len(), 1);
    let vault = open(temp.path());
    for text in &early {
        assert_eq!(opens(&vault, text), Err(Gone::Month));
    }
    for text in &late {
        assert_eq!(opens(&vault, text), Ok(()));
    }
}

#[test]
fn a_name_says_what_an_erasure_takes() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let name = KeyName::of(&sealed(&vault, "2026-10", Some(1))).unwrap();
    for (doomed, want) in [
        (Doomed::Subject(customer(1)), true),
        (Doomed::Subject(customer(2)), false),
        (Doomed::Before(at("2026-11-01T00:00:00Z")), true),
        (Doomed::Before(at("2026-10-01T00:00:00Z")), false),
    ] {
        assert_eq!(name.is_among(&doomed), want, "{doomed:?}");
    }
    assert!(vault.can_open(TENANT, &name));
    destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    assert!(!vault.can_open(TENANT, &name), "not from memory either");
}

#[test]
fn what_is_destroyed_is_remembered_until_the_log_tells_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let text = sealed(&vault, "2026-11", Some(1));
    let first = destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    let second = destroy(&vault, "ers_2", &Doomed::Subject(customer(2))).unwrap();
    let vault = open(temp.path());
    let want = [first.clone(), second.clone()];
    assert_eq!(vault.unrecorded(TENANT).unwrap(), want);
    assert!(!vault.follow(TENANT, &[logged(&first)]).unwrap());
    assert_eq!(vault.unrecorded(TENANT).unwrap(), [second]);
    assert_eq!(opens(&vault, &text), Err(Gone::Subject([1; 8])));
}

#[test]
fn an_older_copy_of_the_keys_follows_the_log_again() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let text = sealed(&vault, "2026-11", Some(1));
    let older = fs::read(keys_file(temp.path())).unwrap();
    let first = destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    let later = sealed(&vault, "2026-11", Some(1));
    fs::write(keys_file(temp.path()), older).unwrap();
    let vault = open(temp.path());
    assert_eq!(opens(&vault, &text), Ok(()));
    assert!(vault.follow(TENANT, &[logged(&first)]).unwrap());
    assert_eq!(opens(&vault, &text), Err(Gone::Subject([1; 8])));
    assert_eq!(opens(&vault, &later), Ok(()), "of a later generation");
    let now = sealed(&vault, "2026-11", Some(1));
    assert_eq!(opens(&vault, &now), Ok(()));
    assert!(!vault.follow(TENANT, &[logged(&first)]).unwrap(), "twice");
}

#[test]
fn an_erasure_that_cannot_be_written_destroys_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    let text = sealed(&vault, "2026-11", Some(1));
    let file = keys_file(temp.path());
    // Where the new file is to be made there is something that cannot be removed.
    let name = file.file_name().unwrap().to_str().unwrap();
    let in_the_way = file.with_file_name(format!(".{name}.new"));
    fs::create_dir(&in_the_way).unwrap();
    let refused = destroy(&vault, "ers_1", &Doomed::Subject(customer(1)));
    assert!(matches!(refused, Err(VaultError::File(_))), "{refused:?}");
    assert_eq!(opens(&vault, &text), Ok(()));
    fs::remove_dir(in_the_way).unwrap();
    assert_eq!(vault.unrecorded(TENANT).unwrap(), []);
    destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    assert_eq!(opens(&vault, &text), Err(Gone::Subject([1; 8])));
}

#[test]
fn the_file_that_held_the_keys_is_written_over() {
    let temp = tempfile::tempdir().unwrap();
    let vault = open(temp.path());
    sealed(&vault, "2026-11", Some(1));
    let mut old = File::open(keys_file(temp.path())).unwrap();
    let mut bytes = Vec::new();
    old.read_to_end(&mut bytes).unwrap();
    assert!(bytes.iter().any(|byte| *byte != 0));
    destroy(&vault, "ers_1", &Doomed::Subject(customer(1))).unwrap();
    let length = bytes.len();
    bytes.clear();
    old.rewind().unwrap();
    old.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![0; length]);
}

#[test]
fn keys_that_were_taken_away_or_changed_are_not_made_anew() {
    let temp = tempfile::tempdir().unwrap();
    sealed(&open(temp.path()), "2026-11", Some(1));
    let file = keys_file(temp.path());
    let bytes = fs::read(&file).unwrap();
    let refuses = |what: &str| {
        let refused = open(temp.path()).digest_key(TENANT);
        assert!(
            matches!(refused, Err(VaultError::Tampered { .. })),
            "{what}"
        );
    };
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        *changed.get_mut(at).unwrap() ^= 1;
        fs::write(&file, changed).unwrap();
        refuses(&format!("byte {at}"));
    }
    fs::remove_file(&file).unwrap();
    refuses("no file");
}

#[test]
fn what_the_log_says_is_destroyed_is_what_was_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = open(dir.path());
    let mut said = Destroyed::default();
    let mut all = Vec::new();
    let steps = [
        Doomed::Subject(customer(1)),
        Doomed::Before(at("2026-03-01T00:00:00Z")),
        Doomed::Subject(customer(1)),
        Doomed::Subject(customer(2)),
    ];
    for (nth, doomed) in steps.iter().enumerate() {
        for month in ["2026-02", "2026-03", "2026-04"] {
            // Whoever comes after the erasure of a month seals nothing for it.
            let late = nth > 1 && month == "2026-02";
            let about = [None, Some(1), Some(2), Some(3)];
            all.extend(
                about
                    .into_iter()
                    .filter(|_| !late)
                    .map(|of| sealed(&vault, month, of)),
            );
        }
        let made = |generation| event(&nth.to_string(), doomed, generation);
        let event = vault.destroy(TENANT, doomed, made).unwrap().unwrap();
        said.event(&event).unwrap();
        for sealed in &all {
            let name = KeyName::of(sealed).unwrap();
            assert_eq!(
                said.holds(&name),
                opens(&vault, sealed).is_err(),
                "{nth} {name:?}"
            );
        }
    }
    assert!(all.iter().any(|sealed| opens(&vault, sealed).is_ok()));
}
