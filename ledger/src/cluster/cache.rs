//! What the API server said a moment ago, so that it is not asked about every request. Bounded in time and number.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// For how long an answer is believed: a right that is withdrawn is gone after that.
const LIFE: Duration = Duration::from_secs(10);

/// Most answers that are kept, of at most about 16 KiB each.
const ENTRIES_MAX: usize = 1_024;

/// Answers by their questions.
pub(super) struct Cache<K, V> {
    entries: HashMap<K, (Instant, V)>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }

    /// The answer, if it was given less than ten seconds before `now`.
    pub(super) fn get(&self, question: &K, now: Instant) -> Option<V> {
        let (given, answer) = self.entries.get(question)?;
        (now.duration_since(*given) < LIFE).then(|| answer.clone())
    }

    /// Keeps an answer given at `now`. Where there are too many, the oldest goes.
    pub(super) fn put(&mut self, question: K, answer: V, now: Instant) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries
                .retain(|_, (given, _)| now.duration_since(*given) < LIFE);
        }
        if self.entries.len() >= ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, (given, _))| *given);
            if let Some(oldest) = oldest.map(|(question, _)| question.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(question, (now, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_ten_seconds() {
        let begun = Instant::now();
        let mut cache = Cache::new();
        cache.put("a", true, begun);
        let after = |milliseconds| begun + Duration::from_millis(milliseconds);
        assert_eq!(cache.get(&"a", after(9_999)), Some(true));
        assert_eq!(cache.get(&"a", after(10_000)), None);
        assert_eq!(cache.get(&"b", begun), None);
        cache.put("a", false, after(10_000));
        assert_eq!(cache.get(&"a", after(19_999)), Some(false));
    }

    #[test]
    fn many_questions_take_no_more_room_than_a_thousand() {
        let begun = Instant::now();
        let mut cache = Cache::new();
        for question in 0..3_000_u64 {
            cache.put(question, (), begun + Duration::from_micros(question));
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        let now = begun + Duration::from_millis(3);
        assert_eq!(cache.get(&0, now), None, "the oldest went");
        assert_eq!(cache.get(&2_999, now), Some(()));
        cache.put(9_999, (), begun + LIFE + Duration::from_secs(1));
        assert_eq!(cache.entries.len(), 1, "what is out of date went");
    }
}
