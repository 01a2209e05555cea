//! What the parts in a cluster share of the Kubernetes API: values in Secrets that exactly one part makes, one object
//! watched, a certificate that changes while it is shown, and who is asking.

mod encoded;
pub mod kept;
pub mod names;
pub mod namespaces;
pub mod seeds;
pub mod shown;
pub mod watched;
pub mod who;

pub use encoded::encoded;
pub use kube::Client;

/// The API server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses or does not answer.
    #[error("the API server: {what}")]
    Api {
        /// What was wanted.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object says what this build does not understand.
    #[error("{what}: {why}")]
    Content {
        /// Which object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// What was wanted when the API server refused or did not answer.
    pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        |source| Self::Api {
            what,
            source: Box::new(source),
        }
    }
}

/// A client of the API server: by the kubeconfig where there is one, else by the pod's ServiceAccount.
///
/// # Errors
/// Where there is neither.
pub async fn client() -> Result<Client, kube::Error> {
    // Two crates of the tree could each choose one; a second call is refused and changes nothing.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Client::try_default().await
}
