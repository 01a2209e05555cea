//! An agent that sends bytes as they are: each line of its input is one connection, each line of its output what came back,
//! `[NUMBER…]`, or why nothing did, `{"error":TEXT}`. A connection is
//!
//! - `{"host":TEXT,"alpn":TEXT,"answers":NUMBER,"bytes":[NUMBER…]}`: HTTP within TLS, until so many answers are there; for none
//!   their end is sent behind the bytes, and read what comes until the other's. With it `"fragment":NUMBER`, bytes in a record; `"piece":NUMBER`, bytes sent at a time; `"padding":NUMBER`, bytes of made-up protocols that are offered too;
//!   `"grease":true`, an encrypted ClientHello of nothing; `"inner":TEXT`, one of that name.
//! - `{"host":TEXT,"raw":[NUMBER…],"least":NUMBER}`: bytes without TLS, until so many came back or nothing more does. With it
//!   `"piece":NUMBER` as above; `"open":true`, the end is left open.
//! - `{"host":TEXT,"flood":TEXT,"bytes":[NUMBER…],"others":NUMBER}`: the flood of that name, and meanwhile these bytes within TLS,
//!   each time on a connection of their own and so often at least: `{"end":TEXT,"taken":NUMBER,"answered":NUMBER,"others":[STATUS…],"slowest":MILLISECONDS}`.

use std::collections::BTreeSet;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_tests::floods::FLOODS;
use actpass_tests::hello::sized;
use actpass_tests::raw::{InPieces, answers_of, exchange};
use anyhow::{Context, anyhow};
use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
use rustls::crypto::hpke::Hpke;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, EchConfigListBytes, ServerName};
use serde_json::{Value, json};

/// Whoever waits for a ClientHello gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);

fn main() -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    let bundle = std::env::var("SSL_CERT_FILE")?;
    for certificate in CertificateDer::pem_file_iter(bundle)? {
        roots.add_parsable_certificates([certificate?]);
    }
    for line in std::io::stdin().lock().lines() {
        let line = Line(serde_json::from_str(&line?)?);
        let has = |name| line.0.get(name).is_some();
        let answer = if has("raw") {
            raw(&line)
        } else if has("flood") {
            flood(&roots, &line)
        } else {
            relay(roots.clone(), &line)
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Line(Value);

impl Line {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<usize> {
        let number = self.0.get(name).and_then(Value::as_u64)?;
        number.try_into().ok()
    }

    fn is(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|it| it == true)
    }

    fn bytes(&self, name: &str) -> serde_json::Result<Vec<u8>> {
        serde_json::from_value(self.0.get(name).cloned().unwrap_or_default())
    }

    fn connect(&self, patience: Duration) -> std::io::Result<InPieces> {
        let socket = TcpStream::connect((self.text("host"), 443))?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_nodelay(true)?;
        Ok(InPieces {
            socket,
            piece: self.number("piece").unwrap_or(usize::MAX),
        })
    }
}

fn relay(roots: RootCertStore, line: &Line) -> anyhow::Result<Value> {
    let mut config = config(roots, line)?;
    let padding = line.number("padding").unwrap_or(0);
    // The last is cut, so that all of them have that length.
    let made_up = (0..padding)
        .step_by(256)
        .map(|at| vec![b'x'; (padding - at).min(255)]);
    config.alpn_protocols = made_up.collect();
    config.alpn_protocols.push(line.text("alpn").into());
    config.max_fragment_size = line.number("fragment");
    let answers = line.number("answers").unwrap_or(1);
    let name = match line.text("inner") {
        "" => line.text("host"),
        inner => inner,
    };
    let name = ServerName::try_from(name.to_owned())?;
    let socket = line.connect(Duration::from_secs(5))?;
    let tls = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = StreamOwned::new(tls, socket);
    // What follows the handshake is not what is tried.
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    stream.sock.piece = usize::MAX;
    let bytes = line.bytes("bytes")?;
    let read = match answers {
        0 => to_the_end(&mut stream, &bytes)?,
        _ => exchange(&mut stream, &bytes, answers)?,
    };
    Ok(json!(read))
}

/// Sends bytes and their end, and reads to the other's.
fn to_the_end(
    stream: &mut StreamOwned<ClientConnection, InPieces>,
    bytes: &[u8],
) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        // Closed without a word of TLS.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(read),
        ended => ended.map(|_| read),
    }
}

