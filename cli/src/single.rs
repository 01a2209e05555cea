//! The proof of one event, kept as a file: a C2SP `tlog-proof` with the leaf in it, which any reader of that format can check.

use std::path::PathBuf;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteVerifier};
use actpass_core::evidence::leaf::Leaf;
use actpass_core::evidence::proof::{TlogProof, logged};
use actpass_core::path::encoded_segment;
use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::json;

use crate::client::{Client, Refused};
use crate::commands::show::{self, escaped};
use crate::exit::Exit;
use crate::state::write_private;

/// Where a proof goes.
pub(crate) struct Target {
    file: PathBuf,
}

/// What the ledger says of its newest head.
#[derive(Deserialize)]
struct Newest {
    checkpoint: String,
    key: String,
}

impl Target {
    /// The file that was named, or `usual`.
    ///
    /// # Errors
    /// Where it is there already, unless it may be replaced.
    pub(crate) fn new(named: Option<PathBuf>, usual: &str, force: bool) -> anyhow::Result<Self> {
        let file = named.unwrap_or_else(|| PathBuf::from(usual));
        if file.exists() && !force {
            bail!(
                "`{}` is there already; name another file, or add --force",
                file.display()
            );
        }
        Ok(Self { file })
    }

    /// Asks for the proof of leaf `seq`, holds it against the ledger's own key, keeps it and says so. `head` is the path by which the
    /// ledger is asked for its newest checkpoint, which says whose log it is.
    ///
    /// # Errors
    /// Where there is no such leaf, or what comes is no proof of it: then nothing is kept.
    pub(crate) async fn keep(
        &self,
        client: &Client,
        head: &str,
        seq: u64,
        json: bool,
    ) -> anyhow::Result<Exit> {
        let Newest { checkpoint, key } = client.get(head).await?;
        let verifier = NoteVerifier::from_vkey(&key).context("the ledger's key")?;
        let head = Checkpoint::verify(&checkpoint, &verifier).context("the ledger's checkpoint")?;
        let tenant = head.origin.strip_prefix("actpass/");
        let tenant = encoded_segment(tenant.unwrap_or(&head.origin));
        let asked = client
            .call("GET", &format!("/v1/logs/{tenant}/proof/{seq}"), Vec::new())
            .await;
        let text = asked.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == http::StatusCode::NOT_FOUND && seq >= head.size => {
                anyhow!(
                    "leaf {seq} is not there: log {} has {} leaves, counted from 0",
                    escaped(&head.origin),
                    head.size
                )
            }
            _ => error,
        })?;
        let text = String::from_utf8(text.into()).context("the proof is no text")?;
        let proof: TlogProof = text.parse().context("the ledger's proof")?;
        anyhow::ensure!(
            proof.index == seq,
            "the ledger's proof is of leaf {}",
            proof.index
        );
        let (head, _) = checked(&proof, &verifier).context("the ledger's proof does not hold")?;
        write_private(&self.file, &text)?;
        let file = self.file.display();
        match json {
            true => show::json(
                &json!({"file": self.file, "log": head.origin, "leaf": seq, "leaves": head.size, "key": key}),
            )?,
            false => show::line(&format!(
                "Leaf {seq} of log {}, in its tree of {} leaves, signed by key {}. Proof: {file}\n\
                 Check it anywhere: actpass verify {file} --key KEY, with the log's key from where you noted it",
                escaped(&head.origin),
                head.size,
                verifier.id(),
            ))?,
        }
        Ok(Exit::Ok)
    }
}

/// The head and the leaf, where the proof shows that the leaf in it is in that log.
///
/// # Errors
/// What does not hold.
pub(crate) fn checked(
    proof: &TlogProof,
    verifier: &NoteVerifier,
) -> anyhow::Result<(Checkpoint, Leaf)> {
    let leaf = proof.extra.as_deref();
    let leaf = leaf.context("the proof does not hold its leaf")?;
    let (index, path) = (proof.index, proof.path.as_slice());
    Ok(logged(leaf, index, path, &proof.checkpoint, verifier)?)
}
