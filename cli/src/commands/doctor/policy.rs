//! Manifests against this machine: mistakes in them, credentials they name, hosts they declare.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actpass_core::host::HostPattern;
use actpass_core::upstream::Upstream;
use actpass_crds::bundle::Options;

use super::{Finding, chain};
use crate::args::DoctorArgs;
use crate::lending::{Lending, lending};
use crate::run::policy as manifests;
use crate::state::StateDir;

/// How long all lookups together may take: a resolver that does not answer takes 5 s each by itself.
const LOOKUPS_MAX: Duration = Duration::from_secs(5);

/// All that is said of the manifests.
pub(super) fn policy(args: &DoctorArgs, state: &StateDir) -> Vec<Finding> {
    const CHECK: &str = "policy";
    let options = Options {
        tenant: "local/doctor/doctor".to_owned(),
        environment: None,
    };
    let spec = match manifests::check(&args.files, args.catalog, &options) {
        Ok(checked) => checked.spec,
        Err(problems) => {
            let says = problems.iter().map(ToString::to_string);
            return says
                .map(|says| Finding::problem(CHECK, says, None))
                .collect();
        }
    };
    let mut findings = vec![Finding::ok(CHECK, "the manifests have no mistakes")];
    match lending(&spec, state) {
        Ok(lending) => findings.extend(lending.into_iter().map(credential)),
        Err(error) => findings.push(Finding::problem("vault", chain(error), None)),
    }
    findings.extend(hosts(&spec.upstreams));
    findings
}

fn credential(lending: Lending) -> Finding {
    const CHECK: &str = "credential";
    match lending.remedy {
        None => Finding::ok(CHECK, lending.says),
        remedy => Finding::problem(CHECK, lending.says, remedy),
    }
}

/// Whether the exact hosts are found by the resolver that will look them up.
fn hosts(upstreams: &[Upstream]) -> Vec<Finding> {
    const CHECK: &str = "hosts";
    let exact = upstreams
        .iter()
        .flat_map(|upstream| upstream.hosts.iter())
        .filter_map(HostPattern::as_exact)
        .map(ToString::to_string)
        .collect::<BTreeSet<_>>();
    let (answer, answers) = mpsc::channel();
    for host in exact.clone() {
        let answer = answer.clone();
        // A lookup cannot be broken off, so one that takes too long is left to end with the process.
        std::thread::spawn(move || {
            let found = (host.as_str(), 443).to_socket_addrs().map(|_| ());
            // Nobody waits for it any more once the time is over.
            drop(answer.send((host, found)));
        });
    }
    drop(answer);
    let end = Instant::now() + LOOKUPS_MAX;
    let mut waiting = exact;
    let mut findings = Vec::new();
    while let Ok((host, found)) =
        answers.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        waiting.remove(&host);
        findings.push(match found {
            Ok(()) => Finding::ok(CHECK, format!("`{host}` resolves")),
            Err(error) => Finding::note(CHECK, unresolved(&host, &error.to_string())),
        });
    }
    let late = waiting.iter();
    findings.extend(late.map(|host| Finding::note(CHECK, unresolved(host, "no answer in time"))));
    findings.sort_by(|one, other| one.says.cmp(&other.says));
    findings
}

fn unresolved(host: &str, why: &str) -> String {
    format!(
        "`{host}` does not resolve here ({why}): requests to it fail, unless `--connect-to` says where it is"
    )
}
