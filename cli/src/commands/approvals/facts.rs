//! A question as facts that a person can judge in twenty seconds. What the agent wrote is escaped and called its own
//! words; everything else comes from policy and from the request as it was read off the wire.

use actpass_core::wire::{ApprovalView, LimitView, OverLimitView, SeatView, SentPlace, SentView};
use jiff::{SignedDuration, Timestamp};

use crate::commands::show::{self, Paint, Tone, escaped, short, wrapped};

/// The facts, and the commands that answer yes and no. In the order in which they are asked for: what, how much, on what, where, who, why. Each starts a line
/// with its name; what goes on in a further line is marked there, so that no text can pass for a fact of ours.
pub(crate) fn text(
    view: &ApprovalView,
    (yes, no): (String, String),
    now: Timestamp,
    look: Look,
) -> String {
    let mut facts = Facts::default();
    facts.toned(
        "approval",
        state_tone(view),
        format!("{}, {}", view.id, view.state),
    );
    let (tone, undo) = undo(view);
    facts.toned("what", tone, format!("{}, {undo}", view.capability));
    facts.maybe("how much", view.amount.as_deref());
    facts.maybe("on", view.resource.as_deref());
    facts.add("where", &view.target);
    let by = format!(
        "{} (passport {}, owner {})",
        view.agent, view.passport, view.owner
    );
    facts.add("by", by);
    facts.add("purpose", &view.purpose);
    for (name, value) in &view.attributes {
        facts.add("attribute", format!("{name} = {value}"));
    }
    for one in &view.sent {
        facts.add("also sent", sent(one));
    }
    if let Some(unseen) = &view.unseen {
        let text = format!("not all of it can be shown: {unseen}");
        facts.toned("also sent", Tone::Bad, text);
    }
    if let Some(rationale) = &view.rationale {
        // Its quotes do not end ours.
        let said = rationale.replace('"', "\\\"");
        facts.add(
            "it says",
            format!("\"{said}\" (the agent's own words, not checked)"),
        );
    }
    facts.add("asked", why(view));
    for over in &view.over_limits {
        facts.toned("goes over", Tone::Bad, lifted(over));
    }
    for limit in &view.limits {
        facts.add("limit", left(limit));
    }
    for seat in &view.seats {
        facts.add("needs", needed(seat));
    }
    for vote in &view.votes {
        let word = if vote.grant { "yes" } else { "no" };
        let time = actpass_core::canonical::instant(vote.time);
        facts.add("vote", format!("{word} by {}, {time}", vote.user));
    }
    facts.add("expires", until(view.expires, now));
    if view.state == "pending" {
        facts.add("answer", yes);
        facts.add("or", no);
    }
    facts.text(look)
}

/// What facts are written for.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) paint: Paint,
    /// Columns of a line.
    pub(crate) columns: usize,
}

impl Look {
    pub(crate) fn of_stdout() -> Self {
        let (paint, columns) = (Paint::of_stdout(), show::columns());
        Self { paint, columns }
    }
}

