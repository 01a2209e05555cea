//! The log of a namespace as a file, and whether it verifies.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use actpass_core::evidence::receipt::KeptHead;
use actpass_core::pod::contract::LEDGER_KEYS_FILE;
use actpass_core::succession::Succession;
use actpass_crds::evidence_log::EvidenceLogStatus;
use actpass_ledger::disclosure::{Leaves, Tally};
use actpass_ledger::export::First;
use actpass_ledger::offline::{LogKey, verify_export};
use anyhow::{Context, bail};
use serde::Deserialize;

use super::args::{ExportArgs, VerifyArgs};
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use crate::commands::export::said as said_of;
use crate::commands::show;
use crate::commands::verify::known::Elsewhere;
use crate::commands::verify::saving::Saving;
use crate::commands::verify::{said, watched};
use crate::exit::Exit;
use crate::progress::Progress;

/// Name of the one EvidenceLog of a namespace.
const EVIDENCE_LOG: &str = "evidence";

#[derive(Deserialize)]
struct EvidenceLog {
    #[serde(default)]
    status: EvidenceLogStatus,
}

pub(super) async fn export(
    kubectl: &Kubectl,
    args: ExportArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let ExportArgs {
        reach,
        of,
        to,
        disclose,
        force,
    } = args;
    let namespace = of.map_or_else(|| kubectl.namespace(), Ok)?;
    let to = to.unwrap_or_else(|| PathBuf::from(format!("{namespace}.actpass.jsonl")));
    if to.exists() && !force {
        bail!(
            "`{}` is there already; name another file, or add --force",
            to.display()
        );
    }
    let ledger = Ledger::reach(kubectl, &reach, &namespace).await?;
    let mut disclosed = disclose.as_ref().map(Tally::new);
    let asked = disclose.as_ref().zip(disclosed.as_mut());
    let first = kept(&ledger, &to, asked).await?;
    said_of(&first, &to, disclosed.as_ref(), json)?;
    Ok(Exit::Ok)
}

pub(super) async fn verify(
    kubectl: &Kubectl,
    args: VerifyArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let VerifyArgs {
        reach,
        of,
        keep,
        anchor,
        key,
        save_anchor,
    } = args;
    let saving = save_anchor.as_deref().map(Saving::open).transpose()?;
    let namespace = of.map_or_else(|| kubectl.namespace(), Ok)?;
    // What was seen before the log is read has to be in it.
    let seen = seen(&kubectl.of(&namespace));
    let ledger = Ledger::reach(kubectl, &reach, &namespace).await?;
    let dir = tempfile::tempdir()?;
    let file = keep.clone().unwrap_or_else(|| dir.path().join("log.jsonl"));
    kept(&ledger, &file, None).await?;
    let keys = ledger
        .trust
        .get(LEDGER_KEYS_FILE)
        .map_or("", String::as_str);
    let keys = keys.parse::<Succession>();
    let keys = keys.context("the ledger's keys in ConfigMap `actpass-trust`")?;
    let keys = signing(&keys);
    if keys.is_empty() && key.is_none() {
        bail!(
            "ConfigMap `actpass-trust` names no key of the ledger yet; is the controller running?"
        );
    }
    let mut elsewhere = Elsewhere::of_cluster(keys, seen.iter().cloned().collect());
    elsewhere.add(&anchor, key.as_deref())?;
    let verified = watched(&elsewhere, saving.as_ref(), None, |known| {
        verify_export(&file, known)
    })?;
    let exit = said(&verified, &elsewhere, saving.as_ref(), json)?;
    if !json {
        show::line(&proof(&seen, key.is_some(), keep.as_deref()))?;
    }
    Ok(exit)
}

/// The keys with which the newest checkpoint of a log may be signed, the newest first. One that has ended is none of them: each log has left it by then,
/// and to what it signed before lead the log's own leaves.
fn signing(keys: &Succession) -> Vec<LogKey> {
    let mut keys: Vec<LogKey> = keys.believed().copied().map(LogKey::Public).collect();
    keys.reverse();
    keys
}

