//! Secrets in the vault of a namespace: stored, replaced, forgotten; never shown.

use std::io::{BufRead, IsTerminal, Write};

use actpass_core::hash::{hex, sha256};
use actpass_core::upstream::Effect;
use actpass_core::wire::{Bindings, CredentialView, PutCredential};
use actpass_crds::upstream::{Effect as Declared, UpstreamSpec};
use anyhow::{Context, bail};
use serde::Deserialize;

use super::args::{CredentialsCommand, Reach, SetArgs};
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use super::objects::{List, Meta};
use crate::commands::credentials::{
    ca_digest, effects, listed, parse_effect, plain, ports, stored_line,
};
use crate::commands::secret;
use crate::commands::show;
use crate::exit::Exit;

/// Who may.
const ROLE: &str = "actpass-platform";

#[derive(Deserialize)]
struct Upstream {
    metadata: Meta,
    spec: UpstreamSpec,
}

pub(super) async fn credentials(
    kubectl: &Kubectl,
    reach: &Reach,
    command: CredentialsCommand,
    json: bool,
) -> anyhow::Result<Exit> {
    let namespace = kubectl.namespace()?;
    match command {
        CredentialsCommand::List => {
            let ledger = Ledger::reach(kubectl, reach, &namespace).await?;
            let stored: Vec<CredentialView> = get(&ledger).await?;
            if json {
                show::json(&stored)?;
            } else if stored.is_empty() {
                show::line(&format!(
                    "No credentials in the vault of namespace `{namespace}`."
                ))?;
            } else {
                show::line(&listed(stored))?;
            }
        }
        CredentialsCommand::Set(args) => return set(kubectl, reach, &namespace, args, json).await,
        CredentialsCommand::Rotate { name, from_file } => {
            let name = plain(&name)?;
            let ledger = Ledger::reach(kubectl, reach, &namespace).await?;
            let before = stored(&ledger, name).await?;
            let Some(before) = before else {
                bail!(
                    "namespace `{namespace}` has no credential `{name}`; store it first: kubectl actpass credentials set {name}"
                );
            };
            let secret = secret::read(from_file.as_deref())?;
            put(
                &ledger,
                name,
                secret.to_string(),
                None,
                Some(before.version),
                json,
            )
            .await?;
        }
        CredentialsCommand::Delete { name, yes } => {
            let name = plain(&name)?;
            let ledger = Ledger::reach(kubectl, reach, &namespace).await?;
            let what = format!(
                "Forget credential `{name}` of namespace `{namespace}`? Nothing brings it back."
            );
            if !yes && !agreed(&what, "--yes")? {
                bail!("nothing was changed");
            }
            let path = ledger.path(&format!("/v1/credentials/{name}"), "");
            let done = ledger.client().call("DELETE", &path, Vec::new()).await;
            done.map_err(|error| ledger.explained(error, ROLE))?;
            match json {
                true => show::json(&serde_json::json!({"name": name, "deleted": true}))?,
                false => show::line(&format!("{name}: deleted"))?,
            }
        }
    }
    Ok(Exit::Ok)
}

