//! Queries to the name responder.

use actpass_core::host::{HostName, HostPattern};
use actpass_sidecar::dns::{DnsEvent, Transport, Zone};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::input::Input;

/// Longest answer: header, the question of at most 255 + 4 bytes, one address, and EDNS.
const ANSWER_BYTES_MAX: usize = 12 + 259 + 271 + 16;

/// What names are made of; a label may hold any byte, also the dot.
const LABELS: [&[u8]; 12] = [
    b"api",
    b"pay",
    b"test",
    b"actpass",
    b"internal",
    b"API",
    b"a-b",
    b"*",
    b"\0",
    b"api.pay",
    b"pay.test",
    b"\\",
];

/// Input: how the query came (odd: over TCP), then the query, or for 2 and 3 the labels of its name by their numbers.
///
/// - No answer is answered; every answer carries the query's id, repeats at most its question, and stays small.
/// - An address is given to declared names only, label by label, and stands for that very name.
/// - What is not answered with success leaves an event for the record.
pub(crate) fn run(data: &[u8]) {
    let patterns =
        ["api.pay.test", "*.pay.test", "pay.test"].map(|text| text.parse().expect("a pattern"));
    let zone = Zone::new(&patterns).expect("a small zone");
    let mut input = Input::new(data);
    let how = input.byte();
    let transport = if how % 2 == 1 {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let query = match how {
        2 | 3 => query_for(input.rest()),
        _ => input.rest().to_vec(),
    };
    let query = query.as_slice();
    let answer = zone.answer(query, transport);
    assert!(answer.bytes.is_some() || answer.event.is_some());
    if let Some(DnsEvent::Undeclared { name, .. } | DnsEvent::WildcardExhausted { name, .. }) =
        &answer.event
    {
        assert!(name.len() <= 1020 && name.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let Some(bytes) = answer.bytes else { return };
    assert!(
        bytes.len() <= ANSWER_BYTES_MAX,
        "{} bytes of answer",
        bytes.len()
    );
    let message = Message::from_vec(&bytes).expect("an answer can be read");
    assert_eq!(message.message_type, MessageType::Response);
    assert_eq!(message.id.to_be_bytes(), query[..2]);
    assert!(query[2] < 0x80, "an answer was answered");
    assert_eq!(
        message.response_code == ResponseCode::NoError,
        answer.event.is_none()
    );
    let Some(record) = message.answers.first() else {
        return;
    };
    assert!(answer.event.is_none() && message.answers.len() == 1);
    let RData::A(address) = record.data else {
        panic!("an answer other than an address")
    };
    let question = &message.queries[0];
    assert_eq!(question.query_type(), RecordType::A);
    let host = zone
        .name_of(address.0)
        .expect("the address stands for a name");
    assert!(
        spells(question.name(), &host),
        "{} got the address of {host}",
        question.name()
    );
    let internal = host.as_str() == "actpass.internal";
    assert!(
        internal
            || patterns
                .iter()
                .any(|pattern: &HostPattern| pattern.matches(&host))
    );
}

/// A query for the address of the name with these labels.
fn query_for(numbers: &[u8]) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for number in numbers {
        let label = LABELS[usize::from(*number) % LABELS.len()];
        query.push(u8::try_from(label.len()).expect("short"));
        query.extend(label);
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// Whether the labels of `name` are those of `host`, byte by byte.
fn spells(name: &Name, host: &HostName) -> bool {
    let labels = host.as_str().split('.').map(str::as_bytes);
    name.iter().map(<[u8]>::to_ascii_lowercase).eq(labels)
}
