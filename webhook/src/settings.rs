//! What an installation injects and what it lets pass.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use actpass_core::canonical::excerpt;
use actpass_core::hash::hex;

/// All settings. Made by [`Settings::new`] with the safe choice everywhere, then changed field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What runs.
    pub images: Images,
    /// What pods of earlier releases may still run. Default: none.
    pub earlier_images: Vec<Images>,
    /// `HOST:PORT` of the controller.
    pub controller: String,
    /// `HOST:PORT` of the ledger.
    pub ledger: String,
    /// What a sidecar believes of the control plane.
    pub pins: Pins,
    /// What each container of ours may use.
    pub resources: Resources,
    /// The uids that only sidecars have. Default: 40000 to 49999.
    pub sidecar_uids: UidRange,
    /// The uid of agents that name none. Default: none, since files in an image belong to somebody: such pods are refused.
    pub default_agent_uid: Option<u32>,
    /// Localhost seccomp profiles that refuse at least what `RuntimeDefault` does. Default: none.
    pub seccomp_profiles: BTreeSet<String>,
    /// Runtime classes on which the fence was tried. Default: none, so only the node's default.
    pub runtime_classes: BTreeSet<String>,
    /// Drivers of inline CSI volumes that open no way out. Default: none.
    pub csi_drivers: BTreeSet<String>,
    /// Extended resources, such as `nvidia.com/gpu`, that are no network. Default: none.
    pub extended_resources: BTreeSet<String>,
    /// What agents get as `KUBERNETES_SERVICE_HOST`, since only names can be declared. Default: `kubernetes.default.svc`.
    pub kubernetes_host: String,
    /// Seconds for open requests to end, added to each pod's grace period. Default: 10.
    pub drain_seconds: u32,
}

/// The images of our containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of `actpass-init`.
    pub init: Image,
    /// Of `actpass-proxy`.
    pub proxy: Image,
    /// Of `actpass-verify`.
    pub verify: Image,
}

/// An image, by digest unless [`Image::tagged`] made it: a tag can be moved, and what runs in these containers decides
/// everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(String);

/// SHA-256 digests of what a sidecar may believe. More than one while something rotates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// Of CA certificates, DER.
    pub ca: BTreeSet<[u8; 32]>,
    /// Of the issuer's public keys.
    pub issuer_keys: BTreeSet<[u8; 32]>,
    /// Of the ledger's public keys.
    pub ledger_keys: BTreeSet<[u8; 32]>,
}

/// What our containers may use. No CPU limit: to throttle the sidecar is to slow every request of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Of `actpass-init`. Default: 10m CPU, 16 MiB, at most 64 MiB.
    pub init: Amounts,
    /// Of `actpass-proxy`. Default: 20m CPU, 64 MiB, at most 192 MiB.
    pub proxy: Amounts,
    /// Of `actpass-verify`. Default: 5m CPU, 8 MiB, at most 32 MiB.
    pub verify: Amounts,
}

/// Requests and limits of one container. As numbers, so that they are written as the API server writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// Requested CPU, in thousandths.
    pub cpu_millis: u32,
    /// Requested memory, in MiB.
    pub memory_mib: u32,
    /// Most memory, in MiB.
    pub memory_mib_max: u32,
}

/// Uids, and gids of the same numbers, that no agent may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRange {
    first: u32,
    last: u32,
}

/// Why a setting is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// By tag, or no image at all.
    #[error("image `{0}` is not named by digest; write NAME@sha256:DIGEST")]
    Image(String),
    /// Not all images of a release.
    #[error(
        "an earlier release has three images; write init, proxy and verify of one release, then of the next"
    )]
    Release,
    /// Outside of what pods with user namespaces map, or with the uids of systems and people.
    #[error("uids {first} to {last} are not within {UID_FIRST} to {UID_LAST}")]
    Uids {
        /// First uid.
        first: u32,
        /// Last uid.
        last: u32,
    },
}

/// Below are uids of systems, people and most images.
const UID_FIRST: u32 = 10_000;
/// Above is `nobody`; a pod with a user namespace of its own maps 65536 ids.
const UID_LAST: u32 = 65_533;

impl Settings {
    /// Settings with the documented defaults for all the rest.
    pub fn new(images: Images, controller: String, ledger: String, pins: Pins) -> Settings {
        Settings {
            images,
            earlier_images: Vec::new(),
            controller,
            ledger,
            pins,
            resources: Resources::default(),
            sidecar_uids: UidRange {
                first: 40_000,
                last: 49_999,
            },
            default_agent_uid: None,
            seccomp_profiles: BTreeSet::new(),
            runtime_classes: BTreeSet::new(),
            csi_drivers: BTreeSet::new(),
            extended_resources: BTreeSet::new(),
            kubernetes_host: "kubernetes.default.svc".to_owned(),
            drain_seconds: 10,
        }
    }
}

