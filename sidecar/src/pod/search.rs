//! The search list of a pod: every lookup of a name with few dots is first one under each of its domains.

use crate::dns::{DnsEvent, INTERNAL_NAME, Zone};

/// The name that the verifier asks for, which nobody declares.
pub const CANARY: &str = "canary.actpass.internal";

/// Most domains of a search list (`resolv.conf(5)`: six, and some resolvers take more).
const DOMAINS_MAX: usize = 32;

/// Domains that a resolver appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search(Vec<String>);

impl Search {
    /// Those of a `resolv.conf`: the last `search` line counts.
    pub fn of(resolv_conf: &str) -> Self {
        let last = resolv_conf
            .lines()
            .filter_map(|line| line.trim().strip_prefix("search"))
            .rfind(|rest| rest.starts_with([' ', '\t']));
        let domains = last.unwrap_or_default().split_whitespace();
        let domains = domains.map(|domain| domain.trim_end_matches('.').to_ascii_lowercase());
        Self(domains.take(DOMAINS_MAX).collect())
    }

    /// What is worth a record of a name that was asked for: nothing where it is a declared name with a domain of the list
    /// behind it, or the verifier's; else the name without that domain, so that all lookups of one name are one. Names end
    /// in a dot, as [`Zone::answer`] tells them.
    pub fn noted(&self, event: DnsEvent, zone: &Zone) -> Option<DnsEvent> {
        let DnsEvent::Undeclared { name, record_type } = event else {
            return Some(event);
        };
        let whole = name.strip_suffix('.').unwrap_or(&name);
        if whole == CANARY {
            return None;
        }
        let asked = self.asked(whole);
        if asked != whole && (zone.declares(asked) || asked == INTERNAL_NAME) {
            return None;
        }
        let name = format!("{asked}.");
        Some(DnsEvent::Undeclared { name, record_type })
    }

    fn asked<'a>(&self, name: &'a str) -> &'a str {
        let ends = |domain: &String| name.strip_suffix(domain.as_str())?.strip_suffix('.');
        let longest = self.0.iter().filter_map(ends).min_by_key(|rest| rest.len());
        longest.filter(|rest| !rest.is_empty()).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_recorded_once_and_under_the_name_that_was_meant() {
        let search = Search::of(
            "nameserver 10.96.0.10\nsearch old.example\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        );
        let hosts = [
            "api.pay.test".parse().unwrap(),
            "*.shop.test".parse().unwrap(),
        ];
        let zone = Zone::default().with(&hosts).unwrap();
        let cases = [
            ("api.pay.test.shop.svc.cluster.local", None),
            ("api.pay.test.cluster.local", None),
            ("eu.shop.test.svc.cluster.local", None),
            ("actpass.internal.svc.cluster.local", None),
            ("canary.actpass.internal", None),
            ("evil.test.svc.cluster.local", Some("evil.test")),
            ("evil.test", Some("evil.test")),
            ("shop.svc.cluster.local", Some("shop")),
            ("svc.cluster.local", Some("svc")),
            ("cluster.local", Some("cluster.local")),
            ("evil.test.old.example", Some("evil.test.old.example")),
        ];
        for (name, want) in cases {
            let event = DnsEvent::Undeclared {
                name: format!("{name}."),
                record_type: "A".to_owned(),
            };
            let noted = search.noted(event, &zone);
            let got = noted.map(|event| match event {
                DnsEvent::Undeclared { name, .. } => name,
                other => panic!("{other:?}"),
            });
            let want = want.map(|want: &str| format!("{want}."));
            assert_eq!(got, want, "{name}");
        }
        let other = DnsEvent::Malformed { reason: "short" };
        assert!(search.noted(other, &zone).is_some());
    }
}
