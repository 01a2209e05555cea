//! What the parts may believe of each other, as ConfigMap `actpass-trust` says it.

use std::collections::BTreeMap;

use actpass_kubernetes::names::{AUTHORITIES, ISSUER_KEYS, LEDGER_KEYS, VOTE_KEYS};

/// The content of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of authorities, PEM.
    pub authorities: String,
    /// Keys that passports are signed with, base64url.
    pub issuer_keys: Vec<String>,
    /// Keys that checkpoints are signed with.
    pub ledger_keys: Vec<String>,
    /// Keys that votes are stamped with.
    pub vote_keys: Vec<String>,
}

/// Keys that a part says are its own now, and that lack one believed before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it no longer names key `{missing}`, which is believed; if its Secret was lost on purpose, empty `{entry}` of ConfigMap `actpass-trust` and make all agents' pods anew"
)]
pub struct KeyLost {
    /// The entry of the ConfigMap.
    pub entry: &'static str,
    /// The key.
    pub missing: String,
}

impl Trust {
    /// That of a ConfigMap's data.
    pub fn of(data: Option<&BTreeMap<String, String>>) -> Self {
        let text = |key: &str| {
            data.and_then(|data| data.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let lines = |key: &str| {
            let text = text(key);
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        };
        Self {
            authorities: text(AUTHORITIES),
            issuer_keys: lines(ISSUER_KEYS),
            ledger_keys: lines(LEDGER_KEYS),
            vote_keys: lines(VOTE_KEYS),
        }
    }

    /// The data of the ConfigMap.
    pub fn data(&self) -> BTreeMap<String, String> {
        let mut data = self.for_agents();
        data.insert(VOTE_KEYS.to_owned(), lines(&self.vote_keys));
        data
    }

    /// What of it agents' namespaces get: sidecars judge no votes.
    pub fn for_agents(&self) -> BTreeMap<String, String> {
        [
            (AUTHORITIES.to_owned(), self.authorities.clone()),
            (ISSUER_KEYS.to_owned(), lines(&self.issuer_keys)),
            (LEDGER_KEYS.to_owned(), lines(&self.ledger_keys)),
        ]
        .into()
    }

    /// Whether everybody can begin.
    pub fn is_complete(&self) -> bool {
        let keys = [&self.issuer_keys, &self.ledger_keys, &self.vote_keys];
        !self.authorities.is_empty() && keys.iter().all(|keys| !keys.is_empty())
    }

    /// What is missing, for people.
    pub fn missing(&self) -> Vec<&'static str> {
        let entries = [
            (AUTHORITIES, self.authorities.is_empty()),
            (ISSUER_KEYS, self.issuer_keys.is_empty()),
            (LEDGER_KEYS, self.ledger_keys.is_empty()),
            (VOTE_KEYS, self.vote_keys.is_empty()),
        ];
        let entries = entries.into_iter().filter(|(_, missing)| *missing);
        entries.map(|(entry, _)| entry).collect()
    }
}

/// The keys to believe of a part after it named `now`: pods pin them, so keys are added and none is exchanged.
///
/// # Errors
/// It lacks one that is believed.
pub fn grown(
    entry: &'static str,
    believed: &[String],
    now: Vec<String>,
) -> Result<Vec<String>, KeyLost> {
    match believed.iter().find(|key| !now.contains(key)) {
        Some(missing) => Err(KeyLost {
            entry,
            missing: missing.clone(),
        }),
        None => Ok(now),
    }
}

fn lines(keys: &[String]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn trust_is_read_as_it_is_written_and_agents_get_no_vote_keys() {
        let trust = Trust {
            authorities: "PEM\n".to_owned(),
            issuer_keys: keys(&["a", "b"]),
            ledger_keys: keys(&["c"]),
            vote_keys: keys(&["d"]),
        };
        assert!(trust.is_complete());
        assert_eq!(Trust::of(Some(&trust.data())), trust);
        let copy = Trust::of(Some(&trust.for_agents()));
        assert_eq!(copy.missing(), [VOTE_KEYS]);
        assert!(!copy.is_complete());
        assert_eq!(Trust::of(None).missing().len(), 4);
    }

    #[test]
    fn keys_are_added_and_none_is_exchanged() {
        for (believed, now, want) in [
            (&[][..], &["a"][..], true),
            (&["a"], &["a"], true),
            (&["a"], &["b", "a"], true),
            (&["a"], &["b"], false),
        ] {
            let found = grown(LEDGER_KEYS, &keys(believed), keys(now));
            assert_eq!(found.is_ok(), want, "{believed:?} {now:?}");
        }
    }
}
