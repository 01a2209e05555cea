//! Which replica writes: a Lease of the API server, held by one of them.
//!
//! *Flow*: whoever finds the Lease free, or unchanged for [`LIFE`], takes it; the holder renews it every [`RENEW`].
//!
//! *Guarantees*: nobody compares clocks of two machines: how long a Lease stands unchanged is measured where it is looked at. A
//! holder that cannot renew for [`GIVE_UP`] stops writing before anybody else may begin. Only a pause of a whole machine lets two
//! write at once; then what the one writes late, the other writes anew within minutes, and the ledger takes no bundle of an
//! earlier term.
//!
//! Each holder has a *term*, greater than those before it. It stands in the Lease as the number of transitions, which is at
//! least the minutes since 1970: so terms go on where the Lease was deleted or an older state of the cluster restored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::contact::Contact;

/// How long a Lease that nobody renews keeps others out.
const LIFE: Duration = Duration::from_secs(15);
/// How often the holder renews, and the others look.
const RENEW: Duration = Duration::from_secs(3);
/// After how long without renewal the holder no longer writes: [`LIFE`] less one request that hangs.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Longest wait for the API server.
const REQUEST: Duration = Duration::from_secs(4);

/// One candidate.
pub struct Election {
    api: Api<Lease>,
    name: String,
    /// Different for each process, also after a restart.
    identity: String,
    contact: Arc<Contact>,
    seen: Option<(LeaseSpec, Instant)>,
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Renew,
    Take,
    Wait,
}

impl Election {
    /// A candidate for the Lease `name` in `namespace`.
    /// Each look that is answered is told to `contact`.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        contact: Arc<Contact>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            contact,
            seen: None,
        }
    }

    /// Stands for election until `stop`; says in `leading` its term while it holds the Lease. Gives it back at the end.
    pub async fn run(
        mut self,
        leading: watch::Sender<Option<u64>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut renewed: Option<(Instant, u64)> = None;
        loop {
            let begun = Instant::now();
            match tokio::time::timeout(REQUEST, self.step()).await {
                Ok(Ok(Some(term))) => renewed = Some((begun, term)),
                // Somebody else holds it.
                Ok(Ok(None)) => renewed = None,
                Ok(Err(error)) => tracing::warn!(%error, "Leadership not renewed"),
                Err(_) => tracing::warn!("Leadership not renewed: the API server does not answer"),
            }
            let held = renewed.filter(|(at, _)| at.elapsed() < GIVE_UP);
            let holds = held.map(|(_, term)| term);
            let before = leading.send_replace(holds);
            if before != holds {
                tracing::info!(
                    leading = holds.is_some(),
                    term = holds,
                    identity = self.identity,
                    "Leadership changed"
                );
            }
            // It may end before the next look is over; then others lead, and this one must have stopped.
            let ends = renewed.map_or_else(Instant::now, |(at, _)| at + GIVE_UP);
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            if holds.is_some() && Instant::now() + REQUEST >= ends {
                leading.send_replace(None);
            }
        }
        if leading.send_replace(None).is_some() {
            let given_up = tokio::time::timeout(REQUEST, self.give_up()).await;
            if !matches!(given_up, Ok(Ok(()))) {
                tracing::warn!(
                    "Leadership not given back; the others wait until it ends by itself"
                );
            }
        }
    }

    /// Our term, if it is ours after one look.
    async fn step(&mut self) -> Result<Option<u64>, kube::Error> {
        let asked = Instant::now();
        let found = self.api.get_opt(&self.name).await?;
        self.contact.answered(asked);
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let step = decide(spec, &self.identity, &mut self.seen, Instant::now());
        let written = match (step, found) {
            (Step::Wait, _) => return Ok(None),
            (Step::Create, _) | (_, None) => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.name.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(held(None, &self.identity, Timestamp::now())),
                };
                self.api.create(&PostParams::default(), &lease).await
            }
            (Step::Renew | Step::Take, Some(mut lease)) => {
                lease.spec = Some(held(lease.spec.take(), &self.identity, Timestamp::now()));
                self.replace(&lease).await
            }
        };
        match written {
            Ok(lease) => {
                let term = lease.spec.and_then(|spec| spec.lease_transitions);
                Ok(Some(
                    term.and_then(|it| u64::try_from(it).ok()).unwrap_or(0),
                ))
            }
            // Somebody else was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn give_up(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        if let Some(spec) = lease.spec.as_mut()
            && spec.holder_identity.as_deref() == Some(&self.identity)
        {
            spec.holder_identity = None;
            self.replace(&lease).await?;
        }
        Ok(())
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let params = PostParams::default();
        self.api.replace(&self.name, &params, lease).await
    }
}

