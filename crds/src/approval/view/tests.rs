use serde_json::json;

use super::*;

fn view(changes: &[(&str, serde_json::Value)]) -> ApprovalView {
    let mut view = json!({
        "id": "apr_0a1b2c3d4e5f60718293", "digest": "d".repeat(64), "state": "pending", "capability": "stripe.refunds.create",
        "effect": "Irreversible", "amount": "12.50 EUR", "resource": "ch_1",
        "target": "POST https://api.stripe.com:443/v1/refunds", "agent": "refund-agent", "passport": "refund-agent",
        "owner": "payments-oncall@example.com", "purpose": "Refund customers", "rationale": "they asked",
        "attributes": {"reason": "duplicate"},
        "sent": [
            {"place": "body", "name": "charge", "value": "ch_1", "fact": true},
            {"place": "header", "name": "stripe-account", "value": "acct_1", "fact": false},
        ],
        "sent_more": 2, "unseen": null, "rules": ["refunds/large"], "because": "limit_exceeded",
        "limits": [{"passport": "refund-agent", "meter": "refunds", "unit": "EUR", "max": "20.00", "used": "10.00",
            "left": "10.00", "window": "calendar day (UTC)", "frees_at": null}],
        "over_limits": [{"meter": "refunds", "unit": "EUR", "max": "20.00", "reaches": "22.50",
            "window": "calendar day (UTC)"}],
        "seats": [{"groups": ["finance"], "quorum": 2}],
        "asked": "2026-11-21T09:00:00.000000Z", "expires": "2026-11-21T09:30:00.000000Z",
        "votes": [{"user": "ada", "grant": true, "time": "2026-11-21T09:01:00.000000Z"}],
    });
    for (field, value) in changes {
        view[*field] = value.clone();
    }
    serde_json::from_value(view).unwrap()
}

#[test]
fn an_approval_says_what_the_ledger_says() {
    let view = view(&[]);
    let written = EscalationSpec::of(&view, "d".repeat(64)).unwrap();
    let want = json!({
        "approvalId": "apr_0a1b2c3d4e5f60718293", "digest": "d".repeat(64), "capability": "stripe.refunds.create",
        "effect": "Irreversible", "amount": "12.50 EUR", "resource": "ch_1",
        "target": "POST https://api.stripe.com:443/v1/refunds", "agent": "refund-agent", "passport": "refund-agent",
        "owner": "payments-oncall@example.com", "purpose": "Refund customers", "rationale": "they asked",
        "attributes": {"reason": "duplicate"},
        "sent": [{"place": "Header", "name": "stripe-account", "value": "acct_1"}], "sentMore": 2,
        "rules": ["refunds/large"], "because": "LimitExceeded",
        "limits": [{"meter": "refunds", "unit": "EUR", "max": "20.00", "used": "10.00", "left": "10.00",
            "window": "calendar day (UTC)"}],
        "overLimits": [{"meter": "refunds", "unit": "EUR", "max": "20.00", "reaches": "22.50",
            "window": "calendar day (UTC)"}],
        "seats": [{"groups": ["finance"], "quorum": 2}],
        "askedAt": "2026-11-21T09:00:00.000000Z", "expiresAt": "2026-11-21T09:30:00.000000Z",
    });
    assert_eq!(serde_json::to_value(&written).unwrap(), want);
    let read: EscalationSpec = serde_json::from_value(want).unwrap();
    assert_eq!(read, written);
    assert_eq!(
        ApprovalState::of(&view.state),
        Ok(Some(ApprovalState::Pending))
    );
    let vote = CountedVote::from(&view.votes[0]);
    assert_eq!(
        (vote.user.as_str(), vote.decision),
        ("ada", VoteDecision::Approve)
    );
}

#[test]
fn a_word_that_is_not_known_is_not_shown_as_another() {
    for (field, word) in [("effect", "Harmless"), ("because", "just_so")] {
        let refused = EscalationSpec::of(&view(&[(field, json!(word))]), String::new());
        assert_eq!(refused.unwrap_err().word, word, "{field}");
    }
    let refused = ApprovalState::of("paused");
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`paused` is no state this build knows; use the controller and the ledger of one release"
    );
    let sealing = ApprovalState::of("sealing");
    assert_eq!(sealing, Ok(None), "nobody is asked yet");
}

