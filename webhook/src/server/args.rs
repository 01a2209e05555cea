//! Flags of `actpass-webhook`, each with its variable.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;

use actpass_transport::program::LogFormat;
use clap::Parser;

use crate::settings::{Amounts, Image, Images, Pins, Resources, Settings, SettingsError, UidRange};

/// The admission webhook of ActPass: injects the sidecar into pods, refuses what gets past it, checks resources, stamps
/// votes.
#[derive(Debug, Parser)]
#[command(name = "actpass-webhook", version)]
pub struct Args {
    /// Namespace of the installation.
    #[arg(long, env = "ACTPASS_NAMESPACE", default_value = "actpass-system")]
    pub namespace: String,
    /// Where the API server reaches it, by TLS.
    #[arg(long, env = "ACTPASS_LISTEN", default_value = "[::]:8443")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are, without TLS.
    #[arg(long, env = "ACTPASS_HEALTH_LISTEN", default_value = "[::]:8080")]
    pub health_listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Seconds for which it still answers after SIGTERM, until the API server asks others.
    #[arg(long, env = "ACTPASS_SHUTDOWN_DELAY_SECONDS", default_value_t = 5)]
    pub shutdown_delay_seconds: u64,
    /// What is injected, and what is let pass.
    #[command(flatten)]
    pub injection: Injection,
}

/// What is injected, and what is let pass.
#[derive(Debug, clap::Args)]
pub struct Injection {
    /// Image of actpass-init, by digest.
    #[arg(long, env = "ACTPASS_INIT_IMAGE")]
    pub init_image: String,
    /// Image of actpass-proxy, by digest.
    #[arg(long, env = "ACTPASS_PROXY_IMAGE")]
    pub proxy_image: String,
    /// Image of actpass-verify, by digest.
    #[arg(long, env = "ACTPASS_VERIFY_IMAGE")]
    pub verify_image: String,
    /// Take images by tag too, which whoever can push moves: for development.
    #[arg(long, env = "ACTPASS_ALLOW_TAGS", default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_tags: bool,
    /// HOST:PORT at which sidecars reach the controller [default: actpass-controller.NAMESPACE.svc:8443].
    #[arg(long, env = "ACTPASS_CONTROLLER")]
    pub controller: Option<String>,
    /// HOST:PORT at which sidecars reach the ledger [default: actpass-ledger.NAMESPACE.svc:8443].
    #[arg(long, env = "ACTPASS_LEDGER")]
    pub ledger: Option<String>,
    /// Images that pods of earlier releases may have: init, proxy and verify of one release, then of the next.
    #[arg(long, env = "ACTPASS_EARLIER_IMAGES", value_delimiter = ',')]
    pub earlier_images: Vec<String>,
    /// Uids that only sidecars have, FIRST-LAST.
    #[arg(long, env = "ACTPASS_SIDECAR_UIDS", default_value = "40000-49999")]
    pub sidecar_uids: Uids,
    /// Seconds for open requests to end, added to each pod's grace period.
    #[arg(long, env = "ACTPASS_SIDECAR_DRAIN_SECONDS", default_value_t = 10)]
    pub sidecar_drain_seconds: u32,
    /// What actpass-init may use: thousandths of a CPU, MiB requested, MiB at most.
    #[arg(long, env = "ACTPASS_INIT_RESOURCES", default_value = "10,16,64")]
    pub init_resources: Use,
    /// What actpass-proxy may use.
    #[arg(long, env = "ACTPASS_PROXY_RESOURCES", default_value = "20,64,192")]
    pub proxy_resources: Use,
    /// What actpass-verify may use.
    #[arg(long, env = "ACTPASS_VERIFY_RESOURCES", default_value = "5,8,32")]
    pub verify_resources: Use,
    /// Uid of agents that name none; without it such pods are refused.
    #[arg(long, env = "ACTPASS_DEFAULT_AGENT_UID")]
    pub default_agent_uid: Option<u32>,
    /// Localhost seccomp profiles that refuse at least what RuntimeDefault does.
    #[arg(long, env = "ACTPASS_SECCOMP_PROFILES", value_delimiter = ',')]
    pub seccomp_profiles: Vec<String>,
    /// Runtime classes on which the fence was tried.
    #[arg(long, env = "ACTPASS_RUNTIME_CLASSES", value_delimiter = ',')]
    pub runtime_classes: Vec<String>,
    /// Drivers of inline CSI volumes that open no way out.
    #[arg(long, env = "ACTPASS_CSI_DRIVERS", value_delimiter = ',')]
    pub csi_drivers: Vec<String>,
    /// Extended resources, such as nvidia.com/gpu, that are no network.
    #[arg(long, env = "ACTPASS_EXTENDED_RESOURCES", value_delimiter = ',')]
    pub extended_resources: Vec<String>,
    /// What agents get as KUBERNETES_SERVICE_HOST.
    #[arg(
        long,
        env = "ACTPASS_KUBERNETES_HOST",
        default_value = "kubernetes.default.svc"
    )]
    pub kubernetes_host: String,
}

/// Uids, `FIRST-LAST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uids(pub UidRange);

/// Amounts, `CPU,MEMORY,MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use(pub Amounts);

