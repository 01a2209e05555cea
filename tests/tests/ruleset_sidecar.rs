//! A sidecar behind the rules of its pod: what a name server tells it, what it can be talked into, and of what use to an agent
//! what it has open is.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use actpass_sidecar::pod::ways;
use actpass_tests::fenced::{Fenced, HELD, Lines, PORT, Says, UPSTREAM, taken};
use actpass_tests::frames::Frame;
use actpass_tests::home::text;
use actpass_tests::lab::{Agent, SIDECAR, in_a_lab, rules};
use actpass_tests::link::{ADDRESSES, ROUTERS, ip};
use actpass_tests::questions::{Answered, NO_SUCH_NAME, Question, Transport, carrying};

/// Whom an agent asks for nothing: all of its questions are answered beside it.
const ANYBODY: &str = "203.0.113.53";

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  ports: [8080]
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shops}
spec:
  hosts: ["*.shops.example"]
  ports: [8080]
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: inner}
spec:
  hosts: [db.inner.example]
  ports: [8080]
  addresses: Cluster
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Read
  scope: [{capability: shop.read}, {capability: shops.read}, {capability: inner.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read, shops.read, inner.read]}]
"#;

/// What a name server says of every name; each time the next of them, in turn.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Vec<IpAddr>>>>);

impl Told {
    fn says(&self, turns: &[&[&str]]) {
        let parsed = |turn: &&[&str]| turn.iter().map(|it| it.parse().unwrap()).collect();
        *self.0.lock().unwrap() = turns.iter().map(parsed).collect();
    }

    fn server(&self) -> Says {
        let told = self.0.clone();
        Arc::new(move |_, kind| {
            let mut turns = told.lock().unwrap();
            let said = turns.first().cloned().unwrap_or_default();
            // A lookup asks for both kinds of address.
            if kind == 1 && turns.len() > 1 {
                turns.rotate_left(1);
            }
            said
        })
    }
}

/// An agent's own server, at all addresses of the pod: whom the sidecar must not ask.
fn own_server() -> Lines {
    let listener = TcpListener::bind(("::", PORT)).unwrap();
    let visits = Lines::default();
    let noted = visits.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let at = stream.local_addr().unwrap().ip().to_canonical();
            noted.lock().unwrap().push(at.to_string());
        }
    });
    visits
}

const SHOP: &str = "http://api.shop.example:8080/v1/items";
const INNER: &str = "http://db.inner.example:8080/v1/items";
const FIRST_LINE: &str = "GET /v1/items HTTP/1.1";

#[test]
fn a_declared_name_leads_to_no_address_that_is_not_its_own() {
    in_a_lab(
        "a_declared_name_leads_to_no_address_that_is_not_its_own",
        || {
            let told = Told::default();
            let fenced = Fenced::start(POLICY, told.server());
            let visits = own_server();
            for at in UPSTREAM {
                told.says(&[&[at]]);
                assert_eq!(fenced.curl(&[SHOP]), "upstream", "{at}");
                assert_eq!(taken(&fenced.reached), [format!("{at} {FIRST_LINE}")]);
            }
            // A service's address is what `addresses: Cluster` is for: nobody has this one, but it is dialled.
            told.says(&[&["10.96.0.10"]]);
            fenced.dialled();
            assert!(fenced.curl(&["-m", "1", INNER]).contains("curl: (28)"));
            assert!(
                fenced
                    .dialled()
                    .concat()
                    .contains("> 10.96.0.10, protocol 6")
            );

            let [v4, v6] = ADDRESSES;
            let pods = ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", v4, v6];
            let metadata = ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"];
            let public = [&pods[..], &metadata, &["10.96.0.10", "0.0.0.0"]].concat();
            for (url, refused) in [(SHOP, public), (INNER, [&pods[..], &metadata].concat())] {
                for at in refused {
                    told.says(&[&[at]]);
                    let said = fenced.curl(&[url]);
                    assert!(said.contains("upstream_failed"), "{url} at {at}: {said}");
                    // Who declares them is not told to declare them.
                    let advice = said.contains("declare `addresses: Cluster`");
                    assert_eq!(advice, url == SHOP, "{url} at {at}: {said}");
                    assert_eq!(fenced.dialled(), Vec::<String>::new(), "{url} at {at}");
                    // Beside an address that is allowed, too.
                    told.says(&[&[at, UPSTREAM[0], UPSTREAM[1]]]);
                    fenced.curl(&[url]);
                    fenced.dialled();
                }
            }
            assert_eq!(
                taken(&visits),
                Vec::<String>::new(),
                "agents' ports were asked"
            );
            let reached = taken(&fenced.reached);
            assert!(
                !reached.is_empty(),
                "an allowed address beside another is dialled"
            );

            // What holds it where names may be those of the cluster: the sidecar may not send to the pod itself.
            let rules = rules(&["eth0"]);
            let without = rules.replace(
                "oifname \"lo\" counter reject with icmpx type admin-prohibited",
                "",
            );
            assert_ne!(rules, without);
            fenced.lab.load(&without);
            for at in ["127.0.0.1", "::1", v4, v6] {
                told.says(&[&[at]]);
                fenced.curl(&["-m", "1", INNER]);
                assert_eq!(taken(&visits), [at], "without that rule it does");
            }
            fenced.close().verified().unwrap();
        },
    );
}

