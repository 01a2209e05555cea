//! Intents: what only the ledger can permit.

use std::time::Duration;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::decide::{Decision, Permitted};
use actpass_core::evidence::leaf::{Leaf, Ruling, RulingApproval, RulingVerdict};
use actpass_core::upstream::{ErrorStyle, Upstream};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;

use super::held::Stands;
use super::{Pep, StalePolicy, denial, sealed};
use crate::credential::Credential;
use crate::judge::{Denial, DenialKind, Judgement, Permit, Received};
use crate::ledger_client::ANSWER_TIMEOUT;
use crate::shipper::{IntentAnswer, Unused};

/// Longest time a request is held open for people: below the common client time-out of 60 s.
const HOLD_MAX: Duration = Duration::from_secs(55);

/// What people are asked about a request.
struct Question {
    id: String,
    /// Until when it stands; unknown where the ledger does not say.
    expires: Option<String>,
    /// How long the request is kept open for their answer.
    hold: Duration,
}

/// A question as the ledger shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    expires: String,
    hold_seconds: u32,
}

impl Pep {
    /// Asks the ledger; a permit comes back only with a receipt that checks.
    pub(super) async fn ask_ledger(
        &self,
        bundle: &Bundle,
        upstream: &Upstream,
        action: Action,
        decision: &Decision,
        received: &Received,
    ) -> Result<Judgement, StalePolicy> {
        let mut hold_until = None;
        let mut action = action;
        loop {
            let (seq, answer) = match self.intent(bundle, upstream, &action, decision).await {
                Ok(answered) => answered,
                Err(no) => return Ok(self.deny(no)),
            };
            // A permit's leaf is read where its proof is checked.
            if answer.line.verdict == RulingVerdict::Permit {
                return Ok(self.permit(bundle, upstream, action, seq, answer).await);
            }
            let ruling = match ruling_of(&answer) {
                Some(ruling) => ruling,
                None => return Ok(self.deny(unclear(upstream.error_style))),
            };
            match ruling.verdict {
                RulingVerdict::Escalate => {
                    let asked = self.asked(upstream, &action, seq, &ruling, received).await;
                    let (question, no) = match asked {
                        Ok(asked) => asked,
                        Err(no) => return Ok(self.deny(no)),
                    };
                    let until = *hold_until.get_or_insert_with(|| Instant::now() + question.hold);
                    if !self.granted_before(&question.id, until).await {
                        return Ok(self.deny(no));
                    }
                }
                RulingVerdict::Deny if ruling.reason.as_deref() == Some("stale_policy") => {
                    return Err(StalePolicy);
                }
                // The line says another verdict than its leaf: an answer that contradicts itself permits nothing.
                RulingVerdict::Permit => return Ok(self.deny(unclear(upstream.error_style))),
                RulingVerdict::Deny | RulingVerdict::Recorded => {
                    return Ok(self.deny(self.denied(upstream, &action, seq, &ruling)));
                }
            }
            // People said yes while the agent waited: decided again, now with their grant.
            action = action.clone();
        }
    }

