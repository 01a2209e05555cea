//! Whatever sidecars, people and time do, in whatever order.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::evidence::leaf::{GapLimits, Leaf};
use testlog::Sidecar;

#[derive(Clone, Debug)]
enum Step {
    Ask { by: Index, minor: i64, charge: u8 },
    Settle { which: Index, result: OutcomeResult },
    Seal { which: Index },
    Vote { which: Index, user: u8, grant: bool },
    Resolve { which: Index, happened: bool },
    EndStream { by: Index },
    Lose,
    Edit { max: i64 },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let result = prop_oneof![
        Just(OutcomeResult::Ok),
        Just(OutcomeResult::Failed),
        Just(OutcomeResult::NotSent),
        Just(OutcomeResult::Ambiguous),
    ];
    // Amounts around the bounds: 10,000 asks, 80,000 asks by limit, 100,000 denies by limit.
    let minor = prop_oneof![1 => Just(1), 2 => Just(10_000), 4 => Just(20_000), 1 => Just(50_000), 1 => 0_i64..120_000];
    let which = any::<Index>;
    prop_oneof![
        8 => (which(), minor, 0_u8..2).prop_map(|(by, minor, charge)| Step::Ask { by, minor, charge }),
        4 => (which(), result).prop_map(|(which, result)| Step::Settle { which, result }),
        3 => which().prop_map(|which| Step::Seal { which }),
        4 => (which(), 0_u8..4, prop::bool::weighted(0.9)).prop_map(|(which, user, grant)| Step::Vote { which, user, grant }),
        1 => (which(), any::<bool>()).prop_map(|(which, happened)| Step::Resolve { which, happened }),
        1 => which().prop_map(|by| Step::EndStream { by }),
        1 => Just(Step::Lose),
        1 => (50_000_i64..150_000).prop_map(|max| Step::Edit { max }),
        2 => (0_u64..1_200).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// The log, its sidecars, and what the test itself counts.
struct World {
    log: TestLog,
    sidecars: Vec<Sidecar>,
    /// The limit that denies.
    max: i64,
    /// Permits by stream and number: when, how much, and by which approval.
    permits: BTreeMap<IntentId, (Timestamp, i64, Option<String>)>,
    /// How often each approval was used and not given back.
    uses: BTreeMap<String, i64>,
    seeds: u8,
}

impl World {
    fn new() -> Self {
        let mut log = TestLog::new();
        let sidecars = vec![log.open(1), log.open(2)];
        Self {
            log,
            sidecars,
            max: 100_000,
            permits: BTreeMap::new(),
            uses: BTreeMap::new(),
            seeds: 2,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask { by, minor, charge } => self.ask(by, minor, charge),
            Step::Settle { which, result } => self.settle(which, result),
            Step::Seal { which } => {
                if let Some(approval) = self.approval(ApprovalState::Sealing, which) {
                    let by = self
                        .sidecars
                        .iter()
                        .find(|sidecar| sidecar.id() == approval.asked_by_intent.0);
                    if let Some(event) =
                        by.map(|by| sealed(&approval.id, by, approval.asked_by_intent.1))
                    {
                        self.log.event(event).unwrap();
                    }
                }
            }
            Step::Vote { which, user, grant } => {
                let user = if user == 3 {
                    "owner@example.com".to_owned()
                } else {
                    format!("user{user}")
                };
                if let Some(approval) = self.approval(ApprovalState::Pending, which) {
                    let now = self.log.now;
                    if self
                        .log
                        .state
                        .check_vote(&approval.id, &user, &["finance".to_owned()], now)
                        .is_ok()
                    {
                        self.log.event(vote(&approval.id, &user, grant)).unwrap();
                    }
                }
            }
            Step::Resolve { which, happened } => {
                let unknown = self
                    .log
                    .state
                    .open_intents()
                    .filter(|(_, intent)| intent.ambiguous_since.is_some());
                if let Some((stream, seq)) = pick(unknown.map(|(id, _)| *id), which) {
                    let by = "ann".to_owned();
                    self.log
                        .event(EventBody::Resolved {
                            stream,
                            seq,
                            happened,
                            by,
                        })
                        .unwrap();
                    if !happened {
                        self.permits.remove(&(stream, seq));
                    }
                }
            }
            Step::EndStream { by } => {
                let index = by.index(self.sidecars.len());
                let ended = self.sidecars.remove(index);
                self.log
                    .event(EventBody::StreamEnded {
                        stream: ended.id(),
                        how: StreamEnd::Closed,
                    })
                    .unwrap();
                self.seeds += 1;
                self.sidecars.push(self.log.open(self.seeds));
            }
            Step::Lose => {
                let event = gaps::gap(&self.log, &[], GapLimits::UsedUp);
                self.log.event(event).unwrap();
                gaps::nothing_is_open(&self.log);
                for sidecar in &mut self.sidecars {
                    self.seeds += 1;
                    *sidecar = self.log.open(self.seeds);
                }
            }
            Step::Edit { max } => {
                self.max = max;
                self.log
                    .activate(bundle(|spec| {
                        spec["passports"][0]["limits"][0]["max"] = max.into()
                    }))
                    .unwrap();
            }
            Step::Wait { seconds } => self.log.tick(Duration::from_secs(seconds)),
        }
    }

    fn approval(&self, state: ApprovalState, which: Index) -> Option<Approval> {
        pick(
            self.log
                .state
                .approvals()
                .filter(|approval| approval.state(self.log.now) == state),
            which,
        )
        .cloned()
    }

    fn ask(&mut self, by: Index, minor: i64, charge: u8) {
        let index = by.index(self.sidecars.len());
        let before = used(&self.log);
        let sidecar = &mut self.sidecars[index];
        let (id, now) = ((sidecar.id(), sidecar.chain.next_seq()), self.log.now);
        let ruling = self
            .log
            .intent(sidecar, &refund(minor, &format!("ch_{charge}")));
        if ruling.verdict == RulingVerdict::Permit {
            let approval = match ruling.approval {
                Some(RulingApproval::Used { id }) => Some(id),
                other => other.map(|other| panic!("a permit with {other:?}")),
            };
            *self
                .uses
                .entry(approval.clone().unwrap_or_default())
                .or_default() += i64::from(approval.is_some());
            self.permits.insert(id, (now, minor, approval));
            assert!(
                used(&self.log)[0] <= self.max,
                "overspent: {:?} of {}",
                used(&self.log),
                self.max
            );
        } else {
            assert_eq!(used(&self.log), before, "a refusal consumes nothing");
        }
    }

    fn settle(&mut self, which: Index, result: OutcomeResult) {
        let live: Vec<_> = self.sidecars.iter().map(Sidecar::id).collect();
        let open = self
            .log
            .state
            .open_intents()
            .filter(|(id, intent)| live.contains(&id.0) && intent.ambiguous_since.is_none());
        let Some(id) = pick(open.map(|(id, _)| *id), which) else {
            return;
        };
        let sidecar = self
            .sidecars
            .iter_mut()
            .find(|sidecar| sidecar.id() == id.0)
            .unwrap();
        self.log.outcome(sidecar, id.1, result);
        if matches!(result, OutcomeResult::Failed | OutcomeResult::NotSent) {
            let (_, _, approval) = self.permits.remove(&id).unwrap();
            if let (Some(approval), OutcomeResult::NotSent) = (approval, result) {
                *self.uses.get_mut(&approval).unwrap() -= 1;
            }
        }
    }

    fn check(&self) {
        // Counted without buckets: what was permitted within the hour and did not provably fail.
        let now = self.log.now;
        let recent = self
            .permits
            .values()
            .filter(|(time, ..)| now.duration_since(*time).as_secs() < 3_600);
        let sum: i64 = recent.map(|(_, minor, _)| *minor).sum();
        assert!(
            sum <= used(&self.log)[0],
            "{sum} were used, the state counts {:?}",
            used(&self.log)
        );
        for (approval, uses) in &self.uses {
            assert!(*uses <= 1, "approval {approval} used {uses} times");
        }
    }
}

fn pick<T>(from: impl Iterator<Item = T>, which: Index) -> Option<T> {
    let mut all: Vec<T> = from.collect();
    if all.is_empty() {
        None
    } else {
        Some(all.swap_remove(which.index(all.len())))
    }
}

/// Cases per property, scaled for long runs.
#[expect(clippy::float_arithmetic, reason = "a number of test cases")]
fn cases() -> u32 {
    let scale: f64 = std::env::var("ACTPASS_TEST_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.1);
    ((640.0 * scale) as u32).max(16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn nothing_is_overspent_and_no_grant_used_twice(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        let mut again = State::new(&format!("actpass/{}", testlog::TENANT));
        for leaf in &world.log.leaves {
            again.apply(&Leaf::parse(leaf).unwrap(), &world.log.bundles).unwrap();
        }
        let kept = |state: &State| String::from_utf8(Snapshot::of(state).to_vec().unwrap()).unwrap();
        prop_assert_eq!(kept(&again), kept(&world.log.state), "the same leaves give the same state, with or without starts between");
    }
}
