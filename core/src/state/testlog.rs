//! A ledger in memory for tests: what the engine does, without disk, network or threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::json;

use super::{Bundles, RecordRefused, Snapshot, State, StateError, after};
use crate::action::{Action, ActionEvidence, Hints, MeterUse};
use crate::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use crate::evidence::checkpoint::{Checkpoint, NoteSigner};
use crate::evidence::commitment::Openings;
use crate::evidence::leaf::{EventBody, Leaf, LeafHeader, MacKey, Revision, Ruling, genesis_prev};
use crate::evidence::merkle::{Tree, leaf_hash};
use crate::evidence::receipt::KeptHead;
use crate::evidence::record::{
    Body, Chain, Containment, Judged, Link, Note, Outcome, OutcomeResult, sign_batch, stream_id,
};
use crate::hash::{BundleDigest, LeafHash, StreamId, b64u_encode, hex};
use crate::limits::Unit;
use crate::money::{Currency, Money};
use crate::upstream::Effect;
use crate::verify::{Inputs, Kept};
use crate::wire::{AnswerEnd, AnswerLine};

pub(crate) const TENANT: &str = "local/support/1";
pub(crate) const PASSPORT: &str = "refund-agent";

/// One tenant's log with everything beside it.
#[derive(Clone)]
pub(crate) struct TestLog {
    pub(crate) state: State,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) tree: Tree,
    pub(crate) now: Timestamp,
    pub(crate) side: BTreeMap<u64, Openings>,
    pub(crate) bundles: TestBundles,
    pub(crate) mac_key: MacKey,
    head: LeafHash,
    salt: u8,
}

#[derive(Clone, Default)]
pub(crate) struct TestBundles(pub(crate) BTreeMap<BundleDigest, Arc<Bundle>>);

impl Bundles for TestBundles {
    fn bundle(&self, digest: &BundleDigest) -> Option<Arc<Bundle>> {
        self.0.get(digest).cloned()
    }
}

/// What a sidecar keeps.
#[derive(Clone)]
pub(crate) struct Sidecar {
    pub(crate) key: SigningKey,
    pub(crate) chain: Chain,
    /// Bytes of the record sent last.
    pub(crate) sent: Vec<u8>,
}

impl Sidecar {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let chain = Chain::new(stream_id(&key.verifying_key()));
        Self {
            key,
            chain,
            sent: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.chain.stream()
    }
}

pub(crate) fn signer() -> NoteSigner {
    NoteSigner::new(
        format!("actpass/{TENANT}"),
        SigningKey::from_bytes(&[200; 32]),
    )
}

impl TestLog {
    /// A log with genesis and an active bundle.
    pub(crate) fn new() -> Self {
        let log = format!("actpass/{TENANT}");
        let mut test = Self {
            state: State::new(&log),
            leaves: Vec::new(),
            tree: Tree::new(),
            now: "2026-11-21T09:00:00Z".parse().unwrap(),
            side: BTreeMap::new(),
            bundles: TestBundles::default(),
            mac_key: MacKey::new([7; 32]),
            head: genesis_prev(&log),
            salt: 0,
        };
        let log_key = signer().verifier().to_vkey();
        test.event(EventBody::Genesis {
            origin: log,
            log_key,
            issuer_keys: BTreeMap::new(),
        })
        .unwrap();
        test.activate(bundle(|_| {})).unwrap();
        test
    }

    pub(crate) fn activate(&mut self, bundle: Bundle) -> Result<(), StateError> {
        self.activate_as(bundle, None)
    }

    pub(crate) fn activate_as(
        &mut self,
        bundle: Bundle,
        revision: Option<Revision>,
    ) -> Result<(), StateError> {
        let digest = bundle.digest();
        self.bundles.0.insert(digest, Arc::new(bundle));
        self.event(EventBody::Bundle { digest, revision })
    }

    pub(crate) fn tick(&mut self, span: Duration) {
        self.now = after(self.now, span);
    }

    pub(crate) fn open(&mut self, seed: u8) -> Sidecar {
        let sidecar = Sidecar::new(seed);
        self.event(opened(
            &sidecar,
            after(self.now, Duration::from_secs(30 * 86_400)),
        ))
        .unwrap();
        sidecar
    }

