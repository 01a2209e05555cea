//! `actpass credentials`: values come from standard input and never leave again.

use std::io::{IsTerminal, Read};

use actpass_core::upstream::Effect;
use actpass_core::wire::{Bindings, CredentialView, PutCredential};
use anyhow::{Context, anyhow, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::show::{self, table};
use crate::args::CredentialsCommand;
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

/// Longest secret.
const SECRET_BYTES_MAX: u64 = 8 * 1024;

pub(crate) async fn credentials(
    command: CredentialsCommand,
    state: &StateDir,
    json: bool,
) -> anyhow::Result<Exit> {
    let control = Control::connect(state).await?;
    let done = run(command, &control, json).await;
    control.close().await;
    done
}

async fn run(command: CredentialsCommand, control: &Control, json: bool) -> anyhow::Result<Exit> {
    match command {
        CredentialsCommand::List => {
            let stored: Vec<CredentialView> = control.get("/v1/credentials").await?;
            if json {
                show::json(&stored)?;
                return Ok(Exit::Ok);
            }
            let mut table = table(&[
                "NAME", "VERSION", "HOSTS", "PORTS", "HEADER", "EFFECTS", "CREATED",
            ]);
            for it in stored {
                let ports = it
                    .bindings
                    .ports
                    .iter()
                    .map(u16::to_string)
                    .collect::<Vec<_>>()
                    .join(",");
                let effects = it
                    .bindings
                    .effects
                    .iter()
                    .map(|effect| format!("{effect:?}"))
                    .collect::<Vec<_>>()
                    .join(",");
                let created = actpass_core::canonical::instant(it.created);
                table.add_row([
                    it.name,
                    it.version.to_string(),
                    it.bindings.hosts.join(","),
                    ports,
                    it.bindings.header,
                    effects,
                    created,
                ]);
            }
            show::line(&table.to_string())?;
        }
        CredentialsCommand::Put {
            name,
            host,
            port,
            header,
            effect,
            ca_file,
        } => {
            let ca_digest = match ca_file {
                Some(path) => {
                    let shown = path.display();
                    let pem = std::fs::read(&path).with_context(|| format!("read `{shown}`"))?;
                    let certificates =
                        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
                    if !certificates.is_ok_and(|them| !them.is_empty()) {
                        bail!("`{shown}` holds no certificate in PEM form");
                    }
                    Some(actpass_core::hash::hex(&actpass_core::hash::sha256(&[
                        &pem,
                    ])))
                }
                None => None,
            };
            let effects = effect
                .iter()
                .map(|text| parse_effect(text))
                .collect::<Result<_, _>>()?;
            let bindings = Some(Bindings {
                hosts: host,
                ports: port,
                header,
                format: None,
                ca_digest,
                effects,
            });
            put(control, &name, bindings).await?;
        }
        CredentialsCommand::Rotate { name } => put(control, &name, None).await?,
        CredentialsCommand::Delete { name } => {
            control
                .call(
                    "DELETE",
                    &format!("/v1/credentials/{}", plain(&name)?),
                    Vec::new(),
                )
                .await?;
            show::line(&format!("{name}: deleted"))?;
        }
    }
    Ok(Exit::Ok)
}

async fn put(control: &Control, name: &str, bindings: Option<Bindings>) -> anyhow::Result<()> {
    let before: Vec<CredentialView> = control.get("/v1/credentials").await?;
    let before = before.into_iter().find(|it| it.name == name);
    let body = PutCredential {
        secret: read_secret()?,
        bindings,
    };
    let answer = control
        .send("PUT", &format!("/v1/credentials/{}", plain(name)?), &body)
        .await?;
    let stored: CredentialView = serde_json::from_slice(&answer)?;
    let instead = before.map(|before| format!(", in place of version {}", before.version));
    show::line(&format!(
        "{name}: version {} stored for {}{}",
        stored.version,
        stored.bindings.hosts.join(", "),
        instead.unwrap_or_default()
    ))
}

/// The secret from standard input, less one line end.
fn read_secret() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste the secret, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(SECRET_BYTES_MAX + 2)
        .read_to_string(&mut text)
        .context("read the secret from standard input")?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        bail!("standard input held no secret");
    }
    Ok(secret.to_owned())
}

fn parse_effect(text: &str) -> anyhow::Result<Effect> {
    match text.to_ascii_lowercase().as_str() {
        "read" => Ok(Effect::Read),
        "write" => Ok(Effect::Write),
        "irreversible" => Ok(Effect::Irreversible),
        _ => Err(anyhow!(
            "`{text}` is no effect: use Read, Write or Irreversible"
        )),
    }
}

/// A name that can stand in a path as it is.
fn plain(name: &str) -> anyhow::Result<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        bail!("`{name}` is no name: use letters, digits, `-`, `_` and `.`");
    }
    Ok(name)
}
