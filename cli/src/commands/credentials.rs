//! `actpass credentials`: values come from standard input and never leave again.

use actpass_core::hash::{hex, sha256};
use actpass_core::upstream::Effect;
use actpass_core::wire::{Bindings, CredentialView, PutCredential};
use anyhow::{Context, anyhow, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::secret;
use super::show::{self, table};
use crate::args::CredentialsCommand;
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

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
            show::line(&listed(stored))?;
        }
        CredentialsCommand::Put {
            name,
            host,
            port,
            header,
            effect,
            ca_file,
        } => {
            let ca_digest = ca_file.as_deref().map(ca_digest).transpose()?;
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

/// Names, versions and bindings as a table.
pub(crate) fn listed(stored: Vec<CredentialView>) -> String {
    let mut table = table(&[
        "NAME", "VERSION", "HOSTS", "PORTS", "HEADER", "EFFECTS", "CREATED",
    ]);
    for it in stored {
        let created = actpass_core::canonical::instant(it.created);
        table.add_row([
            it.name,
            it.version.to_string(),
            it.bindings.hosts.join(","),
            ports(&it.bindings),
            it.bindings.header.clone(),
            effects(&it.bindings),
            created,
        ]);
    }
    table.to_string()
}

/// The ports of bindings, in one word.
pub(crate) fn ports(bindings: &Bindings) -> String {
    let ports: Vec<String> = bindings.ports.iter().map(u16::to_string).collect();
    ports.join(",")
}

/// The effects of bindings, in one word.
pub(crate) fn effects(bindings: &Bindings) -> String {
    let effects = bindings.effects.iter();
    let effects: Vec<String> = effects.map(|effect| format!("{effect:?}")).collect();
    effects.join(",")
}

/// What became of a secret that was stored.
pub(crate) fn stored_line(stored: &CredentialView, before: Option<u64>) -> String {
    let instead = before.map(|before| format!(", in place of version {before}"));
    format!(
        "{}: version {} stored for {}{}",
        stored.name,
        stored.version,
        stored.bindings.hosts.join(", "),
        instead.unwrap_or_default()
    )
}

/// The digest of a file with an upstream's own CA, as bindings have it.
pub(crate) fn ca_digest(path: &std::path::Path) -> anyhow::Result<String> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| format!("read `{shown}`"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    if !certificates.is_ok_and(|them| !them.is_empty()) {
        bail!("`{shown}` holds no certificate in PEM form");
    }
    Ok(hex(&sha256(&[&pem])))
}

async fn put(control: &Control, name: &str, bindings: Option<Bindings>) -> anyhow::Result<()> {
    let before: Vec<CredentialView> = control.get("/v1/credentials").await?;
    let before = before.into_iter().find(|it| it.name == name);
    let body = PutCredential {
        secret: secret::read(None)?.to_string(),
        bindings,
    };
    let answer = control
        .send("PUT", &format!("/v1/credentials/{}", plain(name)?), &body)
        .await?;
    let stored: CredentialView = serde_json::from_slice(&answer)?;
    show::line(&stored_line(&stored, before.map(|before| before.version)))
}

pub(crate) fn parse_effect(text: &str) -> anyhow::Result<Effect> {
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
pub(crate) fn plain(name: &str) -> anyhow::Result<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        bail!("`{name}` is no name: use letters, digits, `-`, `_` and `.`");
    }
    Ok(name)
}
