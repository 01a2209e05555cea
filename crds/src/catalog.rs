//! Upstreams that ship with ActPass.

/// File names and texts of the catalogue.
pub const CATALOG: [(&str, &str); 1] = [(
    "catalog/stripe.yaml",
    include_str!("../../catalog/stripe.yaml"),
)];
