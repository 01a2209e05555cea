//! The authority of an installation, the certificates of its parts, and when each is due.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Life of an authority.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Life of a part's certificate.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// By how much a clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// An authority or certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not made.
    #[error("certificate not made")]
    Make(#[from] rcgen::Error),
    /// Not PEM of a certificate.
    #[error("what is kept is no certificate: {0}")]
    Read(String),
    /// An instant that no certificate can name.
    #[error("the clock shows no time that a certificate can name")]
    Time,
}

/// A key and its certificate, PEM.
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The authority that signs the parts' certificates, and those before it.
///
/// Pods pin the authority they were made with. Its successor is vouched for by it: whoever believes an earlier one is shown, with
/// each certificate, the chain that leads there (RFC 5280, section 3.2: cross-certificates).
pub struct Authority {
    certificates: String,
    chain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// An authority as it is kept, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityPem {
    /// Its certificate, then those of the authorities before it.
    pub certificates: String,
    /// What leads from it to those, one cross-certificate after the other.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// Most authorities that are believed at a time, the one in use among them.
const AUTHORITIES_MAX: usize = 4;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// From when it counts.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The names it is for.
    pub names: Vec<String>,
}

impl Authority {
    /// A key for an authority, PEM.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn make_key() -> Result<String, CertificateError> {
        Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
    }

    /// Its certificate over that key, PEM. `cluster` tells authorities apart for people.
    ///
    /// # Errors
    /// Where the key is none.
    pub fn make_certificate(
        key: &str,
        cluster: &str,
        now: Timestamp,
    ) -> Result<String, CertificateError> {
        let key = KeyPair::from_pem(key)?;
        Ok(params(cluster, now)?.self_signed(&key)?.pem())
    }

    /// The authority of this key, these certificates, of which the first is its own, and this chain.
    ///
    /// # Errors
    /// Where they are none.
    pub fn read(certificates: &str, chain: &str, key: &str) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(certificates, KeyPair::from_pem(key)?)?;
        Ok(Self {
            certificates: certificates.to_owned(),
            chain: chain.to_owned(),
            issuer,
        })
    }

    /// One that follows it, over a fresh key, with this one's word for it.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn next(&self, cluster: &str, now: Timestamp) -> Result<AuthorityPem, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = params(cluster, now)?;
        let (certificate, crossed) = (
            params.self_signed(&key)?.pem(),
            params.signed_by(&key, &self.issuer)?.pem(),
        );
        Ok(AuthorityPem {
            certificates: first(
                &format!("{certificate}{}", self.certificates),
                AUTHORITIES_MAX,
            ),
            chain: first(&format!("{crossed}{}", self.chain), AUTHORITIES_MAX - 1),
            key: key.serialize_pem(),
        })
    }

    /// Its certificate and those of the authorities before it, PEM.
    pub fn certificates(&self) -> &str {
        &self.certificates
    }

    /// A certificate for a server of these names over a fresh key, followed by the chain.
    ///
    /// # Errors
    /// Where a name is none.
    pub fn leaf(&self, names: &[String], now: Timestamp) -> Result<Pem, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        let first = names.first().map_or("", String::as_str);
        params.distinguished_name = named(first);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        debug_assert!(params.subject_alt_names.iter().all(is_dns));
        (params.not_before, params.not_after) = life(now, LEAF_LIFE)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pem {
            certificate: format!("{}{}", certificate.pem(), self.chain),
            key: key.serialize_pem(),
        })
    }
}

