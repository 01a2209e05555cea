//! Who asks, and what they may, by the API server's word.
//!
//! A token is tried as one for the ledger alone, as the controller's is, then as one for the API server, as people's are.
//! Rights are those of Roles on virtual resources of `actpass.org`, in the tenant's namespace. A tenant whose namespace is
//! gone, or was made again under the same name, belongs to nobody of today's namespace: it takes the right in all namespaces.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_core::hash::sha256;
use actpass_core::vote::SignedVote;
use actpass_kubernetes::names::LEDGER_AUDIENCE;
use actpass_kubernetes::who::{Right, Who, holds, may};
use actpass_kubernetes::{Client, namespaces};
use actpass_ledger::ApiError;
use actpass_ledger::api::{Gate, Needed, Person, Resource, Verb};
use futures_util::future::BoxFuture;

use super::cache::Cache;
use super::votes;

/// The API server answers within milliseconds, or is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// In place of the uid of a namespace that is not there: no uid is as short.
const GONE: &str = "gone";

/// SHA-256 of a token.
type TokenHash = [u8; 32];

/// A right somebody may have: token, verb, resource, namespace, name.
type Question = (TokenHash, Verb, Resource, String, Option<String>);

/// The gate of a cluster.
pub(super) struct Reviews {
    client: Client,
    cluster: String,
    known: Mutex<Cache<TokenHash, Option<Who>>>,
    rights: Mutex<Cache<Question, bool>>,
    namespaces: Mutex<Cache<String, Option<String>>>,
}

impl Reviews {
    /// A gate of the cluster of that id.
    pub(super) fn new(client: Client, cluster: String) -> Self {
        Self {
            client,
            cluster,
            known: Mutex::new(Cache::new()),
            rights: Mutex::new(Cache::new()),
            namespaces: Mutex::new(Cache::new()),
        }
    }

    async fn review(&self, token: &str, needed: Needed<'_>) -> Result<Person, ApiError> {
        let (hash, who) = self.known(token).await?;
        let tenant = needed.tenant.and_then(Tenant::parse);
        let tenant = tenant.ok_or_else(|| {
            let how = "name a tenant: ?tenant=CLUSTER-ID%2FNAMESPACE%2FNAMESPACE-UID";
            ApiError::Malformed(how.to_owned())
        })?;
        let namespace = match self.stands(&tenant).await? {
            true => tenant.namespace,
            false => "",
        };
        let right = Right {
            verb: needed.verb.word(),
            resource: needed.resource.word(),
            namespace,
            name: needed.name,
        };
        let question = (
            hash,
            needed.verb,
            needed.resource,
            namespace.to_owned(),
            needed.name.map(str::to_owned),
        );
        let allowed = async || may(&self.client, &who, right).await;
        match remembered(&self.rights, question, |_| true, allowed).await? {
            true => Ok(Person {
                user: who.user,
                groups: who.groups,
            }),
            false => Err(ApiError::Forbidden(format!(
                "`{}` may not {} {} of actpass.org in {}",
                who.user,
                right.verb,
                right.resource,
                match namespace {
                    "" => "all namespaces, which a tenant takes whose namespace is gone".to_owned(),
                    namespace => format!("namespace `{namespace}`"),
                }
            ))),
        }
    }

    /// Who shows the token.
    async fn known(&self, token: &str) -> Result<(TokenHash, Who), ApiError> {
        let hash = sha256(&[token.as_bytes()]);
        let asked = async || match holds(&self.client, token, Some(LEDGER_AUDIENCE)).await? {
            None => holds(&self.client, token, None).await,
            known => Ok(known),
        };
        // What nobody knows is asked anew: anybody can make up tokens, and those would take the places of real ones.
        let who = remembered(&self.known, hash, Option::is_some, asked).await?;
        let unknown = "the API server does not know this token";
        Ok((hash, who.ok_or(ApiError::Unauthorized(unknown))?))
    }

    /// The tenant that a namespace is now. Where there is none, one that nobody has: who may look at all namespaces is
    /// told that its log is not there, everybody else that they may not.
    async fn tenant_now(&self, token: &str, namespace: &str) -> Result<String, ApiError> {
        self.known(token).await?;
        let tenant = |uid: &str| format!("{}/{namespace}/{uid}", self.cluster);
        if Tenant::parse(&tenant(GONE)).is_none() {
            let what = "`namespace` is no name of a namespace".to_owned();
            return Err(ApiError::Malformed(what));
        }
        let asked = async || namespaces::uid(&self.client, namespace).await;
        let uid = remembered(
            &self.namespaces,
            namespace.to_owned(),
            Option::is_some,
            asked,
        )
        .await?;
        Ok(tenant(uid.as_deref().unwrap_or(GONE)))
    }

