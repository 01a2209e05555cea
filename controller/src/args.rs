//! Flags of `actpass-controller`, each with its variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use actpass_core::succession::Rhythm;
use actpass_transport::program::LogFormat;
use actpass_webhook::server::args::Injection;
use clap::Parser;
use jiff::SignedDuration;

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
    /// Cut off pods that found a way out beside their sidecar, by a NetworkPolicy, until they are deleted.
    #[arg(long, env = "ACTPASS_QUARANTINE", default_value_t = false, action = clap::ArgAction::Set)]
    pub quarantine: bool,
    /// How keys follow one another.
    #[command(flatten)]
    pub rotation: Rotation,
    /// What is injected, and what is let pass: as the webhook has it.
    #[command(flatten)]
    pub injection: Injection,
}

/// How keys follow one another: those that passports and votes are signed with.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Rotation {
    /// Days that a key is used before another follows; 0: only when `kubectl actpass keys rotate` asks for it.
    #[arg(long, env = "ACTPASS_KEY_AGE_DAYS", default_value_t = 90, value_parser = clap::value_parser!(i64).range(0..=3650))]
    pub key_age_days: i64,
    /// Seconds that a key is announced before it is used.
    #[arg(long, env = "ACTPASS_KEY_NOTICE_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    pub key_notice_seconds: i64,
    /// Seconds that a key counts after another took its place: longer than a passport lives, which is an hour at most.
    #[arg(long, env = "ACTPASS_KEY_OVERLAP_SECONDS", default_value_t = 3_900, value_parser = clap::value_parser!(i64).range(1..=31_536_000))]
    pub key_overlap_seconds: i64,
}

impl Rotation {
    /// The same, for lists of keys.
    pub fn rhythm(self) -> Rhythm {
        let age = SignedDuration::from_hours(self.key_age_days.saturating_mul(24));
        Rhythm {
            age: (self.key_age_days > 0).then_some(age),
            notice: SignedDuration::from_secs(self.key_notice_seconds),
            overlap: SignedDuration::from_secs(self.key_overlap_seconds),
        }
    }
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
