//! Steps of plans are read as the requests they describe.

use std::collections::BTreeMap;

use super::cases;
use super::*;

fn step(req: &cases::Req, origin: &str) -> PlanStep {
    let headers = req
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap()));
    PlanStep {
        method: req.method.clone(),
        url: format!("{origin}{}", req.target),
        headers: headers.collect(),
        body: Some(String::from_utf8(req.body.clone()).unwrap()),
    }
}

#[test]
fn a_step_is_the_action_of_its_request() {
    let bundle = bundle();
    for req in cases::GOOD {
        let action = good(&bundle, &req());
        for origin in [
            "https://api.shop.test",
            "https://API.shop.test:443",
            "http://shop.actpass.internal",
        ] {
            assert_eq!(
                extract_step(&bundle, &AGENT, &step(&req(), origin)).unwrap(),
                action,
                "{origin}"
            );
        }
    }
}

type Change = fn(&mut PlanStep);

#[test]
fn steps_that_are_no_requests_are_refused() {
    let bundle = bundle();
    let refused = |change: Change| {
        let mut step = step(&cases::read(), "https://api.shop.test");
        change(&mut step);
        extract_step(&bundle, &AGENT, &step).unwrap_err().code
    };
    let cases: [(&str, Change, RefusalCode); 14] = [
        ("no method", |s| s.method.clear(), RefusalCode::Unparsable),
        (
            "method with a blank",
            |s| s.method = "GE T".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "no scheme",
            |s| s.url = "api.shop.test/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "only a path",
            |s| s.url = "/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "another scheme",
            |s| s.url = "ftp://api.shop.test/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "an address",
            |s| s.url = "https://192.0.2.1/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "a user",
            |s| s.url = "https://u:p@api.shop.test/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "a fragment",
            |s| s.url = "https://api.shop.test/v1/x#y".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "a wrong port",
            |s| s.url = "https://api.shop.test:99999/v1/x".to_owned(),
            RefusalCode::Unparsable,
        ),
        (
            "another port",
            |s| s.url = "https://api.shop.test:444/v1/x".to_owned(),
            RefusalCode::Undeclared,
        ),
        (
            "another host",
            |s| s.url = "https://shop.test/v1/x".to_owned(),
            RefusalCode::Undeclared,
        ),
        (
            "an unknown upstream",
            |s| s.url = "http://x.actpass.internal/v1/x".to_owned(),
            RefusalCode::Undeclared,
        ),
        (
            "no header name",
            |s| {
                s.headers.insert("a b".to_owned(), String::new());
            },
            RefusalCode::Unparsable,
        ),
        (
            "a header in two spellings",
            |s| {
                s.headers.insert("Shop-Account".to_owned(), "b".to_owned());
            },
            RefusalCode::DuplicateHeader,
        ),
    ];
    for (name, change, want) in cases {
        assert_eq!(refused(change), want, "{name}");
    }
    let many: BTreeMap<_, _> = (0..=PLAN_HEADERS_MAX)
        .map(|n| (format!("x-{n}"), String::new()))
        .collect();
    let step = PlanStep {
        headers: many,
        ..step(&cases::read(), "https://api.shop.test")
    };
    assert_eq!(
        extract_step(&bundle, &AGENT, &step).unwrap_err().code,
        RefusalCode::Unparsable
    );
}

#[test]
fn a_step_reads_from_json_and_knows_all_its_fields() {
    let step: PlanStep =
        serde_json::from_str(r#"{"method":"GET","url":"https://api.shop.test/v1/x"}"#).unwrap();
    assert!(extract_step(&bundle(), &AGENT, &step).is_ok());
    assert!(serde_json::from_str::<PlanStep>(r#"{"method":"GET","url":"x","verb":"y"}"#).is_err());
}
