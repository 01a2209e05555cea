//! Connections towards upstreams: resolved after the decision, to addresses the declaration allows, TLS verified.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actpass_core::host::HostName;
use actpass_core::mode::Unenforced;
use actpass_core::upstream::Addresses;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dns::{RANGE_FIRST, RANGE_PREFIX};
use crate::execute::Target;
use crate::route::Route;

/// A connection that is not there by then will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `--connect-to`: another socket for one host and port. TLS still verifies the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    /// Host as declared.
    pub host: HostName,
    /// Port as declared.
    pub port: u16,
    /// Host or address connected to instead.
    pub to_host: String,
    /// Port connected to instead.
    pub to_port: u16,
}

/// An upstream was not reached: nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address.
    #[error("`{0}` cannot be resolved")]
    Resolve(String, #[source] std::io::Error),
    /// Only addresses that the declaration does not allow.
    #[error("`{0}` resolves to no public address; declare `addresses: Cluster` if that is meant")]
    NotPublic(String),
    /// Only addresses that no declaration allows.
    #[error(
        "`{0}` is at no address that an upstream may have, but at a metadata service, a link's own address or a group's"
    )]
    NeverUpstream(String),
    /// Only addresses that nothing is passed on to.
    #[error(
        "`{0}` is at no address that an audit passes on to: a metadata service, or this pod itself"
    )]
    NeverPassed(String),
    /// Nobody listens, or not in time.
    #[error("no connection to `{0}`")]
    Connect(String, #[source] std::io::Error),
    /// Not the upstream it claims to be.
    #[error("TLS with `{0}` failed")]
    Tls(String, #[source] std::io::Error),
}

/// Which addresses of a name are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that its declaration allows.
    Declared,
    /// Whichever it has, under audit, but for what is never an upstream.
    Unenforced,
}

/// A byte stream to an upstream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) struct Connected {
    pub(crate) io: Box<dyn Io>,
    pub(crate) http2: bool,
}

/// Connects to the upstream of `route`, offering HTTP/2 where it is wanted.
pub(crate) async fn connect(
    route: &Route,
    host: &HostName,
    port: u16,
    http2: bool,
    reach: Reach,
    overrides: &[ConnectTo],
) -> Result<Connected, ConnectError> {
    let connecting = connect_now(route, host, port, http2, reach, overrides);
    let timed = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    timed.unwrap_or_else(|elapsed| Err(ConnectError::Connect(host.to_string(), elapsed.into())))
}

async fn connect_now(
    route: &Route,
    host: &HostName,
    port: u16,
    http2: bool,
    reach: Reach,
    overrides: &[ConnectTo],
) -> Result<Connected, ConnectError> {
    let tcp = match overrides
        .iter()
        .find(|it| it.host == *host && it.port == port)
    {
        Some(instead) => TcpStream::connect((instead.to_host.as_str(), instead.to_port)).await,
        None => TcpStream::connect(resolve(route, host, port, reach).await?.as_slice()).await,
    };
    let tcp = tcp.map_err(|error| ConnectError::Connect(host.to_string(), error))?;
    tcp.set_nodelay(true)
        .map_err(|error| ConnectError::Connect(host.to_string(), error))?;
    let Some(config) = route.tls(http2) else {
        return Ok(Connected {
            io: Box::new(tcp),
            http2: false,
        });
    };
    let failed = |error| ConnectError::Tls(host.to_string(), error);
    let name = ServerName::try_from(host.to_string())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let tls = TlsConnector::from(Arc::clone(config))
        .connect(name, tcp)
        .await
        .map_err(failed)?;
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
    Ok(Connected {
        io: Box::new(tls),
        http2,
    })
}

/// Addresses of the name that its declaration allows. What is checked is what is dialled.
async fn resolve(
    route: &Route,
    host: &HostName,
    port: u16,
    reach: Reach,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let name = match route.upstream().addresses {
        // The dot ends the name: no domain of the search list is put behind it, which somebody else may own.
        Addresses::Public => format!("{host}."),
        // Names of Services are mostly written as far as the search list needs them.
        Addresses::Cluster => host.to_string(),
    };
    let found = tokio::net::lookup_host((name, port)).await;
    let found = found.map_err(|error| ConnectError::Resolve(host.to_string(), error))?;
    let allowed: Vec<_> = match route.upstream().addresses {
        _ if reach == Reach::Unenforced => found.filter(|it| is_passable(it.ip())).collect(),
        Addresses::Public => found.filter(|socket| is_public(socket.ip())).collect(),
        Addresses::Cluster => found.filter(|socket| is_unicast(socket.ip())).collect(),
    };
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    Err(match route.upstream().addresses {
        _ if reach == Reach::Unenforced => ConnectError::NeverPassed(host.to_string()),
        Addresses::Public => ConnectError::NotPublic(host.to_string()),
        Addresses::Cluster => ConnectError::NeverUpstream(host.to_string()),
    })
}

