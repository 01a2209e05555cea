use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::*;

fn zone(patterns: &[&str]) -> Zone {
    let names: Vec<HostPattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
    Zone::new(&names).unwrap()
}

/// A query as a stub resolver writes it: by labels, since reading a `Name` from text would lower its case.
fn query(name: &str, record_type: RecordType) -> Message {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let name = Name::from_labels(labels.map(str::as_bytes)).unwrap();
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record_type));
    message
}

fn responder(patterns: &[&str]) -> Responder {
    let zone = zone(patterns);
    Arc::new(move |query, transport| zone.answer(query, transport))
}

/// The answer's code, its addresses, and what is to be recorded.
fn ask(zone: &Zone, message: &Message) -> (ResponseCode, Vec<Ipv4Addr>, Option<DnsEvent>) {
    let answer = zone.answer(&message.to_vec().unwrap(), Transport::Udp);
    let read = Message::from_vec(&answer.bytes.unwrap()).unwrap();
    assert_eq!(read.id, message.id);
    assert_eq!(read.queries, message.queries, "the question is repeated");
    assert!(read.answers.iter().all(|record| record.ttl <= 5));
    let addresses = read.answers.iter().map(|record| match &record.data {
        RData::A(A(address)) => *address,
        other => panic!("not an address: {other}"),
    });
    (read.response_code, addresses.collect(), answer.event)
}

fn a(zone: &Zone, name: &str) -> (ResponseCode, Vec<Ipv4Addr>, Option<DnsEvent>) {
    ask(zone, &query(name, RecordType::A))
}

