//! Keys of the installation, as ConfigMap `actpass-trust` lists them.

use std::collections::BTreeMap;

use actpass_core::passport::jws::key_id;
use actpass_core::pod::contract::{
    AUTHORITIES_CONFIG_MAP as TRUST, ISSUER_KEYS_FILE, LEDGER_KEYS_FILE, VOTE_KEYS_FILE,
};
use actpass_core::succession::{
    Listed, ROTATE_AUTHORITY, ROTATE_CHECKPOINTS, ROTATE_ISSUER, ROTATE_VOTES, Succession,
};
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::args::Rotated;
use super::kubectl::Kubectl;
use crate::commands::show::{self, Paint, Tone, table};
use crate::exit::Exit;

#[derive(Debug, Deserialize)]
struct Trust {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// Entries, and what is signed with their keys.
const ENTRIES: [(&str, &str); 3] = [
    (ISSUER_KEYS_FILE, "passports"),
    (LEDGER_KEYS_FILE, "checkpoints"),
    (VOTE_KEYS_FILE, "votes"),
];

pub(super) fn list(kubectl: &Kubectl, json: bool) -> anyhow::Result<Exit> {
    let trust: Trust = kubectl.get(&["configmap", TRUST])?;
    let now = Timestamp::now();
    let mut items = Vec::new();
    let paint = Paint::of_stdout();
    let mut rows = table(&["SIGNS", "KEY", "STATE", "FIRST USED"]);
    for (entry, signs) in ENTRIES {
        let list = of_entry(&trust, entry)?;
        for listed in list.lines() {
            let (tone, state) = state(&list, listed, now);
            let (id, from) = (
                key_id(&listed.key),
                listed.from.map(|from| from.to_string()),
            );
            items.push(json!({"signs": signs, "key": id, "state": state, "from": from}));
            let from = from.unwrap_or_else(|| "-".to_owned());
            rows.add_row([signs.to_owned(), id, paint.paint(tone, state), from]);
        }
    }
    match json {
        true => show::json(&items)?,
        false => show::line(&rows.to_string())?,
    }
    Ok(Exit::Ok)
}

fn of_entry(trust: &Trust, entry: &str) -> anyhow::Result<Succession> {
    let text = trust.data.get(entry).map_or("", String::as_str);
    let list = text.parse::<Succession>();
    list.with_context(|| format!("`{entry}` of ConfigMap `{TRUST}`"))
}

/// The key that is listed and not used yet, and when it is.
fn announced(list: &Succession, now: Timestamp) -> Option<(String, Timestamp)> {
    let newest = list.lines().last().filter(|newest| !newest.ended)?;
    let from = newest.from.filter(|from| *from > now)?;
    Some((key_id(&newest.key), from))
}

fn state(list: &Succession, listed: &Listed, now: Timestamp) -> (Tone, &'static str) {
    match listed {
        Listed { ended: true, .. } => (Tone::Doubtful, "ended"),
        _ if list.in_use(now) == Some(&listed.key) => (Tone::Good, "in use"),
        Listed {
            from: Some(from), ..
        } if *from > now => (Tone::Doubtful, "announced"),
        _ => (Tone::Doubtful, "still counts"),
    }
}

pub(super) fn rotate(kubectl: &Kubectl, what: Rotated, json: bool) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let entry = match what {
        Rotated::Passports => Some(ISSUER_KEYS_FILE),
        Rotated::Votes => Some(VOTE_KEYS_FILE),
        Rotated::Checkpoints => Some(LEDGER_KEYS_FILE),
        Rotated::Authority => None,
    };
    if let Some(entry) = entry {
        let trust: Trust = kubectl.get(&["configmap", TRUST])?;
        if let Some((key, from)) = announced(&of_entry(&trust, entry)?, now) {
            bail!(
                "key {key} is announced already, and first used at {from}: until then no other follows it; ask again after that"
            );
        }
    }
    let announced = "Another key is announced within a minute and used some minutes later; see `kubectl actpass keys list`.";
    let (annotation, next) = match what {
        Rotated::Passports => (ROTATE_ISSUER, announced),
        Rotated::Votes => (ROTATE_VOTES, announced),
        Rotated::Checkpoints => (ROTATE_CHECKPOINTS, announced),
        Rotated::Authority => (
            ROTATE_AUTHORITY,
            "Another authority signs new certificates within a minute; the one before vouches for it.",
        ),
    };
    let asked = now;
    let asked = asked.round(jiff::Unit::Second).unwrap_or(asked);
    let set = format!("{annotation}={asked}");
    kubectl.run(&["annotate", "configmap", TRUST, "--overwrite", &set], None)?;
    match json {
        true => show::json(&json!({"annotation": annotation, "asked": asked.to_string()}))?,
        false => show::line(next)?,
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_announced_in_use_counting_still_and_ended() {
        let key = |seed: u8| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
            actpass_core::hash::b64u_encode(key.as_bytes())
        };
        let (one, two, three, four) = (key(1), key(2), key(3), key(4));
        let list: Succession = format!(
            "{one} ended\n{two}\n{three} from=2026-05-04T10:00:00Z\n{four} from=2026-05-04T12:00:00Z"
        )
        .parse()
        .unwrap();
        let now = "2026-05-04T11:00:00Z".parse().unwrap();
        let states = list
            .lines()
            .iter()
            .map(|listed| state(&list, listed, now).1);
        let states: Vec<&str> = states.collect();
        assert_eq!(states, ["ended", "still counts", "in use", "announced"]);
        let from: Timestamp = "2026-05-04T12:00:00Z".parse().unwrap();
        assert_eq!(announced(&list, now).map(|(_, from)| from), Some(from));
        assert_eq!(announced(&list, from), None, "another can follow");
    }
}
