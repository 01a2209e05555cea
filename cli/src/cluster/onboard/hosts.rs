//! Hosts that a template names. Not all that an agent will call, but often the first.

use std::collections::BTreeSet;

use serde_json::Value;

/// What ends the host of a URL.
const HOST_ENDS: [char; 12] = ['/', ':', '?', '#', '"', '\'', ' ', ',', ';', ')', '}', '\\'];

/// Hosts of URLs in environment, command and arguments that no pattern covers.
pub(super) fn undeclared(pod: &Value, declared: &[String]) -> BTreeSet<String> {
    let mut texts = Vec::new();
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in pod
            .pointer(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let list = |key| {
                container
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
            };
            texts.extend(
                list("command")
                    .chain(list("args"))
                    .filter_map(Value::as_str),
            );
            texts.extend(list("env").filter_map(|it| it.get("value")?.as_str()));
        }
    }
    let hosts = texts.into_iter().flat_map(hosts);
    hosts
        .filter(|host| !is_own(host) && !declared.iter().any(|it| covers(it, host)))
        .collect()
}

/// The hosts of URLs in a text.
fn hosts(text: &str) -> Vec<String> {
    let after = text.split("://").skip(1);
    let hosts = after.filter_map(|rest| {
        let end = rest.split('/').next()?;
        // `user:password@host`: none of them is shown.
        let host = end.rsplit('@').next()?;
        let host = host.split(HOST_ENDS).next()?.trim_end_matches('.');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !host.is_empty() && host.bytes().all(allowed);
        is_name.then(|| host.to_ascii_lowercase())
    });
    hosts.collect()
}

/// What never leaves the pod.
fn is_own(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host.ends_with("actpass.internal")
}

/// As Upstreams have it: `*.` covers exactly one label.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_of_a_template_are_those_of_its_urls() {
        struct Case {
            name: &'static str,
            given: &'static str,
            want: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "a URL",
                given: "https://API.example.com/v1",
                want: &["api.example.com"],
            },
            Case {
                name: "with a password and a port",
                given: "postgres://u:p4ss@db.shop.svc:5432/x",
                want: &["db.shop.svc"],
            },
            Case {
                name: "several",
                given: "--a=http://a.example,http://b.example:80",
                want: &["a.example", "b.example"],
            },
            Case {
                name: "one that is declared, exact and by a wildcard",
                given: "https://api.stripe.com https://eu.hooks.example",
                want: &[],
            },
            Case {
                name: "its own",
                given: "http://localhost:8080 http://127.0.0.1 http://stripe.actpass.internal",
                want: &[],
            },
            Case {
                name: "one that is known only later",
                given: "https://$(HOST)/v1",
                want: &[],
            },
            Case {
                name: "no URL",
                given: "example.com",
                want: &[],
            },
        ];
        let declared = ["api.stripe.com".to_owned(), "*.hooks.example".to_owned()];
        for Case { name, given, want } in cases {
            let pod = json!({"spec": {"containers": [{"env": [{"name": "A", "value": given}]}]}});
            let found = undeclared(&pod, &declared);
            assert_eq!(found.iter().collect::<Vec<_>>(), want, "{name}");
        }
    }
}
