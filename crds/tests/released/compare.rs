//! Which changes of a definition break resources that are stored: they would be refused with their next change, lose a
//! field, or mean something else.

use serde_json::Value;

/// Every change from `then` to `now` that breaks, each with the path of its field in front.
pub(crate) fn breaks(then: &Value, now: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if now.is_null() {
        return vec![": the kind is gone".to_owned()];
    }
    for (name, place) in [
        ("scope", "/spec/scope"),
        ("names.kind", "/spec/names/kind"),
        ("names.plural", "/spec/names/plural"),
    ] {
        let (then, now) = (at(then, place), at(now, place));
        if then != now {
            found.push(format!(": {name} was {then}, is {now}"));
        }
    }
    for version in list(at(then, "/spec/versions")).filter(|it| it["served"] == true) {
        let same = |it: &&Value| it["name"] == version["name"] && it["served"] == true;
        match list(at(now, "/spec/versions")).find(same) {
            None => {
                let name = version["name"].as_str().unwrap_or_default();
                found.push(format!(": version {name} is gone"));
            }
            Some(now) => {
                let schema = "/schema/openAPIV3Schema";
                field(at(version, schema), at(now, schema), "", &mut found);
            }
        }
    }
    found
}

fn field(then: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    for word in SAME {
        if then[word] != now[word] {
            found.push(format!(
                "{path}: {word} was {}, is {}",
                then[word], now[word]
            ));
        }
    }
    for (words, tighter) in [(UPPER, less as Tighter), (LOWER, more as Tighter)] {
        for &word in words {
            if tighter(&then[word], &now[word]) {
                found.push(format!(
                    "{path}: {word} was {}, is {}",
                    then[word], now[word]
                ));
            }
        }
    }
    // A pattern can be dropped; whether another one takes less cannot be seen.
    if !now["pattern"].is_null() && then["pattern"] != now["pattern"] {
        let (then, now) = (&then["pattern"], &now["pattern"]);
        found.push(format!("{path}: pattern was {then}, is {now}"));
    }
    words(then, now, path, found);
    rules(then, now, path, found);
    within(then, now, path, found);
}

type Tighter = fn(&Value, &Value) -> bool;

fn less(then: &Value, now: &Value) -> bool {
    let now = now.as_i64();
    now.is_some_and(|now| then.as_i64().is_none_or(|then| now < then))
}

fn more(then: &Value, now: &Value) -> bool {
    let now = now.as_i64();
    now.is_some_and(|now| then.as_i64().is_none_or(|then| now > then))
}

fn words(then: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    if now["enum"].is_null() {
        return;
    }
    if then["enum"].is_null() {
        return found.push(format!("{path}: only some texts are taken now"));
    }
    for word in list(&then["enum"]).filter(|word| list(&now["enum"]).all(|it| it != *word)) {
        let word = word.as_str().unwrap_or_default();
        found.push(format!("{path}: `{word}` is no longer taken"));
    }
}

fn rules(then: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    let name = "x-kubernetes-validations";
    for rule in list(&now[name]) {
        if list(&then[name]).all(|it| it["rule"] != rule["rule"]) {
            let rule = rule["rule"].as_str().unwrap_or_default();
            found.push(format!("{path}: rule `{rule}` is new"));
        }
    }
}

fn within(then: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    let mut inner = |then: &Value, now: &Value, path: String| {
        if now.is_null() {
            found.push(format!("{path}: the field is gone"));
        } else {
            field(then, now, &path, found);
        }
    };
    for (name, schema) in then["properties"].as_object().into_iter().flatten() {
        inner(schema, named(now, name), format!("{path}.{name}"));
    }
    if then["items"].is_object() {
        inner(&then["items"], &now["items"], format!("{path}[]"));
    }
    let values = "additionalProperties";
    if then[values].is_object() {
        inner(&then[values], &now[values], format!("{path}.*"));
    }
    for name in list(&now["required"]).filter_map(Value::as_str) {
        let before = list(&then["required"]).any(|it| it == name);
        // With a default what is stored without it is read with it.
        if !before && named(now, name)["default"].is_null() {
            found.push(format!("{path}.{name}: is required now"));
        }
    }
}

fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    value.pointer(place).unwrap_or(&Value::Null)
}

/// The schema of a field.
fn named<'a>(schema: &'a Value, name: &str) -> &'a Value {
    schema["properties"].get(name).unwrap_or(&Value::Null)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What must stay the same to mean the same.
const SAME: [&str; 6] = [
    "type",
    "format",
    "default",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
];
const UPPER: &[&str] = &["maximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: &[&str] = &["minimum", "minLength", "minItems"];
