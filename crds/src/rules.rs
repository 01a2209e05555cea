//! Rules that an API server holds a resource against beyond its fields' types, in CEL, with the words of the checker.
//!
//! Here stands what one resource alone shows and is an error for [`crate::check`] too; what takes other resources, a
//! parser of ours or a list of currencies is left to admission. Each rule is held against the checker by the tests of
//! bad manifests, and its cost is bounded by the lengths that the fields declare. `const` is a word of CEL, so the
//! field of that name is `__const__`.

use serde::Serialize;

/// One rule of `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    rule: &'static str,
    message: &'static str,
    /// Path of the field that is wrong, from where the rule stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    field_path: Option<&'static str>,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule {
        rule,
        message,
        field_path: None,
    }
}

const fn rule_at(field_path: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule {
        rule,
        message,
        field_path: Some(field_path),
    }
}

/// `Passport.spec.agentId`.
pub(crate) const AGENT_ID: [Rule; 1] = [rule(
    "self == oldSelf",
    "is the name in evidence and cannot be changed; make a new Passport",
)];

/// `Passport.spec`.
pub(crate) const PASSPORT: [Rule; 2] = [
    rule_at(
        ".limits",
        "has(self.defaultApproval) || !has(self.limits) || self.limits.all(it, it.onExceed != 'RequireApproval')",
        "a limit asks nobody: the Passport has no `defaultApproval`; add one, or write `onExceed: Deny`",
    ),
    rule_at(
        ".limits",
        "!has(self.limits) || self.limits.all(a, self.limits.exists_one(b, a.meter == b.meter && a.unit == b.unit && (has(a.calendar) ? a.calendar : '') == (has(b.calendar) ? b.calendar : '') && (has(a.windowSeconds) ? a.windowSeconds : 0) == (has(b.windowSeconds) ? b.windowSeconds : 0)))",
        "two limits cap one meter in one unit over the same window; keep the smaller one",
    ),
];

/// A limit.
pub(crate) const LIMIT: [Rule; 3] = [
    rule(
        "has(self.windowSeconds) || has(self.calendar)",
        "has no window of time; add `windowSeconds: 86400`, or `calendar: Day` or `Month`",
    ),
    rule(
        "!has(self.windowSeconds) || !has(self.calendar)",
        "`windowSeconds` and `calendar` are both given; keep one",
    ),
    rule_at(
        ".max",
        "self.unit != 'Count' || !self.max.contains('.')",
        "expected a whole count such as \"500\"; for money give a currency as `unit`",
    ),
];

/// `Upstream.spec`.
pub(crate) const UPSTREAM: [Rule; 6] = [
    rule_at(
        ".actions",
        "(self.protocol != 'TCP' && self.tls.mode != 'Passthrough') || !has(self.actions) || self.actions.size() == 0",
        "no action can be read off bytes that are passed through; leave `actions` out, or use `protocol: HTTP` with `tls: {mode: Intercept}`",
    ),
    rule(
        "self.protocol != 'HTTP' || self.tls.mode == 'Passthrough' || (has(self.actions) && self.actions.size() > 0)",
        "`actions` is missing; without actions everything there is denied; declare what may be done",
    ),
    rule_at(
        ".tls",
        "self.protocol != 'TCP' || self.tls.mode != 'Intercept'",
        "`protocol: TCP` is not inspected, so TLS cannot be intercepted; write `tls: {mode: Passthrough}`, or `None`",
    ),
    rule_at(
        ".tls.caBundle",
        "!has(self.tls.caBundle) || self.tls.mode == 'Intercept'",
        "is only read with `mode: Intercept`; leave it out",
    ),
    rule_at(
        ".credentials",
        "(self.protocol != 'TCP' && self.tls.mode == 'Intercept') || !has(self.credentials) || self.credentials.size() == 0",
        "a credential is lent only where TLS is intercepted; use `tls: {mode: Intercept}` and `protocol: HTTP`, or leave `credentials` out",
    ),
    rule_at(
        ".credentials",
        "!has(self.credentials) || self.credentials.all(a, self.credentials.all(b, a.name == b.name || !a.effects.exists(it, it in b.effects)))",
        "two credentials are lent for one effect; one effect has one credential",
    ),
];

/// `Upstream.spec.allowedNamespaces`.
pub(crate) const ALLOWED_NAMESPACES: [Rule; 2] = [
    rule(
        "self.from != 'Selector' || has(self.selector)",
        "`from: Selector` needs `selector`",
    ),
    rule_at(
        ".selector",
        "self.from == 'Selector' || !has(self.selector)",
        "`selector` is only read with `from: Selector`; leave it out, or write `from: Selector`",
    ),
];

/// A credential. The list is that of [`actpass_core::headers::TRANSPORT_HEADERS`].
pub(crate) const CREDENTIAL: [Rule; 1] = [rule_at(
    ".header",
    "!(self.header.lowerAscii() in ['connection', 'content-length', 'expect', 'host', 'http2-settings', 'keep-alive', 'proxy-authenticate', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'])",
    "belongs to the transport; name the header that the upstream reads the secret from",
)];

