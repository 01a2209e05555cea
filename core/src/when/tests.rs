use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::action::{Attribute, Hints};
use crate::money::{Currency, Money};
use crate::upstream::{ActionSpec, AttributeValue, Effect};

/// `pay.refund` always has what it declares, but for `note`; `pay.list` declares `page` alone.
fn actions() -> Vec<ActionSpec> {
    let attribute = |name: &str, kind: &str, required: bool, default: serde_json::Value| {
        json!({"name": name, "from": format!("body.{name}"), "type": kind, "required": required,
               "default": default, "sensitive": false})
    };
    let spec = |capability: &str,
                amount: serde_json::Value,
                resource: serde_json::Value,
                attributes: serde_json::Value| {
        json!({"capability": capability, "method": "POST", "path": "/v1/x", "effect": "Write",
               "body": {"format": "Form", "max_bytes": 1024, "mode": "Buffered"}, "params": [], "headers": [],
               "attributes": attributes, "amount": amount, "resource": resource, "meters": [],
               "idempotency_header": null, "compensation": null})
    };
    let refund = spec(
        "pay.refund",
        json!({"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}}),
        json!("body.charge"),
        json!([
            attribute("reason", "String", false, json!("none")),
            attribute("items", "Integer", true, json!(null)),
            attribute("rush", "Boolean", false, json!(false)),
            attribute("note", "String", false, json!(null)),
            attribute("page", "String", true, json!(null)),
        ]),
    );
    let list = spec(
        "pay.list",
        json!(null),
        json!(null),
        json!([attribute("page", "Integer", true, json!(null))]),
    );
    [refund, list]
        .into_iter()
        .map(|spec| serde_json::from_value(spec).unwrap())
        .collect()
}

fn refund_only() -> Declared {
    Declared::by(actions().iter().take(1))
}

fn both() -> Declared {
    Declared::by(actions().iter())
}

fn action() -> Action {
    let value = |value| Attribute {
        value,
        sensitive: false,
    };
    Action {
        tenant: "t/n/u".to_owned(),
        passport: "p".to_owned(),
        agent: "a".to_owned(),
        upstream: "pay".to_owned(),
        capability: "pay.refund".parse().unwrap(),
        effect: Effect::Write,
        method: "POST".to_owned(),
        host: "api.pay.example".parse().unwrap(),
        port: 443,
        path: "/v1/x".to_owned(),
        path_template: "/v1/x".to_owned(),
        query: Vec::new(),
        headers: BTreeMap::new(),
        amount: Some(Money::new(12_000, Currency::USD)),
        resource: Some("ch_1".to_owned()),
        meters: Vec::new(),
        environment: None,
        attributes: BTreeMap::from([
            (
                "reason".to_owned(),
                value(AttributeValue::String("duplicate".to_owned())),
            ),
            ("items".to_owned(), value(AttributeValue::Integer(3))),
            ("rush".to_owned(), value(AttributeValue::Boolean(false))),
            (
                "page".to_owned(),
                value(AttributeValue::String("one".to_owned())),
            ),
        ]),
        body: [0; 32],
        body_bytes: 0,
        idempotency_key: None,
        fault: None,
        hints: Hints {
            confidence: Some(40),
            ..Hints::default()
        },
    }
}

fn facts() -> Facts {
    Facts {
        window_totals: BTreeMap::from([("refunds".to_owned(), 480_000)]),
        precedents: 2,
        first_seen_resource: true,
        recent_denies: 1,
        ..Facts::default()
    }
}

fn held(text: &str, facts: Option<&Facts>) -> Result<bool, WhenError> {
    Condition::new(text, RuleDecision::Deny, &refund_only())?.evaluate(&action(), facts)
}

#[test]
fn conditions_hold_as_written() {
    let cases = [
        ("attributes.reason == 'duplicate'", true),
        ("attributes.reason != 'duplicate'", false),
        (
            "attributes.items * 2 + 1 == 7 && attributes.items % 2 == 1",
            true,
        ),
        ("-attributes.items < -2 && attributes.items - 4 == -1", true),
        ("!attributes.rush", true),
        ("attributes.rush || attributes.items >= 3", true),
        (
            "attributes.items > 2 ? attributes.reason.startsWith('dup') : false",
            true,
        ),
        ("attributes.reason in ['fraud', 'duplicate']", true),
        ("!(attributes.items in [1, 2])", true),
        (
            "size(attributes.reason) == 9 && attributes.reason.size() == 9",
            true,
        ),
        (
            "attributes.reason.endsWith('cate') && attributes.reason.contains('lic')",
            true,
        ),
        (
            "['fraud', 'dup'].exists(x, attributes.reason.startsWith(x))",
            true,
        ),
        (
            "['fraud', 'dup'].all(x, attributes.reason.startsWith(x))",
            false,
        ),
        ("[1, 2, 3].exists_one(x, x == attributes.items)", true),
        ("[1, 3, 3].exists_one(x, x == attributes.items)", false),
        (
            "action.capability == 'pay.refund' && action.resource == 'ch_1'",
            true,
        ),
        (
            "action.method == 'POST' && action.host == 'api.pay.example' && action.effect == 'Write'",
            true,
        ),
        (
            "action.amount.minor > 11999 && action.amount.currency == 'USD'",
            true,
        ),
        ("has(attributes.note) && attributes.note == 'x'", false),
        ("!has(attributes.note) || attributes.note == 'x'", true),
        ("has(attributes.note) ? attributes.note == 'x' : true", true),
        ("has(hints.confidence) && hints.confidence < 50", true),
        ("has(hints.purpose) && hints.purpose == 'x'", false),
        (
            "facts.windowTotal('refunds') + action.amount.minor > 490000",
            true,
        ),
        (
            "facts.precedents == 2 && facts.firstSeenResource && facts.recentDenies == 1",
            true,
        ),
        ("'Zebra' < 'apple' && 'a' <= 'a'", true),
    ];
    for (text, want) in cases {
        assert_eq!(held(text, Some(&facts())), Ok(want), "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_an_error() {
    let long = "9223372036854775807";
    let cases = [
        (
            format!("attributes.items + {long} > 0"),
            WhenError::Overflow,
        ),
        (
            "attributes.items / (attributes.items - 3) == 1".to_owned(),
            WhenError::DivisionByZero,
        ),
        (
            "attributes.items % (attributes.items - 3) == 1".to_owned(),
            WhenError::DivisionByZero,
        ),
        (
            "facts.precedents > 0".to_owned(),
            WhenError::FactsNeeded("facts.precedents".to_owned()),
        ),
    ];
    for (text, want) in cases {
        assert_eq!(held(&text, None), Err(want), "{text}");
    }
    let unknown = held("facts.windowTotal('payouts') > 0", Some(&facts()));
    assert_eq!(
        unknown,
        Err(WhenError::Absent(
            "facts.windowTotal(\"payouts\")".to_owned()
        ))
    );
}

#[test]
fn an_attribute_that_is_not_as_declared_is_an_error_and_never_unequal() {
    let condition = Condition::new(
        "attributes.reason != 'fraudulent'",
        RuleDecision::Allow,
        &refund_only(),
    )
    .unwrap();
    let absent = Err(WhenError::Absent("attributes.reason".to_owned()));
    let mut other_type = action();
    other_type.attributes.get_mut("reason").unwrap().value = AttributeValue::Integer(7);
    assert_eq!(condition.evaluate(&other_type, None), absent);
    let mut missing = action();
    missing.attributes.remove("reason");
    assert_eq!(condition.evaluate(&missing, None), absent);
}

#[test]
fn a_wrong_condition_is_refused_with_what_is_wrong() {
    let unguarded = |name: &str| WhenError::Unguarded(name.to_owned());
    let unknown = |name: &str| WhenError::Unknown(name.to_owned());
    let foreign = |what: &str| WhenError::Foreign(what.to_owned());
    let wrong = |at: &str, want: &'static str, found: &'static str| WhenError::Type {
        at: at.to_owned(),
        want,
        found,
    };
    let cases = [
        ("attributes.nope == 'x'", unknown("attributes.nope")),
        ("nope", unknown("nope")),
        (".attributes.reason == 'x'", unknown(".attributes.reason")),
        ("action.amount == 1", unknown("action.amount")),
        (
            "attributes.reason.sub == 'x'",
            unknown("attributes.reason.sub"),
        ),
        ("has(attributes.nope)", unknown("attributes.nope")),
        ("has(facts.precedents)", unknown("facts.precedents")),
        ("attributes.note == 'x'", unguarded("attributes.note")),
        (
            "has(attributes.note) || attributes.note == 'x'",
            unguarded("attributes.note"),
        ),
        (
            "!has(attributes.note) && attributes.note == 'x'",
            unguarded("attributes.note"),
        ),
        (
            "has(attributes.note) ? true : attributes.note == 'x'",
            unguarded("attributes.note"),
        ),
        (
            "attributes.note == 'x' && has(attributes.note)",
            unguarded("attributes.note"),
        ),
        ("hints.confidence < 50", unguarded("hints.confidence")),
        (
            "has(hints.purpose) && hints.confidence < 50",
            unguarded("hints.confidence"),
        ),
        (
            "attributes.reason == 1",
            wrong("==", "two single values of one type", "int"),
        ),
        (
            "attributes.items < 'x'",
            wrong("<", "two ints or two strings", "string"),
        ),
        (
            "true < false",
            wrong("<", "two ints or two strings", "bool"),
        ),
        (
            "attributes.reason + 'x' == 'y'",
            wrong("+", "two ints", "string"),
        ),
        ("attributes.items && true", wrong("&&", "bool", "int")),
        ("!attributes.items", wrong("!", "bool", "int")),
        ("-attributes.reason == 1", wrong("-", "int", "string")),
        (
            "attributes.items.startsWith('x')",
            wrong("startsWith", "string", "int"),
        ),
        (
            "size(attributes.items) == 1",
            wrong("size", "a string or a list", "int"),
        ),
        (
            "1 in ['a']",
            wrong("in", "a list of the type before it", "list of string"),
        ),
        (
            "[1, 'a'].size() == 2",
            wrong("[ ]", "values of one type", "string"),
        ),
        (
            "[1] == [1]",
            wrong("==", "two single values of one type", "list of int"),
        ),
        (
            "attributes.reason.all(x, true)",
            wrong("all, exists", "a list", "string"),
        ),
        ("true ? 1 : 'x'", wrong("?:", "two of one type", "string")),
        ("attributes.items", WhenError::NotBool("int")),
        ("'true'", WhenError::NotBool("string")),
        (
            "attributes.items == 1.0",
            foreign("a number with a decimal point"),
        ),
        ("attributes.items == 1u", foreign("an unsigned number")),
        ("b'x' == b'x'", foreign("a bytes literal")),
        ("attributes.reason == null", foreign("`null`")),
        ("{'a': 1} == {'a': 1}", foreign("a map")),
        ("x{a: 1} == 1", foreign("a message")),
        ("[1].map(x, x).size() == 1", foreign("`map` or `filter`")),
        (
            "[1].filter(x, true).size() == 1",
            foreign("`map` or `filter`"),
        ),
        ("[1][0] == 1", foreign("`_[_]` used like this")),
        (
            "attributes.reason.matches('.*')",
            foreign("`matches` used like this"),
        ),
        ("int('1') == 1", foreign("`int` used like this")),
        (
            "startsWith('a', 'b')",
            foreign("`startsWith` used like this"),
        ),
        (
            "facts.windowTotal(attributes.reason) > 0",
            foreign("a meter's name that is not a quoted text"),
        ),
        (
            "[1].all(facts, true)",
            foreign("`facts` as the name of an element"),
        ),
        ("[1].all(x, [2].exists(y, x == y))", WhenError::Nested),
        ("[].size() == 0", WhenError::Elements(0)),
    ];
    for (text, want) in cases {
        assert_eq!(
            check(text, RuleDecision::Deny, &refund_only()),
            Err(want),
            "{text}"
        );
    }
}

#[test]
fn syntax_errors_name_line_and_column() {
    let Err(WhenError::Syntax { line, column, .. }) =
        check("true &&\n  (1 ==", RuleDecision::Deny, &both())
    else {
        panic!("it parsed");
    };
    assert_eq!((line, column), (2, 8));
}

#[test]
fn a_hint_tightens_and_never_loosens() {
    for text in [
        "has(hints.confidence) && hints.confidence > 90",
        "!has(hints.toolHash)",
        "has(hints.purpose)",
    ] {
        for decision in [RuleDecision::Deny, RuleDecision::RequireApproval] {
            assert!(check(text, decision, &both()).unwrap().uses_hints, "{text}");
        }
        let refused = check(text, RuleDecision::Allow, &both());
        assert!(
            matches!(refused, Err(WhenError::HintLoosens(_))),
            "{text}: {refused:?}"
        );
    }
}

#[test]
fn what_only_some_covered_actions_have_is_asked_for_first() {
    let cases = [
        (
            "attributes.items > 1",
            Err(WhenError::Unguarded("attributes.items".to_owned())),
        ),
        ("has(attributes.items) && attributes.items > 1", Ok(())),
        (
            "action.amount.minor > 1",
            Err(WhenError::Unguarded("action.amount".to_owned())),
        ),
        ("has(action.amount) && action.amount.minor > 1", Ok(())),
        (
            "action.resource == 'x'",
            Err(WhenError::Unguarded("action.resource".to_owned())),
        ),
        ("!has(action.resource) || action.resource == 'x'", Ok(())),
        (
            "attributes.page == 'x'",
            Err(WhenError::Ambiguous("attributes.page".to_owned())),
        ),
        ("action.method == 'GET'", Ok(())),
    ];
    for (text, want) in cases {
        assert_eq!(
            check(text, RuleDecision::Allow, &both()).map(|_| ()),
            want,
            "{text}"
        );
    }
}

#[test]
fn a_condition_says_what_it_refers_to() {
    let text = "attributes.items > 1 && facts.windowTotal('refunds') < 5 && (!has(hints.purpose) || hints.purpose == 'x')";
    let types = check(text, RuleDecision::Deny, &refund_only()).unwrap();
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let (attributes, meters) = (names(&["items"]), names(&["refunds"]));
    assert_eq!(
        types,
        CheckedTypes {
            uses_facts: true,
            uses_hints: true,
            attributes,
            meters
        }
    );
}

#[test]
fn a_rule_that_covers_no_action_compiles_and_is_never_told() {
    let condition = Condition::new(
        "attributes.gone == 1",
        RuleDecision::Deny,
        &Declared::default(),
    )
    .unwrap();
    assert_eq!(
        condition.evaluate(&action(), None),
        Err(WhenError::NothingCovered)
    );
}

#[test]
fn bounds_hold() {
    let list = |count: usize| format!("attributes.items in [{}]", vec!["1"; count].join(","));
    let or = |count: usize| vec!["attributes.items == 1"; count].join(" || ");
    let plus = |count: usize| format!("{} == 1", vec!["1"; count].join("+"));
    let loops = |count: usize| {
        format!(
            "[{}].all(x, {})",
            vec!["1"; 64].join(","),
            vec!["x == 1"; count].join(" && ")
        )
    };
    let cases = [
        (list(64), Ok(())),
        (list(65), Err(WhenError::Elements(65))),
        (or(160), Ok(())),
        (plus(30), Ok(())),
        (plus(40), Err(WhenError::TooDeep)),
        (loops(30), Ok(())),
        (loops(40), Err(WhenError::TooCostly)),
        (
            format!("true{}", " ".repeat(4093)),
            Err(WhenError::TooLong(4097)),
        ),
    ];
    for (text, want) in cases {
        let shown: String = text.chars().take(60).collect();
        assert_eq!(
            check(&text, RuleDecision::Deny, &refund_only()).map(|_| ()),
            want,
            "{shown}"
        );
    }
}

/// Runs in a thread with the stack that threads get by default.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn no_text_overflows_the_stack() {
    let pieces = [
        "(",
        "[",
        "{",
        "a(",
        "!",
        "-",
        "-!",
        "a.",
        "a[",
        "1+",
        "1<",
        "a&&",
        "a||",
        "a?a:",
        "a?",
        "[1].all(x,",
        "[0]",
        ".a()",
        "a.b(!c[d?",
        "'",
        "'''",
        "\u{0}#",
        "{a:",
        "\\",
        "é(",
        "1-",
        "((1)+",
        "a in ",
        "has(a.",
    ];
    on_a_small_stack(move || {
        for piece in pieces {
            for (before, after) in [("", ""), ("a", "a"), ("", "1"), ("1", ")")] {
                let mut text = format!(
                    "{before}{}{after}",
                    piece.repeat(TEXT_BYTES_MAX / piece.len())
                );
                while text.len() > TEXT_BYTES_MAX {
                    text.pop();
                }
                let refused = check(&text, RuleDecision::Deny, &refund_only());
                assert!(refused.is_err(), "{piece}: {refused:?}");
            }
        }
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("!(", ")"),
            ("size([", "])"),
            ("has(", ")"),
        ] {
            let text = format!("{}1{}", open.repeat(600), close.repeat(600));
            assert!(
                check(&text, RuleDecision::Deny, &refund_only()).is_err(),
                "{open}"
            );
        }
        let deepest = format!("{}true", "!(true && ".repeat(15)) + &")".repeat(15);
        let condition = Condition::new(&deepest, RuleDecision::Deny, &refund_only()).unwrap();
        condition.evaluate(&action(), None).unwrap();
    });
}

/// Texts that are mostly conditions.
fn condition_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("(-7)".to_owned()),
        (0i64..100).prop_map(|number| number.to_string()),
        Just("'a b'".to_owned()),
        Just("\"it's\"".to_owned()),
        Just("attributes.items".to_owned()),
        Just("attributes.reason".to_owned()),
        Just("action.amount.minor".to_owned()),
        Just("has(attributes.note)".to_owned()),
        Just("facts.precedents".to_owned()),
        Just("facts.windowTotal('refunds')".to_owned()),
        Just("has(hints.confidence)".to_owned()),
        Just("x".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operator = prop::sample::select(vec![
            "&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", " in ",
        ]);
        let method = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
        let fold = prop::sample::select(vec!["all", "exists", "exists_one"]);
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a}{op}{b}")),
            2 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("{a} ? {b} : {c}")),
            2 => inner.clone().prop_map(|a| format!("({a})")),
            1 => inner.clone().prop_map(|a| format!("!{a}")),
            // `!-7` is one literal to one parser and two nodes to the other, which comes to the same.
            1 => inner.clone().prop_map(|a| if a.starts_with(char::is_numeric) { format!("-({a})") } else { format!("-{a}") }),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            1 => inner.clone().prop_map(|a| format!("size({a})")),
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(|all| format!("[{}]", all.join(", "))),
            1 => (inner.clone(), fold, inner).prop_map(|(a, name, b)| format!("[{a}].{name}(x, {b})")),
        ]
    })
}