/// One flood, and others that are answered meanwhile.
fn flood(roots: &RootCertStore, line: &Line) -> anyhow::Result<Value> {
    let flood = FLOODS.iter().find(|it| it.name == line.text("flood"));
    let flood = flood.context("no such flood")?;
    let mut config = config(roots.clone(), line)?;
    let alpn: &[u8] = if flood.http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from(line.text("host").to_owned())?;
    let tls = ClientConnection::new(Arc::new(config), name)?;
    let socket = line.connect(Duration::from_secs(5))?;
    let mut stream = StreamOwned::new(tls, socket);
    stream.conn.complete_io(&mut stream.sock)?;
    // What is there is read; who takes nothing for so long takes nothing more.
    stream
        .sock
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))?;
    stream
        .sock
        .socket
        .set_write_timeout(Some(Duration::from_secs(3)))?;
    // It is kept open until the others are done.
    let flooding = std::thread::spawn(move || (flood.send(&mut stream), stream));
    let (mut statuses, mut slowest, mut answered) = (BTreeSet::new(), Duration::ZERO, 0);
    let least = line.number("others").unwrap_or(1);
    while answered < least || !flooding.is_finished() {
        let begun = Instant::now();
        let other = relay(
            roots.clone(),
            &Line(json!({
                "host": line.text("host"), "alpn": "http/1.1", "bytes": line.bytes("bytes")?,
            })),
        )?;
        slowest = slowest.max(begun.elapsed());
        let answer: Vec<u8> = serde_json::from_value(other)?;
        let answers = answers_of(&answer, false);
        statuses.extend(answers.iter().map(|answer| answer.status));
        answered += answers.len();
    }
    let (sent, _stream) = flooding.join().map_err(|_| anyhow!("the flood crashed"))?;
    let (end, taken) = sent?;
    Ok(json!({
        "end": format!("{end:?}"), "taken": taken, "answered": answered, "others": statuses,
        "slowest": u64::try_from(slowest.as_millis())?,
    }))
}

fn config(roots: RootCertStore, line: &Line) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (key, _) = suite.generate_key_pair()?;
    let ech = if !line.text("inner").is_empty() {
        let list = encrypting(line.text("host"), &key.0);
        Some(EchMode::Enable(EchConfig::new(list, &[suite])?))
    } else {
        let grease = EchGreaseConfig::new(suite, key);
        line.is("grease").then_some(EchMode::Grease(grease))
    };
    let builder = match ech {
        Some(ech) => builder.with_ech(ech)?,
        None => builder.with_safe_default_protocol_versions()?,
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// As a name server would say that `outer` takes encrypted ClientHellos (RFC 9849 section 4).
fn encrypting(outer: &str, key: &[u8]) -> EchConfigListBytes<'static> {
    let content = [
        &[1, 0, 0x20][..],
        &sized(2, key),
        &sized(2, &[0, 1, 0, 1]),
        &[0],
        &sized(1, outer.as_bytes()),
        &sized(2, &[]),
    ];
    let config = [&[0xfe, 0x0d][..], &sized(2, &content.concat())].concat();
    EchConfigListBytes::from(sized(2, &config))
}

fn raw(line: &Line) -> anyhow::Result<Value> {
    let mut socket = line.connect(PATIENCE)?;
    // Who refuses it may close before it has all of it; the answer says which.
    socket.write_all(&line.bytes("raw")?).ok();
    if !line.is("open") {
        socket.socket.shutdown(Shutdown::Write).ok();
    }
    let (mut read, mut chunk) = (Vec::<u8>::new(), [0; 4096]);
    while read.len() < line.number("least").unwrap_or(usize::MAX) {
        match socket.socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => read.extend(chunk.iter().take(length)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!(read))
}
