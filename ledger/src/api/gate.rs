//! Who people and the controller are, and what they may do: asked of a [`Gate`], so that this library knows neither
//! Kubernetes nor any other place that keeps users.

use std::fmt;
use std::sync::Arc;

use actpass_core::vote::{SignedVote, VoteKeys};
use futures_util::future::BoxFuture;
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::error::ApiError;

/// What a caller wants to do. Kubernetes calls it by the same word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Look.
    Get,
    /// Make or change.
    Update,
    /// Take away.
    Delete,
}

/// On what. In a cluster these are virtual resources of `actpass.org`, which Roles name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Votes of people, as the webhook stamped them.
    Approvals,
    /// Policy, and revocations with it.
    Bundles,
    /// Credentials in the vault.
    Credentials,
    /// What is recorded: approvals, limits, intents, checkpoints.
    Evidence,
    /// What became of ambiguous actions.
    Intents,
    /// What texts beside the record say, to be handed out in clear.
    Texts,
}

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Needed<'a> {
    /// To do what.
    pub verb: Verb,
    /// On what.
    pub resource: Resource,
    /// Of whom: `<cluster-id>/<namespace>/<namespace-uid>`; none where the request names nobody.
    pub tenant: Option<&'a str>,
    /// Of which name, where the request is about one.
    pub name: Option<&'a str>,
}

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name of the user.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
}

/// Says who shows a token, and whether they may.
pub trait Gate: Send + Sync {
    /// The person who shows `token`, if they have the right.
    ///
    /// # Errors
    /// [`ApiError::Unauthorized`] where nobody knows the token, [`ApiError::Forbidden`] without the right,
    /// [`ApiError::Unavailable`] where that cannot be found out.
    fn person<'a>(
        &'a self,
        token: &'a str,
        needed: Needed<'a>,
    ) -> BoxFuture<'a, Result<Person, ApiError>>;

    /// The tenant that is a namespace now, for people who know its name only. It says nothing of rights.
    ///
    /// # Errors
    /// As [`Gate::person`], and [`ApiError::Malformed`] where there are no namespaces.
    fn tenant<'a>(
        &'a self,
        token: &'a str,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<String, ApiError>>;

    /// Whether the vote stands, with its stamp, where people of `tenant` vote. Its signature alone says only that the
    /// webhook was asked, and not that it was the API server who asked.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] where that cannot be found out.
    fn has_vote<'a>(
        &'a self,
        tenant: &'a str,
        vote: &'a SignedVote,
    ) -> BoxFuture<'a, Result<bool, ApiError>>;
}

/// How people and the controller are known.
pub enum People {
    /// Local mode: whoever holds the token is one user, in every group, who may do everything and answers questions there
    /// and then.
    Holder(Token),
    /// A cluster: the gate says who asks and what they may, and answers to questions come signed.
    Reviewed {
        /// Whom to ask.
        gate: Arc<dyn Gate>,
        /// Keys that answers are stamped with, as they change.
        vote_keys: watch::Receiver<VoteKeys>,
    },
}

impl People {
    pub(crate) fn gate(&self) -> &dyn Gate {
        match self {
            Self::Holder(token) => token,
            Self::Reviewed { gate, .. } => gate.as_ref(),
        }
    }
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

impl Gate for Token {
    fn person<'a>(
        &'a self,
        token: &'a str,
        _: Needed<'a>,
    ) -> BoxFuture<'a, Result<Person, ApiError>> {
        let same = bool::from(token.as_bytes().ct_eq(self.secret.as_bytes()));
        let known = same.then(|| Person {
            user: self.user.clone(),
            groups: Vec::new(),
        });
        let known = known.ok_or(ApiError::Unauthorized(
            "this needs the control token: Authorization: Bearer TOKEN",
        ));
        Box::pin(std::future::ready(known))
    }

    fn tenant<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<String, ApiError>> {
        let none = "local mode has no namespaces; leave `namespace` out".to_owned();
        Box::pin(std::future::ready(Err(ApiError::Malformed(none))))
    }

    fn has_vote<'a>(
        &'a self,
        _: &'a str,
        _: &'a SignedVote,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        // There are no stamped votes in local mode.
        Box::pin(std::future::ready(Ok(false)))
    }
}

impl Verb {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Resource {
    /// Its plural name, and behind a slash that of a subresource.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approvals => "approvals",
            Self::Bundles => "bundles",
            Self::Credentials => "credentials",
            Self::Evidence => "evidence",
            Self::Intents => "intents",
            Self::Texts => "evidence/texts",
        }
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holder(_) => "Holder",
            Self::Reviewed { .. } => "Reviewed",
        })
    }
}
