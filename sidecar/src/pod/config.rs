//! What the proxy of a pod is told, by its environment and its mounts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actpass_core::hash::{sha256, unhex32};
use actpass_core::passport::jws::{IssuerKeys, key_id};
use actpass_core::pod::contract::*;
use actpass_core::succession::{Purpose, Succession};
use ed25519_dalek::VerifyingKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::known_log::LedgerKeys;

/// Longest file of authorities.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// What the proxy is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST:PORT` of the controller.
    pub controller: String,
    /// `HOST:PORT` of the ledger.
    pub ledger: String,
    /// To one of these their certificates lead.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Keys that passports are signed with.
    pub issuer_keys: IssuerKeys,
    /// SHA-256 of those that the pod was made with.
    pub issuer_pins: BTreeSet<[u8; 32]>,
    /// Keys that checkpoints are signed with.
    pub ledger_keys: LedgerKeys,
    /// SHA-256 of those that the pod was made with.
    pub ledger_pins: BTreeSet<[u8; 32]>,
    /// Where the kubelet and Prometheus ask.
    pub pod_ips: Vec<IpAddr>,
    /// For how long open requests may end.
    pub drain: Duration,
    /// How long the pod may take to end, from the first word of it to the kubelet's last signal; at least `drain`.
    pub grace: Duration,
    /// For logs: namespace and name of the pod.
    pub pod: String,
}

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is missing, or says nothing of its kind.
    #[error("environment variable `{0}` is missing or wrong; the injected pod has been changed")]
    Variable(&'static str),
    /// A file of authorities cannot be read.
    #[error(
        "`{path}` cannot be read; ConfigMap `{AUTHORITIES_CONFIG_MAP}` of this namespace lacks it"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing in a file has one of the digests that the pod was made with.
    #[error(
        "`{path}` has nothing that {variable} names: the control plane's keys have changed since the pod was made, or the ConfigMap was; make the pod anew"
    )]
    Unpinned {
        /// The file.
        path: PathBuf,
        /// The variable with the digests.
        variable: &'static str,
    },
}

impl Config {
    /// Reads the environment through `variable`, and the authorities from `dir`.
    ///
    /// # Errors
    /// What is missing, or is not what the pod was made with.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        dir: &Path,
    ) -> Result<Self, ConfigError> {
        let text = |name: &'static str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.ok_or(ConfigError::Variable(name))
        };
        let pinned = Pinned { dir, text: &text };
        let authorities = pinned.authorities()?;
        let passports = (ISSUER_KEYS_FILE, Purpose::Passports);
        let issuer_keys = pinned.keys(passports, ENV_ISSUER_KEYS_SHA256)?;
        let checkpoints = (LEDGER_KEYS_FILE, Purpose::Checkpoints);
        let ledger_keys = pinned.keys(checkpoints, ENV_LEDGER_KEYS_SHA256)?;
        let pod_ips = text(ENV_POD_IPS)?
            .split(',')
            .map(|ip| ip.parse().map_err(|_| ConfigError::Variable(ENV_POD_IPS)))
            .collect::<Result<_, _>>()?;
        let seconds = |name: &'static str| -> Result<Duration, ConfigError> {
            let seconds: Option<u32> = text(name)?.parse().ok();
            let seconds = seconds.ok_or(ConfigError::Variable(name))?;
            Ok(Duration::from_secs(seconds.into()))
        };
        let drain = seconds(ENV_DRAIN_SECONDS)?;
        Ok(Self {
            controller: text(ENV_CONTROLLER)?,
            ledger: text(ENV_LEDGER)?,
            authorities,
            issuer_keys: issuer_keys.iter().map(|key| (key_id(key), *key)).collect(),
            issuer_pins: pinned.digests(ENV_ISSUER_KEYS_SHA256)?,
            ledger_keys: LedgerKeys::new(ledger_keys),
            ledger_pins: pinned.digests(ENV_LEDGER_KEYS_SHA256)?,
            pod_ips,
            drain,
            grace: seconds(ENV_GRACE_SECONDS).unwrap_or_default() + drain,
            pod: format!("{}/{}", text(ENV_POD_NAMESPACE)?, text(ENV_POD_NAME)?),
        })
    }
}

