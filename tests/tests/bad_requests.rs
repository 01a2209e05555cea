//! Bad requests over real connections of an agent that `actpass run` contains.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use actpass_tests::agent::Agent;
use actpass_tests::bad_requests::{HOST, SHOP, Sender, Trial, bad_and_harmless};
use actpass_tests::books::Books;
use actpass_tests::home::{Home, records, text, users};
use serde_json::Value;

/// The upstream, and the agent's directory with the policy for it.
fn shop() -> (Books, Home) {
    let books = Books::start(HOST).unwrap();
    let policy = SHOP.replace("CA_BUNDLE\n", &books.authority.block(6));
    let home = Home::new(*users().last().unwrap(), &policy).unwrap();
    (books, home)
}

/// Tries something there, and reads what is on the record when the agent has ended.
fn tried(with: impl FnOnce(&mut Trial<'_>)) {
    let (books, home) = shop();
    let agent = Agent::start(&home, HOST, books.port).unwrap();
    let mut trial = Trial::of(Sender::of(agent), &books);
    with(&mut trial);
    let seen = trial.end();
    let verified = home.actpass(&["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", text(&verified));
    let records = records(&home.log().unwrap());
    seen.on_the_record(&records).unwrap();
    let is_denial = |it: &Value| it["body"]["verdict"] == "deny";
    let is_end = |it: &Value| it["body"]["result"] == "ok";
    for lost in [is_denial as fn(&Value) -> bool, is_end] {
        let mut without = records.clone();
        without.remove(records.iter().rposition(lost).unwrap());
        let found = seen.on_the_record(&without);
        found.expect_err("a record that is missing is missed");
    }
}

#[test]
fn bad_requests_are_refused_and_recorded_and_no_byte_of_them_leaves() {
    let (bad, harmless) = bad_and_harmless();
    tried(|trial| {
        trial.bad(&bad);
        trial.without_faults(&bad);
        trial.harmless(&harmless);
    });
}

#[test]
fn behind_a_good_request_a_bad_one_is_refused_alone() {
    tried(|trial| trial.behind_good_ones());
}
