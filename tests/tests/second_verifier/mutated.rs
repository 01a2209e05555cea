//! Logs changed at random, by who has no key, some keys or all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use actpass_core::hash::{b64u_encode, hex, sha256};
use actpass_tests::exported::{Exported, Keys, batch_signature, set, text_of};
use actpass_tests::logbook::Logbook;
use actpass_tests::scaled;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::answers::{Answer, Elsewhere, of_library, of_script};
use super::disclosed;
use super::edits::{Dice, edited, remade, unreduced, with_leaf};
use super::logs::{audit, cluster, keys, local, small};

/// A log, and what is kept of it elsewhere.
struct Base {
    export: Exported,
    elsewhere: Vec<Elsewhere>,
}

impl Base {
    /// `disclosed`: with all texts that there are.
    fn new(dir: &Path, name: &str, log: &Logbook, disclosed: bool) -> Self {
        let export = log.disclosing(None, |_| disclosed).unwrap();
        let export = Exported::parse(&export).unwrap();
        let verifier = log.signer().verifier();
        let kept = |what: &str, text: String| {
            let path = dir.join(format!("{name}.{what}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = kept("vkey", verifier.to_vkey());
        let public = kept("pub", b64u_encode(verifier.key().as_bytes()));
        let half = export.leaves().len() as u64 / 2;
        let anchors = [half, half + 2].map(|size| log.checkpoint(Some(size)).unwrap());
        let anchor = kept("anchor", anchors.concat());
        let against = |key: Option<&PathBuf>, anchor: Option<&PathBuf>| Elsewhere {
            key: key.cloned(),
            anchors: anchor.cloned().into_iter().collect(),
        };
        let elsewhere = vec![
            against(None, None),
            against(Some(&key), None),
            against(Some(&public), Some(&anchor)),
            against(None, Some(&anchor)),
        ];
        Self { export, elsewhere }
    }
}

/// Does one thing to a log, and says what.
fn mutated(base: &Exported, dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let keys = keys();
    let mut export = base.clone();
    let leaves = export.leaves();
    let seq = dice.below(leaves.len());
    let other = dice.below(leaves.len());
    if !disclosed::places(base).is_empty() && dice.below(3) == 0 {
        return disclosing(export, dice);
    }
    let what = match dice.below(26) {
        0 => return ("a byte", flipped(base, dice)),
        1 => {
            let at = dice.below(export.lines.len());
            let byte = dice.below(export.lines[at].len());
            export.lines[at][byte] ^= dice.byte();
            "a byte of a line, and the sum"
        }
        2..=5 => {
            let leaf = edited(&export.leaf(seq).unwrap(), dice);
            export.put(seq, &leaf);
            match dice.below(3) {
                0 => "a field",
                1 => {
                    export.rechain(seq, None);
                    "a field, and the links behind it"
                }
                _ => {
                    export.rechain(seq, None);
                    export.sign(&keys.log).unwrap();
                    "a field, links and checkpoint"
                }
            }
        }
        6..=11 => {
            with_leaf(&mut export, seq, &keys, |leaf| *leaf = edited(leaf, dice));
            "a field, and everything that is signed"
        }
        12 => {
            export.lines.swap(leaves[seq], leaves[other]);
            ordered(&mut export, seq.min(other), dice, &keys)
        }
        13 => {
            export.lines.remove(leaves[seq]);
            ordered(&mut export, seq, dice, &keys)
        }
        14 => {
            export
                .lines
                .insert(leaves[other], export.lines[leaves[seq]].clone());
            ordered(&mut export, other, dice, &keys)
        }
        15 => return ("cut", cut(base, dice)),
        16 => {
            export.lines.truncate(leaves[seq]);
            if dice.coin() {
                export.sign(&keys.log).unwrap();
            }
            "cut at a leaf"
        }
        17 => {
            export.sign(&SigningKey::from_bytes(&[201; 32])).unwrap();
            "a checkpoint by another key"
        }
        18 => {
            let mut anew = remade(&export, &keys, 201);
            if dice.coin() {
                anew.first.key.clone_from(&export.first.key);
            }
            return ("made anew under another key", anew.bytes().unwrap());
        }
        19 => badly_signed(&mut export, dice, &keys),
        20 => {
            let at = dice.below(export.lines.len());
            export.lines[at] = respelled(&export.lines[at], dice);
            if dice.coin() {
                export.rechain(seq.saturating_sub(1), None);
                export.sign(&keys.log).unwrap();
            }
            "another spelling"
        }
        21 => noted(&mut export, dice),
        22 => beside(&mut export, dice),
        23 => return ("its first or last line", around(base, dice)),
        24 => {
            export.lines[leaves[seq]] = foreign(seq, dice);
            "a leaf of another log"
        }
        _ => {
            let from = export.first_of("stream_opened", 0).unwrap();
            with_leaf(&mut export, from, &keys, |leaf| weak(leaf, dice));
            "a stream under a bad key"
        }
    };
    (what, export.bytes().unwrap())
}

/// What is disclosed: other texts, another spelling, another place.
fn disclosing(mut export: Exported, dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let places = disclosed::places(&export);
    let at = places[dice.below(places.len())];
    let any = dice.below(export.lines.len());
    let what = match dice.below(8) {
        0..=2 => {
            let line: Value = serde_json::from_slice(&export.lines[at]).unwrap();
            export.lines[at] = text_of(&edited(&line, dice));
            "a field of what is disclosed"
        }
        3 => {
            export.lines[at] = respelled(&export.lines[at], dice);
            "what is disclosed, in another spelling"
        }
        4 => {
            export.lines.remove(at);
            "less is disclosed"
        }
        5 => {
            let line = export.lines[at].clone();
            export.lines.insert(any, line);
            "what is disclosed stands twice"
        }
        6 => {
            export.lines.swap(at, any);
            "what is disclosed stands elsewhere"
        }
        _ => {
            let other = places[dice.below(places.len())];
            let seq = |line: &[u8]| {
                let line: Value = serde_json::from_slice(line).unwrap();
                line["disclosed"]["seq"].clone()
            };
            let own = seq(&export.lines[at]);
            let mut line: Value = serde_json::from_slice(&export.lines[other]).unwrap();
            set(&mut line, "/disclosed/seq", own);
            export.lines[at] = text_of(&line);
            "texts of a leaf as those of another"
        }
    };
    (what, export.bytes().unwrap())
}

/// Leaves in another order: as they are, or made to fit.
fn ordered(export: &mut Exported, from: usize, dice: &mut Dice, keys: &Keys) -> &'static str {
    match dice.below(4) {
        0 => return "leaves in another order",
        1 => export.rechain(from.saturating_sub(1), None),
        2 => {
            export.renumber();
            export.rechain(from.saturating_sub(1), None);
            export.sign(&keys.log).unwrap();
        }
        _ => {
            export.renumber();
            export.rechain(from.saturating_sub(1), Some(keys));
            export.sign(&keys.log).unwrap();
        }
    }
    "leaves in another order, made to fit"
}

fn flipped(base: &Exported, dice: &mut Dice) -> Vec<u8> {
    let mut file = base.bytes().unwrap();
    let at = dice.below(file.len());
    file[at] ^= dice.byte();
    file
}

fn cut(base: &Exported, dice: &mut Dice) -> Vec<u8> {
    let mut file = base.bytes().unwrap();
    file.truncate(dice.below(file.len()));
    file
}

/// A batch signature that does not hold, in a log whose links and checkpoint do.
fn badly_signed(export: &mut Exported, dice: &mut Dice, keys: &Keys) -> &'static str {
    let signed =
        (0..export.leaves().len()).filter(|seq| export.leaf(*seq).unwrap().get("s").is_some());
    let signed: Vec<usize> = signed.collect();
    let seq = signed[dice.below(signed.len())];
    let mut leaf = export.leaf(seq).unwrap();
    let text = leaf["s"].as_str().unwrap().to_owned();
    let head = actpass_core::hash::RecordHash::from_bytes([dice.byte(); 32]);
    let other = match dice.below(5) {
        0 => batch_signature(&keys.streams[0], &head),
        1 => unreduced(&text),
        2 => text.get(1..).unwrap().to_owned(),
        3 => b64u_encode(&[0; 64]),
        _ => format!("{text}="),
    };
    set(&mut leaf, "/s", json!(other));
    export.put(seq, &leaf);
    export.rechain(seq, None);
    export.sign(&keys.log).unwrap();
    "a wrong batch signature"
}

/// The same JSON in another spelling, or nearly.
fn respelled(line: &[u8], dice: &mut Dice) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).unwrap();
    let (from, to) = [
        (",\"", ", \""),
        ("\":", "\" :"),
        ("/", "\\/"),
        ("e", "\\u0065"),
        ("\"seq\":", "\"seq\":0"),
        (":1,", ":1.0,"),
        (":0,", ":-0,"),
        ("}", ",\"zz\":1}"),
        ("{", "{\"a\":null,"),
        ("\"", "'"),
        ("true", "True"),
        ("a", "\u{e4}"),
        ("}", "}\r"),
        ("{", "\u{feff}{"),
        ("{\"", "[\""),
        ("1", "1e0"),
    ][dice.below(16)];
    text.replacen(from, to, 1 + dice.below(2)).into_bytes()
}

