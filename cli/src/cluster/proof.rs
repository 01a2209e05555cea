//! One event of a namespace, with what shows that it is in the log.

use super::args::LeafArgs;
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use crate::args::{ProofArgs, ProofFile};
use crate::exit::Exit;
use crate::single::Target;

pub(super) async fn proof(kubectl: &Kubectl, args: LeafArgs, json: bool) -> anyhow::Result<Exit> {
    let LeafArgs { reach, leaf } = args;
    let ProofArgs {
        seq,
        file: ProofFile { to, force },
    } = leaf;
    let namespace = kubectl.namespace()?;
    let target = Target::new(to, &format!("{namespace}-{seq}.tlog-proof"), force)?;
    let ledger = Ledger::reach(kubectl, &reach, &namespace).await?;
    let head = ledger.path("/v1/checkpoint", "");
    let kept = target.keep(ledger.client(), &head, seq, json).await;
    kept.map_err(|error| ledger.explained(error, "actpass-auditor"))
}
