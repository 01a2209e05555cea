//! `actpass proof`: one event, with what shows that it is in the log.

use crate::args::{ProofArgs, ProofFile};
use crate::control::Control;
use crate::exit::Exit;
use crate::single::Target;
use crate::state::StateDir;

pub(crate) async fn proof(args: ProofArgs, state: &StateDir, json: bool) -> anyhow::Result<Exit> {
    let ProofArgs {
        seq,
        file: ProofFile { to, force },
    } = args;
    let target = Target::new(to, &format!("{seq}.tlog-proof"), force)?;
    let control = Control::connect(state).await?;
    let kept = target.keep(&control, "/v1/checkpoint", seq, json).await;
    control.close().await;
    kept
}
