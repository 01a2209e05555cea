//! How the parts of a state are written down where their types have no form of their own.

/// A map whose keys are no texts: a list of pairs, in order.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs = Vec::<(K, V)>::deserialize(deserializer)?;
        let count = pairs.len();
        let map: BTreeMap<K, V> = pairs.into_iter().collect();
        match map.len() == count {
            true => Ok(map),
            false => Err(D::Error::custom("a key stands twice")),
        }
    }
}

/// A total as text: it may be beyond the integers of canonical JSON.
pub(crate) mod total {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(total: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(total)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Totals by what they are of, as pairs.
pub(crate) mod totals {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Total(#[serde(with = "super::total")] i64);

    pub(crate) fn serialize<K: Serialize, S: Serializer>(
        totals: &BTreeMap<K, i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(totals.iter().map(|(key, total)| (key, Total(*total))))
    }

    pub(crate) fn deserialize<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, i64>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        D: Deserializer<'de>,
    {
        let totals: BTreeMap<K, Total> = super::pairs::deserialize(deserializer)?;
        Ok(totals
            .into_iter()
            .map(|(key, Total(total))| (key, total))
            .collect())
    }
}

/// 32 bytes as lower-case hex.
pub(crate) mod hex32 {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::hash::{hex, unhex32};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex32(&text).map_err(D::Error::custom)
    }
}

/// A public key.
pub(crate) mod ed25519 {
    use ed25519_dalek::VerifyingKey;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::hash::b64u_encode;
    use crate::public_key;

    pub(crate) fn serialize<S: Serializer>(
        key: &VerifyingKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&b64u_encode(key.as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VerifyingKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        public_key::read(&text).ok_or_else(|| D::Error::custom("no public key"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use crate::canonical;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Kept {
        #[serde(with = "super::pairs")]
        pairs: BTreeMap<(u64, String), bool>,
        #[serde(with = "super::totals")]
        totals: BTreeMap<u64, i64>,
    }

    #[test]
    fn totals_beyond_the_integers_of_canonical_json_are_kept() {
        let kept = Kept {
            pairs: BTreeMap::from([((1, "a".to_owned()), true)]),
            totals: BTreeMap::from([(0, i64::MAX), (1, i64::MIN), (2, 0)]),
        };
        let bytes = canonical::to_vec(&kept).unwrap();
        assert_eq!(canonical::from_slice_exact::<Kept>(&bytes), Ok(kept));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let twice = br#"{"pairs":[[[1,"a"],true],[[1,"a"],true]],"totals":[]}"#;
        canonical::from_slice::<Kept>(twice).unwrap_err();
    }
}
