//! Names on a real node: what an agent asks for carries nothing out, and a name that is declared leads to nothing that is not its
//! own, whatever the cluster's name server says of it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::process::Command;

use actpass_tests::cluster::Cluster;
use actpass_tests::fenced::{PORT, UPSTREAM};
use actpass_tests::home::text;
use actpass_tests::pod::{FREE, Pod};
use actpass_tests::questions::{
    Answered, Carries, KINDS, NO_SUCH_NAME, Question, Transport, carrying,
};
use actpass_tests::reader::Reader;

/// What the world's name server was asked, line by line: every name that somebody of the cluster passes on.
fn asked(cluster: &Cluster, data: &str) -> Vec<String> {
    let log = fs::read_to_string(cluster.state().join("log/world-dns.log")).unwrap();
    let of_it = log.lines().filter(|it| it.contains(data));
    of_it.map(str::to_owned).collect()
}

/// Sends each of the questions to each of the servers, from that container, and gives what is wrong with the answers.
fn wrongly_answered(pod: &Pod<'_>, servers: &[&str], questions: &[Carries]) -> Vec<String> {
    let mut sent = Vec::new();
    for server in servers {
        for by in [Transport::Udp, Transport::Tcp] {
            sent.extend(questions.iter().map(|it| (*server, by, it)));
        }
    }
    let line = |(server, by, it): &(&str, Transport, &Carries)| {
        let hex = it.question.hex(*by).unwrap();
        format!("{} {server} {hex}\n", by.as_str())
    };
    let lines: String = sent.iter().map(line).collect();
    let path = pod.put("main", "questions", &lines).unwrap();
    let script = format!(
        "while read by at hex; do /opt/attack/attack send $by $at 53 $hex 2>&1; done <{path}"
    );
    let output = pod.namespace.exec(&pod.name, &script).unwrap();
    let said = text(&output);
    let answers: Vec<&str> = said.lines().collect();
    assert_eq!(answers.len(), sent.len(), "{said}");
    let wrong = sent
        .iter()
        .zip(answers)
        .filter_map(|((server, by, it), said)| {
            let got = Answered::read(*by, said);
            let good = got.as_ref().is_ok_and(|got| it.is(*got));
            (!good).then(|| format!("{} {server} {it:?}: {got:?}", by.as_str()))
        });
    wrong.collect()
}

#[test]
fn data_in_names_and_types_leaves_the_pod_in_no_question() {
    let Some(reader) = Reader::open("names") else {
        return;
    };
    let (cluster, domain) = (reader.installed.cluster, &reader.domain);
    let pod = reader.pod();
    let unique = reader.namespace.name.replace("names-", "");
    let data = format!("secret{unique}");
    let (api, below) = (format!("api.{domain}"), format!("out.{domain}"));
    let [v4, v6] = [0, 1].map(|it| pod.addresses.get(it).unwrap().to_string());
    let servers = [
        "10.96.0.10",
        "10.77.0.2",
        "fd77::2",
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "203.0.113.53",
        "2001:db8:ff::53",
        &v4,
        &v6,
    ];
    let sniffer = pod.sniffer().unwrap();
    let questions = carrying(&data, &api, &below);
    let wrong = wrongly_answered(&pod, &servers, &questions);
    assert_eq!(wrong, Vec::<String>::new());
    // 64 names below a wildcard live at once; of further ones nobody is asked either.
    let name = |it: u8| format!("{data}-{it}.{below}");
    let places = |code: u8, numbers: Range<u8>| {
        let it = |number| Carries {
            question: Question::new(&name(number), 1),
            code: Some(code),
            records: 1,
        };
        numbers.map(it).collect::<Vec<Carries>>()
    };
    let more = [places(0, 0..64), places(NO_SUCH_NAME, 64..70)].concat();
    let wrong = wrongly_answered(&pod, &["10.96.0.10"], &more);
    assert_eq!(wrong, Vec::<String>::new());
    // Requests that are denied.
    let denied = reader.gets(&name(0), PORT, "-X POST -d x");
    assert!(denied.contains("actpass_denied"), "{denied}");
    let other = reader.gets(&name(0), PORT, &format!("-H 'host: {}'", name(1)));
    assert!(other.contains("host_mismatch"), "{other}");

    let frames = sniffer.seen().unwrap();
    let left = pod.undecided(&frames, &[], &[]);
    assert_eq!(left, Vec::<String>::new());
    assert!(!frames.iter().any(|it| it.holds(data.as_bytes())));
    assert_eq!(asked(cluster, &data), Vec::<String>::new());
    let undeclared = KINDS.map(|(kind, said)| format!("{said} t{kind}.{data}.leak.example"));
    let also = [
        format!("A a.{data}.leak.example"),
        name(69),
        "DNS query".to_owned(),
    ];
    reader.recorded(&[undeclared.to_vec(), also.to_vec()].concat());

    // A request that is allowed asks for its own name, and nothing else.
    reader.named(&[(name(0), vec![UPSTREAM[0].parse().unwrap()])]);
    assert_eq!(reader.gets(&name(0), PORT, ""), "200 upstream");
    let frames = sniffer.seen().unwrap();
    assert!(frames.iter().any(|it| it.holds(data.as_bytes())));
    let asked_for = asked(cluster, &data);
    let own = asked_for.iter().filter(|it| it.contains(&name(0)));
    assert!(
        own.count() == asked_for.len() && !asked_for.is_empty(),
        "{asked_for:?}"
    );

    // The same questions of a pod without a fence reach the name server.
    let free = cluster.namespace("asks").unwrap();
    free.start("free", FREE).unwrap();
    let free = Pod::of(&free, "free").unwrap();
    free.plant("main").unwrap();
    let data = format!("open{unique}");
    wrongly_answered(&free, &["10.96.0.10"], &carrying(&data, &api, &below));
    let asked = asked(cluster, &data).concat();
    for (kind, _) in KINDS {
        let name = format!("t{kind}.{data}.leak.example");
        assert!(asked.contains(&name), "{name}: {asked}");
    }
}

