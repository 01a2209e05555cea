//! The shipped Upstreams: every capability is reached by a request as an official SDK sends it, and what is not declared
//! is not.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeSet;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::upstream::{ActionSpec, CurrencySource};
use actpass_crds::bundle::Options;
use actpass_crds::catalog::CATALOG;
use actpass_crds::check::check;
use actpass_crds::read::Manifests;
use actpass_sidecar::extract::{Principal, RawRequest, RefusalCode, Refused, extract};
use http::{HeaderMap, HeaderValue, Method};

#[path = "catalog/requests.rs"]
mod requests;

use requests::{FORM, JSON, REQUESTS, Request};

fn options() -> Options {
    Options {
        tenant: "local/default/1".to_owned(),
        environment: None,
    }
}

/// All of it in one bundle, which also shows that no two serve one host.
fn catalog() -> Bundle {
    let mut manifests = Manifests::default();
    for (name, text) in CATALOG {
        manifests.add(name, text);
    }
    let checked = check(&manifests, &options()).unwrap();
    assert_eq!(checked.warnings, []);
    Bundle::new(checked.spec).unwrap()
}

fn read(bundle: &Bundle, upstream: &str, request: &Request) -> Result<Action, Refused> {
    let upstream = bundle.upstream(upstream).unwrap();
    let host = upstream.hosts.first().unwrap().to_string().parse().unwrap();
    let mut headers = HeaderMap::new();
    if !request.label.is_empty() {
        headers.insert("content-type", HeaderValue::from_static(request.label));
    }
    let method: Method = request.method.parse().unwrap();
    let principal = Principal {
        tenant: "local/default/1",
        passport: "agent",
        agent: "agent",
    };
    let raw = RawRequest {
        method: &method,
        target: request.target,
        headers: &headers,
        body: request.body.as_bytes(),
        host: &host,
        port: 443,
    };
    extract(bundle, upstream, &principal, &raw)
}

#[test]
fn each_file_is_right_by_itself() {
    for (name, text) in CATALOG {
        let mut manifests = Manifests::default();
        assert!(manifests.add(name, text));
        let checked = check(&manifests, &options()).unwrap();
        assert_eq!(checked.warnings, [], "{name}");
        assert_eq!(checked.spec.upstreams.len(), 1, "{name}");
    }
}

#[test]
fn a_currency_that_is_taken_for_granted_is_said_wherever_the_catalogue_is_named() {
    const SAID: &str = "only for accounts that charge in USD and in nothing else";
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let plain = |text: &str| {
        let words = text.split_whitespace().filter(|word| *word != "#");
        words.collect::<Vec<_>>().join(" ")
    };
    let bundle = catalog();
    for (name, text) in CATALOG {
        let file = name.strip_prefix("catalog/").unwrap();
        let upstream = bundle.upstream(file.strip_suffix(".yaml").unwrap());
        let upstream = upstream.unwrap();
        let constant = |action: &ActionSpec| {
            let amount = action.amount.as_ref();
            amount.is_some_and(|it| matches!(it.currency, CurrencySource::Const(_)))
        };
        let takes_for_granted = upstream.actions.iter().any(constant);
        assert_eq!(plain(text).contains(SAID), takes_for_granted, "{name}");
    }
    for document in ["README.md", "docs/agents.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        assert!(plain(&text).contains(SAID), "{document}");
    }
}

#[test]
fn every_capability_is_reached_by_a_request_of_an_sdk() {
    let bundle = catalog();
    let mut reached = BTreeSet::new();
    for (capability, request) in &REQUESTS {
        let (upstream, _) = capability.split_once('.').unwrap();
        let action = read(&bundle, upstream, request)
            .unwrap_or_else(|refused| panic!("{capability} {}: {refused:?}", request.body));
        assert_eq!(action.capability.as_str(), *capability);
        assert_eq!(action.fault, None, "{capability}");
        reached.insert(*capability);
    }
    let spec = bundle.spec();
    let declared = spec.upstreams.iter().flat_map(|it| &it.actions);
    let declared: BTreeSet<&str> = declared.map(|it| it.capability.as_str()).collect();
    assert_eq!(reached, declared);
}

