//! How long the webhook took over its reviews, as its own histogram tells.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::api::Cluster;

/// The bucket that the budget speaks of, as its label reads.
const BUDGET: &str = "le=\"0.02\"";

/// Reviews by path: answered, and within the budget.
#[derive(Default)]
pub(super) struct Reviews(BTreeMap<String, (u64, u64)>);

/// What all replicas of the webhook answered since they started.
pub(super) async fn seen(cluster: &Cluster) -> anyhow::Result<Reviews> {
    let mut reviews = Reviews::default();
    let pods = cluster.pods("webhook").await?;
    ensure!(!pods.is_empty(), "no webhook runs");
    for (name, _) in pods {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics",
            cluster.install()
        );
        reviews.add(&cluster.text(&path).await?);
    }
    Ok(reviews)
}

impl Reviews {
    fn add(&mut self, metrics: &str) {
        for line in metrics.lines() {
            let Some(rest) = line.strip_prefix("actpass_webhook_review_seconds_") else {
                continue;
            };
            let path = rest.split("path=\"").nth(1);
            let path = path.and_then(|rest| rest.split('"').next());
            let count = line.rsplit(' ').next();
            let count: Option<u64> = count.and_then(|count| count.parse().ok());
            let (Some(path), Some(count)) = (path, count) else {
                continue;
            };
            let (answered, within) = self.0.entry(path.to_owned()).or_default();
            if rest.starts_with("count") {
                *answered += count;
            } else if rest.starts_with("bucket") && rest.contains(BUDGET) {
                *within += count;
            }
        }
    }

    /// What came after `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (path, (answered, within)) in &mut self.0 {
            let (had, had_within) = before.0.get(path).copied().unwrap_or_default();
            *answered = answered.saturating_sub(had);
            *within = within.saturating_sub(had_within);
        }
        self
    }

    /// Path, answered, within the budget; without those that were not asked.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let rows = self.0.iter();
        rows.map(|(path, (answered, within))| (path.as_str(), *answered, *within))
            .filter(|(_, answered, _)| *answered > 0)
    }
}
