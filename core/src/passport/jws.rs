//! A passport on the wire: a compact JWS (RFC 7515) with one algorithm, one header and bounded life.
//!
//! The header is exactly `{"alg":"Ed25519","kid":…,"typ":"actpass+jwt"}` (RFC 9864), so nothing in a token
//! chooses how it is verified.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, excerpt};
use crate::hash::{b64u_decode, b64u_decode_array, b64u_encode, hex, sha256};
use crate::public_key;

/// Longest token, in bytes: claims of about 1 KiB grow by a third in base64; the rest is room for long names.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Longest life of a passport: one hour.
pub const LIFETIME_SECONDS_MAX: i64 = 3600;

/// How far an issuer's clock may run ahead of ours.
pub const CLOCK_SKEW_SECONDS: i64 = 60;

/// Keys of the issuers we trust, by key id. Two during a rotation.
pub type IssuerKeys = BTreeMap<String, VerifyingKey>;

/// What a passport says. Scope and limits are not here but in the signed bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// The workload: the ServiceAccount it runs as.
    pub sub: String,
    /// Cluster, namespace and namespace uid.
    pub tenant: String,
    /// Name of the agent in evidence.
    pub agent: String,
    /// Name of the Passport resource it was made from.
    pub passport: String,
    /// The key it is bound to (RFC 7800).
    pub cnf: Cnf,
    /// The pod it was issued to; absent in local mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Issued at, in seconds since the epoch.
    pub iat: i64,
    /// Expires at, in seconds since the epoch: from that second on it is void.
    pub exp: i64,
    /// Its unique id.
    pub jti: String,
}

/// Confirmation of RFC 7800: whoever holds the private key is the bearer meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cnf {
    /// The sidecar's public key.
    pub jwk: Jwk,
}

/// An Ed25519 public key as JSON Web Key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// The 32 bytes of the key, base64url.
    pub x: String,
}