    pub(crate) fn event(&mut self, event: EventBody) -> Result<(), StateError> {
        let header = self.header();
        self.push(Leaf::of_event(header, event))
    }

    /// Asks for an action.
    pub(crate) fn intent(&mut self, sidecar: &mut Sidecar, action: &Action) -> Ruling {
        let mut salt = self.salt;
        let mut salts = || {
            salt = salt.wrapping_add(1);
            [salt; 32]
        };
        let (evidence, openings) = ActionEvidence::conceal(action, &mut salts);
        self.salt = salt;
        let body = Body::Intent(Box::new(self.judged(Some(evidence), "needs_facts")));
        self.record(sidecar, body, Some((action, openings)))
            .unwrap()
    }

    /// Records an action that was passed on under audit.
    pub(crate) fn passed_on(&mut self, sidecar: &mut Sidecar, action: &Action) -> Ruling {
        let judged = self.judged(None, "needs_facts");
        self.passed_on_by(judged.bundle, sidecar, action)
    }

    /// The same, as decided by this bundle.
    pub(crate) fn passed_on_by(
        &mut self,
        bundle: BundleDigest,
        sidecar: &mut Sidecar,
        action: &Action,
    ) -> Ruling {
        self.salt = self.salt.wrapping_add(1);
        let salt = [self.salt; 32];
        let (evidence, openings) = ActionEvidence::conceal(action, &mut || salt);
        let judged = Judged {
            bundle,
            enforced: false,
            ..self.judged(Some(evidence), "needs_facts")
        };
        let body = Body::Decision(Box::new(judged));
        self.record(sidecar, body, Some((action, openings)))
            .unwrap()
    }

    pub(crate) fn outcome(
        &mut self,
        sidecar: &mut Sidecar,
        of: u64,
        result: OutcomeResult,
    ) -> Ruling {
        let outcome = Outcome {
            of,
            result,
            status: None,
            detail: None,
            micros: 1,
            response_bytes: 0,
        };
        self.record(sidecar, Body::Outcome(outcome), None).unwrap()
    }

    pub(crate) fn note(&mut self, sidecar: &mut Sidecar) -> Ruling {
        self.noted(sidecar, "started")
    }

    pub(crate) fn noted(&mut self, sidecar: &mut Sidecar, note: &str) -> Ruling {
        let note = Note {
            note: note.to_owned(),
            text: String::new(),
        };
        self.record(sidecar, Body::Note(note), None).unwrap()
    }

    pub(crate) fn denied_locally(&mut self, sidecar: &mut Sidecar, count: u64) -> Ruling {
        let judged = Judged {
            count,
            ..self.judged(None, "deny")
        };
        self.record(sidecar, Body::Decision(Box::new(judged)), None)
            .unwrap()
    }

    pub(crate) fn judged(&self, action: Option<ActionEvidence>, verdict: &str) -> Judged {
        Judged {
            action,
            refusal: None,
            bundle: self.state.active().unwrap().digest(),
            verdict: verdict.to_owned(),
            reason: None,
            detail: None,
            rules: Vec::new(),
            shadow: Vec::new(),
            count: 1,
            containment: Containment::NetworkOnly,
            enforced: true,
        }
    }

    /// Rules on a record, and logs it as a batch of its own.
    pub(crate) fn record(
        &mut self,
        sidecar: &mut Sidecar,
        body: Body,
        revealed: Option<(&Action, Openings)>,
    ) -> Result<Ruling, RecordRefused> {
        let header = self.header();
        let Link {
            record,
            bytes,
            hash,
        } = sidecar.chain.next(body, header.time).unwrap();
        sidecar.sent = bytes;
        let macs = revealed
            .as_ref()
            .map(|(action, _)| self.mac_key.macs(action));
        let given = revealed
            .as_ref()
            .map(|(action, _)| *action)
            .zip(macs.as_ref());
        let ruling = self.state.rule_on(&record, given, header.time)?;
        if let Some((_, openings)) = revealed {
            self.side.insert(header.seq, openings);
        }
        let signature = sign_batch(&sidecar.key, &hash);
        self.push(Leaf::of_record(
            header,
            record,
            ruling.clone(),
            Some(signature),
        ))
        .unwrap();
        Ok(ruling)
    }

