//! A ledger's log made in memory from fixed keys and a fixed clock, so that it has the same bytes wherever it is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actpass_core::action::{Action, ActionEvidence, Hints, MeterUse};
use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::{
    CredentialRef, EventBody, Leaf, LeafHeader, MacKey, Revision, Ruling, RulingApproval,
    genesis_prev,
};
use actpass_core::evidence::log_keys::vouch;
use actpass_core::evidence::merkle::{Tree, leaf_hash};
use actpass_core::evidence::record::{Body, Chain, Containment, Judged, sign_batch, stream_id};
use actpass_core::hash::{BlobDigest, BundleDigest, LeafHash, StreamId, b64u_encode, sha256};
use actpass_core::limits::Unit;
use actpass_core::money::{Currency, Money};
use actpass_core::state::{Bundles, State};
use actpass_core::upstream::Effect;
use actpass_ledger::export::{First, VERSION, Writer};
use actpass_ledger::storage::{BlobKind, Entry};
use anyhow::{Context, ensure};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The one Passport of these logs.
pub const PASSPORT: &str = "refund-agent";

/// A log and what lies beside it.
pub struct Logbook {
    tenant: String,
    log_key: SigningKey,
    state: State,
    bundles: Held,
    tree: Tree,
    head: LeafHash,
    now: Timestamp,
    salt: u8,
    /// Texts of what was said last, and of each leaf.
    concealed: Openings,
    openings: BTreeMap<u64, Openings>,
    written: Vec<Written>,
}

/// What was logged, in order.
enum Written {
    Leaf(Vec<u8>),
    Blob(BlobKind, [u8; 32], Vec<u8>),
}

#[derive(Default)]
struct Held(BTreeMap<BundleDigest, Arc<Bundle>>);

impl Bundles for Held {
    fn bundle(&self, digest: &BundleDigest) -> Option<Arc<Bundle>> {
        self.0.get(digest).cloned()
    }
}

/// A sidecar: its key and its chain.
pub struct Sidecar {
    key: SigningKey,
    chain: Chain,
}

impl Sidecar {
    /// The sidecar of that seed.
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let chain = Chain::new(stream_id(&key.verifying_key()));
        Self { key, chain }
    }

    /// Its stream.
    pub fn id(&self) -> StreamId {
        self.chain.stream()
    }

    /// The event that opens it; `pod` of a pod, whose passport that issuer signed.
    pub fn opened(&self, pod: Option<(&str, &str)>) -> EventBody {
        EventBody::StreamOpened {
            stream: self.id(),
            key: b64u_encode(self.key.verifying_key().as_bytes()),
            passport: PASSPORT.to_owned(),
            agent: "refunds".to_owned(),
            jti: "token-1".to_owned(),
            expires: Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            issuer: pod.map(|(_, issuer)| issuer.to_owned()),
            pod_uid: pod.map(|(uid, _)| uid.to_owned()),
        }
    }
}

impl Logbook {
    /// A log of this tenant, with its first leaf.
    ///
    /// # Errors
    /// Where the state does not take it.
    pub fn new(tenant: &str, log_seed: u8) -> anyhow::Result<Self> {
        let log = format!("actpass/{tenant}");
        let log_key = SigningKey::from_bytes(&[log_seed; 32]);
        let mut book = Self {
            tenant: tenant.to_owned(),
            log_key,
            state: State::new(&log),
            bundles: Held::default(),
            tree: Tree::new(),
            head: genesis_prev(&log),
            now: "2026-05-04T10:00:00Z".parse()?,
            salt: 0,
            concealed: Openings::default(),
            openings: BTreeMap::new(),
            written: Vec::new(),
        };
        let log_key = book.signer().verifier().to_vkey();
        let issuer = SigningKey::from_bytes(&[90; 32]).verifying_key();
        let issuer_keys = BTreeMap::from([("issuer-1".to_owned(), b64u_encode(issuer.as_bytes()))]);
        book.event(EventBody::Genesis {
            origin: log,
            log_key,
            issuer_keys,
        })?;
        Ok(book)
    }