#[test]
fn what_is_too_much_is_counted() {
    let value = |text: &str| json!({"place": "body", "name": "n", "value": text, "fact": false});
    let sent = json!([
        value("short"),
        value(&"x".repeat(20_000)),
        value("behind it")
    ]);
    let written = EscalationSpec::of(&view(&[("sent", sent)]), String::new()).unwrap();
    assert_eq!((written.sent.len(), written.sent_more), (1, 2 + 2));
    let sent = vec![value("v"); 600];
    let written = EscalationSpec::of(&view(&[("sent", json!(sent))]), String::new()).unwrap();
    assert_eq!((written.sent.len(), written.sent_more), (512, 2 + 88));
}

/// Where a value is longer than the schema of its place takes.
fn too_long(schema: &serde_json::Value, value: &serde_json::Value, at: &str) -> Vec<String> {
    let most = |key: &str| schema.get(key).and_then(serde_json::Value::as_u64);
    let over = |key: &str, length: usize| most(key).is_some_and(|most| length as u64 > most);
    let mut found = Vec::new();
    match value {
        serde_json::Value::String(text) if over("maxLength", text.chars().count()) => {
            found.push(at.to_owned());
        }
        serde_json::Value::Array(items) => {
            if over("maxItems", items.len()) {
                found.push(at.to_owned());
            }
            let items = items
                .iter()
                .map(|item| too_long(&schema["items"], item, at));
            found.extend(items.flatten());
        }
        serde_json::Value::Object(members) => {
            if over("maxProperties", members.len()) {
                found.push(at.to_owned());
            }
            for (key, member) in members {
                let own = schema["properties"].get(key);
                let schema = own.unwrap_or(&schema["additionalProperties"]);
                found.extend(too_long(schema, member, &format!("{at}.{key}")));
            }
        }
        _ => {}
    }
    found
}

#[test]
fn whatever_the_ledger_says_fits_an_approval_and_what_is_cut_off_cannot_be_approved() {
    let schema = crate::schema::of_type::<EscalationSpec>();
    let long = "é".repeat(20_000);
    let many = |count: usize, one: serde_json::Value| vec![one; count];
    let attributes: std::collections::BTreeMap<String, &str> =
        (0..40).map(|n| (format!("a{n}"), long.as_str())).collect();
    let limit = json!({"passport": long, "meter": long, "unit": long, "max": long, "used": long, "left": long,
        "window": long, "frees_at": null});
    let over = json!({"meter": long, "unit": long, "max": long, "reaches": long, "window": long});
    let seat = json!({"groups": many(20, json!(long)), "quorum": 1});
    let huge = view(&[
        ("capability", json!(long)),
        ("amount", json!(long)),
        ("resource", json!(long)),
        ("target", json!(long)),
        ("agent", json!(long)),
        ("passport", json!(long)),
        ("owner", json!(long)),
        ("purpose", json!(long)),
        ("rationale", json!(long)),
        ("attributes", json!(attributes)),
        ("unseen", json!(long)),
        ("rules", json!(many(300, json!(long)))),
        ("limits", json!(many(70, limit))),
        ("over_limits", json!(many(70, over))),
        ("seats", json!(many(300, seat))),
    ]);
    let written = EscalationSpec::of(&huge, "d".repeat(64)).unwrap();
    let written = serde_json::to_value(written).unwrap();
    let found = too_long(&schema, &written, "spec");
    assert!(found.is_empty(), "{found:?}");
    for (field, text, want) in [
        (
            "resource",
            &long,
            Some("longer than an Approval holds: `resource`"),
        ),
        (
            "attributes",
            &long,
            Some("longer than an Approval holds: `reason`"),
        ),
        ("rationale", &long, None),
    ] {
        let value = match field {
            "attributes" => json!({ "reason": text }),
            _ => json!(text),
        };
        let written = EscalationSpec::of(&view(&[(field, value)]), String::new()).unwrap();
        assert_eq!(written.unseen.as_deref(), want, "{field}");
    }
}
