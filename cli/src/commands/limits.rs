//! `actpass limits`.

use actpass_core::wire::LimitView;

use super::show::{self, table};
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) async fn limits(state: &StateDir, json: bool) -> anyhow::Result<Exit> {
    let control = Control::connect(state).await?;
    let limits = control.get::<Vec<LimitView>>("/v1/limits").await;
    control.close().await;
    let limits = limits?;
    if json {
        show::json(&limits)?;
        return Ok(Exit::Ok);
    }
    let mut table = table(&[
        "PASSPORT", "METER", "UNIT", "USED", "LEFT", "MAX", "WINDOW", "FREES",
    ]);
    for limit in limits {
        let frees = limit.frees_at.unwrap_or_default();
        table.add_row([
            limit.passport,
            limit.meter,
            limit.unit,
            limit.used,
            limit.left,
            limit.max,
            limit.window,
            frees,
        ]);
    }
    show::line(&table.to_string())?;
    Ok(Exit::Ok)
}