/// The note of the last line.
fn noted(export: &mut Exported, dice: &mut Dice) -> &'static str {
    let note = export.checkpoint.clone().unwrap();
    let (text, signature) = note.split_once("\n\n").unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let note = match dice.below(9) {
        0 => format!("{text}\n\n{signature}{signature}"),
        1 => format!("{text}\n\n\u{2014} witness.example AAAAAAAA\n{signature}"),
        2 => format!("{text}\n\n{}", signature.replace('\u{2014}', "-")),
        3 => format!("{text}\n\n{}", signature.trim_end()),
        4 => format!("{text}\n{signature}"),
        5 => String::new(),
        change => {
            let at = dice.below(lines.len());
            match change {
                6 => lines[at].push(['0', ' ', '\t', '\u{e4}'][dice.below(4)]),
                7 => {
                    lines[at] =
                        ["", "0", "+5", "007", "99999999999999999999"][dice.below(5)].to_owned()
                }
                _ => lines.push("extension".to_owned()),
            }
            return resigned(export, &lines);
        }
    };
    export.checkpoint = Some(note);
    "a note of another form"
}

/// Lines that the log's own key signed, whatever they say.
fn resigned(export: &mut Exported, lines: &[String]) -> &'static str {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_dalek::Signer as _;
    let name = export.first.log.clone();
    let key = keys().log;
    let mut typed = vec![1];
    typed.extend(key.verifying_key().as_bytes());
    let hash = sha256(&[name.as_bytes(), b"\n", &typed]);
    let text = format!("{}\n", lines.join("\n"));
    let payload = [&hash[..4], &key.sign(text.as_bytes()).to_bytes()].concat();
    export.checkpoint = Some(format!(
        "{text}\n\u{2014} {name} {}\n",
        STANDARD.encode(payload)
    ));
    "another head, signed by the log's key"
}

