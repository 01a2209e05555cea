//! What sidecars may believe, from the ConfigMap that the controller fills.

use std::collections::BTreeSet;

use actpass_core::hash::{b64u_decode_array, sha256};
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
        let lines = text(key)?
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let hashed = |line: &str| -> Result<[u8; 32], TrustError> {
            let raw: [u8; 32] = b64u_decode_array(line).map_err(|_| TrustError::Form(key))?;
            Ok(sha256(&[&raw]))
        };
        lines.map(hashed).collect::<Result<BTreeSet<_>, _>>()
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

    use super::*;

    /// A certificate in form only: nothing here looks into it.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

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
    fn pins_are_the_digests_of_every_certificate_and_key() {
        let (one, two) = (b64u_encode(&[1; 32]), b64u_encode(&[2; 32]));
        let both = format!("{one}\n{two}\n");
        let pins = pins(Some(&trust(&[
            (AUTHORITIES, PEM),
            (ISSUER_KEYS, &both),
            (LEDGER_KEYS, &one),
        ])))
        .unwrap();
        assert!(pins.ca.contains(&sha256(&[&[1, 2, 3]])) && pins.ca.len() == 1);
        assert_eq!(pins.issuer_keys.len(), 2);
        assert!(pins.ledger_keys.contains(&sha256(&[&[1; 32]])));
    }

    #[test]
    fn half_of_it_is_none() {
        let key = b64u_encode(&[1; 32]);
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
