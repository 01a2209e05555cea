//! What the agent may ask of ActPass itself.

use actpass_core::decide::{Verdict, decide};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::{NO_PASSPORT, Pep, denial, sealed};
use crate::extract::{PlanStep, Principal, extract_step};
use crate::judge::{BoxFuture, Internal, InternalAnswer, Judgement, Redeemed};
use crate::ledger_client::LedgerError;
use crate::session::SessionError;
use actpass_core::upstream::ErrorStyle;

/// Most steps of a plan.
const PLAN_STEPS_MAX: usize = 64;

impl Internal for Pep {
    fn passport(&self) -> BoxFuture<'_, InternalAnswer> {
        let bundle = self.session.bundle();
        let answer = match Pep::passport(self, &bundle) {
            Ok(passport) => answer(
                StatusCode::OK,
                &json!({
                    "agent": passport.agent_id, "passport": passport.name, "purpose": passport.purpose,
                    "scope": passport.scope, "limits": passport.limits, "environment": bundle.spec().environment,
                    "containment": self.containment,
                }),
            ),
            Err(error) => no_passport(&error),
        };
        Box::pin(std::future::ready(answer))
    }

    fn preflight(&self, plan: Bytes) -> BoxFuture<'_, InternalAnswer> {
        Box::pin(std::future::ready(self.preflight_now(&plan)))
    }

    fn approval<'a>(&'a self, id: &'a str) -> BoxFuture<'a, InternalAnswer> {
        Box::pin(async move {
            match self.client.approval(id).await {
                Ok(json) => InternalAnswer {
                    status: StatusCode::OK,
                    json: json.to_vec(),
                },
                Err(LedgerError::Refused(refused)) => {
                    problem(StatusCode::NOT_FOUND, "not_found", &refused.detail)
                }
                Err(error) => problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ledger_unavailable",
                    &error.to_string(),
                ),
            }
        })
    }

    fn redeem<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Redeemed> {
        Box::pin(async move {
            let no = |code, detail: String| {
                Redeemed::Deny(Box::new(denial(code, detail, ErrorStyle::Problem)))
            };
            // A question that was answered and is over is not asked again by asking for its answer again.
            match self.client.approval(id).await {
                Ok(state) => {
                    if let Some((code, why)) = over(&state) {
                        return no(code, format!("Denied: approval {id} {why}."));
                    }
                }
                Err(error) => return no("not_found", format!("Denied: {error}.")),
            }
            let bytes = match self.client.sealed(id).await {
                Ok(bytes) => bytes,
                Err(error) => return no("not_found", format!("Denied: {error}.")),
            };
            let Some(received) = sealed::unpack(&bytes) else {
                return no(
                    "unclear_answer",
                    "Denied: the sealed request cannot be read.".to_owned(),
                );
            };
            match self.judge_received(&received).await {
                Judgement::Permit(permit) => Redeemed::Permit(Box::new(received), permit),
                Judgement::Deny(denial) => Redeemed::Deny(denial),
            }
        })
    }
}

/// The reason why an approval of that state, as the ledger shows it, runs nothing any more.
fn over(approval: &[u8]) -> Option<(&'static str, &'static str)> {
    let approval: serde_json::Value = serde_json::from_slice(approval).ok()?;
    match approval.get("state")?.as_str()? {
        "used" => Some(("approval_used", "was used; it runs its request once")),
        "denied" => Some(("approval_denied", "was answered with no")),
        "expired" => Some((
            "approval_expired",
            "ran out; make the request again to ask anew",
        )),
        _ => None,
    }
}

impl Pep {
    /// What would be decided for each step now, as far as the sidecar can tell; nothing is consumed or recorded.
    fn preflight_now(&self, plan: &[u8]) -> InternalAnswer {
        let steps: Vec<PlanStep> = match serde_json::from_slice(plan) {
            Ok(steps) => steps,
            Err(error) => {
                return problem(
                    StatusCode::BAD_REQUEST,
                    "malformed",
                    &format!("The plan is not read: {error}."),
                );
            }
        };
        if steps.len() > PLAN_STEPS_MAX {
            return problem(
                StatusCode::BAD_REQUEST,
                "malformed",
                "The plan has more than 64 steps.",
            );
        }
        let bundle = self.session.bundle();
        let passport = match Pep::passport(self, &bundle) {
            Ok(passport) => passport,
            Err(error) => return no_passport(&error),
        };
        let principal = Principal {
            tenant: &bundle.spec().tenant,
            passport: &passport.name,
            agent: &passport.agent_id,
        };
        let now = Timestamp::now();
        let verdicts: Vec<_> = steps
            .iter()
            .map(|step| match extract_step(&bundle, &principal, step) {
                Ok(action) => {
                    let decision = decide(&bundle, passport, &action, None, now);
                    let (reason, detail) = match decision.verdict() {
                        Verdict::Deny(reason) => (Some(reason.code()), Some(reason.to_string())),
                        _ => (None, None),
                    };
                    json!({ "capability": action.capability, "verdict": decision.verdict().word(), "reason": reason, "detail": detail })
                }
                Err(refused) => json!({ "verdict": "deny", "reason": refused.code.as_str(), "detail": refused.detail }),
            })
            .collect();
        answer(StatusCode::OK, &json!({ "steps": verdicts }))
    }
}

fn no_passport(error: &SessionError) -> InternalAnswer {
    problem(StatusCode::FORBIDDEN, NO_PASSPORT, &error.to_string())
}

fn answer(status: StatusCode, json: &serde_json::Value) -> InternalAnswer {
    InternalAnswer {
        status,
        json: json.to_string().into_bytes(),
    }
}

fn problem(status: StatusCode, code: &str, detail: &str) -> InternalAnswer {
    answer(
        status,
        &json!({ "type": "about:blank", "status": status.as_u16(), "code": code, "detail": detail, "message": detail }),
    )
}
