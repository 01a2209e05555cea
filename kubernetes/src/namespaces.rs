//! Which namespace is which: a name says nothing once the namespace was deleted and made again.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::Error;

/// The namespace whose uid names the cluster.
const OLDEST: &str = "kube-system";

/// Uid of the namespace that has this name now, if there is one.
///
/// # Errors
/// Where the API server does not answer, or does not show namespaces.
pub async fn uid(client: &Client, name: &str) -> Result<Option<String>, Error> {
    let api = Api::<Namespace>::all(client.clone());
    let found = api.get_opt(name).await;
    let found = found.map_err(Error::api(format!("read namespace `{name}`")))?;
    Ok(found.and_then(|namespace| namespace.uid()))
}

/// Id of the cluster, the first part of every tenant's name.
///
/// # Errors
/// As [`uid`].
pub async fn cluster_id(client: &Client) -> Result<String, Error> {
    uid(client, OLDEST).await?.ok_or_else(|| Error::Content {
        what: format!("namespace `{OLDEST}`"),
        why: "it is not there, so the cluster has no id".to_owned(),
    })
}
