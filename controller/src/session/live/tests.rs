use std::collections::BTreeMap;

use actpass_core::passport::jws::IssuerKeys;
use actpass_core::succession::{Purpose, Rhythm};
use actpass_kubernetes::names::MODE_LABEL;
use actpass_kubernetes::seeds::Seeds;
use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::bundle::{Place, compile};
use crate::contact::SILENCE_MAX;
use crate::object::tests::object;
use crate::object::{Namespace, Object};
use crate::world::WATCHED;

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk-agent
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Refund customers
  scope: [{capability: "shop.**"}]
"#;

fn namespace() -> Namespace {
    Namespace {
        name: "shop".to_owned(),
        uid: "n-1".to_owned(),
        labels: [(MODE_LABEL.to_owned(), "enforce".to_owned())].into(),
        ends: false,
    }
}

fn pod() -> BoundPod {
    BoundPod {
        namespace: "shop".to_owned(),
        service_account: "clerk".to_owned(),
        name: "clerk-1".to_owned(),
        uid: "u-1".to_owned(),
    }
}

/// Puts a Passport into force: into the world, and the bundle that is published.
fn put(world: &World, passport: &str) {
    let object = object("shop", passport);
    publish(world, &object);
    world.put(object);
}

fn publish(world: &World, object: &Object) {
    let namespace = namespace();
    let place = Place {
        cluster: "c-1",
        install: "actpass-system",
        namespace: &namespace,
    };
    let compiled = compile(place, [object], None);
    let bundle = compiled.bundle.unwrap();
    let map = ConfigMap {
        data: Some(Published::data(&bundle).unwrap()),
        ..ConfigMap::default()
    };
    world.put_published(Published::of(&map).unwrap());
}

fn seeds(seeds: &[u8]) -> Seeds {
    let lines: Vec<String> = seeds.iter().map(|seed| b64u_encode(&[*seed; 32])).collect();
    Seeds::read(lines.join("\n").as_bytes()).unwrap()
}

/// Keys of which each follows the one before at once.
fn issued(seeds: &[u8]) -> Keyring {
    let rhythm = Rhythm {
        age: None,
        notice: jiff::SignedDuration::ZERO,
        overlap: jiff::SignedDuration::from_hours(1),
    };
    let seeds = self::seeds(seeds);
    let mut list = Succession::default();
    let before = Timestamp::now() - jiff::SignedDuration::from_secs(5);
    seeds.list(&mut list, Purpose::Passports, rhythm, before);
    Keyring::new(seeds, list)
}

struct Sidecar {
    world: Arc<World>,
    contact: Arc<Contact>,
    lines: mpsc::Receiver<Bytes>,
    key: SigningKey,
    /// What passports are signed with.
    issuing: watch::Sender<Arc<Keyring>>,
    /// What the parts believe of each other.
    trusting: watch::Sender<Trust>,
    /// The keys that it was told, as one would believe them whose pod was made with the first.
    keys: IssuerKeys,
    /// The list of keys for checkpoints that it was told.
    checkpoints: String,
    /// Held, or the session would be over.
    place: Option<oneshot::Sender<()>>,
    /// The same.
    _stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<Ended>,
}

impl Sidecar {
    fn new() -> Self {
        let world = Arc::new(World::default());
        world.put_namespace(namespace());
        put(&world, PASSPORT);
        Self::of(world)
    }

    /// In a namespace whose policy has that Passport still, which is gone.
    fn without(passport: &str) -> Self {
        let world = Arc::new(World::default());
        world.put_namespace(namespace());
        publish(&world, &object("shop", passport));
        Self::of(world)
    }

    fn of(world: Arc<World>) -> Self {
        (0..WATCHED).for_each(|_| world.count_listed());
        let contact = Arc::new(Contact::default());
        let (lines, receiver) = mpsc::channel(1);
        let (place, replaced) = oneshot::channel();
        let (stop, stopped) = watch::channel(false);
        let key = SigningKey::from_bytes(&[1; 32]);
        let (issuing, keys) = watch::channel(Arc::new(issued(&[2])));
        let (trusting, trust) = watch::channel(Trust::default());
        let live = Live {
            world: world.clone(),
            contact: contact.clone(),
            issuer: Issuer {
                keys,
                name: "actpass/c-1".to_owned(),
            },
            trust,
            pod: pod(),
            key: key.verifying_key(),
            lines,
            replaced,
            stop: stopped,
        };
        Self {
            world,
            contact,
            lines: receiver,
            key,
            issuing,
            trusting,
            keys: IssuerKeys::new(),
            checkpoints: String::new(),
            place: Some(place),
            _stop: stop,
            running: tokio::spawn(live.run()),
        }
    }

