//! The enforcement point proper: reads a request as an action, has it decided, records it, and hands out permits.
//!
//! *Flow.* [`extract`](crate::extract) reads, [`actpass_core::decide`] decides what needs no facts; a permitted read
//! is recorded in the ring and runs on a leased credential; everything else that is not denied becomes an intent, and
//! only a receipt that checks makes it a permit. *Guarantees.* No permit without its record; no write without a proof
//! that its permit is durable. *Errors* deny, with a reason.

mod audit;
mod held;
mod intent;
mod internal;
mod leases;
mod record;
mod sealed;
mod undeclared;
mod unrecorded;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::action::Action;
use actpass_core::bundle::Bundle;
use actpass_core::decide::{Decision, Permitted, Verdict, decide};
use actpass_core::evidence::record::{Containment, Outcome, Refusal};
use actpass_core::hash::BundleDigest;
use actpass_core::host::HostName;
use actpass_core::mode::{Mode, Unenforced};
use actpass_core::passport::{ABSENT, Passport};
use actpass_core::upstream::{Effect, ErrorStyle, Upstream};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use crate::extract::{Principal, RawRequest, RefusalCode, Refused, extract};
use crate::judge::{
    BoxFuture, Denial, DenialKind, EvidenceId, Judge, Judgement, Noted, Permit, Received,
};
use crate::known_log::KnownLog;
use crate::ledger_client::LedgerClient;
use crate::metrics::{Metrics, Standing};
use crate::recorder::Recorder;
use crate::route::Route;
use crate::session::{Session, SessionError};
use crate::shipper::Shipper;
use held::Held;
use leases::Leases;
use unrecorded::Unrecorded;

/// Code of what is denied because there is no passport to act under.
const NO_PASSPORT: &str = "no_passport";

/// Decides for one agent.
pub struct Pep {
    session: Arc<dyn Session>,
    recorder: Arc<Recorder>,
    client: Arc<LedgerClient>,
    leases: Leases,
    metrics: Arc<Metrics>,
    containment: Containment,
    unrecorded: Unrecorded,
    held: Held,
    routes: Mutex<Routes>,
}

/// Routes of one bundle.
struct Routes {
    bundle: Option<BundleDigest>,
    by_name: BTreeMap<String, Arc<Route>>,
}

impl Pep {
    /// An enforcement point and the shipper that goes with it: run the shipper, or nothing is ever permitted.
    pub fn new(
        session: Arc<dyn Session>,
        recorder: Arc<Recorder>,
        client: Arc<LedgerClient>,
        containment: Containment,
    ) -> Self {
        let routes = Mutex::new(Routes {
            bundle: None,
            by_name: BTreeMap::new(),
        });
        Self {
            leases: Leases::new(client.clone()),
            metrics: Arc::new(Metrics::default()),
            session,
            recorder,
            client,
            containment,
            unrecorded: Unrecorded::default(),
            held: Held::default(),
            routes,
        }
    }

    /// The shipper of this enforcement point's records.
    pub fn shipper(&self, key: SigningKey, log: impl Into<KnownLog>) -> Shipper {
        Shipper::new(
            self.recorder.clone(),
            self.client.clone(),
            self.session.clone(),
            key,
            log.into(),
        )
        .measured(self.metrics.clone())
    }

    /// What is counted here; the proxy in front counts into it too.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Appends the metrics as they stand now, as OpenMetrics text without its end mark.
    pub fn write_metrics(&self, text: &mut String) {
        self.metrics.write(self.recorder.standing(), text);
    }

    /// Takes no more records and lets the shipper end once everything is sent.
    pub fn close(&self) {
        self.recorder.close();
    }

    /// How far evidence is behind.
    pub fn standing(&self) -> Standing {
        self.recorder.standing()
    }

    async fn judge_received(&self, received: &Received) -> Judgement {
        let mut effect = None;
        let judgement = self.judge_afresh(received, &mut effect).await;
        self.metrics.judged(&judgement, effect);
        judgement
    }

