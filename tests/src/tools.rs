//! Programs that `make setup` installs for the tests.

#![expect(
    clippy::panic,
    reason = "a helper of tests: a tool that is missing fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The Envoy of `tests/servers/requirements.txt`, where it is installed: it is built for few machines.
pub fn envoy() -> Option<PathBuf> {
    let program = cache().join("envoy/bin/envoy");
    program.exists().then_some(program)
}

/// The modules of `tests/sdk/package-lock.json`.
///
/// # Panics
/// Where they are not installed.
pub fn node_modules() -> PathBuf {
    tool("node/node_modules")
}

/// What `tests/cluster/tools/build MODULE` made, a program or a file; where it was not made, that is printed.
///
/// # Panics
/// Where the script that knows its place does not run, and where it was not made though the Kubernetes node is there, whose
/// set-up makes everything.
pub fn built(module: &str, name: &str) -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/tools/build");
    let said = Command::new(script)
        .args(["--print", module])
        .env("ACTPASS_CACHE", cache())
        .output()
        .unwrap_or_else(|error| panic!("`{script}`: {error}"));
    let path = Path::new(String::from_utf8_lossy(&said.stdout).trim()).join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        !crate::cluster::asked_for(),
        "`{name}` is not built; run `tests/cluster/tools/build {module}`"
    );
    println!(
        "LEFT OUT: `{name}` is not built; run `tests/cluster/tools/build {module}`, which needs Go 1.26"
    );
    None
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
