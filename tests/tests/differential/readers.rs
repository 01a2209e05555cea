//! The bytes the upstream got, as two readers of HTTP understand them that have nothing in common with ours or each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use actpass_tests::tools::python;
use serde_json::Value;

/// A request as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Of HTTP.
    pub(crate) version: String,
    /// Method.
    pub(crate) method: String,
    /// Target, not decoded.
    pub(crate) target: String,
    /// Headers in order, names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub(crate) body: Vec<u8>,
    /// Decoded segments of the path.
    pub(crate) path: Vec<String>,
    /// Decoded query, sorted.
    pub(crate) query: Vec<(String, String)>,
    /// Texts that the body names, sorted; none where the reader knows no such bodies.
    pub(crate) fields: Option<Vec<(String, String)>>,
}

impl Read {
    /// Whether the other reader found the same.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let fields = match (&self.fields, &other.fields) {
            (Some(_), Some(_)) => self.fields.clone(),
            _ => None,
        };
        let with = |read: &Self| Self {
            fields: fields.clone().and(read.fields.clone()),
            ..read.clone()
        };
        with(self) == with(other)
    }
}

/// As a person can read it.
impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} HTTP/{}", self.method, self.target, self.version)?;
        for (name, value) in &self.headers {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        write!(f, " | {}", self.body.escape_ascii())
    }
}

/// One file of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Its requests.
    pub(crate) requests: Vec<Read>,
    /// Why its bytes are not those requests and nothing else, in the reader's words.
    pub(crate) error: Option<String>,
}

/// Streams by the names of their files.
pub(crate) type Streams = BTreeMap<String, Stream>;

/// Every file of `dir` as h11 reads it, in Python, and as llhttp does, in Node.
pub(crate) fn read(dir: &Path) -> [Streams; 2] {
    const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential");
    let with = |program: Command, script: &str| {
        let mut program = program;
        program.arg(Path::new(SCRIPTS).join(script)).arg(dir);
        let output = program.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        parsed(std::str::from_utf8(&output.stdout).unwrap())
    };
    [
        with(Command::new(python()), "with_h11.py"),
        with(Command::new("node"), "with_llhttp.mjs"),
    ]
}

fn parsed(lines: &str) -> Streams {
    let mut streams = Streams::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let stream = streams
            .entry(line["file"].as_str().unwrap().to_owned())
            .or_default();
        match line.get("error") {
            Some(error) => {
                stream.error = error.as_str().map(str::to_owned);
            }
            None => stream.requests.push(request(&line)),
        }
    }
    streams
}

fn request(line: &Value) -> Read {
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    let pairs = |name: &str| -> Vec<(String, String)> {
        let pairs = line[name].as_array().unwrap().iter();
        pairs
            .map(|pair| {
                let half = |at: usize| pair[at].as_str().unwrap().to_owned();
                (half(0), half(1))
            })
            .collect()
    };
    let sorted = |name: &str| {
        let mut pairs = pairs(name);
        pairs.sort();
        pairs
    };
    let path = line["path"].as_array().unwrap().iter();
    Read {
        version: text("version"),
        method: text("method"),
        target: text("target"),
        headers: pairs("headers")
            .into_iter()
            .map(|(name, value)| (name, latin1(&value)))
            .collect(),
        body: latin1(&text("body")),
        path: path
            .map(|segment| segment.as_str().unwrap().to_owned())
            .collect(),
        query: sorted("query"),
        fields: (!line["fields"].is_null()).then(|| sorted("fields")),
    }
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).unwrap())
        .collect()
}