#[test]
fn what_is_read_off_a_request_is_what_it_means() {
    let bundle = catalog();
    let of = |name: &str| {
        let (_, request) = REQUESTS.iter().find(|(it, _)| *it == name).unwrap();
        let action = read(&bundle, name.split('.').next().unwrap(), request).unwrap();
        let amount = action
            .amount
            .map(|it| format!("{} {}", it.to_major_text(), it.currency()));
        (
            amount.unwrap_or_default(),
            action.resource.unwrap_or_default(),
        )
    };
    for (capability, amount, resource) in [
        ("stripe.refunds.create", "120.00 USD", "ch_1"),
        ("stripe.payment_intents.create", "25.00 EUR", "cus_1"),
        ("stripe.customers.delete", "", "cus_1"),
        ("stripe.invoiceitems.create", "5 JPY", "cus_1"),
        ("github.pulls.merge", "", "example"),
        ("slack.chat.post_message", "", "C1"),
        ("openai.chat.completions.create", "", "gpt-5"),
        ("anthropic.messages.create", "", "claude-opus"),
    ] {
        assert_eq!(
            of(capability),
            (amount.to_owned(), resource.to_owned()),
            "{capability}"
        );
    }
}

#[test]
fn what_is_not_declared_is_refused() {
    struct Case {
        name: &'static str,
        given: (&'static str, Request),
        want: RefusalCode,
    }
    let request = |method, target, label, body| Request {
        method,
        target,
        label,
        body,
    };
    let cases = [
        Case {
            name: "a transfer of money by Stripe",
            given: (
                "stripe",
                request(
                    "POST",
                    "/v1/transfers",
                    FORM,
                    "amount=1&currency=usd&destination=acct_1",
                ),
            ),
            want: RefusalCode::Undeclared,
        },
        Case {
            name: "a refund of a whole payment, which names no charge",
            given: (
                "stripe",
                request("POST", "/v1/refunds", FORM, "payment_intent=pi_1&amount=1"),
            ),
            want: RefusalCode::UndeclaredParameter,
        },
        Case {
            name: "a message sent by GET",
            given: (
                "slack",
                request("GET", "/api/chat.postMessage?channel=C1&text=hi", "", ""),
            ),
            want: RefusalCode::Undeclared,
        },
        Case {
            name: "a method of Slack that is not declared",
            given: (
                "slack",
                request("POST", "/api/admin.users.remove", FORM, "user_id=U1"),
            ),
            want: RefusalCode::Undeclared,
        },
        Case {
            name: "GraphQL",
            given: (
                "github",
                request("POST", "/graphql", JSON, r#"{"query":"mutation { x }"}"#),
            ),
            want: RefusalCode::Undeclared,
        },
        Case {
            name: "a remote MCP server at OpenAI",
            given: (
                "openai",
                request(
                    "POST",
                    "/v1/responses",
                    JSON,
                    r#"{"model":"gpt-5","input":"hi","tools":[{"type":"mcp","server_url":"https://mcp.example"}]}"#,
                ),
            ),
            want: RefusalCode::UndeclaredParameter,
        },
        Case {
            name: "a tool that runs at Anthropic",
            given: (
                "anthropic",
                request(
                    "POST",
                    "/v1/messages",
                    JSON,
                    r#"{"model":"claude-opus","max_tokens":9,"messages":[],"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
                ),
            ),
            want: RefusalCode::UndeclaredParameter,
        },
    ];
    let bundle = catalog();
    for Case {
        name,
        given: (upstream, request),
        want,
    } in cases
    {
        let refused = read(&bundle, upstream, &request).unwrap_err();
        assert_eq!(refused.code, want, "{name}");
    }
}