impl FromStr for Uids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.trim().parse().ok();
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((number(first)?, number(last)?)));
        let (first, last) = range.ok_or("expected FIRST-LAST, such as 40000-49999")?;
        UidRange::new(first, last)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl FromStr for Use {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected CPU,MEMORY,MOST as whole numbers, such as 20,64,192".to_owned();
        let numbers: Result<Vec<u32>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        match numbers.map_err(|_| wrong())?.as_slice() {
            [cpu_millis, memory_mib, memory_mib_max] if memory_mib <= memory_mib_max => {
                Ok(Self(Amounts {
                    cpu_millis: *cpu_millis,
                    memory_mib: *memory_mib,
                    memory_mib_max: *memory_mib_max,
                }))
            }
            _ => Err(wrong()),
        }
    }
}

impl Injection {
    /// The settings, as far as they are known before the controller has said what sidecars may trust.
    ///
    /// # Errors
    /// An image without a digest, or a release without three images.
    pub fn settings(self, namespace: &str) -> Result<Settings, SettingsError> {
        let Self {
            init_image,
            proxy_image,
            verify_image,
            earlier_images,
            allow_tags,
            controller,
            ledger,
            sidecar_uids: Uids(sidecar_uids),
            sidecar_drain_seconds: drain_seconds,
            init_resources: Use(init),
            proxy_resources: Use(proxy),
            verify_resources: Use(verify),
            default_agent_uid,
            seccomp_profiles,
            runtime_classes,
            csi_drivers,
            extended_resources,
            kubernetes_host,
        } = self;
        let image = |text: &str| match allow_tags {
            true => Image::tagged(text),
            false => text.parse(),
        };
        let release = |texts: &[String]| match texts {
            [init, proxy, verify] => Ok(Images {
                init: image(init)?,
                proxy: image(proxy)?,
                verify: image(verify)?,
            }),
            _ => Err(SettingsError::Release),
        };
        let images = release(&[init_image, proxy_image, verify_image])?;
        let earlier: Vec<String> = earlier_images
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let earlier_images = earlier.chunks(3).map(release).collect::<Result<_, _>>()?;
        let service = |part: &str| format!("actpass-{part}.{namespace}.svc:8443");
        let controller = controller.unwrap_or_else(|| service("controller"));
        let ledger = ledger.unwrap_or_else(|| service("ledger"));
        // An empty variable is no list with one empty element.
        let set = |texts: Vec<String>| -> BTreeSet<String> {
            texts.into_iter().filter(|text| !text.is_empty()).collect()
        };
        Ok(Settings {
            earlier_images,
            resources: Resources {
                init,
                proxy,
                verify,
            },
            sidecar_uids,
            default_agent_uid,
            seccomp_profiles: set(seccomp_profiles),
            runtime_classes: set(runtime_classes),
            csi_drivers: set(csi_drivers),
            extended_resources: set(extended_resources),
            kubernetes_host,
            drain_seconds,
            ..Settings::new(images, controller, ledger, Pins::default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> Result<Args, clap::Error> {
        let digest = "1".repeat(64);
        let image = |flag: &str| format!("--{flag}=r/{flag}@sha256:{digest}");
        let images = ["init-image", "proxy-image", "verify-image"].map(image);
        let all = ["actpass-webhook".to_owned()].into_iter().chain(images);
        Args::try_parse_from(all.chain(more.iter().map(|&text| text.to_owned())))
    }

    #[test]
    fn flags_become_settings_and_the_rest_are_the_documented_defaults() {
        let given = args(&[
            "--csi-drivers=a,b",
            "--proxy-resources=50,128,256",
            "--sidecar-uids=20000-20009",
        ])
        .unwrap();
        let settings = given.injection.settings("sys").unwrap();
        assert_eq!(
            settings.csi_drivers,
            BTreeSet::from(["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(settings.resources.proxy.memory_mib_max, 256);
        assert!(settings.sidecar_uids.contains(20_009) && !settings.sidecar_uids.contains(40_000));
        let plain = args(&["--csi-drivers="])
            .unwrap()
            .injection
            .settings("sys")
            .unwrap();
        let want = Settings::new(
            plain.images.clone(),
            "actpass-controller.sys.svc:8443".to_owned(),
            "actpass-ledger.sys.svc:8443".to_owned(),
            Pins::default(),
        );
        assert_eq!(plain, want);
    }

    #[test]
    fn what_cannot_be_meant_ends_the_process_before_a_port_opens() {
        for more in [
            "--proxy-resources=1,2",
            "--proxy-resources=1,3,2",
            "--sidecar-uids=5",
            "--sidecar-uids=1-2",
        ] {
            assert!(args(&[more]).is_err(), "{more}");
        }
        let digest = "2".repeat(64);
        let two = format!("--earlier-images=r/i@sha256:{digest},r/p@sha256:{digest}");
        let two = args(&[&two]).unwrap().injection.settings("sys");
        assert_eq!(two, Err(SettingsError::Release));
        let tagged = || {
            args(&["--init-image=r/init:dev"]).or_else(|_| {
                let images = [
                    "--init-image=r/init:dev",
                    "--proxy-image=r/p:dev",
                    "--verify-image=r/v:dev",
                ];
                Args::try_parse_from(["actpass-webhook"].into_iter().chain(images))
            })
        };
        assert!(tagged().unwrap().injection.settings("sys").is_err());
        let mut allowed = tagged().unwrap();
        allowed.injection.allow_tags = true;
        assert!(allowed.injection.settings("sys").is_ok());
    }
}
