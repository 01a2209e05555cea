//! What a request that reaches the upstream must be, besides an action that was judged.

use actpass_core::action::Action;
use actpass_core::path::DecodedPath;
use actpass_tests::proxied::{HOST, SECRET};

use super::cases::Req;
use super::readers::Read;

/// Whether other readers of paths, queries and bodies find in it what was judged.
pub(crate) fn understood(read: &Read, action: &Action) -> Result<(), String> {
    let path: Vec<String> = DecodedPath::parse(&action.path)
        .map_err(|error| error.to_string())?
        .segments()
        .to_vec();
    if read.path.get(1..) != Some(path.as_slice()) {
        return Err(format!("the path is another than {path:?}"));
    }
    if read.query != action.query {
        return Err(format!("the query is another than {:?}", action.query));
    }
    let of_body = match action.capability.as_str() {
        "shop.refunds.create" => "charge",
        "shop.transfers.create" => "to",
        "shop.files.create" => "purpose",
        _ => return Ok(()),
    };
    let mut found = read
        .fields
        .iter()
        .flatten()
        .filter(|(name, _)| name == of_body);
    let found = (found.next().map(|(_, text)| text), found.next());
    match found == (action.resource.as_ref(), None) {
        true => Ok(()),
        false => Err(format!("`{of_body}` is {found:?}")),
    }
}

/// Whether a request is byte by byte what was sent, less what is not to travel.
pub(crate) fn exactly(read: &Read, says: &Req, changes: bool) -> Result<(), String> {
    if (&read.method, &read.target, &read.body) != (&says.method, &says.target, &says.body) {
        return Err(format!(
            "sent was {} {} | {}",
            says.method,
            says.target,
            says.body.escape_ascii()
        ));
    }
    let lower = |(name, value): &(String, Vec<u8>)| {
        let value = value.trim_ascii().to_vec();
        (name.to_ascii_lowercase(), value)
    };
    let mut want: Vec<_> = says.headers.iter().map(lower).collect();
    want.retain(|(name, _)| travels(name, changes));
    let mut found = read.headers.clone();
    found.retain(|(name, _)| !OURS.contains(&name.as_str()));
    want.sort();
    found.sort();
    if want != found {
        let names: Vec<_> = want.iter().map(|(name, _)| name).collect();
        return Err(format!("of the headers sent, these travel: {names:?}"));
    }
    ours_or(read, changes, |_, _| true)
}

/// Whether each header is one of ours, or may travel and is what the agent sent.
pub(crate) fn ours_or(
    read: &Read,
    changes: bool,
    is_sent: impl Fn(&str, &[u8]) -> bool,
) -> Result<(), String> {
    if read.version != "1.1" {
        return Err("another version of HTTP".to_owned());
    }
    for name in OURS {
        let mut values = read.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.clone());
        let length = read.body.len().to_string();
        let fits = match name {
            "host" => value == Some(HOST.into()),
            "authorization" => value == Some(format!("Bearer {SECRET}").into_bytes()),
            _ => value.is_none_or(|value| value == length.as_bytes()),
        };
        if !fits || values.next().is_some() {
            return Err(format!("{name} is not ours"));
        }
    }
    let mut others = read
        .headers
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()));
    match others.find(|(name, value)| !travels(name, changes) || !is_sent(name, value)) {
        Some((name, _)) => Err(format!("{name} is not to travel, or was not sent")),
        None => Ok(()),
    }
}

/// Headers that the sidecar writes itself.
const OURS: [&str; 3] = ["authorization", "content-length", "host"];

/// Whether a header of the agent's goes on, beside those that `Connection` names.
fn travels(name: &str, changes: bool) -> bool {
    const NEVER: [&str; 19] = [
        "connection",
        "content-encoding",
        "cookie",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-method",
        "x-original-url",
        "x-rewrite-url",
    ];
    // A server may take one of them for the other.
    const JUDGED: [&str; 5] = [
        "content-type",
        "idempotency-key",
        "shop-account",
        "shop-marker",
        "shop-version",
    ];
    let plain = name.replace('_', "-");
    if OURS.contains(&plain.as_str())
        || NEVER.contains(&plain.as_str())
        || plain.starts_with("actpass-")
    {
        return false;
    }
    if plain != name && JUDGED.contains(&plain.as_str()) {
        return false;
    }
    !changes
        || name == "accept"
        || name.starts_with("accept-")
        || name == "user-agent"
        || JUDGED.contains(&name)
}