/// A name, and the addresses that it leads to.
type Name = (String, Vec<IpAddr>);

/// Names below `domain` that lead to one address each, and to the same beside the world's.
fn leading(domain: &str, to: &[&str]) -> Vec<Name> {
    let world = UPSTREAM.map(|it| it.parse().unwrap());
    let of_one = |(number, address): (usize, &&str)| {
        let address: IpAddr = address.parse().unwrap();
        let beside = [&[address][..], &world].concat();
        [
            (format!("alone{number}.{domain}"), vec![address]),
            (format!("beside{number}.{domain}"), beside),
        ]
    };
    to.iter().enumerate().flat_map(of_one).collect()
}

/// Names that lead to one of these addresses alone.
fn alone<'a>(names: &'a [Name], to: &[&str]) -> Vec<&'a str> {
    let is =
        |it: &&Name| matches!(it.1.as_slice(), [one] if to.contains(&one.to_string().as_str()));
    names.iter().filter(is).map(|it| it.0.as_str()).collect()
}

/// Asks for each, and gives what is wrong: a name without an allowed address leads nowhere, one with one leads there.
fn wrongly_led(reader: &Reader, names: &[Name]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, addresses) in names {
        let before = reader.reached().len();
        let said = reader.gets(name, PORT, "");
        let reached = reader.reached().len() - before;
        let good = match addresses.len() {
            1 => said.contains("upstream_failed") && reached == 0,
            _ => said == "200 upstream" && reached == 1,
        };
        if !good {
            wrong.push(format!("{name} {addresses:?}: {said}, {reached} reached"));
        }
    }
    wrong
}

/// `nft` in the pod's network.
fn nft(pod: &Pod<'_>, words: &str) -> String {
    let network = format!("--net=/proc/{}/ns/net", pod.sandbox().unwrap());
    let output = Command::new("nsenter")
        .args([&network, "nft", "--handle"])
        .args(words.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "{words}: {}", text(&output));
    text(&output)
}

/// Takes away the rule by which the sidecar sends nothing to its own pod.
fn without_the_rule(pod: &Pod<'_>) {
    let rules = nft(pod, "list chain inet actpass sidecar");
    let rule = rules
        .lines()
        .find(|it| it.contains("oifname \"lo\"") && it.contains("reject"));
    let (_, handle) = rule.unwrap().rsplit_once(' ').unwrap();
    nft(
        pod,
        &format!("delete rule inet actpass sidecar handle {handle}"),
    );
}

/// Never an upstream's, whatever is declared.
const NEVER: [&str; 6] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "::",
];

/// The cluster's: services, the node, its end of the pods' links. No public name leads there.
const CLUSTERS: [&str; 5] = [
    "10.96.0.1",
    "10.96.0.10",
    "10.77.0.1",
    "10.88.0.1",
    "fd77::1",
];

