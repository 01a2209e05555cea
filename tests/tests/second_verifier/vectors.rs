//! The published vectors: small logs with what a verifier must say of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use actpass_core::hash::{b64u_encode, hex, sha256};
use actpass_tests::exported::{Exported, set};
use actpass_tests::logbook::Logbook;
use serde_json::{Value, json};

use super::answers::{Answer, Elsewhere, of_program, of_script};
use super::edits::{remade, with_leaf};
use super::logs::{audit, cluster, erasable, example, forked, forked_and, keys, local, small};
use super::{disclosed, rotated};

/// Where they are published.
pub(crate) fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/vectors")
}

/// One vector.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) file: Vec<u8>,
    /// What it is held against, by the names of other files.
    pub(super) key: Option<&'static str>,
    pub(super) anchor: Option<&'static str>,
    pub(super) verdict: &'static str,
    pub(super) first_bad: Option<u64>,
    /// The claim without which a verifier finds nothing wrong.
    pub(super) claim: Option<&'static str>,
}

/// A vector that is held against nothing.
pub(super) fn vector(
    name: &'static str,
    about: &'static str,
    file: Vec<u8>,
    (verdict, first_bad): (&'static str, Option<u64>),
) -> Vector {
    Vector {
        name,
        about,
        file,
        key: None,
        anchor: None,
        verdict,
        first_bad,
        claim: None,
    }
}

fn parsed(log: &Logbook) -> Exported {
    Exported::parse(&log.exported(None).unwrap()).unwrap()
}

/// The small log with something done to it.
fn altered(change: impl FnOnce(&mut Exported)) -> Vec<u8> {
    let mut export = parsed(&small());
    change(&mut export);
    export.bytes().unwrap()
}

/// The same, with the lines of a leaf's text changed and nothing else.
fn with_text(seq: usize, from: &str, to: &str) -> Vec<u8> {
    altered(|export| {
        let at = export.leaves()[seq];
        let line = String::from_utf8(export.lines[at].clone()).unwrap();
        assert!(line.contains(from), "{line}");
        export.lines[at] = line.replacen(from, to, 1).into_bytes();
    })
}

/// The same, with a leaf changed and all behind it made to fit, by whoever has every key.
fn forged(seq: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    altered(|export| with_leaf(export, seq, &keys(), change))
}

pub(super) const VALID: (&str, Option<u64>) = ("valid", None);
const INCOMPLETE: (&str, Option<u64>) = ("incomplete", None);

pub(super) fn wrong(seq: u64) -> (&'static str, Option<u64>) {
    ("invalid", Some(seq))
}

fn vectors() -> Vec<Vector> {
    let mut all = good();
    all.extend(unfinished());
    all.extend(changed());
    all.extend(made_anew());
    all.extend(lies());
    all.extend(gaps());
    all.extend(rotated::vectors());
    all.extend(disclosed::vectors());
    all
}

/// Logs whose end is lost.
fn gaps() -> Vec<Vector> {
    let file = forked().exported(None).unwrap().into_bytes();
    let unsigned = forked().exported(Some(6)).unwrap().into_bytes();
    let rotated = forked_and(|log| log.rotate(202).unwrap());
    let mut before_key = parsed(&rotated);
    before_key.checkpoint = Some(rotated.checkpoint_by(200, 7).unwrap());
    let before_key = before_key.bytes().unwrap();
    let rotated = rotated.exported(None).unwrap().into_bytes();
    let wrong = |seq| ("invalid", Some(seq));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut export = parsed(&forked());
        with_leaf(&mut export, 6, &keys(), change);
        export.bytes().unwrap()
    };
    let rooted = changed(&|leaf| set(leaf, "/r/body/root", json!("00".repeat(32))));
    let unnamed = changed(&|leaf| {
        leaf["r"]["body"].as_object_mut().unwrap().remove("lost");
    });
    let against = |name, about, file, anchor, verdict| Vector {
        anchor: Some(anchor),
        ..vector(name, about, file, verdict)
    };
    vec![
        vector(
            "forked.jsonl",
            "six leaves of the small log, and a gap that names its head",
            file.clone(),
            INCOMPLETE,
        ),
        against(
            "forked_lost.jsonl",
            "the same, held against the head that the gap names",
            file.clone(),
            "lost.txt",
            INCOMPLETE,
        ),
        against(
            "forked_other.jsonl",
            "the same, held against a head that no gap names",
            file.clone(),
            "anchor.txt",
            wrong(8),
        ),
        against(
            "forked_unnamed.jsonl",
            "a gap that names no head, held against one that is lost",
            unnamed,
            "lost.txt",
            wrong(11),
        ),
        against(
            "forked_unsigned.jsonl",
            "a gap that no checkpoint covers, held against the head that it names",
            unsigned,
            "lost.txt",
            wrong(11),
        ),
        against(
            "forked_rotated.jsonl",
            "a gap and another key after it, held against the head that the gap names, which the key before signed",
            rotated.clone(),
            "lost.txt",
            INCOMPLETE,
        ),
        against(
            "forked_rotation.jsonl",
            "the same, held against the head that the gap names as the other key signed it, which was in force in what is lost too",
            rotated.clone(),
            "lost_rotation.txt",
            INCOMPLETE,
        ),
        against(
            "forked_rotation_unsigned.jsonl",
            "the same, and the checkpoint covers the gap, but not the leaf that names the other key",
            before_key,
            "lost_rotation.txt",
            wrong(11),
        ),
        against(
            "forked_unknown.jsonl",
            "a gap, held against the head that it names as a key signed it that no leaf names",
            file,
            "lost_rotation.txt",
            wrong(11),
        ),
        against(
            "forked_twice_signed.jsonl",
            "a gap and another key after it, held against the head that the gap names, with a wrong line of the other key and a right one of the one before",
            rotated,
            "lost_twice.txt",
            wrong(11),
        ),
        vector(
            "forked_root.jsonl",
            "a gap that names another root than that of the leaves before it",
            rooted,
            wrong(6),
        ),
    ]
}