    async fn judge_afresh(&self, received: &Received, effect: &mut Option<Effect>) -> Judgement {
        // Once more where the policy changed in between: the buffered request is read again under the new one.
        for _ in 0..2 {
            match self.judge_once(received, effect).await {
                Err(StalePolicy) => self.session.refresh().await,
                Ok(judgement) => return judgement,
            }
        }
        let detail = "The policy keeps changing while this is judged. Send it again.".to_owned();
        self.deny(denial("stale_policy", detail, ErrorStyle::Problem))
    }

    /// Judges by the bundle at hand. `effect` is said as soon as the action is known.
    async fn judge_once(
        &self,
        received: &Received,
        effect: &mut Option<Effect>,
    ) -> Result<Judgement, StalePolicy> {
        let bundle = self.session.bundle();
        let passport = match self.passport(&bundle) {
            Ok(passport) => passport,
            Err(error) => {
                let style = ErrorStyle::Problem;
                let detail = format!("Denied: {error}.");
                return Ok(self.refused(&bundle, received, style, NO_PASSPORT, detail));
            }
        };
        if bundle.spec().mode == Mode::Audit {
            let detail = "Denied: the namespace is under audit, where nothing is permitted that was asked before. Send the request itself.";
            let no = denial("under_audit", detail.to_owned(), ErrorStyle::Problem);
            return Ok(self.deny(no));
        }
        let Some(upstream) = bundle.upstream_at(&received.host, received.port) else {
            let detail = format!("No Upstream serves `{}:{}`.", received.host, received.port);
            return Ok(self.refused(
                &bundle,
                received,
                ErrorStyle::Problem,
                RefusalCode::Undeclared.as_str(),
                detail,
            ));
        };
        let principal = Principal {
            tenant: &bundle.spec().tenant,
            passport: &passport.name,
            agent: &passport.agent_id,
        };
        let request = RawRequest {
            method: &received.method,
            target: received.target.as_str(),
            headers: &received.headers,
            body: &received.body,
            host: &received.host,
            port: received.port,
        };
        let action = match extract(&bundle, upstream, &principal, &request) {
            Ok(action) => action,
            Err(Refused { code, detail, .. }) => {
                return Ok(self.refused(
                    &bundle,
                    received,
                    upstream.error_style,
                    code.as_str(),
                    detail,
                ));
            }
        };
        *effect = Some(action.effect);
        let decision = decide(&bundle, passport, &action, None, Timestamp::now());
        match decision.verdict() {
            Verdict::Deny(reason) => {
                let denial = Denial {
                    rules: decision.rules().iter().map(ToString::to_string).collect(),
                    ..denial(
                        reason.code(),
                        format!("{}: {reason}", action.capability),
                        upstream.error_style,
                    )
                };
                let judged = self.judged(&bundle, Some(&action), &decision);
                Ok(self.deny_recorded(judged, &denial))
            }
            Verdict::Permit(_) => Ok(self
                .read(&bundle, passport, upstream, action, &decision)
                .await),
            Verdict::NeedsFacts | Verdict::Escalate(_) => {
                self.ask_ledger(&bundle, upstream, action, &decision, received)
                    .await
            }
        }
    }

    /// A read that the local decision permits: credential, record, then the permit.
    async fn read(
        &self,
        bundle: &Bundle,
        passport: &Passport,
        upstream: &Upstream,
        action: Action,
        decision: &Decision,
    ) -> Judgement {
        let style = upstream.error_style;
        let without_ledger = Duration::from_secs(u64::from(passport.reads_without_ledger_seconds));
        if let Err(error) = self.recorder.admit_read(without_ledger).await {
            let kind = DenialKind::Busy;
            return self.deny(Denial {
                kind,
                ..denial("evidence_behind", format!("Denied: {error}."), style)
            });
        }
        let credential = match self
            .leases
            .credential(upstream, &action.host, action.port)
            .await
        {
            Ok(credential) => credential,
            Err(detail) => {
                let judged = self.judged(bundle, Some(&action), decision);
                return self
                    .deny_recorded(judged, &denial("credential_unavailable", detail, style));
            }
        };
        let judged = self.judged(bundle, Some(&action), decision);
        let of = match self.keep(judged) {
            Ok(of) => of,
            Err(error) => {
                return self.deny(self.not_recorded(bundle.digest(), &action, &error, style));
            }
        };
        let Some(route) = self.route_of(bundle, &upstream.name) else {
            return self.deny(denial(
                "no_route",
                "Denied: the upstream's declaration cannot be used.".to_owned(),
                style,
            ));
        };
        match Permitted::read(action, decision) {
            Ok(permitted) => {
                let evidence = Some(self.evidence(of));
                Judgement::Permit(Box::new(Permit {
                    permitted,
                    of,
                    route,
                    credential,
                    evidence,
                }))
            }
            Err(_) => self.deny(denial(
                "not_a_read",
                "Denied: this is not a read.".to_owned(),
                style,
            )),
        }
    }