async fn set(
    kubectl: &Kubectl,
    reach: &Reach,
    namespace: &str,
    args: SetArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let SetArgs {
        name,
        from_file,
        host,
        port,
        header,
        format,
        effect,
        ca_file,
        yes,
    } = args;
    let name = plain(&name)?;
    let given = !host.is_empty();
    let bindings = match given {
        true => {
            let effects: Result<Vec<Effect>, _> =
                effect.iter().map(|text| parse_effect(text)).collect();
            let effects = effects?;
            if effects.is_empty() {
                bail!(
                    "say what it may be lent for: --effect Read, Write or Irreversible; may be repeated"
                );
            }
            Bindings {
                hosts: host,
                ports: port,
                header,
                format,
                ca_digest: ca_file.as_deref().map(ca_digest).transpose()?,
                effects,
            }
        }
        false => {
            let upstreams = upstreams(kubectl, reach)?;
            declared(name, &upstreams)?
        }
    };
    if !json {
        eprintln!("{}", bound(name, namespace, &bindings));
    }
    // What an Upstream says, whoever may write Upstreams says: so somebody looks at where the secret will go.
    if !given && !yes && !agreed("Store it for these?", "--yes, or name the hosts by --host")? {
        bail!("nothing was stored");
    }
    // Whoever may not is told before they give a secret away.
    let ledger = Ledger::reach(kubectl, reach, namespace).await?;
    let before = stored(&ledger, name).await?.map(|before| before.version);
    let secret = secret::read(from_file.as_deref())?;
    put(
        &ledger,
        name,
        secret.to_string(),
        Some(bindings),
        before,
        json,
    )
    .await?;
    Ok(Exit::Ok)
}

async fn put(
    ledger: &Ledger,
    name: &str,
    secret: String,
    bindings: Option<Bindings>,
    before: Option<u64>,
    json: bool,
) -> anyhow::Result<()> {
    let body = PutCredential { secret, bindings };
    let path = ledger.path(&format!("/v1/credentials/{name}"), "");
    let answer = ledger.client().send("PUT", &path, &body).await;
    let answer = answer.map_err(|error| ledger.explained(error, ROLE))?;
    let stored: CredentialView = serde_json::from_slice(&answer)?;
    match json {
        true => show::json(&stored),
        false => show::line(&stored_line(&stored, before)),
    }
}

async fn get(ledger: &Ledger) -> anyhow::Result<Vec<CredentialView>> {
    let stored = ledger
        .client()
        .get(&ledger.path("/v1/credentials", ""))
        .await;
    stored.map_err(|error| ledger.explained(error, ROLE))
}

async fn stored(ledger: &Ledger, name: &str) -> anyhow::Result<Option<CredentialView>> {
    let stored = get(ledger).await?;
    Ok(stored.into_iter().find(|it| it.name == name))
}

/// Those of the namespace and of the catalogue, as far as they are shown to this person.
fn upstreams(kubectl: &Kubectl, reach: &Reach) -> anyhow::Result<Vec<Upstream>> {
    const KIND: [&str; 1] = ["upstreams.actpass.org"];
    let own: List<Upstream> = kubectl.get(&KIND).context("which Upstreams name it")?;
    let catalogue: Option<List<Upstream>> = kubectl.of(&reach.system_namespace).get(&KIND).ok();
    let catalogue = catalogue.map(|list| list.items).unwrap_or_default();
    Ok(own.items.into_iter().chain(catalogue).collect())
}

/// Bindings to exactly where Upstreams send a credential.
fn declared(name: &str, upstreams: &[Upstream]) -> anyhow::Result<Bindings> {
    let mut found: Option<Bindings> = None;
    for upstream in upstreams {
        for wanted in upstream
            .spec
            .credentials
            .iter()
            .filter(|it| it.name == name)
        {
            let of = &upstream.metadata.name;
            let ca = upstream.spec.tls.ca_bundle.as_ref();
            let ca_digest = ca.map(|pem| hex(&sha256(&[pem.as_bytes()])));
            let bindings = found.get_or_insert_with(|| Bindings {
                hosts: Vec::new(),
                ports: Vec::new(),
                header: wanted.header.to_ascii_lowercase(),
                format: Some(wanted.format.clone()),
                ca_digest: ca_digest.clone(),
                effects: Vec::new(),
            });
            let same = bindings.header.eq_ignore_ascii_case(&wanted.header)
                && bindings.format.as_ref() == Some(&wanted.format)
                && bindings.ca_digest == ca_digest;
            if !same {
                bail!(
                    "Upstream `{of}` sends `{name}` otherwise than another does (header, format or CA); give it a name of its \
                     own there, or bind it yourself by --host"
                );
            }
            bindings.hosts.extend(upstream.spec.hosts.iter().cloned());
            bindings.ports.extend(&upstream.spec.ports);
            bindings.effects.extend(wanted.effects.iter().map(effect));
        }
    }
    let mut bindings = found.with_context(|| {
        format!(
            "no Upstream names a credential `{name}`, so nobody would be lent it; write the Upstream first, or bind it yourself \
             by --host and --effect"
        )
    })?;
    bindings.hosts.sort_unstable();
    bindings.hosts.dedup();
    bindings.ports.sort_unstable();
    bindings.ports.dedup();
    bindings.effects.sort_unstable();
    bindings.effects.dedup();
    Ok(bindings)
}

