//! Flags of `actpass-controller`, each with its variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use actpass_transport::program::LogFormat;
use actpass_webhook::server::args::Injection;
use clap::Parser;

/// The controller of ActPass: issues passports, gives policy to the ledger and to sidecars, keeps what stands in the cluster
/// true.
#[derive(Debug, Parser)]
#[command(name = "actpass-controller", version)]
pub struct Args {
    /// Namespace of the installation.
    #[arg(long, env = "ACTPASS_NAMESPACE", default_value = "actpass-system")]
    pub namespace: String,
    /// Name of this pod, to tell replicas apart.
    #[arg(long, env = "ACTPASS_POD_NAME", default_value = "actpass-controller")]
    pub pod_name: String,
    /// Where sidecars reach it, by TLS.
    #[arg(long, env = "ACTPASS_LISTEN", default_value = "[::]:8443")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are, without TLS.
    #[arg(long, env = "ACTPASS_HEALTH_LISTEN", default_value = "[::]:8080")]
    pub health_listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// HOST:PORT at which the webhook is asked for its keys [default: actpass-webhook.NAMESPACE.svc:443].
    #[arg(long, env = "ACTPASS_WEBHOOK")]
    pub webhook: Option<String>,
    /// File of the token for the ledger; it is read for each request.
    #[arg(
        long,
        env = "ACTPASS_LEDGER_TOKEN",
        default_value = "/run/actpass/token/ledger"
    )]
    pub ledger_token: PathBuf,
    /// Most sessions at a time. With more sidecars than replicas can hold, run more replicas.
    #[arg(long, env = "ACTPASS_SESSIONS_MAX", default_value_t = 4000)]
    pub sessions_max: usize,
    /// Seconds for sidecars to find another replica after SIGTERM.
    #[arg(long, env = "ACTPASS_DRAIN_SECONDS", default_value_t = 10)]
    pub drain_seconds: u64,
    /// Networks that are not public, besides those no public address is of: those of your cluster.
    #[arg(long, env = "ACTPASS_PRIVATE_NETWORKS", value_delimiter = ',')]
    pub private_networks: Vec<String>,
    /// Namespaces that are never under ActPass, whatever their labels say: those that the webhook is not asked about.
    #[arg(long, env = "ACTPASS_EXEMPT_NAMESPACES", value_delimiter = ',')]
    pub exempt_namespaces: Vec<String>,
    /// Namespace of the cluster's name servers.
    #[arg(long, env = "ACTPASS_DNS_NAMESPACE", default_value = "kube-system")]
    pub dns_namespace: String,
    /// Namespace whose Prometheus may read the sidecars' metrics.
    #[arg(long, env = "ACTPASS_METRICS_NAMESPACE")]
    pub metrics_namespace: Option<String>,
    /// What is injected, and what is let pass: as the webhook has it.
    #[command(flatten)]
    pub injection: Injection,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_fit_together_and_each_has_a_variable() {
        let command = Args::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            assert!(argument.get_env().is_some() || name == "help", "{name}");
        }
    }
}
