//! Names that nobody declares, under audit: asked of the pod's own name server, and answered with an address of ours, so that
//! the connection that follows still says which name it is to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actpass_core::host::HostName;
use arc_swap::ArcSwap;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::search::Search;
use crate::dns::{DnsEvent, Relay, Relayed, Transport, answered, asked};
use crate::names::Names;

/// How long the name server may take; clients ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is asked over UDP.
const TRIES: usize = 2;

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 65_535;

/// Asks `nameserver` for what is undeclared, for as long as `audited` says that the namespace is under audit.
pub fn relay(
    names: Arc<ArcSwap<Names>>,
    audited: Arc<dyn Fn() -> bool + Send + Sync>,
    search: Search,
    nameserver: Option<SocketAddr>,
) -> Relay {
    Arc::new(move |query: &[u8], transport: Transport| {
        let server = nameserver?;
        if !audited() {
            return None;
        }
        let names = names.load_full();
        let message = names.zone().undeclared(query)?;
        let name = asked(&message)?;
        let record_type = message.queries.first()?.query_type().to_string();
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let event = DnsEvent::Undeclared { name, record_type };
        let event = search.noted(event, names.zone());
        let query = query.to_vec();
        let answer =
            Box::pin(async move { answer(server, &names, message, &query, transport).await });
        Some(Relayed { event, answer })
    })
}

/// Addresses become one of ours, IPv6 and hints of other protocols nothing; everything else is passed on as it is.
async fn answer(
    server: SocketAddr,
    names: &Names,
    query: Message,
    bytes: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    use RecordType::{A, AAAA, ANY, HTTPS, SVCB};
    let question = query.queries.first()?;
    let kind = question.query_type();
    if ![A, AAAA, ANY, HTTPS, SVCB].contains(&kind) {
        return ask(server, bytes, transport).await;
    }
    let name: Option<HostName> = asked(&query)?.parse().ok();
    let found = look_up(server, &query, A).await?;
    let (code, has_address) = match found {
        (ResponseCode::NoError, false) => look_up(server, &query, AAAA).await?,
        found => found,
    };
    let address = match (kind, name, has_address) {
        (A, Some(name), true) => match names.zone().learn(&name) {
            Some(address) => Some(address),
            None => return answered(&query, ResponseCode::ServFail, None),
        },
        _ => None,
    };
    answered(&query, code, address)
}

/// The name server's code for a name, and whether it has an address of that kind.
async fn look_up(
    server: SocketAddr,
    query: &Message,
    kind: RecordType,
) -> Option<(ResponseCode, bool)> {
    let mut wanted = query.clone();
    wanted.queries.first_mut()?.set_query_type(kind);
    let bytes = ask(server, &wanted.to_vec().ok()?, Transport::Udp).await?;
    let answer = Message::from_vec(&bytes).ok()?;
    let is_address = |data: &RData| matches!(data, RData::A(_) | RData::AAAA(_));
    let has = answer.answers.iter().any(|it| is_address(&it.data));
    // A cut answer holds more than fits, so there is something.
    let has = has || answer.metadata.truncation;
    Some((answer.metadata.response_code, has))
}