/// Reads files of which only counts what a variable names by digest.
struct Pinned<'a> {
    dir: &'a Path,
    text: &'a dyn Fn(&'static str) -> Result<String, ConfigError>,
}

impl Pinned<'_> {
    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let (path, bytes) = self.file(AUTHORITIES_FILE)?;
        let digests = self.digests(ENV_CA_SHA256)?;
        // What is no certificate is not named by a digest either.
        let all = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
        let known: Vec<_> = all
            .filter(|certificate| digests.contains(&sha256(&[certificate])))
            .collect();
        any(known, path, ENV_CA_SHA256)
    }

    /// The keys of a list that count and lead back to one that is named.
    fn keys(
        &self,
        (file, purpose): (&str, Purpose),
        variable: &'static str,
    ) -> Result<Vec<VerifyingKey>, ConfigError> {
        let (path, bytes) = self.file(file)?;
        let digests = self.digests(variable)?;
        let list = String::from_utf8_lossy(&bytes).parse::<Succession>();
        let list = list.map_err(|error| ConfigError::File {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        let known = list.led_to(purpose, |key| digests.contains(&sha256(&[key.as_bytes()])));
        any(known, path, variable)
    }

    fn digests(&self, variable: &'static str) -> Result<BTreeSet<[u8; 32]>, ConfigError> {
        let text = (self.text)(variable)?;
        let digests = text.split(',').map(unhex32);
        digests
            .collect::<Result<_, _>>()
            .map_err(|_| ConfigError::Variable(variable))
    }

    fn file(&self, name: &str) -> Result<(PathBuf, Vec<u8>), ConfigError> {
        let path = self.dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) if bytes.len() <= FILE_BYTES_MAX => Ok((path, bytes)),
            Ok(_) => Err(ConfigError::File {
                path,
                source: std::io::Error::other("it is too long"),
            }),
            Err(source) => Err(ConfigError::File { path, source }),
        }
    }
}

