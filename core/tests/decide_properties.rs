//! Promises of the decision that hold for every policy, action and state of the ledger.

#![expect(
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;

use actpass_core::action::{Action, Attribute, Fault, FaultKind, Hints, MeterUse};
use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::decide::{Decision, Facts, Grant, LimitUse, Verdict, asked_by, decide};
use actpass_core::limits::{OnExceed, Unit};
use actpass_core::money::{Currency, Money};
use actpass_core::policy::{ApprovalSpec, Policy, PolicyMode, PolicyScope, Rule, RuleDecision};
use actpass_core::upstream::{AttributeValue, Effect};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// What one decision is made from.
#[derive(Clone, Debug)]
struct World {
    spec: BundleSpec,
    action: Action,
    facts: Facts,
    now: Timestamp,
}

impl World {
    fn decide(&self, facts: Option<&Facts>) -> Decision {
        let bundle = Bundle::new(self.spec.clone()).expect("the bundle compiles");
        decide(
            &bundle,
            &bundle.spec().passports[0],
            &self.action,
            facts,
            self.now,
        )
    }

    fn with_facts(&self) -> Decision {
        self.decide(Some(&self.facts))
    }

    fn with_policy(&self, policy: Policy) -> Self {
        let mut world = self.clone();
        world.spec.policies.push(policy);
        world
    }

    /// With what people would have said to this very question.
    fn granted(&self) -> Self {
        let decision = self.with_facts();
        let Verdict::Escalate(needed) = decision.verdict() else {
            return self.clone();
        };
        let bundle = Bundle::new(self.spec.clone()).expect("the bundle compiles");
        let asked_by = asked_by(&bundle, decision.rules(), &self.action.capability);
        let mut world = self.clone();
        world.facts.grants = vec![Grant {
            id: "apr".to_owned(),
            seats: needed.seats.clone(),
            asked_by,
            over_limits: needed.over_limits.clone(),
        }];
        world
    }
}

fn is_permit(decision: &Decision) -> bool {
    matches!(decision.verdict(), Verdict::Permit(_))
}

fn is_deny(decision: &Decision) -> bool {
    matches!(decision.verdict(), Verdict::Deny(_))
}

fn approval() -> ApprovalSpec {
    ApprovalSpec {
        groups: vec!["leads".to_owned()],
        quorum: 1,
        expires_after_seconds: 1800,
        hold_seconds: 0,
    }
}

/// A rule that covers everything, always.
fn plain(name: &str, decision: RuleDecision) -> Rule {
    serde_json::from_value(json!({
        "name": name, "decision": decision, "capabilities": ["pay.**"], "amounts": [], "schedule": null,
        "environments": [], "resources": [], "when": null, "obligations": {"max_response_bytes": null},
        "approval": approval(), "allow_irreversible": true,
    }))
    .expect("a rule")
}

fn policy(name: &str, rules: Vec<Rule>) -> Policy {
    let (scope, mode) = (PolicyScope::Namespace, PolicyMode::Enforce);
    Policy {
        name: name.to_owned(),
        scope,
        mode,
        passports: vec!["agent".to_owned()],
        rules,
    }
}

/// A condition, with whether it may stand in an Allow.
fn when() -> impl Strategy<Value = (&'static str, bool)> {
    select(vec![
        ("attributes.reason != 'fraudulent'", true),
        ("facts.windowTotal('refunds') < 1000", true),
        ("facts.precedents > 1", true),
        ("facts.recentDenies > 2 || facts.firstSeenResource", true),
        ("has(action.amount) && action.amount.minor % 7 == 3", true),
        (
            "has(action.amount) && 9223372036854775000 + action.amount.minor > 0",
            true,
        ),
        ("100 / (facts.precedents - 2) > 7", true),
        ("has(hints.confidence) && hints.confidence < 50", false),
    ])
}

