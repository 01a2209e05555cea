//! Erases texts of a namespace.

use super::args::NamespaceErase;
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use crate::commands::erase::asked;
use crate::exit::Exit;

/// Who may erase.
const ROLE: &str = "actpass-platform";

pub(super) async fn erase(
    kubectl: &Kubectl,
    args: NamespaceErase,
    json: bool,
) -> anyhow::Result<Exit> {
    let NamespaceErase { reach, of, erase } = args;
    let namespace = of.map_or_else(|| kubectl.namespace(), Ok)?;
    let ledger = Ledger::reach(kubectl, &reach, &namespace).await?;
    let path = ledger.path("/v1/erasures", "");
    let done = asked(ledger.client(), &path, erase, json).await;
    done.map_err(|error| ledger.explained(error, ROLE))
}
