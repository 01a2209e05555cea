//! One open session: says what changed, renews the passport, says that it is there.

use std::sync::Arc;
use std::time::Duration;

use actpass_core::hash::{BundleDigest, b64u_encode};
use actpass_core::passport::jws::{self, Claims, Cnf, Jwk};
use actpass_core::passport::{ABSENT, Passport};
use actpass_core::session::{PING_EVERY, SessionLine};
use actpass_core::succession::Succession;
use actpass_crds::passport::PassportSpec;
use actpass_kubernetes::seeds::Keyring;
use actpass_kubernetes::who::BoundPod;
use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::admit::{self, Code, Refusal};
use crate::contact::Contact;
use crate::trust::Trust;
use crate::world::{Published, World, line_bytes};

/// How long a sidecar may take to read one line: it reads 1 MiB within milliseconds, or hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What a passport says besides whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Name of the Passport.
    name: String,
    /// Name of the agent in evidence.
    agent: String,
    /// Life of one token.
    ttl: Duration,
    /// From then on there is none.
    end: Option<Timestamp>,
}

impl Terms {
    /// Those of a Passport as it is in force, and as it is written now.
    fn of(in_force: &Passport, spec: &PassportSpec) -> Self {
        let ends = [in_force.not_after, admit::not_after(spec).flatten()];
        Self {
            name: in_force.name.clone(),
            agent: in_force.agent_id.clone(),
            ttl: Duration::from_secs(in_force.ttl_seconds.into()),
            end: ends.into_iter().flatten().min(),
        }
    }
}

/// What a pod is to have now.
pub(super) struct Standing {
    pub(super) published: Arc<Published>,
    pub(super) terms: Terms,
}

/// Signs passports.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) keys: watch::Receiver<Arc<Keyring>>,
    pub(super) name: String,
}

/// One open session.
pub(super) struct Live {
    pub(super) world: Arc<World>,
    pub(super) contact: Arc<Contact>,
    pub(super) issuer: Issuer,
    /// What the parts believe of each other.
    pub(super) trust: watch::Receiver<Trust>,
    pub(super) pod: BoundPod,
    pub(super) key: VerifyingKey,
    pub(super) lines: mpsc::Sender<Bytes>,
    /// Ends it when a newer connection of the same sidecar takes its place.
    pub(super) replaced: oneshot::Receiver<()>,
    pub(super) stop: watch::Receiver<bool>,
}

/// What the sidecar was told last.
#[derive(Default)]
struct Told {
    bundle: Option<BundleDigest>,
    /// The lists of keys for passports and for checkpoints.
    keys: Option<(Succession, Succession)>,
    /// Its terms, the key it is signed with, and when the next is due.
    passport: Option<(Terms, VerifyingKey, Instant)>,
    revoked: Option<Refusal>,
}

/// The session cannot go on; the sidecar opens another.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the sidecar closed it")]
    Closed,
    #[error("the sidecar does not read")]
    Slow,
    #[error("a newer connection took its place")]
    Replaced,
    #[error("the API server does not answer this replica")]
    CutOff,
    #[error("the controller stops")]
    Stopped,
    #[error("no passport can be made: {0}")]
    Made(String),
}

/// The policy of a pod's namespace, where ActPass governs that and the ledger has it.
pub(super) fn policy(world: &World, pod: &BoundPod) -> Option<Arc<Published>> {
    let namespace = world.namespace(&pod.namespace)?;
    namespace
        .is_enrolled()
        .then(|| world.published(&namespace))?
}

/// What the pod of a ServiceAccount is to have: its Passport as it now is, and the bundle that the ledger has.
///
/// # Errors
/// Why it is to have none.
pub(super) fn standing(world: &World, pod: &BoundPod, now: Timestamp) -> Result<Standing, Refusal> {
    let namespace = world.namespace(&pod.namespace);
    let passports = world.passports(&pod.namespace);
    let passports = passports.iter().map(|object| &**object);
    let account = &pod.service_account;
    let found = admit::passport(namespace.as_deref(), account, passports, now);
    let published = namespace
        .as_ref()
        .and_then(|namespace| world.published(namespace));
    if namespace.is_some_and(|namespace| namespace.audits()) {
        return audited(
            account,
            found.map(|(object, spec)| (object.id.name.as_str(), spec)),
            published,
        );
    }
    let (object, spec) = found?;
    let not_ready = || {
        let name = &object.id.name;
        Refusal::new(
            Code::NotReady,
            format!(
                "Passport `{name}` is not in force yet: the ledger has no bundle with it; its conditions say why"
            ),
        )
    };
    let published = published.ok_or_else(not_ready)?;
    let in_force = published
        .bundle
        .passport(&object.id.name)
        .ok_or_else(not_ready)?;
    Ok(Standing {
        terms: Terms::of(in_force, spec),
        published,
    })
}

