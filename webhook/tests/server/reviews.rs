//! The frame of questions and answers.

use actpass_webhook::server::review::{Answer, Cause, Request, ReviewError, Status};
use serde_json::{Value, json};

use super::{asked, request, with};

#[test]
fn what_is_no_review_of_that_version_is_no_question() {
    let review = asked("CREATE", "/v1/pods", json!({}));
    let mut other = review.clone();
    other["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut kind = review.clone();
    kind["kind"] = json!("Pod");
    let mut none = review.clone();
    none.as_object_mut().unwrap().remove("request");
    for given in [
        Value::Null,
        json!([]),
        other,
        kind,
        none,
        with(review.clone(), "/uid", json!(7)),
        with(review.clone(), "/operation", json!("PATCH")),
        with(review.clone(), "/userInfo", json!("ada")),
    ] {
        Request::parse(given.clone()).expect_err(&given.to_string());
    }
    let newer = with(review, "/laterField", json!({"a": 1}));
    assert_eq!(request(newer).uid, "7a");
}

#[test]
fn a_refusal_says_every_cause_with_its_constant_and_field() {
    let cause = |field: &str, message: &str| Cause {
        reason: "uid",
        field: field.to_owned(),
        message: message.to_owned(),
    };
    let one = Answer::refused_for(Status::Forbidden, vec![cause("spec.a", "wrong; write b")]);
    let review = one.to_review("7a");
    assert_eq!(review["response"]["uid"], "7a");
    assert_eq!(review["response"]["allowed"], false);
    assert_eq!(review["response"]["status"]["code"], 403);
    assert_eq!(
        review["response"]["status"]["message"],
        "spec.a: wrong; write b (uid)"
    );
    let two = Answer::refused_for(
        Status::Unavailable,
        vec![cause("", "x"), cause("spec.b", "y")],
    );
    let status = &two.to_review("7a")["response"]["status"];
    assert_eq!(status["message"], "2 reasons\n- x (uid)\n- spec.b: y (uid)");
    assert_eq!(
        (&status["code"], &status["details"]["causes"][1]["field"]),
        (&json!(503), &json!("spec.b"))
    );
}

#[test]
fn a_patch_is_base64_and_warnings_are_bounded() {
    let patch = json!([{"op": "add", "path": "/a", "value": "ü"}]);
    let mut answer = Answer::patched(patch);
    answer.warnings = vec!["ü".repeat(1_000); 100];
    let response = &answer.to_review("7a")["response"];
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    assert_eq!(
        response["patch"],
        "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EiLCJ2YWx1ZSI6IsO8In1d"
    );
    let warnings = response["warnings"].as_array().unwrap();
    assert!(warnings.len() <= 16);
    assert!(
        warnings
            .iter()
            .all(|text| text.as_str().unwrap().chars().count() <= 256)
    );
    let nothing = Answer::patched(json!([])).to_review("7a");
    assert!(nothing["response"].get("patch").is_none());
}

#[test]
fn a_review_with_a_name_that_no_api_server_has_is_none() {
    for at in [
        "/uid",
        "/name",
        "/namespace",
        "/subResource",
        "/resource/group",
    ] {
        let asked = |length: usize| {
            let pod = asked("CREATE", "/v1/pods", json!({}));
            Request::parse(with(pod, at, json!("x".repeat(length))))
        };
        assert!(asked(512).is_ok(), "{at}");
        assert!(matches!(asked(513), Err(ReviewError::Name)), "{at}");
    }
}
