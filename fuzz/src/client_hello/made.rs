//! A ClientHello from its parts, each with the length that belongs to it.

use crate::input::Input;

/// What server names are made of, with a dot between.
const LABELS: [&str; 10] = [
    "api",
    "shop",
    "test",
    "evil",
    "API",
    "x",
    "",
    "xn--a",
    "127.0.0.1",
    "a\0b",
];

/// Extensions of which a real client sends one or another: GREASE (RFC 8701), application protocols, versions 1.1 and 1.0
/// alone, a session ticket, an encrypted ClientHello (RFC 9849) and early data (RFC 8446 section 4.2.10).
const OTHERS: [(u16, &[u8]); 7] = [
    (0x0a0a, b""),
    (0xfafa, b"\0"),
    (16, b"\0\x0c\x02h2\x08http/1.1"),
    (43, b"\x04\x03\x02\x03\x01"),
    (35, b""),
    (0xfe0d, b"\0\0\x01\0\x01\x07\0\0\0\x02ab"),
    (42, b""),
];

/// No more extensions are added from there on: with the longest of them, and each byte in a record of its own, that is still
/// less than what is on its way at once.
const EXTENSIONS_BYTES_MAX: usize = 8 * 1024;

/// Input: what is wanted of the usual extensions; then extensions, each by its number and what it says. The message comes in
/// records of at most `length` bytes.
pub(super) fn hello(length: usize, input: &mut Input<'_>) -> Vec<u8> {
    let usual = input.byte();
    let mut extensions = Vec::new();
    if usual & 1 == 0 {
        extension(&mut extensions, 10, b"\0\x02\0\x1d");
        extension(
            &mut extensions,
            13,
            b"\0\x08\x04\x03\x08\x04\x04\x01\x08\x07",
        );
        extension(
            &mut extensions,
            51,
            &[&b"\0\x24\0\x1d\0\x20"[..], &[9; 32]].concat(),
        );
    }
    if usual & 2 == 0 {
        extension(&mut extensions, 43, b"\x06\x4a\x4a\x03\x04\x03\x03");
    }
    while !input.is_empty() && extensions.len() < EXTENSIONS_BYTES_MAX {
        match input.byte() {
            0 => server_name(&mut extensions, input),
            1 => extension(
                &mut extensions,
                21,
                &vec![0; usize::from(input.byte()) * 16],
            ),
            2 => {
                let kind = input.u16();
                let content: Vec<u8> = (0..input.byte()).map(|_| input.byte()).collect();
                extension(&mut extensions, kind, &content);
            }
            other => {
                let (kind, content) = OTHERS[usize::from(other) % OTHERS.len()];
                extension(&mut extensions, kind, content);
            }
        }
    }
    let mut body = vec![3, if usual & 4 == 0 { 3 } else { 1 }];
    body.extend([7; 32]);
    // No session, two suites of TLS 1.3, two of 1.2, no compression.
    body.extend(b"\0\0\x08\x13\x01\x13\x02\xc0\x2b\xc0\x2f\x01\0");
    behind_its_length(&mut body, 2, &extensions);
    let mut message = vec![1];
    behind_its_length(&mut message, 3, &body);
    let mut records = Vec::new();
    for part in message.chunks(length) {
        records.extend([22, 3, 1]);
        behind_its_length(&mut records, 2, part);
    }
    records
}

/// A list of names, each by the numbers of its labels up to one that is none; a name of no label ends it.
fn server_name(extensions: &mut Vec<u8>, input: &mut Input<'_>) {
    let mut list = Vec::new();
    loop {
        let mut labels = Vec::new();
        while !input.is_empty() {
            let Some(label) = LABELS.get(usize::from(input.byte())) else {
                break;
            };
            labels.push(*label);
        }
        if labels.is_empty() {
            break;
        }
        list.push(0);
        behind_its_length(&mut list, 2, labels.join(".").as_bytes());
    }
    let mut content = Vec::new();
    behind_its_length(&mut content, 2, &list);
    extension(extensions, 0, &content);
}

fn extension(extensions: &mut Vec<u8>, kind: u16, content: &[u8]) {
    extensions.extend(kind.to_be_bytes());
    behind_its_length(extensions, 2, content);
}

/// A length of `of` bytes, and what it is of. What is longer than that can say is cut.
fn behind_its_length(bytes: &mut Vec<u8>, of: usize, content: &[u8]) {
    let most = (1_usize << (8 * of)) - 1;
    let content = &content[..content.len().min(most)];
    let length = u32::try_from(content.len()).expect("short").to_be_bytes();
    bytes.extend(&length[4 - of..]);
    bytes.extend(content);
}