fn good() -> Vec<Vector> {
    let whole = |log: Logbook| log.exported(None).unwrap().into_bytes();
    let small_log = small().exported(None).unwrap().into_bytes();
    let held = Vector {
        key: Some("log.vkey"),
        anchor: Some("anchor.txt"),
        ..vector(
            "held.jsonl",
            "held against its key and an anchor",
            small_log.clone(),
            VALID,
        )
    };
    let public = Vector {
        key: Some("log.pub"),
        ..vector(
            "public.jsonl",
            "held against the public half of its key",
            small_log.clone(),
            VALID,
        )
    };
    vec![
        vector(
            "example.jsonl",
            "the three leaves of docs/evidence-format.md",
            whole(example()),
            VALID,
        ),
        vector("small.jsonl", "twelve leaves", small_log, VALID),
        held,
        public,
        vector(
            "local.jsonl",
            "every kind of leaf of local mode",
            whole(local()),
            VALID,
        ),
        vector(
            "cluster.jsonl",
            "keys, revisions, a pod, a stamped vote",
            whole(cluster()),
            VALID,
        ),
        vector(
            "audit.jsonl",
            "actions passed on under audit",
            whole(audit()),
            VALID,
        ),
    ]
}

fn unfinished() -> Vec<Vector> {
    let without = |kind: &str| {
        altered(|export| {
            let kind = format!("\"kind\":\"{kind}\"");
            let is_kind = |line: &[u8]| {
                line.starts_with(b"{\"blob\"") && String::from_utf8_lossy(line).contains(&kind)
            };
            export.lines.retain(|line| !is_kind(line));
        })
    };
    let empty = altered(|export| {
        export.lines.clear();
        export.checkpoint = None;
    });
    let unsigned = altered(|export| {
        for _ in 0..7 {
            let at = *export.leaves().last().unwrap();
            export.lines.truncate(at);
        }
        with_leaf(export, 4, &keys(), |leaf| {
            drop(leaf.as_object_mut().unwrap().remove("s"))
        });
    });
    vec![
        vector(
            "cut.jsonl",
            "its last line is missing",
            altered(|export| export.checkpoint = None),
            INCOMPLETE,
        ),
        vector(
            "empty.jsonl",
            "its first line and nothing else",
            empty,
            INCOMPLETE,
        ),
        vector(
            "uncovered.jsonl",
            "its checkpoint covers nine of twelve leaves",
            small().exported(Some(9)).unwrap().into_bytes(),
            INCOMPLETE,
        ),
        vector(
            "unsigned.jsonl",
            "no batch signature covers the last records",
            unsigned,
            INCOMPLETE,
        ),
        vector(
            "no_bundle.jsonl",
            "the bundle is missing",
            without("bundle"),
            INCOMPLETE,
        ),
        vector(
            "no_texts.jsonl",
            "the texts are missing",
            without("side_frame"),
            INCOMPLETE,
        ),
        vector(
            "no_request.jsonl",
            "the kept request is missing",
            without("sealed"),
            INCOMPLETE,
        ),
    ]
}