fn rule() -> impl Strategy<Value = Rule> {
    let decision = select(vec![
        RuleDecision::Deny,
        RuleDecision::RequireApproval,
        RuleDecision::Allow,
        RuleDecision::Allow,
    ]);
    let capability = select(vec![
        "pay.**",
        "pay.*",
        "pay.refund",
        "pay.note",
        "pay.read",
        "pay.export",
    ]);
    let bound = option::weighted(
        0.3,
        (
            select(vec!["gt", "gte", "lt", "lte"]),
            0_i64..2_000,
            select(vec!["USD", "EUR"]),
        ),
    );
    let hours = option::weighted(
        0.2,
        (
            0_u16..1_440,
            0_u16..=1_440,
            select(vec!["UTC", "Asia/Tokyo", "Nowhere/None"]),
        ),
    );
    let resource = option::weighted(0.2, select(vec!["ch_*", "re_*"]));
    let more = (option::of(0_u64..5_000), any::<bool>(), any::<bool>());
    (decision, capability, bound, hours, resource, option::weighted(0.3, when()), more).prop_map(
        |(decision, capability, bound, hours, resource, when, (bytes, named, irreversible))| {
            let mut rule = plain("r", decision);
            rule.capabilities = vec![capability.parse().expect("a pattern")];
            rule.amounts = bound.into_iter().map(amount_bound).collect();
            rule.schedule = hours.map(|(from, to, zone)| {
                let schedule = json!({"days": [], "from_minute": from, "to_minute": to, "time_zone": zone});
                serde_json::from_value(schedule).expect("a schedule")
            });
            rule.resources = resource.into_iter().map(|glob| glob.parse().expect("a glob")).collect();
            let asks_reason = |text: &str| text.starts_with("attributes.") && capability != "pay.refund";
            let when = when.filter(|(text, loose)| (*loose || decision != RuleDecision::Allow) && !asks_reason(text));
            rule.when = when.map(|(text, _)| text.to_owned());
            rule.obligations.max_response_bytes = bytes;
            rule.approval = named.then(approval);
            rule.allow_irreversible = irreversible;
            rule
        },
    )
}

fn amount_bound((side, minor, currency): (&str, i64, &str)) -> actpass_core::policy::AmountBound {
    let mut bound = json!({"currency": currency, "gt": null, "gte": null, "lt": null, "lte": null});
    bound[side] = json!({"minor": minor.to_string(), "currency": currency});
    serde_json::from_value(bound).expect("a bound")
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let scope = prop_oneof![4 => Just(PolicyScope::Namespace), 1 => Just(PolicyScope::Cluster)];
    let mode = prop_oneof![4 => Just(PolicyMode::Enforce), 1 => Just(PolicyMode::Shadow)];
    vec((scope, mode, vec(rule(), 0..4)), 0..4).prop_map(|all| {
        let named = all
            .into_iter()
            .enumerate()
            .map(|(p, (scope, mode, mut rules))| {
                for (r, rule) in rules.iter_mut().enumerate() {
                    rule.name = format!("r{r}");
                }
                Policy {
                    scope,
                    mode,
                    ..policy(&format!("p{p}"), rules)
                }
            });
        named.collect()
    })
}

/// Two policies of two rules each, of which all four deny, fail, or ask other people under other obligations: the
/// answer can name only some of them, or has to put them in order.
fn rivals() -> impl Strategy<Value = Vec<Policy>> {
    let kind = select(vec![
        (RuleDecision::Deny, None),
        (RuleDecision::Allow, Some("1 / 0 == 1")),
        (RuleDecision::RequireApproval, None),
    ]);
    kind.prop_map(|(decision, when)| {
        let rule = |name: &str, bytes: u64| {
            let mut rule = plain(name, decision);
            rule.obligations.max_response_bytes = Some(bytes);
            rule.when = when.map(str::to_owned);
            rule.approval = Some(ApprovalSpec {
                groups: vec![name.to_owned()],
                ..approval()
            });
            rule
        };
        vec![
            policy("rival-a", vec![rule("a", 3), rule("b", 1)]),
            policy("rival-b", vec![rule("c", 4), rule("d", 2)]),
        ]
    })
}