    /// The passport this sidecar acts under, as the policy has it.
    fn passport<'a>(&self, bundle: &'a Bundle) -> Result<&'a Passport, SessionError> {
        let name = self.session.passport()?;
        let unknown = || SessionError(format!("the policy knows no Passport `{name}`"));
        // Under audit one that comes or goes with the next policy is none, which is no reason to stop.
        let absent = || bundle.passport(ABSENT);
        let found = bundle.passport(&name).or_else(absent);
        found.ok_or_else(unknown)
    }

    fn route_of(&self, bundle: &Bundle, upstream: &str) -> Option<Arc<Route>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.bundle != Some(bundle.digest()) {
            *routes = Routes {
                bundle: Some(bundle.digest()),
                by_name: BTreeMap::new(),
            };
        }
        if let Some(route) = routes.by_name.get(upstream) {
            return Some(route.clone());
        }
        let declared = bundle.upstream(upstream)?;
        match Route::new(declared) {
            Ok(route) => {
                let route = Arc::new(route);
                routes.by_name.insert(upstream.to_owned(), route.clone());
                Some(route)
            }
            Err(error) => {
                tracing::error!(upstream, %error, "Upstream cannot be used");
                None
            }
        }
    }

    fn evidence(&self, seq: u64) -> EvidenceId {
        EvidenceId(format!("{}/{seq}", self.recorder.stream()))
    }
}

impl Judge for Pep {
    fn route(&self, host: &HostName, port: u16) -> Option<Arc<Route>> {
        let bundle = self.session.bundle();
        let upstream = bundle.upstream_at(host, port)?;
        self.route_of(&bundle, &upstream.name)
    }

    fn route_named(&self, upstream: &str) -> Option<Arc<Route>> {
        self.route_of(&self.session.bundle(), upstream)
    }

    fn judge<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Judgement> {
        Box::pin(self.judge_received(received))
    }

    fn refuse(&self, refusal: Refusal, detail: &str) -> Option<EvidenceId> {
        self.metrics.refused(&refusal.code);
        let judged = self.refusal(self.session.bundle().digest(), refusal, detail);
        match self.keep_denial(judged) {
            Ok(seq) => Some(self.evidence(seq)),
            Err(error) => {
                self.unrecorded.count(&error);
                None
            }
        }
    }

    fn audit(&self) -> Option<Unenforced> {
        let bundle = self.session.bundle();
        self.passport(&bundle).ok()?;
        Unenforced::under(&bundle)
    }

    fn rehearse<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Noted> {
        Box::pin(self.rehearse_received(received))
    }

    fn would_refuse(&self, refusal: Refusal, detail: &str) -> Noted {
        self.note_refusal(refusal, detail)
    }

    fn outcome(&self, outcome: Outcome) {
        self.metrics.outcome(outcome.result);
        self.recorder.outcome(outcome);
    }
}

/// The ledger decides by another bundle than the one at hand.
struct StalePolicy;

/// A plain no.
fn denial(code: &'static str, detail: String, style: ErrorStyle) -> Denial {
    Denial {
        kind: DenialKind::Denied,
        code: code.into(),
        detail,
        rules: Vec::new(),
        evidence: None,
        style,
    }
}
