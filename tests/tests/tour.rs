//! The whole chain, as the tour goes through it: each of its steps ends it with an error if it comes out otherwise.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::process::Command;

fn tour() -> std::process::Output {
    Command::new(actpass_tests::actpass())
        .arg("demo")
        .env_remove("ACTPASS_STATE_DIR")
        .output()
        .unwrap()
}

#[test]
fn the_tour_goes_through_every_part_and_ends_in_success() {
    let output = tour();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for shown in [
        "ven_acme 120.00, ven_acme 2500.00, ven_initech 400.00",
        "Rule payouts/huge denies this",
        "The passport's scope covers this capability, but not on this resource",
        "The limit on `payouts` is 5000.00 USD",
        "look for the key                   not found",
        "VALID: actpass/local/default/",
        "is damaged at byte",
    ] {
        assert!(text.contains(shown), "`{shown}` is not in\n{text}");
    }
}