/// Changed by who has no key.
fn changed() -> Vec<Vector> {
    let swapped = altered(|export| {
        let leaves = export.leaves();
        export.lines.swap(leaves[3], leaves[4]);
    });
    let dropped = altered(|export| drop(export.lines.remove(export.leaves()[5])));
    let repeated = altered(|export| {
        export
            .lines
            .insert(export.leaves()[4], export.lines[export.leaves()[3]].clone())
    });
    let short = altered(|export| drop(export.lines.pop()));
    let unsummed =
        String::from_utf8(altered(|_| ()))
            .unwrap()
            .replacen("\"started\"", "\"stopped\"", 1);
    let unread = String::from_utf8(altered(|_| ())).unwrap();
    let unread = unread.replacen("dGhlIHNl", "AGhlIHNl", 1).into_bytes();
    let followed = [altered(|_| ()), b"more".to_vec()].concat();
    let ended_twice = ended_twice(&String::from_utf8(altered(|_| ())).unwrap());
    let swapped_bundle = altered(|export| {
        let at = export
            .lines
            .iter()
            .position(|line| line.starts_with(b"{\"blob\""))
            .unwrap();
        let mut blob: Value = serde_json::from_slice(&export.lines[at]).unwrap();
        set(&mut blob, "/blob/bytes", json!("e30="));
        export.lines[at] = serde_json::to_vec(&blob).unwrap();
    });
    let unbased = altered(|export| {
        let at = export
            .lines
            .iter()
            .position(|line| line.starts_with(b"{\"blob\""))
            .unwrap();
        let line = String::from_utf8(export.lines[at].clone()).unwrap();
        export.lines[at] = line
            .replacen("\"bytes\":\"", "\"bytes\":\"*", 1)
            .into_bytes();
    });
    let whole = String::from_utf8(altered(|_| ())).unwrap();
    let miscounted = summed(&whole.replacen("\"leaves\":12", "\"leaves\":13", 1));
    let reordered = summed(&whole.replacen("{\"export\":", "{ \"export\":", 1));
    let renamed = altered(|export| export.first.log = export.first.log.replace("5a", "5b"));
    vec![
        vector(
            "changed.jsonl",
            "a word of leaf 3",
            with_text(3, "\"started\"", "\"stopped\""),
            wrong(3),
        ),
        vector(
            "changed_last.jsonl",
            "the time of the last leaf",
            with_text(11, ".000012Z", ".000013Z"),
            wrong(11),
        ),
        vector(
            "changed_link.jsonl",
            "the link of leaf 6",
            with_text(6, "\"prev\":\"", "\"prev\":\"0"),
            wrong(6),
        ),
        vector(
            "escaped.jsonl",
            "an escape that the canonical form does not make",
            with_text(3, "\"started\"", "\"\\u0073tarted\""),
            wrong(3),
        ),
        vector(
            "spaced.jsonl",
            "a space",
            with_text(3, "\"kind\":", "\"kind\": "),
            wrong(3),
        ),
        vector(
            "swapped.jsonl",
            "leaves 3 and 4 are swapped",
            swapped,
            wrong(3),
        ),
        vector("dropped.jsonl", "leaf 5 is missing", dropped, wrong(5)),
        vector("repeated.jsonl", "leaf 3 stands twice", repeated, wrong(4)),
        vector("short.jsonl", "the last leaf is missing", short, wrong(11)),
        vector(
            "sum.jsonl",
            "a word of leaf 3, and the sum is the old one",
            unsummed.into_bytes(),
            wrong(3),
        ),
        vector(
            "sum_only.jsonl",
            "other encrypted texts, and the sum is the old one",
            unread,
            ("invalid", None),
        ),
        vector(
            "followed.jsonl",
            "something follows the last line",
            followed,
            ("invalid", None),
        ),
        vector(
            "ended_twice.jsonl",
            "two last lines, the first of them without a checkpoint, and both sums are right",
            ended_twice,
            ("invalid", None),
        ),
        vector(
            "bundle.jsonl",
            "other bytes for the bundle",
            swapped_bundle,
            wrong(1),
        ),
        vector(
            "unbased.jsonl",
            "a blob whose bytes are no base64",
            unbased,
            ("invalid", None),
        ),
        vector(
            "miscounted.jsonl",
            "its first line names thirteen leaves",
            miscounted,
            ("invalid", None),
        ),
        vector(
            "respelled.jsonl",
            "its first line in another spelling",
            reordered,
            ("invalid", None),
        ),
        vector(
            "renamed.jsonl",
            "the first line names another log",
            renamed,
            ("invalid", None),
        ),
    ]
}

