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

#[tokio::test]
async fn where_pods_begin_or_end_their_passports_are_looked_at() {
    let world = World::default();
    let running = |shop: u32| {
        let pods = |count| Pods {
            count,
            ..Pods::default()
        };
        let here = |count| BTreeMap::from([("clerk".to_owned(), pods(count))]);
        Running::from([
            ("shop".to_owned(), here(shop)),
            ("bank".to_owned(), here(1)),
        ])
    };
    assert_eq!(world.running("shop"), None, "not looked at yet");
    world.put_running(running(1));
    assert_eq!(dirty(&world).await, names(&["bank", "shop"]));
    assert_eq!(world.running("mail"), Some(BTreeMap::new()));
    world.put_running(running(2));
    assert_eq!(dirty(&world).await, names(&["shop"]));
    assert_eq!(
        world.running("shop").unwrap().get("clerk").unwrap().count,
        2
    );
    world.put_running(running(2));
    assert_eq!(dirty(&world).await, Dirty::default());
    world.put_running(Running::new());
    assert_eq!(dirty(&world).await, names(&["bank", "shop"]));
}

#[test]
fn an_exempt_namespace_is_not_governed() {
    let namespace = |name: &str| Namespace {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        ..Namespace::default()
    };
    let world = World::exempting(["kube-system".to_owned()]);
    world.put_namespace(namespace("shop"));
    world.put_namespace(namespace("kube-system"));
    assert!(world.namespace("shop").is_some() && world.namespace("kube-system").is_none());
    world.replace_namespaces(vec![namespace("kube-system")]);
    assert_eq!(world.namespaces().len(), 0);
}

#[test]
fn what_was_published_for_a_namespace_that_is_gone_is_nothing_to_another_of_its_name() {
    let namespace = |uid: &str| Namespace {
        name: "shop".to_owned(),
        uid: uid.to_owned(),
        ..Namespace::default()
    };
    let world = World::default();
    world.put_published(published("c-1/shop/n-1"));
    assert!(world.published(&namespace("n-1")).is_some());
    assert!(world.published(&namespace("n-2")).is_none());
    world.put_published(published("c-1/shop/n-2"));
    let uids = || -> Vec<String> {
        let found = world.published_under("shop").into_iter();
        found.map(|it| it.uid().to_owned()).collect()
    };
    assert_eq!(uids(), ["n-1", "n-2"], "both are there to be taken back");
    assert_eq!(world.published_namespaces(), ["shop", "shop"]);
    world.remove_published(published("c-1/shop/n-1").digest());
    assert_eq!(uids(), ["n-2"]);
}

fn published(tenant: &str) -> Published {
    let map = ConfigMap {
        data: Some(Published::data(&bundle(tenant)).unwrap()),
        ..ConfigMap::default()
    };
    Published::of(&map).unwrap()
}

fn bundle(tenant: &str) -> Bundle {
    let spec = actpass_core::bundle::BundleSpec {
        v: actpass_core::bundle::BUNDLE_VERSION.to_owned(),
        tenant: tenant.to_owned(),
        environment: None,
        mode: actpass_core::mode::Mode::Enforce,
        passports: Vec::new(),
        upstreams: Vec::new(),
        policies: Vec::new(),
    };
    Bundle::new(spec).unwrap()
}

#[test]
fn a_published_bundle_is_read_as_it_was_written() {
    let bundle = bundle("c-1/shop/n-1");
    let published = published("c-1/shop/n-1");
    assert_eq!(published.digest(), bundle.digest());
    assert_eq!((published.namespace(), published.uid()), ("shop", "n-1"));
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