/// A connection that is passed on unread under audit.
pub(crate) async fn reach(
    _leave: &Unenforced,
    target: &Target,
    overrides: &[ConnectTo],
) -> Result<TcpStream, ConnectError> {
    let failed = |error| ConnectError::Connect(target.to_string(), error);
    let dialling = async {
        let sockets = match target {
            Target::Address(address) => vec![*address],
            Target::Name(host, port) => {
                let is = |it: &&ConnectTo| it.host == *host && it.port == *port;
                if let Some(instead) = overrides.iter().find(is) {
                    let to = (instead.to_host.as_str(), instead.to_port);
                    return TcpStream::connect(to).await.map_err(failed);
                }
                // As it was asked for, which is whole: a search list was gone through before.
                let found = tokio::net::lookup_host((format!("{host}."), *port)).await;
                let resolve = |error| ConnectError::Resolve(host.to_string(), error);
                found.map_err(resolve)?.collect()
            }
        };
        let passable = sockets.into_iter().filter(|it| is_passable(it.ip()));
        let passable: Vec<_> = passable.collect();
        if passable.is_empty() {
            return Err(ConnectError::NeverPassed(target.to_string()));
        }
        TcpStream::connect(passable.as_slice())
            .await
            .map_err(failed)
    };
    let dialled = tokio::time::timeout(CONNECT_TIMEOUT, dialling).await;
    let tcp = dialled.unwrap_or_else(|elapsed| Err(failed(elapsed.into())))?;
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

/// What is passed on under audit: addresses of the cluster too, since they were reached before; not those that are never an
/// upstream, nor this pod's own or those that only stand for names.
pub(crate) fn is_passable(ip: IpAddr) -> bool {
    let ours = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let prefix = |ip: Ipv4Addr| u32::from(ip) >> (32 - RANGE_PREFIX);
            prefix(ip) == prefix(RANGE_FIRST) || ip.is_loopback()
        }
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    is_unicast(ip) && !ours
}

/// Metadata services of large clouds that are not link-local: keys of the node's role, and what sets up its machine.
const METADATA_ELSEWHERE: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Never an upstream, whatever is declared: link-local (cloud metadata among them), multicast, unspecified.
fn is_unicast(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || METADATA_ELSEWHERE.contains(&ip))
        }
        IpAddr::V6(ip) => {
            !(ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
                // The metadata service of one large cloud has an address of its own.
                || ip == std::net::Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254))
        }
    }
}

/// Global unicast: none of the special-purpose ranges of RFC 6890.
fn is_public(ip: IpAddr) -> bool {
    if !is_unicast(ip) {
        return false;
    }
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let special = ip.is_private()
                || ip.is_loopback()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && (c == 0 || c == 2))
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19))
                || (a == 198 && b == 51 && c == 100)
                || (a == 203 && b == 0 && c == 113)
                || a >= 240;
            !special
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            // 2000::/3, less documentation, 6to4, Teredo and benchmarking, which carry other addresses inside.
            (first & 0xe000) == 0x2000
                && first != 0x2002
                && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_unicast_addresses_are_public() {
        let cases = [
            ("1.1.1.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.18.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1", true),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::7f00:1", false),
        ];
        for (text, want) in cases {
            assert_eq!(is_public(text.parse().unwrap()), want, "{text}");
        }
    }

    #[test]
    fn metadata_services_are_no_upstream_even_in_a_cluster() {
        for text in [
            "169.254.169.254",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            assert!(!is_unicast(text.parse().unwrap()), "{text}");
        }
        assert!(is_unicast("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_audit_passes_on_to_the_cluster_and_not_to_metadata_services_or_the_pod_itself() {
        let cases = [
            ("1.1.1.1", true),
            ("10.96.0.12", true),
            ("fd77::7", true),
            ("100.64.0.7", true),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("198.18.0.7", false),
            ("198.19.255.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
        ];
        for (text, want) in cases {
            assert_eq!(is_passable(text.parse().unwrap()), want, "{text}");
        }
    }
}
