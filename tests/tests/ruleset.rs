//! The packet filter of a pod against everything the attack kit tries, without the pod around it: what the rules hold alone,
//! which of them holds what, and what they rest on.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;

use actpass_sidecar::pod::ways;
use actpass_tests::attack::{ATTEMPTS, Shows, closed_without_a_fence};
use actpass_tests::frames::Sniffer;
use actpass_tests::lab::{Agent, Lab, in_a_lab, left, rules};
use actpass_tests::link;
use actpass_tests::outside::in_a_network_of_our_own;

#[test]
fn without_the_rules_every_way_is_open() {
    in_a_lab("without_the_rules_every_way_is_open", || {
        let (said, frames) = Lab::new().with_sidecar().all(Agent::Free);
        let closed = closed_without_a_fence(&said, &frames, |_| false);
        assert!(closed.is_empty(), "closed without a fence: {closed:#?}");
    });
}

/// A sniffer that is behind says so: what it did not see may have left.
#[test]
fn a_sniffer_that_lost_frames_fails_its_test() {
    in_a_network_of_our_own("a_sniffer_that_lost_frames_fails_its_test", || {
        link::ip("link set lo up");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = socket.local_addr().unwrap();
        let send = |count| {
            for _ in 0..count {
                socket.send_to(b"frame", there).unwrap();
            }
        };
        // The kernel gives the least that there is, about 2 KiB.
        let narrow = Sniffer::with_room("lo", 1).unwrap();
        let wide = Sniffer::on("lo").unwrap();
        send(1);
        assert_eq!(narrow.seen().unwrap().len(), 1);
        assert_eq!(wide.seen().unwrap().len(), 1);
        send(200);
        let lost = narrow.so_far().unwrap_err().to_string();
        assert!(lost.contains("frames were lost"), "{lost}");
        assert_eq!(wide.seen().unwrap().len(), 200);
        link::ip("link set lo down");
        assert!(wide.seen().is_err(), "a link that is gone shows nothing");
    });
}

/// What a pod tries of itself before its agent starts: a check that says nothing here says nothing anywhere.
#[test]
fn without_the_rules_each_check_of_a_pod_finds_its_way_open() {
    in_a_lab(
        "without_the_rules_each_check_of_a_pod_finds_its_way_open",
        || {
            let _lab = Lab::new().with_sidecar();
            let pass = ways::pass("192.0.2.1".parse().unwrap(), 0);
            let found: Vec<&str> = pass.wrong.iter().map(|it| it.way.as_str()).collect();
            let all = [
                "proxy",
                "captured",
                "undeclared_name",
                "udp",
                "ping",
                "own_ports",
                "raw_socket",
                "packet_socket",
                "vsock",
            ];
            // Where the kernel has no such sockets, nobody has.
            let (_, without_vsock) = all.split_last().unwrap();
            assert!(found == all || found == without_vsock, "{pass:?}");
        },
    );
}

#[test]
fn behind_the_rules_nothing_leaves_and_nothing_hangs() {
    in_a_lab("behind_the_rules_nothing_leaves_and_nothing_hangs", || {
        let lab = Lab::new().with_sidecar();
        lab.shut(&rules(&["eth0"]));
        // Root is fenced in as everybody is.
        let (_, frames) = lab.all(Agent::Root);
        assert_eq!(left(&frames), Vec::<String>::new(), "as root");
        let (said, frames) = lab.all(Agent::Confined);
        assert_eq!(left(&frames), Vec::<String>::new());
        for it in said.iter().filter(|it| it.attempt.refused) {
            // Whatever is no packet is held by the pod's spec, but for the sidecar's ports.
            let is_port = matches!(it.attempt.number, 21 | 22);
            if it.attempt.shows != Shows::Says || is_port {
                assert!(!it.open, "{} is not refused", it.attempt.name);
            }
        }
        assert!(ATTEMPTS.len() > 90, "all of them were tried");
    });
}

/// A part of the rules taken away, and what then leaves.
struct Without {
    what: &'static str,
    /// Regular lines that are left out, by what they hold.
    lines: &'static [&'static str],
    /// Chains that are left out, by their names.
    chains: &'static [&'static str],
    agent: Agent,
    attempts: &'static [&'static str],
}

