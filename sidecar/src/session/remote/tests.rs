//! Against a server that speaks the controller's side, over real TLS.

use std::sync::{Arc, Mutex};

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::merkle::Tree;
use actpass_core::evidence::receipt::KeptHead;
use actpass_core::hash::b64u_encode;
use actpass_core::passport::jws::{Claims, Cnf, Jwk, key_id};
use actpass_core::succession::{Rhythm, vouch};
use actpass_core::wire::AnswerEnd;
use actpass_transport::serve::{Peer, serve};
use actpass_transport::server::{Identity, Shown, config};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::known_log::KnownLog;

const TENANT: &str = "c/shop/u";
const SOON: Duration = Duration::from_secs(10);

/// Key of a connection, and what it shows.
type Seen = (Option<[u8; 32]>, String);

type Lines = mpsc::UnboundedSender<String>;

/// What the next connection gets.
enum Next {
    Lines(mpsc::UnboundedReceiver<String>),
    Problem(StatusCode, &'static str),
}

#[derive(Clone, Default)]
struct Played {
    next: Arc<Mutex<Vec<Next>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What each connection said of the fence.
    fences: Arc<Mutex<Vec<Option<String>>>>,
}

async fn answer(
    State(played): State<Played>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let shown = headers["authorization"].to_str().unwrap().to_owned();
    played.seen.lock().unwrap().push((peer.key, shown));
    let fence = headers.get(FENCE_HEADER);
    let fence = fence.map(|ways| ways.to_str().unwrap().to_owned());
    played.fences.lock().unwrap().push(fence);
    let next = match played.next.lock().unwrap() {
        mut next if !next.is_empty() => next.remove(0),
        _ => Next::Problem(StatusCode::SERVICE_UNAVAILABLE, "nothing more"),
    };
    match next {
        Next::Lines(lines) => {
            let lines = futures_util::stream::unfold(lines, |mut lines| async {
                let line = lines.recv().await?;
                Some((Ok::<_, std::io::Error>(line), lines))
            });
            Body::from_stream(lines.boxed()).into_response()
        }
        Next::Problem(status, detail) => {
            let problem = Problem {
                kind: "about:blank".to_owned(),
                title: "No".to_owned(),
                status: status.as_u16(),
                detail: detail.to_owned(),
                code: "no_passport".to_owned(),
            };
            (status, serde_json::to_string(&problem).unwrap()).into_response()
        }
    }
}

struct Stage {
    played: Played,
    session: Arc<RemoteSession>,
    holder: SigningKey,
    issuer: SigningKey,
    ledger_keys: LedgerKeys,
    following: tokio::task::JoinHandle<()>,
    fence: watch::Sender<Fence>,
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Waits until the controller is asked for another session.
    async fn asked_again(&self, name: &str) {
        let asked = async {
            while self.played.seen.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = timeout(SOON, asked).await;
        asked.unwrap_or_else(|_| panic!("{name}"));
    }

    async fn set(nexts: Vec<Next>) -> Self {
        let identity = Identity::make(names::CONTROLLER).unwrap();
        let authority = identity.certificate().unwrap().clone();
        let tls = config(Arc::new(Shown::new(identity).unwrap())).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let played = Played {
            next: Arc::new(Mutex::new(nexts)),
            ..Played::default()
        };
        let router = Router::new()
            .route(SESSION_PATH, get(answer))
            .with_state(played.clone());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(router, listener, tls, stopped));
        let [holder, issuer, ledger] = [1, 2, 4].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "the-token\n").unwrap();
        let controller = Controller {
            address,
            authorities: vec![authority],
            token,
            issuer_keys: IssuerKeys::from([(
                key_id(&issuer.verifying_key()),
                issuer.verifying_key(),
            )]),
            issuer_pins: [sha256(&[issuer.verifying_key().as_bytes()])].into(),
            ledger_keys: LedgerKeys::new(vec![ledger.verifying_key()]),
            ledger_pins: [sha256(&[ledger.verifying_key().as_bytes()])].into(),
        };
        let ledger_keys = controller.ledger_keys.clone();
        let (session, follower) = session(controller, &holder).unwrap();
        let (fence, told) = watch::channel(Fence::Unknown);
        Self {
            played,
            session,
            holder,
            issuer,
            ledger_keys,
            following: tokio::spawn(follower.run(told)),
            fence,
            _stop: stop,
            _dir: dir,
        }
    }

