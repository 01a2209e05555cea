//! The issuer of one run: policy read once, passports signed here.

use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::passport::jws::{self, Claims, Cnf, Jwk, key_id};
use actpass_sidecar::session::{Session, SessionError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub(super) struct LocalSession {
    pub(super) bundle: Arc<Bundle>,
    pub(super) passport: Arc<str>,
    pub(super) issuer: SigningKey,
    pub(super) holder: VerifyingKey,
}

impl Session for LocalSession {
    fn bundle(&self) -> Arc<Bundle> {
        self.bundle.clone()
    }

    fn passport(&self) -> Result<Arc<str>, SessionError> {
        Ok(self.passport.clone())
    }

    fn token(&self) -> Result<String, SessionError> {
        let unknown = || SessionError(format!("there is no Passport `{}`", self.passport));
        let passport = self.bundle.passport(&self.passport).ok_or_else(unknown)?;
        let now = Timestamp::now().as_second();
        let claims = Claims {
            iss: "actpass-local".to_owned(),
            sub: "local".to_owned(),
            tenant: self.bundle.spec().tenant.clone(),
            agent: passport.agent_id.clone(),
            passport: passport.name.clone(),
            cnf: Cnf {
                jwk: Jwk::new(&self.holder),
            },
            pod_uid: None,
            iat: now,
            exp: now + i64::from(passport.ttl_seconds),
            jti: crate::state::random_hex().map_err(|error| SessionError(error.to_string()))?,
        };
        jws::issue(&claims, &self.issuer, &key_id(&self.issuer.verifying_key()))
            .map_err(|error| SessionError(error.to_string()))
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        // Policy is read once per run.
        Box::pin(std::future::ready(()))
    }
}