/// What the packet filters of others leave out, and we did at first.
const WITHOUT: &[Without] = &[
    Without {
        what: "a source that is not the pod's makes the sidecar answer to wherever the agent writes",
        lines: &["fib saddr type != local", "th sport @own counter drop"],
        chains: &[],
        agent: Agent::Confined,
        attempts: &["freebind_tcp6"],
    },
    Without {
        what: "a socket bound to an interface carries what was steered to loopback out of it",
        lines: &[],
        chains: &["fence", "eg0"],
        agent: Agent::Confined,
        attempts: &["device_tcp4"],
    },
    Without {
        what: "frames made by hand are no packets",
        lines: &[],
        chains: &["eg0"],
        agent: Agent::With("net_raw"),
        attempts: &["packet", "packet_past_queues", "packet_as_arp"],
    },
    Without {
        what: "packets that the kernel makes for an agent have no owner",
        lines: &["    counter drop", "policy drop"],
        chains: &["fence", "eg0"],
        agent: Agent::Confined,
        attempts: &["igmp", "mld"],
    },
    Without {
        what: "to steer connections alone, as meshes do",
        lines: &[],
        chains: &["out", "fence", "eg0"],
        agent: Agent::Confined,
        attempts: &[
            "udp4",
            "udp6",
            "quic4",
            "ping4",
            "ping6",
            "udp_lite4",
            "igmp",
            "mld",
            "device_tcp4",
        ],
    },
];

/// The rules but for those of `without`; a chain that is left out accepts.
fn rules_without(without: &Without) -> String {
    let (mut kept, mut left_out) = (String::new(), false);
    for line in rules(&["eth0"]).lines() {
        let begins = |chain: &&str| line.trim_start().starts_with(&format!("chain {chain} {{"));
        left_out |= without.chains.iter().any(begins);
        let is_whole = line.trim_end().ends_with('}');
        if left_out {
            left_out = line != "  }" && !(line.contains("chain") && is_whole);
            continue;
        }
        if line.contains("policy drop") && without.lines.contains(&"policy drop") {
            kept += &line.replace("policy drop", "policy accept");
        } else if !without.lines.iter().any(|it| line.contains(it)) {
            kept += line;
        }
        kept.push('\n');
    }
    kept
}

#[test]
fn each_part_of_the_rules_holds_what_else_would_leave() {
    in_a_lab("each_part_of_the_rules_holds_what_else_would_leave", || {
        let lab = Lab::new().with_sidecar();
        for without in WITHOUT {
            lab.shut(&rules(&["eth0"]));
            let with = left(&lab.some(without.agent, without.attempts));
            assert_eq!(with, Vec::<String>::new(), "{}", without.what);
            for attempt in without.attempts {
                lab.shut(&rules_without(without));
                let frames = left(&lab.some(without.agent, &[attempt]));
                assert!(
                    !frames.is_empty(),
                    "{}: {attempt} does not leave",
                    without.what
                );
            }
        }
    });
}

/// What the rules cannot know: the pod's spec sees to it, and the webhook to that.
#[test]
fn whoever_becomes_the_sidecar_or_root_of_the_network_walks_out() {
    in_a_lab(
        "whoever_becomes_the_sidecar_or_root_of_the_network_walks_out",
        || {
            let lab = Lab::new().with_sidecar();
            for (agent, attempt) in [
                (Agent::With("setuid"), "set_uid"),
                (Agent::Gaining, "setuid_file"),
                (Agent::Gaining, "file_capability"),
                (Agent::Gaining, "newuidmap"),
                (Agent::With("net_admin"), "flush"),
            ] {
                lab.shut(&rules(&["eth0"]));
                let frames = left(&lab.some(Agent::Confined, &[attempt]));
                assert_eq!(frames, Vec::<String>::new(), "{attempt}");
                let frames = left(&lab.some(agent, &[attempt]));
                assert!(!frames.is_empty(), "{agent:?}: {attempt} does not leave");
            }
        },
    );
}

/// As an init container before ours would, if admission let one in.
#[test]
fn what_was_opened_before_the_rules_is_of_no_use_after() {
    in_a_lab(
        "what_was_opened_before_the_rules_is_of_no_use_after",
        || {
            // Conntrack knows these connections already, or does not.
            for warm in [false, true] {
                let lab = Lab::new().with_sidecar();
                if warm {
                    lab.load("table inet t { chain c { type filter hook output priority 0; ct state new accept\n}\n}");
                }
                let go = tempfile::tempdir().unwrap();
                let go = go.path().join("go");
                let mut held = lab.kit(Agent::Confined);
                let mut held = held
                    .arg("hold")
                    .arg(&go)
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut said = BufReader::new(held.stdout.take().unwrap()).lines();
                assert_eq!(said.next().unwrap().unwrap(), "held");
                // Connections that nobody answers are asked for again; after the rules are there they are not.
                assert!(!left(&lab.seen()).is_empty(), "its connections left before");
                lab.shut(&rules(&["eth0"]));
                std::fs::write(&go, "").unwrap();
                let said: Vec<String> = said.map_while(Result::ok).collect();
                assert_eq!(said.len(), 12, "{said:?}");
                assert!(held.wait().unwrap().success());
                assert_eq!(left(&lab.seen()), Vec::<String>::new(), "{said:?}");
            }
        },
    );
}

