//! A second reader of ClientHellos, that shares no code with the first.

/// What a client has told so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Less than a ClientHello.
    Part,
    /// Something else.
    Other,
    /// The host names that a whole one asks for (RFC 6066 section 3).
    Whole(Vec<Vec<u8>>),
}

/// Reads records until their ClientHello is whole.
pub(super) fn told(mut bytes: &[u8]) -> Told {
    let mut message = Vec::new();
    loop {
        if let Some(length) = message.get(1..4) {
            let length = number(length);
            if message[0] != 1 {
                return Told::Other;
            }
            if let Some(body) = message.get(4..4 + length) {
                return names(body).map_or(Told::Other, Told::Whole);
            }
        }
        match bytes {
            [22, 3, _, high, low, rest @ ..] => {
                let length = number(&[*high, *low]);
                let Some((payload, rest)) = rest.split_at_checked(length) else {
                    return Told::Part;
                };
                if length == 0 {
                    return Told::Other;
                }
                message.extend_from_slice(payload);
                bytes = rest;
            }
            [22, 3, ..] | [22] | [] => return Told::Part,
            _ => return Told::Other,
        }
    }
}

fn names(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    // Version and random.
    let mut body = body.get(34..)?;
    taken(&mut body, 1)?;
    taken(&mut body, 2)?;
    taken(&mut body, 1)?;
    let mut extensions = if body.is_empty() {
        body
    } else {
        taken(&mut body, 2)?
    };
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_at_checked(2)?;
        extensions = rest;
        let mut content = taken(&mut extensions, 2)?;
        if kind != [0, 0] {
            continue;
        }
        let mut list = taken(&mut content, 2)?;
        // Nobody knows how long a name of another kind is, so it is the rest of the list.
        while let [0, rest @ ..] = list {
            list = rest;
            names.push(taken(&mut list, 2)?.to_vec());
        }
    }
    body.is_empty().then_some(names)
}

/// What stands behind its length of so many bytes.
fn taken<'a>(bytes: &mut &'a [u8], of: usize) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_at_checked(of)?;
    let (content, rest) = rest.split_at_checked(number(length))?;
    *bytes = rest;
    Some(content)
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}
