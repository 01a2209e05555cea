//! Answers ActPass gives in an upstream's place: read by SDKs as a final, explained no.

use actpass_core::upstream::ErrorStyle;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::judge::{Denial, DenialKind};

/// The answer to a request that may not run. 403 for a denial and for a question to people, since SDKs take 202 for
/// success and retry 409 and 503; no `Retry-After`, for the same reason.
pub(crate) fn deny(denial: &Denial) -> Response<Full<Bytes>> {
    let status = status(&denial.kind);
    let body = match denial.style {
        ErrorStyle::Problem => problem(denial, status),
        ErrorStyle::Slack => json!({ "ok": false, "error": denial.code, "message": denial.detail }),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
    headers.insert("stripe-should-retry", HeaderValue::from_static("false"));
    if let Some(evidence) = &denial.evidence
        && let Ok(value) = HeaderValue::from_str(&evidence.0)
    {
        headers.insert("actpass-evidence", value);
    }
    response
}

/// RFC 9457 members, and beside them what the SDKs of payment, model and code hosts read.
fn problem(denial: &Denial, status: StatusCode) -> serde_json::Value {
    let (title, approval) = match &denial.kind {
        DenialKind::ApprovalRequired { approval, expires } => (
            "Approval required",
            Some(match expires {
                Some(expires) => json!({ "id": approval, "expires": expires }),
                None => json!({ "id": approval }),
            }),
        ),
        DenialKind::Denied => ("Denied by ActPass", None),
        DenialKind::Unparsable => ("Not readable as one request", None),
        DenialKind::TooLarge => ("Too large", None),
        DenialKind::Upstream => ("No answer from the upstream", None),
        DenialKind::NotFound => ("Not found", None),
        DenialKind::Busy => ("ActPass cannot decide now", None),
    };
    let mut body = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": denial.detail,
        "code": denial.code,
        "message": denial.detail,
        "error": { "message": denial.detail, "type": "actpass_denied", "code": denial.code },
    });
    if let Some(fields) = body.as_object_mut() {
        if !denial.rules.is_empty() {
            fields.insert("rules".to_owned(), json!(denial.rules));
        }
        if let Some(approval) = approval {
            fields.insert("approval".to_owned(), approval);
        }
        if let Some(evidence) = &denial.evidence {
            fields.insert("instance".to_owned(), json!(format!("actpass:{evidence}")));
        }
    }
    body
}

fn status(kind: &DenialKind) -> StatusCode {
    match kind {
        DenialKind::Denied | DenialKind::ApprovalRequired { .. } => StatusCode::FORBIDDEN,
        DenialKind::Unparsable => StatusCode::BAD_REQUEST,
        DenialKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        DenialKind::Upstream => StatusCode::BAD_GATEWAY,
        DenialKind::NotFound => StatusCode::NOT_FOUND,
        DenialKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::EvidenceId;

    fn denial(kind: DenialKind, style: ErrorStyle) -> Denial {
        Denial {
            kind,
            code: "limit_exceeded".into(),
            detail: "The limit on `refunds` is 5000.00 USD.".to_owned(),
            rules: vec!["refunds/small".to_owned()],
            evidence: Some(EvidenceId("ab/7".to_owned())),
            style,
        }
    }

    #[test]
    fn a_denial_is_a_final_403_that_every_sdk_can_read() {
        let response = deny(&denial(DenialKind::Denied, ErrorStyle::Problem));
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers().get("retry-after"), None);
        for name in ["x-should-retry", "stripe-should-retry"] {
            assert_eq!(response.headers().get(name).unwrap(), "false", "{name}");
        }
        assert_eq!(response.headers().get("actpass-evidence").unwrap(), "ab/7");
        let body = problem(
            &denial(DenialKind::Denied, ErrorStyle::Problem),
            StatusCode::FORBIDDEN,
        );
        assert_eq!(
            body["error"]["message"],
            "The limit on `refunds` is 5000.00 USD."
        );
        assert_eq!(body["message"], body["detail"]);
        assert_eq!(body["rules"][0], "refunds/small");
    }

    #[test]
    fn an_escalation_names_its_approval() {
        let kind = DenialKind::ApprovalRequired {
            approval: "apr_1".to_owned(),
            expires: None,
        };
        let body = problem(&denial(kind, ErrorStyle::Problem), StatusCode::FORBIDDEN);
        assert_eq!(body["approval"], json!({ "id": "apr_1" }));
    }
}
