//! The ledger of a cluster, from outside of it.
//!
//! *Flow.* `kubectl port-forward` leads to a pod of the ledger, past no check of the ledger's: TLS goes from here to there, and
//! the certificate has to lead to the authority in ConfigMap `actpass-trust`. The token is the person's own, as kubectl
//! shows it to the API server; who logs in with a client certificate has none, and names a ServiceAccount instead, whose
//! token, for the ledger alone and for ten minutes, the API server makes if they may. The ledger asks the API server
//! whose it is, and whether Roles in that namespace let them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use actpass_core::pod::contract::{AUTHORITIES_CONFIG_MAP, AUTHORITIES_FILE};
use anyhow::{Context, anyhow, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr};
use zeroize::Zeroizing;

use super::args::Reach;
use super::kubectl::{Kubectl, MISSING, plain};
use super::token;
use crate::client::{Client, Refused};

/// The one pod of a ledger over a volume; where there are several over PostgreSQL, any that its Service leads to.
const POD: &str = "pod/actpass-ledger-0";
const SERVICE: &str = "service/actpass-ledger";

/// Its port in a pod and at the Service.
const PORT: &str = ":8443";

/// Role in the namespace of the installation with what reaching the ledger takes.
const ROLE: &str = "actpass-ledger-client";

/// Audience of tokens for the ledger alone, and how long they are good for.
const AUDIENCE: &str = "--audience=actpass-ledger";
const DURATION: &str = "--duration=10m";

/// How long the way to the ledger may take to open.
const PATIENCE: Duration = Duration::from_secs(20);

/// The ledger, asked about one namespace.
pub(super) struct Ledger {
    client: Client,
    /// What the cluster publishes of its parts.
    pub(super) trust: BTreeMap<String, String>,
    namespace: String,
    /// Ends the way there when it is dropped.
    _forward: Child,
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl Ledger {
    /// Opens a way to it.
    ///
    /// # Errors
    /// Where this person may not, or nothing is there: with what to do.
    pub(super) async fn reach(
        kubectl: &Kubectl,
        reach: &Reach,
        namespace: &str,
    ) -> anyhow::Result<Self> {
        let system = kubectl.of(&reach.system_namespace);
        let bind = |error: anyhow::Error| {
            anyhow!(
                "the ledger cannot be reached: {error:#}; that takes Role `{ROLE}`: kubectl create rolebinding NAME \
                 --role={ROLE} --user=USER -n {}",
                reach.system_namespace
            )
        };
        let trust: ConfigMap = system
            .get(&["configmap", AUTHORITIES_CONFIG_MAP])
            .map_err(bind)?;
        let trust = trust.data;
        let authorities = trust.get(AUTHORITIES_FILE).map_or("", String::as_str);
        let authorities: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(authorities.as_bytes()).collect();
        let authorities = authorities.context("the authority in ConfigMap `actpass-trust`")?;
        if authorities.is_empty() {
            bail!("ConfigMap `actpass-trust` names no authority yet; is the controller running?");
        }
        let token = match &reach.service_account {
            Some(account) => of_account(kubectl, account, namespace)?,
            None => token::own(kubectl).await?.with_context(|| {
                "you log in with a client certificate, which the ledger cannot check: name a ServiceAccount whose token \
                 you may make, --service-account NAMESPACE/NAME (docs/install.md says how to set one up)"
            })?,
        };
        let opened = match forward(&system, POD).await {
            // Over PostgreSQL no pod is called that; over a volume it is on its way.
            Err(error) if is_not_there(&error) => {
                let by_service = forward(&system, SERVICE).await;
                by_service
                    .map_err(|of_service| anyhow!("{error:#}; and `{SERVICE}`: {of_service:#}"))
            }
            opened => opened,
        };
        let (forward, port) = opened.map_err(bind)?;
        let client = Client {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            authorities,
            token,
        };
        Ok(Self {
            client,
            trust,
            namespace: namespace.to_owned(),
            _forward: forward,
        })
    }

    /// What to ask it with.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A path with its namespace; `more` begins with `&`.
    pub(super) fn path(&self, path: &str, more: &str) -> String {
        format!("{path}?namespace={}{more}", self.namespace)
    }

    /// What to do about a no of the ledger.
    pub(super) fn explained(&self, error: anyhow::Error, role: &str) -> anyhow::Error {
        let namespace = &self.namespace;
        let refused = error
            .downcast_ref::<Refused>()
            .map(|refused| refused.status);
        match refused {
            Some(http::StatusCode::FORBIDDEN) => anyhow!(
                "{error:#}; that takes ClusterRole `{role}` there: kubectl create rolebinding NAME --clusterrole={role} \
                 --user=USER -n {namespace}"
            ),
            Some(http::StatusCode::NOT_FOUND) => anyhow!(
                "{error:#}; the log of namespace `{namespace}` begins with its first Passport or policy, once it has the label \
                 actpass.org/mode"
            ),
            _ => error,
        }
    }
}

/// A token of a ServiceAccount, `NAMESPACE/NAME` or one of this namespace.
fn of_account(
    kubectl: &Kubectl,
    account: &str,
    namespace: &str,
) -> anyhow::Result<Zeroizing<String>> {
    let (namespace, name) = account.split_once('/').unwrap_or((namespace, account));
    // A name that begins with a dash would be a flag of kubectl.
    if name.is_empty() || name.starts_with('-') || namespace.is_empty() {
        bail!(
            "`{account}` names no ServiceAccount: give NAMESPACE/NAME, or NAME in this namespace"
        );
    }
    let made = kubectl
        .of(namespace)
        .run(&["create", "token", name, AUDIENCE, DURATION], None)
        .with_context(|| {
            format!("no token of ServiceAccount `{namespace}/{name}`: that takes `create` on serviceaccounts/token")
        })?;
    let token = String::from_utf8(made).context("the token is not understood")?;
    Ok(Zeroizing::new(token.trim().to_owned()))
}

/// Whether the API server said that there is no such pod.
fn is_not_there(error: &anyhow::Error) -> bool {
    let name = POD.rsplit('/').next().unwrap_or(POD);
    format!("{error:#}").contains(&format!("pods \"{name}\" not found"))
}

/// A way to that object, and the port on 127.0.0.1 where it begins.
async fn forward(system: &Kubectl, to: &str) -> anyhow::Result<(Child, u16)> {
    let args = ["port-forward", "--address=127.0.0.1", to, PORT];
    let mut command = tokio::process::Command::from(system.command(&args));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().context(MISSING)?;
    let stdout = child.stdout.take().context("its standard output")?;
    let stderr = child.stderr.take();
    let mut lines = BufReader::new(stdout).lines();
    let port = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(port) = port_of(&line) {
                return Ok(port);
            }
        }
        bail!("{}", said(stderr).await)
    };
    let port = tokio::time::timeout(PATIENCE, port).await;
    let port = port.context("kubectl port-forward takes too long")??;
    // It says a line per connection, to nobody.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, port))
}

/// What it said before it ended.
async fn said(stderr: Option<ChildStderr>) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = stderr {
        // What can be read of it is enough.
        drop(stderr.read_to_string(&mut text).await);
    }
    plain(text.trim()).to_owned()
}

/// The port in `Forwarding from 127.0.0.1:40521 -> 8443`.
fn port_of(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_kubectl_says() {
        for (line, want) in [
            ("Forwarding from 127.0.0.1:40521 -> 8443", Some(40521)),
            ("Forwarding from [::1]:40521 -> 8443", None),
            ("Handling connection for 40521", None),
            ("", None),
        ] {
            assert_eq!(port_of(line), want, "{line}");
        }
    }
}