#[test]
fn a_name_server_that_changes_its_mind_is_asked_once_for_each_connection() {
    in_a_lab(
        "a_name_server_that_changes_its_mind_is_asked_once_for_each_connection",
        || {
            let told = Told::default();
            let fenced = Fenced::start(POLICY, told.server());
            let visits = own_server();
            told.says(&[
                &[UPSTREAM[0]],
                &["127.0.0.1"],
                &[ADDRESSES[0]],
                &["169.254.169.254"],
            ]);
            for round in 0..5 {
                let said: Vec<String> = (0..4).map(|_| fenced.curl(&[SHOP])).collect();
                let good = said.iter().filter(|it| *it == "upstream").count();
                assert_eq!(good, 1, "round {round}: {said:?}");
                assert_eq!(
                    taken(&fenced.reached),
                    [format!("{} {FIRST_LINE}", UPSTREAM[0])]
                );
                let asked = taken(&fenced.asked);
                let looked_up = asked
                    .iter()
                    .filter(|it| *it == "1 api.shop.example.")
                    .count();
                assert_eq!(looked_up, 4, "one lookup, judged and dialled: {asked:?}");
            }
            assert_eq!(taken(&visits), Vec::<String>::new());
            let to_others = fenced.dialled();
            let elsewhere = to_others
                .iter()
                .find(|it| !it.contains(&format!("> {}", UPSTREAM[0])));
            assert_eq!(elsewhere, None);
            fenced.close().verified().unwrap();
        },
    );
}

/// What comes back of a question.
fn answered(fenced: &Fenced, transport: Transport, question: &Question) -> Answered {
    let by = transport.as_str();
    let args = ["send", by, ANYBODY, "53", &question.hex(transport).unwrap()];
    let output = fenced.lab.kit(Agent::Confined).args(args).output().unwrap();
    Answered::read(transport, &text(&output)).unwrap()
}

#[test]
fn data_in_names_and_types_reaches_no_name_server() {
    in_a_lab("data_in_names_and_types_reaches_no_name_server", || {
        let told = Told::default();
        let fenced = Fenced::start(POLICY, told.server());
        told.says(&[&[UPSTREAM[0]]]);
        for transport in [Transport::Udp, Transport::Tcp] {
            let good = answered(&fenced, transport, &Question::new("api.shop.example", 1));
            assert_eq!((good.code, good.records), (0, 1));
            for it in carrying("secret", "api.shop.example", "shops.example") {
                let got = answered(&fenced, transport, &it.question);
                assert!(it.is(got), "{transport:?} {it:?}: {got:?}");
            }
        }
        // 64 names below a wildcard live at once.
        let codes: Vec<(u8, u32)> = (0..70)
            .map(|it| Question::new(&format!("data{it}.shops.example"), 1))
            .map(|it| answered(&fenced, Transport::Udp, &it))
            .map(|it| (it.code, it.records))
            .collect();
        let live = codes.iter().filter(|it| **it == (0, 1)).count();
        let refused = codes.iter().filter(|it| **it == (NO_SUCH_NAME, 0)).count();
        assert_eq!((live, refused), (64, 6), "{codes:?}");

        // Requests that are denied, to a name that carries data.
        let url = "http://data0.shops.example:8080/v1/items";
        let denied = fenced.curl(&["-X", "POST", "-d", "x", url]);
        assert!(denied.contains("actpass_denied"), "{denied}");
        let other = fenced.curl(&["-H", "host: stolen.shops.example", url]);
        assert!(other.contains("host_mismatch"), "{other}");
        assert_eq!(
            taken(&fenced.asked),
            Vec::<String>::new(),
            "the name server was asked"
        );
        let frames = fenced.lab.seen();
        let asking = frames
            .iter()
            .filter(|it| it.packet.is_some_and(|it| it.ports.1 == 53));
        assert_eq!(asking.count(), 0);
        assert_eq!(taken(&fenced.reached), Vec::<String>::new());

        // One that is allowed asks for its own name, and nothing else.
        assert_eq!(fenced.curl(&[url]), "upstream");
        let asked = taken(&fenced.asked);
        assert!(!asked.is_empty(), "then it is asked");
        assert!(
            asked.iter().all(|it| it.ends_with(" data0.shops.example.")),
            "{asked:?}"
        );
        fenced.close().verified().unwrap();
    });
}

