//! What an API server refuses by the definitions of the kinds alone, and what it says then.

/// A manifest that is right, what is changed in it, to what, and what is said of that.
pub(crate) type Case = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
pub(crate) const REFUSED: &[Case] = &[
    (PASSPORT, "owner:", "ownr:", "unknown field \"spec.ownr\""),
    (PASSPORT, "  agentId: clerk\n", "", "spec.agentId: Required value"),
    (PASSPORT, "agentId: clerk", "agentId: my clerk", "spec.agentId in body should match '^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$'"),
    (PASSPORT, "agentId: clerk", "agentId: 7", "spec.agentId in body must be of type string: \"integer\""),
    (PASSPORT, "agentId: clerk", "agentId: \"\"", "spec.agentId in body should be at least 1 chars long"),
    (PASSPORT, "serviceAccountName: clerk", "serviceAccountName: Clerk", "spec.subject.serviceAccountName in body should match '^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$'"),
    (PASSPORT, "{serviceAccountName: clerk}", "{serviceAccountName: clerk, user: x}", "unknown field \"spec.subject.user\""),
    (PASSPORT, "  owner: owner@example.com\n", "", "spec.owner: Required value"),
    (PASSPORT, "purpose: Refund customers", "purpose: \"Refund\\ncustomers\"", "spec.purpose in body should match '^[^\\x00-\\x1f\\x7f]+$'"),
    (PASSPORT, "  purpose: Refund customers\n", "", "spec.purpose: Required value"),
    (PASSPORT, "stripe.refunds.create", "Stripe.refunds", "spec.scope[0].capability in body should match '^(\\*\\*|([a-z0-9_-]+|\\*)(\\.([a-z0-9_-]+|\\*))*\\.([a-z0-9_-]+|\\*\\*?))$'"),
    (PASSPORT, "stripe.refunds.create", "stripe", "spec.scope[0].capability in body should match '^(\\*\\*|([a-z0-9_-]+|\\*)(\\.([a-z0-9_-]+|\\*))*\\.([a-z0-9_-]+|\\*\\*?))$'"),
    (PASSPORT, "\"stripe.*\"", "\"stripe.re*\"", "spec.scope[1].capability in body should match '^(\\*\\*|([a-z0-9_-]+|\\*)(\\.([a-z0-9_-]+|\\*))*\\.([a-z0-9_-]+|\\*\\*?))$'"),
    (PASSPORT, "\"stripe.*\"", "stripe.refunds.create", "spec.scope[1]: Duplicate value: {\"capability\":\"stripe.refunds.create\"}"),
    (PASSPORT, "[\"ch_*\"]", "[\"\"]", "spec.scope[0].resources[0] in body should be at least 1 chars long"),
    (PASSPORT, "unit: USD", "unit: usd", "spec.limits[0].unit in body should match '^([A-Z]{3}|Count)$'"),
    (PASSPORT, "unit: USD", "unit: EURO", "spec.limits[0].unit in body should match '^([A-Z]{3}|Count)$'"),
    (PASSPORT, "max: \"5000.00\"", "max: \"-5\"", "spec.limits[0].max in body should match '^(0|[1-9][0-9]*)(\\.[0-9]+)?$'"),
    (PASSPORT, "max: \"5000.00\"", "max: 5000", "spec.limits[0].max in body must be of type string: \"integer\""),
    (PASSPORT, "max: \"5000.00\"", "max: \"5,000\"", "spec.limits[0].max in body should match '^(0|[1-9][0-9]*)(\\.[0-9]+)?$'"),
    (PASSPORT, "max: \"500\"", "max: \"1.5\"", "expected a whole count such as \"500\"; for money give a currency as `unit`"),
    (PASSPORT, "windowSeconds: 86400", "windowSeconds: 86400, calendar: Day", "`windowSeconds` and `calendar` are both given; keep one"),
    (PASSPORT, ", windowSeconds: 86400", "", "has no window of time; add `windowSeconds: 86400`, or `calendar: Day` or `Month`"),
    (PASSPORT, "windowSeconds: 86400", "windowSeconds: 5", "spec.limits[0].windowSeconds in body should be greater than or equal to 60"),
    (PASSPORT, "windowSeconds: 86400", "windowSeconds: 31622401", "spec.limits[0].windowSeconds in body should be less than or equal to 2678400"),
    (PASSPORT, "calendar: Day", "calendar: Week", "spec.limits[1].calendar: Unsupported value: \"Week\": supported values: \"Day\", \"Month\""),
    (PASSPORT, "onExceed: Deny", "onExceed: Warn", "spec.limits[0].onExceed: Unsupported value: \"Warn\": supported values: \"Deny\", \"RequireApproval\""),
    (PASSPORT, "meter: refunds", "meter: Re funds", "spec.limits[0].meter in body should match '^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$'"),
    (PASSPORT, "groups: [finance]", "groups: []", "spec.defaultApproval.groups in body should have at least 1 items"),
    (PASSPORT, "quorum: 1", "quorum: 0", "spec.defaultApproval.quorum in body should be greater than or equal to 1"),
    (PASSPORT, "quorum: 1", "quorum: 11", "spec.defaultApproval.quorum in body should be less than or equal to 10"),
    (PASSPORT, "expiresAfterSeconds: 1800", "expiresAfterSeconds: 30", "spec.defaultApproval.expiresAfterSeconds in body should be greater than or equal to 60"),
    (PASSPORT, "expiresAfterSeconds: 1800", "expiresAfterSeconds: 604801", "spec.defaultApproval.expiresAfterSeconds in body should be less than or equal to 604800"),
    (PASSPORT, "ttlSeconds: 900", "ttlSeconds: 59", "spec.ttlSeconds in body should be greater than or equal to 60"),
    (PASSPORT, "ttlSeconds: 900", "ttlSeconds: 3601", "spec.ttlSeconds in body should be less than or equal to 3600"),
    (PASSPORT, "ttlSeconds: 900", "ttlSeconds: 1.5", "spec.ttlSeconds in body must be of type integer: \"number\""),
    (PASSPORT, "readsWithoutLedgerSeconds: 30", "readsWithoutLedgerSeconds: 301", "spec.readsWithoutLedgerSeconds in body should be less than or equal to 300"),
    (PASSPORT, "notAfter: \"2027-01-31T00:00:00Z\"", "notAfter: \"2027-01-31\"", "spec.notAfter in body should match '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$'"),
    (PASSPORT, "notAfter: \"2027-01-31T00:00:00Z\"", "notAfter: \"tomorrow\"", "spec.notAfter in body should match '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$'"),
    (PASSPORT, "suspended: false", "suspended: \"no\"", "spec.suspended in body must be of type boolean: \"string\""),
    (PASSPORT, "{name: clerk}", "{name: Clerk_1}", "metadata.name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: []", "spec.hosts in body should have at least 1 items"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [\"https://api.pay.example\"]", "spec.hosts[0] in body should match '^(\\*\\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [\"*.*.example\"]", "spec.hosts[0] in body should match '^(\\*\\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [\"API.pay.example\"]", "spec.hosts[0] in body should match '^(\\*\\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [api.pay.example, api.pay.example]", "spec.hosts[1]: Duplicate value: \"api.pay.example\""),
    (UPSTREAM, "ports: [443]", "ports: [0]", "spec.ports[0] in body should be greater than or equal to 1"),
    (UPSTREAM, "ports: [443]", "ports: [70000]", "spec.ports[0] in body should be less than or equal to 65535"),
    (UPSTREAM, "ports: [443]", "ports: []", "spec.ports in body should have at least 1 items"),
    (UPSTREAM, "addresses: Public", "addresses: Private", "spec.addresses: Unsupported value: \"Private\": supported values: \"Public\", \"Cluster\""),
    (UPSTREAM, "protocol: HTTP", "protocol: FTP", "spec.protocol: Unsupported value: \"FTP\": supported values: \"HTTP\", \"MCP\", \"TCP\""),
    (UPSTREAM, "protocol: HTTP", "protocol: TCP", "no action can be read off bytes that are passed through; leave `actions` out, or use `protocol: HTTP` with `tls: {mode: Intercept}`"),
    (UPSTREAM, "mode: Intercept", "mode: Passthrough", "no action can be read off bytes that are passed through; leave `actions` out, or use `protocol: HTTP` with `tls: {mode: Intercept}`"),
    (UPSTREAM, "mode: Intercept", "mode: None", "a credential is lent only where TLS is intercepted; use `tls: {mode: Intercept}` and `protocol: HTTP`, or leave `credentials` out"),
    (UPSTREAM, "mode: Intercept", "mode: Intercept, caBundle: hello", "spec.tls.caBundle in body should match '-----BEGIN CERTIFICATE-----'"),
    (UPSTREAM, "mode: Intercept", "mode: Look", "spec.tls.mode: Unsupported value: \"Look\": supported values: \"Intercept\", \"Passthrough\", \"None\""),
    (UPSTREAM, "{from: All}", "{from: Selector}", "`from: Selector` needs `selector`"),
    (UPSTREAM, "{from: All}", "{from: Same, selector: {matchLabels: {a: b}}}", "`selector` is only read with `from: Selector`; leave it out, or write `from: Selector`"),
    (UPSTREAM, "{from: All}", "{from: Everyone}", "spec.allowedNamespaces.from: Unsupported value: \"Everyone\": supported values: \"Same\", \"All\", \"Selector\""),
    (UPSTREAM, "effects: [Write, Irreversible]", "effects: []", "spec.credentials[0].effects in body should have at least 1 items"),
    (UPSTREAM, "effects: [Write, Irreversible]", "effects: [Write, Write]", "spec.credentials[0].effects[1]: Duplicate value: \"Write\""),
    (UPSTREAM, "header: Authorization", "header: Author ization", "spec.credentials[0].header in body should match '^[-!#$%&'*+.^_`|~0-9A-Za-z]+$'"),
    (UPSTREAM, "header: Authorization", "header: Host", "belongs to the transport; name the header that the upstream reads the secret from"),
    (UPSTREAM, "\"Bearer {secret}\"", "\"Bearer\"", "spec.credentials[0].format in body should be at least 8 chars long"),
    (UPSTREAM, "name: payouts.create", "name: Payouts", "spec.actions[0].name in body should match '^[a-z0-9_-]+(\\.[a-z0-9_-]+)*$'"),
    (UPSTREAM, "name: notes.delete", "name: notes.create", "spec.actions[2]: Duplicate value: {\"name\":\"notes.create\"}"),
    (UPSTREAM, "method: POST", "method: post", "spec.actions[0].match.http.method in body should match '^[A-Z]+$'"),
    (UPSTREAM, "path: /v1/payouts", "path: v1/payouts", "spec.actions[0].match.http.path in body should match '^/[^?#%]*$'"),
    (UPSTREAM, "{http: {method: POST, path: /v1/payouts}}", "{}", "spec.actions[0].match.http: Required value"),
    (UPSTREAM, "effect: Irreversible", "effect: Delete", "spec.actions[0].effect: Unsupported value: \"Delete\": supported values: \"Read\", \"Write\", \"Irreversible\""),
    (UPSTREAM, "format: JSON", "format: XML", "spec.actions[0].body.format: Unsupported value: \"XML\": supported values: \"None\", \"Form\", \"JSON\", \"Multipart\""),
    (UPSTREAM, "maxBytes: 65536", "maxBytes: 0", "spec.actions[0].body.maxBytes in body should be greater than or equal to 1"),
    (UPSTREAM, "maxBytes: 65536", "maxBytes: 999999999", "spec.actions[0].body.maxBytes in body should be less than or equal to 16777216"),
    (UPSTREAM, "maxBytes: 65536", "maxBytes: 65536, mode: Streamed", "something is read from a body that is `mode: Streamed` and so never parsed; use `mode: Buffered`, or read it from elsewhere"),
    (UPSTREAM, "allow: [vendor, amount, note]", "allow: [\"a b\"]", "spec.actions[0].params.allow[0] in body should match '^[^\\s]+$'"),
    (UPSTREAM, "allow: [vendor, amount, note]", "allow: [vendor, vendor]", "spec.actions[0].params.allow[1]: Duplicate value: \"vendor\""),
    (UPSTREAM, "forward: [Pay-Account]", "forward: [\"Pay Account\"]", "spec.actions[0].headers.forward[0] in body should match '^[-!#$%&'*+.^_`|~0-9A-Za-z]+$'"),
    (UPSTREAM, "from: body.note", "from: note", "spec.actions[0].attributes[0].from in body should match '^(body|query|path|header)\\..+$'"),
    (UPSTREAM, "type: String", "type: Text", "spec.actions[0].attributes[0].type: Unsupported value: \"Text\": supported values: \"String\", \"Integer\", \"Boolean\""),
    (UPSTREAM, "from: body.amount", "from: cookie.amount", "spec.actions[0].amount.from in body should match '^(body|query|path|header)\\..+$'"),
    (UPSTREAM, "unit: Major", "unit: Cents", "spec.actions[0].amount.unit: Unsupported value: \"Cents\": supported values: \"Minor\", \"Major\""),
    (UPSTREAM, "{const: USD}", "{const: dollars}", "spec.actions[0].amount.currency.const: Too long: may not be more than 3 bytes"),
    (UPSTREAM, "{const: USD}", "{const: USD, from: body.currency}", "needs exactly one of `const` and `from`; write {const: USD}, or {from: body.currency}"),
    (UPSTREAM, "{const: USD}", "{}", "needs exactly one of `const` and `from`; write {const: USD}, or {from: body.currency}"),
    (UPSTREAM, "from: Amount", "from: Constant", "`from: Constant` needs `value`, and no `attribute`"),
    (UPSTREAM, "from: Amount", "from: Attribute", "`from: Attribute` needs `attribute`, and no `value`"),
    (UPSTREAM, "meters: [{name: payouts, from: Amount}]", "meters: [{name: payouts, from: Amount}, {name: payouts, from: Amount}]", "spec.actions[0].meters[1]: Duplicate value: {\"name\":\"payouts\"}"),
    (UPSTREAM, "idempotencyHeader: Idempotency-Key", "idempotencyHeader: \"Idempotency Key\"", "spec.actions[0].idempotencyHeader in body should match '^[-!#$%&'*+.^_`|~0-9A-Za-z]+$'"),
    (UPSTREAM, "compensation: {capability: pay.notes.delete,", "compensation: {capability: notes,", "spec.actions[1].compensation.capability in body should match '^[a-z0-9_-]+(\\.[a-z0-9_-]+)+$'"),
    (UPSTREAM, "  - {name: read, match", "  - {name: read, macth", "unknown field \"spec.actions[3].macth\""),
    (POLICY, "targetRefs: [{kind: Passport, name: clerk}]", "targetRefs: [{kind: Agent, name: clerk}]", "spec.targetRefs[0].kind: Unsupported value: \"Agent\": supported values: \"Passport\""),
    (POLICY, "mode: Enforce", "mode: Audit", "spec.mode: Unsupported value: \"Audit\": supported values: \"Enforce\", \"Shadow\""),
    (POLICY, "name: large", "name: huge", "spec.rules[1]: Duplicate value: {\"name\":\"huge\"}"),
    (POLICY, "name: huge", "name: Huge rule", "spec.rules[0].name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (POLICY, "decision: Deny", "decision: Reject", "spec.rules[0].decision: Unsupported value: \"Reject\": supported values: \"Deny\", \"RequireApproval\", \"Allow\""),
    (POLICY, "decision: Allow", "decision: Permit", "spec.rules[2].decision: Unsupported value: \"Permit\": supported values: \"Deny\", \"RequireApproval\", \"Allow\""),
    (POLICY, "decision: Allow", "decision: Deny", "allows nothing: the rule's decision is not Allow; leave it out"),
    (POLICY, "capabilities: [stripe.refunds.create]", "capabilities: []", "spec.rules[0].capabilities in body should have at least 1 items"),
    (POLICY, "gt: \"10000.00\"", "gt: \"ten\"", "spec.rules[0].amounts[0].gt in body should match '^(0|[1-9][0-9]*)(\\.[0-9]+)?$'"),
    (POLICY, "gt: \"10000.00\"", "gt: 10000", "spec.rules[0].amounts[0].gt in body must be of type string: \"integer\""),
    (POLICY, "gt: \"10000.00\"", "gt: \"1\", gte: \"2\"", "`gt` and `gte` are both given; keep one"),
    (POLICY, "{currency: USD, gt: \"10000.00\"}", "{currency: USD}", "bounds nothing; give at least one of `gt`, `gte`, `lt` and `lte`"),
    (POLICY, "currency: USD, gt: \"10000.00\"", "currency: US, gt: \"10000.00\"", "spec.rules[0].amounts[0].currency in body should match '^[A-Z]{3}$'"),
    (POLICY, "{currency: USD, gt: \"10000.00\"}", "{currency: USD, gt: \"1\"}, {currency: USD, gt: \"2\"}", "spec.rules[0].amounts[1]: Duplicate value: {\"currency\":\"USD\"}"),
    (POLICY, "holdSeconds: 0", "holdSeconds: 56", "spec.rules[1].approval.holdSeconds in body should be less than or equal to 55"),
    (POLICY, "groups: [finance]", "groups: [finance, finance]", "spec.rules[1].approval.groups[1]: Duplicate value: \"finance\""),
    (POLICY, "decision: RequireApproval", "decision: Allow", "asks nobody: the rule's decision is not RequireApproval; write `decision: RequireApproval`, or leave `approval` out"),
    (POLICY, "days: [Mon, Tue]", "days: [Monday]", "spec.rules[2].schedule.days[0]: Unsupported value: \"Monday\": supported values: \"Mon\", \"Tue\", \"Wed\", \"Thu\", \"Fri\", \"Sat\", \"Sun\""),
    (POLICY, "days: [Mon, Tue]", "days: []", "spec.rules[2].schedule.days in body should have at least 1 items"),
    (POLICY, "from: \"09:00\"", "from: \"9:00\"", "spec.rules[2].schedule.from in body should match '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'"),
    (POLICY, "to: \"17:00\"", "to: \"25:00\"", "spec.rules[2].schedule.to in body should match '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'"),
    (POLICY, "environments: [production]", "environments: [\"\"]", "spec.rules[2].environments[0] in body should be at least 1 chars long"),
    (POLICY, "maxResponseBytes: 1048576", "maxResponseBytes: -1", "spec.rules[2].obligations.maxResponseBytes in body should be greater than or equal to 1"),
    (POLICY, "obligations: {maxResponseBytes: 1048576}", "obligations: {notify: true}", "unknown field \"spec.rules[2].obligations.notify\""),
    (POLICY, "    allowIrreversible: true\n", "    allowIrreversible: true\n    when: \"\"\n", "spec.rules[2].when in body should be at least 1 chars long"),
    (POLICY, "capabilities: [stripe.refunds.create]\n    amounts: [{currency: USD, lte", "capabilities: [stripe.refunds.create]\n    amount: [{currency: USD, lte", "unknown field \"spec.rules[2].amount\""),
    (GUARD, "decision: Deny", "decision: Allow", "a ClusterActionPolicy only guards: expected `Deny` or `RequireApproval`; allow in an ActionPolicy of the namespace"),
    (GUARD, "decision: Deny", "decision: RequireApproval, approval: {groups: []}", "spec.rules[0].approval.groups in body should have at least 1 items"),
    (GUARD, "matchLabels: {team: treasury}", "matchExpressions: [{key: team, operator: Like, values: [a]}]", "spec.passportSelector.matchExpressions[0].operator: Unsupported value: \"Like\": supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\""),
    (GUARD, "matchLabels: {team: treasury}", "matchExpressions: [{key: team, operator: In}]", "In and NotIn need at least one value"),
    (GUARD, "rules:\n  - {name: huge, decision: Deny, capabilities: [\"**\"], amounts: [{currency: USD, gt: \"10000.00\"}]}", "rules: []", "spec.rules in body should have at least 1 items"),
    (GUARD, "capabilities: [\"**\"]", "capabilities: [\"*.*.*x\"]", "spec.rules[0].capabilities[0] in body should match '^(\\*\\*|([a-z0-9_-]+|\\*)(\\.([a-z0-9_-]+|\\*))*\\.([a-z0-9_-]+|\\*\\*?))$'"),
    (VOTE, "decision: Approve", "decision: Maybe", "spec.decision: Unsupported value: \"Maybe\": supported values: \"Approve\", \"Deny\""),
    (VOTE, "digest: abab", "digest: XYab", "spec.digest in body should match '^[0-9a-f]{64}$'"),
    (VOTE, "approvalName: apr-1", "approvalName: Apr_1", "spec.approvalName in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (VOTE, "  decision: Approve\n", "", "spec.decision: Required value"),
    (VOTE, "signature: A", "signature: +", "spec.stamp.signature in body should match '^[-_A-Za-z0-9]{86}$'"),
    (VOTE, "time: \"2026-11-21T12:00:00.000000Z\"", "time: \"noon\"", "spec.stamp.time in body must be of type date-time: \"noon\""),
    (VOTE, "user: ann", "user: \"\"", "spec.stamp.user in body should be at least 1 chars long"),
    (APPROVAL, "seats: [{groups: [finance], quorum: 1}]", "seats: []", "spec.seats in body should have at least 1 items"),
    (APPROVAL, "because: RequiredByRule", "because: Mood", "spec.because: Unsupported value: \"Mood\": supported values: \"RequiredByRule\", \"Irreversible\", \"LimitExceeded\""),
    (APPROVAL, "effect: Irreversible", "effect: Undo", "spec.effect: Unsupported value: \"Undo\": supported values: \"Read\", \"Write\", \"Irreversible\""),
    (APPROVAL, "  approvalId: apr_1\n", "", "spec.approvalId: Required value"),
    (APPROVAL, "quorum: 1", "quorum: many", "spec.seats[0].quorum in body must be of type integer: \"string\""),
    (APPROVAL, "expiresAt: \"2026-11-21T12:30:00.000000Z\"", "expiresAt: \"later\"", "spec.expiresAt in body must be of type date-time: \"later\""),
    (APPROVAL, "name: apr-1", "name: Apr-1", "metadata.name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    (EVIDENCE, "{name: evidence}", "{name: evidence}\nspec: {size: 7}", "unknown field \"spec\""),
    (EVIDENCE, "{name: evidence}", "{name: Evidence}", "metadata.name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
];

/// What only the webhook sees, in a namespace that has the catalogue's Stripe and [`PASSPORT`].
#[rustfmt::skip]
pub(crate) const REFUSED_BY_WEBHOOK: &[Case] = &[
    (PASSPORT, "max: \"5000.00\"", "max: \"5000.001\"", "spec.limits[0].max: amount `5000.001` has 3 decimals, but USD has 2"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [10.0.0.1]", "spec.hosts[0]: `10.0.0.1` is an IP address; name the host"),
    (UPSTREAM, "path: /v1/payouts", "path: /v1/../payouts", "spec.actions[0].match.http.path: path template `/v1/../payouts` has a dot segment"),
    (UPSTREAM, "path: /v1/payouts", "path: /v1/**/x", "spec.actions[0].match.http.path: path template `/v1/**/x`: `**` may only be the last segment"),
    (UPSTREAM, "forward: [Pay-Account]", "forward: [Authorization]", "spec.actions[0].headers.forward[0]: `authorization` carries the lent credential, so the agent's is dropped; leave it out"),
    (UPSTREAM, "default: none", "default: none, required: true", "spec.actions[0].attributes[0].default: a required attribute never takes its default; keep one of `required: true` and `default`"),
    (UPSTREAM, "method: DELETE, path: \"/v1/notes/{response.id}\"", "method: GET, path: \"/v1/notes/{response.id}\"", "spec.actions[1].compensation.method: `pay.notes.delete` has method DELETE, not GET"),
    (VOTE, "approvalUid: 4a0e7f0e-0000-4000-8000-000000000000", "approvalUid: some", "spec.approvalName: there is no Approval `apr-1`"),
    (PASSPORT, "capability: stripe.refunds.create", "capability: stripe.refund.create", "spec.scope[0].capability: no Upstream declares `stripe.refund.create`; did you mean `stripe.refunds.create`?"),
    (PASSPORT, "capability: stripe.refunds.create", "capability: strip.refunds.create", "spec.scope[0].capability: no Upstream declares `strip.refunds.create`; did you mean `stripe.refunds.create`?"),
    (PASSPORT, "meter: refunds", "meter: refund", "spec.limits[0].meter: no action in scope feeds meter `refund`; did you mean `refunds`?"),
    (PASSPORT, "unit: USD", "unit: EUR", "spec.limits[0].unit: meter `refunds` is never fed in EUR; the actions in scope feed it in `USD`"),
    (POLICY, "timeZone: UTC", "timeZone: Mars", "spec.rules[2].schedule.timeZone: `Mars` is no IANA time zone; expected an IANA time zone such as `UTC` or `Europe/Berlin`"),
    (POLICY, "capabilities: [stripe.refunds.create]", "capabilities: [stripe.refundz.create]", "spec.rules[0].capabilities[0]: no Upstream declares `stripe.refundz.create`; did you mean `stripe.refunds.create`?"),
    (POLICY, "    allowIrreversible: true\n", "    allowIrreversible: true\n    when: \"attributes.reason ==\"\n", "spec.rules[2].when: line 1, column 21: Syntax error: mismatched input '<EOF>' expecting..."),
    (POLICY, "    allowIrreversible: true\n", "    allowIrreversible: true\n    when: \"attributes.nosuch == 'x'\"\n", "spec.rules[2].when: `attributes.nosuch` is not known here; there are attributes.*, action.*, facts.* and hints.*"),
    (POLICY, "    allowIrreversible: true\n", "    allowIrreversible: true\n    when: \"hints.confidence > 1\"\n", "spec.rules[2].when: `hints.confidence` is a hint: it may tighten, so it stands in Deny and RequireApproval rules only"),
    (UPSTREAM, "{capability: pay.notes.delete,", "{capability: pay.notes.drop,", "spec.actions[1].compensation.capability: Upstream `pay` declares no `pay.notes.drop`; it declares `pay.payouts.create`, `pay.notes.create`, `pay.notes.delete` and `pay.read`"),
    (UPSTREAM, "hosts: [api.pay.example]", "hosts: [api.stripe.com]", "spec.hosts[0]: Upstream `pay` has `api.stripe.com` on port 443 too; a name and port belong to one Upstream"),
    (UPSTREAM, "from: body.note", "from: body.memo", "spec.actions[0].attributes[0].from: `body.memo` can never be there: `params.allow` does not list `memo`; add it there"),
    (UPSTREAM, "from: body.amount", "from: body.total", "spec.actions[0].amount.from: `body.total` can never be there: `params.allow` does not list `total`; add it there"),
    (UPSTREAM, "path: \"/v1/**\"", "path: \"/v1/{a}/{a}\"", "spec.actions[3].match.http.path: path template `/v1/{a}/{a}` names `a` twice"),
    (UPSTREAM, "name: read, match: {http: {method: GET, path: \"/v1/**\"}}", "name: read, match: {http: {method: DELETE, path: \"/v1/notes/{nr}\"}}", "spec.actions[3].match.http.path: ties with `notes.delete` (spec.actions[2]): both match some DELETE requests and neither is more specific; make `/v1/notes/{nr}` or `/v1/notes/{id}` more specific"),
];

/// A Passport with every field.
pub(crate) const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Refund customers
  scope:
  - {capability: stripe.refunds.create, resources: ["ch_*"]}
  - {capability: "stripe.*"}
  limits:
  - {meter: refunds, unit: USD, max: "5000.00", windowSeconds: 86400, onExceed: Deny}
  - {meter: writes, unit: Count, max: "500", calendar: Day}
  defaultApproval: {groups: [finance], quorum: 1, expiresAfterSeconds: 1800}
  ttlSeconds: 900
  readsWithoutLedgerSeconds: 30
  notAfter: "2027-01-31T00:00:00Z"
  suspended: false
"#;

/// An Upstream with an action of each sort.
pub(crate) const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [api.pay.example]
  ports: [443]
  addresses: Public
  protocol: HTTP
  tls: {mode: Intercept}
  allowedNamespaces: {from: All}
  credentials:
  - {name: pay-write, effects: [Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
  - name: payouts.create
    match: {http: {method: POST, path: /v1/payouts}}
    effect: Irreversible
    body: {format: JSON, maxBytes: 65536}
    params: {allow: [vendor, amount, note]}
    headers: {forward: [Pay-Account]}
    attributes:
    - {name: note, from: body.note, type: String, default: none, sensitive: false}
    amount: {from: body.amount, unit: Major, currency: {const: USD}}
    resource: {from: body.vendor}
    meters: [{name: payouts, from: Amount}]
    idempotencyHeader: Idempotency-Key
  - name: notes.create
    match: {http: {method: PUT, path: "/v1/notes/{id}"}}
    effect: Write
    body: {format: Form}
    compensation: {capability: pay.notes.delete, method: DELETE, path: "/v1/notes/{response.id}"}
  - {name: notes.delete, match: {http: {method: DELETE, path: "/v1/notes/{id}"}}, effect: Write}
  - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
"#;

/// An ActionPolicy with a rule of each decision.
pub(crate) const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: refunds}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  mode: Enforce
  rules:
  - name: huge
    decision: Deny
    capabilities: [stripe.refunds.create]
    amounts: [{currency: USD, gt: "10000.00"}]
  - name: large
    decision: RequireApproval
    capabilities: [stripe.refunds.create]
    amounts: [{currency: USD, gt: "500.00"}]
    approval: {groups: [finance], quorum: 1, expiresAfterSeconds: 1800, holdSeconds: 0}
  - name: small
    decision: Allow
    allowIrreversible: true
    capabilities: [stripe.refunds.create]
    amounts: [{currency: USD, lte: "500.00"}]
    schedule: {days: [Mon, Tue], from: "09:00", to: "17:00", timeZone: UTC}
    environments: [production]
    resources: ["ch_*"]
    obligations: {maxResponseBytes: 1048576}
"#;

/// Guard rules.
pub(crate) const GUARD: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ClusterActionPolicy
metadata: {name: guard}
spec:
  passportSelector: {matchLabels: {team: treasury}}
  rules:
  - {name: huge, decision: Deny, capabilities: ["**"], amounts: [{currency: USD, gt: "10000.00"}]}
"#;

/// A vote as the webhook stamps it.
pub(crate) const VOTE: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ApprovalVote
metadata: {name: 0123456789abcdef0123456789abcdef01234567}
spec:
  approvalName: apr-1
  approvalUid: 4a0e7f0e-0000-4000-8000-000000000000
  digest: abababababababababababababababababababababababababababababababab
  decision: Approve
  stamp: {user: ann, groups: [finance], time: "2026-11-21T12:00:00.000000Z", keyId: k1, signature: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}
"#;

/// A question as the controller writes it.
pub(crate) const APPROVAL: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Approval
metadata: {name: apr-1}
spec:
  digest: abababababababababababababababababababababababababababababababab
  capability: pay.payouts.create
  effect: Irreversible
  target: POST api.pay.example/v1/payouts
  agent: clerk
  passport: clerk
  owner: owner@example.com
  purpose: Pay vendors
  approvalId: apr_1
  because: RequiredByRule
  seats: [{groups: [finance], quorum: 1}]
  askedAt: "2026-11-21T12:00:00.000000Z"
  expiresAt: "2026-11-21T12:30:00.000000Z"
"#;

/// What is known of a log.
pub(crate) const EVIDENCE: &str = r#"apiVersion: actpass.org/v1alpha1
kind: EvidenceLog
metadata: {name: evidence}
"#;