/// Ports of the sidecar.
const OWN: [u16; 5] = [15_000, 15_001, 15_021, 15_053, 15_090];

#[test]
fn a_name_that_leads_to_the_pod_itself_or_to_the_cluster_is_not_dialled() {
    let Some(reader) = Reader::open("leads") else {
        return;
    };
    let domain = &reader.domain;
    let pod = reader.pod();
    // An agent's own server, at all addresses of the pod: whom the sidecar must not ask.
    reader.runs("/opt/attack/attack visits 8080 >>/tmp/visits 2>&1 &");
    let visits = || reader.runs("cat /tmp/visits; : >/tmp/visits");
    let [v4, v6] = [0, 1].map(|it| pod.addresses.get(it).unwrap().to_string());
    let pods = ["127.0.0.1", "127.9.8.7", "::1", &v4, &v6];
    for at in pods {
        let at = if at.contains(':') {
            format!("[{at}]")
        } else {
            at.to_owned()
        };
        reader.runs(&format!(
            "curl -s -m 2 --retry 20 --retry-connrefused --retry-delay 1 http://{at}:8080"
        ));
    }
    assert_eq!(visits(), pods.join("\n"), "the agent itself may ask there");

    let inner = leading(&format!("in.{domain}"), &[&pods[..], &NEVER].concat());
    let outer = [&pods[..], &NEVER, &CLUSTERS].concat();
    let outer = leading(&format!("out.{domain}"), &outer);
    let six = (
        format!("six.out.{domain}"),
        vec![UPSTREAM[1].parse().unwrap()],
    );
    reader.named(&[&inner[..], &outer, std::slice::from_ref(&six)].concat());
    let before = reader.reached().len();
    assert_eq!(reader.gets(&six.0, PORT, ""), "200 upstream");
    assert_eq!(
        reader.reached().get(before..).unwrap(),
        [UPSTREAM[1]],
        "IPv6 leads to the world too"
    );

    let sniffer = pod.sniffer().unwrap();
    let mut wrong = wrongly_led(&reader, &inner);
    wrong.extend(wrongly_led(&reader, &outer));
    // The sidecar's own ports, and the agent's by way of a Service: nobody declared that port as the pod's.
    let service = format!("self.{}.svc", reader.namespace.name);
    let own = alone(&inner, &pods);
    let own = own.iter().flat_map(|it| OWN.map(|port| (*it, port)));
    for (name, port) in own.chain([(service.as_str(), PORT)]) {
        let said = reader.gets(name, port, "");
        if !said.contains("upstream_failed") {
            wrong.push(format!("{name}:{port}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(visits(), "", "the agent's ports were asked");
    let frames = sniffer.seen().unwrap();
    let address = ["get", "service", "self", "-o=jsonpath={.spec.clusterIP}"];
    let address = reader.namespace.ask(&address).unwrap();
    let decided = [UPSTREAM[0], UPSTREAM[1], &address].map(|it| it.parse().unwrap());
    let left = pod.undecided(&frames, &decided, &[domain, &service]);
    assert_eq!(left, Vec::<String>::new());
    // Each refusal is on the record, with its reason.
    let said = |of: &str, to: &[&str], names: &[Name]| -> Vec<String> {
        let names = alone(names, to).into_iter();
        names
            .map(|it| of.replace("NAME", &format!("`{it}`")))
            .collect()
    };
    let everywhere = [&pods[..], &NEVER, &CLUSTERS].concat();
    let reasons = [
        said("NAME resolves to no public address", &everywhere, &outer),
        said(
            "NAME is at no address that an upstream may have",
            &NEVER,
            &inner,
        ),
        said("no connection to NAME", &pods, &inner),
    ];
    assert_eq!(reasons.concat().len(), 16 + 6 + 5);
    reader.recorded(&reasons.concat());

    // What holds it where names may be those of the cluster: that the port is not declared, and one rule.
    nft(&pod, "add element inet actpass inb { 8080 }");
    reader.gets(&service, PORT, "");
    assert_eq!(visits(), v4, "a declared port answers a Service's");
    without_the_rule(&pod);
    for name in alone(&inner, &pods) {
        reader.gets(name, PORT, "");
    }
    assert_eq!(visits(), pods.join("\n"), "without that rule they are");
}