    /// Signs its checkpoints.
    pub fn signer(&self) -> NoteSigner {
        NoteSigner::new(format!("actpass/{}", self.tenant), self.log_key.clone())
    }

    /// Has the key of that seed follow the one in force, which signs for it.
    ///
    /// # Errors
    /// Where it does not follow.
    pub fn rotate(&mut self, log_seed: u8) -> anyhow::Result<()> {
        let next = SigningKey::from_bytes(&[log_seed; 32]);
        let origin = format!("actpass/{}", self.tenant);
        let named = NoteSigner::new(origin, next.clone()).verifier();
        let by = vouch(&self.log_key, &named);
        let key = named.to_vkey();
        self.event(EventBody::LogKey { key, by })?;
        self.log_key = next;
        Ok(())
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// The time of the leaf logged last.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Makes a policy the active one.
    ///
    /// # Errors
    /// Where it is no policy, or the state does not take it.
    pub fn activate(
        &mut self,
        policy: Value,
        revision: Option<Revision>,
    ) -> anyhow::Result<BundleDigest> {
        let bundle = Bundle::new(serde_json::from_value::<BundleSpec>(policy)?)?;
        let digest = bundle.digest();
        let bytes = bundle.bytes().to_vec();
        self.bundles.0.insert(digest, Arc::new(bundle));
        self.blob(BlobKind::Bundle, *digest.as_bytes(), bytes);
        self.event(EventBody::Bundle { digest, revision })?;
        Ok(digest)
    }

    /// Logs an event.
    ///
    /// # Errors
    /// Where it does not follow from the log.
    pub fn event(&mut self, event: EventBody) -> anyhow::Result<()> {
        let header = self.header();
        self.push(&Leaf::of_event(header, event))
    }

    /// Keeps a request for its approval, and logs it.
    ///
    /// # Errors
    /// Where no such approval waits.
    pub fn seal(&mut self, approval: &str, sidecar: &Sidecar, seq: u64) -> anyhow::Result<()> {
        let bytes = format!("a sealed request for {approval}").into_bytes();
        let blob = BlobDigest::from_bytes(sha256(&[&bytes]));
        let name = sha256(&[b"actpass.sealed/1\n", approval.as_bytes()]);
        self.blob(BlobKind::Sealed, name, bytes);
        self.event(EventBody::Sealed {
            approval: approval.to_owned(),
            stream: sidecar.id(),
            seq,
            blob,
            bytes: 30,
        })
    }

    /// Logs a record that asks nothing; `signed` where it ends its batch.
    ///
    /// # Errors
    /// Where it cannot stand in the log.
    pub fn record(
        &mut self,
        sidecar: &mut Sidecar,
        body: Body,
        signed: bool,
    ) -> anyhow::Result<Ruling> {
        self.ruled(sidecar, body, None, signed, None)
    }

    /// Logs an intent, as a batch of its own.
    ///
    /// # Errors
    /// Where it cannot stand in the log.
    pub fn intent(&mut self, sidecar: &mut Sidecar, action: &Action) -> anyhow::Result<Ruling> {
        let judged = self.judged(Some(action), "needs_facts")?;
        let body = Body::Intent(Box::new(judged));
        self.ruled(sidecar, body, Some(action), true, None)
    }

    /// The same, with a credential lent.
    ///
    /// # Errors
    /// Where it cannot stand in the log.
    pub fn intent_lent(
        &mut self,
        sidecar: &mut Sidecar,
        action: &Action,
    ) -> anyhow::Result<Ruling> {
        let body = Body::Intent(Box::new(self.judged(Some(action), "needs_facts")?));
        let lent = CredentialRef {
            name: "stripe-write".to_owned(),
            version: 1,
        };
        self.ruled(sidecar, body, Some(action), true, Some(lent))
    }

    /// Logs an action that was decided by the sidecar: `enforced`, or passed on under audit.
    ///
    /// # Errors
    /// Where it cannot stand in the log.
    pub fn decided(
        &mut self,
        sidecar: &mut Sidecar,
        action: &Action,
        verdict: &str,
        enforced: bool,
    ) -> anyhow::Result<Ruling> {
        let judged = Judged {
            enforced,
            ..self.judged(Some(action), verdict)?
        };
        let body = Body::Decision(Box::new(judged));
        self.ruled(sidecar, body, Some(action), true, None)
    }

    /// What a sidecar says of an action, or of a request that is none.
    ///
    /// # Errors
    /// Where no policy is active.
    pub fn judged(&mut self, action: Option<&Action>, verdict: &str) -> anyhow::Result<Judged> {
        let mut salt = self.salt;
        let mut salts = || {
            salt = salt.wrapping_add(1);
            [salt; 32]
        };
        let action = action.map(|action| ActionEvidence::conceal(action, &mut salts));
        let (action, openings) = action.unzip();
        self.concealed = openings.unwrap_or_default();
        self.salt = salt;
        Ok(Judged {
            action,
            bundle: self.state.active().context("no policy is active")?.digest(),
            containment: Containment::Pod,
            count: 1,
            detail: None,
            enforced: true,
            reason: None,
            refusal: None,
            rules: Vec::new(),
            shadow: Vec::new(),
            verdict: verdict.to_owned(),
        })
    }

    /// The exported file, with the checkpoint over its first `covered` leaves, or over all.
    ///
    /// # Errors
    /// Where the log never had that size.
    pub fn exported(&self, covered: Option<u64>) -> anyhow::Result<String> {
        self.disclosing(covered, |_| false)
    }

    /// The same, with the texts of these leaves disclosed.
    ///
    /// # Errors
    /// Where the log never had that size.
    pub fn disclosing(
        &self,
        covered: Option<u64>,
        of: impl Fn(u64) -> bool,
    ) -> anyhow::Result<String> {
        let first = First {
            export: VERSION.to_owned(),
            leaves: self.tree.size(),
            log: format!("actpass/{}", self.tenant),
            key: self.signer().verifier().to_vkey(),
        };
        let (mut writer, mut file) = Writer::new(&first);
        let (log, mut seq) = (first.log.as_str(), 0);
        for written in &self.written {
            let entry = match written {
                Written::Leaf(bytes) => {
                    seq += 1;
                    let seq = seq - 1;
                    if let Some(openings) = self.openings.get(&seq).filter(|_| of(seq)) {
                        file.extend(writer.disclosed(seq, openings.clone()));
                    }
                    Entry::Leaf { log, seq, bytes }
                }
                Written::Blob(kind, name, bytes) => Entry::Blob {
                    log,
                    kind: *kind,
                    name,
                    bytes,
                },
            };
            file.extend(writer.entry(entry).unwrap_or_default());
        }
        ensure!(writer.complete(), "not every leaf was written");
        file.extend(writer.last(self.checkpoint(covered)?));
        Ok(String::from_utf8(file)?)
    }

    /// The signed checkpoint over its first `covered` leaves, or over all.
    ///
    /// # Errors
    /// Where the log never had that size.
    pub fn checkpoint(&self, covered: Option<u64>) -> anyhow::Result<String> {
        let size = covered.unwrap_or_else(|| self.tree.size());
        self.signed(size, &self.signer())
    }

    /// The same, signed by the key of that seed.
    ///
    /// # Errors
    /// Where the log never had that size.
    pub fn checkpoint_by(&self, log_seed: u8, size: u64) -> anyhow::Result<String> {
        let key = SigningKey::from_bytes(&[log_seed; 32]);
        self.signed(size, &NoteSigner::new(self.signer().name(), key))
    }

    fn signed(&self, size: u64, signer: &NoteSigner) -> anyhow::Result<String> {
        let checkpoint = Checkpoint {
            origin: signer.name().to_owned(),
            size,
            root: self.tree.root_at(size).context("it never had that size")?,
        };
        Ok(checkpoint.sign(signer))
    }

    fn ruled(
        &mut self,
        sidecar: &mut Sidecar,
        body: Body,
        revealed: Option<&Action>,
        signed: bool,
        lent: Option<CredentialRef>,
    ) -> anyhow::Result<Ruling> {
        let header = self.header();
        let link = sidecar.chain.next(body, header.time)?;
        let macs = revealed.map(|action| MacKey::new([7; 32]).macs(action));
        let given = revealed.zip(macs.as_ref());
        let ruling = self.state.rule_on(&link.record, given, header.time)?;
        let ruling = Ruling {
            credential: lent,
            ..ruling
        };
        if revealed.is_some() {
            let name = format!("actpass.side/1\nactpass/{}\n{}", self.tenant, header.seq);
            let sealed = format!("the sealed texts of leaf {}", header.seq);
            let kind = BlobKind::SideFrame { seq: header.seq };
            self.blob(kind, sha256(&[name.as_bytes()]), sealed.into_bytes());
            let openings = std::mem::take(&mut self.concealed);
            self.openings.insert(header.seq, openings);
        }
        let signature = signed.then(|| sign_batch(&sidecar.key, &link.hash));
        let leaf = Leaf::of_record(header, link.record, ruling.clone(), signature);
        self.push(&leaf)?;
        Ok(ruling)
    }

    fn header(&mut self) -> LeafHeader {
        self.now += Duration::from_micros(1);
        LeafHeader {
            log: format!("actpass/{}", self.tenant),
            prev: self.head,
            seq: self.tree.size(),
            time: self.now,
        }
    }

    fn push(&mut self, leaf: &Leaf) -> anyhow::Result<()> {
        self.state.apply(leaf, &self.bundles)?;
        let bytes = leaf.canonical()?;
        self.head = leaf_hash(&bytes);
        self.tree.push(self.head);
        self.written.push(Written::Leaf(bytes));
        Ok(())
    }

    fn blob(&mut self, kind: BlobKind, name: [u8; 32], bytes: Vec<u8>) {
        self.written.push(Written::Blob(kind, name, bytes));
    }
}

/// The approval that a ruling asks for or uses.
pub fn approval_of(ruling: &Ruling) -> Option<String> {
    match ruling.approval.clone()? {
        RulingApproval::Asked { id, .. }
        | RulingApproval::Pending { id }
        | RulingApproval::Used { id } => Some(id),
    }
}

/// A refund of `minor` US cents on `charge`.
///
/// # Errors
/// None, as all names in it are good ones.
pub fn refund(tenant: &str, minor: i64, charge: &str) -> anyhow::Result<Action> {
    let usd = Currency::USD;
    let meter = |name: &str, unit, amount| MeterUse {
        name: name.to_owned(),
        unit,
        amount,
    };
    Ok(Action {
        tenant: tenant.to_owned(),
        passport: PASSPORT.to_owned(),
        agent: "refunds".to_owned(),
        upstream: "stripe".to_owned(),
        capability: "stripe.refunds.create".parse()?,
        effect: Effect::Irreversible,
        method: "POST".to_owned(),
        host: "api.stripe.com".parse()?,
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
    })
}

/// Refunds up to $100.00 are allowed, above people are asked, above $5,000.00 denied; of $300.00 an hour, and $200.00 a day
/// unless people agree.
pub fn policy(tenant: &str, mode: &str) -> Value {
    let usd = |minor: i64| json!({"currency": "USD", "minor": minor.to_string()});
    let seat = json!({"groups": ["finance"], "quorum": 1, "expires_after_seconds": 1800, "hold_seconds": 0});
    let rule = |name: &str, decision: &str, amounts: Value| {
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
    let mut policy = json!({
        "v": BUNDLE_VERSION, "tenant": tenant,
        "passports": [{
            "name": PASSPORT, "agent_id": "refunds", "owner": "owner@example.com", "purpose": "Refund customers",
            "scope": [{"capability": "stripe.**"}], "default_approval": seat, "ttl_seconds": 900,
            "limits": [
                {"meter": "refunds", "unit": "USD", "max": 30_000, "window": {"Sliding": {"seconds": 3600}}, "on_exceed": "Deny"},
                {"meter": "refunds", "unit": "USD", "max": 20_000, "window": {"Calendar": "Day"}, "on_exceed": "RequireApproval"},
                {"meter": "writes", "unit": "Count", "max": 40, "window": {"Calendar": "Month"}, "on_exceed": "Deny"},
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
    if mode == "audit"
        && let Some(policy) = policy.as_object_mut()
    {
        policy.insert("mode".to_owned(), json!("audit"));
    }
    policy
}