/// What the verification rests on, and what it cannot show.
fn proof(seen: &Option<(String, KeptHead)>, key_given: bool, keep: Option<&Path>) -> String {
    let key = match key_given {
        true => "the key that you gave",
        false => "the key that this cluster publishes in ConfigMap `actpass-trust`",
    };
    let head = match seen {
        Some((_, head)) => format!(
            " and the {} leaves that its controller saw (EvidenceLog `{EVIDENCE_LOG}`)",
            head.size
        ),
        None => "; no EvidenceLog says yet what its controller saw".to_owned(),
    };
    let file = keep.map_or("FILE".to_owned(), |keep| keep.display().to_string());
    let export = match keep {
        Some(_) => "",
        None => "export it, and ",
    };
    format!(
        "\nHeld against {key}{head}.\nThat shows what was changed behind the ledger's back, or cut off since the controller \
         looked. It does not show what whoever rules this cluster\nwould hide, keys included: {export}verify it elsewhere, \
         with a key and an anchor that you noted earlier:\n  actpass verify {file} --key KEY --anchor ANCHOR"
    )
}

/// Keeps the log in a file, which appears whole or not at all; with the texts of these leaves, and counts them.
pub(super) async fn kept(
    ledger: &Ledger,
    to: &Path,
    disclose: Option<(&Leaves, &mut Tally<'_>)>,
) -> anyhow::Result<First> {
    let (more, role) = match &disclose {
        Some((leaves, _)) => (format!("&disclose={leaves}"), "actpass-disclosure"),
        None => (String::new(), "actpass-auditor"),
    };
    let mut disclosed = disclose.map(|(_, tally)| tally);
    let path = ledger.path("/v1/export", &more);
    let asked = ledger.client().ask("GET", &path, Vec::new()).await;
    let mut answer = asked.map_err(|error| ledger.explained(error, role))?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    let failed = || format!("write `{}`", to.display());
    let part =
        tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new("."))).with_context(failed)?;
    let mut file = BufWriter::new(part.as_file());
    let mut first: Option<First> = None;
    let (progress, mut leaves) = (Progress::new(), 0_u64);
    while let Some(line) = answer.line().await? {
        file.write_all(&line).with_context(failed)?;
        if let Some(tally) = disclosed.as_mut().filter(|_| first.is_some()) {
            tally.line(&line);
        }
        match &first {
            None => {
                let read = serde_json::from_slice(&line);
                first = Some(read.context("the ledger's answer is not understood")?);
            }
            Some(_)
                if [&b"{\"blob\""[..], b"{\"disclosed\""]
                    .iter()
                    .any(|it| line.starts_with(it)) => {}
            Some(first) => {
                leaves = leaves.saturating_add(1);
                progress.at(leaves, first.leaves);
            }
        }
    }
    file.flush().with_context(failed)?;
    drop(file);
    drop(progress);
    let first = first.context("the ledger's answer is empty")?;
    part.as_file().sync_all().with_context(failed)?;
    let file: Result<File, _> = part.persist(to);
    file.with_context(failed)?;
    Ok(first)
}

/// The head that the controller saw last, with the name of its log.
fn seen(kubectl: &Kubectl) -> Option<(String, KeptHead)> {
    let log: EvidenceLog = kubectl
        .get(&["evidencelogs.actpass.org", EVIDENCE_LOG])
        .ok()?;
    let EvidenceLogStatus {
        origin, size, root, ..
    } = log.status;
    let head = KeptHead {
        size: u64::try_from(size?).ok()?,
        root: root?.parse().ok()?,
    };
    Some((origin?, head))
}

#[cfg(test)]
mod tests {
    use actpass_core::hash::b64u_encode;
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_log_is_held_against_the_newest_key_first_and_against_none_that_has_ended() {
        let keys = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let [one, two, three] = keys.map(|key| b64u_encode(key.as_bytes()));
        let list = format!("{one} ended\n{two}\n{three} from=2026-05-04T12:00:00Z");
        let want = [keys[2], keys[1]].map(LogKey::Public);
        assert_eq!(signing(&list.parse().unwrap()), want);
    }
}
