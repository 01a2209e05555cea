//! What the record has to say of all that an agent sent.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::Value;

use super::HOST;

/// A bad request that was refused.
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    /// `STREAM/SEQ`, where the answer names it.
    pub(crate) evidence: Option<String>,
    /// Why; none where HTTP/2 ended it before it was a request.
    pub(crate) reason: Option<String>,
}

/// What became of all.
#[derive(Default)]
pub struct Seen {
    pub(crate) refused: Vec<Refusal>,
    /// Methods of the requests that arrived, and lengths of their bodies.
    pub(crate) arrived: Vec<(String, u64)>,
}

impl Seen {
    /// Whether the records say of each refusal that it was one, and why, and of each request that arrived that it was to.
    ///
    /// # Errors
    /// Where they do not, or not yet.
    pub fn on_the_record(&self, records: &[Value]) -> anyhow::Result<()> {
        says_of_refusals(records, &self.refused)?;
        says_of_arrivals(records, &self.arrived)
    }
}

/// The reason why a connection ends that does not speak HTTP.
pub(crate) const NOT_HTTP: &str = "unparsable";

/// Each refusal is there once, for its reason.
fn says_of_refusals(records: &[Value], refused: &[Refusal]) -> anyhow::Result<()> {
    let denials = || records.iter().filter(|it| it["body"]["verdict"] == "deny");
    let reasons: BTreeMap<String, &Value> = denials()
        .map(|it| (evidence(it, &it["seq"]), &it["body"]["reason"]))
        .collect();
    for Refusal {
        name,
        evidence,
        reason,
    } in refused
    {
        if let Some(evidence) = evidence {
            let found = reasons.get(evidence).and_then(|it| it.as_str());
            ensure!(found == reason.as_deref(), "{name}: its record: {found:?}");
        }
    }
    // Equal denials within ten seconds are one record with a count.
    let counted = |it: &Value| it["body"]["count"].as_u64().unwrap_or(1);
    let target = format!("HTTP to {HOST}:443");
    let not_http = denials()
        .filter(|it| it["body"]["refusal"]["target"] == target && it["body"]["reason"] == NOT_HTTP);
    let is_no_http = |it: &Refusal| it.evidence.is_none() && it.reason.as_deref() == Some(NOT_HTTP);
    let found = not_http.map(counted).sum::<u64>();
    let want = count(refused, is_no_http);
    ensure!(found == want, "{found} of {want} that are no HTTP");
    let found = denials().map(counted).sum::<u64>();
    let want = count(refused, |it| it.reason.is_some());
    ensure!(found == want, "{found} of {want} denials");
    Ok(())
}

/// All that arrived was permitted, and what was permitted and answered arrived: by method and length of the body.
fn says_of_arrivals(records: &[Value], arrived: &[(String, u64)]) -> anyhow::Result<()> {
    let by_evidence: BTreeMap<String, &Value> = records
        .iter()
        .map(|it| (evidence(it, &it["seq"]), &it["body"]["action"]))
        .collect();
    let ended = records
        .iter()
        .filter(|it| it["body"]["result"].is_string() && it["body"]["of"].is_u64());
    let actions = ended.filter_map(|it| by_evidence.get(&evidence(it, &it["body"]["of"])));
    let mut told: Vec<(String, u64)> = actions
        .map(|it| {
            let method = it["method"].as_str().unwrap_or_default();
            (method.to_owned(), it["body_bytes"].as_u64().unwrap_or(0))
        })
        .collect();
    let mut arrived = arrived.to_vec();
    told.sort_unstable();
    arrived.sort_unstable();
    ensure!(told == arrived, "permitted {told:?}, arrived {arrived:?}");
    Ok(())
}

fn evidence(record: &Value, seq: &Value) -> String {
    format!("{}/{seq}", record["stream"].as_str().unwrap_or_default())
}

fn count(refused: &[Refusal], which: impl Fn(&Refusal) -> bool) -> u64 {
    let count = refused.iter().filter(|it| which(it)).count();
    count.try_into().unwrap_or(u64::MAX)
}
