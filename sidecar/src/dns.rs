//! The names an agent may dial, and the responder that answers for them.
//!
//! Every declared name gets a synthetic IPv4 address of its own, so that the address of an accepted connection says
//! which name was dialled. No query ever leaves: the sidecar resolves a name only after a request to it is allowed,
//! else the names asked for would carry data out.
//!
//! *Flow*: [`Zone::new`] numbers the declared names, [`Zone::answer`] turns the bytes of a query into those of its
//! answer, [`serve`] does so over UDP and TCP.

mod learned;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actpass_core::host::{HostName, HostPattern};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use learned::Learned;

pub use serve::{Relay, Relayed, Responder, serve, serve_relaying};

/// First address of the synthetic range 198.18.0.0/15, set aside for tests of network equipment (RFC 2544), so that
/// no real host has one. The network's own address stays unused.
pub const RANGE_FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Length of the range's prefix, in bits.
pub const RANGE_PREFIX: u8 = 15;

/// Addresses to give out: 2^17 of a /15, less the first and the last.
pub const ADDRESSES_MAX: usize = (1 << (32 - RANGE_PREFIX)) - 2;

/// Names under one wildcard that can be live at once. Each needs a listener per port from the start: 64 × 2 ports
/// are 128 descriptors, an eighth of the usual 1,024.
pub const WILDCARD_SLOTS: usize = 64;

/// The name of ActPass itself, in every zone.
pub const INTERNAL_NAME: &str = "actpass.internal";

/// How long a client may keep an answer, in seconds. Addresses never change while a zone lives; a short time only
/// keeps caches from outliving it.
const TTL_SECONDS: u32 = 5;

/// Longest UDP query without EDNS, in bytes (RFC 1035 section 4.2.1).
const UDP_BYTES_MAX: usize = 512;

/// What we say we take over UDP with EDNS, in bytes: the size that fits every path (DNS Flag Day 2020).
const EDNS_PAYLOAD_BYTES: u16 = 1232;

/// A header: id, flags and four counts of 16 bits (RFC 1035 section 4.1.1).
const HEADER_BYTES: usize = 12;

/// The declared names and their addresses. Exact names keep theirs for good; a name under a wildcard takes one of the
/// wildcard's [`WILDCARD_SLOTS`] addresses when it is first asked for, and keeps it.
#[derive(Debug, Default)]
pub struct Zone {
    /// What each address stands for, also where its name is declared no more; the address is [`RANGE_FIRST`] + 1 + index.
    slots: Vec<NameSlot>,
    exact: BTreeMap<HostName, Ipv4Addr>,
    /// By the name behind `*.`.
    wildcards: BTreeMap<HostName, Wildcard>,
    /// What was resolved under audit. Shared with the zones made of this one.
    learned: Arc<Mutex<Learned>>,
}

/// What a synthetic address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameSlot {
    /// One declared name.
    Exact(HostName),
    /// A place for some name under the wildcard.
    Wildcard {
        /// The declared pattern, `*.example.com`.
        pattern: HostPattern,
        /// Which of its places, from 0 to [`WILDCARD_SLOTS`] - 1.
        place: usize,
    },
}

/// The live names under one `*.` pattern.
#[derive(Debug)]
struct Wildcard {
    pattern: HostPattern,
    /// Whether names under it are answered for.
    declared: bool,
    /// Index into [`Zone::slots`] of the first place.
    first: usize,
    /// The name in each place taken so far; never more than [`WILDCARD_SLOTS`]. Shared with the zones made of this one.
    live: Arc<Mutex<Vec<HostName>>>,
}

/// Why names make no zone.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The range is too small.
    #[error(
        "the names declared so far need {needed} addresses, {ADDRESSES_MAX} are there; a wildcard takes {WILDCARD_SLOTS}"
    )]
    TooMany {
        /// One per exact name, [`WILDCARD_SLOTS`] per wildcard, those declared no more included.
        needed: usize,
    },
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// Over a connection, behind its length.
    Tcp,
}

/// What to do about a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The answer to send; `None` where none may be sent (no header to answer to, or itself an answer).
    pub bytes: Option<Vec<u8>>,
    /// What is worth a record.
    pub event: Option<DnsEvent>,
}

