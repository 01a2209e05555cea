//! Upstreams that ship with ActPass, tested with it, so that a first allow needs one Passport and one ActionPolicy.

/// Names and texts of the catalogue's files.
pub const CATALOG: [(&str, &str); 5] = [
    (
        "catalog/anthropic.yaml",
        include_str!("../../catalog/anthropic.yaml"),
    ),
    (
        "catalog/github.yaml",
        include_str!("../../catalog/github.yaml"),
    ),
    (
        "catalog/openai.yaml",
        include_str!("../../catalog/openai.yaml"),
    ),
    (
        "catalog/slack.yaml",
        include_str!("../../catalog/slack.yaml"),
    ),
    (
        "catalog/stripe.yaml",
        include_str!("../../catalog/stripe.yaml"),
    ),
];