    /// The next line that is no ping; keys are taken in.
    async fn line(&mut self) -> SessionLine {
        loop {
            let line = self.lines.recv().await.unwrap();
            match serde_json::from_slice(&line).unwrap() {
                SessionLine::Ping => {}
                SessionLine::Keys {
                    issuer,
                    checkpoints,
                } => {
                    self.checkpoints = checkpoints;
                    let list: Succession = issuer.parse().unwrap();
                    let first = SigningKey::from_bytes(&[2; 32]).verifying_key();
                    let led = list.led_to(Purpose::Passports, |key| *key == first);
                    self.keys = led
                        .into_iter()
                        .map(|key| (jws::key_id(&key), key))
                        .collect();
                }
                line => return line,
            }
        }
    }

    async fn bundle(&mut self) -> String {
        match self.line().await {
            SessionLine::Bundle { bundle } => bundle,
            other => panic!("{other:?}"),
        }
    }

    async fn claims(&mut self) -> Claims {
        let SessionLine::Passport { name, token } = self.line().await else {
            panic!("a passport");
        };
        let claims = jws::verify(&token, &self.keys, Timestamp::now()).unwrap();
        assert_eq!(claims.passport, name);
        claims
    }

    async fn revoked(&mut self) -> String {
        match self.line().await {
            SessionLine::Revoked { why } => why,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_policy_and_a_passport_bound_to_its_key() {
    let mut sidecar = Sidecar::new();
    assert!(sidecar.bundle().await.contains("clerk-agent"));
    let claims = sidecar.claims().await;
    assert_eq!(claims.cnf.jwk.key().unwrap(), sidecar.key.verifying_key());
    assert_eq!(claims.tenant, "c-1/shop/n-1");
    assert_eq!(claims.sub, "system:serviceaccount:shop:clerk");
    assert_eq!(
        (claims.agent.as_str(), claims.pod_uid.as_deref()),
        ("clerk-agent", Some("u-1"))
    );
    assert_eq!(claims.exp - claims.iat, 900);
}

#[tokio::test(start_paused = true)]
async fn a_passport_is_renewed_at_a_third_of_its_life_and_pings_come_in_between() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    let first = sidecar.claims().await;
    let begun = Instant::now();
    let contact = sidecar.contact.clone();
    let answering = tokio::spawn(async move {
        loop {
            contact.answered(Instant::now());
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    });
    let ping = sidecar.lines.recv().await.unwrap();
    assert_eq!(ping, "{\"kind\":\"ping\"}\n");
    assert_eq!(begun.elapsed().as_secs(), 10);
    let second = sidecar.claims().await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert_ne!(first.jti, second.jti);
    answering.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_where_one_kind_is_no_longer_known_though_the_api_server_answers() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    let begun = Instant::now();
    sidecar.world.unlist();
    let ended = sidecar.running.await.unwrap();
    assert!(matches!(ended, Ended::CutOff), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_follows_is_told_before_the_first_passport_under_it() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    let first = sidecar.claims().await;
    assert_eq!(sidecar.keys.len(), 1);
    let begun = Instant::now();
    sidecar.issuing.send_replace(Arc::new(issued(&[2, 3])));
    let second = sidecar.claims().await;
    assert_eq!(sidecar.keys.len(), 2);
    assert_ne!(first.jti, second.jti);
    assert!(begun.elapsed() < Duration::from_secs(1));
    // Announced only: nothing is signed with it yet.
    let list = issued(&[2, 3]).list().clone();
    let announced = Keyring::new(seeds(&[2, 3, 4]), list);
    sidecar.issuing.send_replace(Arc::new(announced));
    let ping = sidecar.lines.recv().await.unwrap();
    assert_eq!(ping, "{\"kind\":\"ping\"}\n");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_renews_nothing_and_ends_its_sessions() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    let begun = Instant::now();
    let mut said = Vec::new();
    while let Some(line) = sidecar.lines.recv().await {
        said.push(String::from_utf8(line.to_vec()).unwrap());
    }
    assert!(matches!(sidecar.running.await.unwrap(), Ended::CutOff));
    assert_eq!(begun.elapsed(), SILENCE_MAX);
    assert!(said.iter().all(|line| line.contains("ping")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_the_passport_is_said_at_once() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    let begun = Instant::now();
    // Before any bundle says so: the ledger may be away.
    let suspended = format!("{PASSPORT}  suspended: true\n");
    sidecar.world.put(object("shop", &suspended));
    assert!(sidecar.revoked().await.contains("`clerk` is suspended"));
    sidecar.world.put(object("shop", PASSPORT));
    sidecar.claims().await;
    put(&sidecar.world, &format!("{PASSPORT}  ttlSeconds: 60\n"));
    sidecar.bundle().await;
    let claims = sidecar.claims().await;
    assert_eq!(claims.exp - claims.iat, 60);
    let twin = PASSPORT.replace("name: clerk}", "name: twin}");
    sidecar.world.put(object("shop", &twin));
    assert!(
        sidecar
            .revoked()
            .await
            .contains("are all for ServiceAccount")
    );
    sidecar.world.remove(&object("shop", &twin).id);
    sidecar.claims().await;
    sidecar.world.remove(&object("shop", PASSPORT).id);
    assert!(sidecar.revoked().await.contains("no Passport is for"));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn without_a_passport_a_session_says_the_policy_and_why_and_goes_on_once_there_is_one() {
    let mut sidecar = Sidecar::without(PASSPORT);
    assert!(sidecar.bundle().await.contains("clerk-agent"), "policy");
    assert!(sidecar.revoked().await.contains("no Passport is for"));
    // It changes meanwhile.
    let other = PASSPORT.replace("clerk", "other");
    put(&sidecar.world, &other);
    assert!(sidecar.bundle().await.contains("other-agent"));
    put(&sidecar.world, PASSPORT);
    assert!(sidecar.bundle().await.contains("clerk-agent"));
    assert_eq!(sidecar.claims().await.passport, "clerk");
    // Of what is not governed nothing is said but that.
    sidecar.world.put_namespace(Namespace {
        labels: BTreeMap::new(),
        ..namespace()
    });
    assert!(sidecar.revoked().await.contains("has no label"));
    assert!(policy(&sidecar.world, &pod()).is_none());
}

#[tokio::test(start_paused = true)]
async fn no_passport_outlives_its_end() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    let end = Timestamp::now() + jiff::SignedDuration::from_secs(20);
    put(&sidecar.world, &format!("{PASSPORT}  notAfter: {end}\n"));
    sidecar.bundle().await;
    let claims = sidecar.claims().await;
    assert_eq!(claims.exp, end.as_second());
}

#[tokio::test(start_paused = true)]
async fn a_passport_waits_for_the_bundle_that_has_it() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    sidecar.world.remove(&object("shop", PASSPORT).id);
    sidecar.revoked().await;
    let other = PASSPORT.replace("name: clerk}", "name: other}");
    sidecar.world.put(object("shop", &other));
    assert!(
        sidecar
            .revoked()
            .await
            .contains("the ledger has no bundle with it")
    );
    publish(&sidecar.world, &object("shop", &other));
    sidecar.bundle().await;
    assert_eq!(sidecar.claims().await.passport, "other");
    let refused = {
        let mut anew = namespace();
        anew.uid = "n-2".to_owned();
        sidecar.world.put_namespace(anew);
        sidecar.revoked().await
    };
    assert!(
        refused.contains("not in force yet"),
        "a namespace made anew: {refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_for_who_does_not_read_or_comes_again() {
    let sidecar = Sidecar::new();
    let begun = Instant::now();
    assert!(matches!(sidecar.running.await.unwrap(), Ended::Slow));
    assert_eq!(begun.elapsed(), READ_TIMEOUT);
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    drop(sidecar.place.take());
    assert!(matches!(sidecar.running.await.unwrap(), Ended::Replaced));
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.lines.close();
    while sidecar.lines.recv().await.is_some() {}
    assert!(matches!(sidecar.running.await.unwrap(), Ended::Closed));
}

#[test]
fn under_audit_a_pod_without_a_passport_in_force_has_none_and_goes_on() {
    struct Case {
        name: &'static str,
        passports: Vec<String>,
        want: Result<&'static str, Code>,
    }
    let case = |name, passports: &[String], want| Case {
        name,
        passports: passports.to_vec(),
        want,
    };
    let named = |name: &str, more: &str| {
        PASSPORT.replace("{name: clerk}", &format!("{{name: {name}}}")) + more
    };
    let none = Ok("no_passport serviceaccount:clerk");
    let cases = [
        case("none", &[], none),
        case("one", &[PASSPORT.to_owned()], Ok("clerk clerk-agent")),
        case("two", &[named("a", ""), named("b", "")], none),
        case(
            "one that has ended",
            &[named("clerk", "  notAfter: 2020-01-01T00:00:00Z\n")],
            none,
        ),
        case(
            "one that is suspended",
            &[named("clerk", "  suspended: true\n")],
            Err(Code::Suspended),
        ),
    ];
    for Case {
        name,
        passports,
        want,
    } in cases
    {
        let audit = Namespace {
            labels: [(MODE_LABEL.to_owned(), "audit".to_owned())].into(),
            ..namespace()
        };
        let world = World::default();
        world.put_namespace(audit.clone());
        let objects: Vec<Object> = passports.iter().map(|it| object("shop", it)).collect();
        let place = Place {
            cluster: "c-1",
            install: "actpass-system",
            namespace: &audit,
        };
        let bundle = compile(place, &objects, None).bundle.unwrap();
        let map = ConfigMap {
            data: Some(Published::data(&bundle).unwrap()),
            ..ConfigMap::default()
        };
        world.put_published(Published::of(&map).unwrap());
        objects.into_iter().for_each(|object| world.put(object));
        let found = standing(&world, &pod(), Timestamp::now());
        let got = found.map(|it| format!("{} {}", it.terms.name, it.terms.agent));
        let got = got.map_err(|refusal| refusal.code);
        assert_eq!(got.as_deref().map_err(|code| *code), want, "{name}");
        // The label says more than the bundle of the mode before, which may still be published.
        world.put_namespace(namespace());
        let now = standing(&world, &pod(), Timestamp::now());
        assert_eq!(now.is_ok(), name == "one", "{name} under enforcement");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_checkpoints_is_told_as_it_is_listed() {
    let mut sidecar = Sidecar::new();
    sidecar.bundle().await;
    sidecar.claims().await;
    assert_eq!(sidecar.checkpoints, "", "nothing is known of them yet");
    let mut list = String::new();
    for (nth, keys) in [&[4][..], &[4, 5], &[4, 5, 6]].into_iter().enumerate() {
        // The last while it has no passport: what it recorded goes to the ledger all the same.
        if nth == 2 {
            let suspended = format!("{PASSPORT}  suspended: true\n");
            sidecar.world.put(object("shop", &suspended));
            sidecar.revoked().await;
        }
        let ledger_keys = issued(keys).list().clone();
        list = ledger_keys.to_string();
        sidecar
            .trusting
            .send_modify(|trust| trust.ledger_keys = ledger_keys);
        let line = sidecar.lines.recv().await.unwrap();
        let told = serde_json::from_slice(&line).unwrap();
        let SessionLine::Keys { checkpoints, .. } = told else {
            panic!("{told:?}");
        };
        assert_eq!(checkpoints, list);
    }
    sidecar.world.put(object("shop", PASSPORT));
    sidecar.claims().await;
    // What else the parts believe is nothing for a sidecar.
    sidecar
        .trusting
        .send_modify(|trust| trust.authorities.push('x'));
    sidecar.issuing.send_replace(Arc::new(issued(&[2, 3])));
    sidecar.claims().await;
    assert_eq!(sidecar.checkpoints, list, "with those of passports");
}
