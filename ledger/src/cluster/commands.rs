//! What `actpass-ledger` does in place of serving.

use std::io::Write;
use std::sync::Arc;

use actpass_core::evidence::leaf::GapLimits;
use actpass_ledger::backup::{Until, backup, restore};
use actpass_ledger::engine::Parts;
use actpass_ledger::engine::fork::{self, Given, Request};
use actpass_ledger::heads;
use actpass_ledger::keys::read_private;
use actpass_ledger::vault::Kek;
use anyhow::Context;

use super::args::{Command, Fork};
use super::kept_in::KeptIn;
use super::{HEADS, close_to_others, keys};

/// Does it, and says what came of it on standard output.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let said = match command {
        Command::Backup { data, to } => backup(&data, &to)?.to_string(),
        Command::Restore {
            from,
            to,
            until,
            log,
        } => restore(&from, &to, until.map(|it| of(it, log)).as_ref())?.to_string(),
        Command::Fork(args) => fork(*args)?,
    };
    Ok(writeln!(std::io::stdout(), "{said}")?)
}

/// A number of leaves is of the log that was named.
fn of(until: Until, log: Option<String>) -> Until {
    match until {
        Until::Size { leaves, .. } => {
            let log = log.as_deref().map(origin);
            Until::Size { log, leaves }
        }
        time @ Until::Time(_) => time,
    }
}

fn origin(tenant: &str) -> String {
    format!("actpass/{tenant}")
}

fn fork(args: Fork) -> anyhow::Result<String> {
    let Fork {
        data,
        postgres_url,
        postgres_password_file,
        postgres_ca_file,
        log,
        all: _,
        by,
        why,
        lost,
        limits_as_logged,
        log_key,
        kek,
        yes,
    } = args;
    let kept_in = KeptIn::new(
        &data,
        postgres_url.as_deref(),
        postgres_password_file.as_deref(),
        postgres_ca_file.as_deref(),
    )?;
    close_to_others(&data)?;
    let mut given = Vec::new();
    for head in lost {
        given.extend(Given::read(&head).with_context(|| format!("the head `{head}`"))?);
    }
    let request = Request {
        log: log.as_deref().map(origin),
        by,
        why,
        lost: given,
        limits: match limits_as_logged {
            true => GapLimits::AsLogged,
            false => GapLimits::UsedUp,
        },
    };
    let known = !request.lost.is_empty() || !heads::read(&data.join(HEADS))?.is_empty();
    if postgres_url.is_none() && !known && !data.join("log/segments").is_dir() {
        anyhow::bail!(
            "there is no log in `{}`, and no head of one is kept or given",
            data.display()
        );
    }
    let seed = read_private(&log_key)?;
    let kek_file = kek;
    let log_key = keys::to_go_on_with(&seed)?;
    let parts = |write: bool, kek: Kek| -> anyhow::Result<Parts> {
        // Opened to write, the storage drops what a crash cut short, and its lock covers the vault: so that comes first, and before it the
        // vault was looked at, which may refuse.
        let storage = match postgres_url.is_some() {
            true => kept_in.storage()?,
            false => {
                let storage = fork::storage(&data.join("log"), write);
                storage.context("the log cannot be opened")?
            }
        };
        let vault = match write {
            true => kept_in.vault(kek)?,
            false => {
                let vault = kept_in.vault_to_look_at(kek)?;
                vault.check_keys()?;
                vault
            }
        };
        Ok(Parts {
            storage,
            vault: Arc::new(vault),
            log_key: log_key.clone(),
            metrics: Arc::default(),
            heads: Some(data.join(HEADS)),
        })
    };
    let mut forks = fork::plan(&mut parts(false, Kek::from_file(&kek_file)?)?, &request)?;
    if yes {
        // What a crash cut short is dropped on opening, so only where there is something to say.
        forks = fork::fork(parts(true, Kek::from_file(&kek_file)?)?, &request)?;
    }
    let mut lines: Vec<String> = forks.iter().map(ToString::to_string).collect();
    lines.push(match yes {
        true => "Logged.".to_owned(),
        false => "Nothing was logged; add --yes.".to_owned(),
    });
    Ok(lines.join("\n"))
}
