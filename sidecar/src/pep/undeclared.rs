//! Names that were asked for and are not declared.

use std::sync::Arc;

use actpass_core::evidence::record::Refusal;
use tokio::sync::mpsc;

use super::Pep;
use crate::dns::DnsEvent;
use crate::judge::Judge;

/// Most characters of a name on the record.
const TARGET_CHARS_MAX: usize = 400;

impl Pep {
    /// Puts what was asked for and is not declared on the record, until the responder ends: a name may itself be what
    /// was to be leaked.
    pub async fn record_names(self: Arc<Self>, mut events: mpsc::Receiver<DnsEvent>) {
        while let Some(event) = events.recv().await {
            let (code, target, detail) = match event {
                DnsEvent::Undeclared { name, record_type } => (
                    "undeclared_name",
                    format!("{record_type} {name}"),
                    "No Upstream declares this name.".to_owned(),
                ),
                DnsEvent::WildcardExhausted { pattern, name } => (
                    "wildcard_exhausted",
                    name,
                    format!("All places under {pattern} are taken."),
                ),
                DnsEvent::Malformed { reason } => {
                    ("unparsable", "DNS query".to_owned(), reason.to_owned())
                }
            };
            let target = target.chars().take(TARGET_CHARS_MAX).collect();
            if code == "undeclared_name" && self.audit().is_some() {
                // It is resolved all the same.
                let code = code.to_owned();
                self.would_refuse(Refusal { code, target }, &detail);
                continue;
            }
            self.metrics().denied_name(code);
            // That it may be unrecorded is logged where it is tried; the name stays unknown.
            drop(self.refuse(
                Refusal {
                    code: code.to_owned(),
                    target,
                },
                &detail,
            ));
        }
    }
}
