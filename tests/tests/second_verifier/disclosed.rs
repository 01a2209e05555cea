//! Vectors of logs whose texts are disclosed with them.

use actpass_core::hash::{b64u_decode, b64u_encode};
use actpass_tests::exported::{Exported, set, text_of};
use serde_json::{Value, json};

use super::logs::{brief, erasable};
use super::vectors::{VALID, Vector, vector, wrong};

/// The brief log with the texts of these leaves.
fn with(leaves: &[u64]) -> Exported {
    let file = brief().disclosing(None, |seq| leaves.contains(&seq));
    Exported::parse(&file.unwrap()).unwrap()
}

/// Where lines stand that disclose.
pub(super) fn places(export: &Exported) -> Vec<usize> {
    let lines = export.lines.iter().enumerate();
    let disclose = |line: &[u8]| line.starts_with(b"{\"disclosed\":");
    lines
        .filter_map(|(at, line)| disclose(line).then_some(at))
        .collect()
}

fn line(export: &Exported, at: usize) -> Value {
    serde_json::from_slice(&export.lines[at]).unwrap()
}

/// The brief log with the texts of leaf 3, and something done to their line.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut export = with(&[3]);
    let at = places(&export)[0];
    let mut disclosed = line(&export, at);
    change(&mut disclosed);
    export.lines[at] = text_of(&disclosed);
    export.bytes().unwrap()
}

/// The same, and something done to all lines; the place is that of the line of leaf 3.
fn ordered(leaves: &[u64], change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) -> Vec<u8> {
    let mut export = with(leaves);
    let at = places(&export)[0];
    change(&mut export.lines, at);
    export.bytes().unwrap()
}

/// The first field that is opened, and its opening.
fn first(disclosed: &mut Value) -> (String, &mut Value) {
    let openings = disclosed["disclosed"]["openings"].as_object_mut().unwrap();
    let (field, opening) = openings.iter_mut().next().unwrap();
    (field.clone(), opening)
}

const DAMAGED: (&str, Option<u64>) = ("invalid", None);

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = fitting();
    all.extend(unfit());
    all.extend(misplaced());
    all
}

fn fitting() -> Vec<Vector> {
    let part = changed(|line| {
        let (field, _) = first(line);
        let openings = line["disclosed"]["openings"].as_object_mut().unwrap();
        assert!(openings.len() > 1, "{openings:?}");
        openings.retain(|name, _| *name == field);
    });
    let erased = erasable().disclosing(None, |seq| seq == 3).unwrap();
    vec![
        vector(
            "disclosed.jsonl",
            "six leaves, with the texts of leaf 3",
            with(&[3]).bytes().unwrap(),
            VALID,
        ),
        vector(
            "disclosed_all.jsonl",
            "six leaves, with all texts",
            with(&[3, 5]).bytes().unwrap(),
            VALID,
        ),
        vector(
            "disclosed_part.jsonl",
            "one of several texts of leaf 3",
            part,
            VALID,
        ),
        vector(
            "disclosed_erased.jsonl",
            "texts of leaf 3 that a later leaf says are erased: whoever was given them still has them",
            erased.into_bytes(),
            VALID,
        ),
    ]
}