/// Both trees without the numbers of their nodes.
fn same_tree(a: &IdedExpr, b: &IdedExpr) -> bool {
    let bare = |expr: &IdedExpr| {
        let text = format!("{expr:?}");
        let mut parts = text.split("id: ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| {
            all + part.trim_start_matches(|char: char| char.is_ascii_digit())
        })
    };
    bare(a) == bare(b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_parsers_read_the_same_condition(text in condition_text()) {
        // The reference parser needs more stack than a test thread has.
        let copy = text.clone();
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        let reference = thread.spawn(move || cel::parser::Parser::new().max_recursion_depth(200).parse(&copy).ok());
        let reference = reference.unwrap().join().unwrap();
        match (parse::parse(&text), reference) {
            (Ok(ours), Some(reference)) => prop_assert!(same_tree(&ours, &reference), "{text}\n{ours:?}\n{reference:?}"),
            // `-!x` and the like: what only one parser reads never checks.
            (Ok(_), None) => prop_assert!(check(&text, RuleDecision::Deny, &refund_only()).is_err(), "{text}"),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn a_condition_that_checks_never_fails_in_the_engine(text in condition_text()) {
        if let Ok(condition) = Condition::new(&text, RuleDecision::Deny, &refund_only()) {
            let allowed = [WhenError::Overflow, WhenError::DivisionByZero];
            match condition.evaluate(&action(), Some(&facts())) {
                Ok(_) => {}
                Err(error) => prop_assert!(allowed.contains(&error), "{text}: {error:?}"),
            }
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,60}") {
        let _answer = check(&text, RuleDecision::Deny, &both());
    }

    #[test]
    fn any_jumble_of_tokens_gets_an_answer(tokens in prop::collection::vec(prop::sample::select(vec![
        "attributes", ".", "reason", "(", ")", "[", "]", "{", "}", "?", ":", ",", "has", "all", "x", "'", "\"", "\\", "1", "u",
        "&&", "||", "!", "-", "+", "in", "true", "null", "r'", "b\"", "0x", "e9", " ", "//", "\n", "`", "é",
    ]), 0..40)) {
        let _answer = check(&tokens.concat(), RuleDecision::Deny, &both());
    }
}
