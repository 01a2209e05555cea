//! Key encryption keys follow one another: with the next one first nothing lies under the one before, whatever broke off in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::DigestMac;

use super::super::document::Files;
use super::*;

const AAD: &[u8] = b"side frame of leaf 7";

fn line(first: u8) -> String {
    let bytes: Vec<u8> = (0..32).map(|n| n * 7 + first).collect();
    hex(&bytes).to_string()
}

fn keks(keys: &[u8]) -> Kek {
    let lines: Vec<String> = keys.iter().map(|key| line(*key)).collect();
    Kek::from_bytes(lines.join("\n").as_bytes()).unwrap()
}

/// A vault with a credential and texts of two tenants; the texts.
fn filled(vault: &Vault) -> Vec<(&'static str, Vec<u8>)> {
    vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    [TENANT, "local/other/1"]
        .map(|tenant| {
            let sealed = vault.seal(tenant, &about(), AAD, tenant.as_bytes());
            (tenant, sealed.unwrap())
        })
        .to_vec()
}

fn holds(vault: &Vault, texts: &[(&'static str, Vec<u8>)]) {
    let lent = vault.lend(TENANT, "stripe", &destination()).unwrap();
    assert_eq!(lent.secret.expose(), SECRET.as_bytes());
    for (tenant, sealed) in texts {
        let text = vault.open_sealed(tenant, AAD, sealed).unwrap();
        assert_eq!(*text, tenant.as_bytes());
    }
}

#[test]
fn under_another_key_all_is_as_it_was_and_the_one_before_opens_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("vault");
    let texts = filled(&Vault::open(&dir, keks(&[1])).unwrap());
    let files = || {
        let texts = fs::read_dir(dir.join(TEXTS)).unwrap();
        let texts = texts.map(|entry| entry.unwrap().path());
        let all = texts.chain(["credentials.json", "tenants.json"].map(|name| dir.join(name)));
        all.map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect::<BTreeMap<PathBuf, Vec<u8>>>()
    };
    let before = files();

    // The next one behind the one in use changes nothing.
    holds(&Vault::open(&dir, keks(&[1, 2])).unwrap(), &texts);
    assert_eq!(files(), before);

    holds(&Vault::open(&dir, keks(&[2, 1])).unwrap(), &texts);
    let after = files();
    assert!(before.iter().all(|(path, bytes)| after[path] != *bytes));
    let newest = Vault::open(&dir, keks(&[2])).unwrap();
    holds(&newest, &texts);
    newest.lies_under_first().unwrap();
    let refused = Vault::open(&dir, keks(&[1, 3])).err().unwrap();
    let said = refused.to_string();
    let [one, two, three] = [1, 2, 3].map(|key| keks(&[key]).id());
    assert!(matches!(refused, VaultError::WrongKek { .. }), "{said}");
    let names = format!("under key encryption key `{two}`, and those given are `{one}`, `{three}`");
    assert!(said.contains(&names), "{said}");
}

/// Files that take so many documents and then break.
struct Breaking(Files, AtomicUsize);

impl Documents for Breaking {
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError> {
        self.0.newer(known)
    }

    fn replace(
        &self,
        name: &str,
        known: Option<u64>,
        bytes: &[u8],
    ) -> Result<Option<u64>, VaultError> {
        let left = self.1.load(Ordering::Relaxed);
        let left = left.checked_sub(1);
        let left = left.ok_or_else(|| VaultError::Away("planted".to_owned()))?;
        self.1.store(left, Ordering::Relaxed);
        self.0.replace(name, known, bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[test]
fn an_exchange_that_breaks_off_anywhere_loses_nothing_and_goes_on_at_the_next_start() {
    // Texts of two tenants, the tenants, the credentials.
    for written in 0..=4 {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("vault");
        let texts = filled(&Vault::open(&dir, keks(&[1])).unwrap());
        let breaking = Breaking(Files(dir.clone()), AtomicUsize::new(written));
        let broken = Vault::over(Box::new(breaking), keks(&[2, 1]));
        assert_eq!(broken.is_ok(), written == 4, "{written} written");

        let looked = Vault::look(&dir, keks(&[2, 1])).unwrap();
        holds(&looked, &texts);
        assert_eq!(looked.lies_under_first().is_ok(), written == 4);
        // Who takes the next key away again loses nothing either.
        holds(&Vault::open(&dir, keks(&[1, 2])).unwrap(), &texts);
        let vault = Vault::open(&dir, keks(&[2, 1])).unwrap();
        holds(&vault, &texts);
        vault.lies_under_first().unwrap();
        drop(vault);
        holds(&Vault::open(&dir, keks(&[2])).unwrap(), &texts);
    }
}

#[test]
fn what_cannot_be_read_stays_and_keeps_the_key_before_from_being_forgotten() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("vault");
    let texts = filled(&Vault::open(&dir, keks(&[1])).unwrap());
    let damaged = fs::read_dir(dir.join(TEXTS)).unwrap().next().unwrap();
    let damaged = damaged.unwrap().path();
    let mut bytes = fs::read(&damaged).unwrap();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let vault = Vault::open(&dir, keks(&[2, 1])).unwrap();
    let opened = texts
        .iter()
        .filter(|(tenant, sealed)| vault.open_sealed(tenant, AAD, sealed).is_ok());
    assert_eq!(opened.count(), 1, "the other tenant's");
    assert_eq!(fs::read(&damaged).unwrap(), bytes);
    let refused = vault.lies_under_first().unwrap_err().to_string();
    assert!(refused.contains("does not decrypt"), "{refused}");
}

/// Documents in memory that several have, each change in the place of the version that it was made on.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<BTreeMap<String, Versioned>>>);

type Versioned = (u64, Vec<u8>);

impl Documents for Shared {
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError> {
        let all = self.0.lock().unwrap();
        let found = known.iter().filter_map(|(name, known)| {
            let (version, bytes) = all.get(*name)?;
            (Some(*version) != *known).then(|| Document {
                name: (*name).to_owned(),
                version: *version,
                bytes: Zeroizing::new(bytes.clone()),
            })
        });
        Ok(found.collect())
    }

    fn replace(
        &self,
        name: &str,
        known: Option<u64>,
        bytes: &[u8],
    ) -> Result<Option<u64>, VaultError> {
        let mut all = self.0.lock().unwrap();
        let found = all.get(name).map(|(version, _)| *version);
        if found != known {
            return Ok(None);
        }
        let next = found.map_or(1, |version| version + 1);
        all.insert(name.to_owned(), (next, bytes.to_vec()));
        Ok(Some(next))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[test]
fn ledgers_that_were_given_the_keys_in_another_order_change_one_vault_without_loss() {
    let documents = Shared::default();
    let open = |keys: &[u8]| Vault::over(Box::new(documents.clone()), keks(keys)).unwrap();
    let one = open(&[1, 2]);
    let texts = filled(&one);
    // The second is made anew with the next key first, while the first goes on.
    let two = open(&[2, 1]);
    holds(&two, &texts);
    let other = Secret::from("another".to_owned());
    one.put(TENANT, "by-one", bindings(), &other, now())
        .unwrap();
    two.put(TENANT, "by-two", bindings(), &other, now())
        .unwrap();
    // By the one that still has the former key first.
    let subject = Doomed::Subject(DigestMac::from_bytes([9; 32]));
    let gone = one.destroy(TENANT, &subject, |_| EventBody::Recovery { bytes: 0 });
    assert!(gone.unwrap().is_some());
    for vault in [&one, &two] {
        vault.refresh().unwrap();
        holds(vault, &texts);
        assert_eq!(vault.list().len(), 3);
    }
    // It goes on for as long as it likes: a tenant that is new, too, lies under the key that the vault is under by now.
    let late = one.seal("local/late/1", &about(), AAD, b"late").unwrap();
    two.seal("local/later/1", &about(), AAD, b"later").unwrap();

    two.refresh().unwrap();
    two.lies_under_first().unwrap();
    let alone = open(&[2]);
    holds(&alone, &texts);
    for name in ["by-one", "by-two"] {
        let lent = alone.lend(TENANT, name, &destination()).unwrap();
        assert_eq!(lent.secret.expose(), b"another");
    }
    let text = alone.open_sealed("local/late/1", AAD, &late).unwrap();
    assert_eq!(*text, b"late");
    // And back again.
    let back = open(&[1, 2]);
    holds(&back, &texts);
    back.lies_under_first().unwrap();
    holds(&open(&[1]), &texts);
}

#[test]
fn keys_under_the_one_before_within_a_document_under_the_first_are_found_and_moved() {
    let documents = Shared::default();
    let open = |keys: &[u8]| Vault::over(Box::new(documents.clone()), keks(keys));
    let vault = open(&[1]).unwrap();
    let texts = filled(&vault);
    {
        let (mut state, next) = (vault.state(), keks(&[2, 1]));
        let credentials = state.credentials.content.clone();
        let there = state.credentials.replace(credentials, &documents, &next);
        assert!(there.unwrap());
        let tenants = state.tenants.content.clone();
        assert!(state.tenants.replace(tenants, &documents, &next).unwrap());
    }
    let refused = open(&[2]).err().unwrap();
    let said = refused.to_string();
    assert!(matches!(refused, VaultError::NotUnder { .. }), "{said}");
    assert!(said.contains("start with all of them once"), "{said}");
    let looked = Vault::look_over(Box::new(documents.clone()), keks(&[2, 1])).unwrap();
    looked.lies_under_first().unwrap_err();

    holds(&open(&[2, 1]).unwrap(), &texts);
    holds(&open(&[2]).unwrap(), &texts);
}

#[test]
fn keys_of_texts_that_no_tenant_was_named_for_are_made_anew_where_nothing_opens_them() {
    let documents = Shared::default();
    let open = |keys: &[u8]| Vault::over(Box::new(documents.clone()), keks(keys)).unwrap();
    let before = open(&[1]);
    before.seal(TENANT, &about(), AAD, b"text").unwrap();
    // As after a crash before the tenant was named.
    documents.0.lock().unwrap().remove("tenants.json");
    // Under a key that is given they stay, under the one that the vault is under.
    let known = open(&[2, 1]);
    known.seal(TENANT, &about(), AAD, b"text").unwrap();
    known.lies_under_first().unwrap();
    documents.0.lock().unwrap().remove("tenants.json");
    let sealed = open(&[3]).seal(TENANT, &about(), AAD, b"text").unwrap();
    let text = open(&[3]).open_sealed(TENANT, AAD, &sealed).unwrap();
    assert_eq!(*text, b"text");
}

#[test]
fn what_a_crash_left_unfinished_is_wiped_and_a_copy_of_the_same_file_is_not() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("vault");
    let texts = filled(&Vault::open(&dir, keks(&[1])).unwrap());
    let unfinished = [
        dir.join(".credentials.json.new"),
        dir.join(TEXTS).join(".0000.new"),
    ];
    for path in &unfinished {
        fs::write(path, b"keys of before").unwrap();
    }
    let copy = temp.path().join("copy");
    fs::hard_link(dir.join("credentials.json"), &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    let held = fs::File::open(&unfinished[0]).unwrap();
    holds(&Vault::open(&dir, keks(&[2, 1])).unwrap(), &texts);
    assert!(unfinished.iter().all(|path| !path.exists()));
    let mut left = String::new();
    std::io::Read::read_to_string(&mut &held, &mut left).unwrap();
    assert_eq!(left, "\0".repeat(14));
    assert_eq!(fs::read(&copy).unwrap(), before, "somebody's own copy");

    let path = temp.path().join("kek");
    Kek::generate_file(&path).unwrap();
    let link = temp.path().join("kek.copy");
    fs::hard_link(&path, &link).unwrap();
    let kept = fs::read(&link).unwrap();
    let next = Kek::rotate_file(&path).unwrap();
    assert_eq!(fs::read(&link).unwrap(), kept);
    let crashed = temp.path().join(".kek.new");
    fs::write(&crashed, b"all keys").unwrap();
    assert_eq!(Kek::forget_before(&path, &next).unwrap(), 1);
    assert!(!crashed.exists());
    fs::write(&crashed, b"all keys").unwrap();
    assert_eq!(Kek::forget_before(&path, &next).unwrap(), 0);
    assert!(!crashed.exists());
}

#[test]
fn a_file_of_several_keys_is_read_by_lines_and_says_which_is_wrong() {
    let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(line);
    let read = |text: &str| Kek::from_bytes(text.as_bytes()).map(|kek| kek.ids());
    let names =
        |keys: &[u8]| -> Vec<String> { keys.iter().map(|key| keks(&[*key]).id()).collect() };
    assert_eq!(read(&format!("{a}\n")).unwrap(), names(&[1]));
    assert_eq!(
        read(&format!("{a}\n\n {b}\r\n{c}\n{d}\n")).unwrap(),
        names(&[1, 2, 3, 4])
    );
    for (text, want) in [
        (
            format!("{a}\n{b}\n{c}\n{d}\n{e}\n"),
            "line 5: more than 4 keys",
        ),
        (
            format!("{a}\n{b}\n{a}\n"),
            "line 3: this key is there already",
        ),
        (format!("{a}\nnonsense\n"), "line 2: 8 bytes"),
        (
            format!("{a}\n{}\n", "0".repeat(64)),
            "line 2: a key that is not random",
        ),
    ] {
        let said = read(&text).unwrap_err().to_string();
        assert!(said.contains(want), "{said}");
        assert!(!said.contains(&a) && !said.contains("nonsense"), "{said}");
    }
    // Raw bytes may hold line breaks.
    let mut raw: Vec<u8> = (0..32).map(|n| n * 7 + 1).collect();
    (raw[3], raw[9]) = (b'\n', b'\n');
    assert_eq!(Kek::from_bytes(&raw).unwrap().ids().len(), 1);
}

#[test]
fn a_file_gets_its_next_key_first_and_loses_the_others_when_it_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kek");
    let first = Kek::generate_file(&path).unwrap();
    let next = Kek::rotate_file(&path).unwrap();
    assert_eq!(next.ids()[1..], first.ids());
    assert_eq!(Kek::from_file(&path).unwrap().ids(), next.ids());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Kek::rotate_file(&path).unwrap();
    let most = Kek::rotate_file(&path).unwrap();
    let full = Kek::rotate_file(&path).unwrap_err();
    assert!(matches!(full, VaultError::TooManyKeks { .. }), "{full}");
    assert_eq!(Kek::from_file(&path).unwrap().ids(), most.ids());

    // Whoever looked when another key was first knows nothing of what lies under the ones before this one.
    let late = Kek::forget_before(&path, &next).unwrap_err();
    assert!(late.to_string().contains("meanwhile"), "{late}");
    assert_eq!(Kek::from_file(&path).unwrap().ids(), most.ids());
    assert_eq!(Kek::forget_before(&path, &most).unwrap(), 3);
    assert_eq!(Kek::from_file(&path).unwrap().ids(), most.ids()[..1]);
    assert_eq!(Kek::forget_before(&path, &most).unwrap(), 0);

    let link = temp.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Kek::rotate_file(&link).is_err(), "through a link");
    assert_eq!(Kek::from_file(&path).unwrap().ids().len(), 1);
}
