//! Who shows a token, and what they may do: TokenReview and SubjectAccessReview.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::Error;
use crate::names::GROUP;

/// Key under which a token bound to a pod names it, among the extra fields of the user.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// The same for the pod's uid.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Who holds a token, as the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// User name.
    pub user: String,
    /// Stable id, where the user has one.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Whatever else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The pod a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPod {
    /// Its namespace.
    pub namespace: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A right on a resource, real or virtual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right<'a> {
    /// `get`, `update`, `create`, `delete`.
    pub verb: &'a str,
    /// Plural name, and behind a slash that of a subresource.
    pub resource: &'a str,
    /// In which namespace; empty for the whole cluster.
    pub namespace: &'a str,
    /// Of which name, where it matters.
    pub name: Option<&'a str>,
}

/// Who shows `token`, if it is one for `audience`; without an audience, one for the API server itself.
///
/// # Errors
/// Where the API server does not answer.
pub async fn holds(
    client: &Client,
    token: &str,
    audience: Option<&str>,
) -> Result<Option<Who>, Error> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            audiences: audience.map(|audience| vec![audience.to_owned()]),
            token: Some(token.to_owned()),
        },
        ..TokenReview::default()
    };
    let api = Api::<TokenReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let status = answer.map_err(Error::api("review a token"))?.status;
    let status = status.unwrap_or_default();
    let for_us = match audience {
        // Of several authenticators one may not know audiences, and says so by leaving them out.
        Some(audience) => (status.audiences.iter().flatten()).any(|named| named == audience),
        None => true,
    };
    let known = status.authenticated == Some(true) && for_us;
    Ok(status.user.filter(|_| known).map(Who::from))
}

/// Whether `who` has `right` on one of our resources.
///
/// # Errors
/// Where the API server does not answer.
pub async fn may(client: &Client, who: &Who, right: Right<'_>) -> Result<bool, Error> {
    may_in(client, who, GROUP, right).await
}

/// Whether `who` has `right` on a resource of the API group `group`; empty for the core.
///
/// # Errors
/// Where the API server does not answer.
pub async fn may_in(
    client: &Client,
    who: &Who,
    group: &str,
    right: Right<'_>,
) -> Result<bool, Error> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (right.resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(who.user.clone()),
            uid: who.uid.clone(),
            groups: Some(who.groups.clone()),
            extra: Some(who.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                verb: Some(right.verb.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: Some(right.namespace.to_owned()),
                name: right.name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api = Api::<SubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let status = answer.map_err(Error::api("review a right"))?.status;
    Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}

impl From<UserInfo> for Who {
    fn from(user: UserInfo) -> Self {
        Self {
            user: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }
    }
}

impl Who {
    /// The pod whose token this is, if it is a pod's.
    pub fn pod(&self) -> Option<BoundPod> {
        let account = self.user.strip_prefix("system:serviceaccount:")?;
        let (namespace, service_account) = account.split_once(':')?;
        let extra = |key| match self.extra.get(key).map(Vec::as_slice) {
            Some([one]) if !one.is_empty() => Some(one.clone()),
            _ => None,
        };
        Some(BoundPod {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            name: extra(POD_NAME)?,
            uid: extra(POD_UID)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: &str, extra: &[(&str, &[&str])]) -> Who {
        let extra = extra.iter().map(|(key, values)| {
            let values = values.iter().map(|value| (*value).to_owned());
            ((*key).to_owned(), values.collect())
        });
        Who {
            user: user.to_owned(),
            uid: None,
            groups: Vec::new(),
            extra: extra.collect(),
        }
    }

    #[test]
    fn only_a_token_bound_to_one_pod_names_a_pod() {
        let bound: &[(&str, &[&str])] = &[(POD_NAME, &["a-7f"]), (POD_UID, &["u-1"])];
        let pod = who("system:serviceaccount:shop:agent", bound)
            .pod()
            .unwrap();
        assert_eq!(
            (
                pod.namespace.as_str(),
                pod.service_account.as_str(),
                pod.name.as_str(),
                pod.uid.as_str()
            ),
            ("shop", "agent", "a-7f", "u-1")
        );
        for (user, extra) in [
            ("ada@example.com", bound),
            ("system:serviceaccount:shop", bound),
            ("system:serviceaccount:shop:agent", &[] as &[_]),
            ("system:serviceaccount:shop:agent", &[(POD_NAME, &["a"])]),
            (
                "system:serviceaccount:shop:agent",
                &[(POD_NAME, &["a"]), (POD_UID, &[""])],
            ),
            (
                "system:serviceaccount:shop:agent",
                &[(POD_NAME, &["a", "b"]), (POD_UID, &["u"])],
            ),
        ] {
            assert_eq!(who(user, extra).pod(), None, "{user} {extra:?}");
        }
    }
}
