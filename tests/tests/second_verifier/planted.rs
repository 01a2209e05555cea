//! What the vectors are worth: a verifier that leaves one thing out is found out by one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::answers::{Elsewhere, of, script};
use super::vectors::published;

/// Lines of the second verifier, and what is left of them.
const PLANTED: [(&str, &str); 36] = [
    (
        "(body := f\"{of}.{value['kind']}\") in FORMS and",
        "(body := f\"{of}.{value['kind']}\") and",
    ),
    ("[at] if last is not None or", "[at] if last or"),
    ("opened is not None and line.startswith(NO_LEAF)", "False"),
    ("\"disclosed\", sort=True)", "\"disclosed\")"),
    ("fits(it, \"disclosed\") and", ""),
    (" and it[\"seq\"] == len(leaves)", ""),
    ("[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", "[A-Za-z0-9_-]*"),
    ("fit = openings and all(", "fit = all("),
    (
        "== body[\"action\"][\"commitments\"][name]",
        "in body[\"action\"][\"commitments\"].values()",
    ),
    ("or s >= L", ""),
    ("and not small(a)", ""),
    ("written(leaf) == line and ", ""),
    ("value.keys() <= names.keys() and ", ""),
    ("h[\"log\"] != self.origin or ", "False and "),
    ("follows and self.time and", "False and"),
    (
        "(r[\"seq\"], r[\"prev\"]) != (stream[\"next\"], stream[\"head\"].hex())",
        "False",
    ),
    ("\"s\" in leaf and not signed(", "False and not signed("),
    ("found != root(self.tree) for", "False for"),
    ("max(self.roots, default=0) > size and", "False and"),
    ("self.given in [None, *self.keys] or", "True or"),
    ("named in self.keys[seq == 0:] or", ""),
    ("seq and not signed(", "False and not signed("),
    ("else self.keys[-1:])", "else self.keys[:1])"),
    ("self.keys if leaf else", ""),
    ("max(leaf + 1, self.since[by])", "leaf + 1"),
    ("by = max([", "by = min(["),
    ("it[\"sha256\"] != summed.hexdigest()", "False"),
    ("first[\"leaves\"] != len(leaves)", "False"),
    (
        "if d.get(\"settles\") != (",
        "if False and d.get(\"settles\") != (",
    ),
    ("self.asked[used[\"id\"]][0] != d[\"digest\"]", "False"),
    ("body[of] <= self.erased[of]", "False"),
    ("self.asked = {each: it for", "_ = {each: it for"),
    ("if not sound or (said", "if False and (said"),
    (
        "self.lost.get(tuple(note.split(\"\\n\")[1:3])) if of",
        "5 if of",
    ),
    ("if it[0] > self.signed_to", "if False"),
    (
        "(body[\"size\"], body[\"root\"]) != (seq, root(self.tree).hex())",
        "False",
    ),
];

/// The vectors that a verifier answers otherwise than is published.
fn found_by(script: &Path) -> Vec<String> {
    let dir = published();
    let expected = std::fs::read(dir.join("expected.json")).unwrap();
    let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
    let mut by: BTreeMap<Elsewhere, Vec<&Value>> = BTreeMap::new();
    for vector in &expected {
        let named = |what: &str| vector[what].as_str().map(|name| dir.join(name));
        let against = Elsewhere {
            key: named("key"),
            anchors: named("anchor").into_iter().collect(),
        };
        by.entry(against).or_default().push(vector);
    }
    let mut found = Vec::new();
    for (against, vectors) in by {
        let name = |vector: &&Value| dir.join(vector["file"].as_str().unwrap());
        let files: Vec<PathBuf> = vectors.iter().map(name).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (answers, _) = of(script, &files, &against);
        for (vector, answer) in vectors.iter().zip(answers) {
            let said = (answer.class.as_str(), answer.first_bad);
            if vector["claim"].is_null()
                && said
                    != (
                        vector["verdict"].as_str().unwrap(),
                        vector["first_bad"].as_u64(),
                    )
            {
                found.push(vector["file"].as_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn a_verifier_that_leaves_one_check_out_is_found_out_by_a_vector() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(script()).unwrap();
    let spoilt = dir.path().join("spoilt.py");
    for (from, to) in PLANTED {
        assert!(whole.contains(from), "`{from}` is no longer in it");
        std::fs::write(&spoilt, whole.replacen(from, to, 1)).unwrap();
        let found = found_by(&spoilt);
        println!("without `{from}`: {found:?}");
        assert_ne!(found, Vec::<String>::new(), "without `{from}`");
    }
}

/// Which of several it would have to be held against it does not look for.
#[test]
fn the_second_verifier_takes_one_key_and_none_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let log = published().join("small.jsonl");
    let key = |seed: u8| {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
        actpass_core::hash::b64u_encode(key.as_bytes())
    };
    for (given, code) in [
        (String::new(), 1),
        (key(1), 3),
        (format!("\n{} from=2026-05-04T10:00:00Z\n", key(1)), 3),
        (format!("{} ended", key(1)), 1),
        (format!("{}\n{}", key(1), key(2)), 1),
    ] {
        let file = dir.path().join("key");
        std::fs::write(&file, &given).unwrap();
        let mut verifier = std::process::Command::new("python3");
        verifier.arg(script()).arg(&log).arg("--key").arg(file);
        let found = verifier.output().unwrap();
        assert_eq!(found.status.code(), Some(code), "{given}: {found:?}");
    }
}

#[test]
fn the_second_verifier_can_be_read_at_one_sitting() {
    let whole = std::fs::read_to_string(script()).unwrap();
    let (before, rest) = whole.split_once("CURRENCIES = ").unwrap();
    let (_, after) = rest.split_once("}.items()}\n").unwrap();
    let is_code = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with("\"\"\"")
    };
    let code = before.lines().chain(after.lines()).filter(is_code).count();
    println!(
        "{code} lines of code beside the table of forms, {} in all",
        whole.lines().count()
    );
    assert!(code <= 300, "{code} lines of code");
}
