//! Requests that are held open for people: the ledger is asked four times a second per question, however many wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often it is looked whether people have answered.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// People may still answer.
    Open,
    /// They said yes.
    Granted,
    /// It was denied, used, or is over.
    Over,
}

/// The last look at a question.
type Look = Mutex<Option<(Instant, Stands)>>;

/// Questions that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Held {
    looks: std::sync::Mutex<BTreeMap<String, Weak<Look>>>,
}

impl Held {
    /// Waits until people have said yes to `id`, no, or `until` has come. `look` asks the ledger; where that fails the
    /// question counts as open.
    pub(super) async fn granted<F>(&self, id: &str, until: Instant, look: impl Fn() -> F) -> bool
    where
        F: Future<Output = Stands>,
    {
        let shared = self.shared(id);
        while Instant::now() < until {
            match latest(&shared, &look).await {
                Stands::Granted => return true,
                Stands::Over => return false,
                Stands::Open => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        false
    }

    fn shared(&self, id: &str) -> Arc<Look> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, look| look.strong_count() > 0);
        if let Some(look) = looks.get(id).and_then(Weak::upgrade) {
            return look;
        }
        let look = Arc::new(Look::default());
        looks.insert(id.to_owned(), Arc::downgrade(&look));
        look
    }
}

/// How it stood a moment ago, or now. Who asks the ledger keeps the others waiting, and they share its answer.
async fn latest<F: Future<Output = Stands>>(shared: &Look, look: impl Fn() -> F) -> Stands {
    let mut last = shared.lock().await;
    if let Some((at, stands)) = *last
        && at.elapsed() < LOOK_EVERY
    {
        return stands;
    }
    let stands = look().await;
    *last = Some((Instant::now(), stands));
    stands
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_that_wait_for_one_answer_ask_as_often_as_one() {
        let held = Arc::new(Held::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let until = Instant::now() + Duration::from_secs(10);
        let granted_at = Instant::now() + Duration::from_secs(5);
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let (held, asked) = (held.clone(), asked.clone());
            waiting.spawn(async move {
                held.granted("a", until, || async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    match Instant::now() < granted_at {
                        true => Stands::Open,
                        false => Stands::Granted,
                    }
                })
                .await
            });
        }
        assert!(waiting.join_all().await.into_iter().all(|granted| granted));
        let asked = asked.load(Ordering::Relaxed);
        assert!((19..=22).contains(&asked), "{asked} in 5 s");
        held.shared("b");
        assert_eq!(held.looks.lock().unwrap().len(), 1, "nobody waits for `a`");
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_ends_the_wait_and_so_does_its_time() {
        let held = Held::default();
        let begun = Instant::now();
        let until = begun + Duration::from_secs(10);
        assert!(!held.granted("a", until, || async { Stands::Over }).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(!held.granted("b", until, || async { Stands::Open }).await);
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }
}