/// What the name server says, byte by byte.
async fn ask(server: SocketAddr, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    if transport == Transport::Tcp {
        return timeout(PATIENCE, ask_tcp(server, query)).await.ok()?.ok();
    }
    for _ in 0..TRIES {
        let answer = timeout(PATIENCE, ask_udp(server, query)).await;
        if let Ok(Ok(answer)) = answer {
            return Some(answer);
        }
    }
    None
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        let (said, wanted) = (answer.get(..2), query.get(..2));
        if said == wanted {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), query].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use actpass_core::host::HostPattern;
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{Name, Record};

    use super::*;

    /// A name server that knows `db.corp.test`, `six.corp.test` by IPv6 alone, and a text.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let question = &query.queries[0];
                let name = question.name().clone();
                let mut answer = Message::new(query.id, MessageType::Response, OpCode::Query);
                answer.add_query(question.clone());
                let data = match (
                    name.to_string().to_ascii_lowercase().as_str(),
                    question.query_type(),
                ) {
                    ("db.corp.test.", RecordType::A) => Some(RData::A(A::new(10, 0, 0, 7))),
                    ("six.corp.test.", RecordType::AAAA) => {
                        Some(RData::AAAA("fd77::7".parse::<Ipv6Addr>().unwrap().into()))
                    }
                    ("db.corp.test.", RecordType::TXT) => {
                        Some(RData::TXT(TXT::new(vec!["said".to_owned()])))
                    }
                    ("db.corp.test." | "six.corp.test.", _) => None,
                    _ => {
                        answer.metadata.response_code = ResponseCode::NXDomain;
                        None
                    }
                };
                if let Some(data) = data {
                    answer.add_answer(Record::from_rdata(name, 60, data));
                }
                socket
                    .send_to(&answer.to_vec().unwrap(), from)
                    .await
                    .unwrap();
            }
        });
        address
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn names() -> Arc<ArcSwap<Names>> {
        let spec = serde_json::json!({
            "v": "actpass.bundle/1", "tenant": "a/b/c", "environment": null, "passports": [], "policies": [],
            "upstreams": [{
                "name": "pay", "hosts": ["api.pay.test"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
                "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "actions": [],
                "error_style": "Problem", "failed_statuses": [],
            }],
        });
        let bundle = serde_json::from_value(spec).unwrap();
        let bundle = actpass_core::bundle::Bundle::new(bundle).unwrap();
        Arc::new(ArcSwap::from_pointee(Names::new(&bundle).unwrap()))
    }

    #[tokio::test]
    async fn an_undeclared_name_gets_an_address_of_ours_where_it_has_one() {
        let (names, server) = (names(), server().await);
        let always: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(|| true);
        let relay = relay(names.clone(), always, Search::default(), Some(server));
        struct Case {
            name: &'static str,
            kind: RecordType,
            want: (ResponseCode, usize),
        }
        let case = |name, kind, code, answers| Case {
            name,
            kind,
            want: (code, answers),
        };
        let cases = [
            case("db.corp.test.", RecordType::A, ResponseCode::NoError, 1),
            case("DB.corp.test.", RecordType::A, ResponseCode::NoError, 1),
            case("db.corp.test.", RecordType::AAAA, ResponseCode::NoError, 0),
            case("db.corp.test.", RecordType::HTTPS, ResponseCode::NoError, 0),
            case("six.corp.test.", RecordType::A, ResponseCode::NoError, 1),
            case("none.corp.test.", RecordType::A, ResponseCode::NXDomain, 0),
            case(
                "none.corp.test.",
                RecordType::AAAA,
                ResponseCode::NXDomain,
                0,
            ),
            case("db.corp.test.", RecordType::TXT, ResponseCode::NoError, 1),
        ];
        for Case { name, kind, want } in cases {
            let relayed = relay(&query(name, kind), Transport::Udp).unwrap();
            assert!(relayed.event.is_some(), "{name} {kind}");
            let answer = Message::from_vec(&relayed.answer.await.unwrap()).unwrap();
            let got = (answer.metadata.response_code, answer.answers.len());
            assert_eq!((answer.id, got), (7, want), "{name} {kind}");
            if let Some(RData::A(address)) = answer.answers.first().map(|it| &it.data) {
                let dialled = names.load().dialled((address.0, 5432).into());
                let said = dialled.unwrap_err().to_string();
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                assert!(said.contains(&name), "{said}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_declared_is_ours_or_is_enforced_is_not_asked_elsewhere() {
        let (names, server) = (names(), server().await);
        let always: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(|| true);
        let never: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(|| false);
        let audited = relay(names.clone(), always, Search::default(), Some(server));
        for name in [
            "api.pay.test.",
            "actpass.internal.",
            "canary.actpass.internal.",
            "x.actpass.internal.",
        ] {
            assert!(
                audited(&query(name, RecordType::A), Transport::Udp).is_none(),
                "{name}"
            );
        }
        assert!(audited(b"no query", Transport::Udp).is_none());
        let enforced = relay(names, never, Search::default(), Some(server));
        assert!(enforced(&query("db.corp.test.", RecordType::A), Transport::Udp).is_none());
    }

    #[test]
    fn a_learned_name_keeps_its_address_over_policies_and_is_declared_by_none() {
        let names = names();
        let (zone, host) = (names.load().zone().clone(), "db.corp.test".parse().unwrap());
        let address = zone.learn(&host).unwrap();
        assert_eq!(zone.learn(&host), Some(address));
        let declared: Vec<HostPattern> = vec!["other.test".parse().unwrap()];
        let next = zone.with(&declared).unwrap();
        assert_eq!(next.name_of(address), Some(host.clone()));
        assert_eq!(next.learn(&host), Some(address));
        assert!(!next.declares("db.corp.test"));
        let answer = next.answer(&query("db.corp.test.", RecordType::A), Transport::Udp);
        let answer = Message::from_vec(&answer.bytes.unwrap()).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        let declared = zone.with(&["db.corp.test".parse().unwrap()]).unwrap();
        assert_eq!(declared.name_of(address), Some(host));
    }
}