/// What an agent that could write them would gain by other files of its resolver: it asks other names, and names other addresses.
#[test]
fn files_of_the_resolver_lead_nowhere_else() {
    in_a_lab("files_of_the_resolver_lead_nowhere_else", || {
        let told = Told::default();
        let fenced = Fenced::start(POLICY, told.server());
        told.says(&[&[UPSTREAM[0]]]);
        assert_eq!(fenced.curl(&[SHOP]), "upstream");
        let files = tempfile::tempdir().unwrap();
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let put = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let resolv = put(
            "resolv.conf",
            &format!("nameserver {ANYBODY}\nsearch leak.example\n"),
        );
        let names = format!(
            "{} api.shop.example\n203.0.113.9 leak.example\n",
            UPSTREAM[0]
        );
        let (hosts, switch) = (
            put("hosts", &names),
            put("nsswitch.conf", "hosts: files dns\n"),
        );
        let script = format!(
            "mount --bind {resolv} /etc/resolv.conf; mount --bind {hosts} /etc/hosts; mount --bind {switch} /etc/nsswitch.conf; \
             exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- \"$@\""
        );
        let agent = |words: &[&str]| {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "sh", "-c", &script, "sh"])
                .args(words);
            text(&command.output().unwrap())
        };
        fenced.lab.seen();
        taken(&fenced.asked);
        taken(&fenced.reached);
        assert!(
            agent(&["getent", "hosts", "leak.example"]).contains("203.0.113.9"),
            "the file counts"
        );
        for url in [
            SHOP,
            "http://leak.example:8080/v1/items",
            "http://other.leak.example/",
        ] {
            let said = agent(&["curl", "-sS", "-m", "5", url]);
            assert!(said.contains("curl: ("), "{url}: {said}");
        }
        assert_eq!(taken(&fenced.reached), Vec::<String>::new());
        assert_eq!(taken(&fenced.asked), Vec::<String>::new());
        assert_eq!(fenced.sent(), Vec::<String>::new());
        fenced.close().verified().unwrap();
    });
}

