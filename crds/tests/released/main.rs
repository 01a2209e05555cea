//! Within a version schemas only grow: what the last release stored stays valid and means the same.

mod compare;

use std::path::Path;

use actpass_crds::definition::ALL;
use serde_json::{Value, json};

use compare::breaks;

#[test]
fn what_the_last_release_stored_stays_valid() {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released/schemas");
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(released).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let then: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let name = then["metadata"]["name"].as_str().unwrap().to_owned();
        let now = ALL.iter().find(|it| it.name() == name);
        let now = now.map_or(Value::Null, |it| it.resource());
        wrong.extend(breaks(&then, &now).iter().map(|it| format!("{name}{it}")));
    }
    assert!(
        wrong.is_empty(),
        "a new version is needed, with a decision record and a migration page:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn nothing_breaks_by_staying_as_it_is() {
    for definition in &ALL {
        let now = definition.resource();
        assert_eq!(breaks(&now, &now), [""; 0], "{}", definition.kind);
        let gone = breaks(&now, &Value::Null);
        assert_eq!(gone, [": the kind is gone"], "{}", definition.kind);
    }
}

#[test]
fn a_change_breaks_or_it_does_not() {
    struct Case {
        name: &'static str,
        /// Schema of one field, `a`, then and now.
        given: (Value, Value),
        want: &'static [&'static str],
    }
    let text = || json!({"type": "string"});
    let list = |kind: &str| json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": kind});
    let object = |fields: Value, required: Value| json!({"type": "object", "properties": fields, "required": required});
    let rule = |rules: &[&str]| {
        let rules: Vec<Value> = rules
            .iter()
            .map(|it| json!({"rule": it, "message": "m"}))
            .collect();
        json!({"type": "string", "x-kubernetes-validations": rules})
    };
    let cases = [
        Case {
            name: "a description",
            given: (
                json!({"type": "string", "description": "a"}),
                json!({"type": "string", "description": "b"}),
            ),
            want: &[],
        },
        Case {
            name: "a field removed",
            given: (
                object(json!({"b": text()}), json!([])),
                object(json!({}), json!([])),
            ),
            want: &[".a.b: the field is gone"],
        },
        Case {
            name: "a field added",
            given: (
                object(json!({}), json!([])),
                object(json!({"b": text()}), json!([])),
            ),
            want: &[],
        },
        Case {
            name: "a field added that is required",
            given: (
                object(json!({}), json!([])),
                object(json!({"b": text()}), json!(["b"])),
            ),
            want: &[".a.b: is required now"],
        },
        Case {
            name: "a field added that is required and has a default",
            given: (
                object(json!({}), json!([])),
                object(
                    json!({"b": {"type": "string", "default": "x"}}),
                    json!(["b"]),
                ),
            ),
            want: &[],
        },
        Case {
            name: "a field that is required no longer",
            given: (
                object(json!({"b": text()}), json!(["b"])),
                object(json!({"b": text()}), json!([])),
            ),
            want: &[],
        },
        Case {
            name: "another type",
            given: (text(), json!({"type": "integer"})),
            want: &[".a: type was \"string\", is \"integer\""],
        },
        Case {
            name: "a narrower number",
            given: (
                json!({"type": "integer", "format": "int64"}),
                json!({"type": "integer", "format": "int32"}),
            ),
            want: &[".a: format was \"int64\", is \"int32\""],
        },
        Case {
            name: "an enum value removed",
            given: (
                json!({"type": "string", "enum": ["A", "B"]}),
                json!({"type": "string", "enum": ["B", "C"]}),
            ),
            want: &[".a: `A` is no longer taken"],
        },
        Case {
            name: "an enum value added",
            given: (
                json!({"type": "string", "enum": ["A"]}),
                json!({"type": "string", "enum": ["A", "B"]}),
            ),
            want: &[],
        },
        Case {
            name: "an enum where any text was",
            given: (text(), json!({"type": "string", "enum": ["A"]})),
            want: &[".a: only some texts are taken now"],
        },
        Case {
            name: "a bound tightened from above",
            given: (
                json!({"type": "integer", "maximum": 9}),
                json!({"type": "integer", "maximum": 8}),
            ),
            want: &[".a: maximum was 9, is 8"],
        },
        Case {
            name: "a bound tightened from below",
            given: (
                json!({"type": "array", "minItems": 1, "items": text()}),
                json!({"type": "array", "minItems": 2, "items": text()}),
            ),
            want: &[".a: minItems was 1, is 2"],
        },
        Case {
            name: "a bound where none was",
            given: (text(), json!({"type": "string", "maxLength": 8})),
            want: &[".a: maxLength was null, is 8"],
        },
        Case {
            name: "a bound loosened, and one removed",
            given: (
                json!({"type": "string", "maxLength": 8, "minLength": 1}),
                json!({"type": "string", "maxLength": 9}),
            ),
            want: &[],
        },
        Case {
            name: "another pattern",
            given: (
                json!({"type": "string", "pattern": "^a"}),
                json!({"type": "string", "pattern": "^b"}),
            ),
            want: &[".a: pattern was \"^a\", is \"^b\""],
        },
        Case {
            name: "another default",
            given: (
                json!({"type": "boolean", "default": false}),
                json!({"type": "boolean", "default": true}),
            ),
            want: &[".a: default was false, is true"],
        },
        Case {
            name: "a default where none was",
            given: (
                json!({"type": "boolean"}),
                json!({"type": "boolean", "default": true}),
            ),
            want: &[".a: default was null, is true"],
        },
        Case {
            name: "a list that may no longer repeat",
            given: (list("atomic"), list("set")),
            want: &[".a: x-kubernetes-list-type was \"atomic\", is \"set\""],
        },
        Case {
            name: "a bound of an item",
            given: (
                json!({"type": "array", "items": {"type": "string", "maxLength": 2}}),
                json!({"type": "array", "items": {"type": "string", "maxLength": 1}}),
            ),
            want: &[".a[]: maxLength was 2, is 1"],
        },
        Case {
            name: "a bound of a map's values",
            given: (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                json!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}}),
            ),
            want: &[".a.*: maxLength was null, is 1"],
        },
        Case {
            name: "a map that is none any more",
            given: (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                json!({"type": "object"}),
            ),
            want: &[".a.*: the field is gone"],
        },
        Case {
            name: "a rule added",
            given: (rule(&["self != ''"]), rule(&["self != ''", "self != 'x'"])),
            want: &[".a: rule `self != 'x'` is new"],
        },
        Case {
            name: "a rule removed",
            given: (rule(&["self != ''"]), rule(&[])),
            want: &[],
        },
        Case {
            name: "unknown fields that are no longer kept",
            given: (
                json!({"x-kubernetes-preserve-unknown-fields": true}),
                json!({"type": "string"}),
            ),
            want: &[
                ".a: type was null, is \"string\"",
                ".a: x-kubernetes-preserve-unknown-fields was true, is null",
            ],
        },
    ];
    for Case {
        name,
        given: (then, now),
        want,
    } in cases
    {
        let of = |a: Value| definition(json!({"type": "object", "properties": {"a": a}}));
        assert_eq!(breaks(&of(then), &of(now)), want, "{name}");
    }
}

#[test]
fn names_and_versions_stay() {
    let then = definition(json!({"type": "object"}));
    for (place, value, want) in [
        (
            "/spec/scope",
            json!("Cluster"),
            ": scope was \"Namespaced\", is \"Cluster\"",
        ),
        (
            "/spec/names/kind",
            json!("B"),
            ": names.kind was \"A\", is \"B\"",
        ),
        (
            "/spec/versions/0/name",
            json!("v1"),
            ": version v1alpha1 is gone",
        ),
        (
            "/spec/versions/0/served",
            json!(false),
            ": version v1alpha1 is gone",
        ),
    ] {
        let mut now = then.clone();
        *now.pointer_mut(place).unwrap() = value;
        assert_eq!(breaks(&then, &now), [want], "{place}");
    }
}

fn definition(schema: Value) -> Value {
    json!({"spec": {
        "scope": "Namespaced",
        "names": {"kind": "A", "plural": "as"},
        "versions": [{"name": "v1alpha1", "served": true, "schema": {"openAPIV3Schema": schema}}],
    }})
}