/// The Lease as `identity` holds it from `now` on.
fn held(before: Option<LeaseSpec>, identity: &str, now: Timestamp) -> LeaseSpec {
    let before = before.unwrap_or_default();
    let ours = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or_default();
    // Minutes fit 4000 years, and nobody takes over every minute for long.
    let minutes = i32::try_from(now.as_second() / 60).unwrap_or_default();
    let term = match ours {
        true => transitions,
        false => transitions.saturating_add(1).max(minutes),
    };
    let now = MicroTime(now);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
        acquire_time: before.acquire_time.filter(|_| ours).or(Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(term),
        ..before
    }
}

/// What to do about the Lease as it stands, and since when it has stood so.
fn decide(
    found: Option<&LeaseSpec>,
    identity: &str,
    seen: &mut Option<(LeaseSpec, Instant)>,
    now: Instant,
) -> Step {
    let Some(found) = found else {
        *seen = None;
        return Step::Create;
    };
    let holder = found.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Step::Renew;
    }
    if holder.is_empty() {
        return Step::Take;
    }
    match seen {
        Some((before, since)) if before == found => match now.duration_since(*since) >= LIFE {
            true => Step::Take,
            false => Step::Wait,
        },
        _ => {
            *seen = Some((found.clone(), now));
            Step::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(by: &str, second: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            renew_time: Timestamp::from_second(second).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_stands_unchanged_for_its_life() {
        let (mut seen, begun) = (None, Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(decide(None, "a", &mut seen, at(0)), Step::Create);
        assert_eq!(
            decide(Some(&held_by("", 1)), "a", &mut seen, at(0)),
            Step::Take
        );
        assert_eq!(
            decide(Some(&held_by("a", 1)), "a", &mut seen, at(0)),
            Step::Renew
        );
        let steps = [
            (held_by("b", 1), 0, Step::Wait),
            (held_by("b", 1), 14, Step::Wait),
            // Renewed: its life begins anew, whatever the holder's clock says.
            (held_by("b", 0), 15, Step::Wait),
            (held_by("b", 0), 29, Step::Wait),
            (held_by("b", 0), 30, Step::Take),
        ];
        for (lease, second, want) in steps {
            let found = decide(Some(&lease), "a", &mut seen, at(second));
            assert_eq!(found, want, "{second}");
        }
    }

    #[test]
    fn each_holder_has_a_greater_term_than_those_before() {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let term = |lease: &LeaseSpec| lease.lease_transitions.unwrap();
        let first = held(None, "a", at(1_000));
        assert_eq!(term(&first), 1_000);
        let renewed = held(Some(first), "a", at(2_000));
        assert_eq!(term(&renewed), 1_000, "one holder has one term");
        // A clock that is behind.
        let next = held(Some(renewed.clone()), "b", at(10));
        assert_eq!(term(&next), 1_001);
        let given_back = LeaseSpec {
            holder_identity: None,
            ..next
        };
        assert_eq!(term(&held(Some(given_back), "b", at(10))), 1_002);
        // The Lease was deleted, or stands again as it did long ago.
        assert_eq!(term(&held(None, "c", at(3_000))), 3_000);
        assert_eq!(term(&held(Some(renewed), "c", at(3_000))), 3_000);
    }

    #[test]
    fn a_holder_gives_up_before_others_may_begin() {
        assert!(GIVE_UP + REQUEST < LIFE);
        assert!(RENEW * 2 < GIVE_UP);
    }
}
