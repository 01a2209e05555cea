//! What the ledger says no with.

use actpass_core::wire::Problem;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A refusal of the API. The text goes to the caller, the cause to the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No valid token, or no client key where one is needed.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Authenticated, and not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// No such thing.
    #[error("no {0} of that name")]
    NotFound(&'static str),
    /// The request does not have the form asked for.
    #[error("{0}")]
    Malformed(String),
    /// The request does not fit the state: the code says how.
    #[error("{detail}")]
    Conflict {
        /// Machine-readable.
        code: &'static str,
        /// What to do.
        detail: String,
    },
    /// The disk is full; nothing was changed.
    #[error("the disk is full: free space in the state directory; nothing was lost")]
    NoSpace,
    /// The ledger cannot keep evidence and stops.
    #[error("the ledger cannot write its log and stops; see its own log for the cause")]
    Poisoned,
    /// Who asks, or whether they may, cannot be found out now.
    #[error("{0}")]
    Unavailable(String),
    /// The disk did not answer in time.
    #[error(
        "the ledger's disk does not answer; whether this was recorded is not known yet, ask again"
    )]
    Stalled,
    /// Too much at once.
    #[error("the ledger's queue is full; try again in a moment")]
    Busy,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Poisoned | Self::Busy | Self::Stalled | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Malformed(_) => "malformed",
            Self::Conflict { code, .. } => code,
            Self::NoSpace => "no_space",
            Self::Poisoned => "poisoned",
            Self::Unavailable(_) => "unavailable",
            // A sidecar asks again after this word.
            Self::Stalled => "late",
            Self::Busy => "busy",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("refused").to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code().to_owned(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        (
            status,
            [
                ("content-type", "application/problem+json"),
                ("cache-control", "no-store"),
            ],
            body,
        )
            .into_response()
    }
}
