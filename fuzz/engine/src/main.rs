//! libFuzzer around one target, named by `ACTPASS_FUZZ_TARGET`. Without a name it lists the targets, each with the
//! length of its longest input. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::LazyLock;

use actpass_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ACTPASS_FUZZ_TARGET").unwrap_or_default();
    if name.is_empty() {
        for target in TARGETS {
            println!("{} {}", target.name, target.bytes_max);
        }
        std::process::exit(0);
    }
    actpass_fuzz::find(&name)
        .unwrap_or_else(|| panic!("ACTPASS_FUZZ_TARGET names no target: `{name}`"))
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| (TARGET.run)(data));
