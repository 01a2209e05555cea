//! A ledger's sequencer on a directory, that logs one bundle after the other and says each once it is durable, until it is
//! killed: `appender STATE BUNDLE...`.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_ledger::engine::{Engine, Parts};
use actpass_ledger::storage::SegmentStorage;
use actpass_ledger::storage::segment::{SEGMENT_BYTES_MIN, SegmentOptions};
use actpass_ledger::vault::{Kek, Vault};
use anyhow::Context;
use ed25519_dalek::SigningKey;

/// More than any test waits for, copies of a log among them: nobody leaves it running.
const BUNDLES_MAX: usize = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let state = args.next().context("no state directory")?;
    let state = Path::new(&state);
    let bundles = args.map(|file| anyhow::Ok(Arc::new(Bundle::parse(&std::fs::read(file)?)?)));
    let bundles = bundles.collect::<Result<Vec<_>, _>>()?;
    let options = SegmentOptions {
        segment_bytes: 4 * SEGMENT_BYTES_MIN,
    };
    let storage = SegmentStorage::open(&state.join("log"), options)?;
    let (kek, _) = Kek::load_or_generate(&state.join("kek"))?;
    let engine = Engine::start(Parts {
        storage: Box::new(storage),
        vault: Arc::new(Vault::open(&state.join("vault"), kek)?),
        log_key: SigningKey::from_bytes(&[7; 32]).into(),
        metrics: Arc::default(),
        heads: Some(state.join("head")),
    })?;
    for bundle in bundles.iter().cycle().take(BUNDLES_MAX) {
        let digest = bundle.digest();
        engine
            .set_bundle(bundle.clone(), None, BTreeMap::new())
            .await?;
        writeln!(stdout(), "{digest}")?;
    }
    Ok(())
}
