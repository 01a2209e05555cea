//! What YAML is, what a resource is, and what every field has of its type.

use super::{Case, each};

#[test]
fn form_is_held_against_the_schema() {
    each(&[
        Case {
            name: "another group",
            from: "apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy",
            to: "apiVersion: apps/v1
kind: ClusterActionPolicy",
            want: "m.yaml:84: ClusterActionPolicy/guard: apiVersion: expected `actpass.org/v1alpha1`, found `apps/v1`; move what is not for ActPass into another directory",
        },
        Case {
            name: "another version",
            from: "apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy",
            to: "apiVersion: actpass.org/v2
kind: ClusterActionPolicy",
            want: "m.yaml:84: ClusterActionPolicy/guard: apiVersion: expected `actpass.org/v1alpha1`, found `actpass.org/v2`; this build reads only that version",
        },
        Case {
            name: "no version",
            from: "apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy",
            to: "kind: ClusterActionPolicy",
            want: "m.yaml:84: ClusterActionPolicy/guard: apiVersion: missing; expected `actpass.org/v1alpha1`",
        },
        Case {
            name: "a misspelt kind",
            from: "kind: ClusterActionPolicy",
            to: "kind: ClusterActionPolicies",
            want: "m.yaml:85: ClusterActionPolicies/guard: kind: expected one of `Passport`, `Upstream`, `ActionPolicy` or `ClusterActionPolicy`, found `ClusterActionPolicies`; did you mean `ClusterActionPolicy`?",
        },
        Case {
            name: "another kind",
            from: "kind: ClusterActionPolicy",
            to: "kind: Deployment",
            want: "m.yaml:85: Deployment/guard: kind: expected one of `Passport`, `Upstream`, `ActionPolicy` or `ClusterActionPolicy`, found `Deployment`",
        },
        Case {
            name: "a kind that lives in a cluster only",
            from: "kind: ClusterActionPolicy",
            to: "kind: Approval",
            want: "m.yaml:85: Approval/guard: kind: expected one of `Passport`, `Upstream`, `ActionPolicy` or `ClusterActionPolicy`, found `Approval`; that kind lives in a cluster only, written by the controller; leave it out",
        },
        Case {
            name: "a list of resources",
            from: "apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy",
            to: "apiVersion: v1
kind: List",
            want: "m.yaml:85: List/guard: kind: a `List` is not read; write each item as a document of its own, with `---` between",
        },
        Case {
            name: "no metadata",
            from: "metadata: {name: guard}
",
            to: "",
            want: "m.yaml:84: ClusterActionPolicy: metadata: missing; expected a mapping with `annotations`, `labels`, `name` and `namespace`",
        },
        Case {
            name: "a document that is no mapping",
            from: "---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            to: "---
- Passport
---
apiVersion: actpass.org/v1alpha1
kind: Passport",
            want: "m.yaml:45: is no resource; expected a mapping with `apiVersion`, `kind`, `metadata` and `spec`",
        },
        Case {
            name: "a name in upper case",
            from: "{name: guard}",
            to: "{name: Guard}",
            want: "m.yaml:86: ClusterActionPolicy/Guard: metadata.name: `Guard` may hold only a-z, 0-9 and inner -; expected a name of lower-case letters, digits and inner `-`, such as `refund-agent`",
        },
        Case {
            name: "a name that ends with a dash",
            from: "{name: guard}",
            to: "{name: guard-}",
            want: "m.yaml:86: ClusterActionPolicy/guard-: metadata.name: `guard-` may hold only a-z, 0-9 and inner -; expected a name of lower-case letters, digits and inner `-`, such as `refund-agent`",
        },
        Case {
            name: "a status",
            from: "metadata: {name: guard}
",
            to: "metadata: {name: guard}
status: {}
",
            want: "m.yaml:87: ClusterActionPolicy/guard: status: unknown field; ActPass writes the status; leave it out",
        },
        Case {
            name: "metadata of the API server",
            from: "{name: guard}",
            to: "{name: guard, uid: f00}",
            want: "m.yaml:86: ClusterActionPolicy/guard: metadata.uid: unknown field; of metadata only `name`, `namespace`, `labels` and `annotations` are read; leave it out",
        },
        Case {
            name: "a misspelt field",
            from: "  ttlSeconds: 900",
            to: "  ttlSecond: 900",
            want: "m.yaml:61: Passport/agent: spec.ttlSecond: unknown field; did you mean `ttlSeconds`?",
        },
        Case {
            name: "a field in snake case",
            from: "  ttlSeconds: 900",
            to: "  ttl_seconds: 900",
            want: "m.yaml:61: Passport/agent: spec.ttl_seconds: unknown field; did you mean `ttlSeconds`?",
        },
        Case {
            name: "a field of nothing here",
            from: "  ttlSeconds: 900",
            to: "  lifetime: 900",
            want: "m.yaml:61: Passport/agent: spec.lifetime: unknown field; known here: `agentId`, `defaultApproval`, `limits`, `notAfter`, `owner`, `purpose`, `readsWithoutLedgerSeconds`, `scope`, `subject`, `suspended` and `ttlSeconds`",
        },
        Case {
            name: "a missing field",
            from: "  purpose: Pay vendors
",
            to: "",
            want: "m.yaml:48: Passport/agent: spec.purpose: missing; expected one line of text",
        },
        Case {
            name: "a field without a value",
            from: "  purpose: Pay vendors
",
            to: "  purpose:
",
            want: "m.yaml:52: Passport/agent: spec.purpose: expected one line of text, found nothing; give it a value, or leave the field out",
        },
        Case {
            name: "a field given twice",
            from: "  purpose: Pay vendors
",
            to: "  purpose: Pay vendors
  purpose: Pay more vendors
",
            want: "m.yaml:53: Passport/agent: spec.purpose: is given twice, first in line 52; keep one",
        },
        Case {
            name: "a mapping where text belongs",
            from: "  purpose: Pay vendors
",
            to: "  purpose: {of: vendors}
",
            want: "m.yaml:52: Passport/agent: spec.purpose: expected one line of text, found a mapping",
        },
        Case {
            name: "a number where text belongs",
            from: "  purpose: Pay vendors
",
            to: "  purpose: 12
",
            want: r#"m.yaml:52: Passport/agent: spec.purpose: expected one line of text, found number 12; put it in quotes: "12""#,
        },
        Case {
            name: "a word that kubectl reads as a boolean",
            from: "  purpose: Pay vendors
",
            to: "  purpose: yes
",
            want: r#"m.yaml:52: Passport/agent: spec.purpose: expected one line of text, found `yes`, which kubectl reads as a boolean; put it in quotes: "yes""#,
        },
        Case {
            name: "an empty text",
            from: "owner: owner@example.com",
            to: r#"owner: """#,
            want: "m.yaml:51: Passport/agent: spec.owner: expected one line of text, found empty text",
        },
        Case {
            name: "a text where a list belongs",
            from: "hosts: [api.pay.example]",
            to: "hosts: api.pay.example",
            want: r#"m.yaml:6: Upstream/pay: spec.hosts: expected a list, each item a host name such as `api.stripe.com` or "*.example.com", found text `api.pay.example`; write a list: [api.pay.example]"#,
        },
        Case {
            name: "a text where a mapping belongs",
            from: "  passportSelector: {matchLabels: {team: treasury}}",
            to: "  passportSelector: treasury",
            want: "m.yaml:88: ClusterActionPolicy/guard: spec.passportSelector: expected a mapping with `matchExpressions` and `matchLabels`, found text `treasury`",
        },
        Case {
            name: "an empty list",
            from: "hosts: [api.pay.example]",
            to: "hosts: []",
            want: "m.yaml:6: Upstream/pay: spec.hosts: expected at least one item, found none",
        },
        Case {
            name: "an item given twice",
            from: "hosts: [api.pay.example]",
            to: "hosts: [api.pay.example, api.pay.example]",
            want: "m.yaml:6: Upstream/pay: spec.hosts[1]: `api.pay.example` is given twice, first in spec.hosts[0]",
        },
        Case {
            name: "an unquoted fraction",
            from: r#"max: "500.00""#,
            to: "max: 500.00",
            want: r#"m.yaml:59: Passport/agent: spec.limits[0].max: expected decimal text such as "500.00", found number 500.00; put it in quotes: "500.00""#,
        },
        Case {
            name: "a number in quotes",
            from: "ttlSeconds: 900",
            to: r#"ttlSeconds: "900""#,
            want: "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number, found text `900`; write it without quotes: 900",
        },
        Case {
            name: "an octal number",
            from: "ttlSeconds: 900",
            to: "ttlSeconds: 0900",
            want: "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number, found number 0900; write plain decimal digits; readers disagree on leading zeros, signs, prefixes and `_`",
        },
        Case {
            name: "a fraction where a whole number belongs",
            from: "ttlSeconds: 900",
            to: "ttlSeconds: 900.5",
            want: "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number, found number 900.5",
        },
        Case {
            name: "a boolean of YAML 1.1",
            from: "allowIrreversible: true",
            to: "allowIrreversible: yes",
            want: "m.yaml:76: ActionPolicy/rules: spec.rules[1].allowIrreversible: expected `true` or `false`, found `yes`, which kubectl reads as a boolean; write `true`",
        },
        Case {
            name: "a boolean in quotes",
            from: "allowIrreversible: true",
            to: r#"allowIrreversible: "true""#,
            want: "m.yaml:76: ActionPolicy/rules: spec.rules[1].allowIrreversible: expected `true` or `false`, found text `true`; write it without quotes: true",
        },
        Case {
            name: "an enum in lower case",
            from: "decision: Allow
    allowIrr",
            to: "decision: allow
    allowIrr",
            want: "m.yaml:75: ActionPolicy/rules: spec.rules[1].decision: expected one of `Deny`, `RequireApproval` or `Allow`, found text `allow`; did you mean `Allow`?",
        },
        Case {
            name: "an unknown enum",
            from: "decision: Allow
    allowIrr",
            to: "decision: Permit
    allowIrr",
            want: "m.yaml:75: ActionPolicy/rules: spec.rules[1].decision: expected one of `Deny`, `RequireApproval` or `Allow`, found text `Permit`",
        },
        Case {
            name: "an anchor",
            from: "  agentId: agent",
            to: "  agentId: &a agent",
            want: "m.yaml:49: Passport/agent: spec.agentId: anchors are not read; write the value itself, and put text that starts with `&` in quotes",
        },
        Case {
            name: "an alias",
            from: "  agentId: agent",
            to: "  agentId: *a",
            want: "m.yaml:49: not YAML: while parsing node, found unknown anchor; put text that starts with `*`, `&`, `!`, `@`, a backtick or `%` in quotes",
        },
        Case {
            name: "a tag",
            from: "  agentId: agent",
            to: "  agentId: !!str agent",
            want: "m.yaml:49: Passport/agent: spec.agentId: tag `tag:yaml.org,2002:str` is not read; write the value alone, and put text that starts with `!` in quotes",
        },
        Case {
            name: "a merge key",
            from: "  agentId: agent",
            to: "  agentId: agent
  <<: {suspended: true}",
            want: r#"m.yaml:50: Passport/agent: spec."<<": merge keys are not read; write the fields themselves"#,
        },
        Case {
            name: "a tab",
            from: "  agentId: agent",
            to: "\tagentId: agent",
            want: "m.yaml:49: not YAML: tabs disallowed within this context (block indentation); indent with spaces, not with tabs",
        },
        Case {
            name: "a bracket that is not closed",
            from: "hosts: [api.pay.example]",
            to: "hosts: [api.pay.example",
            want: "m.yaml:8: not YAML: invalid indentation in flow construct; look for a bracket or quote that is not closed, or for another indentation than the lines above",
        },
        Case {
            name: "a colon in plain text",
            from: "  purpose: Pay vendors
",
            to: "  purpose: Pay: vendors
",
            want: "m.yaml:52: not YAML: mapping values are not allowed in this context; put text that holds `: ` in quotes",
        },
        Case {
            name: "text that starts with a star",
            from: "capability: depot.read}",
            to: "capability: *}",
            want: "m.yaml:57: not YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character; put text that starts with `*`, `&`, `!`, `@`, a backtick or `%` in quotes",
        },
        Case {
            name: "no kind",
            from: "kind: ClusterActionPolicy
",
            to: "",
            want: "m.yaml:84: guard: kind: missing; expected one of `Passport`, `Upstream`, `ActionPolicy` or `ClusterActionPolicy`",
        },
        Case {
            name: "a list for a field's name",
            from: "  purpose: Pay vendors",
            to: "  ? [purpose]
  : Pay vendors",
            want: "m.yaml:52: a field name must be plain text; put text that starts with `*`, `{` or `[` in quotes",
        },
        Case {
            name: "a list where a mapping of names to text belongs",
            from: "labels: {team: treasury}",
            to: "labels: [team]",
            want: "m.yaml:47: Passport/agent: metadata.labels: expected a mapping of names to text, found a list",
        },
        Case {
            name: "a number for a label",
            from: "labels: {team: treasury}",
            to: "labels: {team: 5}",
            want: r#"m.yaml:47: Passport/agent: metadata.labels.team: expected text, found number 5; put it in quotes: "5""#,
        },
    ]);
}