    /// Where the next leaf stands.
    pub(crate) fn header(&mut self) -> LeafHeader {
        self.tick(Duration::from_micros(1));
        let (log, seq) = (format!("actpass/{TENANT}"), self.tree.size());
        LeafHeader {
            log,
            prev: self.head,
            seq,
            time: self.now,
        }
    }

    /// Logs a leaf, whatever it says, unless the state refuses it. After each, the state is written down and read again: no
    /// test sees a difference.
    pub(crate) fn push(&mut self, leaf: Leaf) -> Result<(), StateError> {
        self.state.apply(&leaf, &self.bundles)?;
        self.push_unchecked(&leaf);
        self.restart();
        Ok(())
    }

    /// What a ledger does that starts anew from a state it kept.
    fn restart(&mut self) {
        let kept = Snapshot::of(&self.state).to_vec().unwrap();
        self.state = Snapshot::restore(&kept, &self.bundles).unwrap();
        assert_eq!(Snapshot::of(&self.state).to_vec().unwrap(), kept);
    }

    /// Logs a leaf as a ledger would that forges its own log.
    pub(crate) fn push_unchecked(&mut self, leaf: &Leaf) {
        let bytes = leaf.canonical().unwrap();
        self.head = leaf_hash(&bytes);
        self.tree.push(self.head);
        self.leaves.push(bytes);
    }

    pub(crate) fn head(&self) -> KeptHead {
        KeptHead {
            size: self.tree.size(),
            root: self.tree.root(),
        }
    }

    pub(crate) fn checkpoint(&self) -> String {
        let KeptHead { size, root } = self.head();
        Checkpoint {
            origin: format!("actpass/{TENANT}"),
            size,
            root,
        }
        .sign(&signer())
    }

    /// The answer to the record logged last, for a sidecar that kept a head of `from` leaves.
    pub(crate) fn answer(
        &self,
        sidecar: &Sidecar,
        ruling: &Ruling,
        from: u64,
    ) -> (AnswerLine, AnswerEnd) {
        let (index, size) = (self.tree.size() - 1, self.tree.size());
        let hashes = |proof: Vec<[u8; 32]>| proof.iter().map(|hash| hex(hash)).collect();
        let line = AnswerLine {
            seq: sidecar.chain.next_seq() - 1,
            verdict: ruling.verdict,
            reason: ruling.reason.clone(),
            leaf: String::from_utf8(self.leaves.last().unwrap().clone()).unwrap(),
            index,
            path: hashes(self.tree.inclusion(index, size).unwrap()),
            secret: None,
        };
        let consistency = hashes(self.tree.consistency(from, size).unwrap());
        (
            line,
            AnswerEnd {
                checkpoint: self.checkpoint(),
                consistency,
            },
        )
    }
}

impl Inputs for TestLog {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        self.bundles
            .0
            .get(digest)
            .map(|bundle| bundle.bytes().to_vec())
    }

    fn openings(&self, seq: u64) -> Kept<Openings> {
        self.side
            .get(&seq)
            .cloned()
            .map_or(Kept::NotGiven, Kept::Here)
    }

    fn mac_key(&self) -> Option<&MacKey> {
        Some(&self.mac_key)
    }
}

pub(crate) fn opened(sidecar: &Sidecar, expires: Timestamp) -> EventBody {
    EventBody::StreamOpened {
        stream: sidecar.id(),
        key: b64u_encode(sidecar.key.verifying_key().as_bytes()),
        passport: PASSPORT.to_owned(),
        agent: "refunds".to_owned(),
        jti: "token-1".to_owned(),
        expires,
        issuer: None,
        pod_uid: None,
    }
}

pub(crate) fn vote(approval: &str, user: &str, grant: bool) -> EventBody {
    let (approval, user, groups) = (
        approval.to_owned(),
        user.to_owned(),
        vec!["finance".to_owned()],
    );
    EventBody::Vote {
        approval,
        grant,
        user,
        groups,
        signed: None,
    }
}

pub(crate) fn sealed(approval: &str, sidecar: &Sidecar, seq: u64) -> EventBody {
    let blob = crate::hash::BlobDigest::from_bytes([1; 32]);
    EventBody::Sealed {
        approval: approval.to_owned(),
        stream: sidecar.id(),
        seq,
        blob,
        bytes: 10,
    }
}