fn limits() -> impl Strategy<Value = Vec<Value>> {
    let on_exceed = select(vec!["Deny", "RequireApproval"]);
    let meter = select(vec![
        ("refunds", "USD"),
        ("refunds", "EUR"),
        ("writes", "Count"),
        ("rows", "Count"),
    ]);
    let max = prop_oneof![4 => 0_i64..3_000, 1 => Just(i64::MAX)];
    let one = (meter, max, on_exceed).prop_map(|((meter, unit), max, on_exceed)| {
        // A bundle holds numbers up to 2^53-1.
        let max = max.min((1 << 53) - 1);
        json!({"meter": meter, "unit": unit, "max": max, "window": {"Calendar": "Day"}, "on_exceed": on_exceed})
    });
    vec(one, 0..4)
}

fn spec() -> impl Strategy<Value = BundleSpec> {
    (policies(), limits(), option::weighted(0.8, Just(approval()))).prop_map(|(policies, limits, default_approval)| {
        let passport = json!({
            "name": "agent", "agent_id": "refunds", "owner": "o", "purpose": "p",
            "scope": [{"capability": "pay.**", "resources": null}], "limits": limits,
            "default_approval": default_approval, "ttl_seconds": 900, "reads_without_ledger_seconds": 30,
            "suspended": false, "not_after": null,
        });
        let spec = json!({"v": BUNDLE_VERSION, "tenant": "c/n/u", "environment": null, "passports": [passport],
                          "upstreams": [upstream()], "policies": policies});
        serde_json::from_value(spec).expect("a bundle")
    })
}