impl Default for Resources {
    fn default() -> Resources {
        let amounts = |cpu_millis, memory_mib, memory_mib_max| Amounts {
            cpu_millis,
            memory_mib,
            memory_mib_max,
        };
        Resources {
            init: amounts(10, 16, 64),
            proxy: amounts(20, 64, 192),
            verify: amounts(5, 8, 32),
        }
    }
}

impl Amounts {
    /// Requested CPU as a Kubernetes quantity in its canonical form: `20m`, `2`.
    pub(crate) fn cpu(self) -> String {
        scaled(self.cpu_millis, 1_000, "m", "")
    }

    /// Requested memory: `64Mi`, `1Gi`.
    pub(crate) fn memory(self) -> String {
        scaled(self.memory_mib, 1_024, "Mi", "Gi")
    }

    /// Most memory.
    pub(crate) fn memory_max(self) -> String {
        scaled(self.memory_mib_max, 1_024, "Mi", "Gi")
    }
}

/// `number` in the larger unit where that leaves no fraction.
fn scaled(number: u32, step: u32, small: &str, large: &str) -> String {
    match (number, number.is_multiple_of(step)) {
        (0, _) => "0".to_owned(),
        (_, true) => format!("{}{large}", number / step),
        (_, false) => format!("{number}{small}"),
    }
}

impl UidRange {
    /// From `first` to `last`, both included.
    pub fn new(first: u32, last: u32) -> Result<UidRange, SettingsError> {
        match UID_FIRST <= first && first <= last && last <= UID_LAST {
            true => Ok(UidRange { first, last }),
            false => Err(SettingsError::Uids { first, last }),
        }
    }

    /// The first of them.
    pub fn first(self) -> u32 {
        self.first
    }

    /// Whether a uid or gid is one of them.
    pub fn contains(self, id: i64) -> bool {
        (i64::from(self.first)..=i64::from(self.last)).contains(&id)
    }

    /// The uid that a number falls on.
    pub(crate) fn pick(self, number: u64) -> u32 {
        let count = u64::from(self.last - self.first) + 1;
        let offset = u32::try_from(number % count).unwrap_or_default();
        self.first + offset
    }
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}

impl FromStr for Image {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let by_digest = text.split_once("@sha256:").is_some_and(|(name, digest)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && actpass_core::hash::unhex32(digest).is_ok()
        });
        match by_digest {
            true => Ok(Image(text.to_owned())),
            false => Err(SettingsError::Image(excerpt(text))),
        }
    }
}

impl Image {
    /// An image by tag or by digest, for development only.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn tagged(text: &str) -> Result<Image, SettingsError> {
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Image(text.to_owned())),
            false => Err(SettingsError::Image(excerpt(text))),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digests as one variable holds them.
pub(crate) fn joined(pins: &BTreeSet<[u8; 32]>) -> String {
    let texts: Vec<String> = pins.iter().map(|pin| hex(pin)).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_name_images() {
        let digest = "0".repeat(64);
        assert!(
            format!("registry.example/a/b@sha256:{digest}")
                .parse::<Image>()
                .is_ok()
        );
        for given in [
            String::new(),
            "a".to_owned(),
            "a:latest".to_owned(),
            format!("@sha256:{digest}"),
            format!("a b@sha256:{digest}"),
            format!("a@sha256:{}", "0".repeat(63)),
            format!("a@sha256:{}", "A".repeat(64)),
        ] {
            assert!(given.parse::<Image>().is_err(), "{given}");
        }
    }

    #[test]
    fn uids_of_people_images_and_nobody_are_not_reserved() {
        for (first, last) in [(0, 20_000), (9_999, 20_000), (20_000, 65_534), (3, 2)] {
            assert!(UidRange::new(first, last).is_err(), "{first} {last}");
        }
        let range = UidRange::new(20_000, 20_002).unwrap();
        let picked: BTreeSet<u32> = (0..100).chain([u64::MAX]).map(|n| range.pick(n)).collect();
        assert_eq!(picked, BTreeSet::from([20_000, 20_001, 20_002]));
    }

    #[test]
    fn amounts_are_written_as_the_api_server_writes_them() {
        let amounts = |cpu_millis, memory_mib| Amounts {
            cpu_millis,
            memory_mib,
            memory_mib_max: memory_mib,
        };
        for (given, cpu, memory) in [
            (amounts(20, 64), "20m", "64Mi"),
            (amounts(1_000, 1_024), "1", "1Gi"),
            (amounts(2_500, 1_536), "2500m", "1536Mi"),
            (amounts(0, 0), "0", "0"),
        ] {
            assert_eq!(
                (given.cpu().as_str(), given.memory().as_str()),
                (cpu, memory)
            );
        }
    }
}