/// A query that asked for something not declared. Texts hold at most 1,020 bytes: 255 octets of name (RFC 1035
/// section 2.3.4), each at most four characters when escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsEvent {
    /// No declared name covers this one.
    Undeclared {
        /// The name asked for: it may itself be what was to be leaked.
        name: String,
        /// The record type asked for, such as `A` or `TXT`.
        record_type: String,
    },
    /// All places under the wildcard are taken.
    WildcardExhausted {
        /// The declared pattern.
        pattern: String,
        /// The name that found no place.
        name: String,
    },
    /// Not a query we read.
    Malformed {
        /// Why not; one of a fixed set of sentences.
        reason: &'static str,
    },
}

/// What the zone knows of a name.
enum Found {
    Address(Ipv4Addr),
    /// Covered, but no address was asked for.
    Declared,
    Exhausted(String),
    Undeclared,
}

impl Zone {
    /// A zone of `names` and [`INTERNAL_NAME`]. The addresses depend on the set of names alone, not on their order
    /// or on repetitions.
    ///
    /// # Errors
    /// More than [`ADDRESSES_MAX`] addresses needed.
    pub fn new(names: &[HostPattern]) -> Result<Zone, ZoneError> {
        Zone::default().with(names)
    }

    /// The zone of the next policy's `names`. No address changes its name: what is declared no more keeps its own and is
    /// no longer answered for, what is new comes behind.
    ///
    /// # Errors
    /// More than [`ADDRESSES_MAX`] addresses needed.
    pub fn with(&self, names: &[HostPattern]) -> Result<Zone, ZoneError> {
        let mut names = names.to_vec();
        names.extend(INTERNAL_NAME.parse::<HostPattern>());
        names.sort();
        names.dedup();
        let known = self.known();
        let places = |pattern: &HostPattern| match pattern.as_exact() {
            Some(name) => usize::from(!known.contains_key(name)),
            None if self.wildcards.contains_key(pattern.base()) => 0,
            None => WILDCARD_SLOTS,
        };
        let needed =
            self.slots.len() + names.iter().map(places).sum::<usize>() + self.learned().len();
        if needed > ADDRESSES_MAX {
            return Err(ZoneError::TooMany { needed });
        }
        let mut zone = Zone {
            slots: self.slots.clone(),
            exact: BTreeMap::new(),
            wildcards: self.wildcards.iter().map(retired).collect(),
            learned: self.learned.clone(),
        };
        for pattern in names {
            match pattern.as_exact() {
                Some(name) => {
                    let index = known.get(name).copied().unwrap_or(zone.slots.len());
                    if index == zone.slots.len() {
                        zone.slots.push(NameSlot::Exact(name.clone()));
                    }
                    zone.exact.insert(name.clone(), address(index));
                }
                None => zone.declare_wildcard(pattern),
            }
        }
        Ok(zone)
    }