fn effect(declared: &Declared) -> Effect {
    match declared {
        Declared::Read => Effect::Read,
        Declared::Write => Effect::Write,
        Declared::Irreversible => Effect::Irreversible,
    }
}

/// Where a secret will go, and nowhere else.
fn bound(name: &str, namespace: &str, bindings: &Bindings) -> String {
    let format = bindings.format.as_deref().unwrap_or("as the Upstream says");
    let ca = match bindings.ca_digest {
        Some(_) => "their own",
        None => "public ones",
    };
    format!(
        "Credential `{name}` of namespace `{namespace}` is lent to nobody but\n  hosts    {}\n  ports    {}\n  header   {}: {}\n  \
         for      {}\n  CA       {ca}",
        show::escaped(&bindings.hosts.join(", ")),
        ports(bindings),
        show::escaped(&bindings.header),
        show::escaped(format),
        effects(bindings),
    )
}

/// Asks at the terminal; without one nobody is there to ask.
fn agreed(question: &str, instead: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on; give {instead}");
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upstream(name: &str, host: &str, header: &str, effects: &[&str]) -> Upstream {
        let spec = json!({
            "hosts": [host],
            "credentials": [{"name": "key", "header": header, "format": "Bearer {secret}", "effects": effects}],
        });
        Upstream {
            metadata: Meta {
                name: name.to_owned(),
                ..Meta::default()
            },
            spec: serde_json::from_value(spec).unwrap(),
        }
    }

    #[test]
    fn a_credential_is_bound_to_where_upstreams_send_it() {
        struct Case {
            name: &'static str,
            given: Vec<Upstream>,
            want: Option<(&'static str, &'static str)>,
        }
        let cases = [
            Case {
                name: "one",
                given: vec![upstream("a", "a.example", "Authorization", &["Write"])],
                want: Some(("a.example", "Write")),
            },
            Case {
                name: "two that send it alike",
                given: vec![
                    upstream("b", "b.example", "authorization", &["Write"]),
                    upstream("a", "a.example", "Authorization", &["Read", "Write"]),
                ],
                want: Some(("a.example,b.example", "Read,Write")),
            },
            Case {
                name: "two that do not",
                given: vec![
                    upstream("a", "a.example", "Authorization", &["Write"]),
                    upstream("b", "b.example", "X-Api-Key", &["Write"]),
                ],
                want: None,
            },
            Case {
                name: "none",
                given: Vec::new(),
                want: None,
            },
        ];
        for Case { name, given, want } in cases {
            let found = declared("key", &given).ok();
            let found = found.map(|it| (it.hosts.join(","), effects(&it)));
            let want = want.map(|(hosts, effects)| (hosts.to_owned(), effects.to_owned()));
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn what_a_secret_is_bound_to_is_shown_before_it_is_given() {
        let bindings = declared(
            "key",
            &[upstream("a", "a.example", "Authorization", &["Write"])],
        );
        insta::assert_snapshot!(bound("key", "shop", &bindings.unwrap()), @r"
        Credential `key` of namespace `shop` is lent to nobody but
          hosts    a.example
          ports    443
          header   authorization: Bearer {secret}
          for      Write
          CA       public ones
        ");
    }
}
