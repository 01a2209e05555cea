//! Programs that `make setup` installs for the tests.

use std::path::PathBuf;

/// The Python that has the SDKs of `tests/sdk/requirements.txt`.
///
/// # Panics
/// Where it is not installed.
pub fn python() -> PathBuf {
    tool("python/bin/python3")
}

/// The provider that the payment SDKs talk to.
///
/// # Panics
/// Where it is not installed.
pub fn localstripe() -> PathBuf {
    tool("python/bin/localstripe")
}

/// The modules of `tests/sdk/package-lock.json`.
///
/// # Panics
/// Where they are not installed.
pub fn node_modules() -> PathBuf {
    tool("node/node_modules")
}

/// Where everything that is installed for the tests lies.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("ACTPASS_CACHE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache")),
        PathBuf::from,
    )
}

fn tool(name: &str) -> PathBuf {
    let path = cache().join(name);
    assert!(
        path.exists(),
        "`{}` is not installed; run `make setup`",
        path.display()
    );
    path
}
