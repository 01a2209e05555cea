//! What an approval was asked by: while the question stands, so does the answer.

use super::RuleRef;
use crate::bundle::Bundle;
use crate::canonical;
use crate::capability::Capability;
use crate::hash::sha256;

/// SHA-256 over the text of the rules that matched and of the action's declaration: a grant holds while both are
/// unchanged. `rules` are those of [`super::Decision::rules`].
pub fn asked_by(bundle: &Bundle, rules: &[RuleRef], capability: &Capability) -> [u8; 32] {
    // A bundle was read from canonical text, so its parts have one; should one not, any change of the bundle counts.
    let stand_in = || bundle.digest().as_bytes().to_vec();
    let mut texts: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    for name in rules {
        // A policy of the cluster and one of the namespace may share a name: both are part of the question.
        let policies = bundle
            .spec()
            .policies
            .iter()
            .filter(|policy| policy.name == name.policy);
        let named = policies
            .flat_map(|policy| &policy.rules)
            .filter(|rule| rule.name == name.rule);
        texts.extend(
            named.map(|rule| {
                canonical::to_vec(&(&name.policy, rule)).unwrap_or_else(|_| stand_in())
            }),
        );
    }
    texts.sort();
    let declared = bundle.action(capability).map(|(_, spec)| spec);
    texts.push(canonical::to_vec(&declared).unwrap_or_else(|_| stand_in()));
    // Canonical JSON never holds a raw line feed, so the parts cannot run into each other.
    sha256(&[b"actpass.asked/1\0", &texts.join(b"\n".as_slice())])
}
