//! Which families of addresses a pod has: one is there where an interface other than `lo` has an address of it and a route leads
//! out by one, to wherever.

use std::io::{self, ErrorKind};

/// What a pod has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Families {
    /// IPv4.
    pub(super) v4: bool,
    /// IPv6.
    pub(super) v6: bool,
}

/// `RTF_REJECT` of `linux/route.h`: unreachable, prohibited, a black hole.
const REJECT: u32 = 0x0200;

/// `RTF_LOCAL` of `linux/ipv6_route.h`: to an address of the pod's own.
const LOCAL: u32 = 0x8000_0000;

/// What there is in this process's network. What cannot be read is taken to be there, so that it is tried.
pub(super) fn present() -> Families {
    let both = |routes: &str, addresses: &str, has: fn(&str, &str) -> bool| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}"));
        match (read(routes), read(addresses)) {
            (Ok(routes), Ok(addresses)) => has(&routes, &addresses),
            (Err(error), _) | (_, Err(error)) => !is_not_built(&error),
        }
    };
    Families {
        v4: both("route", "fib_trie", has_v4),
        v6: both("ipv6_route", "if_inet6", has_v6),
    }
}

/// A kernel without a family has no file of it.
fn is_not_built(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// By `/proc/net/route` and `/proc/net/fib_trie`.
fn has_v4(routes: &str, trie: &str) -> bool {
    let leads_out = |line: &str| {
        let mut words = line.split_whitespace();
        let (interface, flags) = (words.next(), words.nth(2));
        flags.and_then(hex).is_some_and(|it| it & REJECT == 0)
            && !matches!(interface, None | Some("lo" | "*"))
    };
    // Below each address stand its prefixes; those of hosts are the pod's own.
    let mut address = "";
    let own = trie.lines().any(|line| {
        let line = line.trim();
        address = line.strip_prefix("|-- ").unwrap_or(address);
        line == "/32 host LOCAL" && !address.starts_with("127.")
    });
    own && routes.lines().skip(1).any(leads_out)
}

/// By `/proc/net/ipv6_route` and `/proc/net/if_inet6`.
fn has_v6(routes: &str, addresses: &str) -> bool {
    let leads_out = |line: &str| {
        let mut words = line.split_whitespace();
        let (to, flags, interface) = (words.next(), words.nth(7), words.next());
        flags
            .and_then(hex)
            .is_some_and(|it| it & (REJECT | LOCAL) == 0)
            // Groups and neighbours alone are no way to anywhere.
            && to.is_some_and(|it| !it.starts_with("ff") && !it.starts_with("fe80"))
            && !matches!(interface, None | Some("lo"))
    };
    let is_global = |line: &str| {
        let mut words = line.split_whitespace();
        let (scope, interface) = (words.nth(3), words.nth(1));
        scope == Some("00") && interface != Some("lo")
    };
    addresses.lines().any(is_global) && routes.lines().any(leads_out)
}

fn hex(word: &str) -> Option<u32> {
    u32::from_str_radix(word, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
    const DEFAULT: &str = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n";
    const NEIGHBOURS: &str = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
    const UNREACHABLE: &str = "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\n";

    #[test]
    fn ipv4_is_there_by_an_address_and_a_route_that_leads_out() {
        let own = "|-- 127.0.0.1\n  /32 host LOCAL\n|-- 192.0.2.0\n  /24 link UNICAST\n|-- 192.0.2.2\n  /32 host LOCAL\n";
        let loopback = "|-- 127.0.0.0\n  /8 host LOCAL\n|-- 127.0.0.1\n  /32 host LOCAL\n";
        for (routes, trie, want) in [
            (&[DEFAULT, NEIGHBOURS][..], own, true),
            (&[NEIGHBOURS], own, true),
            // Who cannot go anywhere may still go to those beside it.
            (&[UNREACHABLE, NEIGHBOURS], own, true),
            (&[UNREACHABLE], own, false),
            (&[DEFAULT], loopback, false),
            (&[], own, false),
        ] {
            let routes = [&[HEAD], routes].concat().concat();
            assert_eq!(has_v4(&routes, trie), want, "{routes}{trie}");
        }
    }

    #[test]
    fn ipv6_is_there_by_an_address_and_a_route_that_leads_out() {
        let route = |to: &str, flags: &str, interface: &str| {
            let none = "0".repeat(32);
            format!(
                "{to:0<32} 40 {none} 00 {none} 00000100 00000002 00000000 {flags} {interface:>8}\n"
            )
        };
        let link = route("fe80", "00000001", "eth0") + &route("ff", "00000001", "eth0");
        let own = route("20010db80001", "80200001", "eth0");
        let (out, dead) = (route("", "00000003", "eth0"), route("", "00200200", "lo"));
        let address = |scope: &str, interface: &str| {
            format!("20010db8000100000000000000000002 03 40 {scope} 82 {interface:>8}\n")
        };
        let (global, local) = (address("00", "eth0"), address("20", "eth0"));
        for (routes, addresses, want) in [
            (link.clone() + &own + &out + &dead, &global, true),
            (link.clone() + &own + &dead, &global, false),
            (link.clone() + &out, &local, false),
            (out, &address("10", "lo"), false),
            (
                route("20010db80001", "00000001", "eth0") + &dead,
                &global,
                true,
            ),
            (String::new(), &global, false),
        ] {
            assert_eq!(has_v6(&routes, addresses), want, "{routes}{addresses}");
        }
    }
}