/// Lines of the right form, whose texts are not those of their leaf.
fn unfit() -> Vec<Vector> {
    let salt = changed(|line| {
        let (_, opening) = first(line);
        let mut salt = b64u_decode(opening["salt"].as_str().unwrap()).unwrap();
        salt[31] ^= 1;
        set(opening, "/salt", json!(b64u_encode(&salt)));
    });
    let text = changed(|line| {
        let (_, opening) = first(line);
        let text = format!("{} ", opening["text"].as_str().unwrap());
        set(opening, "/text", json!(text));
    });
    let other = {
        let both = with(&[3, 5]);
        let mut of_five = line(&both, places(&both)[1]);
        set(&mut of_five, "/disclosed/seq", json!(3));
        changed(|line| *line = of_five)
    };
    let swapped = changed(|line| {
        let openings = line["disclosed"]["openings"].as_object_mut().unwrap();
        let fields: Vec<String> = openings.keys().cloned().collect();
        let [one, two] = [&fields[0], &fields[1]].map(|field| openings[field].clone());
        openings.insert(fields[0].clone(), two);
        openings.insert(fields[1].clone(), one);
    });
    let field = changed(|line| {
        let (_, opening) = first(line);
        let opening = opening.clone();
        let openings = line["disclosed"]["openings"].as_object_mut().unwrap();
        openings.insert("why".to_owned(), opening);
    });
    let nothing = changed(|line| set(line, "/disclosed/openings", json!({})));
    let none = {
        let mut export = with(&[3]);
        let at = places(&export)[0];
        let mut disclosed = line(&export, at);
        set(&mut disclosed, "/disclosed/seq", json!(4));
        export.lines.remove(at);
        export.lines.insert(export.leaves()[4], text_of(&disclosed));
        export.bytes().unwrap()
    };
    vec![
        vector(
            "disclosed_salt.jsonl",
            "one bit of a salt of leaf 3",
            salt,
            wrong(3),
        ),
        vector(
            "disclosed_text.jsonl",
            "one character more in a text of leaf 3",
            text,
            wrong(3),
        ),
        vector(
            "disclosed_other.jsonl",
            "the texts of leaf 5, as if they were those of leaf 3",
            other,
            wrong(3),
        ),
        vector(
            "disclosed_swapped.jsonl",
            "two texts of leaf 3, each under the name of the other",
            swapped,
            wrong(3),
        ),
        vector(
            "disclosed_field.jsonl",
            "the texts of leaf 3, and one under a name that it does not commit to",
            field,
            wrong(3),
        ),
        vector(
            "disclosed_nothing.jsonl",
            "a line that discloses no text of leaf 3",
            nothing,
            wrong(3),
        ),
        vector(
            "disclosed_none.jsonl",
            "texts of leaf 4, which commits to none",
            none,
            wrong(4),
        ),
    ]
}

/// Lines of another form, or in another place.
fn misplaced() -> Vec<Vector> {
    // Of salt and text only what they are together is committed to, so the salt has one length.
    let short = changed(|line| {
        let (_, opening) = first(line);
        let salt = b64u_decode(opening["salt"].as_str().unwrap()).unwrap();
        let text = opening["text"].as_str().unwrap();
        let text = format!("{}{text}", char::from(salt[31]));
        *opening = json!({"salt": b64u_encode(&salt[..31]), "text": text});
    });
    let member = changed(|line| {
        let body = line["disclosed"].as_object_mut().unwrap();
        body.insert("why".to_owned(), json!("audit"));
    });
    let unsorted = ordered(&[3], |lines, at| {
        let value: Value = serde_json::from_slice(&lines[at]).unwrap();
        let openings = String::from_utf8(text_of(&value["disclosed"]["openings"])).unwrap();
        lines[at] = format!("{{\"disclosed\":{{\"seq\":3,\"openings\":{openings}}}}}").into_bytes();
    });
    let twice = ordered(&[3], |lines, at| lines.insert(at, lines[at].clone()));
    let after = ordered(&[3], |lines, at| lines.swap(at, at + 1));
    let blob = ordered(&[3], |lines, at| lines.swap(at, at - 1));
    let last = ordered(&[3], |lines, at| {
        let mut disclosed: Value = serde_json::from_slice(&lines.remove(at)).unwrap();
        set(&mut disclosed, "/disclosed/seq", json!(6));
        lines.push(text_of(&disclosed));
    });
    vec![
        vector(
            "disclosed_short.jsonl",
            "a salt of 31 bytes, whose last byte begins the text: its hash is the one in leaf 3",
            short,
            DAMAGED,
        ),
        vector(
            "disclosed_member.jsonl",
            "a member that there is not",
            member,
            DAMAGED,
        ),
        vector(
            "disclosed_unsorted.jsonl",
            "members in another order",
            unsorted,
            DAMAGED,
        ),
        vector(
            "disclosed_twice.jsonl",
            "the texts of leaf 3 stand twice",
            twice,
            DAMAGED,
        ),
        vector(
            "disclosed_after.jsonl",
            "the texts of leaf 3 stand behind it",
            after,
            DAMAGED,
        ),
        vector(
            "disclosed_blob.jsonl",
            "something stands between the texts of leaf 3 and the leaf",
            blob,
            DAMAGED,
        ),
        vector(
            "disclosed_last.jsonl",
            "texts of a leaf that does not follow, before the last line",
            last,
            DAMAGED,
        ),
    ]
}