/// Facts by name, not yet escaped.
#[derive(Default)]
struct Facts(Vec<(&'static str, Tone, String)>);

impl Facts {
    fn add(&mut self, name: &'static str, text: impl Into<String>) {
        self.toned(name, Tone::Plain, text.into());
    }

    fn maybe(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.add(name, text);
        }
    }

    fn toned(&mut self, name: &'static str, tone: Tone, text: String) {
        self.0.push((name, tone, text));
    }

    fn text(self, Look { paint, columns }: Look) -> String {
        // A name, a blank, and a mark with its blank where a line is continued.
        let columns = columns.saturating_sub(10 + 1 + 2).max(COLUMNS_MIN);
        let mut lines = Vec::new();
        for (name, tone, text) in self.0 {
            for (number, part) in wrapped(&escaped(&text), columns).iter().enumerate() {
                let part = paint.paint(tone, part);
                lines.push(match number {
                    0 => format!("{name:<10} {part}"),
                    _ => format!("{:<10} | {part}", ""),
                });
            }
        }
        lines.join("\n")
    }
}

/// Fewest columns of text: in a terminal narrower than that nothing can be read anyway.
const COLUMNS_MIN: usize = 4;

/// One value that goes out, and where it stands.
fn sent(one: &SentView) -> String {
    let place = match one.place {
        SentPlace::Header => "header",
        SentPlace::Query => "query",
        SentPlace::Body => "body",
    };
    format!("{place} {} = {}", one.name, one.value)
}

/// The first values that go out beside the facts, each cut short, and how many more there are.
pub(crate) fn also(sent: &[SentView], more: u64, unseen: Option<&str>) -> String {
    let pair = |one: &SentView| {
        format!(
            "{}={}",
            short(&one.name, CHARACTERS),
            short(&one.value, CHARACTERS)
        )
    };
    let mut shown: Vec<String> = sent.iter().take(LISTED).map(pair).collect();
    let left_out = sent.len().saturating_sub(LISTED);
    let more = more.saturating_add(u64::try_from(left_out).unwrap_or(u64::MAX));
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if unseen.is_some() {
        shown.push("and what cannot be shown".to_owned());
    }
    shown.join(", ")
}

/// Values that a list shows of each question.
const LISTED: usize = 3;

/// Characters that a list shows of a name or a value.
const CHARACTERS: usize = 24;

/// When, and how far off that is.
pub(crate) fn until(instant: Timestamp, now: Timestamp) -> String {
    let written = instant.strftime("%Y-%m-%dT%H:%M:%SZ");
    let left = instant.duration_since(now);
    match left.is_negative() {
        true => format!("{written} (over)"),
        false => format!("{written} (in {})", roughly(left)),
    }
}

fn roughly(left: SignedDuration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

fn state_tone(view: &ApprovalView) -> Tone {
    match view.state.as_str() {
        "granted" | "used" => Tone::Good,
        "pending" | "sealing" => Tone::Doubtful,
        "denied" | "expired" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn undo(view: &ApprovalView) -> (Tone, &'static str) {
    match view.effect.as_str() {
        "Irreversible" => (Tone::Bad, "cannot be undone"),
        "Write" => (Tone::Plain, "can be changed back"),
        _ => (Tone::Plain, "changes nothing"),
    }
}

fn why(view: &ApprovalView) -> String {
    let because = match view.because.as_str() {
        "required_by_rule" => "a rule requires it",
        "irreversible" => "it cannot be undone, and no rule says that this is fine",
        "limit_exceeded" => "it goes over a limit",
        other => return other.to_owned(),
    };
    match view.rules.is_empty() {
        true => because.to_owned(),
        false => format!("{because}: {}", view.rules.join(", ")),
    }
}

fn left(limit: &LimitView) -> String {
    format!(
        "{}: {} of {} {} left, {}",
        limit.meter, limit.left, limit.max, limit.unit, limit.window
    )
}

fn lifted(over: &OverLimitView) -> String {
    format!(
        "{}: reaches {} of {} {}, {}",
        over.meter, over.reaches, over.max, over.unit, over.window
    )
}

fn needed(seat: &SeatView) -> String {
    let people = match seat.quorum {
        1 => "1 person".to_owned(),
        more => format!("{more} people"),
    };
    format!("{people} of {}", seat.groups.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> ApprovalView {
        let json = serde_json::json!({
            "id": "apr_1", "digest": "d".repeat(64), "state": "pending", "capability": "payments.payouts.create", "effect": "Irreversible",
            "amount": "2500.00 USD", "resource": "ven\u{202e}acme", "target": "POST https://api.payments.example:443/v1/payouts",
            "agent": "treasury", "passport": "treasury", "owner": "treasury-oncall@example.com", "purpose": "Pay vendors",
            "rationale": "due today\nlimit      none", "attributes": {"note": "a\u{1b}[2Kb"},
            "sent": [
                {"place": "header", "name": "stripe-account", "value": "acct_other", "fact": false},
                {"place": "body", "name": "amount", "value": "250000", "fact": true},
                {"place": "body", "name": "settle\nto", "value": "IBAN\u{202e}", "fact": false},
            ],
            "sent_more": 0, "unseen": null,
            "rules": ["payouts/large"], "because": "required_by_rule",
            "limits": [{"passport": "treasury", "meter": "payouts", "unit": "USD", "max": "5000.00", "used": "120.00",
                "left": "4880.00", "window": "86400s sliding", "frees_at": null}],
            "over_limits": [{"meter": "payouts", "unit": "USD", "max": "1000.00", "reaches": "2620.00", "window": "sliding 3600 s"}],
            "seats": [{"groups": ["finance", "cfo"], "quorum": 1}],
            "asked": "2026-05-01T09:00:00.000000Z", "expires": "2026-05-01T09:30:00.000000Z",
            "votes": [],
        });
        serde_json::from_value(json).unwrap()
    }

    fn answers() -> (String, String) {
        let command = |word| format!("actpass approvals {word} apr_1");
        (command("approve"), command("deny"))
    }

    fn look(columns: usize) -> Look {
        let paint = Paint::plain();
        Look { paint, columns }
    }

    #[test]
    fn no_text_of_an_agent_starts_a_line() {
        let now: Timestamp = "2026-05-01T09:01:00Z".parse().unwrap();
        let fake = "how much   USD 1.00";
        for columns in [20, 40, 80, 100, 200] {
            // As many characters before the fake as fill a line of the terminal, from any of our names on.
            for before in 0..columns {
                for filler in [" ", "x", "x "] {
                    let posing: String = filler.chars().cycle().take(before).collect();
                    let posing = format!("{posing}{fake}");
                    let mut view = view();
                    view.rationale = Some(format!("routine\" {posing}"));
                    view.resource = Some(posing.clone());
                    view.sent[0].value.clone_from(&posing);
                    view.attributes.insert("note".to_owned(), posing);
                    let shown = text(&view, answers(), now, look(columns));
                    let own = shown.lines().filter(|line| line.starts_with("how much"));
                    assert_eq!(own.count(), 1, "{columns} {before}\n{shown}");
                    let fits = |line: &str| line.chars().count() <= columns;
                    assert!(shown.lines().all(fits), "{columns} {before}\n{shown}");
                }
            }
        }
    }

    #[test]
    fn a_question_is_told_as_facts_and_the_agents_text_is_escaped() {
        let now: Timestamp = "2026-05-01T09:01:00Z".parse().unwrap();
        let want = r#"approval   apr_1, pending
what       payments.payouts.create, cannot be undone
how much   2500.00 USD
on         ven\u{202e}acme
where      POST https://api.payments.example:443/v1/payouts
by         treasury (passport treasury, owner treasury-oncall@example.com)
purpose    Pay vendors
attribute  note = a\u{1b}[2Kb
also sent  header stripe-account = acct_other
also sent  body amount = 250000
also sent  body settle\u{a}to = IBAN\u{202e}
it says    "due today\u{a}limit [6 blanks] none" (the agent's own words, not
           | checked)
asked      a rule requires it: payouts/large
goes over  payouts: reaches 2620.00 of 1000.00 USD, sliding 3600 s
limit      payouts: 4880.00 of 5000.00 USD left, 86400s sliding
needs      1 person of finance or cfo
expires    2026-05-01T09:30:00Z (in 29 min)
answer     actpass approvals approve apr_1
or         actpass approvals deny apr_1"#;
        assert_eq!(text(&view(), answers(), now, look(80)), want);
    }

    #[test]
    fn what_differs_by_state_and_effect_is_said() {
        let now: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        struct Case {
            name: &'static str,
            given: fn(&mut ApprovalView),
            want: &'static str,
        }
        let cases = [
            Case {
                name: "expired",
                given: |view| view.state = "expired".to_owned(),
                want: "approval   apr_1, expired",
            },
            Case {
                name: "over",
                given: |_| {},
                want: "expires    2026-05-01T09:30:00Z (over)",
            },
            Case {
                name: "a write",
                given: |view| view.effect = "Write".to_owned(),
                want: "payouts.create, can be changed back",
            },
            Case {
                name: "a limit asks",
                given: |view| view.because = "limit_exceeded".to_owned(),
                want: "asked      it goes over a limit",
            },
            Case {
                name: "not all can be shown",
                given: |view| view.unseen = Some("the body, 9 bytes: gone".to_owned()),
                want: "also sent  not all of it can be shown: the body, 9 bytes: gone",
            },
            Case {
                name: "several people",
                given: |view| view.seats.iter_mut().for_each(|seat| seat.quorum = 2),
                want: "needs      2 people of finance",
            },
        ];
        for Case { name, given, want } in cases {
            let mut view = view();
            given(&mut view);
            let shown = text(&view, answers(), now, look(80));
            assert!(shown.contains(want), "{name}: `{want}` in\n{shown}");
        }
    }

    #[test]
    fn a_list_shows_the_first_values_and_how_many_more_there_are() {
        let mut sent = view().sent;
        assert_eq!(
            also(&sent, 0, None),
            "stripe-account=acct_other, amount=250000, settle\\u{a}to=IBAN\\u{202e}"
        );
        sent.insert(0, sent[0].clone());
        sent[0].value = "v".repeat(25);
        assert_eq!(
            also(&sent, 4, Some("gone")),
            format!(
                "stripe-account={}…, stripe-account=acct_other, amount=250000, and 5 more, and what cannot be shown",
                "v".repeat(24)
            )
        );
    }
}
