//! A whole installation on a node, under a crowd of simulated pods: how fast resources come into force from a cold start,
//! what an admission takes, what a thousand sessions cost the controller, how fast a change reaches them; then real pods:
//! how much later they start, and what their sidecar holds.
//!
//! Only what runs in a pod is simulated, its kubelet and its sidecar: API server, webhook, controller and ledger are the
//! real ones. A simulated pod is an object like any other, admitted, bound to a node that does not exist, with an address
//! of its own, a token of its own and a session of its own.

mod api;
mod crowd;
mod processes;
mod real;
mod reviews;
mod sessions;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;

use api::Cluster;
use crowd::Crowd;
use sessions::Sessions;

#[derive(clap::Args)]
pub(crate) struct NodeArgs {
    /// Passports; each has a ServiceAccount, an ActionPolicy, a simulated pod and a session
    #[arg(long, default_value_t = 1_000)]
    passports: usize,
    /// Passports in one namespace
    #[arg(long, default_value_t = 50)]
    per_namespace: usize,
    /// Admissions per second
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Where ActPass is installed
    #[arg(long, default_value = "actpass-system")]
    install_namespace: String,
    /// First of the simulated pods' addresses; this machine takes them as its own
    #[arg(long, default_value = "10.99.0.1")]
    first_address: Ipv4Addr,
    /// Image of the real pods' container: it needs `sleep`
    #[arg(long)]
    image: String,
    /// Real pods started of each kind
    #[arg(long, default_value_t = 10)]
    real: usize,
}

/// How long things are waited for that take seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn node(args: NodeArgs) -> anyhow::Result<()> {
    ensure!(
        args.passports > 0 && args.per_namespace > 0 && args.rate > 0,
        "give at least one passport, one per namespace and one admission per second"
    );
    let cluster = Cluster::new(&args.install_namespace).await?;
    let crowd = Crowd::new(args.passports, args.per_namespace, args.first_address);
    let figures = measured(&cluster, &crowd, &args).await;
    eprintln!("removing the namespaces");
    crowd.removed(&cluster).await?;
    figures
}

async fn measured(cluster: &Cluster, crowd: &Crowd, args: &NodeArgs) -> anyhow::Result<()> {
    println!("| what | measured | budget |\n|---|---|---|");
    let row = |what: &str, measured: String, budget: &str| {
        println!("| {what} | {measured} | {budget} |");
    };

    eprintln!(
        "declaring {} passports, no controller running",
        args.passports
    );
    cluster.controllers(0).await?;
    crowd.declared(cluster).await?;
    let started = Instant::now();
    cluster.controllers(2).await?;
    crowd.in_force(cluster).await?;
    let what = format!(
        "{} Passports in {} namespaces in force, from the controller's cold start",
        args.passports,
        crowd.namespaces().len()
    );
    row(&what, seconds(started.elapsed()), "30 s");

    eprintln!(
        "admitting {} pods, {} per second",
        args.passports, args.rate
    );
    let before = reviews::seen(cluster).await?;
    let paced = crowd.admitted(cluster, args.rate).await?;
    let seen = reviews::seen(cluster).await?.since(&before);
    for (path, answered, within) in seen.rows() {
        let what = format!("reviews of `{path}` at {paced} admissions per second, within 20 ms");
        row(&what, format!("{within} of {answered}"), "99 of 100");
    }
    let p99 = crowd.latency(99);
    row(
        "an admission as the API server's client sees it, p50 / p99",
        format!("{} / {}", millis(crowd.latency(50)), millis(p99)),
        "",
    );

    eprintln!("opening {} sessions", args.passports);
    let started = Instant::now();
    let mut sessions = Sessions::opened(cluster, crowd).await?;
    row(
        &format!("{} sessions open", args.passports),
        seconds(started.elapsed()),
        "",
    );
    // What opening took is freed, passports are renewed meanwhile.
    tokio::time::sleep(Duration::from_secs(30)).await;
    for (replica, process) in processes::named("actpass-controll")?.iter().enumerate() {
        let what = format!("controller {}, resident now / at most", replica + 1);
        row(
            &what,
            format!(
                "{} / {}",
                mebibytes(process.resident),
                mebibytes(process.most)
            ),
            "150 MiB",
        );
    }
    let took = sessions.after_policy_change(cluster, crowd).await?;
    row(
        "a changed policy at all sessions of its namespace",
        millis(took),
        "2 s",
    );
    let took = sessions.after_suspension(cluster, crowd).await?;
    row("a suspension at its session", millis(took), "2 s");
    let open = sessions.open();
    row(
        "sessions still open",
        format!("{open} of {}", args.passports),
        "all",
    );

    eprintln!("starting real pods");
    let real = real::started(cluster, &args.image, args.real).await?;
    row(
        "a pod's start without ActPass, median",
        millis(real.plain),
        "",
    );
    row("a pod's start with it, median", millis(real.injected), "");
    row(
        "more",
        millis(real.injected.saturating_sub(real.plain)),
        "3 s",
    );
    let sidecars = processes::named("actpass-sidecar")?;
    let most = sidecars.iter().map(|process| process.resident).max();
    let what = format!("sidecar, idle, resident: the largest of {}", sidecars.len());
    row(&what, mebibytes(most.unwrap_or_default()), "20 MiB");
    real.removed(cluster).await
}

fn seconds(took: Duration) -> String {
    format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100)
}

fn millis(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
