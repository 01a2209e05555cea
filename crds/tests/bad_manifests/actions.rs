//! Actions: what they match and what is read off them.

use super::{Case, each, edited, said_of};

#[test]
fn an_action_reads_only_what_can_be_there() {
    each(&[
        Case {
            name: "a method in lower case",
            from: "method: POST, path: /v1/payouts",
            to: "method: post, path: /v1/payouts",
            want: "m.yaml:13: Upstream/pay: spec.actions[0].match.http.method: `post` is no method in upper case; expected a method in upper case, such as `POST`",
        },
        Case {
            name: "a path without a slash",
            from: "path: /v1/payouts",
            to: "path: v1/payouts",
            want: r#"m.yaml:13: Upstream/pay: spec.actions[0].match.http.path: path template `v1/payouts` does not start with `/`; expected a path such as `/v1/refunds`, `/v1/charges/{charge}` or "/v1/**""#,
        },
        Case {
            name: "a path with a query",
            from: "path: /v1/payouts",
            to: "path: /v1/payouts?live=1",
            want: r#"m.yaml:13: Upstream/pay: spec.actions[0].match.http.path: `/v1/payouts?live=1` has a query; write `/v1/payouts`, and what the query may hold as `query.NAME` under `params.allow`; expected a path such as `/v1/refunds`, `/v1/charges/{charge}` or "/v1/**""#,
        },
        Case {
            name: "a path with an escape",
            from: "path: /v1/payouts",
            to: "path: /v1/pay%6Futs",
            want: r#"m.yaml:13: Upstream/pay: spec.actions[0].match.http.path: path template `/v1/pay%6Futs`: write segment `pay%6Futs` decoded, without `%`, `\` or control characters; expected a path such as `/v1/refunds`, `/v1/charges/{charge}` or "/v1/**""#,
        },
        Case {
            name: "a path with a step up",
            from: "path: /v1/payouts",
            to: "path: /v1/../payouts",
            want: r#"m.yaml:13: Upstream/pay: spec.actions[0].match.http.path: path template `/v1/../payouts` has a dot segment; expected a path such as `/v1/refunds`, `/v1/charges/{charge}` or "/v1/**""#,
        },
        Case {
            name: "a segment named twice",
            from: r#""/v1/vendors/{vendor}/notes""#,
            to: r#""/v1/{vendor}/{vendor}/notes""#,
            want: r#"m.yaml:26: Upstream/pay: spec.actions[1].match.http.path: path template `/v1/{vendor}/{vendor}/notes` names `vendor` twice; expected a path such as `/v1/refunds`, `/v1/charges/{charge}` or "/v1/**""#,
        },
        Case {
            name: "an action name with a capital",
            from: "name: notes.create",
            to: "name: Notes.create",
            want: "m.yaml:25: Upstream/pay: spec.actions[1].name: `Notes.create` may hold only a-z, 0-9, _ and -, in parts joined by dots; expected a name such as `refunds.create`",
        },
        Case {
            name: "two actions of one name",
            from: "{name: notes.delete,",
            to: "{name: notes.create,",
            want: "m.yaml:32: Upstream/pay: spec.actions[2].name: `notes.create` is given twice, first in spec.actions[1]",
        },
        Case {
            name: "a tie of equal paths",
            from: r#"{name: read, match: {http: {method: GET, path: "/v1/**"}}"#,
            to: "{name: read, match: {http: {method: POST, path: /v1/payouts}}",
            want: "m.yaml:34: Upstream/pay: spec.actions[4].match.http.path: ties with `payouts.create` (spec.actions[0]): both match some POST requests and neither is more specific; keep one",
        },
        Case {
            name: "a tie of paths that differ in a name alone",
            from: r#"path: "/v1/vendors/{vendor}"}}, effect: Irr"#,
            to: r#"path: "/v1/notes/{note}"}}, effect: Irr"#,
            want: "m.yaml:33: Upstream/pay: spec.actions[3].match.http.path: ties with `notes.delete` (spec.actions[2]): both match some DELETE requests and neither is more specific; make `/v1/notes/{note}` or `/v1/notes/{id}` more specific",
        },
        Case {
            name: "a Read that deletes",
            from: r#"path: "/v1/notes/{id}"}}, effect: Write"#,
            to: r#"path: "/v1/notes/{id}"}}, effect: Read"#,
            want: "m.yaml:32: warning: Upstream/pay: spec.actions[2].effect: DELETE changes something by its meaning, and a Read is permitted without the ledger; write `Write` or `Irreversible`",
        },
        Case {
            name: "a body format of no kind",
            from: "format: JSON, maxBytes",
            to: "format: Json, maxBytes",
            want: "m.yaml:15: Upstream/pay: spec.actions[0].body.format: expected one of `None`, `Form`, `JSON` or `Multipart`, found text `Json`; did you mean `JSON`?",
        },
        Case {
            name: "a body over the bound",
            from: "maxBytes: 65536",
            to: "maxBytes: 99999999",
            want: "m.yaml:15: Upstream/pay: spec.actions[0].body.maxBytes: expected a whole number from 1 to 16777216, found 99999999",
        },
        Case {
            name: "a source of nowhere",
            from: "{from: body.vendor}",
            to: "{from: bodi.vendor}",
            want: "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: `bodi.vendor` is not `body.FIELD`, `query.NAME`, `path.NAME` or `header.NAME`",
        },
        Case {
            name: "a source in a parameter that is not declared",
            from: "{from: body.vendor}",
            to: "{from: body.recipient}",
            want: "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: `body.recipient` can never be there: `params.allow` does not list `recipient`; add it there",
        },
        Case {
            name: "a source in a parameter that is nearly declared",
            from: "{from: body.vendor}",
            to: "{from: body.vendors}",
            want: "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: `body.vendors` can never be there: `params.allow` does not list `vendors`; did you mean `vendor`?",
        },
        Case {
            name: "a source in the query that is not declared",
            from: "{from: body.vendor}",
            to: "{from: query.vendor}",
            want: "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: `query.vendor` can never be there: `params.allow` does not list `query.vendor`; add it there",
        },
        Case {
            name: "a source in a segment that is not named",
            from: "{from: path.vendor}",
            to: "{from: path.vendr}",
            want: "m.yaml:30: Upstream/pay: spec.actions[1].resource.from: path `/v1/vendors/{vendor}/notes` has no `{vendr}`; did you mean `path.vendor`?",
        },
        Case {
            name: "a source in a header that is not forwarded",
            from: "{from: body.vendor}",
            to: "{from: header.pay-user}",
            want: "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: header `pay-user` is not forwarded; add it to `headers.forward`",
        },
        Case {
            name: "a parameter of a streamed body",
            from: "body: {format: Form}",
            to: "body: {format: Form, mode: Streamed}",
            want: "m.yaml:29: warning: Upstream/pay: spec.actions[1].params.allow[0]: a body with `mode: Streamed` is sent as it comes, so this is not held against it; use `mode: Buffered`",
        },
        Case {
            name: "a source in a streamed body",
            from: "    body: {format: Form}
    params: {allow: [text]}
    resource: {from: path.vendor}",
            to: "    body: {format: Form, mode: Streamed}
    resource: {from: body.text}",
            want: "m.yaml:29: Upstream/pay: spec.actions[1].resource.from: `body.text` is read from a body that is `mode: Streamed` and so never parsed; use `mode: Buffered`, or read it from elsewhere",
        },
        Case {
            name: "a source in a body that is not there",
            from: "    body: {format: Form}
    params: {allow: [text]}
    resource: {from: path.vendor}",
            to: "    resource: {from: body.text}",
            want: "m.yaml:28: Upstream/pay: spec.actions[1].resource.from: `body.text` is read from a body, and the action has none; declare `body: {format: Form}` or `JSON`",
        },
        Case {
            name: "a parameter for a body that is not declared",
            from: "    body: {format: Form}
",
            to: "",
            want: "m.yaml:28: warning: Upstream/pay: spec.actions[1].params.allow[0]: `text` is a body parameter, and the action has no body; declare `body`, or write `query.text` for the query",
        },
        Case {
            name: "a parameter that asks for another method",
            from: "{allow: [text]}",
            to: "{allow: [text, _method]}",
            want: "m.yaml:29: Upstream/pay: spec.actions[1].params.allow[1]: `_method` asks for another method than the request line and is refused; leave it out",
        },
        Case {
            name: "a header that carries the credential",
            from: "{forward: [Pay-Account]}",
            to: "{forward: [Authorization]}",
            want: "m.yaml:17: Upstream/pay: spec.actions[0].headers.forward[0]: `authorization` carries the lent credential, so the agent's is dropped; leave it out",
        },
        Case {
            name: "a header of the hop",
            from: "{forward: [Pay-Account]}",
            to: "{forward: [Connection]}",
            want: "m.yaml:17: Upstream/pay: spec.actions[0].headers.forward[0]: `connection` belongs to one hop of the way and is never forwarded; leave it out",
        },
        Case {
            name: "a header that asks for another method",
            from: "{forward: [Pay-Account]}",
            to: "{forward: [X-HTTP-Method-Override]}",
            want: "m.yaml:17: Upstream/pay: spec.actions[0].headers.forward[0]: `x-http-method-override` asks for another method or path than the request line and is refused; leave it out",
        },
        Case {
            name: "a header that is the agent's word to ActPass",
            from: "{forward: [Pay-Account]}",
            to: "{forward: [ActPass-Task]}",
            want: "m.yaml:17: Upstream/pay: spec.actions[0].headers.forward[0]: `actpass-task` speaks to ActPass and is never forwarded; leave it out",
        },
        Case {
            name: "the idempotency key among what is judged",
            from: "{forward: [Pay-Account]}",
            to: "{forward: [Idempotency-Key]}",
            want: "m.yaml:17: Upstream/pay: spec.actions[0].headers.forward[0]: `idempotency-key` is the `idempotencyHeader`, which is forwarded but not judged; SDKs make it up per call, so an approved request could never be repeated; leave it out here",
        },
        Case {
            name: "a credential for an idempotency key",
            from: "idempotencyHeader: Idempotency-Key",
            to: "idempotencyHeader: Cookie",
            want: "m.yaml:24: Upstream/pay: spec.actions[0].idempotencyHeader: `cookie` carries credentials, and agents have none of their own; name the header by which the upstream knows a repeat, or leave it out",
        },
        Case {
            name: "an attribute that is no identifier",
            from: "{name: note, from",
            to: "{name: vendor-note, from",
            want: "m.yaml:19: Upstream/pay: spec.actions[0].attributes[0].name: `vendor-note` is no identifier; expected an identifier of letters, digits and `_`, such as `reason`",
        },
        Case {
            name: "two attributes of one name",
            from: "{name: note, from",
            to: "{name: copies, from",
            want: "m.yaml:20: Upstream/pay: spec.actions[0].attributes[1].name: `copies` is given twice, first in spec.actions[0].attributes[0]",
        },
        Case {
            name: "a default of another type",
            from: "type: String, default: none",
            to: "type: String, default: 5",
            want: "m.yaml:19: Upstream/pay: spec.actions[0].attributes[0].default: expected text of at most 1024 bytes, as `type` says, found number 5",
        },
        Case {
            name: "a default that is never taken",
            from: "required: true}",
            to: "required: true, default: 1}",
            want: "m.yaml:20: Upstream/pay: spec.actions[0].attributes[1].default: a required attribute never takes its default; keep one of `required: true` and `default`",
        },
        Case {
            name: "an amount without a currency",
            from: "currency: {const: USD}",
            to: "currency: {}",
            want: "m.yaml:21: Upstream/pay: spec.actions[0].amount.currency: needs exactly one of `const` and `from`; write {const: USD}, or {from: body.currency}",
        },
        Case {
            name: "an amount with two currencies",
            from: "currency: {const: USD}",
            to: "currency: {const: USD, from: body.note}",
            want: "m.yaml:21: Upstream/pay: spec.actions[0].amount.currency: needs exactly one of `const` and `from`; write {const: USD}, or {from: body.currency}",
        },
        Case {
            name: "a currency of no country",
            from: "currency: {const: USD}",
            to: "currency: {const: USX}",
            want: "m.yaml:21: Upstream/pay: spec.actions[0].amount.currency.const: `USX` is not an ISO 4217 currency code; expected a currency code such as `USD`",
        },
        Case {
            name: "a currency in lower case",
            from: "currency: {const: USD}",
            to: "currency: {const: usd}",
            want: "m.yaml:21: Upstream/pay: spec.actions[0].amount.currency.const: `usd` must be in upper case: `USD`; expected a currency code such as `USD`",
        },
        Case {
            name: "a meter of an attribute that is not declared",
            from: "attribute: copies}",
            to: "attribute: copys}",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[1].attribute: the action declares no attribute `copys`; did you mean `copies`?",
        },
        Case {
            name: "a meter of text",
            from: "attribute: copies}",
            to: "attribute: note}",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[1].attribute: attribute `note` is of type String; a meter counts an Integer",
        },
        Case {
            name: "a meter of a constant that is missing",
            from: "from: Attribute, attribute: copies",
            to: "from: Constant",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[1]: `from: Constant` needs `value`, and no `attribute`",
        },
        Case {
            name: "a meter that is built in",
            from: "{name: copies, from: Attribute",
            to: "{name: writes, from: Attribute",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[1].name: `writes` is built in: every action but a read feeds it by one; choose another name",
        },
        Case {
            name: "a meter of an amount that is not declared",
            from: "    resource: {from: path.vendor}
",
            to: "    resource: {from: path.vendor}
    meters: [{name: notes, from: Amount}]
",
            want: "m.yaml:31: Upstream/pay: spec.actions[1].meters[0].from: counts the amount, and the action declares none; add `amount`, or count by `Constant` or `Attribute`",
        },
        Case {
            name: "a currency that payment APIs count otherwise",
            from: r#"{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}"#,
            to: r#"{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
  - {name: bills.create, match: {http: {method: POST, path: /v1/bills}}, effect: Write, body: {format: Form}, params: {allow: [amount]}, amount: {from: body.amount, unit: Minor, currency: {const: UGX}}}"#,
            want: "m.yaml:35: warning: Upstream/pay: spec.actions[5].amount.unit: some payment APIs, Stripe for one, count UGX in hundredths, and `Minor` means 0 decimals; compare with the API's documentation; a wrong count is wrong by a factor of 100",
        },
        Case {
            name: "an undo that is not declared",
            from: "capability: pay.notes.delete",
            to: "capability: pay.notes.remove",
            want: "m.yaml:31: Upstream/pay: spec.actions[1].compensation.capability: Upstream `pay` declares no `pay.notes.remove`; it declares `pay.payouts.create`, `pay.notes.create`, `pay.notes.delete`, `pay.vendors.delete` and `pay.read`",
        },
        Case {
            name: "an undo by another method",
            from: r#"method: DELETE, path: "/v1/notes/{response"#,
            to: r#"method: POST, path: "/v1/notes/{response"#,
            want: "m.yaml:31: Upstream/pay: spec.actions[1].compensation.method: `pay.notes.delete` has method DELETE, not POST",
        },
        Case {
            name: "an undo with an unknown place",
            from: "{response.id}",
            to: "{id}",
            want: r#"m.yaml:31: Upstream/pay: spec.actions[1].compensation.path: path `/v1/notes/{id}`: `{id}` must be `{response.FIELD}`, a field of the answer; expected a path such as "/v1/invoiceitems/{response.id}""#,
        },
        Case {
            name: "an undo of what cannot be undone",
            from: "    idempotencyHeader: Idempotency-Key",
            to: "    idempotencyHeader: Idempotency-Key
    compensation: {capability: pay.notes.delete, method: DELETE, path: /v1/notes}",
            want: "m.yaml:25: warning: Upstream/pay: spec.actions[0].compensation: `Irreversible` says that nothing undoes this action, and `compensation` what does; keep one",
        },
        Case {
            name: "an undo by itself",
            from: "{capability: pay.notes.delete, method: DELETE,",
            to: "{capability: pay.notes.create, method: POST,",
            want: "m.yaml:31: Upstream/pay: spec.actions[1].compensation.capability: an action cannot undo itself",
        },
        Case {
            name: "an undo of a Read",
            from: r#"{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}"#,
            to: r#"{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read, compensation: {capability: pay.notes.delete, method: DELETE, path: /v1/notes}}"#,
            want: "m.yaml:34: Upstream/pay: spec.actions[4].compensation: a Read has nothing to undo; leave it out",
        },
        Case {
            name: "a meter of an amount with a count",
            from: "{name: payouts, from: Amount}",
            to: "{name: payouts, from: Amount, value: 1}",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[0]: `from: Amount` needs neither `attribute` nor `value`",
        },
        Case {
            name: "a meter of an attribute that is not named",
            from: "from: Attribute, attribute: copies",
            to: "from: Attribute",
            want: "m.yaml:23: Upstream/pay: spec.actions[0].meters[1]: `from: Attribute` needs `attribute`, and no `value`",
        },
        Case {
            name: "a default that no JSON number holds",
            from: "required: true}",
            to: "default: 9007199254740992}",
            want: "m.yaml:20: Upstream/pay: spec.actions[0].attributes[1].default: expected a whole number within ±(2^53-1), as `type` says, found number 9007199254740992",
        },
        Case {
            name: "a default that is a fraction",
            from: "type: String, default: none",
            to: "type: String, default: 1.5",
            want: r#"m.yaml:19: Upstream/pay: spec.actions[0].attributes[0].default: expected text, a whole number, `true` or `false`, found number 1.5; put text in quotes: "1.5""#,
        },
        Case {
            name: "a source in a segment of another name",
            from: "{from: path.vendor}",
            to: "{from: path.recipient}",
            want: "m.yaml:30: Upstream/pay: spec.actions[1].resource.from: path `/v1/vendors/{vendor}/notes` has no `{recipient}`; name the segment in `match.http.path`",
        },
        Case {
            name: "a parameter with an open bracket",
            from: "{allow: [text]}",
            to: r#"{allow: ["text[a"]}"#,
            want: r#"m.yaml:29: Upstream/pay: spec.actions[1].params.allow[0]: parameter `text[a` has an unpaired bracket; expected a body field such as `amount` or "metadata[*]", or `query.NAME`"#,
        },
        Case {
            name: "an undo with an open brace",
            from: "{response.id}",
            to: "{response.id",
            want: r#"m.yaml:31: Upstream/pay: spec.actions[1].compensation.path: path `/v1/notes/{response.id` has an unpaired brace; expected a path such as "/v1/invoiceitems/{response.id}""#,
        },
    ]);
}

#[test]
fn a_source_within_a_list_or_mapping_is_declared_by_a_pattern() {
    let of = |param: &str| {
        said_of(&edited(&[
            (
                "params: {allow: [vendor,",
                &format!("params: {{allow: [\"{param}\", vendor,"),
            ),
            ("{from: body.vendor}", "{from: body.lines.0.sku}"),
        ]))
    };
    for param in ["lines[*].sku", "lines[0].sku", "lines.0.sku"] {
        assert_eq!(of(param), [""; 0], "{param}");
    }
    for param in ["lines[*]", "lines[1].sku", "lines[*].name"] {
        assert_eq!(of(param).len(), 1, "{param}");
    }
}