    async fn intent(
        &self,
        bundle: &Bundle,
        upstream: &Upstream,
        action: &Action,
        decision: &Decision,
    ) -> Result<(u64, IntentAnswer), Denial> {
        let style = upstream.error_style;
        let request = self.judged(bundle, Some(action), decision);
        let kept = self.recorder.intent(request.judged, &request.openings);
        let (seq, answer) =
            kept.map_err(|error| self.not_recorded(bundle.digest(), action, &error, style))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok((seq, answer)),
            Ok(Err(_)) | Err(_) => {
                let why = self.recorder.why_away();
                let why = why.unwrap_or_else(|| "the ledger does not answer".to_owned());
                let detail = format!(
                    "Denied: {why}, and nothing that changes something runs without it. Try again in a moment."
                );
                let evidence = Some(self.evidence(seq));
                let kind = DenialKind::Busy;
                Err(Denial {
                    evidence,
                    kind,
                    ..denial("ledger_unavailable", detail, style)
                })
            }
        }
    }

    async fn permit(
        &self,
        bundle: &Bundle,
        upstream: &Upstream,
        action: Action,
        seq: u64,
        mut answer: IntentAnswer,
    ) -> Judgement {
        let style = upstream.error_style;
        // Dropped on the way, with the request, it goes back as not sent.
        let unused = answer.unused.take();
        let checked = answer
            .head
            .permit(&answer.record, &action, &answer.line, Timestamp::now());
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(%error, seq, "A permit's receipt does not hold");
                return self.give_back(
                    unused,
                    seq,
                    denial("bad_receipt", format!("Denied: {error}."), style),
                );
            }
        };
        let credential = match self.lent(upstream, &action, seq, &answer).await {
            Ok(credential) => credential,
            Err(detail) => {
                return self.give_back(
                    unused,
                    seq,
                    denial("credential_unavailable", detail, style),
                );
            }
        };
        let Some(route) = self.route_of(bundle, &upstream.name) else {
            let detail = "Denied: the upstream's declaration cannot be used.".to_owned();
            return self.give_back(unused, seq, denial("no_route", detail, style));
        };
        match Permitted::write(action, &checked) {
            Ok(permitted) => {
                if let Some(unused) = unused {
                    unused.take();
                }
                let evidence = Some(self.evidence(seq));
                Judgement::Permit(Box::new(Permit {
                    permitted,
                    of: seq,
                    route,
                    credential,
                    evidence,
                }))
            }
            Err(_) => self.give_back(unused, seq, unclear(style)),
        }
    }

    /// A permit that will not be used: its reservation and approval go back.
    fn give_back(&self, unused: Option<Unused>, seq: u64, no: Denial) -> Judgement {
        if let Some(unused) = unused {
            unused.give_back(no.detail.clone());
        }
        let evidence = Some(self.evidence(seq));
        self.deny(Denial { evidence, ..no })
    }

    async fn lent(
        &self,
        upstream: &Upstream,
        action: &Action,
        seq: u64,
        answer: &IntentAnswer,
    ) -> Result<Option<Credential>, String> {
        let Some(wanted) = upstream.credential_for(action.effect) else {
            return Ok(None);
        };
        let released;
        let secret = match &answer.line.secret {
            Some(secret) => secret,
            // The answer that held it was lost on the way.
            None => {
                released = self
                    .client
                    .credential(seq)
                    .await
                    .map_err(|error| format!("Denied: {error}."))?
                    .secret;
                &released
            }
        };
        Credential::new(&wanted.header, &wanted.format, secret)
            .map(Some)
            .map_err(|error| format!("Denied: credential `{}` {error}.", wanted.name))
    }

    /// Seals the request, so that people may see the question.
    async fn asked(
        &self,
        upstream: &Upstream,
        action: &Action,
        seq: u64,
        ruling: &Ruling,
        received: &Received,
    ) -> Result<(Question, Denial), Denial> {
        let style = upstream.error_style;
        let question = match &ruling.approval {
            Some(RulingApproval::Asked {
                id,
                expires,
                needed,
                ..
            }) => Question {
                id: id.clone(),
                expires: Some(actpass_core::canonical::instant(*expires)),
                hold: hold(needed.hold_seconds()),
            },
            Some(RulingApproval::Pending { id }) => self.asked_before(id).await,
            _ => return Err(unclear(style)),
        };
        let id = &question.id;
        let packed = sealed::pack(received).ok_or_else(|| unclear(style))?;
        if let Err(error) = self.client.seal(seq, packed).await {
            return Err(denial(
                "not_sealed",
                format!("Denied: the request cannot be kept for people: {error}."),
                style,
            ));
        }
        let detail = format!(
            "{} needs a person's approval ({id}). Ask for it, then repeat the identical call or POST \
             http://actpass.internal/v1/approvals/{id}/execute.",
            action.capability
        );
        let kind = DenialKind::ApprovalRequired {
            approval: id.clone(),
            expires: question.expires.clone(),
        };
        let rules = ruling.rules.iter().map(ToString::to_string).collect();
        let evidence = Some(self.evidence(seq));
        Ok((
            question,
            Denial {
                kind,
                rules,
                evidence,
                ..denial("approval_required", detail, style)
            },
        ))
    }

    /// What an equal request asked already. Without the ledger's word nothing is waited for.
    async fn asked_before(&self, id: &str) -> Question {
        let standing = self.client.approval(id).await.ok();
        let standing: Option<Standing> =
            standing.and_then(|answer| serde_json::from_slice(&answer).ok());
        let (expires, seconds) = match standing {
            Some(standing) => (Some(standing.expires), standing.hold_seconds),
            None => (None, 0),
        };
        Question {
            id: id.to_owned(),
            expires,
            hold: hold(seconds),
        }
    }

    async fn granted_before(&self, id: &str, until: Instant) -> bool {
        let look = || async {
            match self.client.approval(id).await {
                Ok(state) if contains_state(&state, "granted") => Stands::Granted,
                Ok(state)
                    if !contains_state(&state, "pending") && !contains_state(&state, "sealing") =>
                {
                    Stands::Over
                }
                Ok(_) | Err(_) => Stands::Open,
            }
        };
        self.held.granted(id, until, look).await
    }

    fn denied(&self, upstream: &Upstream, action: &Action, seq: u64, ruling: &Ruling) -> Denial {
        let detail = ruling
            .detail
            .clone()
            .unwrap_or_else(|| "The ledger denies this.".to_owned());
        let code = ruling.reason.clone().unwrap_or_else(|| "denied".to_owned());
        tracing::info!(capability = %action.capability, %code, detail, "Action refused");
        Denial {
            kind: DenialKind::Denied,
            code: code.into(),
            detail: format!("{}: {detail}", action.capability),
            rules: ruling.rules.iter().map(ToString::to_string).collect(),
            evidence: Some(self.evidence(seq)),
            style: upstream.error_style,
        }
    }
}

fn ruling_of(answer: &IntentAnswer) -> Option<Ruling> {
    let leaf = Leaf::parse(answer.line.leaf.as_bytes()).ok()?;
    let (record, ruling) = leaf.record()?;
    (record.canonical().ok()?.as_slice() == answer.record.as_ref()).then(|| ruling.clone())
}

fn hold(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds)).min(HOLD_MAX)
}

fn contains_state(answer: &[u8], state: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(answer)
        .is_ok_and(|answer| answer.get("state").is_some_and(|it| it == state))
}

fn unclear(style: ErrorStyle) -> Denial {
    denial(
        "unclear_answer",
        "Denied: the ledger's answer is not for this action.".to_owned(),
        style,
    )
}