/// The file with another last line, of an empty checkpoint, before its own.
fn ended_twice(file: &str) -> Vec<u8> {
    let (body, last) = file.trim_end().rsplit_once('\n').unwrap();
    let sum = hex(&sha256(&[body.as_bytes(), b"\n"]));
    let empty = json!({"checkpoint": "", "sha256": sum});
    summed(&format!("{body}\n{empty}\n{last}\n"))
}

/// The file with the sum of its lines as they are now.
fn summed(file: &str) -> Vec<u8> {
    let (body, last) = file.trim_end().rsplit_once('\n').unwrap();
    let mut last: Value = serde_json::from_str(last).unwrap();
    set(
        &mut last,
        "/sha256",
        json!(hex(&sha256(&[body.as_bytes(), b"\n"]))),
    );
    format!("{body}\n{last}\n").into_bytes()
}

/// Made anew under another key, or held against what was kept.
fn made_anew() -> Vec<Vector> {
    let anew = remade(&parsed(&small()), &keys(), 201);
    let file = anew.bytes().unwrap();
    let resigned = altered(|export| {
        export
            .sign(&ed25519_dalek::SigningKey::from_bytes(&[201; 32]))
            .unwrap()
    });
    let shorter = altered(|export| {
        let at = export.leaves()[7];
        export.lines.truncate(at);
        export.sign(&keys().log).unwrap();
    });
    vec![
        vector(
            "anew.jsonl",
            "made anew under another key, and held against nothing",
            file.clone(),
            VALID,
        ),
        Vector {
            key: Some("log.vkey"),
            ..vector(
                "anew_key.jsonl",
                "the same, held against the key",
                file.clone(),
                wrong(0),
            )
        },
        Vector {
            anchor: Some("anchor.txt"),
            ..vector(
                "anew_anchor.jsonl",
                "the same, held against an anchor of nine leaves",
                file,
                wrong(8),
            )
        },
        vector(
            "signed_by_other.jsonl",
            "its checkpoint is signed by another key",
            resigned,
            wrong(11),
        ),
        vector(
            "shorter.jsonl",
            "five leaves less, signed again by the log's key",
            shorter.clone(),
            VALID,
        ),
        Vector {
            anchor: Some("anchor.txt"),
            ..vector(
                "shorter_anchor.jsonl",
                "the same, held against an anchor of nine leaves",
                shorter,
                wrong(7),
            )
        },
    ]
}

