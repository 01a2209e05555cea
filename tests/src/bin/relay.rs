//! An agent that sends bytes as they are: each line of its input is one connection,
//! `{"host":TEXT,"alpn":TEXT,"answers":NUMBER,"bytes":[NUMBER…]}`, each line of its output what came back,
//! `[NUMBER…]`, or why nothing did, `{"error":TEXT}`.

use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::sync::Arc;

use actpass_tests::raw::exchange;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    let bundle = std::env::var("SSL_CERT_FILE")?;
    for certificate in CertificateDer::pem_file_iter(bundle)? {
        roots.add_parsable_certificates([certificate?]);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    for line in std::io::stdin().lock().lines() {
        let answer = relay(&config, &serde_json::from_str(&line?)?);
        let answer = answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn relay(config: &ClientConfig, line: &Value) -> anyhow::Result<Value> {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut config = config.clone();
    config.alpn_protocols = vec![text("alpn").as_bytes().to_vec()];
    let bytes: Vec<u8> = serde_json::from_value(line.get("bytes").cloned().unwrap_or_default())?;
    let answers = line.get("answers").and_then(Value::as_u64).unwrap_or(1);
    let host = text("host").to_owned();
    let tcp = TcpStream::connect((host.as_str(), 443))?;
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;
    let mut stream = StreamOwned::new(tls, tcp);
    Ok(json!(exchange(
        &mut stream,
        &bytes,
        usize::try_from(answers)?
    )?))
}