    fn passport(&self, change: impl FnOnce(&mut Claims)) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = Claims {
            iss: "actpass".to_owned(),
            sub: "system:serviceaccount:shop:clerk".to_owned(),
            tenant: TENANT.to_owned(),
            agent: "clerk".to_owned(),
            passport: "clerk".to_owned(),
            cnf: Cnf {
                jwk: Jwk::new(&self.holder.verifying_key()),
            },
            pod_uid: Some("p-1".to_owned()),
            iat: now,
            exp: now + 900,
            jti: "j".to_owned(),
        };
        change(&mut claims);
        let token = jws::issue(&claims, &self.issuer, &key_id(&self.issuer.verifying_key()));
        line(&SessionLine::Passport {
            name: "clerk".to_owned(),
            token: token.unwrap(),
        })
    }

    async fn until(&self, want: impl Fn(&RemoteSession) -> bool) {
        let reached = async {
            while !want(&self.session) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let standing = || format!("{:?}", self.session.passport());
        timeout(SOON, reached)
            .await
            .unwrap_or_else(|_| panic!("{}", standing()));
    }
}

fn line(line: &SessionLine) -> String {
    format!("{}\n", serde_json::to_string(line).unwrap())
}

fn bundle(environment: &str) -> (String, Arc<Bundle>) {
    let bundle = Bundle::new(BundleSpec {
        environment: Some(environment.to_owned()),
        tenant: TENANT.to_owned(),
        ..nothing_declared().unwrap().spec().clone()
    })
    .unwrap();
    let text = String::from_utf8(bundle.bytes().to_vec()).unwrap();
    (
        line(&SessionLine::Bundle { bundle: text }),
        Arc::new(bundle),
    )
}

fn lines() -> (Lines, Next) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Next::Lines(receiver))
}

#[tokio::test]
async fn policy_and_passport_count_as_soon_as_they_are_said_and_no_longer() {
    let (say, next) = lines();
    let stage = Stage::set(vec![next]).await;
    assert!(stage.session.passport().is_err());
    let (text, first) = bundle("test");
    say.send(text).unwrap();
    // A policy alone is not yet what counts for this pod.
    stage
        .until(|session| session.bundle().digest() == first.digest())
        .await;
    assert!(!stage.session.is_heard());
    say.send("{\"kind\":\"ping\"}\n{\"kind\":\"later\",\"x\":1}\n".to_owned())
        .unwrap();
    // A line may come in any pieces.
    let passport = stage.passport(|_| {});
    let (head, tail) = passport.split_at(passport.len() / 2);
    say.send(head.to_owned()).unwrap();
    say.send(tail.to_owned()).unwrap();
    timeout(SOON, stage.session.heard()).await.unwrap();
    assert!(stage.session.is_heard());
    assert_eq!(stage.session.passport().unwrap().as_ref(), "clerk");
    assert_eq!(stage.session.bundle().digest(), first.digest());
    assert_eq!(stage.session.tenant().as_deref(), Some(TENANT));
    let seen = stage.played.seen.lock().unwrap().clone();
    let ours = stage.holder.verifying_key().to_bytes();
    assert_eq!(seen, [(Some(ours), "Bearer the-token".to_owned())]);

    let (text, second) = bundle("production");
    let refreshed = stage.session.refresh();
    say.send(text).unwrap();
    timeout(SOON, refreshed).await.unwrap();
    assert_eq!(stage.session.bundle().digest(), second.digest());

    let why = "Passport `clerk` is suspended".to_owned();
    say.send(line(&SessionLine::Revoked { why: why.clone() }))
        .unwrap();
    stage.until(|session| session.passport().is_err()).await;
    assert_eq!(stage.session.passport(), Err(SessionError(why)));
    assert!(stage.session.token().is_err());
    say.send(stage.passport(|_| {})).unwrap();
    stage.until(|session| session.passport().is_ok()).await;
    stage.following.abort();
}