/// Source ports of connections that the sidecar has, and of those that ended by a reset, whose entries conntrack still has.
#[test]
fn connections_of_the_sidecar_are_of_no_use_to_an_agent() {
    in_a_lab(
        "connections_of_the_sidecar_are_of_no_use_to_an_agent",
        || {
            let told = Told::default();
            let fenced = Fenced::start(POLICY, told.server());
            let held = format!("http://api.shop.example:8080{HELD}");
            for at in UPSTREAM {
                told.says(&[&[at]]);
                let url = match at.contains(':') {
                    true => format!("http://six.shops.example:8080{HELD}"),
                    false => held.clone(),
                };
                assert_eq!(fenced.curl(&[&url]), "upstream");
            }
            let to_upstream = |frames: &[Frame]| -> Vec<(String, u16)> {
                let packets = frames.iter().filter_map(|it| it.packet);
                let packets = packets.filter(|it| it.ports.1 == PORT);
                let mut ports: Vec<_> = packets.map(|it| (it.to.to_string(), it.ports.0)).collect();
                ports.sort_unstable();
                ports.dedup();
                ports
            };
            let open = to_upstream(&fenced.lab.seen());
            assert_eq!(open.len(), 2, "one connection of each family: {open:?}");
            let stale = ["stale_tcp", "stale_tcp6", "stale_dns4", "stale_dns6"];
            let printed = fenced
                .lab
                .kit(Agent::Confined)
                .args(stale)
                .env("NAME_SERVER", ROUTERS[0])
                .output();
            let printed = text(&printed.unwrap());
            // It found them, and they are the sidecar's.
            for name in ["stale_tcp", "stale_tcp6"] {
                let held = format!("{name}\tclosed\tAddress already in use");
                assert!(printed.contains(&held), "{printed}");
            }
            assert_eq!(fenced.sent(), Vec::<String>::new(), "{printed}");

            // Ended by a reset, so that their ports are free at once.
            fenced.reset();
            let taken_over = |agent: Agent| {
                let mut said = String::new();
                for (at, port) in &open {
                    let own = ADDRESSES[usize::from(at.contains(':'))];
                    let args = ["from", own, &port.to_string(), at, &PORT.to_string()];
                    said += &text(&fenced.lab.kit(agent).args(args).output().unwrap());
                }
                said
            };
            fenced.lab.seen();
            let said = taken_over(Agent::Confined);
            assert!(!said.contains("in use"), "the ports are free: {said}");
            assert_eq!(fenced.sent(), Vec::<String>::new(), "{said}");
            // Whoever is the sidecar does leave by them.
            let uid = SIDECAR.to_string();
            for (at, port) in &open {
                let own = ADDRESSES[usize::from(at.contains(':'))];
                let kit = fenced.lab.kit(Agent::Free);
                let mut as_sidecar = Command::new("setpriv");
                as_sidecar.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]);
                as_sidecar.arg(kit.get_program()).args([
                    "from",
                    own,
                    &port.to_string(),
                    at,
                    &PORT.to_string(),
                ]);
                as_sidecar.output().unwrap();
            }
            assert_eq!(to_upstream(&fenced.lab.seen()), open);
            fenced.close().verified().unwrap();
        },
    );
}

/// A family that a pod does not have is not looked at, and one that it has is, whatever its routes say of one address.
#[test]
fn the_verifier_tries_the_families_that_a_pod_has() {
    in_a_lab("the_verifier_tries_the_families_that_a_pod_has", || {
        let fenced = Fenced::start(POLICY, Told::default().server());
        let found = |way: &str| {
            let pass = ways::pass(ROUTERS[0].parse().unwrap(), 0);
            let wrong = pass.wrong.into_iter().find(|it| it.way == way);
            wrong.map(|it| it.said)
        };
        assert_eq!(
            (found("captured"), found("udp")),
            (None, None),
            "both families"
        );
        // Where the rules see one family only, that is found.
        let rules = rules(&["eth0"]);
        fenced.lab.load(&rules.replace(
            "    meta l4proto tcp redirect to",
            "    meta nfproto ipv4 meta l4proto tcp redirect to",
        ));
        assert!(
            found("captured").is_some_and(|it| it.contains("2001:db8::1")),
            "IPv6 is not captured"
        );
        fenced.lab.load(&rules);

        // An address and neighbours, but no way to the address that is tried: it says so, and does not take it for no IPv6.
        for dead in ["unreachable", "blackhole", "prohibit"] {
            ip(&format!("-6 route replace {dead} 2001:db8::/64"));
            let said = found("captured").unwrap_or_default();
            assert!(said.contains("2001:db8::1 is lost"), "{dead}: {said}");
            ip(&format!("-6 route del {dead} 2001:db8::/64"));
        }
        let default = format!("default via {} dev eth0", ROUTERS[1]);
        ip(&format!("-6 route del {default}"));
        let said = found("captured").unwrap_or_default();
        assert!(said.contains("2001:db8::1 is lost"), "neighbours: {said}");
        ip(&format!("-6 route add {default}"));
        assert_eq!(found("captured"), None);
        // No address: then a route that says "unreachable" is no fault.
        ip("-6 address flush dev eth0 scope global");
        ip("-6 route add unreachable default metric 1");
        assert_eq!(
            (found("captured"), found("udp")),
            (None, None),
            "IPv4 alone"
        );
        fenced.close().verified().unwrap();
    });
}
