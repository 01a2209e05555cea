//! `actpass limits`.

use actpass_core::wire::LimitView;

use super::show::table;
use crate::control::Control;
use crate::state::StateDir;

pub(crate) async fn limits(state: &StateDir, json: bool) -> anyhow::Result<u8> {
    let control = Control::connect(state).await?;
    let limits = control.get::<Vec<LimitView>>("/v1/limits").await;
    control.close().await;
    let limits = limits?;
    if json {
        println!("{}", serde_json::to_string_pretty(&limits)?);
        return Ok(0);
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
    println!("{table}");
    Ok(0)
}
