//! The controller of an installation.

fn main() {}
