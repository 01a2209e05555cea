//! A read credential is lent for what a Passport may read, and for nothing else, whatever a sidecar asks for.

use actpass_core::wire::LeaseRequest;
use actpass_ledger::vault::Bindings;
use actpass_sidecar::ledger_client::{LedgerClient, LedgerError};
use actpass_tests::parts::{Parts, fresh_key};

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  credentials: [{name: shop, effects: [Read], header: Authorization, format: "Bearer {secret}"}]
  actions:
    - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
    - {name: orders.close, match: {http: {method: POST, path: /v1/close}}, effect: Write, body: {format: None}}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec: {agentId: clerk, owner: owner@example.com, purpose: Close orders, scope: [{capability: SCOPE}] EXTRA}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_credential_is_lent_only_for_reads_of_the_scope_and_while_the_passport_is_in_force()
{
    struct Case {
        name: &'static str,
        scope: &'static str,
        extra: &'static str,
        refused: Option<&'static str>,
    }
    let cases = [
        Case {
            name: "a read in scope",
            scope: "shop.read",
            extra: "",
            refused: None,
        },
        Case {
            name: "no read in scope",
            scope: "shop.orders.close",
            extra: "",
            refused: Some("no read of that upstream"),
        },
        Case {
            name: "suspended",
            scope: "shop.read",
            extra: ", suspended: true",
            refused: Some("suspended"),
        },
        Case {
            name: "past its end",
            scope: "shop.read",
            extra: ", notAfter: \"2020-01-01T00:00:00Z\"",
            refused: Some("past its end"),
        },
    ];
    for Case {
        name,
        scope,
        extra,
        refused,
    } in cases
    {
        let parts = Parts::new(&POLICY.replace("SCOPE", scope).replace("EXTRA", extra)).unwrap();
        let bindings = Bindings {
            hosts: vec!["api.shop.example".to_owned()],
            ports: vec![443],
            header: "authorization".to_owned(),
            format: None,
            ca_sha256: None,
            effects: vec![actpass_core::upstream::Effect::Read],
        };
        parts.store("shop", bindings, "the-secret").unwrap();
        let ledger = parts.ledger().await.unwrap();
        let key = fresh_key().unwrap();
        let client = LedgerClient::new(parts.address(), &key).unwrap();
        let passport = parts.passport(&key.verifying_key(), 60).unwrap();
        client.open(&passport, 0).await.unwrap();
        let asked = LeaseRequest {
            upstream: "shop".to_owned(),
            host: "api.shop.example".to_owned(),
            port: 443,
        };
        match (client.lease(&asked).await, refused) {
            (Ok(lease), None) => assert_eq!(lease.secret, "the-secret", "{name}"),
            (Err(LedgerError::Refused(problem)), Some(why)) => {
                assert!(problem.detail.contains(why), "{name}: {}", problem.detail);
            }
            (answer, _) => panic!("{name}: {answer:?}"),
        }
        ledger.stop().await;
    }
}
