//! Upstreams: hosts, transport, credentials.

use super::{Case, each};

#[test]
fn an_upstream_is_its_own_and_lends_as_it_says() {
    each(&[
        Case {
            name: "a URL for a host",
            from: "[api.pay.example]",
            to: r#"["https://api.pay.example"]"#,
            want: r#"m.yaml:6: Upstream/pay: spec.hosts[0]: `https://api.pay.example` is a URL; write its host name alone; expected a host name such as `api.stripe.com` or "*.example.com""#,
        },
        Case {
            name: "a host with its port",
            from: "[api.pay.example]",
            to: r#"["api.pay.example:443"]"#,
            want: r#"m.yaml:6: Upstream/pay: spec.hosts[0]: `api.pay.example:443` has a port; write `api.pay.example` here and the port under `ports`; expected a host name such as `api.stripe.com` or "*.example.com""#,
        },
        Case {
            name: "a host in upper case",
            from: "[api.pay.example]",
            to: "[API.pay.example]",
            want: r#"m.yaml:6: Upstream/pay: spec.hosts[0]: write `API.pay.example` as `api.pay.example`; expected a host name such as `api.stripe.com` or "*.example.com""#,
        },
        Case {
            name: "a wildcard in the middle",
            from: "[api.pay.example]",
            to: r#"["api.*.example"]"#,
            want: r#"m.yaml:6: Upstream/pay: spec.hosts[0]: `api.*.example`: a wildcard is only possible as the whole first label, as in `*.example.com`; expected a host name such as `api.stripe.com` or "*.example.com""#,
        },
        Case {
            name: "an address for a host",
            from: "[api.pay.example]",
            to: "[10.0.0.1]",
            want: r#"m.yaml:6: Upstream/pay: spec.hosts[0]: `10.0.0.1` is an IP address; name the host; expected a host name such as `api.stripe.com` or "*.example.com""#,
        },
        Case {
            name: "a wildcard over its own name",
            from: "[api.pay.example]",
            to: r#"[api.pay.example, "*.pay.example"]"#,
            want: "m.yaml:6: warning: Upstream/pay: spec.hosts[0]: `*.pay.example` covers `api.pay.example` already",
        },
        Case {
            name: "a host of another Upstream",
            from: "[api.pay.example]",
            to: "[api.depot.example]",
            want: "m.yaml:6: Upstream/pay: spec.hosts[0]: Upstream `depot` has `*.depot.example` on port 443 too; a name and port belong to one Upstream",
        },
        Case {
            name: "a port that is none",
            from: "ports: [443, 8443]",
            to: "ports: [0, 8443]",
            want: "m.yaml:41: Upstream/depot: spec.ports[0]: expected a whole number from 1 to 65535, found 0",
        },
        Case {
            name: "a port given twice",
            from: "ports: [443, 8443]",
            to: "ports: [443, 443]",
            want: "m.yaml:41: Upstream/depot: spec.ports[1]: `443` is given twice, first in spec.ports[0]",
        },
        Case {
            name: "a status that is no failure",
            from: "  ports: [443, 8443]",
            to: "  failedStatuses: [200]",
            want: "m.yaml:41: Upstream/depot: spec.failedStatuses[0]: expected a whole number from 400 to 599, found 200",
        },
        Case {
            name: "a certificate that is none",
            from: "  ports: [443, 8443]",
            to: "  tls: {caBundle: corp-ca}",
            want: "m.yaml:41: Upstream/depot: spec.tls.caBundle: `corp-ca` holds no whole certificate; expected PEM certificates",
        },
        Case {
            name: "a private key among the certificates",
            from: "  ports: [443, 8443]",
            to: r#"  tls: {caBundle: "-----BEGIN PRIVATE KEY-----"}"#,
            want: "m.yaml:41: Upstream/depot: spec.tls.caBundle: holds a private key; only certificates belong here; expected PEM certificates",
        },
        Case {
            name: "actions of bytes passed through",
            from: "  ports: [443, 8443]",
            to: "  tls: {mode: Passthrough}",
            want: "m.yaml:42: Upstream/depot: spec.actions: no action can be read off bytes that are passed through; leave `actions` out, or use `protocol: HTTP` with `tls: {mode: Intercept}`",
        },
        Case {
            name: "interception of what is not inspected",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: tunnel}
spec: {hosts: [vpn.example], protocol: TCP}
---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            want: "m.yaml:48: Upstream/tunnel: spec.tls: `protocol: TCP` is not inspected, so TLS cannot be intercepted; write `tls: {mode: Passthrough}`, or `None`",
        },
        Case {
            name: "MCP, which this version does not read",
            from: "  ports: [443, 8443]",
            to: "  protocol: MCP",
            want: "m.yaml:41: warning: Upstream/depot: spec.protocol: MCP is not read by this version; every request there is denied",
        },
        Case {
            name: "no actions",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec: {hosts: [shop.example]}
---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            want: "m.yaml:48: Upstream/shop: spec.actions: missing; without actions everything there is denied; declare what may be done",
        },
        Case {
            name: "a selector that is not read",
            from: "allowedNamespaces: {from: All}",
            to: "allowedNamespaces: {from: All, selector: {}}",
            want: "m.yaml:7: Upstream/pay: spec.allowedNamespaces.selector: `selector` is only read with `from: Selector`; leave it out, or write `from: Selector`",
        },
        Case {
            name: "a selector that is missing",
            from: "allowedNamespaces: {from: All}",
            to: "allowedNamespaces: {from: Selector}",
            want: "m.yaml:7: Upstream/pay: spec.allowedNamespaces: `from: Selector` needs `selector`",
        },
        Case {
            name: "a selector that selects by no value",
            from: "allowedNamespaces: {from: All}",
            to: "allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn}]}}",
            want: "m.yaml:7: Upstream/pay: spec.allowedNamespaces.selector.matchExpressions[0].values: NotIn needs at least one value",
        },
        Case {
            name: "a credential in clear text",
            from: "  allowedNamespaces: {from: All}",
            to: "  tls: {mode: None}",
            want: "m.yaml:8: Upstream/pay: spec.credentials: a credential is lent only where TLS is intercepted; use `tls: {mode: Intercept}` and `protocol: HTTP`, or leave `credentials` out",
        },
        Case {
            name: "a format without the secret",
            from: r#"name: pay-read, effects: [Read], header: Authorization, format: "Bearer {secret}""#,
            to: r#"name: pay-read, effects: [Read], header: Authorization, format: "Bearer $SECRET""#,
            want: r#"m.yaml:9: Upstream/pay: spec.credentials[0].format: `Bearer $SECRET` lacks the place of the secret; write for example "Bearer {secret}"; expected a header value with one `{secret}` in it, such as "Bearer {secret}""#,
        },
        Case {
            name: "a format with the secret twice",
            from: r#"name: pay-read, effects: [Read], header: Authorization, format: "Bearer {secret}""#,
            to: r#"name: pay-read, effects: [Read], header: Authorization, format: "{secret}:{secret}""#,
            want: r#"m.yaml:9: Upstream/pay: spec.credentials[0].format: `{secret}:{secret}` holds `{secret}` more than once; expected a header value with one `{secret}` in it, such as "Bearer {secret}""#,
        },
        Case {
            name: "an effect lent twice",
            from: "effects: [Write, Irreversible]",
            to: "effects: [Read, Write, Irreversible]",
            want: "m.yaml:10: Upstream/pay: spec.credentials[1].effects: `pay-read` is lent for Read actions already; one effect has one credential",
        },
        Case {
            name: "an effect without a credential",
            from: "effects: [Write, Irreversible]",
            to: "effects: [Write]",
            want: "m.yaml:8: warning: Upstream/pay: spec.credentials: no credential is lent for Irreversible actions (`payouts.create` and `vendors.delete`); they go out without one; add one with `effects: [Irreversible]`",
        },
        Case {
            name: "a credential in a header of the transport",
            from: "effects: [Read], header: Authorization",
            to: "effects: [Read], header: Host",
            want: "m.yaml:9: Upstream/pay: spec.credentials[0].header: header `host` belongs to the transport; name the header that the upstream reads the secret from",
        },
        Case {
            name: "a header name with a colon",
            from: "effects: [Read], header: Authorization",
            to: r#"effects: [Read], header: "Authorization:""#,
            want: "m.yaml:9: Upstream/pay: spec.credentials[0].header: `Authorization:` is no header name; expected a header name such as `Idempotency-Key`",
        },
        Case {
            name: "two credentials of one name",
            from: "name: pay-read",
            to: "name: pay-write",
            want: "m.yaml:10: Upstream/pay: spec.credentials[1].name: `pay-write` is given twice, first in spec.credentials[0]",
        },
        Case {
            name: "two Upstreams of one name",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: r#"---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec: {hosts: [shop.example], actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]}
---
apiVersion: actpass.org/v1alpha1
kind: Passport"#,
            want: "m.yaml:47: Upstream/pay: metadata.name: is given twice, first at m.yaml:4; each Upstream has a name of its own",
        },
        Case {
            name: "an Upstream that another namespace keeps to itself",
            from: "metadata: {name: depot}",
            to: "metadata: {name: depot, namespace: shop}",
            want: "m.yaml:38: Upstream/depot: metadata.namespace: namespace `shop` does not share this Upstream with `treasury`; add `allowedNamespaces: {from: All}`, or move it",
        },
        Case {
            name: "TLS passed through, which this version does not do",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: tunnel}
spec: {hosts: [vpn.example], tls: {mode: Passthrough}}
---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            want: "m.yaml:48: warning: Upstream/tunnel: spec.tls.mode: TLS is not passed through by this version; every request there is denied",
        },
        Case {
            name: "TCP, which this version does not pass on",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: tunnel}
spec: {hosts: [vpn.example], protocol: TCP, tls: {mode: None}}
---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            want: "m.yaml:48: warning: Upstream/tunnel: spec.protocol: TCP is not passed on by this version; every request there is denied",
        },
        Case {
            name: "certificates without TLS",
            from: "  ports: [443, 8443]",
            to: r#"  tls: {mode: None, caBundle: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"}"#,
            want: "m.yaml:41: Upstream/depot: spec.tls.caBundle: is only read with `mode: Intercept`; leave it out",
        },
        Case {
            name: "a format with a place of another name",
            from: r#"name: pay-read, effects: [Read], header: Authorization, format: "Bearer {secret}""#,
            to: r#"name: pay-read, effects: [Read], header: Authorization, format: "{user}:{secret}""#,
            want: r#"m.yaml:9: Upstream/pay: spec.credentials[0].format: `{user}:{secret}` may hold only `{secret}` and no other brace; expected a header value with one `{secret}` in it, such as "Bearer {secret}""#,
        },
        Case {
            name: "a format that no header holds",
            from: r#"name: pay-read, effects: [Read], header: Authorization, format: "Bearer {secret}""#,
            to: r#"name: pay-read, effects: [Read], header: Authorization, format: "Schlüssel {secret}""#,
            want: r#"m.yaml:9: Upstream/pay: spec.credentials[0].format: `Schl\u{fc}ssel {secret}` holds a character other than printable ASCII; expected a header value with one `{secret}` in it, such as "Bearer {secret}""#,
        },
        Case {
            name: "a credential with a capital",
            from: "name: pay-read",
            to: "name: Pay-read",
            want: "m.yaml:9: Upstream/pay: spec.credentials[0].name: `Pay-read` may hold only a-z, 0-9 and inner -, . or _; expected a name of lower-case letters, digits and inner `-`, `.` or `_`, such as `stripe-write`",
        },
    ]);
}