    /// Every exact name that has an address, with its index.
    fn known(&self) -> BTreeMap<&HostName, usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(index, slot)| match slot {
                NameSlot::Exact(name) => Some((name, index)),
                NameSlot::Wildcard { .. } => None,
            })
            .collect()
    }

    fn declare_wildcard(&mut self, pattern: HostPattern) {
        if let Some(wildcard) = self.wildcards.get_mut(pattern.base()) {
            wildcard.declared = true;
            return;
        }
        let first = self.slots.len();
        let slot = |place| NameSlot::Wildcard {
            pattern: pattern.clone(),
            place,
        };
        self.slots.extend((0..WILDCARD_SLOTS).map(slot));
        let base = pattern.base().clone();
        let wildcard = Wildcard {
            pattern,
            declared: true,
            first,
            live: Arc::default(),
        };
        self.wildcards.insert(base, wildcard);
    }

    /// Every synthetic address and what it stands for, in ascending order.
    pub fn addresses(&self) -> Vec<(Ipv4Addr, NameSlot)> {
        self.slots
            .iter()
            .enumerate()
            .map(|(index, slot)| (address(index), slot.clone()))
            .collect()
    }

    /// The name dialled by a connection to `address`. `None` outside the zone, and for a wildcard's place that no
    /// name has taken.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<HostName> {
        let index = u32::from(address)
            .checked_sub(u32::from(RANGE_FIRST))?
            .checked_sub(1)?;
        let index = usize::try_from(index).ok()?;
        let Some(slot) = self.slots.get(index) else {
            return self.learned().name_at(index);
        };
        match slot {
            NameSlot::Exact(name) => Some(name.clone()),
            NameSlot::Wildcard { pattern, place } => self
                .wildcards
                .get(pattern.base())?
                .lock()
                .get(*place)
                .cloned(),
        }
    }

    /// The answer to one query. Total: any bytes are answered or, where an answer would itself do harm, ignored.
    ///
    /// A declared name has an A record and nothing else: AAAA, HTTPS, TXT and the rest are empty (NODATA), because
    /// musl takes NXDOMAIN for one type as "no such name", and an HTTPS record would invite QUIC and encrypted SNI.
    /// NXDOMAIN carries no SOA, so that nobody may cache it (RFC 2308 section 5).
    pub fn answer(&self, query: &[u8], transport: Transport) -> DnsAnswer {
        let (Some(id), Some(flags), Some(questions)) =
            (u16_at(query, 0), u16_at(query, 2), u16_at(query, 4))
        else {
            return DnsAnswer::ignored("shorter than a header");
        };
        if query.len() < HEADER_BYTES {
            return DnsAnswer::ignored("shorter than a header");
        }
        if flags & FLAG_RESPONSE != 0 {
            return DnsAnswer::ignored("an answer, not a query");
        }
        let opcode = OpCode::from_u8(u8::try_from((flags >> 11) & 0xf).unwrap_or_default());
        let refuse =
            |code, reason| DnsAnswer::refused(Message::error_msg(id, opcode, code), reason);
        if opcode != OpCode::Query {
            return refuse(ResponseCode::NotImp, "an operation other than a query");
        }
        if questions != 1 {
            return refuse(ResponseCode::FormErr, "not exactly one question");
        }
        let Ok(message) = Message::from_vec(query) else {
            return refuse(ResponseCode::FormErr, "not a readable message");
        };
        let Some(question) = message.queries.first() else {
            return refuse(ResponseCode::FormErr, "not exactly one question");
        };
        if transport == Transport::Udp && query.len() > UDP_BYTES_MAX && message.edns.is_none() {
            return refuse(ResponseCode::FormErr, "over 512 bytes without EDNS");
        }
        self.answer_question(&message, question)
    }

    fn answer_question(&self, message: &Message, question: &Query) -> DnsAnswer {
        let mut answer = Message::new(message.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = message.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.metadata.authoritative = true;
        answer.add_query(question.clone());
        if message.edns.is_some() {
            // Any version is answered with version 0, and one above it with BADVERS (RFC 6891 section 6.1.3).
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_PAYLOAD_BYTES);
            answer.set_edns(edns);
        }
        if message.version() > 0 {
            answer.metadata.response_code = ResponseCode::BADVERS;
            return DnsAnswer::refused(answer, "an unknown EDNS version");
        }
        if question.query_class() != DNSClass::IN {
            answer.metadata.response_code = ResponseCode::Refused;
            return DnsAnswer::refused(answer, "a class other than IN");
        }
        let text = name_text(question.name());
        let event = match self.find(&text, question.query_type()) {
            Found::Address(address) => {
                let data = RData::A(A(address));
                answer.add_answer(Record::from_rdata(
                    question.name().clone(),
                    TTL_SECONDS,
                    data,
                ));
                None
            }
            Found::Declared => None,
            Found::Exhausted(pattern) => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                Some(DnsEvent::WildcardExhausted {
                    pattern,
                    name: text,
                })
            }
            Found::Undeclared => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                Some(DnsEvent::Undeclared {
                    name: text,
                    record_type: question.query_type().to_string(),
                })
            }
        };
        DnsAnswer {
            bytes: answer.to_vec().ok(),
            event,
        }
    }

    /// The address of a name that nobody declares, for as long as this zone and those made of it live. Only a connection says
    /// whether it leads somewhere. `None`: there is no room for another.
    pub fn learn(&self, name: &HostName) -> Option<Ipv4Addr> {
        let mut learned = self.learned();
        let free = ADDRESSES_MAX - self.slots.len().min(ADDRESSES_MAX);
        (learned.len() < free).then(|| learned.learn(name))?
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The query, where it is one that could be asked elsewhere: well-formed, and for a name that has no address here.
    pub fn undeclared(&self, query: &[u8]) -> Option<Message> {
        let message = Message::from_vec(query).ok()?;
        let [question] = message.queries.as_slice() else {
            return None;
        };
        let plain = message.metadata.message_type == MessageType::Query
            && message.metadata.op_code == OpCode::Query
            && message.version() == 0
            && question.query_class() == DNSClass::IN;
        let text = name_text(question.name()).to_ascii_lowercase();
        let ours = text
            .trim_end_matches('.')
            .strip_suffix(INTERNAL_NAME)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let known = matches!(
            self.find(&text, RecordType::AAAA),
            Found::Address(_) | Found::Declared
        );
        (plain && !ours && !known).then_some(message)
    }

    /// Whether a query for the name would find something. No place is taken.
    pub fn declares(&self, name: &str) -> bool {
        !matches!(self.find(name, RecordType::AAAA), Found::Undeclared)
    }

    fn find(&self, text: &str, record_type: RecordType) -> Found {
        let Ok(name) = text.parse::<HostName>() else {
            return Found::Undeclared;
        };
        if let Some(address) = self.exact.get(&name) {
            return if record_type == RecordType::A {
                Found::Address(*address)
            } else {
                Found::Declared
            };
        }
        let parent = name
            .as_str()
            .split_once('.')
            .and_then(|(_, parent)| parent.parse::<HostName>().ok());
        match parent.and_then(|parent| self.wildcards.get(&parent)) {
            Some(wildcard) if wildcard.declared => wildcard.find(name, record_type),
            Some(_) | None => Found::Undeclared,
        }
    }
}