/// What a pod is to have under audit. Whoever has no Passport, several, one that has ended or one that is not in force yet
/// has none, which is recorded and stops nothing. One that was suspended stops its pods as ever: that is what somebody wanted.
fn audited(
    account: &str,
    found: Result<(&str, &PassportSpec), Refusal>,
    published: Option<Arc<Published>>,
) -> Result<Standing, Refusal> {
    let found = match found {
        Ok(found) => Some(found),
        Err(refusal) if refusal.code == Code::Suspended => return Err(refusal),
        Err(_) => None,
    };
    let not_ready = || {
        let why = "the namespace's policy is not in force yet: the ledger has no bundle of it";
        Refusal::new(Code::NotReady, why)
    };
    let published = published.ok_or_else(not_ready)?;
    let in_force = found.and_then(|(name, spec)| Some((published.bundle.passport(name)?, spec)));
    let terms = match in_force {
        Some((in_force, _)) if in_force.suspended => {
            let why = format!("Passport `{}` is suspended", in_force.name);
            return Err(Refusal::new(Code::Suspended, why));
        }
        Some((in_force, spec)) => Terms::of(in_force, spec),
        None => {
            // The bundle of the mode before may still be the one in force.
            let absent = published.bundle.passport(ABSENT).ok_or_else(not_ready)?;
            Terms {
                name: absent.name.clone(),
                agent: format!("serviceaccount:{account}"),
                ttl: Duration::from_secs(absent.ttl_seconds.into()),
                end: None,
            }
        }
    };
    Ok(Standing { published, terms })
}

impl Live {
    /// Serves it to its end.
    pub(super) async fn run(mut self) -> Ended {
        let mut changes = self.world.changes();
        let mut told = Told::default();
        let mut ping = Instant::now() + PING_EVERY;
        loop {
            // Before anything is said: what this replica knows may be of long ago.
            if !self.world.is_current(&self.contact) {
                return Ended::CutOff;
            }
            if Instant::now() >= ping {
                if let Err(ended) = self.say(&SessionLine::Ping).await {
                    return ended;
                }
                ping = Instant::now() + PING_EVERY;
            }
            // What changes from here on is seen by `changed`.
            changes.mark_unchanged();
            self.issuer.keys.mark_unchanged();
            self.trust.mark_unchanged();
            let next = match self.tell(&mut told).await {
                Ok(next) => next,
                Err(ended) => return ended,
            };
            tokio::select! {
                _ = changes.changed() => {}
                Ok(()) = self.issuer.keys.changed() => {}
                Ok(()) = self.trust.changed() => {}
                () = sleep_until(next.min(ping)) => {}
                () = self.contact.lost() => {}
                () = self.world.unlisted() => {}
                () = self.lines.closed() => return Ended::Closed,
                _ = &mut self.replaced => return Ended::Replaced,
                _ = self.stop.wait_for(|stop| *stop) => return Ended::Stopped,
            }
        }
    }

    /// Says whatever the sidecar does not know yet; when to look again at the latest.
    async fn tell(&self, told: &mut Told) -> Result<Instant, Ended> {
        let now = Timestamp::now();
        let standing = match standing(&self.world, &self.pod, now) {
            Ok(standing) => standing,
            Err(refusal) => {
                // With the policy its sidecar knows the names that are declared, so that agents are answered why not.
                if let Some(published) = policy(&self.world, &self.pod) {
                    self.publish(&published, told).await?;
                }
                // What it has recorded goes to the ledger all the same, which may sign with another key by then.
                let keyring = self.issuer.keys.borrow().clone();
                self.name_keys(&keyring, told).await?;
                if told.revoked.as_ref() != Some(&refusal) {
                    let pod = &self.pod;
                    tracing::info!(
                        namespace = pod.namespace,
                        pod = pod.name,
                        reason = refusal.code.as_str(),
                        "Passport revoked"
                    );
                    self.say(&SessionLine::Revoked {
                        why: refusal.detail.clone(),
                    })
                    .await?;
                    told.passport = None;
                    told.revoked = Some(refusal);
                }
                return Ok(Instant::now() + PING_EVERY);
            }
        };
        self.publish(&standing.published, told).await?;
        let keyring = self.issuer.keys.borrow().clone();
        self.name_keys(&keyring, told).await?;
        let key = keyring.key(now);
        let key = key.ok_or_else(|| Ended::Made("there is no key to sign it with".to_owned()))?;
        let signer = key.verifying_key();
        let due = match &told.passport {
            Some((terms, by, renew)) if *terms == standing.terms && *by == signer => *renew,
            _ => Instant::now(),
        };
        if due > Instant::now() {
            return Ok(due);
        }
        let (line, renew) = self.passport(&standing, key, now)?;
        self.say(&line).await?;
        told.revoked = None;
        told.passport = Some((standing.terms, signer, renew));
        Ok(renew)
    }

