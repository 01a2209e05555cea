//! The table of bad requests, run against the reading alone.

use std::collections::BTreeSet;

use super::cases::{self, Want};
use super::*;

/// As many kinds of bad requests are told apart at least.
const CASES_MIN: usize = 200;

#[test]
fn each_bad_request_is_answered_as_the_table_says_and_its_base_is_good() {
    let bundle = bundle();
    let cases = cases::all();
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    for case in &cases {
        let mut req = (case.base)();
        good(&bundle, &req);
        (case.break_it)(&mut req);
        match (case.want, read_req(&bundle, &req)) {
            (Want::Refused(code, says), Err(refused)) => {
                assert_eq!(refused.code.as_str(), code, "{}: {refused}", case.name);
                assert!(refused.detail.contains(says), "{}: {refused}", case.name);
            }
            (Want::Fault(fact, problem), Ok(action)) => {
                let fault = action
                    .fault
                    .unwrap_or_else(|| panic!("{}: no fault", case.name));
                let found = serde_json::to_value(fault.problem).unwrap();
                assert_eq!(
                    (fault.fact.as_str(), found.as_str()),
                    (fact, Some(problem)),
                    "{}",
                    case.name
                );
            }
            (want, got) => panic!("{}: wanted {want:?}, got {got:?}", case.name),
        }
    }
}

#[test]
fn names_of_cases_are_unique() {
    let cases = cases::all();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn every_code_is_shown_by_some_case() {
    let codes: BTreeSet<_> = cases::all()
        .iter()
        .filter_map(|case| match case.want {
            Want::Refused(code, _) => Some(code),
            Want::Fault(..) => None,
        })
        .collect();
    let all = [
        RefusalCode::Unparsable,
        RefusalCode::Undeclared,
        RefusalCode::TwoActions,
        RefusalCode::MislabelledBody,
        RefusalCode::CompressedBody,
        RefusalCode::UndeclaredParameter,
        RefusalCode::BodyTooLarge,
        RefusalCode::BodyNotAllowed,
        RefusalCode::BadPath,
        RefusalCode::DuplicateKey,
        RefusalCode::DuplicateHeader,
        RefusalCode::HeaderTooLarge,
    ];
    assert_eq!(codes, all.into_iter().map(RefusalCode::as_str).collect());
}

#[test]
fn a_refusal_never_repeats_values() {
    const SECRET: &str = "sk_live_canary";
    let bundle = bundle();
    for case in cases::all() {
        let mut req = (case.base)();
        (case.break_it)(&mut req);
        // Values all over: in each header, behind the query and the body.
        req.header("authorization", SECRET);
        req.target.push_str(if req.target.contains('?') {
            "&k="
        } else {
            "?k="
        });
        req.target.push_str(SECRET);
        req.more(&format!("&k={SECRET}"));
        if let Err(refused) = read_req(&bundle, &req) {
            assert!(!refused.detail.contains(SECRET), "{}: {refused}", case.name);
        }
    }
}

#[test]
fn a_document_in_the_place_of_a_key_is_not_repeated() {
    let bundle = bundle();
    let mut req = cases::refund();
    req.body = br#"{"secret":"sk_live_canary="}"#.to_vec();
    let refused = read_req(&bundle, &req).unwrap_err();
    assert_eq!(refused.code, RefusalCode::UndeclaredParameter);
    assert!(refused.detail.contains("(name withheld)"), "{refused}");
}

#[test]
fn refusals_name_the_action_once_it_is_known() {
    let bundle = bundle();
    let mut req = cases::refund();
    req.more("&fee=1");
    let capability = read_req(&bundle, &req).unwrap_err().capability.unwrap();
    assert_eq!(capability.as_str(), "shop.refunds.create");
    req.target = "/v2/refunds".to_owned();
    assert_eq!(read_req(&bundle, &req).unwrap_err().capability, None);
}
