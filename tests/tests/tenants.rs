//! The ledger's API where several tenants share it: who may do what, and that nobody sees or touches another's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

#[path = "tenants/export.rs"]
mod export;

use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::leaf::{EventBody, StreamEnd};
use actpass_core::passport::jws::key_id;
use actpass_core::vote::{SignedVote, Vote};
use actpass_sidecar::judge::{DenialKind, Judgement};
use actpass_tests::parts::{Agent, fresh_key};
use actpass_tests::tenants::{Tenants, encoded};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions:
    - name: pay
      match: {http: {method: POST, path: /v1/pay}}
      effect: Irreversible
      body: {format: JSON}
      params: {allow: [amount]}
      amount: {from: body.amount, unit: Major, currency: {const: USD}}
      meters: [{name: paid, from: Amount}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Pay
  scope: [{capability: shop.pay}]
  limits: [{meter: paid, unit: USD, max: "100.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - {name: small, decision: Allow, allowIrreversible: true, capabilities: [shop.pay], amounts: [{currency: USD, lte: "10.00"}]}
    - name: large
      decision: RequireApproval
      capabilities: [shop.pay]
      amounts: [{currency: USD, gt: "10.00"}]
      approval: {groups: [finance], quorum: 2, expiresAfterSeconds: 1800}
"#;

const SHOP: &str = "0c1d/shop/aaaa";
const BANK: &str = "0c1d/bank/bbbb";

const CREDENTIAL: &str = r#"{"secret": "s3cr3t", "bindings": {"hosts": ["api.shop.example"], "ports": [443],
    "header": "authorization", "format": null, "ca_digest": null, "effects": ["Write"]}}"#;

/// Every request of people and the controller, with the right it needs.
const REQUESTS: [(&str, &str, &str); 15] = [
    ("POST", "/v1/revocations", "update bundles"),
    ("GET", "/v1/approvals", "get evidence"),
    ("GET", "/v1/approvals/APPROVAL", "get evidence"),
    ("POST", "/v1/approvals/APPROVAL/votes", "update approvals"),
    ("GET", "/v1/limits", "get evidence"),
    ("GET", "/v1/intents", "get evidence"),
    ("POST", "/v1/intents/INTENT/resolution", "update intents"),
    ("GET", "/v1/credentials", "get credentials"),
    ("PUT", "/v1/credentials/pay", "update credentials"),
    ("DELETE", "/v1/credentials/pay", "delete credentials"),
    ("GET", "/v1/checkpoint", "get evidence"),
    ("GET", "/v1/events", "get evidence"),
    ("GET", "/v1/export", "get evidence"),
    ("DELETE", "/v1/pods/nobody", "update bundles"),
    ("PUT", "/v1/bundles", "update bundles"),
];

const RIGHTS: [&str; 7] = [
    "update bundles",
    "update approvals",
    "update intents",
    "get evidence",
    "get credentials",
    "update credentials",
    "delete credentials",
];

fn all_of(tenant: &str) -> Vec<String> {
    RIGHTS
        .iter()
        .map(|right| format!("{right} {tenant}"))
        .collect()
}

/// Two tenants of one ledger; each has asked a question, has an action of unknown outcome, and a credential.
struct World {
    tenants: Tenants,
    shop: Side,
    bank: Side,
}

struct Side {
    bundle: Arc<Bundle>,
    agent: Agent,
    approval: String,
    intent: String,
}

impl World {
    async fn new() -> Self {
        let tenants = Tenants::start().unwrap();
        tenants.know(
            "controller",
            "controller",
            [SHOP, BANK].map(all_of).concat(),
        );
        let shop = Side::new(&tenants, SHOP, "pod-shop").await;
        let bank = Side::new(&tenants, BANK, "pod-bank").await;
        Self {
            tenants,
            shop,
            bank,
        }
    }

    async fn end(self) {
        for tenant in [SHOP, BANK] {
            self.tenants.verified(tenant).unwrap();
        }
        self.shop.agent.close().await.unwrap();
        self.bank.agent.close().await.unwrap();
        self.tenants.stop().await;
    }
}

impl Side {
    async fn new(tenants: &Tenants, tenant: &str, pod: &str) -> Self {
        let bundle = tenants.bundle(POLICY, tenant).unwrap();
        let call = async |method: &str, path: &str, body: &[u8]| {
            let answer = tenants.call(Some("controller"), method, path, body).await;
            let (status, body) = answer.unwrap();
            assert_eq!(status, 200, "{method} {path}: {body}");
            body
        };
        call("PUT", "/v1/bundles", bundle.bytes()).await;
        let query = encoded(tenant);
        let path = format!("/v1/credentials/pay?tenant={query}");
        call("PUT", &path, CREDENTIAL.as_bytes()).await;
        let agent = tenants.agent(&bundle, pod).await.unwrap();
        let approval = ask(&agent, "60.00").await;
        let small = agent.judge("POST", "/v1/pay", r#"{"amount":"5.00"}"#).await;
        let Judgement::Permit(_) = small.unwrap() else {
            panic!("not permitted")
        };
        let intents = call("GET", &format!("/v1/intents?tenant={query}"), b"").await;
        let (stream, seq) = (&intents[0]["stream"], &intents[0]["seq"]);
        let intent = format!("{}/{seq}", stream.as_str().unwrap());
        Self {
            bundle,
            agent,
            approval,
            intent,
        }
    }

    fn path(&self, path: &str, tenant: &str) -> String {
        let path = path
            .replace("APPROVAL", &self.approval)
            .replace("INTENT", &self.intent);
        format!("{path}?tenant={}", encoded(tenant))
    }

    fn body(&self, path: &str) -> Vec<u8> {
        match path {
            "/v1/bundles" => self.bundle.bytes().to_vec(),
            "/v1/revocations" => br#"{"passport":"nobody","why":"lost"}"#.to_vec(),
            "/v1/credentials/pay" => CREDENTIAL.as_bytes().to_vec(),
            "/v1/intents/INTENT/resolution" => br#"{"happened":true}"#.to_vec(),
            _ => b"{}".to_vec(),
        }
    }
}

/// Asks for a payment that people have to agree to; gives the id of the question.
async fn ask(agent: &Agent, amount: &str) -> String {
    let body = format!(r#"{{"amount":"{amount}"}}"#);
    let Judgement::Deny(denial) = agent.judge("POST", "/v1/pay", &body).await.unwrap() else {
        panic!("permitted")
    };
    match denial.kind {
        DenialKind::ApprovalRequired { approval, .. } => approval,
        _ => panic!("{denial:?}"),
    }
}

#[tokio::test]
async fn each_request_needs_its_right_and_no_other() {
    let world = World::new().await;
    let tenants = &world.tenants;
    for right in RIGHTS {
        let others = all_of(SHOP).into_iter();
        let wanted = format!("{right} {SHOP}");
        tenants.know(&format!("only-{right}"), "ann", [wanted.clone()]);
        tenants.know(
            &format!("without-{right}"),
            "ann",
            others.filter(|other| *other != wanted),
        );
    }
    for (method, path, right) in REQUESTS {
        let (shop, body) = (world.shop.path(path, SHOP), world.shop.body(path));
        let call = async |token: Option<&str>| {
            let answer = tenants.call(token, method, &shop, &body).await;
            answer.unwrap()
        };
        let (status, said) = call(Some(&format!("without-{right}"))).await;
        assert_eq!(
            (status, &said["code"]),
            (403, &json!("forbidden")),
            "{path}: {said}"
        );
        for nobody in [None, Some("guessed"), Some("")] {
            let (status, said) = call(nobody).await;
            assert_eq!(status, 401, "{path} by {nobody:?}: {said}");
        }
        let (status, said) = call(Some(&format!("only-{right}"))).await;
        assert!(![401, 403].contains(&status), "{path}: {status} {said}");
    }
    world.end().await;
}

#[tokio::test]
async fn nobody_sees_or_touches_another_tenant() {
    let world = World::new().await;
    let tenants = &world.tenants;
    tenants.know("ann", "ann", all_of(SHOP));
    let call = async |method: &str, path: &str, body: &[u8]| {
        let answer = tenants.call(Some("ann"), method, path, body).await;
        answer.unwrap()
    };
    for (method, path, _) in REQUESTS {
        let body = world.bank.body(path);
        let (status, said) = call(method, &world.bank.path(path, BANK), &body).await;
        assert_eq!(status, 403, "{method} {path} of the other tenant: {said}");
        let (status, said) = call(method, &world.bank.path(path, "0c1d/shop/cccc"), &body).await;
        assert_eq!(
            status, 403,
            "{method} {path} of a namespace of the same name: {said}"
        );
        let unnamed = world.bank.path(path, "").replace("?tenant=", "");
        let (status, said) = call(method, &unnamed, &body).await;
        let want = if path == "/v1/bundles" { 403 } else { 400 };
        assert_eq!(status, want, "{method} {path} of nobody: {said}");
    }
    // Its own tenant, and the other's ids.
    let query = format!("?tenant={}", encoded(SHOP));
    let bank = &world.bank;
    let vote = serde_json::to_vec(&stamped(tenants, &bank.approval, SHOP, |_| {}).await).unwrap();
    for (method, path, body) in [
        ("GET", format!("/v1/approvals/{}", bank.approval), vec![]),
        ("DELETE", "/v1/pods/pod-bank".to_owned(), vec![]),
        (
            "POST",
            format!("/v1/approvals/{}/votes", bank.approval),
            vote,
        ),
        (
            "POST",
            format!("/v1/intents/{}/resolution", bank.intent),
            br#"{"happened":true}"#.to_vec(),
        ),
    ] {
        let (status, said) = call(method, &format!("{path}{query}"), &body).await;
        assert_eq!(
            (status, &said["code"]),
            (404, &json!("not_found")),
            "{path}: {said}"
        );
    }
    let bundles = format!("/v1/bundles{query}");
    let (status, said) = call("PUT", &bundles, bank.bundle.bytes()).await;
    assert_eq!(status, 403, "the bundle says whose it is: {said}");

    // Lists are of one tenant.
    let list = async |path: &str| {
        let (status, said) = call("GET", &format!("{path}{query}"), b"").await;
        assert_eq!(status, 200, "{path}: {said}");
        said.as_array().unwrap().clone()
    };
    let approvals = list("/v1/approvals").await;
    assert_eq!(approvals.len(), 1);
    assert_eq!(approvals[0]["id"], json!(world.shop.approval));
    let limits = list("/v1/limits").await;
    assert_eq!(limits.len(), 1, "{limits:?}");
    let intents = list("/v1/intents").await;
    assert_eq!(intents.len(), 1, "{intents:?}");
    assert!(
        world
            .shop
            .intent
            .starts_with(intents[0]["stream"].as_str().unwrap())
    );
    assert_eq!(list("/v1/credentials").await.len(), 1);
    let path = format!("/v1/credentials/pay{query}");
    assert_eq!(call("DELETE", &path, b"").await.0, 204);
    assert_eq!(list("/v1/credentials").await.len(), 0);
    let others = format!("/v1/credentials?tenant={}", encoded(BANK));
    let answer = tenants.call(Some("controller"), "GET", &others, b"").await;
    assert_eq!(
        answer.unwrap().1[0]["name"],
        json!("pay"),
        "the other's is there"
    );
    world.end().await;
}

#[tokio::test]
async fn keys_are_public_and_counters_are_not() {
    let world = World::new().await;
    let tenants = &world.tenants;
    let (status, said) = tenants.call(None, "GET", "/v1/keys", b"").await.unwrap();
    assert_eq!((status, said), (200, json!({"keys": [tenants.log_key()]})));
    let path = "/v1/keys?from=2026-05-04T10:00:00Z";
    let (status, said) = tenants.call(None, "GET", path, b"").await.unwrap();
    let alone = json!({"keys": [tenants.log_key()], "by": {}});
    assert_eq!((status, said), (200, alone), "nothing came before it");
    let (status, _) = tenants
        .call(None, "GET", "/v1/keys?from=soon", b"")
        .await
        .unwrap();
    assert_eq!(status, 400);
    let (status, _) = tenants.call(None, "GET", "/metrics", b"").await.unwrap();
    assert_eq!(status, 404, "counters name every tenant");
    world.end().await;
}

/// A vote as the webhook stamps it, on that approval as the ledger shows it to the tenant.
async fn stamped(
    tenants: &Tenants,
    approval: &str,
    tenant: &str,
    change: fn(&mut Vote),
) -> SignedVote {
    let path = format!("/v1/approvals/{approval}?tenant={}", encoded(tenant));
    let shown = tenants.call(Some("controller"), "GET", &path, b"").await;
    let (_, shown) = shown.unwrap();
    let now = Timestamp::now();
    let mut vote = Vote {
        approval_uid: format!("uid-of-{approval}"),
        digest: shown["digest"].as_str().unwrap_or_default().to_owned(),
        grant: true,
        groups: vec!["finance".to_owned(), "system:authenticated".to_owned()],
        time: Timestamp::from_microsecond(now.as_microsecond()).unwrap(),
        user: "ada@example.com".to_owned(),
    };
    change(&mut vote);
    let key_id = key_id(&tenants.voter.verifying_key());
    vote.signed(&tenants.voter, &key_id).unwrap()
}

#[tokio::test]
async fn a_stamped_vote_counts_once_and_stays_in_the_log() {
    let world = World::new().await;
    let (tenants, shop) = (&world.tenants, &world.shop);
    let post = async |vote: Value| {
        let path = shop.path("/v1/approvals/APPROVAL/votes", SHOP);
        let body = serde_json::to_vec(&vote).unwrap();
        let answer = tenants.call(Some("controller"), "POST", &path, &body).await;
        answer.unwrap()
    };
    struct Case {
        name: &'static str,
        given: fn(&mut Vote),
        want: &'static str,
    }
    let cases = [
        Case {
            name: "the owner",
            given: |vote| vote.user = "owner@example.com".to_owned(),
            want: "the owner of the passport may not vote",
        },
        Case {
            name: "a ServiceAccount",
            given: |vote| vote.user = "system:serviceaccount:shop:clerk".to_owned(),
            want: "only people may vote",
        },
        Case {
            name: "in no group",
            given: |vote| vote.groups = vec!["sales".to_owned()],
            want: "in none of the groups asked",
        },
        Case {
            name: "another action",
            given: |vote| vote.digest = "ab".repeat(32),
            want: "a vote on another action",
        },
        Case {
            name: "too old",
            given: |vote| vote.time -= SignedDuration::from_secs(301),
            want: "more than 5 minutes before it was asked for, or in the future",
        },
        Case {
            name: "of a time to come",
            given: |vote| vote.time += SignedDuration::from_secs(310),
            want: "more than 5 minutes before it was asked for, or in the future",
        },
    ];
    for Case { name, given, want } in cases {
        let vote = stamped(tenants, &shop.approval, SHOP, given).await;
        let (status, said) = post(json!(vote)).await;
        assert_eq!(status, 409, "{name}: {said}");
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.contains(want), "{name}: {said}");
    }
    let good = stamped(tenants, &shop.approval, SHOP, |_| {}).await;
    let mut changed = json!(good);
    changed["vote"]["groups"] = json!(["finance", "cfo"]);
    let (status, said) = post(changed).await;
    assert_eq!(status, 409, "{said}");
    assert!(
        said["detail"].as_str().unwrap().contains("signature"),
        "{said}"
    );
    tenants.unmake("eve@example.com");
    let eve = |vote: &mut Vote| vote.user = "eve@example.com".to_owned();
    let unmade = stamped(tenants, &shop.approval, SHOP, eve).await;
    let (status, said) = post(json!(unmade)).await;
    assert_eq!(
        (status, &said["code"]),
        (409, &json!("no_vote")),
        "signed, and no ApprovalVote: {said}"
    );
    let (status, said) = post(json!({"grant": true})).await;
    assert_eq!(status, 400, "nobody votes by the controller's word: {said}");

    let (status, said) = post(json!(good)).await;
    assert_eq!((status, &said["state"]), (200, &json!("pending")), "{said}");
    let (status, said) = post(json!(good)).await;
    assert_eq!(
        (status, &said["state"]),
        (200, &json!("pending")),
        "passed on again: {said}"
    );
    let no = stamped(tenants, &shop.approval, SHOP, |vote| vote.grant = false).await;
    let (status, said) = post(json!(no)).await;
    assert_eq!(status, 409, "another answer of the same person: {said}");
    let second = |vote: &mut Vote| vote.user = "bob@example.com".to_owned();
    let vote = stamped(tenants, &shop.approval, SHOP, second).await;
    let (status, said) = post(json!(vote)).await;
    assert_eq!((status, &said["state"]), (200, &json!("granted")), "{said}");

    let (status, said) = post(json!(good)).await;
    assert_eq!(
        (status, &said["state"]),
        (200, &json!("granted")),
        "passed on again: {said}"
    );

    let events = tenants.events(SHOP).unwrap();
    let kept: Vec<&SignedVote> = events
        .iter()
        .filter_map(|event| match event {
            EventBody::Vote { signed, .. } => signed.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [&good, &vote], "stamp and signature are in the leaf");
    let verdict = shop.agent.judge("POST", "/v1/pay", r#"{"amount":"60.00"}"#);
    assert!(matches!(verdict.await.unwrap(), Judgement::Permit(_)));
    world.end().await;
}

#[tokio::test]
async fn a_pod_has_one_stream_and_a_new_issuer_key_is_named_before_it_is_used() {
    let world = World::new().await;
    let (tenants, bundle) = (&world.tenants, &world.shop.bundle);
    let refused = tenants.agent(bundle, "pod-shop").await.err().unwrap();
    let refused = format!("{refused:#}");
    assert!(refused.contains("second_session"), "{refused}");
    let next = tenants.agent(bundle, "pod-next").await.unwrap();
    let lost = tenants.agent(bundle, "pod-lost").await.unwrap();
    lost.kill().await;
    let gone = format!("/v1/pods/pod-lost?tenant={}", encoded(SHOP));
    for want in [204, 404] {
        let answer = tenants.call(Some("controller"), "DELETE", &gone, b"").await;
        assert_eq!(answer.unwrap().0, want);
    }
    let ended = tenants.events(SHOP).unwrap();
    let how = StreamEnd::ExpiredTailUnknown;
    assert!(
        matches!(ended.last(), Some(EventBody::StreamEnded { how: as_it, .. }) if *as_it == how)
    );

    // Of a sandbox that is gone its own stream ends, and never the one that came after it.
    let before = tenants.agent(bundle, "pod-anew").await.unwrap();
    let gone = |stream: &str| {
        let shop = encoded(SHOP);
        format!("/v1/pods/pod-anew?tenant={shop}&stream={stream}")
    };
    // Its ring file is named by it.
    let stream = |agent: &Agent| agent.ring.file_stem().unwrap().display().to_string();
    let of_before = gone(&stream(&before));
    before.kill().await;
    let ends = async |path: String| {
        let answer = tenants.call(Some("controller"), "DELETE", &path, b"");
        answer.await.unwrap().0
    };
    assert_eq!(ends(gone(&stream(&next))).await, 404, "another pod's");
    let refused = tenants.agent(bundle, "pod-anew").await.err().unwrap();
    assert!(format!("{refused:#}").contains("second_session"));
    assert_eq!(ends(of_before.clone()).await, 204);
    let after = tenants.agent(bundle, "pod-anew").await.unwrap();
    assert_eq!(ends(of_before).await, 404, "it has ended already");
    assert_eq!(ends(gone("nonsense")).await, 400);
    let permit = after.judge("POST", "/v1/pay", r#"{"amount":"1.00"}"#);
    assert!(matches!(permit.await.unwrap(), Judgement::Permit(_)));
    after.close().await.unwrap();

    let new = fresh_key().unwrap();
    let opened = tenants.agent_of(bundle, "pod-new", new.clone()).await;
    let refused = format!("{:#}", opened.err().unwrap());
    assert!(refused.contains("no issuer key"), "{refused}");
    let id = key_id(&new.verifying_key());
    tenants.issuers.send_modify(|keys| {
        keys.insert(id.clone(), new.verifying_key());
    });
    let under_new = tenants.agent_of(bundle, "pod-new", new).await.unwrap();
    let under_old = tenants.agent(bundle, "pod-old").await.unwrap();
    let events = tenants.events(SHOP).unwrap();
    let named = events.iter().position(
        |event| matches!(event, EventBody::Keys(keys) if keys.issuer_keys.contains_key(&id)),
    );
    let used = events.iter().position(|event| {
        matches!(event, EventBody::StreamOpened { issuer: Some(by), pod_uid: Some(pod), .. } if *by == id && pod == "pod-new")
    });
    assert_eq!(named.unwrap() + 1, used.unwrap());
    for agent in [next, under_new, under_old] {
        agent.close().await.unwrap();
    }
    world.end().await;
}

#[tokio::test]
async fn an_old_leader_puts_no_older_bundle() {
    let tenants = Tenants::start().unwrap();
    tenants.know("controller", "controller", all_of(SHOP));
    let policy = |max: &str| POLICY.replace("100.00", max);
    let [first, second] = ["100.00", "200.00"].map(|max| tenants.bundle(&policy(max), SHOP));
    let (first, second) = (first.unwrap(), second.unwrap());
    let put = async |bundle: &Bundle, revision: &str| {
        let path = format!("/v1/bundles?tenant={}{revision}", encoded(SHOP));
        let answer = tenants.call(Some("controller"), "PUT", &path, bundle.bytes());
        let (status, said) = answer.await.unwrap();
        let code = said["code"].as_str().unwrap_or_default();
        format!("{status} {code}").trim_end().to_owned()
    };
    let stale = "409 stale_revision";
    for (name, bundle, revision, want) in [
        ("the first leader's", &first, "&term=7&count=0", "200"),
        ("again, and late", &first, "&term=7&count=0", "200"),
        ("its next", &second, "&term=7&count=2", "200"),
        ("one that it sent before", &first, "&term=7&count=1", stale),
        ("another one as the same", &first, "&term=7&count=2", stale),
        ("the same one later", &second, "&term=7&count=4", "200"),
        ("one sent before that", &first, "&term=7&count=3", stale),
        (
            "the same one by another leader",
            &second,
            "&term=9&count=0",
            "200",
        ),
        (
            "the first leader's, after a pause",
            &first,
            "&term=7&count=9",
            stale,
        ),
        ("by who names none", &first, "", stale),
        ("half a revision", &second, "&term=10", "400 malformed"),
        (
            "more than can be recorded",
            &second,
            "&term=9007199254740992&count=0",
            "400 malformed",
        ),
    ] {
        assert_eq!(put(bundle, revision).await, want, "{name}");
    }
    let events = tenants.events(SHOP).unwrap().into_iter();
    let given: Vec<String> = events
        .filter_map(|event| match event {
            EventBody::Bundle { revision, .. } => Some(revision.unwrap().to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(given, ["7.0", "7.2", "9.0"]);
    tenants.verified(SHOP).unwrap();
    // Whoever reads the log anew hears no earlier leader either.
    let tenants = tenants.restarted().await.unwrap();
    let path = format!("/v1/bundles?tenant={}&term=7&count=9", encoded(SHOP));
    let answer = tenants.call(Some("controller"), "PUT", &path, first.bytes());
    assert_eq!(answer.await.unwrap().0, 409);
    tenants.stop().await;
}

#[tokio::test]
async fn questions_are_listed_in_brief_with_those_that_wait_first() {
    let world = World::new().await;
    let tenants = &world.tenants;
    let denied = ask(&world.shop.agent, "61.00").await;
    let vote = stamped(tenants, &denied, SHOP, |vote| vote.grant = false).await;
    let path = format!("/v1/approvals/{denied}/votes?tenant={}", encoded(SHOP));
    let vote = serde_json::to_vec(&vote).unwrap();
    let answer = tenants.call(Some("controller"), "POST", &path, &vote);
    assert_eq!(answer.await.unwrap().0, 200);
    let last = ask(&world.shop.agent, "62.00").await;
    let list = async |query: &str| {
        let path = format!("/v1/approvals?tenant={}{query}", encoded(SHOP));
        let answer = tenants.call(Some("controller"), "GET", &path, b"").await;
        let (status, said) = answer.unwrap();
        assert_eq!(status, 200, "{said}");
        said
    };
    let ids = |said: &Value| -> Vec<String> {
        let all = said.as_array().unwrap().iter();
        all.map(|it| it["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let want = [&world.shop.approval, &last, &denied].map(String::clone);
    assert_eq!(ids(&list("").await), want);
    let briefs = list("&brief=true").await;
    assert_eq!(ids(&briefs), want);
    let keys = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&briefs[0]),
        ["asked", "expires", "id", "state", "votes"]
    );
    assert_eq!(briefs[2]["state"], "denied");
    assert_eq!(briefs[2]["votes"][0]["grant"], false);
    // Of those that are over only what expires later; those that wait are always there.
    let since = |ahead: SignedDuration| format!("&brief=true&since={}", Timestamp::now() + ahead);
    let open = &want[..2];
    assert_eq!(
        ids(&list(&since(SignedDuration::from_hours(1))).await),
        open
    );
    assert_eq!(ids(&list(&since(SignedDuration::from_mins(1))).await), want);
    world.end().await;
}