/// A refund of `minor` US cents on `charge`.
pub(crate) fn refund(minor: i64, charge: &str) -> Action {
    let usd = Currency::parse("USD").unwrap();
    let meter = |name: &str, unit, amount| MeterUse {
        name: name.to_owned(),
        unit,
        amount,
    };
    Action {
        tenant: TENANT.to_owned(),
        passport: PASSPORT.to_owned(),
        agent: "refunds".to_owned(),
        upstream: "stripe".to_owned(),
        capability: "stripe.refunds.create".parse().unwrap(),
        effect: Effect::Irreversible,
        method: "POST".to_owned(),
        host: "api.stripe.com".parse().unwrap(),
        port: 443,
        path: "/v1/refunds".to_owned(),
        path_template: "/v1/refunds".to_owned(),
        query: Vec::new(),
        headers: BTreeMap::new(),
        amount: Some(Money::new(minor, usd)),
        resource: Some(charge.to_owned()),
        meters: vec![
            meter("refunds", Unit::Money(usd), minor),
            meter("writes", Unit::Count, 1),
        ],
        environment: None,
        attributes: BTreeMap::new(),
        body: [5; 32],
        body_bytes: 30,
        idempotency_key: None,
        fault: None,
        hints: Hints::default(),
    }
}

/// Refunds up to $100.00 are allowed, above people are asked, above $5,000.00 denied. Of $1,000.00 an hour; above
/// $800.00 an hour people are asked, so two limits share one total.
pub(crate) fn bundle(change: impl FnOnce(&mut serde_json::Value)) -> Bundle {
    let usd = |minor: i64| json!({"currency": "USD", "minor": minor.to_string()});
    let seat = json!({"groups": ["finance"], "quorum": 1, "expires_after_seconds": 1800, "hold_seconds": 0});
    let hour = json!({"Sliding": {"seconds": 3600}});
    let limit = |meter: &str, unit: &str, max: i64, on_exceed: &str| json!({"meter": meter, "unit": unit, "max": max, "window": hour, "on_exceed": on_exceed});
    let rule = |name: &str, decision: &str, amounts: serde_json::Value| {
        json!({
            "name": name, "decision": decision, "capabilities": ["stripe.refunds.create"], "amounts": amounts,
            "environments": [], "resources": [], "obligations": {"max_response_bytes": 1024},
            "allow_irreversible": decision == "Allow",
        })
    };
    let refunds = json!({
        "capability": "stripe.refunds.create", "method": "POST", "path": "/v1/refunds", "effect": "Irreversible",
        "body": {"format": "Form", "max_bytes": 65536, "mode": "Buffered"}, "params": ["amount", "charge"],
        "headers": [], "attributes": [],
        "amount": {"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}},
        "resource": "body.charge", "meters": [{"name": "refunds", "from": "Amount"}],
    });
    let mut spec = json!({
        "v": BUNDLE_VERSION, "tenant": TENANT,
        "passports": [{
            "name": PASSPORT, "agent_id": "refunds", "owner": "owner@example.com", "purpose": "Refund customers",
            "scope": [{"capability": "stripe.**"}], "default_approval": seat, "ttl_seconds": 900,
            "limits": [
                limit("refunds", "USD", 100_000, "Deny"),
                limit("refunds", "USD", 80_000, "RequireApproval"),
                limit("writes", "Count", 40, "Deny"),
            ],
            "reads_without_ledger_seconds": 30, "suspended": false, "not_after": null,
        }],
        "upstreams": [{
            "name": "stripe", "hosts": ["api.stripe.com"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
            "tls": {"mode": "Intercept"}, "credentials": [], "actions": [refunds], "error_style": "Problem",
            "failed_statuses": [],
        }],
        "policies": [{
            "name": "refunds", "scope": "Namespace", "mode": "Enforce", "passports": [PASSPORT],
            "rules": [
                rule("small", "Allow", json!([{"currency": "USD", "lte": usd(10_000)}])),
                rule("large", "RequireApproval", json!([{"currency": "USD", "gt": usd(10_000)}])),
                rule("huge", "Deny", json!([{"currency": "USD", "gt": usd(500_000)}])),
            ],
        }],
    });
    change(&mut spec);
    let spec: BundleSpec = serde_json::from_value(spec).unwrap();
    Bundle::new(spec).unwrap()
}
