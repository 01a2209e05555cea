use super::*;
use crate::object::tests::object;

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec: {agentId: clerk, owner: o, purpose: p, scope: [{capability: shop.read}]}
"#;

const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
"#;

async fn dirty(world: &World) -> Dirty {
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), world.dirty()).await;
    waited.unwrap_or_default()
}

fn names(names: &[&str]) -> Dirty {
    Dirty {
        all: false,
        names: names.iter().map(|it| (*it).to_owned()).collect(),
    }
}

#[tokio::test]
async fn only_what_may_decide_otherwise_is_looked_at_again() {
    let world = World::default();
    let changes = world.changes();
    world.put(object("shop", PASSPORT));
    assert_eq!(dirty(&world).await, names(&["shop"]));
    assert_eq!(*changes.borrow(), 1);
    let mut written = object("shop", PASSPORT);
    written.status = serde_json::json!({"sessions": 1});
    world.put(written);
    assert_eq!(dirty(&world).await, Dirty::default(), "a status");
    assert_eq!(*changes.borrow(), 1);
    let mut anew = object("shop", PASSPORT);
    anew.uid = "another".to_owned();
    world.put(anew);
    assert_eq!(dirty(&world).await, names(&["shop"]));
    world.put(object("shop", UPSTREAM));
    assert!(dirty(&world).await.all);
    world.replace(Kind::Passport, vec![object("other", PASSPORT)]);
    assert_eq!(dirty(&world).await, names(&["other", "shop"]));
    assert_eq!(world.passports("shop").len(), 0);
    assert_eq!(world.passports("other").len(), 1);
}

#[test]
fn a_published_bundle_is_read_as_it_was_written() {
    let spec = actpass_core::bundle::BundleSpec {
        v: actpass_core::bundle::BUNDLE_VERSION.to_owned(),
        tenant: "c-1/shop/n-1".to_owned(),
        environment: None,
        passports: Vec::new(),
        upstreams: Vec::new(),
        policies: Vec::new(),
    };
    let bundle = Bundle::new(spec).unwrap();
    let map = ConfigMap {
        data: Some(Published::data(&bundle).unwrap()),
        ..ConfigMap::default()
    };
    let published = Published::of(&map).unwrap();
    assert_eq!(published.digest(), bundle.digest());
    assert_eq!(published.namespace(), "shop");
    assert!(published.line.ends_with(b"\n"));
    assert!(published.line.len() <= actpass_core::session::LINE_BYTES_MAX);
    for broken in [None, Some([("bundle".to_owned(), "{}".to_owned())].into())] {
        let map = ConfigMap {
            data: broken,
            ..ConfigMap::default()
        };
        assert!(Published::of(&map).is_err());
    }
}
