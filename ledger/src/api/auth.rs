//! Who is asking: a sidecar by its key, a person by a token.

use actpass_core::hash::{StreamId, sha256};
use actpass_transport::serve::Peer;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Context;
use crate::error::ApiError;

/// A sidecar, on a path of its own stream.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    pub(crate) stream: StreamId,
    pub(crate) key: [u8; 32],
    /// Origin of the log it writes to.
    pub(crate) origin: String,
}

/// The control token of local mode, and the person who holds it.
pub struct Token {
    secret: Zeroizing<String>,
    user: String,
}

impl Token {
    /// A token that stands for one operating-system user.
    pub fn new(secret: Zeroizing<String>, user: &str) -> Self {
        Self {
            secret,
            user: user.to_owned(),
        }
    }
}

/// A person: the holder of the control token.
#[derive(Clone, Debug)]
pub struct Person {
    /// Name of the user.
    pub user: String,
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
    let find = move |logs: &crate::engine::Logs| {
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

impl FromRequestParts<Context> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, ApiError> {
        let given = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let given = given
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let token = &context.token;
        if !bool::from(given.as_bytes().ct_eq(token.secret.as_bytes())) {
            return Err(ApiError::Unauthorized(
                "this needs the control token: Authorization: Bearer TOKEN",
            ));
        }
        Ok(Self {
            user: token.user.clone(),
        })
    }
}