/// What an authority's certificate says. Its name tells it from those before it, so that nobody has to try several.
fn params(cluster: &str, now: Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    let second = Timestamp::from_second(now.as_second()).map_err(|_| CertificateError::Time)?;
    params.distinguished_name = named(&format!("ActPass {cluster} {second}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = life(now, AUTHORITY_LIFE)?;
    Ok(params)
}

/// The first so many certificates of a PEM text.
fn first(pem: &str, count: usize) -> String {
    let certificates = pem.split_inclusive(PEM_END).take(count);
    let certificates: Vec<&str> = certificates.map(str::trim).collect();
    certificates
        .iter()
        .filter(|pem| !pem.is_empty())
        .map(|pem| format!("{pem}\n"))
        .collect()
}

/// Last line of a certificate (RFC 7468, section 2).
const PEM_END: &str = "-----END CERTIFICATE-----";

impl Facts {
    /// Those of the first certificate of a PEM text.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(pem: &[u8]) -> Result<Self, CertificateError> {
        let wrong = |error: &dyn std::fmt::Display| CertificateError::Read(error.to_string());
        let der = CertificateDer::from_pem_slice(pem).map_err(|error| wrong(&error))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| wrong(&error))?;
        let instant = |second| Timestamp::from_second(second).map_err(|error| wrong(&error));
        let validity = parsed.validity();
        Ok(Self {
            not_before: instant(validity.not_before.timestamp())?,
            not_after: instant(validity.not_after.timestamp())?,
            names: names(&parsed),
        })
    }

    /// When it was made.
    pub fn made(&self) -> Timestamp {
        self.not_before.checked_add(SKEW).unwrap_or(self.not_before)
    }

    /// Whether two thirds of its life are over.
    pub fn is_old(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.duration_since(now) < life / 3
    }

    /// Whether a new certificate is due: two thirds of its life are over, or it lacks one of these names.
    pub fn is_due(&self, wanted: &[String], now: Timestamp) -> bool {
        self.is_old(now) || !wanted.iter().all(|name| self.names.contains(name))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn is_dns(name: &SanType) -> bool {
    matches!(name, SanType::DnsName(_))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|it| &it.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

fn life(
    now: Timestamp,
    life: SignedDuration,
) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let at = |instant: Result<Timestamp, jiff::Error>| {
        let second = instant.map_err(|_| CertificateError::Time)?.as_second();
        OffsetDateTime::from_unix_timestamp(second).map_err(|_| CertificateError::Time)
    };
    Ok((at(now.checked_sub(SKEW))?, at(now.checked_add(life))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn authority(now: Timestamp) -> Authority {
        let key = Authority::make_key().unwrap();
        let certificate = Authority::make_certificate(&key, "c-1", now).unwrap();
        Authority::read(&certificate, "", &key).unwrap()
    }

    fn next(authority: &Authority, now: Timestamp) -> Authority {
        let made = authority.next("c-1", now).unwrap();
        Authority::read(&made.certificates, &made.chain, &made.key).unwrap()
    }

    fn wanted() -> Vec<String> {
        vec![
            "ledger.actpass.internal".to_owned(),
            "actpass-ledger.actpass-system.svc".to_owned(),
        ]
    }

    #[test]
    fn a_leaf_is_renewed_at_two_thirds_of_ninety_days_or_for_another_name() {
        let now = at("2026-05-04T10:00:00Z");
        let leaf = authority(now).leaf(&wanted(), now).unwrap();
        let facts = Facts::read(leaf.certificate.as_bytes()).unwrap();
        assert_eq!(facts.not_after, at("2026-08-02T10:00:00Z"));
        assert_eq!(facts.names, wanted());
        assert!(!facts.is_due(&wanted(), now));
        assert!(!facts.is_due(&wanted(), at("2026-07-03T00:00:00Z")));
        assert!(facts.is_due(&wanted(), at("2026-07-04T00:00:00Z")));
        assert!(facts.is_due(&wanted(), at("2027-07-04T00:00:00Z")));
        assert!(facts.is_due(&["other".to_owned()], now));
    }

    #[test]
    fn a_client_that_knows_the_authority_believes_its_leaves_and_no_others() {
        let now = Timestamp::now();
        let (ours, other) = (authority(now), authority(now));
        for (signer, want) in [(&ours, true), (&other, false)] {
            let leaf = signer.leaf(&wanted(), now).unwrap();
            assert_eq!(handshake(ours.certificates(), &leaf), want);
        }
    }

    #[test]
    fn whoever_believes_an_earlier_authority_believes_the_leaves_of_those_after_it() {
        let now = Timestamp::now();
        let mut all = vec![authority(now)];
        for _ in 1..AUTHORITIES_MAX {
            let later = next(all.last().unwrap(), now);
            all.push(later);
        }
        let newest = all.last().unwrap();
        let leaf = newest.leaf(&wanted(), now).unwrap();
        for (at, one) in all.iter().enumerate() {
            let own = first(one.certificates(), 1);
            assert!(handshake(&own, &leaf), "{at}");
        }
        let believed = newest.certificates();
        assert_eq!(believed.matches(PEM_END).count(), AUTHORITIES_MAX);
        let earlier = all[0].leaf(&wanted(), now).unwrap();
        assert!(handshake(believed, &earlier), "not shown anew yet");
        let other = next(&authority(now), now).leaf(&wanted(), now).unwrap();
        assert!(!handshake(believed, &other));
        let after = next(newest, now);
        let leaf = after.leaf(&wanted(), now).unwrap();
        assert!(
            !handshake(&first(all[0].certificates(), 1), &leaf),
            "too long ago"
        );
        assert!(handshake(&first(all[1].certificates(), 1), &leaf));
    }

    /// Whether a client that believes `authorities` takes a server with `leaf`.
    fn handshake(authorities: &str, leaf: &Pem) -> bool {
        use actpass_transport::{client, server};
        let believed: Vec<_> = CertificateDer::pem_slice_iter(authorities.as_bytes())
            .map(Result::unwrap)
            .collect();
        let identity =
            server::Identity::from_pem(leaf.certificate.as_bytes(), leaf.key.as_bytes()).unwrap();
        let shown = std::sync::Arc::new(server::Shown::new(identity).unwrap());
        let mut server = rustls::ServerConnection::new(server::config(shown).unwrap()).unwrap();
        let config = client::config(&believed, None, "h2").unwrap();
        let name = actpass_transport::names::LEDGER.try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config, name).unwrap();
        for _ in 0..4 {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        !client.is_handshaking()
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        for given in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Facts::read(given.as_bytes()).is_err(), "{given}");
        }
        assert!(Authority::read("", "", "").is_err());
    }
}
