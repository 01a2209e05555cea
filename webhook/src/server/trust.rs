//! What sidecars may believe, from the ConfigMap that the controller fills.

use std::collections::BTreeSet;

use actpass_core::hash::sha256;
use actpass_core::succession::Succession;
use actpass_kubernetes::names::{AUTHORITIES, ISSUER_KEYS, LEDGER_KEYS};
use k8s_openapi::api::core::v1::ConfigMap;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::settings::Pins;

/// Why there is nothing to pin yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The controller has not written it yet.
    #[error("ConfigMap `actpass-trust` of the installation has no `{0}` yet")]
    Missing(&'static str),
    /// Somebody else has written it.
    #[error("`{0}` of ConfigMap `actpass-trust` is not what the controller writes")]
    Form(&'static str),
}

/// What to pin: all three, or nothing.
///
/// # Errors
/// Where one of them is missing or cannot be read.
pub fn pins(trust: Option<&ConfigMap>) -> Result<Pins, TrustError> {
    let data = trust.and_then(|trust| trust.data.as_ref());
    let text = |key: &'static str| {
        let found = data.and_then(|data| data.get(key)).map(|text| text.trim());
        found
            .filter(|text| !text.is_empty())
            .ok_or(TrustError::Missing(key))
    };
    let keys = |key: &'static str| {
        let list: Succession = text(key)?.parse().map_err(|_| TrustError::Form(key))?;
        let counting = list.believed().map(|key| sha256(&[key.as_bytes()]));
        Ok(counting.collect::<BTreeSet<_>>())
    };
    let certificates = CertificateDer::pem_slice_iter(text(AUTHORITIES)?.as_bytes());
    let ca = certificates
        .map(|found| {
            found
                .map(|der| sha256(&[&der]))
                .map_err(|_| TrustError::Form(AUTHORITIES))
        })
        .collect::<Result<BTreeSet<_>, _>>()?;
    if ca.is_empty() {
        return Err(TrustError::Form(AUTHORITIES));
    }
    Ok(Pins {
        ca,
        issuer_keys: keys(ISSUER_KEYS)?,
        ledger_keys: keys(LEDGER_KEYS)?,
    })
}

#[cfg(test)]
mod tests {
    use actpass_core::hash::b64u_encode;
    use ed25519_dalek::{SigningKey, VerifyingKey};

    use super::*;

    /// A certificate in form only: nothing here looks into it.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    fn public(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn trust(entries: &[(&str, &str)]) -> ConfigMap {
        let data = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap {
            data: Some(data.collect()),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn pins_are_the_digests_of_every_certificate_and_every_key_that_counts() {
        let (one, two) = (public(1), public(2));
        let lines = [&public(3), &one, &two].map(|key| b64u_encode(key.as_bytes()));
        let [ended, one, two] = lines;
        let both = format!("{ended} ended\n{one}\n{two} from=2026-05-04T10:00:00Z\n");
        let pins = pins(Some(&trust(&[
            (AUTHORITIES, PEM),
            (ISSUER_KEYS, &both),
            (LEDGER_KEYS, &one),
        ])))
        .unwrap();
        assert!(pins.ca.contains(&sha256(&[&[1, 2, 3]])) && pins.ca.len() == 1);
        assert_eq!(pins.issuer_keys.len(), 2);
        assert!(pins.ledger_keys.contains(&sha256(&[public(1).as_bytes()])));
    }

    #[test]
    fn half_of_it_is_none() {
        let key = b64u_encode(public(1).as_bytes());
        struct Case {
            name: &'static str,
            given: Option<ConfigMap>,
            want: TrustError,
        }
        let case = |name, given, want| Case { name, given, want };
        for Case { name, given, want } in [
            case("no object", None, TrustError::Missing(AUTHORITIES)),
            case(
                "as the chart makes it",
                Some(ConfigMap::default()),
                TrustError::Missing(AUTHORITIES),
            ),
            case(
                "no ledger yet",
                Some(trust(&[(AUTHORITIES, PEM), (ISSUER_KEYS, &key)])),
                TrustError::Missing(LEDGER_KEYS),
            ),
            case(
                "an empty line",
                Some(trust(&[
                    (AUTHORITIES, PEM),
                    (ISSUER_KEYS, " \n"),
                    (LEDGER_KEYS, &key),
                ])),
                TrustError::Missing(ISSUER_KEYS),
            ),
            case(
                "no PEM",
                Some(trust(&[
                    (AUTHORITIES, "x"),
                    (ISSUER_KEYS, &key),
                    (LEDGER_KEYS, &key),
                ])),
                TrustError::Form(AUTHORITIES),
            ),
            case(
                "no key",
                Some(trust(&[
                    (AUTHORITIES, PEM),
                    (ISSUER_KEYS, "x"),
                    (LEDGER_KEYS, &key),
                ])),
                TrustError::Form(ISSUER_KEYS),
            ),
        ] {
            assert_eq!(pins(given.as_ref()).unwrap_err(), want, "{name}");
        }
    }
}
