//! Under audit: decided and recorded as ever, and passed on whatever was decided.
//!
//! *Guarantees.* Nothing is asked of the ledger or of people, nothing is lent, and nobody waits for longer than a read does.
//! The record is in the ring file before the first byte goes on. Where it cannot be kept that is counted and logged, and what
//! runs goes on: an audit must not break it.

use std::time::Duration;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::decide::{Decision, decide};
use actpass_core::evidence::record::Refusal;
use actpass_core::upstream::Effect;
use jiff::Timestamp;

use super::record::{JudgedRequest, target_of};
use super::{NO_PASSPORT, Pep};
use crate::extract::{Principal, RawRequest, RefusalCode, extract};
use crate::judge::{Noted, Received};
use crate::recorder::RecordError;

impl Pep {
    pub(super) async fn rehearse_received(&self, received: &Received) -> Noted {
        // Evidence may catch up, for a moment.
        self.recorder.admit_read(Duration::MAX).await.ok();
        let bundle = self.session.bundle();
        let refused = |code: &str, detail: &str| {
            let target = target_of(received.method.as_str(), &received.host);
            let code = code.to_owned();
            self.note_refusal(Refusal { code, target }, detail)
        };
        let passport = match self.passport(&bundle) {
            Ok(passport) => passport,
            Err(error) => return refused(NO_PASSPORT, &format!("{error}.")),
        };
        let Some(upstream) = bundle.upstream_at(&received.host, received.port) else {
            let detail = format!("No Upstream serves `{}:{}`.", received.host, received.port);
            return refused(RefusalCode::Undeclared.as_str(), &detail);
        };
        // Pods without a Passport share one, and each is named as its session is.
        let agent = self.session.agent().filter(|_| passport.is_absent());
        let principal = Principal {
            tenant: &bundle.spec().tenant,
            passport: &passport.name,
            agent: agent.as_deref().unwrap_or(&passport.agent_id),
        };
        let request = RawRequest {
            method: &received.method,
            target: received.target.as_str(),
            headers: &received.headers,
            body: &received.body,
            host: &received.host,
            port: received.port,
        };
        match extract(&bundle, upstream, &principal, &request) {
            Err(no) => refused(no.code.as_str(), &no.detail),
            Ok(action) => {
                let decision = decide(&bundle, passport, &action, None, Timestamp::now());
                self.note_action(&bundle, &action, &decision)
            }
        }
    }

    fn note_action(&self, bundle: &Bundle, action: &Action, decision: &Decision) -> Noted {
        let request = unenforced(self.judged(bundle, Some(action), decision));
        let (verdict, reason) = (decision.verdict().word(), request.judged.reason.clone());
        self.metrics
            .rehearsed(verdict, reason.as_deref(), Some(action.effect));
        match self.keep(request) {
            Ok(seq) => Noted {
                of: Some(seq),
                evidence: Some(self.evidence(seq)),
            },
            Err(RecordError::TooLong(_) | RecordError::Form(_)) => {
                let refusal = Refusal {
                    code: "not_recorded".to_owned(),
                    target: target_of(&action.method, &action.host),
                };
                let detail = "The record of this action would be too long.";
                self.keep_refusal(bundle, refusal, detail)
            }
            Err(error) => self.unrecorded_passage(&error),
        }
    }

    pub(super) fn note_refusal(&self, refusal: Refusal, detail: &str) -> Noted {
        let none: Option<Effect> = None;
        self.metrics.rehearsed("deny", Some(&refusal.code), none);
        self.keep_refusal(&self.session.bundle(), refusal, detail)
    }

    /// Equal ones of ten seconds are one record.
    fn keep_refusal(&self, bundle: &Bundle, refusal: Refusal, detail: &str) -> Noted {
        let request = unenforced(self.refusal(bundle.digest(), refusal, detail));
        match self.keep_denial(request) {
            Ok(seq) => Noted {
                of: None,
                evidence: Some(self.evidence(seq)),
            },
            Err(error) => self.unrecorded_passage(&error),
        }
    }

    fn unrecorded_passage(&self, error: &RecordError) -> Noted {
        self.metrics.passed_unrecorded();
        self.unrecorded.count(error);
        Noted::default()
    }
}

fn unenforced(mut request: JudgedRequest<'_>) -> JudgedRequest<'_> {
    request.judged.enforced = false;
    request
}