#[test]
fn names_are_answered_as_declared() {
    struct Case {
        name: &'static str,
        given: (&'static str, RecordType),
        want: (ResponseCode, &'static [Ipv4Addr], bool),
    }
    let zone = zone(&["slack.com", "api.stripe.com", "*.example.com"]);
    let of = |wanted: &str| {
        let slots = zone.addresses();
        let found = slots
            .iter()
            .find(|(_, slot)| *slot == NameSlot::Exact(wanted.parse().unwrap()));
        vec![found.unwrap().0].leak() as &'static [Ipv4Addr]
    };
    use RecordType as T;
    use ResponseCode as R;
    let cases = [
        Case {
            name: "a declared name",
            given: ("api.stripe.com.", T::A),
            want: (R::NoError, of("api.stripe.com"), false),
        },
        Case {
            name: "in any case",
            given: ("API.Stripe.com.", T::A),
            want: (R::NoError, of("api.stripe.com"), false),
        },
        Case {
            name: "our own name",
            given: ("actpass.internal.", T::A),
            want: (R::NoError, of(INTERNAL_NAME), false),
        },
        Case {
            name: "no IPv6, yet the name is there",
            given: ("api.stripe.com.", T::AAAA),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "no HTTPS record",
            given: ("api.stripe.com.", T::HTTPS),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "no SVCB record",
            given: ("api.stripe.com.", T::SVCB),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "no TXT record",
            given: ("slack.com.", T::TXT),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "no MX record",
            given: ("slack.com.", T::MX),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "ANY is empty too",
            given: ("slack.com.", T::ANY),
            want: (R::NoError, &[], false),
        },
        Case {
            name: "an undeclared name",
            given: ("evil.test.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "undeclared of another type",
            given: ("evil.test.", T::TXT),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "a search suffix",
            given: ("api.stripe.com.corp.test.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "the parent of a name",
            given: ("stripe.com.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "a child of a name",
            given: ("x.slack.com.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "the parent of a wildcard",
            given: ("example.com.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "two labels below a wildcard",
            given: ("a.b.example.com.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "what is no host name",
            given: ("_dns.resolver.arpa.", T::SVCB),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "the root",
            given: (".", T::NS),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "an address as a name",
            given: ("1.2.3.4.", T::A),
            want: (R::NXDomain, &[], true),
        },
        Case {
            name: "free below a wildcard",
            given: ("a.example.com.", T::AAAA),
            want: (R::NoError, &[], false),
        },
    ];
    for case in cases {
        let (code, addresses, event) = ask(&zone, &query(case.given.0, case.given.1));
        assert_eq!(
            (code, addresses.as_slice(), event.is_some()),
            case.want,
            "{}",
            case.name
        );
    }
}

#[test]
fn undeclared_name_is_told_with_its_type() {
    let (_, _, event) = ask(
        &zone(&[]),
        &query("SECRET-4711.evil.test.", RecordType::TXT),
    );
    let want = DnsEvent::Undeclared {
        name: "SECRET-4711.evil.test.".to_owned(),
        record_type: "TXT".to_owned(),
    };
    assert_eq!(event, Some(want));
}

#[test]
fn names_are_told_byte_by_byte() {
    let name = Name::from_labels([b"a.b\\".as_slice(), b"\x1b[2J\xff", b"M\xc3\xbc"]).unwrap();
    assert_eq!(name_text(&name), r"a\046b\092.\027[2J\255.M\195\188.");
    assert_eq!(name_text(&Name::root()), ".");
}

#[test]
fn addresses_do_not_depend_on_order_or_repetition() {
    let one = zone(&["b.test", "*.c.test", "a.test"]);
    let other = zone(&["a.test", "b.test", "a.test", "*.c.test", INTERNAL_NAME]);
    assert_eq!(one.addresses(), other.addresses());
    let distinct: BTreeSet<Ipv4Addr> = one
        .addresses()
        .iter()
        .map(|(address, _)| *address)
        .collect();
    assert_eq!(distinct.len(), 3 + WILDCARD_SLOTS);
    assert_eq!(distinct.first(), Some(&Ipv4Addr::new(198, 18, 0, 1)));
}

#[test]
fn every_address_leads_back_to_its_name() {
    let zone = zone(&["a.test", "*.c.test"]);
    for (address, slot) in zone.addresses() {
        match slot {
            NameSlot::Exact(name) => assert_eq!(zone.name_of(address), Some(name)),
            NameSlot::Wildcard { .. } => {
                assert_eq!(zone.name_of(address), None, "nobody lives at {address}")
            }
        }
    }
    let (_, addresses, _) = a(&zone, "Live.c.test.");
    assert_eq!(zone.name_of(addresses[0]).unwrap().as_str(), "live.c.test");
    for outside in [
        RANGE_FIRST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(198, 19, 255, 255),
        Ipv4Addr::BROADCAST,
    ] {
        assert_eq!(zone.name_of(outside), None, "{outside}");
    }
}

#[test]
fn no_policy_change_gives_an_address_to_another_name() {
    let patterns = |texts: &[&str]| -> Vec<HostPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let first = zone(&["b.test", "*.c.test"]);
    let (b, live) = (a(&first, "b.test.").1, a(&first, "live.c.test.").1);
    let second = first.with(&patterns(&["a.test", "*.d.test"])).unwrap();
    for gone in ["b.test.", "live.c.test.", "late.c.test."] {
        let (code, _, event) = a(&second, gone);
        assert_eq!(code, ResponseCode::NXDomain, "{gone}");
        assert!(matches!(event, Some(DnsEvent::Undeclared { .. })), "{gone}");
    }
    let of_second = [a(&second, "a.test.").1, a(&second, "new.d.test.").1].concat();
    assert_eq!(second.name_of(b[0]).unwrap().as_str(), "b.test");
    assert_eq!(second.name_of(live[0]).unwrap().as_str(), "live.c.test");
    for address in of_second {
        assert!(
            first.name_of(address).is_none(),
            "{address} is not given anew"
        );
    }
    let third = second.with(&patterns(&["b.test", "*.c.test"])).unwrap();
    assert_eq!(a(&third, "b.test.").1, b, "what comes back has its address");
    assert_eq!(a(&third, "live.c.test.").1, live);
    assert_eq!(third.addresses(), second.addresses());
}

#[test]
fn wildcard_holds_64_live_names() {
    let zone = zone(&["*.c.test", "own.c.test"]);
    let first = a(&zone, "n0.c.test.").1;
    let mut seen: BTreeSet<Ipv4Addr> = first.iter().copied().collect();
    ask(&zone, &query("never-dialled.c.test.", RecordType::AAAA));
    for index in 1..WILDCARD_SLOTS {
        let (code, addresses, event) = a(&zone, &format!("n{index}.c.test."));
        assert_eq!(
            (code, addresses.len(), event),
            (ResponseCode::NoError, 1, None),
            "name {index}"
        );
        seen.extend(addresses);
    }
    assert_eq!(seen.len(), WILDCARD_SLOTS, "each has an address of its own");
    let exhausted = DnsEvent::WildcardExhausted {
        pattern: "*.c.test".into(),
        name: "late.c.test.".into(),
    };
    for record_type in [RecordType::A, RecordType::AAAA] {
        let want = (ResponseCode::NXDomain, vec![], Some(exhausted.clone()));
        assert_eq!(
            ask(&zone, &query("late.c.test.", record_type)),
            want,
            "{record_type}"
        );
    }
    assert_eq!(
        a(&zone, "n0.c.test.").1,
        first,
        "a live name keeps its address"
    );
    assert_eq!(
        a(&zone, "own.c.test.").0,
        ResponseCode::NoError,
        "an exact name needs no place"
    );
}

#[test]
fn too_many_wildcards_are_refused() {
    let pattern = |index: usize| format!("*.w{index}.test").parse().unwrap();
    let fitting: Vec<HostPattern> = (0..(ADDRESSES_MAX - 1) / WILDCARD_SLOTS)
        .map(pattern)
        .collect();
    assert!(Zone::new(&fitting).is_ok());
    let many: Vec<HostPattern> = (0..=ADDRESSES_MAX / WILDCARD_SLOTS).map(pattern).collect();
    assert!(matches!(Zone::new(&many), Err(ZoneError::TooMany { .. })));
}

#[test]
fn malformed_queries_are_refused_or_ignored() {
    struct Case {
        name: &'static str,
        given: Vec<u8>,
        want: Option<ResponseCode>,
    }
    let good = query("a.test.", RecordType::A).to_vec().unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut chaos = query("a.test.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut edns = query("a.test.", RecordType::A);
    edns.set_edns(Edns::new());
    let mut future = edns.clone();
    future.edns.as_mut().unwrap().set_version(1);
    let mut long = good.clone();
    long.resize(600, 0);
    let cases = [
        Case {
            name: "the good one, so that the others can fail",
            given: good.clone(),
            want: Some(ResponseCode::NoError),
        },
        Case {
            name: "with EDNS",
            given: edns.to_vec().unwrap(),
            want: Some(ResponseCode::NoError),
        },
        Case {
            name: "nothing",
            given: vec![],
            want: None,
        },
        Case {
            name: "half a header",
            given: good[..8].to_vec(),
            want: None,
        },
        Case {
            name: "an answer",
            given: with(2, 0x81),
            want: None,
        },
        Case {
            name: "a status query",
            given: with(2, 0x10),
            want: Some(ResponseCode::NotImp),
        },
        Case {
            name: "an update",
            given: with(2, 0x28),
            want: Some(ResponseCode::NotImp),
        },
        Case {
            name: "no question",
            given: with(5, 0),
            want: Some(ResponseCode::FormErr),
        },
        Case {
            name: "two questions",
            given: with(5, 2),
            want: Some(ResponseCode::FormErr),
        },
        Case {
            name: "a cut question",
            given: good[..good.len() - 1].to_vec(),
            want: Some(ResponseCode::FormErr),
        },
        Case {
            name: "a label that points at itself",
            given: [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat(),
            want: Some(ResponseCode::FormErr),
        },
        Case {
            name: "another class",
            given: chaos.to_vec().unwrap(),
            want: Some(ResponseCode::Refused),
        },
        Case {
            name: "EDNS of the future",
            given: future.to_vec().unwrap(),
            want: Some(ResponseCode::BADVERS),
        },
        Case {
            name: "long without EDNS",
            given: long,
            want: Some(ResponseCode::FormErr),
        },
    ];
    let zone = zone(&["a.test"]);
    for case in cases {
        let answer = zone.answer(&case.given, Transport::Udp);
        // By number: BADVERS and BADSIG share one.
        let code = answer
            .bytes
            .map(|bytes| u16::from(Message::from_vec(&bytes).unwrap().response_code));
        assert_eq!(code, case.want.map(u16::from), "{}", case.name);
        let malformed = matches!(answer.event, Some(DnsEvent::Malformed { .. }));
        assert_eq!(
            malformed,
            case.want != Some(ResponseCode::NoError),
            "{}",
            case.name
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_with_their_own_id_or_not_at_all(bytes: Vec<u8>, tcp: bool) {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        if let Some(answer) = zone(&["a.test", "*.b.test"]).answer(&bytes, transport).bytes {
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            prop_assert_eq!(answer[2] & 0x80, 0x80, "an answer says that it is one");
        }
    }

    #[test]
    fn a_damaged_query_never_gets_an_address_outside_the_zone(at: prop::sample::Index, byte: u8, edns: bool) {
        let zone = zone(&["a.test", "*.b.test"]);
        let mut message = query("x.b.test.", RecordType::A);
        if edns {
            message.set_edns(Edns::new());
        }
        let mut bytes = message.to_vec().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(answer) = zone.answer(&bytes, Transport::Udp).bytes {
            for record in Message::from_vec(&answer).unwrap().answers {
                let RData::A(A(address)) = record.data else { panic!("only addresses are given out") };
                prop_assert!(zone.name_of(address).is_some());
            }
        }
    }
}

#[tokio::test]
async fn both_transports_answer_and_tell_events() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (udp_address, tcp_address) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let (sender, mut events) = mpsc::channel(4);
    let server = tokio::spawn(serve(responder(&["a.test"]), udp, tcp, sender));
    let declared = query("a.test.", RecordType::A).to_vec().unwrap();
    let undeclared = query("b.test.", RecordType::A).to_vec().unwrap();

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"?", udp_address).await.unwrap();
    client.send_to(&declared, udp_address).await.unwrap();
    let mut buffer = [0; 512];
    let (length, _) = client.recv_from(&mut buffer).await.unwrap();
    assert_eq!(
        Message::from_vec(&buffer[..length]).unwrap().answers.len(),
        1
    );
    assert_eq!(
        events.recv().await,
        Some(DnsEvent::Malformed {
            reason: "shorter than a header"
        })
    );

    let mut stream = TcpStream::connect(tcp_address).await.unwrap();
    for (query, want) in [
        (&undeclared, ResponseCode::NXDomain),
        (&declared, ResponseCode::NoError),
    ] {
        stream.write_u16(query.len() as u16).await.unwrap();
        stream.write_all(query).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().response_code, want);
    }
    assert!(matches!(
        events.recv().await,
        Some(DnsEvent::Undeclared { .. })
    ));
    server.abort();
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let idle = Duration::from_millis(50);
    let sender = mpsc::channel(1).0;
    let server = tokio::spawn(serve::serve_idling(responder(&[]), udp, tcp, sender, idle));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0, 40, 1]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    server.abort();
}