/// An action.
pub(crate) const ACTION: [Rule; 6] = [
    rule(
        "(has(self.body) && self.body.format != 'None') || ((!has(self.amount) || !(self.amount.from.startsWith('body.') || (has(self.amount.currency.from) && self.amount.currency.from.startsWith('body.')))) && (!has(self.resource) || !self.resource.from.startsWith('body.')) && (!has(self.attributes) || self.attributes.all(it, !it.from.startsWith('body.'))))",
        "something is read from a body, and the action has none; declare `body: {format: Form}` or `JSON`",
    ),
    rule(
        "!has(self.body) || self.body.format == 'None' || self.body.mode != 'Streamed' || ((!has(self.amount) || !(self.amount.from.startsWith('body.') || (has(self.amount.currency.from) && self.amount.currency.from.startsWith('body.')))) && (!has(self.resource) || !self.resource.from.startsWith('body.')) && (!has(self.attributes) || self.attributes.all(it, !it.from.startsWith('body.'))))",
        "something is read from a body that is `mode: Streamed` and so never parsed; use `mode: Buffered`, or read it from elsewhere",
    ),
    rule_at(
        ".meters",
        "has(self.amount) || !has(self.meters) || self.meters.all(it, it.from != 'Amount')",
        "a meter counts the amount, and the action declares none; add `amount`, or count by `Constant` or `Attribute`",
    ),
    rule_at(
        ".meters",
        "!has(self.meters) || self.meters.all(it, it.from != 'Attribute' || !has(it.attribute) || (has(self.attributes) && self.attributes.exists(known, known.name == it.attribute && known.type == 'Integer')))",
        "a meter counts an attribute that is not declared, or is no Integer; declare it under `attributes` with `type: Integer`",
    ),
    rule_at(
        ".headers",
        "!has(self.idempotencyHeader) || !has(self.headers) || !has(self.headers.forward) || self.headers.forward.all(it, it.lowerAscii() != self.idempotencyHeader.lowerAscii())",
        "the `idempotencyHeader` is forwarded but not judged; SDKs make it up per call, so an approved request could never be repeated; leave it out here",
    ),
    rule_at(
        ".compensation",
        "self.effect != 'Read' || !has(self.compensation)",
        "a Read has nothing to undo; leave it out",
    ),
];

/// The currency of an amount.
pub(crate) const CURRENCY: [Rule; 1] = [rule(
    "has(self.__const__) != has(self.from)",
    "needs exactly one of `const` and `from`; write {const: USD}, or {from: body.currency}",
)];

/// A meter an action feeds.
pub(crate) const METER: [Rule; 4] = [
    rule_at(
        ".name",
        "self.name != 'writes'",
        "`writes` is built in: every action but a read feeds it by one; choose another name",
    ),
    rule(
        "self.from != 'Amount' || (!has(self.attribute) && !has(self.value))",
        "`from: Amount` needs neither `attribute` nor `value`",
    ),
    rule(
        "self.from != 'Attribute' || (has(self.attribute) && !has(self.value))",
        "`from: Attribute` needs `attribute`, and no `value`",
    ),
    rule(
        "self.from != 'Constant' || (has(self.value) && !has(self.attribute))",
        "`from: Constant` needs `value`, and no `attribute`",
    ),
];

/// The rules of a ClusterActionPolicy.
pub(crate) const GUARDS: [Rule; 1] = [rule(
    "self.all(it, it.decision != 'Allow')",
    "a ClusterActionPolicy only guards: expected `Deny` or `RequireApproval`; allow in an ActionPolicy of the namespace",
)];

/// A rule of a policy.
pub(crate) const POLICY_RULE: [Rule; 2] = [
    rule_at(
        ".approval",
        "self.decision == 'RequireApproval' || !has(self.approval)",
        "asks nobody: the rule's decision is not RequireApproval; write `decision: RequireApproval`, or leave `approval` out",
    ),
    rule_at(
        ".allowIrreversible",
        "self.decision == 'Allow' || !self.allowIrreversible",
        "allows nothing: the rule's decision is not Allow; leave it out",
    ),
];

/// Bounds on an amount.
pub(crate) const AMOUNT_BOUND: [Rule; 3] = [
    rule(
        "has(self.gt) || has(self.gte) || has(self.lt) || has(self.lte)",
        "bounds nothing; give at least one of `gt`, `gte`, `lt` and `lte`",
    ),
    rule(
        "!has(self.gt) || !has(self.gte)",
        "`gt` and `gte` are both given; keep one",
    ),
    rule(
        "!has(self.lt) || !has(self.lte)",
        "`lt` and `lte` are both given; keep one",
    ),
];

/// A schedule.
pub(crate) const SCHEDULE: [Rule; 2] = [
    rule_at(
        ".from",
        "self.from != '24:00'",
        "`24:00` is an end of a day; write \"00:00\" for its start",
    ),
    rule(
        "self.from != self.to",
        "starts and ends at the same time, so it is empty or the whole day; for the whole day write from \"00:00\" to \"24:00\"",
    ),
];

/// An expression over a label.
pub(crate) const LABEL_EXPRESSION: [Rule; 2] = [
    rule_at(
        ".values",
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
        "In and NotIn need at least one value",
    ),
    rule_at(
        ".values",
        "self.operator in ['In', 'NotIn'] || !has(self.values) || self.values.size() == 0",
        "Exists and DoesNotExist take no values; leave them out",
    ),
];

/// `Approval.spec`.
pub(crate) const ESCALATION: [Rule; 1] = [rule(
    "self == oldSelf",
    "what was asked cannot be changed; it can be answered, or asked again",
)];

/// `ApprovalVote.spec`.
pub(crate) const VOTE: [Rule; 1] = [rule(
    "self == oldSelf",
    "a vote cannot be changed; what was asked can be asked again",
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_kept_out_of_the_transports_headers() {
        let list = actpass_core::headers::TRANSPORT_HEADERS.map(|name| format!("'{name}'"));
        let list = format!("in [{}]", list.join(", "));
        assert!(CREDENTIAL[0].rule.contains(&list), "{list}");
    }
}