#[tokio::test]
async fn the_controller_is_told_of_a_fence_that_is_open() {
    let (streams, nexts): (Vec<Lines>, Vec<Next>) = (0..2).map(|_| lines()).unzip();
    let stage = Stage::set(nexts).await;
    let told = |want: &'static [Option<&'static str>]| {
        let stage = &stage;
        let until = async move {
            loop {
                let fences = stage.played.fences.lock().unwrap().clone();
                if fences.iter().map(Option::as_deref).eq(want.iter().copied()) {
                    return;
                }
                assert!(fences.len() <= want.len(), "{fences:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, until)
    };
    streams[0].send(bundle("test").0).unwrap();
    streams[0].send(stage.passport(|_| {})).unwrap();
    stage.until(|session| session.passport().is_ok()).await;
    // One that stands from the first is no news.
    stage.fence.send_replace(Fence::Stands);
    stage
        .fence
        .send_replace(Fence::Open("udp: sent".to_owned()));
    told(&[None, Some("udp: sent")]).await.unwrap();
    assert!(
        stage.session.passport().is_ok(),
        "what counted still counts"
    );
    stage.following.abort();
}

#[tokio::test(start_paused = true)]
async fn news_of_the_fence_are_told_in_turns_and_only_where_they_are_news() {
    let open = || Fence::Open("udp: sent".to_owned());
    let (fence, mut seen) = watch::channel(Fence::Unknown);
    let mut told = Fence::Unknown;
    for (is, at_once, is_news) in [
        (Fence::Stands, true, false),
        (open(), true, true),
        (open(), true, false),
        (Fence::Unknown, true, false),
        (Fence::Stands, false, true),
        (Fence::Unverified, false, true),
        (Fence::Stands, true, true),
        (open(), false, true),
    ] {
        fence.send_replace(is.clone());
        let rest = if at_once { Duration::ZERO } else { NEWS_EVERY };
        let from = Instant::now() + rest;
        let early = timeout(NEWS_EVERY / 2, news(&mut seen, &told, from)).await;
        assert_eq!(early.is_ok(), at_once && is_news, "{is:?} after {told:?}");
        let late = timeout(NEWS_EVERY, news(&mut seen, &told, from)).await;
        assert_eq!(
            late.ok(),
            is_news.then(|| is.clone()),
            "{is:?} after {told:?}"
        );
        if is_news {
            told = is;
        }
    }
    // One that is open for a moment, while nothing may be told.
    let (told, from) = (Fence::Stands, Instant::now() + NEWS_EVERY);
    fence.send_replace(Fence::Stands);
    let mut telling = std::pin::pin!(news(&mut seen, &told, from));
    assert!(timeout(NEWS_EVERY / 3, &mut telling).await.is_err());
    fence.send_replace(open());
    assert!(timeout(NEWS_EVERY / 3, &mut telling).await.is_err());
    fence.send_replace(Fence::Stands);
    assert_eq!(timeout(NEWS_EVERY, telling).await.ok(), Some(open()));
}

#[tokio::test]
async fn a_controller_that_goes_away_changes_nothing_and_one_that_refuses_ends_it() {
    let (say, first) = lines();
    let refusal = Next::Problem(StatusCode::FORBIDDEN, "there is no Passport for it");
    let passing = Next::Problem(StatusCode::SERVICE_UNAVAILABLE, "starting");
    let (again, second) = lines();
    let stage = Stage::set(vec![first, passing, refusal, second]).await;
    say.send(bundle("test").0).unwrap();
    say.send(stage.passport(|_| {})).unwrap();
    stage.until(|session| session.passport().is_ok()).await;
    // The stream ends; what was said still counts until somebody says otherwise.
    drop(say);
    while stage.played.seen.lock().unwrap().len() < 2 {
        assert!(stage.session.passport().is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.until(|session| session.passport().is_err()).await;
    let why = "there is no Passport for it (no_passport)".to_owned();
    assert_eq!(stage.session.passport(), Err(SessionError(why)));
    again.send(bundle("test").0).unwrap();
    again.send(stage.passport(|_| {})).unwrap();
    stage.until(|session| session.passport().is_ok()).await;
    stage.following.abort();
}

#[tokio::test]
async fn a_passport_that_is_not_ours_is_not_taken() {
    let stranger = SigningKey::from_bytes(&[9; 32]);
    type Change = Box<dyn FnOnce(&mut Claims)>;
    let key = Jwk::new(&stranger.verifying_key());
    let cases: [(&str, Change); 4] = [
        (
            "bound to another key",
            Box::new(move |claims| claims.cnf.jwk = key),
        ),
        (
            "of another tenant",
            Box::new(|claims| claims.tenant = "c/other/u".to_owned()),
        ),
        (
            "of another Passport",
            Box::new(|claims| claims.passport = "boss".to_owned()),
        ),
        (
            "over",
            Box::new(|claims| {
                claims.iat -= 1_000;
                claims.exp -= 1_000;
            }),
        ),
    ];
    for (name, change) in cases {
        let (say, next) = lines();
        let stage = Stage::set(vec![next]).await;
        say.send(bundle("test").0).unwrap();
        say.send(stage.passport(change)).unwrap();
        stage.asked_again(name).await;
        assert!(stage.session.passport().is_err(), "{name}");
        stage.following.abort();
    }
}

#[tokio::test]
async fn a_passport_ends_with_its_time_though_nobody_says_so() {
    let (say, next) = lines();
    let stage = Stage::set(vec![next]).await;
    say.send(bundle("test").0).unwrap();
    say.send(stage.passport(|claims| claims.exp = claims.iat + 2))
        .unwrap();
    stage.until(|session| session.passport().is_ok()).await;
    stage.until(|session| session.passport().is_err()).await;
    let error = stage.session.passport().unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    stage.following.abort();
}

#[tokio::test]
async fn a_key_that_follows_is_believed_where_the_one_before_signed_for_it() {
    let now = Timestamp::now();
    let rhythm = Rhythm {
        age: None,
        notice: SignedDuration::ZERO,
        overlap: SignedDuration::from_hours(1),
    };
    let (later, stranger) = (
        SigningKey::from_bytes(&[3; 32]),
        SigningKey::from_bytes(&[9; 32]),
    );
    for (name, signed_by, want) in [
        ("the one before", SigningKey::from_bytes(&[2; 32]), true),
        ("nobody who counts", stranger, false),
    ] {
        let (say, next) = lines();
        let mut stage = Stage::set(vec![next]).await;
        let mut list = Succession::default();
        for (key, by) in [(&stage.issuer, None), (&later, Some(&signed_by))] {
            list.put(key.verifying_key(), Purpose::Passports, by, rhythm, now);
        }
        say.send(bundle("test").0).unwrap();
        say.send(stage.passport(|_| {})).unwrap();
        stage.until(|session| session.passport().is_ok()).await;
        let before = stage.session.token().unwrap();
        let issuer = list.to_string();
        let checkpoints = String::new();
        let keys = SessionLine::Keys {
            issuer,
            checkpoints,
        };
        say.send(line(&keys)).unwrap();
        stage.issuer = later.clone();
        say.send(stage.passport(|claims| claims.exp -= 1)).unwrap();
        match want {
            true => {
                stage
                    .until(|session| session.token() != Ok(before.clone()))
                    .await
            }
            false => stage.asked_again(name).await,
        }
        assert_eq!(stage.session.token() != Ok(before), want, "{name}");
        stage.following.abort();
    }
}

#[tokio::test]
async fn a_key_of_checkpoints_that_follows_is_believed_while_the_session_goes_on() {
    let now = Timestamp::now();
    let rhythm = Rhythm {
        age: None,
        notice: SignedDuration::ZERO,
        overlap: SignedDuration::from_hours(1),
    };
    let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
    for (name, by, want) in [("the one before", 4, true), ("nobody who counts", 9, false)] {
        let (say, next) = lines();
        let stage = Stage::set(vec![next]).await;
        let (mut passports, mut checkpoints) = (Succession::default(), Succession::default());
        passports.put(
            stage.issuer.verifying_key(),
            Purpose::Passports,
            None,
            rhythm,
            now,
        );
        checkpoints.put(
            key(4).verifying_key(),
            Purpose::Checkpoints,
            None,
            rhythm,
            now,
        );
        let from = rhythm.first_use(now);
        let later = key(5).verifying_key();
        let mut said = checkpoints.to_string();
        let signed = vouch(&key(by), Purpose::Checkpoints, &later, from);
        let [later_text, signed] = [
            b64u_encode(later.as_bytes()),
            b64u_encode(&signed.to_bytes()),
        ];
        said.push_str(&format!("{later_text} from={from} by={signed}\n"));
        let keys = SessionLine::Keys {
            issuer: passports.to_string(),
            checkpoints: said,
        };
        say.send(bundle("test").0).unwrap();
        say.send(line(&keys)).unwrap();
        say.send(stage.passport(|_| {})).unwrap();
        stage.until(|session| session.passport().is_ok()).await;
        let log = KnownLog::new(LOG, stage.ledger_keys.clone());
        let counts = |seed| {
            let (origin, root) = (LOG.to_owned(), Tree::new().root());
            let checkpoint = Checkpoint {
                origin,
                size: 0,
                root,
            };
            let end = AnswerEnd {
                checkpoint: checkpoint.sign(&NoteSigner::new(LOG, key(seed))),
                consistency: Vec::new(),
            };
            log.check(&end, &KeptHead::empty()).is_ok()
        };
        assert_eq!([4, 5, 9].map(counts), [true, want, false], "{name}");
        stage.following.abort();
    }
}

const LOG: &str = "actpass/c-1/shop/n-1";