/// An interface that the rules do not know, since it came after them: locks 1 and 2 are there for it too, lock 3 is not.
#[test]
fn an_interface_that_comes_later_has_two_locks_of_three() {
    in_a_lab(
        "an_interface_that_comes_later_has_two_locks_of_three",
        || {
            let lab = Lab::new().with_sidecar();
            lab.shut(&rules(&["eth0"]));
            // All ways lead by the later one. A new kernel would take one of the same name for the one that the rules name.
            link::ip("link set eth0 down");
            link::ip("link add net1 type veth peer name far");
            link::ip("link set far up");
            link::ip("link set net1 up");
            for [address, router] in [
                ["192.0.2.3", "192.0.2.9"],
                ["2001:db8:2::3", "2001:db8:2::9"],
            ] {
                link::addressed_at("net1", address, router);
            }
            let sniffer = Sniffer::on("far").unwrap();
            let tries = |agent: Agent, names: &[&str]| {
                let mut kit = lab.kit(agent);
                kit.env("INTERFACE", "net1").args(names).output().unwrap();
                left(&sniffer.seen().unwrap())
            };
            sniffer.seen().unwrap();
            let all: Vec<&str> = ATTEMPTS.iter().map(|it| it.name).collect();
            assert_eq!(tries(Agent::Confined, &all), Vec::<String>::new());
            // What lock 3 alone holds takes a capability that no agent has.
            let frames = ["packet", "packet_past_queues", "packet_as_arp"];
            for attempt in frames {
                let seen = tries(Agent::With("net_raw"), &[attempt]);
                assert!(!seen.is_empty(), "{attempt} does not leave");
            }
            lab.load(&rules(&["eth0", "net1"]));
            assert_eq!(tries(Agent::With("net_raw"), &frames), Vec::<String>::new());
            // That the attempts do show on this link.
            lab.load("");
            for attempt in [
                "tcp4",
                "tcp6",
                "udp4",
                "udp6",
                "ping4",
                "device_tcp4",
                "mld",
            ] {
                let seen = tries(Agent::Confined, &[attempt]);
                assert!(
                    !seen.is_empty(),
                    "without the rules {attempt} does not leave"
                );
            }
        },
    );
}

/// A pod with one family of addresses: nothing leaves by that one, and nothing by what the kernel keeps of the other.
#[test]
fn a_pod_with_one_family_is_as_shut_as_one_with_both() {
    in_a_lab("a_pod_with_one_family_is_as_shut_as_one_with_both", || {
        let [v4, v6] = [0, 1].map(|it| (link::ADDRESSES[it], link::ROUTERS[it]));
        let switch = |off: &str| {
            for of in ["all", "default", "lo"] {
                let path = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
                std::fs::write(path, off).unwrap();
            }
        };
        for (what, (address, router), off, open, shut) in [
            ("IPv4 alone", v4, "0", ["tcp4", "udp4"], "udp6"),
            ("IPv6 switched off", v4, "1", ["tcp4", "udp4"], "udp6"),
            ("IPv6 alone", v6, "0", ["tcp6", "udp6"], "udp4"),
        ] {
            switch(off);
            let lab = Lab::with(|| link::addressed_as(address, router)).with_sidecar();
            lab.shut(&rules(&["eth0"]));
            for agent in [Agent::Root, Agent::Confined] {
                let (_, frames) = lab.all(agent);
                assert_eq!(left(&frames), Vec::<String>::new(), "{what}, {agent:?}");
            }
            lab.load("");
            for attempt in open {
                let frames = left(&lab.some(Agent::Confined, &[attempt]));
                assert!(!frames.is_empty(), "{what}: {attempt} without the rules");
            }
            let frames = left(&lab.some(Agent::Confined, &[shut]));
            assert_eq!(frames, Vec::<String>::new(), "{what}: there is no other");
        }
    });
}