fn upstream() -> Value {
    let action = |capability: &str, method: &str, effect: Effect| {
        json!({
            "capability": capability, "method": method, "path": "/v1/x", "effect": effect,
            "body": {"format": "Form", "max_bytes": 1024, "mode": "Buffered"}, "params": [], "headers": [],
            "attributes": [], "amount": null, "resource": null, "meters": [], "idempotency_header": null,
            "compensation": null,
        })
    };
    let mut refund = action("pay.refund", "POST", Effect::Irreversible);
    refund["amount"] =
        json!({"from": "body.amount", "unit": "Minor", "currency": {"from": "body.currency"}});
    refund["attributes"] = json!([{"name": "reason", "from": "body.reason", "type": "String", "required": false,
                                   "default": "none", "sensitive": false}]);
    refund["resource"] = json!("body.charge");
    refund["meters"] = json!([{"name": "refunds", "from": "Amount"}]);
    let mut export = action("pay.export", "GET", Effect::Read);
    export["meters"] = json!([{"name": "rows", "from": {"Constant": 10}}]);
    let (note, read) = (
        action("pay.note", "POST", Effect::Write),
        action("pay.read", "GET", Effect::Read),
    );
    json!({
        "name": "pay", "hosts": ["api.pay.example"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
        "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "error_style": "Problem",
        "failed_statuses": [], "actions": [refund, note, read, export],
    })
}

fn action() -> impl Strategy<Value = Action> {
    let kind = select(vec![
        ("pay.refund", "POST", Effect::Irreversible),
        ("pay.note", "POST", Effect::Write),
        ("pay.read", "GET", Effect::Read),
        ("pay.export", "GET", Effect::Read),
    ]);
    let money = (1_i64..2_500, select(vec![Currency::USD, Currency::EUR]));
    (
        kind,
        money,
        option::of(0_u8..=100),
        select(vec!["none", "fraudulent"]),
    )
        .prop_map(
            |((capability, method, effect), (minor, currency), confidence, reason)| {
                let meter = |name: &str, unit, amount| MeterUse {
                    name: name.to_owned(),
                    unit,
                    amount,
                };
                let mut action = Action {
                    tenant: "c/n/u".to_owned(),
                    passport: "agent".to_owned(),
                    agent: "refunds".to_owned(),
                    upstream: "pay".to_owned(),
                    capability: capability.parse().expect("a capability"),
                    effect,
                    method: method.to_owned(),
                    host: "api.pay.example".parse().expect("a host"),
                    port: 443,
                    path: "/v1/x".to_owned(),
                    path_template: "/v1/x".to_owned(),
                    query: Vec::new(),
                    headers: BTreeMap::new(),
                    amount: None,
                    resource: None,
                    meters: Vec::new(),
                    environment: None,
                    attributes: BTreeMap::new(),
                    body: [0; 32],
                    body_bytes: 0,
                    idempotency_key: None,
                    fault: None,
                    hints: Hints {
                        confidence,
                        ..Hints::default()
                    },
                };
                if effect.changes() {
                    action.meters.push(meter("writes", Unit::Count, 1));
                }
                match capability {
                    "pay.refund" => {
                        action.amount = Some(Money::new(minor, currency));
                        action.resource = Some("ch_1".to_owned());
                        action
                            .meters
                            .push(meter("refunds", Unit::Money(currency), minor));
                        let value = AttributeValue::String(reason.to_owned());
                        action.attributes.insert(
                            "reason".to_owned(),
                            Attribute {
                                value,
                                sensitive: false,
                            },
                        );
                    }
                    "pay.export" => action.meters.push(meter("rows", Unit::Count, 10)),
                    _ => {}
                }
                action
            },
        )
}

fn facts() -> impl Strategy<Value = Facts> {
    let used = vec(0_i64..1_500, 4);
    (
        used,
        option::of(0_i64..2_000),
        0_i64..5,
        any::<bool>(),
        0_i64..5,
    )
        .prop_map(
            |(used, total, precedents, first_seen_resource, recent_denies)| Facts {
                used: used
                    .into_iter()
                    .map(|used| LimitUse {
                        used,
                        frees_at: None,
                    })
                    .collect(),
                window_totals: total
                    .map(|total| ("refunds".to_owned(), total))
                    .into_iter()
                    .collect(),
                precedents,
                first_seen_resource,
                recent_denies,
                ..Facts::default()
            },
        )
}

prop_compose! {
    fn world()(spec in spec(), action in action(), facts in facts(), second in 1_700_000_000_i64..1_900_000_000) -> World {
        World { spec, action, facts, now: Timestamp::from_second(second).expect("in range") }
    }
}

/// As [`world`], with a rule that lets the action through unless another stops it: more of them reach the end.
fn friendly() -> impl Strategy<Value = World> {
    world().prop_map(|world| {
        world.with_policy(policy("friend", vec![plain("allow", RuleDecision::Allow)]))
    })
}

/// Anything at all, also what no sidecar would ever send.
fn hostile() -> impl Strategy<Value = World> {
    let meter = (
        select(vec!["refunds", "writes", "rows", "x"]),
        select(vec![Unit::Count, Unit::Money(Currency::USD)]),
        any::<i64>(),
    );
    let meters = vec(meter, 0..5);
    let used = vec(any::<i64>(), 0..5);
    let text = "\\PC{0,6}";
    (
        friendly(),
        meters,
        used,
        option::of((any::<i64>(), any::<bool>())),
        (text, any::<i64>(), any::<bool>()),
    )
        .prop_map(|(mut world, meters, used, money, (text, odd, faulty))| {
            let meters = meters.into_iter().map(|(name, unit, amount)| MeterUse {
                name: name.to_owned(),
                unit,
                amount,
            });
            world.action.meters.extend(meters);
            if let Some((minor, usd)) = money {
                world.action.amount = Some(Money::new(
                    minor,
                    if usd { Currency::USD } else { Currency::JPY },
                ));
            }
            world.action.resource = Some(text.clone());
            world.action.hints.purpose = Some(text.clone());
            let value = AttributeValue::Integer(odd);
            world.action.attributes.insert(
                "reason".to_owned(),
                Attribute {
                    value,
                    sensitive: true,
                },
            );
            world.action.fault = faulty.then_some(Fault {
                fact: text,
                problem: FaultKind::NotExact,
            });
            world.facts.used = used
                .into_iter()
                .map(|used| LimitUse {
                    used,
                    frees_at: None,
                })
                .collect();
            world.facts.precedents = odd;
            world
        })
}

/// How much a verdict lets through.
fn rank(decision: &Decision) -> u8 {
    match decision.verdict() {
        Verdict::Deny(_) => 0,
        Verdict::NeedsFacts => 1,
        Verdict::Escalate(_) => 2,
        Verdict::Permit(_) => 3,
    }
}

/// Half the default: each case compiles several bundles.
fn cases() -> ProptestConfig {
    let scale: f64 = std::env::var("ACTPASS_TEST_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    ProptestConfig::with_cases((128.0 * scale.clamp(0.1, 100.0)) as u32)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn deny_always_wins(world in friendly()) {
        let denied = world.with_policy(policy("stop", vec![plain("deny", RuleDecision::Deny)]));
        prop_assert!(is_deny(&denied.with_facts()));
        prop_assert!(is_deny(&denied.decide(None)), "and it needs no facts for it");
        let mut granted = world.granted();
        granted.spec = denied.spec;
        prop_assert!(is_deny(&granted.with_facts()), "no approval lifts it");
    }

    #[test]
    fn a_rule_that_tightens_never_permits_more(world in friendly(), mut added in rule(), cluster in any::<bool>()) {
        prop_assume!(added.decision != RuleDecision::Allow);
        added.name = "added".to_owned();
        let scope = if cluster { PolicyScope::Cluster } else { PolicyScope::Namespace };
        let tighter = world.with_policy(Policy { scope, ..policy("added", vec![added]) });
        let (before, after) = (world.with_facts(), tighter.with_facts());
        // Asking people is looser than a denial for want of any rule; nothing else gets looser.
        let asked_instead = matches!(after.verdict(), Verdict::Escalate(_));
        prop_assert!(rank(&after) <= rank(&before) || asked_instead, "{before:?}\n{after:?}");
        prop_assert!(is_permit(&before) || !is_permit(&after), "{before:?}\n{after:?}");
    }

    #[test]
    fn nothing_runs_without_an_allow_or_peoples_yes(world in friendly(), cluster_allows in any::<bool>()) {
        let mut world = world;
        for policy in &mut world.spec.policies {
            let guards = cluster_allows && policy.name == "friend";
            if guards {
                policy.scope = PolicyScope::Cluster;
            } else {
                policy.rules.retain(|rule| rule.decision != RuleDecision::Allow);
            }
        }
        prop_assert!(!is_permit(&world.with_facts()), "{:?}", world.with_facts());
        prop_assert!(!is_permit(&world.decide(None)), "{:?}", world.decide(None));
    }

    #[test]
    fn a_rule_that_fails_denies(world in friendly(), decision in select(vec![
        RuleDecision::Deny, RuleDecision::RequireApproval, RuleDecision::Allow,
    ])) {
        let mut broken = plain("broken", decision);
        broken.when = Some("1 / 0 == 1".to_owned());
        let decision = world.with_policy(policy("broken", vec![broken])).with_facts();
        prop_assert!(is_deny(&decision), "{decision:?}");
    }

    #[test]
    fn the_order_of_rules_and_policies_does_not_matter(world in friendly(), more in option::of(rivals()), seed in any::<u64>()) {
        let mut world = world;
        world.spec.policies.extend(more.into_iter().flatten());
        let rotate = |length: usize| if length == 0 { 0 } else { usize::try_from(seed % 97).unwrap_or(0) % length };
        // Without a grant the seats are seen, with one what it permits.
        for straight in [world.granted(), world] {
            let mut shuffled = straight.clone();
            for policy in &mut shuffled.spec.policies {
                let by = rotate(policy.rules.len());
                policy.rules.rotate_left(by);
            }
            let by = rotate(shuffled.spec.policies.len());
            shuffled.spec.policies.rotate_left(by);
            if seed % 2 == 0 {
                shuffled.spec.policies.reverse();
                shuffled.spec.policies.iter_mut().for_each(|policy| policy.rules.reverse());
            }
            prop_assert_eq!(straight.with_facts(), shuffled.with_facts());
            prop_assert_eq!(straight.decide(None), shuffled.decide(None));
        }
    }

    #[test]
    fn what_is_decided_without_facts_stands_with_them(world in friendly()) {
        let (local, full) = (world.decide(None), world.with_facts());
        prop_assert!(!is_permit(&local) || !world.action.effect.changes(), "a write never runs on a local decision");
        match local.verdict() {
            Verdict::Permit(_) => prop_assert_eq!(local.verdict(), full.verdict()),
            Verdict::Deny(_) => prop_assert!(is_deny(&full), "{full:?}"),
            Verdict::NeedsFacts => {}
            Verdict::Escalate(_) => prop_assert!(false, "people are asked through the ledger only"),
        }
        prop_assert!(full.verdict() != &Verdict::NeedsFacts);
    }

    #[test]
    fn a_shadow_policy_changes_no_verdict(world in friendly(), mut added in vec(rule(), 0..4), cluster in any::<bool>()) {
        for (index, rule) in added.iter_mut().enumerate() {
            rule.name = format!("s{index}");
        }
        let scope = if cluster { PolicyScope::Cluster } else { PolicyScope::Namespace };
        let shadow = Policy { scope, mode: PolicyMode::Shadow, ..policy("shadow", added) };
        let world = world.granted();
        let shadowed = world.with_policy(shadow);
        for facts in [Some(&world.facts), None] {
            let (plain, shadowed) = (world.decide(facts), shadowed.decide(facts));
            prop_assert_eq!(plain.verdict(), shadowed.verdict());
            prop_assert_eq!(plain.rules(), shadowed.rules());
            prop_assert_eq!(plain.reservations(), shadowed.reservations());
            prop_assert_eq!(plain.approval_used(), shadowed.approval_used());
        }
    }

    #[test]
    fn what_a_permit_reserves_fits_every_limit(world in prop_oneof![friendly(), hostile()], granted in any::<bool>()) {
        let world = if granted { world.granted() } else { world };
        let decision = world.with_facts();
        if !is_permit(&decision) {
            prop_assert!(decision.reservations().is_empty());
            return Ok(());
        }
        for (index, limit) in world.spec.passports[0].limits.iter().enumerate() {
            let added: i128 = world.action.meters.iter()
                .filter(|used| used.name == limit.meter && used.unit == limit.unit)
                .map(|used| i128::from(used.amount))
                .sum();
            let held: i128 = decision.reservations().iter()
                .filter(|held| held.limit == index)
                .map(|held| i128::from(held.amount))
                .sum();
            prop_assert_eq!(held, added, "all of it is held, once");
            let lifted = decision.approval_used().is_some() && limit.on_exceed == OnExceed::RequireApproval;
            let used = i128::from(world.facts.used.get(index).map_or(0, |used| used.used));
            prop_assert!(held == 0 || lifted || used + held <= i128::from(limit.max), "{limit:?} {used} {held}");
        }
    }

    #[test]
    fn every_input_gets_one_answer(world in hostile()) {
        for facts in [Some(&world.facts), None] {
            let decision = world.decide(facts);
            prop_assert_eq!(&decision, &world.decide(facts));
            if let Verdict::Deny(reason) = decision.verdict() {
                prop_assert!(actpass_core::decide::DenyReason::CODES.contains(&reason.code()));
                prop_assert!(!reason.to_string().is_empty());
            }
        }
    }
}

/// The properties say something: the worlds they range over end in every way.
#[test]
fn the_worlds_end_in_every_way() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeMap::<&str, u32>::new();
    for _ in 0..300 {
        use proptest::strategy::ValueTree as _;
        let world = friendly().new_tree(&mut runner).expect("a world").current();
        let decision = world.with_facts();
        let word = match decision.verdict() {
            Verdict::Deny(reason) => reason.code(),
            verdict => verdict.word(),
        };
        *seen.entry(word).or_default() += 1;
        let granted = world.granted().with_facts();
        if granted.approval_used().is_some() {
            *seen.entry("granted").or_default() += 1;
        }
        if !granted.reservations().is_empty() {
            *seen.entry("reserved").or_default() += 1;
        }
        *seen.entry(world.decide(None).verdict().word()).or_default() += 1;
    }
    for end in [
        "permit",
        "escalate",
        "rule_denies",
        "rule_error",
        "limit_exceeded",
        "needs_facts",
        "granted",
        "reserved",
    ] {
        assert!(
            seen.get(end).is_some_and(|count| *count >= 5),
            "{end}: {seen:?}"
        );
    }
}
