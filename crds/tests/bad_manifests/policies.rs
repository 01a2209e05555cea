//! Policies: whom they are for, and rules that can match.

use super::{Case, each};

#[test]
fn a_policy_has_somebody_to_be_for_and_rules_that_match() {
    each(&[
        Case {
            name: "a target that is nearly there",
            from: "{kind: Passport, name: agent}",
            to: "{kind: Passport, name: agents}",
            want: "m.yaml:67: ActionPolicy/rules: spec.targetRefs[0].name: there is no Passport `agents`; did you mean `agent`?",
        },
        Case {
            name: "a target that is not there",
            from: "{kind: Passport, name: agent}",
            to: "{kind: Passport, name: payroll}",
            want: "m.yaml:67: ActionPolicy/rules: spec.targetRefs[0].name: there is no Passport `payroll`; there is `agent`",
        },
        Case {
            name: "a target of another kind",
            from: "{kind: Passport, name: agent}",
            to: "{kind: Pod, name: agent}",
            want: "m.yaml:67: ActionPolicy/rules: spec.targetRefs[0].kind: expected `Passport`, found text `Pod`",
        },
        Case {
            name: "another namespace",
            from: "metadata: {name: rules, namespace: treasury}",
            to: "metadata: {name: rules, namespace: finance}",
            want: "m.yaml:65: ActionPolicy/rules: metadata.namespace: namespace `finance` is not `treasury`, which m.yaml:47 names; Passports and ActionPolicies that are read together belong to one namespace",
        },
        Case {
            name: "no rules",
            from: r#"  rules:
  - {name: cap, decision: Deny, capabilities: [pay.payouts.create], amounts: [{currency: USD, gt: "10000.00"}]}"#,
            to: "  rules: []",
            want: "m.yaml:89: ClusterActionPolicy/guard: spec.rules: expected at least one item, found none",
        },
        Case {
            name: "two rules of one name",
            from: "{name: rest, decision",
            to: "{name: small, decision",
            want: "m.yaml:82: ActionPolicy/rules: spec.rules[2].name: `small` is given twice, first in spec.rules[1]",
        },
        Case {
            name: "a rule about nothing",
            from: r#"capabilities: ["pay.notes.*", pay.read, depot.read]"#,
            to: "capabilities: []",
            want: "m.yaml:82: ActionPolicy/rules: spec.rules[2].capabilities: expected at least one item, found none",
        },
        Case {
            name: "a capability that no Upstream declares",
            from: r#"capabilities: ["pay.notes.*", pay.read, depot.read]"#,
            to: r#"capabilities: ["pay.notes.*", pay.reads, depot.read]"#,
            want: "m.yaml:82: ActionPolicy/rules: spec.rules[2].capabilities[1]: no Upstream declares `pay.reads`; did you mean `pay.read`?",
        },
        Case {
            name: "a pattern that no action matches",
            from: r#"capabilities: ["pay.notes.*", pay.read, depot.read]"#,
            to: r#"capabilities: ["pay.memos.*", pay.read, depot.read]"#,
            want: "m.yaml:82: warning: ActionPolicy/rules: spec.rules[2].capabilities[0]: pattern `pay.memos.*` matches no action of any Upstream",
        },
        Case {
            name: "an amount as a number",
            from: r#"gt: "100.00""#,
            to: "gt: 100",
            want: r#"m.yaml:72: ActionPolicy/rules: spec.rules[0].amounts[0].gt: expected decimal text such as "500.00", found number 100; put it in quotes: "100""#,
        },
        Case {
            name: "a bound that bounds nothing",
            from: r#"{currency: USD, lte: "100.00"}"#,
            to: "{currency: USD}",
            want: "m.yaml:78: ActionPolicy/rules: spec.rules[1].amounts[0]: bounds nothing; give at least one of `gt`, `gte`, `lt` and `lte`",
        },
        Case {
            name: "a bound with two lower ends",
            from: r#"gt: "100.00""#,
            to: r#"gt: "100.00", gte: "100.00""#,
            want: "m.yaml:72: ActionPolicy/rules: spec.rules[0].amounts[0]: `gt` and `gte` are both given; keep one",
        },
        Case {
            name: "a currency given twice",
            from: r#"[{currency: USD, lte: "100.00"}]"#,
            to: r#"[{currency: USD, lte: "100.00"}, {currency: USD, gt: "5.00"}]"#,
            want: "m.yaml:78: ActionPolicy/rules: spec.rules[1].amounts[1].currency: `USD` is given twice, first in spec.rules[1].amounts[0]",
        },
        Case {
            name: "a bound with too many decimals",
            from: r#"lte: "100.00""#,
            to: r#"lte: "100.005""#,
            want: "m.yaml:78: ActionPolicy/rules: spec.rules[1].amounts[0].lte: amount `100.005` has 3 decimals, but USD has 2",
        },
        Case {
            name: "a bound that nothing is within",
            from: r#"lte: "100.00""#,
            to: r#"lte: "100.00", gt: "200.00""#,
            want: "m.yaml:78: warning: ActionPolicy/rules: spec.rules[1].amounts[0]: can never match: no USD amount lies between 200.00 and 100.00; is one bound the other's?",
        },
        Case {
            name: "a bound of nothing",
            from: r#"lte: "100.00""#,
            to: r#"lte: "0.00""#,
            want: "m.yaml:78: warning: ActionPolicy/rules: spec.rules[1].amounts[0]: can never match: an upper bound implies an amount above zero",
        },
        Case {
            name: "an Allow in a currency that is never paid",
            from: r#"{currency: USD, lte: "100.00"}"#,
            to: r#"{currency: EUR, lte: "100.00"}"#,
            want: "m.yaml:78: warning: ActionPolicy/rules: spec.rules[1].amounts: can never match: the actions it covers are in another currency; bound the amount in their currency",
        },
        Case {
            name: "a Deny whose currency is not that of the action",
            from: r#"{currency: USD, gt: "10000.00"}"#,
            to: r#"{currency: EUR, gt: "10000.00"}"#,
            want: "m.yaml:90: warning: ClusterActionPolicy/guard: spec.rules[0].amounts: denies every `pay.payouts.create`: its currency is not listed, and doubt counts as matched; add an entry for that currency",
        },
        Case {
            name: "an Allow of resources out of scope",
            from: r#"    resources: ["ven_*"]"#,
            to: r#"    resources: ["emp_*"]"#,
            want: "m.yaml:79: warning: ActionPolicy/rules: spec.rules[1].resources: can never match: no resource in scope matches these patterns; compare them with `scope` of the Passport",
        },
        Case {
            name: "a rule about what no scope has",
            from: "  - {name: rest,",
            to: "  - {name: never, decision: Deny, capabilities: [pay.vendors.delete]}
  - {name: rest,",
            want: "m.yaml:82: warning: ActionPolicy/rules: spec.rules[2].capabilities: can never match: no Passport it is for has these capabilities in its scope; add them to `scope`, or leave the rule out",
        },
        Case {
            name: "an Allow that does not cover what cannot be undone",
            from: "    allowIrreversible: true
",
            to: "",
            want: "m.yaml:74: warning: ActionPolicy/rules: spec.rules[1]: `pay.payouts.create` is Irreversible, which a plain Allow does not cover, and Passport `agent` has no `defaultApproval` to ask, so it is denied; add `allowIrreversible: true`, or `defaultApproval` to the Passport",
        },
        Case {
            name: "a permission on a rule that asks",
            from: "    approval: {groups: [finance], quorum: 1}",
            to: "    allowIrreversible: true
    approval: {groups: [finance], quorum: 1}",
            want: "m.yaml:73: ActionPolicy/rules: spec.rules[0].allowIrreversible: allows nothing: the rule's decision is RequireApproval; leave it out",
        },
        Case {
            name: "approvers of a rule that allows",
            from: "    allowIrreversible: true
",
            to: "    allowIrreversible: true
    approval: {groups: [finance]}
",
            want: "m.yaml:77: ActionPolicy/rules: spec.rules[1].approval: asks nobody: the rule's decision is Allow; write `decision: RequireApproval`, or leave `approval` out",
        },
        Case {
            name: "a rule that asks nobody",
            from: "    approval: {groups: [finance], quorum: 1}
",
            to: "",
            want: "m.yaml:69: ActionPolicy/rules: spec.rules[0]: asks nobody: it has no `approval`, and Passport `agent` no `defaultApproval`; add `approval: {groups: [...]}`",
        },
        Case {
            name: "a quorum of none",
            from: "quorum: 1",
            to: "quorum: 0",
            want: "m.yaml:73: ActionPolicy/rules: spec.rules[0].approval.quorum: expected a whole number from 1 to 10, found 0",
        },
        Case {
            name: "a request held open for an hour",
            from: "quorum: 1",
            to: "holdSeconds: 3600",
            want: "m.yaml:73: ActionPolicy/rules: spec.rules[0].approval.holdSeconds: expected a whole number from 0 to 55, found 3600",
        },
        Case {
            name: "a day that is none",
            from: "[Mon, Fri]",
            to: "[Mon, Friday]",
            want: "m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule.days[1]: expected one of `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat` or `Sun`, found text `Friday`",
        },
        Case {
            name: "a time of day without minutes",
            from: r#"from: "09:00""#,
            to: r#"from: "9""#,
            want: r#"m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule.from: `9` is no time of day; expected a time of day such as "09:00", at most "24:00""#,
        },
        Case {
            name: "a time of day past its end",
            from: r#"from: "09:00""#,
            to: r#"from: "25:00""#,
            want: r#"m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule.from: `25:00` is no time of day; expected a time of day such as "09:00", at most "24:00""#,
        },
        Case {
            name: "a schedule that starts at the end of a day",
            from: r#"from: "09:00""#,
            to: r#"from: "24:00""#,
            want: r#"m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule.from: `24:00` is an end of a day; write "00:00" for its start"#,
        },
        Case {
            name: "a schedule of no length",
            from: r#"to: "17:00""#,
            to: r#"to: "09:00""#,
            want: r#"m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule: starts and ends at 09:00, so it is empty or the whole day; for the whole day write from "00:00" to "24:00""#,
        },
        Case {
            name: "a time zone of no place",
            from: "timeZone: UTC",
            to: "timeZone: Europe/Berln",
            want: "m.yaml:80: ActionPolicy/rules: spec.rules[1].schedule.timeZone: `Europe/Berln` is no IANA time zone; expected an IANA time zone such as `UTC` or `Europe/Berlin`",
        },
        Case {
            name: "a condition that is no CEL",
            from: "attributes.copies < 10",
            to: "attributes.copies <",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: line 1, column 20: Syntax error: mismatched input '<EOF>' expecting...",
        },
        Case {
            name: "a name that a condition does not know",
            from: "attributes.copies < 10",
            to: "attributes.copys < 10",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: `attributes.copys` is not known here; there are attributes.*, action.*, facts.* and hints.*; did you mean `attributes.copies`?",
        },
        Case {
            name: "a condition of another type",
            from: "attributes.copies < 10",
            to: "attributes.copies < 'ten'",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: < takes two ints or two strings, not string",
        },
        Case {
            name: "a condition that is no question",
            from: "attributes.copies < 10",
            to: "attributes.copies",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: the condition is int, but has to be a bool",
        },
        Case {
            name: "a hint that would loosen",
            from: "attributes.copies < 10",
            to: "has(hints.confidence) && hints.confidence > 5",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: `hints.confidence` is a hint: it may tighten, so it stands in Deny and RequireApproval rules only",
        },
        Case {
            name: "a function that is not of the subset",
            from: "attributes.copies < 10",
            to: "attributes.note.matches('a+')",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: `matches` used like this is not part of the conditions read here",
        },
        Case {
            name: "a total of a meter that no limit counts",
            from: "attributes.copies < 10",
            to: "facts.windowTotal('copies') < 10",
            want: "m.yaml:81: ActionPolicy/rules: spec.rules[1].when: meter `copies` has no total for Passport `agent`, so the rule would deny; add a limit on this meter to the Passport",
        },
        Case {
            name: "a duty of nothing",
            from: r#"    resources: ["ven_*"]"#,
            to: "    obligations: {maxResponseBytes: 0}",
            want: "m.yaml:79: ActionPolicy/rules: spec.rules[1].obligations.maxResponseBytes: expected a whole number from 1 to 1073741824, found 0",
        },
        Case {
            name: "a duty of what is denied",
            from: "{name: cap, decision: Deny,",
            to: "{name: cap, decision: Deny, obligations: {maxResponseBytes: 10},",
            want: "m.yaml:90: warning: ClusterActionPolicy/guard: spec.rules[0].obligations: a denied action has no obligations; leave it out",
        },
        Case {
            name: "a guard that allows",
            from: "{name: cap, decision: Deny,",
            to: "{name: cap, decision: Allow, allowIrreversible: true,",
            want: "m.yaml:90: ClusterActionPolicy/guard: spec.rules[0].decision: a ClusterActionPolicy only guards: expected `Deny` or `RequireApproval`, found `Allow`; allow in an ActionPolicy of the namespace",
        },
        Case {
            name: "a guard with a namespace",
            from: "{name: guard}",
            to: "{name: guard, namespace: treasury}",
            want: "m.yaml:86: ClusterActionPolicy/guard: metadata.namespace: a ClusterActionPolicy belongs to no namespace; leave it out",
        },
        Case {
            name: "a guard with targets",
            from: "  passportSelector: {matchLabels: {team: treasury}}",
            to: "  targetRefs: [{kind: Passport, name: agent}]",
            want: "m.yaml:88: ClusterActionPolicy/guard: spec.targetRefs: unknown field; known here: `mode`, `passportSelector` and `rules`",
        },
        Case {
            name: "labels that no Passport has",
            from: "  targetRefs: [{kind: Passport, name: agent}]",
            to: "  passportSelector: {matchLabels: {team: sales}}",
            want: "m.yaml:67: warning: ActionPolicy/rules: spec.passportSelector: selects no Passport, so it decides nothing; no Passport has these labels",
        },
        Case {
            name: "a policy that selects nobody",
            from: "  targetRefs: [{kind: Passport, name: agent}]
",
            to: "",
            want: "m.yaml:66: warning: ActionPolicy/rules: spec: selects no Passport, so it decides nothing; add `targetRefs: [{kind: Passport, name: ...}]` or `passportSelector`",
        },
        Case {
            name: "a selector without values",
            from: "{matchLabels: {team: treasury}}",
            to: "{matchExpressions: [{key: team, operator: In}]}",
            want: "m.yaml:88: ClusterActionPolicy/guard: spec.passportSelector.matchExpressions[0].values: In needs at least one value",
        },
        Case {
            name: "a selector with values it does not take",
            from: "{matchLabels: {team: treasury}}",
            to: "{matchExpressions: [{key: team, operator: Exists, values: [treasury]}]}",
            want: "m.yaml:88: ClusterActionPolicy/guard: spec.passportSelector.matchExpressions[0].values: Exists takes no values; leave them out",
        },
        Case {
            name: "an operator that is none",
            from: "{matchLabels: {team: treasury}}",
            to: "{matchExpressions: [{key: team, operator: Is, values: [treasury]}]}",
            want: "m.yaml:88: ClusterActionPolicy/guard: spec.passportSelector.matchExpressions[0].operator: expected one of `In`, `NotIn`, `Exists` or `DoesNotExist`, found text `Is`; did you mean `In`?",
        },
        Case {
            name: "a Deny of amounts that also denies what has none",
            from: "decision: Deny, capabilities: [pay.payouts.create]",
            to: "decision: Deny, capabilities: [pay.payouts.create, pay.notes.create]",
            want: "m.yaml:90: warning: ClusterActionPolicy/guard: spec.rules[0].amounts: denies every `pay.notes.create`: no amount is declared there, and doubt counts as matched; name only capabilities that move money",
        },
        Case {
            name: "a question about resources that also asks where there are none",
            from: r#"capabilities: [pay.payouts.create]
    amounts: [{currency: USD, gt: "100.00"}]"#,
            to: "capabilities: [pay.notes.delete]
    resources: [a]",
            want: "m.yaml:72: warning: ActionPolicy/rules: spec.rules[0].resources: asks about every `pay.notes.delete`: no resource is declared there, and doubt counts as matched; name only capabilities that declare a `resource`",
        },
        Case {
            name: "an Allow of resources where there are none",
            from: "  - {name: rest,",
            to: "  - {name: own, decision: Allow, capabilities: [pay.read], resources: [a]}
  - {name: rest,",
            want: "m.yaml:82: warning: ActionPolicy/rules: spec.rules[2].resources: can never match: the actions it covers declare no resource; leave `resources` out, or declare where it is read",
        },
        Case {
            name: "an Allow of amounts where there are none",
            from: "  - {name: rest,",
            to: r#"  - {name: own, decision: Allow, capabilities: [pay.read], amounts: [{currency: USD, lt: "5.00"}]}
  - {name: rest,"#,
            want: "m.yaml:82: warning: ActionPolicy/rules: spec.rules[2].amounts: can never match: the actions it covers declare no amount; leave `amounts` out, or declare where it is read",
        },
    ]);
}
