//! ClientHellos made by hand: the bytes that a client's TLS begins with (RFC 8446 section 4.1.2).

/// What one is made of.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Server name, if any.
    pub name: Option<String>,
    /// Versions offered: 0x0304 is TLS 1.3. None: what stands in the head alone, and that is the last of these.
    pub versions: Vec<u16>,
    /// Extensions before the server name, each with its content.
    pub before: Vec<(u16, Vec<u8>)>,
    /// Bytes of the message in each record.
    pub record: usize,
}

/// Longest content of a record (RFC 8446 section 5.1).
pub const RECORD_BYTES_MAX: usize = 16_384;

impl Hello {
    /// One that offers TLS 1.3 and 1.2, in one record where it fits.
    pub fn to(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            versions: vec![0x0304, 0x0303],
            before: Vec::new(),
            record: RECORD_BYTES_MAX,
        }
    }

    /// The bytes as sent.
    pub fn bytes(&self) -> Vec<u8> {
        let message = self.message();
        let records = message.chunks(self.record.max(1)).map(|part| {
            let head = [&[22, 3, 1][..], &sized(2, part)];
            head.concat()
        });
        records.flatten().collect()
    }

    fn message(&self) -> Vec<u8> {
        let mut extensions: Vec<Vec<u8>> = self
            .before
            .iter()
            .map(|(kind, content)| extension(*kind, content))
            .collect();
        if let Some(name) = &self.name {
            let entry = [&[0][..], &sized(2, name.as_bytes())].concat();
            extensions.push(extension(0, &sized(2, &entry)));
        }
        let pairs = |all: &[u16]| {
            all.iter()
                .flat_map(|it| it.to_be_bytes())
                .collect::<Vec<_>>()
        };
        if self.versions.contains(&0x0304) {
            extensions.push(extension(43, &sized(1, &pairs(&self.versions))));
            let share = [&pairs(&[29])[..], &sized(2, &[9; 32])].concat();
            extensions.push(extension(51, &sized(2, &share)));
        }
        extensions.push(extension(10, &sized(2, &pairs(&[29]))));
        let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0201];
        extensions.push(extension(13, &sized(2, &pairs(&signatures))));
        let last = self.versions.last().copied().unwrap_or(0x0303);
        let body = [
            &pairs(&[last])[..],
            &[7; 32],
            &sized(1, &[]),
            // Two of TLS 1.3, two of 1.2, two of before.
            &sized(2, &pairs(&[0x1301, 0x1302, 0xc02b, 0xc02f, 0xc013, 0x002f])),
            &sized(1, &[0]),
            &sized(2, &extensions.concat()),
        ];
        [&[1][..], &sized(3, &body.concat())].concat()
    }
}

/// Values that mean nothing and must be passed over (RFC 8701).
pub const GREASE: [u16; 3] = [0x0a0a, 0x5a5a, 0xfafa];

/// Extension `padding` (RFC 7685).
pub const PADDING: u16 = 21;

/// Extension `early_data` (RFC 8446 section 4.2.10).
pub const EARLY_DATA: u16 = 42;

/// Extension `encrypted_client_hello` (RFC 9849).
pub const ENCRYPTED: u16 = 0xfe0d;

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, content)].concat()
}

/// Content behind its length of so many bytes.
pub fn sized(of: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = length.get(length.len() - of..).unwrap_or_default();
    [length, content].concat()
}
