//! A pod that tries to get out from its first moment on, and pays besides.

use serde_json::{Value, json};

use crate::attack;
use crate::cluster::Namespace;
use crate::frames::Frame;
use crate::shop::Shop;
use crate::workload::{container, pays, pod, spec, with};

/// The first thing that the first container of its own sends, and where to.
pub const FIRST: (&str, &str) = ("quic4", "203.0.113.22");

/// What is sent then, again and again.
const BUSY: &str = "while true; do /kit/attack udp4 udp6 tcp4 dns4 dns6 ping4 device_udp4 freebind_udp6 freebind_dns6 igmp mld \
                    mptcp4 packet >/dev/null; sleep 0.05; done";

/// Two containers, one before the other, that send from their first moment on; the second also pays for ever.
pub fn restless(shop: &Shop<'_>) -> Value {
    let kit = |name: &str, script: &str| {
        let mounts = json!([{"name": "kit", "mountPath": "/kit"}]);
        with(container(name, script), [("volumeMounts", mounts)])
    };
    let early = format!(
        "/kit/attack {} >/dev/null; timeout 3 sh -c '{BUSY}'; true",
        FIRST.0
    );
    let pays = pays(shop, 100, "busy");
    let main = format!("{BUSY} & while true; do {pays}; sleep 0.2; done");
    let volume = json!({"name": "kit", "configMap": {"name": "kit", "defaultMode": 0o555}});
    let spec = with(
        spec(""),
        [
            ("restartPolicy", json!("Always")),
            ("volumes", json!([volume])),
            ("initContainers", json!([kit("early", &early)])),
            ("containers", json!([kit("main", &main)])),
        ],
    );
    pod("agent", &spec)
}

/// Puts the attack kit where that pod has it before it runs.
///
/// # Errors
/// Where it is not taken.
pub fn keep_kit(namespace: &Namespace<'_>) -> anyhow::Result<()> {
    let kit = format!("--from-file=attack={}", attack::program()?.display());
    namespace.ask(&["create", "configmap", "kit", &kit])?;
    Ok(())
}

/// Those of the frames that came over a link, from the first on that the kernel does not make for a new link: what it says at
/// first, which neighbours' questions it listens to among that, precedes all containers, the first of ours too.
pub fn of_link(frames: &[Frame], link: usize) -> Vec<Frame> {
    let of_it = frames.iter().filter(|it| it.link == link);
    let begun = of_it.skip_while(|it| it.is_of_the_link() || it.is_membership());
    begun.cloned().collect()
}

/// Whether a packet went to that address.
pub fn went_to(frames: &[Frame], address: &str) -> bool {
    let mut packets = frames.iter().filter_map(|it| it.packet);
    packets.any(|it| it.to.to_string() == address)
}
