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

use std::time::Duration;

use kube::Config;

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

/// Longest wait for the API server's next word: for an answer, and in a watch, which it ends after [`watched::SECONDS`].
const SILENCE: Duration = Duration::from_secs(35);

/// A client of the API server: by the kubeconfig where there is one, else by the pod's ServiceAccount. A request that is not
/// answered, as on a connection that was cut without a word, ends with an error.
///
/// # Errors
/// Where there is neither.
pub async fn client() -> Result<Client, kube::Error> {
    // Two crates of the tree could each choose one; a second call is refused and changes nothing.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    bounded(config)
}

fn bounded(mut config: Config) -> Result<Client, kube::Error> {
    config.read_timeout = Some(SILENCE);
    // Else the time that a connection rested before its next request would count.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_answers_ends() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let silent = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
            }
        });
        let client = bounded(Config::new(url.parse().unwrap())).unwrap();
        let begun = Instant::now();
        let answer = Api::<ConfigMap>::namespaced(client, "shop")
            .get("any")
            .await;
        assert!(
            matches!(
                answer,
                Err(kube::Error::HyperError(_) | kube::Error::Service(_))
            ),
            "{answer:?}"
        );
        assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs());
        assert!(
            SILENCE.as_secs() > u64::from(watched::SECONDS) + 5,
            "a watch where nothing happens is ended by neither of two"
        );
        silent.abort();
    }
}
