//! Where a credential may be lent: set when it is stored, and part of what its encryption authenticates.

use actpass_core::upstream::Effect;
use serde::{Deserialize, Serialize};

/// Most hosts of one credential.
pub const HOSTS_MAX: usize = 64;

/// Most ports of one credential.
pub const PORTS_MAX: usize = 16;

/// Longest host name in bytes (RFC 1035 section 2.3.4), and more than any header or format needs.
const TEXT_BYTES_MAX: usize = 253;

/// Where a credential may be lent. Changed only together with the secret, so that no edit of a binding, as no
/// edit of an Upstream, sends a stored secret elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// The fields stand in the order of their names, as the text of this struct is authenticated.
pub struct Bindings {
    /// SHA-256 of the CA bundle, in lower-case hex, that the upstream's certificate must be verified by; absent:
    /// the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
    /// Effects of actions it may be lent for; at least one.
    pub effects: Vec<Effect>,
    /// What is put around the secret, as `Bearer {secret}`; absent: whatever the Upstream says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The request header it goes into.
    pub header: String,
    /// Host names, each exact or with one leading `*.` that stands for one label; at least one.
    pub hosts: Vec<String>,
    /// Ports; at least one.
    pub ports: Vec<u16>,
}

/// Where a credential is about to go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The dialled host.
    pub host: String,
    /// The dialled port.
    pub port: u16,
    /// The request header.
    pub header: String,
    /// What the Upstream puts around the secret.
    pub format: String,
    /// SHA-256 of the CA bundle the upstream is verified by; none for the public roots.
    pub ca_sha256: Option<[u8; 32]>,
    /// The action's effect.
    pub effect: Effect,
    /// Whether we terminate TLS and so see the one request the secret goes into.
    pub intercepted: bool,
}

/// Which binding a destination is outside of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// TLS is passed through or absent.
    #[error("tls is not intercepted")]
    NotIntercepted,
    /// Not one of its hosts.
    #[error("host `{0}` is not one of its hosts")]
    Host(String),
    /// Not one of its ports.
    #[error("port {0} is not one of its ports")]
    Port(u16),
    /// Not its header.
    #[error("header `{0}` is not its header")]
    Header(String),
    /// Not its format.
    #[error("format `{0}` is not its format")]
    Format(String),
    /// The upstream is verified by other roots.
    #[error("the upstream is verified by another ca")]
    Ca,
    /// Not one of its effects.
    #[error("effect {0:?} is not one of its effects")]
    Effect(Effect),
}

impl Bindings {
    /// The bindings in their one spelling: lower case, sorted, each once.
    ///
    /// # Errors
    /// The text says what is missing or wrong.
    pub fn normalised(mut self) -> Result<Bindings, String> {
        for host in &mut self.hosts {
            host.make_ascii_lowercase();
            let name = host.strip_prefix("*.").unwrap_or(host);
            if name.len() > TEXT_BYTES_MAX || !name.split('.').all(is_label) {
                return Err(format!("host `{}` is not a host name", host.escape_debug()));
            }
        }
        self.header.make_ascii_lowercase();
        if !is_token(&self.header) {
            return Err(format!("`{}` is not a header", self.header.escape_debug()));
        }
        if let Some(format) = self.format.as_deref().filter(|format| !is_format(format)) {
            return Err(format!(
                "format `{}` needs exactly one `{{secret}}` in visible ASCII",
                format.escape_debug()
            ));
        }
        if let Some(digest) = self
            .ca_sha256
            .as_deref()
            .filter(|digest| !is_digest(digest))
        {
            return Err(format!(
                "`{}` is not a SHA-256 in lower-case hex",
                digest.escape_debug()
            ));
        }
        if self.ports.contains(&0) {
            return Err(String::from("port 0 is no port"));
        }
        let hosts = counted("hosts", &mut self.hosts, HOSTS_MAX);
        let ports = counted("ports", &mut self.ports, PORTS_MAX);
        let effects = counted("effects", &mut self.effects, 3);
        hosts.and(ports).and(effects).map(|()| self)
    }

    /// Whether `to` is within the bindings.
    ///
    /// # Errors
    /// The binding it is outside of.
    pub fn cover(&self, to: &Destination) -> Result<(), Outside> {
        let digest = to.ca_sha256.as_ref().map(|digest| super::hex(digest));
        if !to.intercepted {
            Err(Outside::NotIntercepted)
        } else if !self.hosts.iter().any(|host| covers(host, &to.host)) {
            Err(Outside::Host(to.host.clone()))
        } else if !self.ports.contains(&to.port) {
            Err(Outside::Port(to.port))
        } else if !self.header.eq_ignore_ascii_case(&to.header) {
            Err(Outside::Header(to.header.clone()))
        } else if self
            .format
            .as_ref()
            .is_some_and(|format| *format != to.format)
        {
            Err(Outside::Format(to.format.clone()))
        } else if self.ca_sha256.as_deref() != digest.as_ref().map(|digest| digest.as_str()) {
            Err(Outside::Ca)
        } else if !self.effects.contains(&to.effect) {
            Err(Outside::Effect(to.effect))
        } else {
            Ok(())
        }
    }
}

/// Whether the pattern covers the name; `*.` stands for exactly one label (RFC 9525 section 6.3).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
            is_label(&label.to_ascii_lowercase()) && rest.eq_ignore_ascii_case(parent)
        }),
    }
}

fn counted<T: Ord>(what: &str, items: &mut Vec<T>, max: usize) -> Result<(), String> {
    items.sort();
    items.dedup();
    match items.len() {
        0 => Err(format!("at least one of `{what}` is needed")),
        many if many > max => Err(format!("{many} `{what}` are over the bound of {max}")),
        _ => Ok(()),
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A header name, in lower case (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        })
}

fn is_format(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
        && text.matches("{secret}").count() == 1
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