/// Written by a ledger that lies: every link, record and checkpoint is signed by the right key.
fn lies() -> Vec<Vector> {
    let respelled = altered(|export| {
        let at = export.leaves()[3];
        let line = String::from_utf8(export.lines[at].clone()).unwrap();
        export.lines[at] = line.replacen("\"kind\":", "\"kind\": ", 1).into_bytes();
        export.rechain(3, None);
        export.sign(&keys().log).unwrap();
    });
    let weak = forged(2, |leaf| {
        let mut key = [0; 32];
        key[0] = 1;
        set(leaf, "/r/body/key", json!(b64u_encode(&key)));
        set(leaf, "/r/body/stream", json!(hex(&sha256(&[&key]))));
    });
    let no_kind = forged(5, |leaf| {
        let kind = leaf.pointer("/r/kind").unwrap().as_str().unwrap();
        let kind = format!("{kind}|null");
        set(leaf, "/r/kind", json!(kind));
    });
    let unsigned = forged(4, |_| ());
    let malleable = altered_signature(&unsigned);
    let twice = altered(|export| {
        let again = export.leaf(6).unwrap();
        let settles = again.pointer("/d/settles").cloned().unwrap();
        with_leaf(export, 11, &keys(), |leaf| {
            set(leaf, "/d/settles", settles);
            set(leaf, "/r/body/of", json!(2));
        });
    });
    let reused = forged(10, |leaf| {
        set(leaf, "/d/approval/id", json!("apr_00000000000000000000"))
    });
    let settled = forged(6, |leaf| set(leaf, "/d/settles/released", json!(true)));
    vec![
        vector(
            "spelling.jsonl",
            "a space in leaf 3, and all behind it made to fit",
            respelled,
            wrong(3),
        ),
        vector(
            "other_log.jsonl",
            "leaf 5 names another log",
            forged(5, |leaf| {
                set(leaf, "/h/log", json!("actpass/local/default/5b"))
            }),
            wrong(5),
        ),
        vector(
            "no_kind.jsonl",
            "leaf 5 is of a kind that there is not",
            no_kind,
            wrong(5),
        ),
        vector(
            "weak_key.jsonl",
            "a stream under a key of small order",
            weak,
            wrong(2),
        ),
        vector(
            "malleable.jsonl",
            "a batch signature whose S is not reduced",
            malleable,
            wrong(4),
        ),
        vector(
            "earlier.jsonl",
            "leaf 5 is not later than leaf 4",
            forged(5, |leaf| {
                set(leaf, "/h/time", json!("2026-05-04T10:00:00.000001Z"))
            }),
            wrong(5),
        ),
        vector(
            "renumbered.jsonl",
            "leaf 5 says that it is leaf 6",
            forged(5, |leaf| set(leaf, "/h/seq", json!(6))),
            wrong(5),
        ),
        vector(
            "gap.jsonl",
            "a record is missing from its stream",
            forged(4, |leaf| set(leaf, "/r/seq", json!(2))),
            wrong(4),
        ),
        vector(
            "word.jsonl",
            "a ruling of a verdict that there is not",
            forged(5, |leaf| set(leaf, "/d/verdict", json!("allow"))),
            wrong(5),
        ),
        vector(
            "member.jsonl",
            "a member that there is not",
            forged(5, |leaf| {
                drop(
                    leaf["d"]
                        .as_object_mut()
                        .unwrap()
                        .insert("why".to_owned(), json!("")),
                )
            }),
            wrong(5),
        ),
        vector(
            "float.jsonl",
            "a number with a point",
            forged(6, |leaf| set(leaf, "/r/body/micros", json!(1.5))),
            wrong(6),
        ),
        vector(
            "settled_twice.jsonl",
            "an outcome said twice settles twice",
            twice,
            wrong(11),
        ),
        vector(
            "released.jsonl",
            "what was used is given back",
            settled,
            wrong(6),
        ),
        vector(
            "not_granted.jsonl",
            "a permit on an approval that nobody gave",
            reused,
            wrong(10),
        ),
        Vector {
            claim: Some("limits"),
            ..vector(
                "overspent.jsonl",
                "a permit beyond the limit",
                forged(5, overspend),
                wrong(5),
            )
        },
        vector(
            "erased_grant.jsonl",
            "a grant is used whose question was erased",
            erased(6, |leaf, subject| {
                let body = json!({"by": "ann", "generation": 0, "id": "ers_0", "subject": subject, "why": "request 4711"});
                leaf["r"] = json!({"body": body, "kind": "erasure", "v": "actpass.event/1"});
            }),
            wrong(7),
        ),
        vector(
            "erased_twice.jsonl",
            "the same keys are erased twice",
            erased(10, |leaf, _| set(leaf, "/r/body/generation", json!(0))),
            wrong(10),
        ),
        vector(
            "unstamped.jsonl",
            "a vote whose stamp is of another key",
            unstamped(),
            wrong(7),
        ),
    ]
}

