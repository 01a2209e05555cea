//! Edits by who has keys.

use actpass_core::hash::{b64u_decode, b64u_encode};
use actpass_tests::exported::{Exported, Keys, set};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

/// Changes a leaf, makes every record and leaf behind it fit, and signs all of it with the right keys.
pub(crate) fn with_leaf(
    export: &mut Exported,
    seq: usize,
    keys: &Keys,
    change: impl FnOnce(&mut Value),
) {
    let Some(mut leaf) = export.leaf(seq) else {
        return;
    };
    change(&mut leaf);
    export.put(seq, &leaf);
    export.rechain(seq, Some(keys));
    export.sign(&keys.log).unwrap();
}

/// The whole log made anew by who has a key of their own.
pub(crate) fn remade(export: &Exported, keys: &Keys, seed: u8) -> Exported {
    use actpass_core::evidence::checkpoint::NoteSigner;
    let key = SigningKey::from_bytes(&[seed; 32]);
    let vkey = NoteSigner::new(export.first.log.clone(), key.clone())
        .verifier()
        .to_vkey();
    let mut anew = export.clone();
    anew.first.key.clone_from(&vkey);
    with_leaf(&mut anew, 0, keys, |leaf| {
        set(leaf, "/r/body/log_key", json!(vkey))
    });
    anew.sign(&key).unwrap();
    anew
}

/// A signature with the order of the group added to its S: the same equation, in another spelling.
pub(crate) fn unreduced(signature: &str) -> String {
    let mut bytes = b64u_decode(signature).unwrap();
    let mut carry = 0_u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    b64u_encode(&bytes)
}

/// 2^252 + 27742317777372353535851937790883648493, least byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Any byte but zero.
    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(1 + self.below(255)).unwrap()
    }
}

/// The leaf with one of its fields changed, whichever it is.
pub(crate) fn edited(leaf: &Value, dice: &mut Dice) -> Value {
    let mut places = Vec::new();
    places_of(leaf, String::new(), &mut places);
    let place = places[dice.below(places.len())].clone();
    let mut leaf = leaf.clone();
    if let (0, Some((parent, name))) = (dice.below(5), place.rsplit_once('/'))
        && let Some(parent) = leaf.pointer_mut(parent)
    {
        match parent {
            Value::Object(members) => drop(members.remove(name)),
            Value::Array(items) => drop(items.pop()),
            _ => {}
        }
        return leaf;
    }
    let value = leaf.pointer(&place).cloned().unwrap_or_default();
    set(&mut leaf, &place, other(&value, dice));
    leaf
}

fn places_of(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                places_of(value, format!("{place}/{name}"), places);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                places_of(value, format!("{place}/{at}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

/// Something else of the same type, mostly.
fn other(value: &Value, dice: &mut Dice) -> Value {
    if dice.below(8) == 0 {
        let strange = [
            json!(null),
            json!([]),
            json!({}),
            json!(1.5),
            json!("x"),
            json!(7),
            json!(true),
            json!(-1),
        ];
        return strange[dice.below(strange.len())].clone();
    }
    match value {
        Value::Null => json!(0),
        Value::Bool(yes) => json!(!yes),
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or(0);
            let others = [
                number + 1,
                number - 1,
                0,
                -number,
                65_536,
                4_294_967_296,
                (1 << 53) - 1,
                1 << 53,
            ];
            json!(others[dice.below(others.len())])
        }
        Value::String(text) => json!(other_text(text, dice)),
        Value::Array(items) => {
            let mut items = items.clone();
            items.extend(items.last().cloned().or_else(|| Some(json!("x"))));
            json!(items)
        }
        Value::Object(members) if dice.coin() => json!(members.values().collect::<Vec<_>>()),
        Value::Object(members) => {
            let mut members = members.clone();
            let names = [
                "zz",
                "late",
                "s",
                "d",
                "kind",
                "revision",
                "settles",
                "a b",
                "na\u{ef}ve",
                "q\"uote",
            ];
            let values = [
                json!(null),
                json!(false),
                json!(true),
                json!("x"),
                json!([]),
            ];
            let value = values[dice.below(values.len())].clone();
            members.insert(names[dice.below(names.len())].to_owned(), value);
            json!(members)
        }
    }
}

fn other_text(text: &str, dice: &mut Dice) -> String {
    let words = [
        "",
        "permit",
        "deny",
        "ok",
        "not_sent",
        "ambiguous",
        "decision",
        "note",
        "restarted",
        "Count",
        "EUR",
        "XXX",
        "007",
        "1.2.3.4",
        "API.example.com",
        "a.b",
        "*",
        "2026-05-04T10:00:60.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "2026-02-29T10:00:00.000000Z",
        "9999-12-31T00:00:00.000000Z",
        "2026-05-04T10:00:00Z",
        "-5",
        "99999999999999999999",
    ];
    match dice.below(8) {
        0 => words[dice.below(words.len())].to_owned(),
        1 => text.to_uppercase(),
        2 => format!("{text}0"),
        3 => "x".repeat(1_023 + dice.below(3)),
        4 => format!("{}{}", "\u{1}".repeat(204), "x".repeat(3 + dice.below(3))),
        5 => text.chars().rev().collect(),
        6 => format!("{text}\u{7f}\u{e9}\u{2028}\u{1f512}\"\\/\n"),
        _ => {
            let mut chars: Vec<char> = text.chars().collect();
            if let Some(last) = chars.last_mut() {
                *last = if *last == '1' { '2' } else { '1' };
            }
            chars.into_iter().collect()
        }
    }
}
