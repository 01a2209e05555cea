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
            // The verifier waits for another answer than this, and the agents wait for the verifier.
            Err(error) if !self.session.is_heard() => problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_started",
                &error.to_string(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actpass_core::bundle::{Bundle, BundleSpec};
    use actpass_core::evidence::record::{Containment, stream_id};
    use actpass_core::mode::Mode;
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::ledger_client::{LedgerAddress, LedgerClient};
    use crate::recorder::Recorder;
    use crate::ring::Ring;
    use crate::session::Session;

    /// One without a passport.
    struct Without {
        heard: bool,
    }

    impl Session for Without {
        fn bundle(&self) -> Arc<Bundle> {
            let spec = BundleSpec {
                v: actpass_core::bundle::BUNDLE_VERSION.to_owned(),
                tenant: "c/n/u".to_owned(),
                environment: None,
                mode: Mode::Enforce,
                passports: Vec::new(),
                upstreams: Vec::new(),
                policies: Vec::new(),
            };
            Arc::new(Bundle::new(spec).unwrap())
        }

        fn passport(&self) -> Result<Arc<str>, SessionError> {
            Err(SessionError("why".to_owned()))
        }

        fn token(&self) -> Result<String, SessionError> {
            Err(SessionError("why".to_owned()))
        }

        fn is_heard(&self) -> bool {
            self.heard
        }

        fn refresh(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn a_sidecar_that_has_heard_nothing_yet_is_not_one_that_is_refused() {
        for (heard, want) in [
            (
                false,
                r#"503 {"code":"not_started","detail":"no passport: why""#,
            ),
            (
                true,
                r#"403 {"code":"no_passport","detail":"no passport: why""#,
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let key = SigningKey::from_bytes(&[1; 32]);
            let ring = Ring::create(&dir.path().join("ring"), &key).unwrap();
            let recorder = Recorder::new(stream_id(&key.verifying_key()), ring);
            let address = LedgerAddress {
                address: "127.0.0.1:1".to_owned(),
                authorities: Vec::new(),
            };
            let client = Arc::new(LedgerClient::new(address, &key).unwrap());
            let session = Arc::new(Without { heard });
            let pep = Pep::new(session, Arc::new(recorder), client, Containment::Pod);
            let answer = Internal::passport(&pep).await;
            let json = String::from_utf8(answer.json).unwrap();
            let said = format!("{} {json}", answer.status.as_u16());
            assert!(said.starts_with(want), "{said}");
        }
    }
}