/// What lies beside the leaves.
fn beside(export: &mut Exported, dice: &mut Dice) -> &'static str {
    let is_blob = |line: &Vec<u8>| line.starts_with(b"{\"blob\":");
    let blobs = export
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_blob(line));
    let blobs: Vec<usize> = blobs.map(|(at, _)| at).collect();
    let at = blobs[dice.below(blobs.len())];
    if dice.coin() {
        export.lines.remove(at);
        return "a blob is gone";
    }
    let mut blob: Value = serde_json::from_slice(&export.lines[at]).unwrap();
    let (place, value) = [
        ("/blob/bytes", json!("AAAA")),
        ("/blob/bytes", json!("AAA")),
        ("/blob/bytes", json!("AB==")),
        ("/blob/bytes", json!(7)),
        ("/blob/kind", json!("state")),
        ("/blob/kind", json!("sealed")),
        ("/blob/name", json!("00")),
        ("/blob/name", json!("ab".repeat(32))),
        ("/blob", json!(["AAAA", "sealed", "ab".repeat(32)])),
    ][dice.below(9)]
    .clone();
    set(&mut blob, place, value);
    export.lines[at] = serde_json::to_vec(&blob).unwrap();
    "a blob"
}

/// The first line or the last, or something behind it.
fn around(base: &Exported, dice: &mut Dice) -> Vec<u8> {
    let mut file = base.bytes().unwrap();
    match dice.below(4) {
        0 => {
            file.extend(["x", "\n", "{}\n", "{\"checkpoint\":"][dice.below(4)].as_bytes());
            file
        }
        1 => {
            let mut other = base.clone();
            other.first.log = [CLUSTERS, ""][dice.below(2)].to_owned();
            other.bytes().unwrap()
        }
        2 => {
            let mut other = base.clone();
            other.first.export = "actpass.export/2".to_owned();
            other.bytes().unwrap()
        }
        _ => {
            let text = String::from_utf8(file).unwrap();
            let leaves = base.leaves().len();
            let (from, to) = (
                format!("\"leaves\":{leaves}"),
                format!("\"leaves\":{}", leaves + dice.below(3)),
            );
            let text = text.replacen(&from, &to, 1);
            let (body, last) = text.trim_end().rsplit_once('\n').unwrap();
            let mut last: Value = serde_json::from_str(last).unwrap();
            last["sha256"] = json!(hex(&sha256(&[body.as_bytes(), b"\n"])));
            format!("{body}\n{last}\n").into_bytes()
        }
    }
}

