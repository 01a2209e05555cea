//! What the end-to-end tests share: the program under test.

use std::path::PathBuf;

/// The `actpass` binary that was built beside the tests.
///
/// # Panics
/// Where it was not built: `make test` builds it first.
pub fn actpass() -> PathBuf {
    let tests = std::env::current_exe().unwrap_or_default();
    let binary = tests
        .ancestors()
        .nth(2)
        .map(|target| target.join("actpass"))
        .unwrap_or_default();
    assert!(
        binary.is_file(),
        "`{}` is not built; run `cargo build -p actpass-cli`",
        binary.display()
    );
    binary
}