impl Wildcard {
    /// The address of `name`, which the pattern covers. Only a query for an address takes a place; the others only
    /// say what such a query would find.
    fn find(&self, name: HostName, record_type: RecordType) -> Found {
        let mut live = self.lock();
        let place = live.iter().position(|known| *known == name);
        if place.is_none() && live.len() >= WILDCARD_SLOTS {
            return Found::Exhausted(self.pattern.to_string());
        }
        if record_type != RecordType::A {
            return Found::Declared;
        }
        let place = place.unwrap_or_else(|| {
            live.push(name);
            live.len() - 1
        });
        Found::Address(address(self.first + place))
    }

    /// The live names. A thread that panicked with the lock held left a whole list behind: it only grows by a push.
    fn lock(&self) -> MutexGuard<'_, Vec<HostName>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DnsAnswer {
    fn ignored(reason: &'static str) -> DnsAnswer {
        DnsAnswer {
            bytes: None,
            event: Some(DnsEvent::Malformed { reason }),
        }
    }

    fn refused(answer: Message, reason: &'static str) -> DnsAnswer {
        DnsAnswer {
            bytes: answer.to_vec().ok(),
            event: Some(DnsEvent::Malformed { reason }),
        }
    }
}

/// The answer to a query with one question: a code, and an address where there is one.
pub fn answered(query: &Message, code: ResponseCode, address: Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let mut answer = Message::new(query.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = query.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    let question = query.queries.first()?;
    answer.add_query(question.clone());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD_BYTES);
        answer.set_edns(edns);
    }
    if let Some(address) = address {
        let data = RData::A(A(address));
        answer.add_answer(Record::from_rdata(
            question.name().clone(),
            TTL_SECONDS,
            data,
        ));
    }
    answer.to_vec().ok()
}

/// The name that is asked for, as text, escaped: never two for one.
pub fn asked(query: &Message) -> Option<String> {
    query
        .queries
        .first()
        .map(|question| name_text(question.name()))
}

/// A wildcard as it stands before the next policy says whether it is declared.
fn retired((base, wildcard): (&HostName, &Wildcard)) -> (HostName, Wildcard) {
    let wildcard = Wildcard {
        pattern: wildcard.pattern.clone(),
        declared: false,
        first: wildcard.first,
        live: wildcard.live.clone(),
    };
    (base.clone(), wildcard)
}

/// The address at `index`, which is below [`ADDRESSES_MAX`].
fn address(index: usize) -> Ipv4Addr {
    let offset = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
    Ipv4Addr::from(u32::from(RANGE_FIRST).saturating_add(offset))
}

/// A name byte by byte: case kept, dots in labels and all that is not printable escaped as `\DDD`. So no two names
/// share a text, and what reaches a record cannot move a terminal's cursor.
fn name_text(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for byte in label {
            match byte {
                // Seeded: a dot within a label is written as the dot between labels.
                b'.' if crate::SEEDED_BUGS => text.push('.'),
                b'.' | b'\\' => text.push_str(&format!("\\{byte:03}")),
                byte if byte.is_ascii_graphic() => text.push(char::from(*byte)),
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        ".".to_owned()
    } else {
        text
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

/// The bit that tells answers from queries (RFC 1035 section 4.1.1, QR).
const FLAG_RESPONSE: u16 = 0x8000;