/// The log of erasures with a leaf changed by who has every key, who knows how the log names whom they were about.
fn erased(seq: usize, change: impl FnOnce(&mut Value, Value)) -> Vec<u8> {
    let mut export = parsed(&erasable());
    let subject = export.leaf(3).unwrap()["d"]["subject"].clone();
    with_leaf(&mut export, seq, &keys(), |leaf| change(leaf, subject));
    export.bytes().unwrap()
}

fn overspend(leaf: &mut Value) {
    for reservation in leaf["d"]["reservations"].as_array_mut().unwrap() {
        set(reservation, "/amount", json!(30_001));
    }
    set(leaf, "/r/body/action/meters/0/amount", json!(30_001));
    set(leaf, "/r/body/action/meters/1/amount", json!(30_001));
    set(leaf, "/r/body/action/amount/minor", json!("30001"));
}

fn unstamped() -> Vec<u8> {
    let mut export = parsed(&cluster());
    let seq = export.first_of("vote", 0).unwrap();
    assert_eq!(seq, 7);
    with_leaf(&mut export, seq, &keys(), |leaf| {
        set(
            leaf,
            "/r/body/signed/signature",
            json!(b64u_encode(&[7; 64])),
        );
    });
    export.bytes().unwrap()
}

/// The same file with the order of the group added to S of the batch signature in leaf 4.
fn altered_signature(file: &[u8]) -> Vec<u8> {
    let mut export = Exported::parse(std::str::from_utf8(file).unwrap()).unwrap();
    with_leaf(&mut export, 4, &keys(), |_| ());
    let mut leaf = export.leaf(4).unwrap();
    let text = leaf["s"].as_str().unwrap().to_owned();
    set(&mut leaf, "/s", json!(super::edits::unreduced(&text)));
    export.put(4, &leaf);
    export.rechain(4, None);
    export.sign(&keys().log).unwrap();
    export.bytes().unwrap()
}

