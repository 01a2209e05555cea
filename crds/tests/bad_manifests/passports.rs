//! Passports: who, scope and limits.

use super::{Case, each, edited, said_of};

#[test]
fn a_passport_names_what_exists_and_limits_what_is_fed() {
    each(&[
        Case {
            name: "a word with a space for an agent",
            from: "agentId: agent",
            to: "agentId: my agent",
            want: "m.yaml:49: Passport/agent: spec.agentId: `my agent` may hold only letters, digits and inner -, . or _; expected a name of letters, digits and inner `-`, `.` or `_`, such as `refund-agent`",
        },
        Case {
            name: "a purpose of two lines",
            from: "purpose: Pay vendors",
            to: r#"purpose: "Pay\nvendors""#,
            want: r#"m.yaml:52: Passport/agent: spec.purpose: `Pay\nvendors` holds a line break or another control character; expected one line of text"#,
        },
        Case {
            name: "a passport for two minutes too long",
            from: "ttlSeconds: 900",
            to: "ttlSeconds: 3720",
            want: "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number from 60 to 3600, found 3720",
        },
        Case {
            name: "reads for an hour without the ledger",
            from: "  ttlSeconds: 900",
            to: "  readsWithoutLedgerSeconds: 3600",
            want: "m.yaml:61: Passport/agent: spec.readsWithoutLedgerSeconds: expected a whole number from 0 to 300, found 3600",
        },
        Case {
            name: "an end that is no instant",
            from: "  ttlSeconds: 900",
            to: r#"  notAfter: "2027-02-30T00:00:00Z""#,
            want: r#"m.yaml:61: Passport/agent: spec.notAfter: `2027-02-30T00:00:00Z` is no instant with a date, a time and `Z` or an offset; expected an instant such as "2027-01-31T00:00:00Z""#,
        },
        Case {
            name: "a capability that is nearly declared",
            from: "capability: depot.read",
            to: "capability: depot.reed",
            want: "m.yaml:57: Passport/agent: spec.scope[3].capability: no Upstream declares `depot.reed`; did you mean `depot.read`?",
        },
        Case {
            name: "a capability that the Upstream does not declare",
            from: "capability: depot.read",
            to: "capability: depot.goods.move",
            want: "m.yaml:57: Passport/agent: spec.scope[3].capability: Upstream `depot` declares no `depot.goods.move`; it declares `depot.read`",
        },
        Case {
            name: "a capability of an Upstream that is not there",
            from: "capability: depot.read",
            to: "capability: stripe.refunds.create",
            want: "m.yaml:57: Passport/agent: spec.scope[3].capability: there is no Upstream `stripe` for `stripe.refunds.create`; add its manifest, or the shipped ones by `--catalog`",
        },
        Case {
            name: "a pattern that matches nothing",
            from: r#"capability: "pay.notes.*""#,
            to: r#"capability: "pay.memos.*""#,
            want: "m.yaml:55: warning: Passport/agent: spec.scope[1].capability: pattern `pay.memos.*` matches no action of any Upstream",
        },
        Case {
            name: "a pattern of an Upstream that is nearly there",
            from: "capability: depot.read",
            to: r#"capability: "depo.*""#,
            want: "m.yaml:57: warning: Passport/agent: spec.scope[3].capability: pattern `depo.*` matches no action of any Upstream; did you mean `depot.*`?",
        },
        Case {
            name: "a capability of one word",
            from: "capability: depot.read",
            to: "capability: depot",
            want: r#"m.yaml:57: Passport/agent: spec.scope[3].capability: capability `depot` needs an upstream and an action, as in `stripe.read`; expected a capability such as `stripe.refunds.create`, or a pattern such as "stripe.*""#,
        },
        Case {
            name: "a star within a segment",
            from: "capability: depot.read",
            to: r#"capability: "depot.re*""#,
            want: r#"m.yaml:57: Passport/agent: spec.scope[3].capability: segment `re*` of capability `depot.re*` may hold only a-z, 0-9, _ and -; expected a capability such as `stripe.refunds.create`, or a pattern such as "stripe.*""#,
        },
        Case {
            name: "a capability given twice",
            from: "capability: depot.read",
            to: "capability: pay.read",
            want: "m.yaml:57: Passport/agent: spec.scope[3].capability: `pay.read` is given twice, first in spec.scope[2]",
        },
        Case {
            name: "resources of an action that has none",
            from: "{capability: depot.read}",
            to: "{capability: depot.read, resources: [a]}",
            want: "m.yaml:57: warning: Passport/agent: spec.scope[3].resources: no action of `depot.read` declares a `resource`, so this entry covers nothing; leave `resources` out, or declare where it is read",
        },
        Case {
            name: "a currency of no country for a limit",
            from: r#"unit: USD, max: "500.00""#,
            to: r#"unit: USX, max: "500.00""#,
            want: "m.yaml:59: Passport/agent: spec.limits[0].unit: `USX` is not an ISO 4217 currency code, nor `Count`; expected a currency code such as `USD`, or `Count`",
        },
        Case {
            name: "a count in lower case",
            from: "unit: Count",
            to: "unit: count",
            want: "m.yaml:60: Passport/agent: spec.limits[1].unit: `count` must be written `Count`; expected a currency code such as `USD`, or `Count`",
        },
        Case {
            name: "too many decimals for the currency",
            from: r#"max: "500.00""#,
            to: r#"max: "500.001""#,
            want: "m.yaml:59: Passport/agent: spec.limits[0].max: amount `500.001` has 3 decimals, but USD has 2",
        },
        Case {
            name: "a limit below zero",
            from: r#"max: "500.00""#,
            to: r#"max: "-5.00""#,
            want: r#"m.yaml:59: Passport/agent: spec.limits[0].max: amount `-5.00` is negative; expected decimal text such as "500.00""#,
        },
        Case {
            name: "an amount with a comma",
            from: r#"max: "500.00""#,
            to: r#"max: "1,500.00""#,
            want: r#"m.yaml:59: Passport/agent: spec.limits[0].max: amount `1,500.00` is not a decimal number; expected decimal text such as "500.00""#,
        },
        Case {
            name: "an amount too large for what counts it",
            from: r#"max: "500.00""#,
            to: r#"max: "99999999999999999999.00""#,
            want: r#"m.yaml:59: Passport/agent: spec.limits[0].max: amount `99999999999999999999.00` is too large; expected decimal text such as "500.00""#,
        },
        Case {
            name: "a count with decimals",
            from: r#"max: "100""#,
            to: r#"max: "100.5""#,
            want: r#"m.yaml:60: Passport/agent: spec.limits[1].max: expected a whole count such as "500", found `100.5`; for money give a currency as `unit`"#,
        },
        Case {
            name: "a limit without a window",
            from: ", windowSeconds: 3600}",
            to: "}",
            want: "m.yaml:59: Passport/agent: spec.limits[0]: has no window of time; add `windowSeconds: 86400`, or `calendar: Day` or `Month`",
        },
        Case {
            name: "a limit with two windows",
            from: "windowSeconds: 3600",
            to: "windowSeconds: 3600, calendar: Day",
            want: "m.yaml:59: Passport/agent: spec.limits[0]: `windowSeconds` and `calendar` are both given; keep one",
        },
        Case {
            name: "a window of a second",
            from: "windowSeconds: 3600",
            to: "windowSeconds: 1",
            want: "m.yaml:59: Passport/agent: spec.limits[0].windowSeconds: expected a whole number from 60 to 2678400, found 1",
        },
        Case {
            name: "a period that is none",
            from: "calendar: Day",
            to: "calendar: Week",
            want: "m.yaml:60: Passport/agent: spec.limits[1].calendar: expected one of `Day` or `Month`, found text `Week`",
        },
        Case {
            name: "a meter that is nearly fed",
            from: "meter: payouts",
            to: "meter: payout",
            want: "m.yaml:59: Passport/agent: spec.limits[0].meter: no action in scope feeds meter `payout`; did you mean `payouts`?",
        },
        Case {
            name: "a meter that nothing feeds",
            from: "{meter: writes, unit: Count",
            to: "{meter: minutes, unit: Count",
            want: "m.yaml:60: Passport/agent: spec.limits[1].meter: no action in scope feeds meter `minutes`; they feed `copies`, `payouts` and `writes`",
        },
        Case {
            name: "a meter in a unit that nothing feeds",
            from: r#"unit: USD, max: "500.00""#,
            to: r#"unit: EUR, max: "500.00""#,
            want: "m.yaml:59: Passport/agent: spec.limits[0].unit: meter `payouts` is never fed in EUR; the actions in scope feed it in `USD`",
        },
        Case {
            name: "two limits of one meter and window",
            from: "  ttlSeconds: 900",
            to: r#"  - {meter: writes, unit: Count, max: "50", calendar: Day}
  ttlSeconds: 900"#,
            want: "m.yaml:61: Passport/agent: spec.limits[2]: caps meter `writes` in Count over the same window as spec.limits[1]; keep the smaller one",
        },
        Case {
            name: "a limit that asks nobody",
            from: "calendar: Day}",
            to: "calendar: Day, onExceed: RequireApproval}",
            want: "m.yaml:60: Passport/agent: spec.limits[1].onExceed: asks nobody: the Passport has no `defaultApproval`; add one, or write `Deny`",
        },
        Case {
            name: "money that no limit counts",
            from: r#"  - {meter: payouts, unit: USD, max: "500.00", windowSeconds: 3600}
"#,
            to: "",
            want: "m.yaml:58: warning: Passport/agent: spec.limits: `pay.payouts.create` moves money, and no limit of this Passport counts it; add a limit on meter `payouts`",
        },
        Case {
            name: "an approval without groups",
            from: "  ttlSeconds: 900",
            to: "  defaultApproval: {groups: []}",
            want: "m.yaml:61: Passport/agent: spec.defaultApproval.groups: expected at least one item, found none",
        },
        Case {
            name: "a second Passport of one subject",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: rules, namespace: treasury}
spec:
  targetRefs: [{kind: Passport, name: agent}]",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: other}
spec: {agentId: other, owner: o, purpose: p, scope: [{capability: pay.read}], subject: {serviceAccountName: agent}}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: rules, namespace: treasury}
spec:
  passportSelector: {}",
            want: "m.yaml:66: Passport/other: spec.subject: ServiceAccount `agent` already has Passport `agent` (m.yaml:50); both would deny everything; keep one, or give each its ServiceAccount",
        },
        Case {
            name: "two Passports of one name",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: agent}
spec: {agentId: other, owner: o, purpose: p, scope: [{capability: pay.read}]}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
",
            want: "m.yaml:65: Passport/agent: metadata.name: is given twice, first at m.yaml:47; each Passport has a name of its own",
        },
        Case {
            name: "an empty pattern of resources",
            from: r#"resources: ["ven_*"]}
  - {cap"#,
            to: r#"resources: [""]}
  - {cap"#,
            want: r#"m.yaml:54: Passport/agent: spec.scope[0].resources[0]: expected a resource or a pattern such as "ch_*", found empty text"#,
        },
        Case {
            name: "a Passport that no policy is for",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
",
            to: "---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: other}
spec: {agentId: other, owner: o, purpose: p, scope: [{capability: pay.read}]}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
",
            want: "m.yaml:65: warning: Passport/other: metadata.name: no rule allows this Passport anything, so all it asks for is denied; name it in the `targetRefs` of an ActionPolicy with mode Enforce",
        },
    ]);
}

#[test]
fn an_amount_in_the_currency_of_the_request_feeds_limits_in_any() {
    let text = edited(&[
        (
            "params: {allow: [vendor,",
            "params: {allow: [vendor, currency,",
        ),
        ("currency: {const: USD}", "currency: {from: body.currency}"),
        ("unit: USD, max: \"500.00\"", "unit: JPY, max: \"500\""),
    ]);
    assert_eq!(said_of(&text), [""; 0]);
    let counted = text.replace("unit: JPY, max", "unit: Count, max");
    assert_eq!(
        said_of(&counted),
        [
            "m.yaml:59: Passport/agent: spec.limits[0].unit: meter `payouts` is never fed in Count; the actions in scope feed it in `the currency of the request`"
        ]
    );
}
