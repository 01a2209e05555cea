//! Requests as the official SDKs for Python send them: recorded once from stripe 16.1, PyGithub 2.10, slack_sdk 3.47,
//! openai 3.52 and anthropic 2.11, without the headers that are not judged.

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    /// Content-Type; empty where there is none.
    pub(crate) label: &'static str,
    pub(crate) body: &'static str,
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";
const SLACK_JSON: &str = "application/json;charset=utf-8";

const fn get(target: &'static str) -> Request {
    with("GET", target, "", "")
}

const fn delete(target: &'static str) -> Request {
    with("DELETE", target, "", "")
}

const fn post(target: &'static str, label: &'static str, body: &'static str) -> Request {
    with("POST", target, label, body)
}

const fn with(
    method: &'static str,
    target: &'static str,
    label: &'static str,
    body: &'static str,
) -> Request {
    Request {
        method,
        target,
        label,
        body,
    }
}

/// Each request and the capability it is of.
pub(crate) const REQUESTS: [(&str, Request); 36] = [
    (
        "stripe.refunds.create",
        post(
            "/v1/refunds",
            FORM,
            "charge=ch_1&amount=12000&reason=duplicate&metadata[a]=b&expand[0]=charge",
        ),
    ),
    (
        "stripe.payment_intents.create",
        post(
            "/v1/payment_intents",
            FORM,
            "amount=2500&currency=eur&customer=cus_1&payment_method=pm_1&confirm=true&automatic_payment_methods[enabled]=true&payment_method_types[0]=card",
        ),
    ),
    (
        "stripe.payment_intents.cancel",
        post(
            "/v1/payment_intents/pi_1/cancel",
            FORM,
            "cancellation_reason=duplicate",
        ),
    ),
    (
        "stripe.customers.create",
        post("/v1/customers", FORM, "name=n&email=e&address[city]=c"),
    ),
    (
        "stripe.customers.update",
        post("/v1/customers/cus_1", FORM, "name=n"),
    ),
    ("stripe.customers.delete", delete("/v1/customers/cus_1")),
    (
        "stripe.invoiceitems.create",
        post(
            "/v1/invoiceitems",
            FORM,
            "customer=cus_1&amount=5&currency=jpy",
        ),
    ),
    (
        "stripe.invoiceitems.delete",
        delete("/v1/invoiceitems/ii_1"),
    ),
    ("stripe.read", get("/v1/refunds?limit=3")),
    (
        "github.issues.create",
        post(
            "/repos/example/shop/issues",
            JSON,
            r#"{"title": "t", "body": "b", "assignees": ["x"], "labels": ["bug"]}"#,
        ),
    ),
    (
        "github.issues.update",
        with(
            "PATCH",
            "/repos/example/shop/issues/5",
            JSON,
            r#"{"state": "closed", "state_reason": "completed"}"#,
        ),
    ),
    (
        "github.issues.comment",
        post(
            "/repos/example/shop/issues/5/comments",
            JSON,
            r#"{"body": "hello"}"#,
        ),
    ),
    (
        "github.pulls.create",
        post(
            "/repos/example/shop/pulls",
            JSON,
            r#"{"base": "main", "head": "f", "title": "t", "body": "b", "draft": true}"#,
        ),
    ),
    (
        "github.pulls.merge",
        with(
            "PUT",
            "/repos/example/shop/pulls/5/merge",
            JSON,
            r#"{"commit_message": "m", "merge_method": "squash"}"#,
        ),
    ),
    ("github.read", get("/repos/example/shop")),
    (
        "slack.chat.post_message",
        post(
            "/api/chat.postMessage",
            SLACK_JSON,
            r#"{"channel": "C1", "text": "hi", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}, {"type": "context", "elements": [{"type": "mrkdwn", "text": "e"}]}], "thread_ts": "1.2"}"#,
        ),
    ),
    (
        "slack.chat.update",
        post(
            "/api/chat.update",
            SLACK_JSON,
            r#"{"channel": "C1", "ts": "1.2", "text": "x"}"#,
        ),
    ),
    (
        "slack.chat.delete",
        post("/api/chat.delete", FORM, "channel=C1&ts=1.2"),
    ),
    (
        "slack.reactions.add",
        post(
            "/api/reactions.add",
            FORM,
            "channel=C1&name=eyes&timestamp=1.2",
        ),
    ),
    (
        "slack.read.auth.test",
        post("/api/auth.test", SLACK_JSON, ""),
    ),
    (
        "slack.read.conversations.list",
        post("/api/conversations.list", FORM, "limit=5"),
    ),
    (
        "slack.read.conversations.info",
        post("/api/conversations.info", FORM, "channel=C1"),
    ),
    (
        "slack.read.conversations.history",
        post("/api/conversations.history", FORM, "channel=C1"),
    ),
    (
        "slack.read.conversations.replies",
        post("/api/conversations.replies", FORM, "channel=C1&ts=1"),
    ),
    (
        "slack.read.conversations.members",
        post("/api/conversations.members", FORM, "channel=C1"),
    ),
    (
        "slack.read.users.list",
        post("/api/users.list", FORM, "limit=5"),
    ),
    (
        "slack.read.users.info",
        post("/api/users.info", FORM, "user=U1"),
    ),
    (
        "slack.read.users.lookup_by_email",
        post("/api/users.lookupByEmail", FORM, "email=a%40b.c"),
    ),
    (
        "openai.chat.completions.create",
        post(
            "/v1/chat/completions",
            JSON,
            r#"{"model":"gpt-5","stream":false,"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:","detail":"low"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"4"}],"max_completion_tokens":100,"metadata":{"k":"v"},"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"b":{"type":"string"}}}}},"stop":["a"],"temperature":0.2,"tool_choice":"auto","tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","enum":["x","y"]}}},"required":["a"],"additionalProperties":false}}}]}"#,
        ),
    ),
    (
        "openai.responses.create",
        post(
            "/v1/responses",
            JSON,
            r#"{"model":"gpt-5","include":["reasoning.encrypted_content"],"input":"hi","instructions":"i","max_output_tokens":10,"reasoning":{"effort":"low"},"store":false,"tools":[{"type":"function","name":"f","description":"d","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"string"}}}}]}"#,
        ),
    ),
    (
        "openai.responses.create",
        post(
            "/v1/responses",
            JSON,
            r#"{"model":"gpt-5","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"4"},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"e"}]}"#,
        ),
    ),
    (
        "openai.embeddings.create",
        post(
            "/v1/embeddings",
            JSON,
            r#"{"model":"text-embedding-3-small","input":["a","b"],"encoding_format":"base64"}"#,
        ),
    ),
    ("openai.read", get("/v1/models")),
    (
        "anthropic.messages.create",
        post(
            "/v1/messages",
            JSON,
            r#"{"max_tokens":10,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"text","text":"t"},{"type":"tool_use","id":"u","name":"f","input":{"a":{"b":[1,2]}}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"u","content":[{"type":"text","text":"4"}]},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aa"}}]}],"model":"claude-opus","metadata":{"user_id":"u"},"output_config":{"effort":"low"},"stop_sequences":["x"],"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"thinking":{"type":"adaptive","display":"omitted"},"tool_choice":{"type":"auto"},"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"type":"object"}}}}]}"#,
        ),
    ),
    (
        "anthropic.messages.count_tokens",
        post(
            "/v1/messages/count_tokens",
            JSON,
            r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"text","text":"t"},{"type":"tool_use","id":"u","name":"f","input":{"a":{"b":[1,2]}}}]}],"model":"claude-opus","system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"auto"},"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"type":"object"}}}}]}"#,
        ),
    ),
    ("anthropic.read", get("/v1/models")),
];
