//! How a judged request becomes a record.

use actpass_core::action::{Action, ActionEvidence};
use actpass_core::bundle::Bundle;
use actpass_core::canonical;
use actpass_core::decide::{Decision, Verdict};
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::bounded;
use actpass_core::evidence::record::{Body, Judged, Refusal};
use actpass_core::hash::{BundleDigest, sha256};
use actpass_core::host::HostName;
use actpass_core::upstream::ErrorStyle;

use super::{Pep, denial};
use crate::extract::RefusalCode;
use crate::judge::{Denial, DenialKind, Judgement, Received};
use crate::recorder::{DenialKey, RecordError};

/// A request as judged, and what its commitments open to.
pub(super) struct JudgedRequest<'a> {
    pub(super) judged: Judged,
    pub(super) openings: Openings,
    action: Option<&'a Action>,
}

/// Longest method and host in a refusal's record.
const TARGET_CHARS_MAX: usize = 300;

impl Pep {
    /// The record of an action under the sidecar's own decision.
    pub(super) fn judged<'a>(
        &self,
        bundle: &Bundle,
        action: Option<&'a Action>,
        decision: &Decision,
    ) -> JudgedRequest<'a> {
        let (reason, detail) = match decision.verdict() {
            Verdict::Deny(reason) => (
                Some(reason.code().to_owned()),
                Some(bounded(&reason.to_string())),
            ),
            _ => (None, None),
        };
        let (evidence, openings) =
            match action.map(|action| ActionEvidence::conceal(action, &mut salt)) {
                Some((evidence, openings)) => (Some(evidence), openings),
                None => (None, Openings::default()),
            };
        let judged = Judged {
            action: evidence,
            refusal: None,
            bundle: bundle.digest(),
            verdict: decision.verdict().word().to_owned(),
            reason,
            detail,
            rules: decision.rules().to_vec(),
            shadow: decision.shadow().to_vec(),
            count: 1,
            containment: self.containment,
            enforced: true,
        };
        JudgedRequest {
            judged,
            openings,
            action,
        }
    }

    /// The record of something that is no action.
    pub(super) fn refusal(
        &self,
        bundle: BundleDigest,
        refusal: Refusal,
        detail: &str,
    ) -> JudgedRequest<'static> {
        let judged = Judged {
            action: None,
            reason: Some(refusal.code.clone()),
            detail: Some(bounded(detail)),
            refusal: Some(refusal),
            bundle,
            verdict: "deny".to_owned(),
            rules: Vec::new(),
            shadow: Vec::new(),
            count: 1,
            containment: self.containment,
            enforced: true,
        };
        JudgedRequest {
            judged,
            openings: Openings::default(),
            action: None,
        }
    }

    /// Keeps a decision that asks nothing of the ledger.
    pub(super) fn keep(&self, request: JudgedRequest<'_>) -> Result<u64, RecordError> {
        self.recorder
            .record(Body::Decision(Box::new(request.judged)), &request.openings)
    }

    /// Keeps a denial, with its equals of the same ten seconds.
    pub(super) fn keep_denial(&self, request: JudgedRequest<'_>) -> Result<u64, RecordError> {
        match key(&request) {
            Some(key) => self.recorder.denial(key, request.judged, request.openings),
            None => self.keep(request),
        }
    }

    /// Refuses a request that is not one declared action, on the record.
    pub(super) fn refused(
        &self,
        bundle: &Bundle,
        received: &Received,
        style: ErrorStyle,
        code: &'static str,
        detail: String,
    ) -> Judgement {
        let target = target_of(received.method.as_str(), &received.host);
        let request = self.refusal(
            bundle.digest(),
            Refusal {
                code: code.to_owned(),
                target,
            },
            &detail,
        );
        let kind = match code {
            _ if code == RefusalCode::Unparsable.as_str() => DenialKind::Unparsable,
            _ if code == RefusalCode::BodyTooLarge.as_str() => DenialKind::TooLarge,
            _ => DenialKind::Denied,
        };
        self.deny_recorded(
            request,
            &Denial {
                kind,
                ..denial(code, detail, style)
            },
        )
    }

    /// A no, on the record where that is possible; it is a no in any case.
    pub(super) fn deny_recorded(
        &self,
        mut request: JudgedRequest<'_>,
        denial: &Denial,
    ) -> Judgement {
        if request.judged.verdict != "deny" {
            request.judged.verdict = "deny".to_owned();
            request.judged.reason = Some(denial.code.to_string());
            request.judged.detail = Some(bounded(&denial.detail));
        }
        let (bundle, action) = (request.judged.bundle, request.action);
        let mut kept = self.keep_denial(request);
        if let (Err(RecordError::TooLong(_)), Some(action)) = (&kept, action) {
            kept = self.keep_short(bundle, action, &denial.code, &denial.detail);
        }
        let evidence = match kept {
            Ok(seq) => Some(self.evidence(seq)),
            Err(error) => {
                self.unrecorded.count(&error);
                None
            }
        };
        tracing::info!(code = %denial.code, detail = %denial.detail, "Action refused");
        self.deny(Denial {
            evidence,
            ..denial.clone()
        })
    }

    /// The no to an action whose record cannot be kept. Where that is for what the agent sent, a record says so.
    pub(super) fn not_recorded(
        &self,
        bundle: BundleDigest,
        action: &Action,
        error: &RecordError,
        style: ErrorStyle,
    ) -> Denial {
        let no = denial("not_recorded", format!("Denied: {error}."), style);
        let RecordError::TooLong(_) = error else {
            return no;
        };
        tracing::info!(code = %no.code, detail = %no.detail, "Action refused");
        let kept = self.keep_short(bundle, action, &no.code, &no.detail);
        let evidence = kept.ok().map(|seq| self.evidence(seq));
        Denial { evidence, ..no }
    }

    /// Keeps a denial without what the action carries, which is too much for a record.
    fn keep_short(
        &self,
        bundle: BundleDigest,
        action: &Action,
        code: &str,
        detail: &str,
    ) -> Result<u64, RecordError> {
        let refusal = Refusal {
            code: code.to_owned(),
            target: target_of(&action.method, &action.host),
        };
        self.keep_denial(self.refusal(bundle, refusal, detail))
    }

    pub(super) fn deny(&self, denial: Denial) -> Judgement {
        Judgement::Deny(Box::new(denial))
    }
}

/// What a refusal's record names of a request.
pub(super) fn target_of(method: &str, host: &HostName) -> String {
    format!("{method} {host}")
        .chars()
        .take(TARGET_CHARS_MAX)
        .collect()
}

/// What makes two denials equal: all that the record says, less its salts; of the action its digest, so that a key an SDK
/// makes up per call makes no difference; and what the agent said of itself. `None` where it has no canonical form.
fn key(request: &JudgedRequest<'_>) -> Option<DenialKey> {
    let mut judged = request.judged.clone();
    if let Some(evidence) = &mut judged.action {
        evidence.commitments.clear();
    }
    let said = canonical::to_vec(&judged).ok()?;
    let (digest, hints) = match request.action {
        Some(action) => (
            action.digest().to_string(),
            canonical::to_vec(&action.hints).ok()?,
        ),
        None => Default::default(),
    };
    Some(sha256(&[&sha256(&[&said]), digest.as_bytes(), &hints]))
}

/// A fresh salt. Without randomness there are no commitments, so there is no service.
fn salt() -> [u8; 32] {
    let mut salt = [0; 32];
    #[expect(
        clippy::expect_used,
        reason = "a system without randomness cannot even open a TLS connection"
    )]
    getrandom::fill(&mut salt).expect("the system gives randomness");
    salt
}
