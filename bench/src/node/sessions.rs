//! Sessions as sidecars hold them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_core::session::{SESSION_PATH, SessionLine};
use actpass_transport::{client, names};
use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::api::Cluster;
use super::crowd::{Crowd, Member, each, ours};

/// Port of the session stream.
const PORT: u16 = 8443;

/// How long a change is waited for at a session.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a session heard so far.
#[derive(Clone, Copy, Default)]
struct Heard {
    bundles: u32,
    passports: u32,
    revoked: u32,
}

struct Session {
    member: Member,
    heard: watch::Receiver<Heard>,
}

/// All of them; they end with it.
pub(super) struct Sessions {
    all: Vec<Session>,
    reading: Vec<AbortHandle>,
}

impl Drop for Sessions {
    fn drop(&mut self) {
        for reading in &self.reading {
            reading.abort();
        }
    }
}

impl Sessions {
    /// One for each, all at one replica of the controller: the worst that a disruption leaves.
    pub(super) async fn opened(cluster: &Cluster, crowd: &Crowd) -> anyhow::Result<Self> {
        let pods = cluster.pods("controller").await?;
        let (_, ip) = pods.first().context("a controller")?;
        let controller = SocketAddr::new(ip.parse().context("its address")?, PORT);
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/actpass-trust",
            cluster.install()
        );
        let trust = cluster.get(&path).await?;
        let pem = trust.pointer("/data/ca.pem").and_then(Value::as_str);
        let pem = pem.context("the authority in ConfigMap `actpass-trust`")?;
        let authorities: Vec<_> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
        let opened = std::sync::Mutex::new(Self {
            all: Vec::new(),
            reading: Vec::new(),
        });
        each(crowd.members().iter(), |member| {
            let (opened, authorities) = (&opened, &authorities);
            async move {
                let token = Crowd::token(cluster, member).await?;
                let what = || format!("a session for {}/{}", member.namespace, member.name);
                let body = open(controller, member, &token, authorities)
                    .await
                    .with_context(what)?;
                let (tell, heard) = watch::channel(Heard::default());
                let reading = tokio::spawn(read(body, tell)).abort_handle();
                let mut first = heard.clone();
                let issued = first.wait_for(|heard| heard.passports > 0);
                tokio::time::timeout(PATIENCE, issued)
                    .await
                    .with_context(what)?
                    .with_context(what)?;
                let mut opened = opened.lock().unwrap_or_else(|lock| lock.into_inner());
                opened.all.push(Session {
                    member: member.clone(),
                    heard,
                });
                opened.reading.push(reading);
                Ok(())
            }
        })
        .await?;
        Ok(opened.into_inner().unwrap_or_else(|lock| lock.into_inner()))
    }

    /// How many still read.
    pub(super) fn open(&self) -> usize {
        let open = self.reading.iter().filter(|reading| !reading.is_finished());
        open.count()
    }

    /// From the answer to a policy's change until the last session of its namespace has it.
    pub(super) async fn after_policy_change(
        &mut self,
        cluster: &Cluster,
        crowd: &Crowd,
    ) -> anyhow::Result<Duration> {
        let namespace = crowd.namespaces().first().context("a namespace")?;
        let member = crowd.members().first().context("a pod")?;
        let path = format!("{}/{}", ours(namespace, "actionpolicies"), member.name);
        let rules =
            json!([{"name": "read", "decision": "Allow", "capabilities": ["pay.payments.read"]}]);
        let change = json!({"spec": {"rules": rules}});
        let (changed, told) = self
            .told(
                |heard| heard.bundles,
                |it| &it.namespace == namespace,
                cluster.patch(&path, &change),
            )
            .await?;
        ensure!(told > 0, "no session in `{namespace}`");
        Ok(changed)
    }

    /// From the answer to a Passport's suspension until its session has it.
    pub(super) async fn after_suspension(
        &mut self,
        cluster: &Cluster,
        crowd: &Crowd,
    ) -> anyhow::Result<Duration> {
        let member = crowd.members().last().context("a pod")?;
        let path = format!("{}/{}", ours(&member.namespace, "passports"), member.name);
        let change = json!({"spec": {"suspended": true}});
        let (changed, _) = self
            .told(
                |heard| heard.revoked,
                |it| it.name == member.name,
                cluster.patch(&path, &change),
            )
            .await?;
        Ok(changed)
    }

    /// How long after `change` was answered all the sessions of `whose` heard one more of `what`, and how many they are.
    async fn told(
        &mut self,
        what: fn(&Heard) -> u32,
        whose: impl Fn(&Member) -> bool,
        change: impl Future<Output = anyhow::Result<Value>>,
    ) -> anyhow::Result<(Duration, usize)> {
        let mut waiting = JoinSet::new();
        for session in self.all.iter().filter(|session| whose(&session.member)) {
            let mut heard = session.heard.clone();
            let before = what(&heard.borrow());
            waiting.spawn(async move {
                let told = heard.wait_for(|heard| what(heard) > before);
                told.await.map(drop)
            });
        }
        let count = waiting.len();
        change.await?;
        let answered = Instant::now();
        let all = async {
            while let Some(told) = waiting.join_next().await {
                told?.context("the session ended")?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .context("not all sessions heard of it")??;
        Ok((answered.elapsed(), count))
    }
}

async fn open(
    controller: SocketAddr,
    member: &Member,
    token: &str,
    authorities: &[CertificateDer<'static>],
) -> anyhow::Result<Incoming> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let config = client::config(
        authorities,
        Some(&SigningKey::from_bytes(&seed)),
        "http/1.1",
    )?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(member.address), 0))?;
    let tcp = socket.connect(controller).await?;
    let name = ServerName::try_from(names::CONTROLLER)?;
    let tls = TlsConnector::from(Arc::clone(&config))
        .connect(name, tcp)
        .await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    let request = Request::get(SESSION_PATH)
        .header("host", names::CONTROLLER)
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::OK {
        return Ok(answer.into_body());
    }
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    bail!("{status}: {}", String::from_utf8_lossy(&body))
}

/// Counts the lines of a stream until it ends.
async fn read(mut body: Incoming, tell: watch::Sender<Heard>) -> anyhow::Result<()> {
    let mut waiting = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        waiting.extend_from_slice(&data);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: SessionLine = serde_json::from_slice(&waiting.split_to(end + 1))?;
            tell.send_modify(|heard| match line {
                SessionLine::Bundle { .. } => heard.bundles += 1,
                SessionLine::Passport { .. } => heard.passports += 1,
                SessionLine::Revoked { .. } => heard.revoked += 1,
                _ => {}
            });
        }
    }
    Ok(())
}
