//! Checker and definitions compared.

use std::path::Path;

use super::GOOD;
use super::api_server::refusals;

/// What is wrong between what the checker says of manifests and what an API server does, if anything.
pub(crate) fn disagreement(name: &str, text: &str, said: &[String]) -> Option<String> {
    let refused = refusals(text);
    let wrong = said.iter().any(|line| !line.contains(": warning: "));
    let left = LEFT.contains(&name);
    match (wrong, refused.is_empty()) {
        (false, false) => Some(format!("{name}: refused by the definitions: {refused:?}")),
        (true, true) if !left => Some(format!("{name}: let through by the definitions")),
        (_, false) if left => Some(format!("{name}: is left to nobody: {refused:?}")),
        _ => None,
    }
}

#[test]
fn what_is_shipped_is_valid_in_a_cluster() {
    assert_eq!(refusals(GOOD), [""; 0]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for file in std::fs::read_dir(root.join("catalog")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert_eq!(refusals(&text), [""; 0], "{text}");
        count += 1;
    }
    assert!(count >= 5, "only {count} files of the catalogue");
}

#[test]
fn what_is_left_has_a_case() {
    let cases = [
        include_str!("actions.rs"),
        include_str!("form.rs"),
        include_str!("passports.rs"),
        include_str!("policies.rs"),
        include_str!("upstreams.rs"),
    ];
    let cases = cases.concat();
    for name in LEFT {
        let case = format!("name: \"{name}\"");
        assert_eq!(cases.matches(&case).count(), 1, "{name}");
    }
}

/// What no definition can show, by why it cannot. Admission says it, as `actpass check` does, but for the last group.
const LEFT: [&str; 62] = [
    // Other resources.
    "a capability that is nearly declared",
    "a capability that the Upstream does not declare",
    "a capability of an Upstream that is not there",
    "a meter that is nearly fed",
    "a meter that nothing feeds",
    "a meter in a unit that nothing feeds",
    "a second Passport of one subject",
    "a target that is nearly there",
    "a target that is not there",
    "a capability that no Upstream declares",
    "a rule that asks nobody",
    "a total of a meter that no limit counts",
    "an undo that is not declared",
    "an undo by another method",
    "an undo by itself",
    "a host of another Upstream",
    // What a value means: instants, currencies, time zones, addresses, conditions.
    "an end that is no instant",
    "a currency of no country for a limit",
    "a currency of no country",
    "too many decimals for the currency",
    "an amount too large for what counts it",
    "a bound with too many decimals",
    "a time zone of no place",
    "a condition that is no CEL",
    "a name that a condition does not know",
    "a condition of another type",
    "a condition that is no question",
    "a hint that would loosen",
    "a function that is not of the subset",
    "an address for a host",
    // Paths, parameters and headers of an action, compared with each other.
    "a path with a step up",
    "a segment named twice",
    "a tie of equal paths",
    "a tie of paths that differ in a name alone",
    "a source in a parameter that is not declared",
    "a source in a parameter that is nearly declared",
    "a source in the query that is not declared",
    "a source in a segment that is not named",
    "a source in a segment of another name",
    "a source in a header that is not forwarded",
    "a parameter that asks for another method",
    "a parameter with an open bracket",
    "a header that carries the credential",
    "a header of the hop",
    "a header that asks for another method",
    "a header that is the agent's word to ActPass",
    "a credential for an idempotency key",
    // A field of any type, which no rule can read.
    "a default of another type",
    "a default that is never taken",
    "a default that no JSON number holds",
    "a default that is a fraction",
    // No mistakes in a cluster: the API server keeps names and namespaces apart, and reads what YAML allows.
    "two Passports of one name",
    "another namespace",
    "two Upstreams of one name",
    "an Upstream that another namespace keeps to itself",
    "a guard with a namespace",
    "a status",
    "metadata of the API server",
    "a boolean of YAML 1.1",
    "an anchor",
    "a tag",
    "a merge key",
];
