//! Every machine-readable reason there is, so that a metric's label has a known number of values.

/// Reasons of denials and refusals, sorted by byte.
pub const REASONS: [&str; 57] = [
    "ambiguous_repeat",
    "approval_denied",
    "approval_expired",
    "approval_required",
    "approval_used",
    "bad_path",
    "bad_receipt",
    "body_not_allowed",
    "body_too_large",
    "busy",
    "clock_skew",
    "compressed_body",
    "credential_echoed",
    "credential_unavailable",
    "declared_fact",
    "duplicate_header",
    "duplicate_key",
    "evidence_behind",
    "header_too_large",
    "host_mismatch",
    "internal_error",
    "ledger_unavailable",
    "limit_exceeded",
    "mislabelled_body",
    "no_approver",
    "no_passport",
    "no_route",
    "no_rule",
    "not_a_read",
    "not_found",
    "not_intercepted",
    "not_recorded",
    "not_revealed",
    "not_sealed",
    "not_under_audit",
    "out_of_scope",
    "outcome_unknown",
    "passport_expired",
    "passport_invalid",
    "passport_revoked",
    "passport_suspended",
    "permit_without_ledger",
    "resource_out_of_scope",
    "rule_denies",
    "rule_error",
    "stale_policy",
    "too_many_pending",
    "two_actions",
    "unclear_answer",
    "undeclared",
    "undeclared_address",
    "undeclared_name",
    "undeclared_parameter",
    "under_audit",
    "unparsable",
    "upstream_failed",
    "wildcard_exhausted",
];

/// The reason as a label: one of [`REASONS`], `none` where there is none, `other` for any other text.
pub fn label(reason: Option<&str>) -> &'static str {
    let Some(reason) = reason else { return "none" };
    REASONS
        .binary_search(&reason)
        .ok()
        .and_then(|at| REASONS.get(at))
        .copied()
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::DenyReason;

    #[test]
    fn reasons_are_sorted_and_hold_those_of_the_decision() {
        assert!(REASONS.is_sorted());
        for code in DenyReason::CODES {
            assert_eq!(label(Some(code)), code);
        }
        assert_eq!(
            (label(None), label(Some("no such reason"))),
            ("none", "other")
        );
    }
}
