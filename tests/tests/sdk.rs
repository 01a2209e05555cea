//! Official SDKs and common HTTP clients, unmodified, against a provider behind TLS: what is allowed happens, what is
//! denied is raised as the SDK's own permission error with our reason, and what a person approved happens once.

use std::path::Path;
use std::process::Command;

use actpass_tests::stripe::{Steps, World};
use actpass_tests::tools::python;

fn raises(steps: &Steps, error: &str) {
    for denied in ["huge", "repeat asked", "execute asked"] {
        let (_, answer) = steps.at(denied);
        assert_eq!(answer["raised"], error, "{denied}: {answer}");
    }
}

#[test]
fn stripe_for_python_with_one_line_changed() {
    let python = python();
    let clear = [("API_BASE", "http://stripe.actpass.internal")];
    let world = World::start();
    let steps = world.governs(&[python.to_str().unwrap(), "stripe_sdk.py"], &[], &clear);
    raises(&steps, "PermissionError");
}

#[test]
fn stripe_for_python_untouched_behind_a_trust_file() {
    let python = python();
    let bundle = Command::new(&python)
        .args(["-c", "import stripe, os; print(os.path.join(os.path.dirname(stripe.__file__), 'data', 'ca-certificates.crt'))"])
        .output()
        .unwrap();
    let bundle = String::from_utf8(bundle.stdout).unwrap();
    assert!(Path::new(bundle.trim()).is_file(), "{bundle}");
    let world = World::start();
    let options = ["--trust-file", bundle.trim()];
    let steps = world.governs(&[python.to_str().unwrap(), "stripe_sdk.py"], &options, &[]);
    raises(&steps, "PermissionError");
}

#[test]
fn requests_for_python() {
    let python = python();
    World::start().governs(&[python.to_str().unwrap(), "with_requests.py"], &[], &[]);
}

#[test]
fn httpx_for_python() {
    let python = python();
    World::start().governs(&[python.to_str().unwrap(), "with_httpx.py"], &[], &[]);
}

#[test]
fn stripe_for_node() {
    let steps = World::start().governs(&["node", "stripe_sdk.mjs"], &[], &[]);
    raises(&steps, "StripePermissionError");
}

#[test]
fn fetch_of_node() {
    World::start().governs(&["node", "with_fetch.mjs"], &[], &[]);
}

#[test]
fn curl() {
    World::start().governs(&["bash", "with_curl.sh"], &[], &[]);
}