fn any<T>(known: Vec<T>, path: PathBuf, variable: &'static str) -> Result<Vec<T>, ConfigError> {
    match known.is_empty() {
        false => Ok(known),
        true => Err(ConfigError::Unpinned { path, variable }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use actpass_core::hash::{b64u_encode, hex};

    use super::*;

    struct Told {
        dir: tempfile::TempDir,
        variables: BTreeMap<String, String>,
    }

    fn told() -> Told {
        let dir = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        let key = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).verifying_key();
        std::fs::write(dir.path().join(AUTHORITIES_FILE), certified.cert.pem()).unwrap();
        for (file, byte) in [(ISSUER_KEYS_FILE, 1), (LEDGER_KEYS_FILE, 2)] {
            let text = format!("{}\n", b64u_encode(key(byte).as_bytes()));
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let digest = |bytes: &[u8]| hex(&sha256(&[bytes]));
        let variables = [
            (ENV_CONTROLLER, "c:8443".to_owned()),
            (ENV_LEDGER, "l:8443".to_owned()),
            (ENV_CA_SHA256, digest(certified.cert.der())),
            (ENV_ISSUER_KEYS_SHA256, digest(key(1).as_bytes())),
            (ENV_LEDGER_KEYS_SHA256, digest(key(2).as_bytes())),
            (ENV_DRAIN_SECONDS, "10".to_owned()),
            (ENV_GRACE_SECONDS, "30".to_owned()),
            (ENV_POD_NAMESPACE, "shop".to_owned()),
            (ENV_POD_NAME, "agent-7f".to_owned()),
            (ENV_POD_IPS, "10.88.0.7,fd77::7".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        Told {
            dir,
            variables: variables.into(),
        }
    }

    fn read(told: &Told) -> Result<Config, ConfigError> {
        Config::read(|name| told.variables.get(name).cloned(), told.dir.path())
    }

    #[test]
    fn a_pod_is_told_all_it_needs() {
        let config = read(&told()).unwrap();
        assert_eq!(config.authorities.len(), 1);
        assert_eq!(config.issuer_keys.len(), 1);
        assert_eq!(config.pod_ips.len(), 2);
        assert_eq!(config.pod, "shop/agent-7f");
        assert_eq!(config.grace, Duration::from_secs(40));
    }

    #[test]
    fn a_pod_that_was_made_with_one_key_of_the_ledger_believes_those_after_it() {
        use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
        use actpass_core::evidence::merkle::Tree;
        use actpass_core::evidence::receipt::KeptHead;
        use actpass_core::wire::AnswerEnd;
        let key = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]);
        let rhythm = actpass_core::succession::Rhythm {
            age: None,
            notice: jiff::SignedDuration::ZERO,
            overlap: jiff::SignedDuration::from_hours(1),
        };
        let mut list = Succession::default();
        let before = [None, Some(key(2)), Some(key(3)), Some(key(9))];
        for (byte, before) in [2, 3, 4, 5].into_iter().zip(&before) {
            let now = jiff::Timestamp::now();
            let next = key(byte).verifying_key();
            list.put(next, Purpose::Checkpoints, before.as_ref(), rhythm, now);
        }
        let told = told();
        std::fs::write(told.dir.path().join(LEDGER_KEYS_FILE), list.to_string()).unwrap();
        let log =
            crate::known_log::KnownLog::new("actpass/a/b/c", read(&told).unwrap().ledger_keys);
        let counts = |byte| {
            let checkpoint = Checkpoint {
                origin: "actpass/a/b/c".to_owned(),
                size: 0,
                root: Tree::new().root(),
            };
            let end = AnswerEnd {
                checkpoint: checkpoint.sign(&NoteSigner::new("actpass/a/b/c", key(byte))),
                consistency: Vec::new(),
            };
            log.check(&end, &KeptHead::empty()).is_ok()
        };
        assert_eq!(
            [2, 3, 4, 5].map(counts),
            [true, true, true, false],
            "nobody signed for the last"
        );
    }

    #[test]
    fn keys_that_the_pod_was_not_made_with_are_not_believed() {
        let other = b64u_encode(
            ed25519_dalek::SigningKey::from_bytes(&[9; 32])
                .verifying_key()
                .as_bytes(),
        );
        for file in [ISSUER_KEYS_FILE, LEDGER_KEYS_FILE] {
            let told = told();
            let path = told.dir.path().join(file);
            let ours = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{other}\n{ours}")).unwrap();
            let config = read(&told).unwrap();
            assert_eq!(config.issuer_keys.len(), 1, "{file}");
            for broken in [format!("{ours}nonsense"), format!("{} ended", ours.trim())] {
                std::fs::write(&path, &broken).unwrap();
                assert!(read(&told).is_err(), "{broken}");
            }
            std::fs::write(&path, &other).unwrap();
            assert!(matches!(
                read(&told).unwrap_err(),
                ConfigError::Unpinned { .. }
            ));
        }
        let told = told();
        let stranger = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        std::fs::write(told.dir.path().join(AUTHORITIES_FILE), stranger.cert.pem()).unwrap();
        assert!(matches!(
            read(&told).unwrap_err(),
            ConfigError::Unpinned { .. }
        ));
    }

    #[test]
    fn a_changed_environment_stops_the_start() {
        for name in told()
            .variables
            .keys()
            .filter(|it| *it != ENV_GRACE_SECONDS)
        {
            let mut told = told();
            told.variables.remove(name);
            assert!(read(&told).is_err(), "without {name}");
        }
        // It comes from an annotation that others may have made, and decides nothing but how long the end takes.
        for grace in ["", "-1", "4294967296"] {
            let mut told = told();
            (told.variables).insert(ENV_GRACE_SECONDS.to_owned(), grace.to_owned());
            assert_eq!(
                read(&told).unwrap().grace,
                Duration::from_secs(10),
                "{grace}"
            );
        }
        for (name, value) in [
            (ENV_POD_IPS, "nowhere"),
            (ENV_DRAIN_SECONDS, "soon"),
            (ENV_CA_SHA256, "zz"),
        ] {
            let mut told = told();
            told.variables.insert(name.to_owned(), value.to_owned());
            assert!(
                matches!(read(&told).unwrap_err(), ConfigError::Variable(it) if it == name),
                "{name}"
            );
        }
    }
}