/// Why a token is not a passport to rely on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// More than [`TOKEN_BYTES_MAX`] bytes.
    #[error("token is {found} bytes long, over {TOKEN_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not three parts of base64url.
    #[error("token is not header.payload.signature in base64url")]
    Shape,
    /// Any header but the one.
    #[error("token header is not that of a passport")]
    Header,
    /// Signed by a key we do not know.
    #[error("no issuer key `{0}`")]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("token signature is wrong")]
    Signature,
    /// Claims that are unknown, missing, repeated or not canonical.
    #[error("token claims")]
    Claims(#[source] CanonicalError),
    /// A required claim without a value.
    #[error("claim `{0}` is empty")]
    EmptyClaim(&'static str),
    /// A bound key that is not a usable Ed25519 key.
    #[error("the bound key is not a usable Ed25519 key")]
    BoundKey,
    /// Life of no length, or longer than [`LIFETIME_SECONDS_MAX`].
    #[error("passport lives from {iat} to {exp}: not 1 to {LIFETIME_SECONDS_MAX} seconds")]
    Lifetime {
        /// Issued at.
        iat: i64,
        /// Expires at.
        exp: i64,
    },
    /// Its time is over.
    #[error("passport expired at {exp}")]
    Expired {
        /// Expires at.
        exp: i64,
    },
    /// Its time has not come, even with [`CLOCK_SKEW_SECONDS`] of grace.
    #[error("passport is issued in the future, at {iat}")]
    IssuedInFuture {
        /// Issued at.
        iat: i64,
    },
}

impl Jwk {
    /// The form of this key.
    pub fn new(key: &VerifyingKey) -> Self {
        Jwk {
            kty: KTY.to_owned(),
            crv: CRV.to_owned(),
            x: b64u_encode(key.as_bytes()),
        }
    }

    /// The key, if it is one that signatures can be relied on.
    pub fn key(&self) -> Result<VerifyingKey, JwsError> {
        if self.kty != KTY || self.crv != CRV {
            return Err(JwsError::BoundKey);
        }
        public_key::read(&self.x).ok_or(JwsError::BoundKey)
    }
}

/// Id of an issuer's key: the first 16 hex digits of SHA-256 over the public key.
pub fn key_id(key: &VerifyingKey) -> String {
    let digits = hex(&sha256(&[key.as_bytes()]));
    digits.chars().take(16).collect()
}

/// Id of the key that a token says it is signed with. Believed once [`verify`] has taken the token.
pub fn signed_with(token: &str) -> Result<String, JwsError> {
    let (head, _) = token.split_once('.').ok_or(JwsError::Shape)?;
    read_header(&b64u_decode(head).map_err(|_| JwsError::Shape)?)
}

/// Makes the token. Refuses claims that [`verify`] would refuse for what they say.
pub fn issue(claims: &Claims, key: &SigningKey, kid: &str) -> Result<String, JwsError> {
    check_content(claims)?;
    let header = b64u_encode(&header(kid)?);
    let payload = b64u_encode(&canonical::to_vec(claims).map_err(JwsError::Claims)?);
    let signed = format!("{header}.{payload}");
    let signature = b64u_encode(&key.sign(signed.as_bytes()).to_bytes());
    let token = format!("{signed}.{signature}");
    match token.len() <= TOKEN_BYTES_MAX {
        true => Ok(token),
        false => Err(JwsError::TooLong { found: token.len() }),
    }
}

/// The claims of `token`, if an issuer of `keys` signed it and it is valid at `now`.
pub fn verify(token: &str, keys: &IssuerKeys, now: Timestamp) -> Result<Claims, JwsError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwsError::TooLong { found: token.len() });
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Shape)?;
    let (head, payload) = signed.split_once('.').ok_or(JwsError::Shape)?;
    let kid = read_header(&b64u_decode(head).map_err(|_| JwsError::Shape)?)?;
    let payload = b64u_decode(payload).map_err(|_| JwsError::Shape)?;
    let signature = b64u_decode_array(signature).map_err(|_| JwsError::Shape)?;
    let key = keys
        .get(&kid)
        .ok_or_else(|| JwsError::UnknownKey(excerpt(&kid)))?;
    key.verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature))
        .map_err(|_| JwsError::Signature)?;
    let claims: Claims = canonical::from_slice_exact(&payload).map_err(JwsError::Claims)?;
    check_content(&claims)?;
    let now = now.as_second();
    if claims.iat > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(JwsError::IssuedInFuture { iat: claims.iat });
    }
    if claims.exp <= now {
        return Err(JwsError::Expired { exp: claims.exp });
    }
    Ok(claims)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

fn header(kid: &str) -> Result<Vec<u8>, JwsError> {
    let header = Header {
        alg: ALG.to_owned(),
        kid: kid.to_owned(),
        typ: TYP.to_owned(),
    };
    canonical::to_vec(&header).map_err(|_| JwsError::Header)
}

/// The key id in the one header there is.
fn read_header(bytes: &[u8]) -> Result<String, JwsError> {
    let found: Header = canonical::from_slice_exact(bytes).map_err(|_| JwsError::Header)?;
    // Seeded: the token chooses its algorithm.
    match (found.alg == ALG || crate::SEEDED_BUGS) && found.typ == TYP {
        true => Ok(found.kid),
        false => Err(JwsError::Header),
    }
}

/// What must hold of claims at any time.
fn check_content(claims: &Claims) -> Result<(), JwsError> {
    let required = [
        ("iss", &claims.iss),
        ("sub", &claims.sub),
        ("tenant", &claims.tenant),
        ("agent", &claims.agent),
        ("passport", &claims.passport),
        ("jti", &claims.jti),
    ];
    if let Some((name, _)) = required.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(JwsError::EmptyClaim(name));
    }
    claims.cnf.jwk.key()?;
    let lifetime = claims.exp.checked_sub(claims.iat);
    match lifetime.is_some_and(|seconds| (1..=LIFETIME_SECONDS_MAX).contains(&seconds)) {
        true => Ok(()),
        false => Err(JwsError::Lifetime {
            iat: claims.iat,
            exp: claims.exp,
        }),
    }
}

const ALG: &str = "Ed25519";
const TYP: &str = "actpass+jwt";
const KTY: &str = "OKP";
const CRV: &str = "Ed25519";

#[cfg(test)]
mod tests;