/// All files, by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let log = small();
    let vkey = log.signer().verifier();
    let by_other = |size| log.checkpoint_by(202, size).unwrap();
    let (whole, other) = (log.checkpoint(None).unwrap(), by_other(11));
    let twice = [whole.as_str(), other.lines().last().unwrap(), "\n"].concat();
    let mut files = BTreeMap::from([
        (
            "log.vkey".to_owned(),
            format!("{}\n", vkey.to_vkey()).into_bytes(),
        ),
        (
            "log.pub".to_owned(),
            format!("{}\n", b64u_encode(vkey.key().as_bytes())).into_bytes(),
        ),
        (
            "anchor.txt".to_owned(),
            log.checkpoint(Some(9)).unwrap().into_bytes(),
        ),
        (
            "lost.txt".to_owned(),
            log.checkpoint(None).unwrap().into_bytes(),
        ),
        ("lost_rotation.txt".to_owned(), by_other(12).into_bytes()),
        ("lost_twice.txt".to_owned(), twice.into_bytes()),
    ]);
    files.extend(rotated::beside());
    let mut expected = Vec::new();
    for it in vectors() {
        let exit = match it.verdict {
            "valid" => 0,
            "incomplete" => 2,
            _ => 3,
        };
        expected.push(json!({
            "file": it.name, "about": it.about, "key": it.key, "anchor": it.anchor,
            "verdict": it.verdict, "exit": exit, "first_bad": it.first_bad, "claim": it.claim,
        }));
        files.insert(it.name.to_owned(), it.file);
    }
    let expected = serde_json::to_string_pretty(&expected).unwrap();
    files.insert(
        "expected.json".to_owned(),
        format!("{expected}\n").into_bytes(),
    );
    files
}

#[test]
fn the_published_vectors_are_those_that_our_code_makes() {
    let made = files();
    let sum: usize = made.values().map(Vec::len).sum();
    println!("{} files, {sum} bytes", made.len());
    assert!(sum < 5 << 18, "{sum} bytes");
    let dir = published();
    if std::env::var_os("ACTPASS_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in &made {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
    let there = std::fs::read_dir(&dir).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale: Vec<String> = there.filter(|name| !made.contains_key(name)).collect();
    assert_eq!(stale, Vec::<String>::new(), "no longer made");
    for (name, bytes) in &made {
        let kept = std::fs::read(dir.join(name)).unwrap_or_default();
        let differs = kept.iter().zip(bytes).position(|(kept, made)| kept != made);
        let same = kept == *bytes;
        assert!(
            same,
            "{name} differs from byte {differs:?}: run it with ACTPASS_WRITE_DOCS=1"
        );
    }
}

#[test]
fn both_verifiers_say_of_every_vector_what_is_published_of_it() {
    let dir = published();
    let expected = std::fs::read(dir.join("expected.json")).unwrap();
    let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
    let mut counts = BTreeMap::<String, u32>::new();
    for vector in &expected {
        let file = dir.join(vector["file"].as_str().unwrap());
        let named = |what: &str| vector[what].as_str().map(|name| dir.join(name));
        let against = Elsewhere {
            key: named("key"),
            anchors: named("anchor").into_iter().collect(),
        };
        let want = (
            vector["verdict"].as_str().unwrap(),
            vector["first_bad"].as_u64(),
        );
        let exit = i32::try_from(vector["exit"].as_i64().unwrap()).unwrap();
        let said = |answer: &Answer| (answer.class.clone(), answer.first_bad);
        let want = (want.0.to_owned(), want.1);
        let (ours, code) = of_program(&file, &against);
        assert_eq!(
            (said(&ours), code),
            (want.clone(), exit),
            "actpass verify {}",
            file.display()
        );
        let (theirs, code) = of_script(&[&file], &against);
        let theirs = &theirs[0];
        let want = match vector["claim"].as_str() {
            Some(claim) => {
                println!("{}: the script does not look at {claim}", file.display());
                (("valid".to_owned(), None), 0)
            }
            None => {
                assert_eq!(ours, *theirs, "{}", file.display());
                (want, exit)
            }
        };
        assert_eq!(
            (said(theirs), code),
            want,
            "the script on {}",
            file.display()
        );
        let want = want.0;
        *counts.entry(want.0).or_default() += 1;
    }
    println!("vectors: {counts:?}");
    assert!(
        counts.len() == 3 && counts.values().all(|count| *count > 4),
        "{counts:?}"
    );
}
