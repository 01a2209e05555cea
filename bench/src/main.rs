//! Measurements, each beside its baseline in the same run; and ledger and sidecar as two plain processes, for
//! benchmarks that compare proxies.

mod decide;
mod fence;
mod handover;
mod ledger;
#[cfg(feature = "baselines")]
mod log;
mod memory;
mod node;
mod permit;
mod policy;
mod round_trip;
mod sample;
mod service;
mod session;
mod sidecar;
mod verify;

use clap::Parser;

#[derive(Parser)]
#[command(name = "actpass-bench", version)]
enum Command {
    /// The decision alone, without I/O, at several sizes of policy
    Decide,
    /// A durable permit, one at a time, against the sum of what it cannot do without
    Permit(permit::PermitArgs),
    /// Verification of a log, on one core
    Verify(verify::VerifyArgs),
    /// The log alone, beside the disk's limit and databases that keep the same
    #[cfg(feature = "baselines")]
    Log(log::LogArgs),
    /// A ledger as a process of its own under simulated sidecars, over TLS
    Service(service::ServiceArgs),
    /// Memory of `actpass run` around an idle command
    Memory(memory::MemoryArgs),
    /// The packet filter of a pod, in networks of its own (as root): its loading, the verifier's pass, TCP through it
    Fence(fence::FenceArgs),
    /// A whole installation on a Kubernetes node, under a crowd of simulated pods
    Node(node::NodeArgs),
    /// A ledger as a process of its own
    Ledger(ledger::LedgerArgs),
    /// A sidecar in front of one upstream, as a process of its own
    Sidecar(sidecar::SidecarArgs),
}

fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ACTPASS_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error")))
        .with_writer(std::io::stderr)
        .init();
    match Command::parse() {
        Command::Decide => decide::decide(),
        Command::Permit(args) => runtime(2)?.block_on(permit::permit(args)),
        Command::Verify(args) => runtime(2)?.block_on(verify::verify(args)),
        #[cfg(feature = "baselines")]
        Command::Log(args) => log::log(&args),
        Command::Service(args) => runtime(2)?.block_on(service::service(args)),
        Command::Memory(args) => memory::memory(&args),
        Command::Fence(args) => fence::fence(&args),
        Command::Node(args) => runtime(2)?.block_on(node::node(args)),
        Command::Ledger(args) => single()?.block_on(ledger::ledger(args)),
        Command::Sidecar(args) => single()?.block_on(sidecar::sidecar(args)),
    }
}

fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all().build()
}

/// One thread: a sidecar serves one agent, and waking another thread costs more than the work it would take over.
fn single() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