    async fn name_keys(&self, keyring: &Keyring, told: &mut Told) -> Result<(), Ended> {
        let ledger_keys = self.trust.borrow().ledger_keys.clone();
        let keys = (keyring.list().clone(), ledger_keys);
        if told.keys.as_ref() == Some(&keys) {
            return Ok(());
        }
        let line = SessionLine::Keys {
            issuer: keys.0.to_string(),
            checkpoints: keys.1.to_string(),
        };
        self.say(&line).await?;
        told.keys = Some(keys);
        Ok(())
    }

    async fn publish(&self, published: &Published, told: &mut Told) -> Result<(), Ended> {
        let digest = published.digest();
        if told.bundle != Some(digest) {
            self.send(published.line.clone()).await?;
            told.bundle = Some(digest);
        }
        Ok(())
    }

    /// A fresh passport, and when the next is due: at a third of its life, or at its Passport's end.
    fn passport(
        &self,
        standing: &Standing,
        issuer: &SigningKey,
        now: Timestamp,
    ) -> Result<(SessionLine, Instant), Ended> {
        let terms = &standing.terms;
        let tenant = &standing.published.bundle.spec().tenant;
        let claims = claims(&self.issuer.name, tenant, terms, &self.pod, &self.key, now)?;
        let life = Duration::from_secs(u64::try_from(claims.exp - claims.iat).unwrap_or_default());
        let kid = jws::key_id(&issuer.verifying_key());
        let token = jws::issue(&claims, issuer, &kid);
        let token = token.map_err(|error| Ended::Made(error.to_string()))?;
        let line = SessionLine::Passport {
            name: terms.name.clone(),
            token,
        };
        // No faster than once a second towards an end.
        Ok((
            line,
            Instant::now() + (life / 3).max(Duration::from_secs(1)),
        ))
    }

    async fn say(&self, line: &SessionLine) -> Result<(), Ended> {
        self.send(line_bytes(line).map_err(Ended::Made)?).await
    }

    async fn send(&self, line: Bytes) -> Result<(), Ended> {
        match timeout(READ_TIMEOUT, self.lines.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Closed),
            Err(_) => Err(Ended::Slow),
        }
    }
}

fn claims(
    issuer: &str,
    tenant: &str,
    terms: &Terms,
    pod: &BoundPod,
    key: &VerifyingKey,
    now: Timestamp,
) -> Result<Claims, Ended> {
    let mut jti = [0; 16];
    getrandom::fill(&mut jti).map_err(|error| Ended::Made(error.to_string()))?;
    let iat = now.as_second();
    let ttl = i64::try_from(terms.ttl.as_secs()).unwrap_or(jws::LIFETIME_SECONDS_MAX);
    let exp = iat.saturating_add(ttl.min(jws::LIFETIME_SECONDS_MAX));
    // The end is in the future; what is left of its second is not worth a passport that is refused for no length.
    let end = terms.end.map_or(exp, |end| end.as_second().max(iat + 1));
    Ok(Claims {
        iss: issuer.to_owned(),
        sub: format!(
            "system:serviceaccount:{}:{}",
            pod.namespace, pod.service_account
        ),
        tenant: tenant.to_owned(),
        agent: terms.agent.clone(),
        passport: terms.name.clone(),
        cnf: Cnf { jwk: Jwk::new(key) },
        pod_uid: Some(pod.uid.clone()),
        iat,
        exp: exp.min(end),
        jti: b64u_encode(&jti),
    })
}

#[cfg(test)]
mod tests;
