//! The closed world: what an action that changes something may carry.

use actpass_core::form::FormError;
use actpass_core::json::{Json, JsonStep};
use actpass_core::upstream::ActionSpec;

use super::body::Body;
use super::refused::{RefusalCode, Refused, shown_name};

/// Parameters by which frameworks take another method than the request line says, in lower case.
const OVERRIDE_PARAMS: [&str; 4] = [
    "_method",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// # Errors
/// `two_actions` where a parameter of query or body asks for another method.
pub(super) fn refuse_overrides(query: &[(String, String)], body: &Body) -> Result<(), Refused> {
    let is_override = |name: &str| {
        OVERRIDE_PARAMS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    let in_query = query.iter().any(|(key, _)| is_override(key));
    let in_body = match body {
        Body::Form(pairs) => pairs.iter().any(|(key, _)| is_override(key)),
        Body::Multipart(parts) => parts.iter().any(|part| is_override(&part.name)),
        Body::Json(Json::Object(members)) => members.iter().any(|(key, _)| is_override(key)),
        Body::Json(_) | Body::Absent | Body::Opaque(_) => false,
    };
    match in_query || in_body {
        false => Ok(()),
        true => Err(Refused::new(
            RefusalCode::TwoActions,
            "A parameter such as `_method` asks for another method than the request line; send what is meant.",
        )),
    }
}

/// Holds every parameter against `params.allow`.
///
/// # Errors
/// `undeclared_parameter`, naming the first one that nothing covers.
pub(super) fn check_closed(
    spec: &ActionSpec,
    upstream: &str,
    query: &[(String, String)],
    body: &Body,
) -> Result<(), Refused> {
    let refuse = |place: &str, name: &str, pattern: &str| {
        let (capability, name) = (&spec.capability, shown_name(name));
        Err(Refused::new(
            RefusalCode::UndeclaredParameter,
            format!(
                "Parameter {name} of the {place} is not declared for `{capability}`; leave it out, or have it added to \
                 `params.allow` of Upstream `{upstream}`{pattern}."
            ),
        ))
    };
    for (key, _) in query {
        if !spec
            .params
            .iter()
            .any(|pattern| pattern.matches_query_key(key))
        {
            return refuse("query", key, " as `query.NAME`");
        }
    }
    let form_key_allowed = |key: &str| {
        spec.params
            .iter()
            .any(|pattern| pattern.matches_form_key(key))
    };
    match body {
        Body::Absent | Body::Opaque(_) => {}
        Body::Form(pairs) => {
            if let Some((key, _)) = pairs.iter().find(|(key, _)| !form_key_allowed(key)) {
                return refuse("body", key, "");
            }
        }
        Body::Multipart(parts) => {
            if let Some(part) = parts.iter().find(|part| !form_key_allowed(&part.name)) {
                return refuse("body", &part.name, "");
            }
        }
        Body::Json(json) => {
            // `{}` itself is a leaf at no place, and says nothing.
            let undeclared = json.leaves().into_iter().find(|(place, _)| {
                !place.is_empty()
                    && !spec
                        .params
                        .iter()
                        .any(|pattern| pattern.matches_json_path(place))
            });
            if let Some((place, _)) = undeclared {
                return refuse("body", &place_name(&place), "");
            }
        }
    }
    Ok(())
}

/// Why a form or query string is refused.
pub(super) fn refuse_form(place: &str, error: &FormError) -> Refused {
    match error {
        FormError::DuplicateKey(key) => duplicate(&format!("The {place}"), &shown_name(key)),
        other => Refused::new(
            RefusalCode::Unparsable,
            format!(
                "The {place} could be read in two ways: {other}. Encode it as a plain HTML form would."
            ),
        ),
    }
}

/// A parameter that is there twice. `name` is fit to be shown.
pub(super) fn duplicate(place: &str, name: &str) -> Refused {
    let detail = format!("{place} holds the parameter {name} more than once; send it once.");
    Refused::new(RefusalCode::DuplicateKey, detail)
}

/// `a.b[0]`, as declarations write it.
fn place_name(place: &[JsonStep]) -> String {
    place.iter().fold(String::new(), |mut text, step| {
        match step {
            JsonStep::Key(key) if text.is_empty() => text.push_str(key),
            JsonStep::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            JsonStep::Index(index) => text.push_str(&format!("[{index}]")),
        }
        text
    })
}