const CLUSTERS: &str = "actpass/local/default/other";

/// The leaf of another log of the same keys.
fn foreign(seq: usize, dice: &mut Dice) -> Vec<u8> {
    let log = if dice.coin() { audit() } else { small() };
    let export = Exported::parse(&log.exported(None).unwrap()).unwrap();
    let leaves = export.leaves();
    export.lines[leaves[seq % leaves.len()]].clone()
}

/// A key of small order, of no point, or not of 32 bytes, and the stream that it would be of.
fn weak(leaf: &mut Value, dice: &mut Dice) {
    let mut key = [0_u8; 32];
    key[0] = [0, 1, 2, 7, 0xec, 0xed, 0xee, 0xf0][dice.below(8)];
    if key[0] > 0x80 {
        key[1..].fill(0xff);
        key[31] = 0x7f;
    }
    key[31] |= [0, 0x80][dice.below(2)];
    let length = 32 - dice.below(4) / 3;
    set(leaf, "/r/body/key", json!(b64u_encode(&key[..length])));
    set(
        leaf,
        "/r/body/stream",
        json!(hex(&sha256(&[&key[..length]]))),
    );
}

#[test]
fn both_verifiers_say_the_same_of_logs_changed_at_random() {
    let dir = tempfile::tempdir().unwrap();
    let logs = [
        ("small", small(), false),
        ("local", local(), false),
        ("cluster", cluster(), false),
        ("audit", audit(), false),
        ("small_disclosed", small(), true),
        ("local_disclosed", local(), true),
        ("audit_disclosed", audit(), true),
    ];
    let bases: Vec<Base> = logs
        .iter()
        .map(|(name, log, disclosed)| Base::new(dir.path(), name, log, *disclosed))
        .collect();
    let mut dice = Dice::new(20_260_504);
    let mut made: BTreeMap<Elsewhere, Vec<(String, PathBuf)>> = BTreeMap::new();
    for number in 0..scaled(3_000) {
        let base = &bases[dice.below(bases.len())];
        let against = base.elsewhere[dice.below(base.elsewhere.len())].clone();
        let (what, file) = mutated(&base.export, &mut dice);
        let path = dir.path().join(format!("{number}.jsonl"));
        std::fs::write(&path, file).unwrap();
        made.entry(against)
            .or_default()
            .push((format!("{number}: {what}"), path));
    }
    let mut said: BTreeMap<(String, &str), u32> = BTreeMap::new();
    let mut differ = Vec::new();
    for (against, files) in &made {
        let paths: Vec<&Path> = files.iter().map(|(_, path)| path.as_path()).collect();
        let (answers, _) = of_script(&paths, against);
        for ((what, path), theirs) in files.iter().zip(answers) {
            let (ours, claim) = of_library(path, against);
            let word = judged(&ours, &theirs, claim);
            if word == "DIFFER" {
                differ.push(format!(
                    "{what}, against {against:?}: ours {ours:?}, theirs {theirs:?}"
                ));
                keep(path);
            }
            *said.entry((ours.class, word)).or_default() += 1;
        }
    }
    println!("{said:#?}");
    let sum: u32 = said.values().sum();
    let same: u32 = said
        .iter()
        .filter(|((_, word), _)| *word == "same")
        .map(|(_, count)| count)
        .sum();
    assert!(
        differ.is_empty(),
        "{} of {sum} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
    assert!(same > sum * 9 / 10, "{said:?}");
}

/// `same`; `claim only`, where only ours follows what the ledger claims so far; or that they differ.
fn judged(ours: &Answer, theirs: &Answer, claim: bool) -> &'static str {
    let later = theirs
        .first_bad
        .is_none_or(|seq| ours.first_bad.is_some_and(|first| seq > first));
    if ours == theirs {
        "same"
    } else if claim && later && ours.damaged == theirs.damaged {
        "a claim that only ours follows"
    } else {
        "DIFFER"
    }
}

/// Keeps a file on which the two differ, where somebody asks for it.
fn keep(path: &Path) {
    if let Some(dir) = std::env::var_os("ACTPASS_KEEP_DIFFERING") {
        std::fs::copy(path, Path::new(&dir).join(path.file_name().unwrap())).unwrap();
    }
}
