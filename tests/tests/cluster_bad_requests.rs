//! Bad requests from an agent's container on a real node, all that the same table has for an agent on its own: through the
//! injected sidecar.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::net::IpAddr;
use std::time::Duration;

use actpass_tests::bad_requests::{HOST, SHOP, Sender, Trial, bad_and_harmless, pairs, writes};
use actpass_tests::books::Books;
use actpass_tests::cluster::{Namespace, eventually};
use actpass_tests::installed::{Installed, shared};
use actpass_tests::pod::Pod;
use actpass_tests::scaled;
use actpass_tests::shop::agent;

/// Denials that are alike are counted for ten seconds before they are a record.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of them, or one of so many where loops are short, others in each run: all are sent to a sidecar without a node each
/// time.
fn some<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let every = usize::try_from(10 / scaled(10).min(10)).unwrap();
    let first = usize::try_from(std::process::id()).unwrap() % every;
    println!("one of {every}, from number {first} on");
    all.into_iter().skip(first).step_by(every).collect()
}

/// The shop as one declares it in a namespace, for the agent of [`agent`].
fn declared(books: &Books) -> String {
    let instead = |text: String, from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    };
    let policy = instead(SHOP.to_owned(), "CA_BUNDLE\n", &books.authority.block(6));
    let hosts = format!("  hosts: [{HOST}]\n");
    let policy = instead(policy, &hosts, &format!("{hosts}  addresses: Cluster\n"));
    let agent = "  agentId: clerk\n";
    let subject = format!("{agent}  subject: {{serviceAccountName: clerk}}\n");
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: clerk}\n";
    format!("{}---\n{account}", instead(policy, agent, &subject))
}

/// A namespace with an agent of the shop, and the shop.
fn shop(installed: &Installed<'static>) -> (Namespace<'static>, Books) {
    let namespace = installed.namespace("bad").unwrap();
    let listener = installed.cluster.serve(HOST, 443).unwrap();
    let books = Books::on(listener, HOST).unwrap();
    namespace.apply(&declared(&books)).unwrap();
    namespace
        .start("agent", &agent(&["sleep", "inf"]))
        .unwrap_or_else(|error| panic!("{error}\n{}", installed.standing()));
    (namespace, books)
}

#[test]
fn bad_requests_from_an_agents_container_are_refused_and_recorded_and_no_byte_of_them_leaves() {
    let Some(installed) = shared() else { return };
    let (namespace, books) = shop(installed);
    let provider = installed.cluster.resolve(HOST).unwrap();
    let provider = IpAddr::from(*provider.first().unwrap());
    let pod = Pod::of(&namespace, "agent").unwrap();
    let sniffer = pod.sniffer().unwrap();
    let mut trial = Trial::of(Sender::of(pod.relay("main").unwrap()), &books);
    let (bad, harmless) = bad_and_harmless();
    let bad = some(bad);

    trial.bad(&bad);
    let frames = sniffer.so_far().unwrap();
    let left = pod.undecided(&frames, &[], &[HOST]);
    assert_eq!(left, Vec::<String>::new(), "not even a connection");

    trial.without_faults(&bad);
    trial.harmless(&harmless);
    trial.behind_good_ones();
    let frames = sniffer.so_far().unwrap();
    let left = pod.undecided(&frames, &[provider], &[HOST]);
    assert_eq!(left, Vec::<String>::new());
    let found = pod.undecided(&frames, &[], &[HOST]);
    assert_ne!(found, Vec::<String>::new(), "what arrives is seen to leave");

    let seen = trial.end();
    eventually(PATIENCE, || {
        let leaves = installed.leaves(&namespace)?;
        let records = leaves.iter().filter_map(|leaf| leaf.get("r")).cloned();
        seen.on_the_record(&records.collect::<Vec<_>>())
    })
    .unwrap();
}

/// A pod that nobody governs.
const FREE: &str = "apiVersion: v1
kind: Pod
metadata: {name: free}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: 'actpass.test/agent-curl:test', imagePullPolicy: Never, command: [sleep, inf]}
";

#[test]
fn from_a_container_without_a_sidecar_each_byte_of_bad_requests_arrives() {
    const HOST: &str = "free.shop.test";
    let Some(installed) = shared() else { return };
    let listener = installed.cluster.serve(HOST, 443).unwrap();
    let books = Books::silent(listener, HOST).unwrap();
    let namespace = installed.cluster.namespace("free").unwrap();
    namespace.start("free", FREE).unwrap();
    let pod = Pod::of(&namespace, "free").unwrap();
    let authority = &books.authority.pem;
    let agent = pod.relay_trusting("main", authority).unwrap();
    let mut sender = Sender::to(HOST, agent);
    for bytes in some(pairs()).into_iter().map(|it| it.bad).chain(writes()) {
        sender.send_all(&bytes);
        let kept = books.take();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!((kept.connections, &kept.rest), (1, &bytes), "{text}");
    }
}
