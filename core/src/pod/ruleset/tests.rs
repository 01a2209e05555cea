use super::*;

const MARKS: Marks = Marks {
    packet: 0x5a17_c3e1,
    connection: 0xa97,
};

fn interfaces(names: &[&str]) -> BTreeSet<Interface> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn ruleset(inbound: &[u16], names: &[&str]) -> Result<Ruleset, RulesetError> {
    let inbound = inbound.iter().copied().collect();
    Ruleset::new(41337, inbound, MARKS, interfaces(names))
}

#[test]
fn the_whole_text_for_one_port_and_two_interfaces() {
    let text = ruleset(&[9090, 8080], &["eth0", "net1"]).unwrap().text();
    insta::assert_snapshot!(text);
}

#[test]
fn without_inbound_ports_the_set_is_empty_and_the_rest_the_same() {
    let none = ruleset(&[], &["eth0"]).unwrap().text();
    let one = ruleset(&[8080], &["eth0"]).unwrap().text();
    assert_eq!(none, one.replace(" elements = { 8080 };", ""));
}

#[test]
fn parameters_that_would_open_the_fence_are_refused() {
    struct Case {
        name: &'static str,
        given: Result<Ruleset, RulesetError>,
        want: RulesetError,
    }
    let with = |uid, marks| Ruleset::new(uid, BTreeSet::new(), marks, interfaces(&["eth0"]));
    let many: Vec<u16> = (1..=65).collect();
    for case in [
        Case {
            name: "root is the sidecar",
            given: with(0, MARKS),
            want: RulesetError::Uid(0),
        },
        Case {
            name: "the kernel's `no uid` is the sidecar",
            given: with(u32::MAX, MARKS),
            want: RulesetError::Uid(u32::MAX),
        },
        Case {
            name: "every packet carries the packet mark",
            given: with(1, Marks { packet: 0, ..MARKS }),
            want: RulesetError::Mark,
        },
        Case {
            name: "every connection carries the connection mark",
            given: with(
                1,
                Marks {
                    connection: 0,
                    ..MARKS
                },
            ),
            want: RulesetError::Mark,
        },
        Case {
            name: "port 0",
            given: ruleset(&[0], &["eth0"]),
            want: RulesetError::Inbound(0),
        },
        Case {
            name: "the transparent listener is an agent's",
            given: ruleset(&[8080, CAPTURE_PORT], &["eth0"]),
            want: RulesetError::Inbound(CAPTURE_PORT),
        },
        Case {
            name: "the metrics are an agent's",
            given: ruleset(&[METRICS_PORT], &["eth0"]),
            want: RulesetError::Inbound(METRICS_PORT),
        },
        Case {
            name: "too many ports",
            given: ruleset(&many, &["eth0"]),
            want: RulesetError::InboundMany(65),
        },
        Case {
            name: "no interface",
            given: ruleset(&[], &[]),
            want: RulesetError::NoInterface,
        },
    ] {
        assert_eq!(case.given, Err(case.want), "{}", case.name);
    }
}

#[test]
fn names_that_could_write_rules_are_no_interfaces() {
    for name in [
        "eth0",
        "net1",
        "eth0.100",
        "veth-1_a",
        "a:b@c",
        "abcdefghijklmno",
    ] {
        assert_eq!(name.parse::<Interface>().unwrap().as_str(), name);
    }
    for name in [
        "",
        "lo",
        ".",
        "..",
        "eth0\" priority 0; policy accept; }",
        "eth 0",
        "eth0\n",
        "ethé",
        "$ANY",
        "eth*",
        "abcdefghijklmnop",
    ] {
        assert!(name.parse::<Interface>().is_err(), "{name}");
    }
}
