//! An issuer beside the sidecar, as in local mode.

use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::passport::jws::{self, Claims, Cnf, Jwk, key_id};
use actpass_sidecar::session::{Session, SessionError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub(crate) struct BenchSession {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) issuer: SigningKey,
    pub(crate) holder: VerifyingKey,
}

impl Session for BenchSession {
    fn bundle(&self) -> Arc<Bundle> {
        self.bundle.clone()
    }

    fn passport(&self) -> Result<Arc<str>, SessionError> {
        Ok(crate::policy::PASSPORT.into())
    }

    fn token(&self) -> Result<String, SessionError> {
        let now = Timestamp::now().as_second();
        let claims = Claims {
            iss: "actpass-bench".to_owned(),
            sub: "bench".to_owned(),
            tenant: self.bundle.spec().tenant.clone(),
            agent: crate::policy::PASSPORT.to_owned(),
            passport: crate::policy::PASSPORT.to_owned(),
            cnf: Cnf {
                jwk: Jwk::new(&self.holder),
            },
            pod_uid: None,
            iat: now,
            exp: now + 900,
            jti: now.to_string(),
        };
        jws::issue(&claims, &self.issuer, &key_id(&self.issuer.verifying_key()))
            .map_err(|error| SessionError(error.to_string()))
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