    /// Whether the ApprovalVote of that name says exactly this.
    async fn stands_as(&self, tenant: &str, vote: &SignedVote) -> Result<bool, ApiError> {
        let Some(tenant) = Tenant::parse(tenant) else {
            return Ok(false);
        };
        if !self.stands(&tenant).await? {
            return Ok(false);
        }
        let found = asked(votes::find(&self.client, tenant.namespace, vote)).await?;
        Ok(found.is_some_and(|found| found.says(vote)))
    }

    /// Whether the tenant is a namespace of this cluster as it is now.
    async fn stands(&self, tenant: &Tenant<'_>) -> Result<bool, ApiError> {
        let name = tenant.namespace;
        let asked = async || namespaces::uid(&self.client, name).await;
        let uid = remembered(&self.namespaces, name.to_owned(), Option::is_some, asked).await?;
        Ok(tenant.cluster == self.cluster && uid.as_deref() == Some(tenant.uid))
    }
}

impl Gate for Reviews {
    fn person<'a>(
        &'a self,
        token: &'a str,
        needed: Needed<'a>,
    ) -> BoxFuture<'a, Result<Person, ApiError>> {
        Box::pin(self.review(token, needed))
    }

    fn tenant<'a>(
        &'a self,
        token: &'a str,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<String, ApiError>> {
        Box::pin(self.tenant_now(token, namespace))
    }

    fn has_vote<'a>(
        &'a self,
        tenant: &'a str,
        vote: &'a SignedVote,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        Box::pin(self.stands_as(tenant, vote))
    }
}

/// The answer to a question, asked unless it was given a moment ago, and kept where it is `worth` that.
async fn remembered<K, V, F>(
    cache: &Mutex<Cache<K, V>>,
    question: K,
    worth: impl FnOnce(&V) -> bool,
    ask: impl FnOnce() -> F,
) -> Result<V, ApiError>
where
    K: std::hash::Hash + Eq + Clone,
    V: Clone,
    F: Future<Output = Result<V, actpass_kubernetes::Error>>,
{
    let cache = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some(answer) = cache().get(&question, now) {
        return Ok(answer);
    }
    let answer = asked(ask()).await?;
    if worth(&answer) {
        cache().put(question, answer.clone(), now);
    }
    Ok(answer)
}

/// What the API server answers in time.
async fn asked<V>(
    asking: impl Future<Output = Result<V, actpass_kubernetes::Error>>,
) -> Result<V, ApiError> {
    let away =
        || ApiError::Unavailable("the API server does not say who may; try again".to_owned());
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Nobody says who may"
            );
            Err(away())
        }
        Err(_) => {
            tracing::warn!("The API server takes too long to say who may");
            Err(away())
        }
    }
}

/// The parts of a tenant's name.
#[derive(Debug, PartialEq, Eq)]
struct Tenant<'a> {
    cluster: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

impl<'a> Tenant<'a> {
    /// `CLUSTER-ID/NAMESPACE/NAMESPACE-UID`: ids and names as Kubernetes has them, so that nothing else is ever asked for.
    fn parse(text: &'a str) -> Option<Self> {
        let plain = |part: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=63).contains(&part.len()) && part.bytes().all(allowed)
        };
        let mut parts = text.split('/');
        let mut next = || parts.next().filter(plain);
        let tenant = Self {
            cluster: next()?,
            namespace: next()?,
            uid: next()?,
        };
        parts.next().is_none().then_some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_a_cluster_a_namespace_and_its_uid() {
        let tenant = Tenant {
            cluster: "0c1d",
            namespace: "shop",
            uid: "5f0c-1",
        };
        assert_eq!(Tenant::parse("0c1d/shop/5f0c-1"), Some(tenant));
        for text in [
            "",
            "shop",
            "0c1d/shop",
            "0c1d//5f0c",
            "/shop/5f0c",
            "0c1d/shop/",
            "0c1d/shop/5f0c/more",
            "0c1d/../5f0c",
            "0c1d/sh op/5f0c",
            "0c1d/shop%2F/5f0c",
        ] {
            assert_eq!(Tenant::parse(text), None, "{text:?}");
        }
        assert_eq!(Tenant::parse(&format!("c/{}/u", "n".repeat(64))), None);
    }

    #[tokio::test]
    async fn a_token_that_nobody_knows_takes_no_place_of_one_that_somebody_has() {
        let cache = Mutex::new(Cache::new());
        let ask = async |question: u8, answer: Option<u8>| {
            let asked = async || Ok(answer);
            remembered(&cache, question, Option::is_some, asked)
                .await
                .unwrap()
        };
        assert_eq!(ask(1, None).await, None);
        assert_eq!(ask(1, Some(7)).await, Some(7), "asked again");
        assert_eq!(ask(1, None).await, Some(7), "and remembered");
    }
}
