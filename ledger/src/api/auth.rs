//! Who is asking: a sidecar by its key, a person by a token.

use actpass_core::hash::{StreamId, sha256};
use actpass_transport::serve::Peer;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Context;
use super::gate::{Needed, Person, Resource, Verb};
use crate::engine::Logs;
use crate::error::ApiError;

/// Longest token: those of a cluster are about 1 KiB, those of an identity provider with many groups some more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A sidecar, on a path of its own stream.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    pub(crate) stream: StreamId,
    pub(crate) key: [u8; 32],
    /// Origin of the log it writes to.
    pub(crate) origin: String,
}

/// Somebody who shows a token, of whom nothing is known yet.
#[derive(Clone)]
pub(crate) struct Caller {
    token: Zeroizing<String>,
    /// The tenant that the request names.
    tenant: Option<String>,
    /// The namespace that the request names instead.
    namespace: Option<String>,
}

/// Somebody who may do what they ask.
pub(crate) struct Allowed {
    pub(crate) person: Person,
    /// Origin of the log they may do it to.
    pub(crate) origin: String,
}

#[derive(Deserialize)]
struct Named {
    tenant: Option<String>,
    namespace: Option<String>,
}

impl Caller {
    /// Who it is, if they have the right in the tenant that the request names; without one the only log is meant, which
    /// a gate that knows several tenants refuses.
    pub(crate) async fn may(
        mut self,
        context: &Context,
        verb: Verb,
        resource: Resource,
        name: Option<&str>,
    ) -> Result<Allowed, ApiError> {
        if let Some(namespace) = self.namespace.take() {
            if self.tenant.is_some() {
                let both = "name a tenant or a namespace, not both".to_owned();
                return Err(ApiError::Malformed(both));
            }
            let gate = context.people.gate();
            self.tenant = Some(gate.tenant(&self.token, &namespace).await?);
        }
        let needed = Needed {
            verb,
            resource,
            tenant: self.tenant.as_deref(),
            name,
        };
        let person = context.people.gate().person(&self.token, needed).await?;
        let named = self.tenant.map(|tenant| format!("actpass/{tenant}"));
        let origin = context
            .engine
            .query(move |logs| match named {
                Some(origin) if logs.contains_key(&origin) => Ok(origin),
                Some(_) => Err(ApiError::NotFound("log")),
                None => only(logs),
            })
            .await?;
        Ok(Allowed { person, origin })
    }

    /// Who it is, if they have the right in the tenant that the request's path names.
    pub(crate) async fn may_in(
        mut self,
        context: &Context,
        verb: Verb,
        resource: Resource,
        tenant: String,
    ) -> Result<Allowed, ApiError> {
        if self.namespace.is_some() || self.tenant.is_some() {
            let twice = "the path names the tenant; leave `tenant` and `namespace` out".to_owned();
            return Err(ApiError::Malformed(twice));
        }
        self.tenant = Some(tenant);
        self.may(context, verb, resource, None).await
    }

    /// Who it is, if they have the right in the tenant that the request's body names.
    pub(crate) async fn may_of(
        self,
        context: &Context,
        verb: Verb,
        resource: Resource,
        tenant: &str,
    ) -> Result<Person, ApiError> {
        let needed = Needed {
            verb,
            resource,
            tenant: Some(tenant),
            name: None,
        };
        let person = context.people.gate().person(&self.token, needed).await?;
        match self.tenant.is_none_or(|named| named == tenant) {
            true => Ok(person),
            false => Err(ApiError::Malformed(
                "the request names one tenant and its body another".to_owned(),
            )),
        }
    }
}

impl Allowed {
    /// The tenant of the log.
    pub(crate) fn tenant(&self) -> &str {
        self.origin.strip_prefix("actpass/").unwrap_or(&self.origin)
    }
}

/// The one log of local mode.
fn only(logs: &Logs) -> Result<String, ApiError> {
    let mut origins = logs.keys();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => Ok(origin.clone()),
        (None, _) => Err(ApiError::NotFound("log")),
        _ => Err(ApiError::Malformed(
            "there are several tenants; name one: ?tenant=TENANT".to_owned(),
        )),
    }
}

/// The key of the connection, and the stream it names.
pub(crate) fn known(peer: Option<&Peer>) -> Result<(StreamId, [u8; 32]), ApiError> {
    let key = peer.and_then(|peer| peer.key);
    let key = key.ok_or(ApiError::Unauthorized(
        "this needs a client certificate over the stream's Ed25519 key",
    ))?;
    Ok((StreamId::from_bytes(sha256(&[&key])), key))
}

impl FromRequestParts<Context> for Sidecar {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, ApiError> {
        let (stream, key) = known(parts.extensions.get())?;
        let Path(path) =
            Path::<std::collections::BTreeMap<String, String>>::from_request_parts(parts, context)
                .await
                .map_err(|error| ApiError::Malformed(error.to_string()))?;
        if path
            .get("stream")
            .is_none_or(|named| *named != stream.to_string())
        {
            return Err(ApiError::Forbidden(
                "the client certificate is not that stream's".to_owned(),
            ));
        }
        let origin = origin_of(context, stream).await?;
        Ok(Self {
            stream,
            key,
            origin,
        })
    }
}

/// The log that a stream writes to. One that was opened before this ledger started is found in the logs: what it has to
/// say is taken also when its passport is over, but nothing is permitted then.
async fn origin_of(context: &Context, stream: StreamId) -> Result<String, ApiError> {
    let streams = || {
        context
            .streams
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    if let Some(origin) = streams().get(&stream) {
        return Ok(origin.clone());
    }
    let find = move |logs: &Logs| {
        let mut found = logs
            .values()
            .filter_map(|log| Some((log.origin(), log.state().stream(&stream)?)));
        match found.next() {
            Some((origin, known)) if known.ended.is_none() => Ok(origin.to_owned()),
            Some(_) => Err(ApiError::Conflict {
                code: "stream_ended",
                detail: "this stream has ended; start a new one with a new key".to_owned(),
            }),
            None => Err(ApiError::Conflict {
                code: "unknown_stream",
                detail: "open the stream with a passport first".to_owned(),
            }),
        }
    };
    let origin = context.engine.query(find).await?;
    streams().insert(stream, origin.clone());
    Ok(origin)
}

impl FromRequestParts<Context> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, ApiError> {
        let given = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let token = given.filter(|token| (1..=TOKEN_BYTES_MAX).contains(&token.len()));
        let token = token.ok_or(ApiError::Unauthorized(
            "this needs a token: Authorization: Bearer TOKEN",
        ))?;
        let Query(Named { tenant, namespace }) = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        Ok(Self {
            token: Zeroizing::new(token.to_owned()),
            tenant,
            namespace,
        })
    }
}
