//! Who asks, and what they may, by the API server's word.
//!
//! A token is tried as one for the ledger alone, as the controller's is, then as one for the API server, as people's are.
//! Rights are those of Roles on virtual resources of `actpass.org`, in the tenant's namespace. A tenant whose namespace is
//! gone, or was made again under the same name, belongs to nobody of today's namespace: it takes the right in all namespaces.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_core::hash::sha256;
use actpass_kubernetes::names::LEDGER_AUDIENCE;
use actpass_kubernetes::who::{Right, Who, holds, may};
use actpass_kubernetes::{Client, namespaces};
use actpass_ledger::ApiError;
use actpass_ledger::api::{Gate, Needed, Person, Resource, Verb};
use futures_util::future::BoxFuture;

use super::cache::Cache;

/// The API server answers within milliseconds, or is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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
        let hash = sha256(&[token.as_bytes()]);
        let asked = async || match holds(&self.client, token, Some(LEDGER_AUDIENCE)).await? {
            None => holds(&self.client, token, None).await,
            known => Ok(known),
        };
        let who = remembered(&self.known, hash, asked).await?;
        let who = who.ok_or(ApiError::Unauthorized(
            "the API server does not know this token",
        ))?;
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
        match remembered(&self.rights, question, allowed).await? {
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

    /// Whether the tenant is a namespace of this cluster as it is now.
    async fn stands(&self, tenant: &Tenant<'_>) -> Result<bool, ApiError> {
        let name = tenant.namespace;
        let asked = async || namespaces::uid(&self.client, name).await;
        let uid = remembered(&self.namespaces, name.to_owned(), asked).await?;
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
}

/// The answer to a question, asked unless it was given a moment ago.
async fn remembered<K, V, F>(
    cache: &Mutex<Cache<K, V>>,
    question: K,
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
    let away =
        || ApiError::Unavailable("the API server does not say who may; try again".to_owned());
    let answer = match tokio::time::timeout(ANSWER_TIMEOUT, ask()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Nobody says who may"
            );
            return Err(away());
        }
        Err(_) => {
            tracing::warn!("The API server takes too long to say who may");
            return Err(away());
        }
    };
    cache().put(question, answer.clone(), now);
    Ok(answer)
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
}
