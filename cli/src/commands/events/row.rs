//! One leaf as one line.

use std::collections::HashMap;

use actpass_core::capability::Capability;
use actpass_core::evidence::leaf::{EventBody, Leaf, Ruling, RulingApproval, RulingVerdict};
use actpass_core::evidence::record::{Body, Judged, Outcome, OutcomeResult, Record};
use actpass_core::hash::StreamId;
use jiff::Timestamp;
use serde_json::Value;

use super::filter::Word;
use crate::commands::show::{Paint, Tone, escaped};

/// Names of the columns of [`Row::line`], for people; programs get lines only.
pub(super) const HEADER: &str = "  LEAF  TIME                      AGENT         VERDICT     \
     CAPABILITY                      AMOUNT  HOST                  WHY  EVIDENCE";

/// The same of [`Row::line_of_cluster`].
pub(super) const HEADER_OF_CLUSTER: &str = "TIME                  POD                             PASSPORT          VERDICT    \
     WHAT                                            AMOUNT  WHY";

/// Characters shown of the uid of a pod that is gone.
const POD_UID_CHARACTERS: usize = 8;

/// What a line says.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) leaf: u64,
    pub(super) time: Timestamp,
    pub(super) agent: String,
    /// Name of its Passport.
    pub(super) passport: String,
    /// Uid of its pod, in a cluster.
    pub(super) pod: Option<String>,
    pub(super) word: Word,
    /// The kind of event, where the ledger speaks.
    pub(super) event: Option<String>,
    pub(super) capability: Option<Capability>,
    pub(super) amount: Option<String>,
    pub(super) host: Option<String>,
    /// Method, host and path as declared; what was dialled where no action could be read.
    pub(super) target: Option<String>,
    pub(super) reason: Option<String>,
    /// Rules that matched.
    pub(super) rules: Vec<String>,
    /// How many decisions it stands for, where it is of one.
    pub(super) decisions: Option<u64>,
    /// Whether what was decided held.
    pub(super) enforced: bool,
    /// Reason, rules and what else explains it.
    pub(super) why: String,
    /// `<stream>/<seq>`, as the agent got it in `actpass-evidence`.
    pub(super) evidence: Option<String>,
}

/// What earlier leaves say that later ones only refer to: the agent of a stream, and the action of an outcome.
#[derive(Default)]
pub(super) struct Streams {
    agents: HashMap<StreamId, Whose>,
    /// Permitted actions without outcome, so about as many as are in flight.
    open: HashMap<(StreamId, u64), About>,
}

/// Whose a stream is.
#[derive(Clone, Default)]
struct Whose {
    agent: String,
    passport: String,
    pod: Option<String>,
}

#[derive(Clone, Default)]
struct About {
    capability: Option<Capability>,
    amount: Option<String>,
    host: Option<String>,
    target: Option<String>,
}

impl Streams {
    /// The row of the next leaf.
    pub(super) fn row(&mut self, leaf: &Leaf) -> Row {
        let mut row = Row {
            leaf: leaf.h.seq,
            time: leaf.h.time,
            agent: String::new(),
            passport: String::new(),
            pod: None,
            word: Word::Ledger,
            event: None,
            capability: None,
            amount: None,
            host: None,
            target: None,
            reason: None,
            rules: Vec::new(),
            decisions: None,
            enforced: true,
            why: String::new(),
            evidence: None,
        };
        if let Some((record, ruling)) = leaf.record() {
            self.record(&mut row, record, ruling);
        } else if let Some(event) = leaf.event() {
            self.event(&mut row, event);
        }
        row
    }

    fn record(&mut self, row: &mut Row, record: &Record, ruling: &Ruling) {
        row.whose(self.agents.get(&record.stream));
        row.evidence = Some(format!("{}/{}", record.stream, record.seq));
        match &record.body {
            Body::Decision(judged) | Body::Intent(judged) => {
                let about = About::of(judged);
                judge(row, judged, ruling);
                if row.word == Word::Permit || !row.enforced {
                    self.open.insert((record.stream, record.seq), about.clone());
                }
                row.about(about);
            }
            Body::Outcome(outcome) => {
                let about = self.open.remove(&(record.stream, outcome.of));
                row.about(about.unwrap_or_default());
                settle(row, outcome, ruling);
            }
            Body::Note(note) => {
                row.word = Word::Note;
                row.reason = Some(note.note.clone());
                row.why = format!("{}: {}", note.note, note.text);
            }
        }
        if ruling.late {
            row.why.push_str(" (late)");
        }
    }

    /// Forgets a stream; gives its permitted actions of which nobody will say any more what became of them.
    fn end(&mut self, stream: &StreamId) -> Vec<u64> {
        let ended = self.open.extract_if(|(of, _), _| of == stream);
        let mut unknown: Vec<u64> = ended.map(|((_, seq), _)| seq).collect();
        unknown.sort_unstable();
        unknown
    }

    fn event(&mut self, row: &mut Row, event: &EventBody) {
        let mut unknown = Vec::new();
        if let EventBody::StreamOpened {
            stream,
            agent,
            passport,
            pod_uid,
            ..
        } = event
        {
            let whose = Whose {
                agent: agent.clone(),
                passport: passport.clone(),
                pod: pod_uid.clone(),
            };
            row.whose(Some(&whose));
            self.agents.insert(*stream, whose);
        }
        if let EventBody::StreamEnded { stream, .. } = event {
            row.whose(self.agents.get(stream));
            unknown = self.end(stream);
        }
        // Its JSON names the event and its fields, those of later versions included.
        let tagged = serde_json::to_value(event).unwrap_or_default();
        row.event = tagged
            .get("kind")
            .and_then(Value::as_str)
            .map(str::to_owned);
        row.why = fields(tagged.get("body"));
        row.evidence = evidence(tagged.get("body"));
        if !unknown.is_empty() {
            row.word = Word::Ambiguous;
            let unknown: Vec<String> = unknown.iter().map(|seq| format!("/{seq}")).collect();
            row.why
                .push_str(&format!(" ambiguous: {}", unknown.join(" ")));
        }
    }
}

impl Row {
    fn whose(&mut self, whose: Option<&Whose>) {
        let Whose {
            agent,
            passport,
            pod,
        } = whose.cloned().unwrap_or_default();
        (self.agent, self.passport, self.pod) = (agent, passport, pod);
    }

    fn about(&mut self, about: About) {
        self.capability = about.capability;
        self.amount = about.amount;
        self.host = about.host;
        self.target = about.target;
    }

    /// The line. Columns are padded to what is usual, and the evidence id comes last, as it is long.
    pub(super) fn line(&self, paint: Paint) -> String {
        let word = self.event.as_deref().unwrap_or(self.word.text());
        let word = paint.paint(self.tone(), &format!("{:<10}", escaped(word)));
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let column = |text: Option<&str>| match text {
            Some(text) if !text.is_empty() => escaped(text),
            _ => "-".to_owned(),
        };
        let capability = column(self.capability.as_ref().map(Capability::as_str));
        let line = format!(
            "{:>6}  {time}  {:<12}  {word}  {:<24}  {:>12}  {:<20}  {}  {}",
            self.leaf,
            column(Some(&self.agent)),
            capability,
            column(self.amount.as_deref()),
            column(self.host.as_deref()),
            column(Some(&self.why)),
            self.evidence.as_deref().unwrap_or_default(),
        );
        line.trim_end().to_owned()
    }

    /// The line as people of a cluster read it. `pods`: names by uid, of those that are there.
    pub(super) fn line_of_cluster(&self, paint: Paint, pods: &HashMap<String, String>) -> String {
        let word = self.event.as_deref().unwrap_or(self.word.text());
        let word = paint.paint(self.tone(), &format!("{:<9}", escaped(word)));
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%SZ");
        let column = |text: Option<&str>| match text {
            Some(text) if !text.is_empty() => escaped(text),
            _ => "-".to_owned(),
        };
        // Of a pod that is gone its uid is all there is; the first characters tell pods apart.
        let gone = |uid: &String| uid.chars().take(POD_UID_CHARACTERS).collect::<String>();
        let pod =
            (self.pod.as_ref()).map(|uid| pods.get(uid).cloned().unwrap_or_else(|| gone(uid)));
        let line = format!(
            "{time}  {:<30}  {:<16}  {word}  {:<40}  {:>12}  {}",
            column(pod.as_deref()),
            column(Some(&self.passport)),
            column(self.target.as_deref()),
            column(self.amount.as_deref()),
            column(Some(&self.why)),
        );
        line.trim_end().to_owned()
    }

    fn tone(&self) -> Tone {
        match self.word {
            Word::Permit | Word::Ok => Tone::Good,
            Word::Escalate | Word::NotSent | Word::Failed => Tone::Doubtful,
            Word::Deny | Word::Ambiguous => Tone::Bad,
            Word::Note | Word::Ledger => Tone::Plain,
        }
    }
}

impl About {
    fn of(judged: &Judged) -> Self {
        match (&judged.action, &judged.refusal) {
            (Some(action), _) => Self {
                capability: Some(action.capability.clone()),
                amount: action.amount.map(|amount| amount.to_string()),
                host: Some(action.host.to_string()),
                target: Some(format!(
                    "{} {}{}",
                    action.method, action.host, action.path_template
                )),
            },
            (None, Some(refusal)) => Self {
                host: Some(refusal.target.clone()),
                target: Some(refusal.target.clone()),
                ..Self::default()
            },
            (None, None) => Self::default(),
        }
    }
}

fn judge(row: &mut Row, judged: &Judged, ruling: &Ruling) {
    (row.enforced, row.decisions) = (judged.enforced, Some(judged.count));
    // Of what was passed on: what would have been answered.
    let ruled = ruling.would.unwrap_or(ruling.verdict);
    row.word = match (ruled, judged.verdict.as_str()) {
        (RulingVerdict::Permit, _) | (RulingVerdict::Recorded, "permit") => Word::Permit,
        (RulingVerdict::Escalate, _) | (RulingVerdict::Recorded, "escalate") => Word::Escalate,
        (RulingVerdict::Deny | RulingVerdict::Recorded, _) => Word::Deny,
    };
    let refusal = judged.refusal.as_ref().map(|refusal| refusal.code.clone());
    let said = ruling.reason.clone().or_else(|| judged.reason.clone());
    row.reason = said.or(refusal);
    let rules = match ruling.rules.is_empty() {
        true => &judged.rules,
        false => &ruling.rules,
    };
    row.rules = rules.iter().map(ToString::to_string).collect();
    let mut parts: Vec<String> = row.reason.iter().cloned().collect();
    parts.extend(row.rules.iter().cloned());
    match &ruling.approval {
        Some(RulingApproval::Asked { id, .. } | RulingApproval::Pending { id }) => {
            parts.push(format!("asks {id}"));
        }
        Some(RulingApproval::Used { id }) => parts.push(format!("approved by {id}")),
        None => {}
    }
    let detail = judged.refusal.as_ref().and(judged.detail.as_ref());
    parts.extend(detail.map(|detail| format!("({detail})")));
    if !judged.enforced {
        parts.push("not enforced".to_owned());
    }
    if judged.count > 1 {
        parts.push(format!("{} times", judged.count));
    }
    row.why = parts.join(" ");
}

fn settle(row: &mut Row, outcome: &Outcome, ruling: &Ruling) {
    let result = ruling
        .settles
        .as_ref()
        .map_or(outcome.result, |settled| settled.result);
    row.word = match result {
        OutcomeResult::Ok => Word::Ok,
        OutcomeResult::Failed => Word::Failed,
        OutcomeResult::NotSent => Word::NotSent,
        OutcomeResult::Ambiguous => Word::Ambiguous,
    };
    let mut parts = vec![format!("of /{}", outcome.of)];
    parts.extend(outcome.status.map(|status| format!("status {status}")));
    parts.extend(outcome.detail.clone());
    row.why = parts.join(" ");
}

/// `name=value` of the plain fields of an event; long keys and hashes are left to `--output json`.
fn fields(body: Option<&Value>) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) if text.len() <= PLAIN_BYTES_MAX => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let fields = body.and_then(Value::as_object).into_iter().flatten();
    let shown = fields.filter_map(|(name, value)| Some(format!("{name}={}", plain(value)?)));
    shown.collect::<Vec<_>>().join(" ")
}

/// The record an event is about, where it is about one; else its stream.
fn evidence(body: Option<&Value>) -> Option<String> {
    let stream = body?.get("stream")?.as_str()?;
    match body?.get("seq").and_then(Value::as_u64) {
        Some(seq) => Some(format!("{stream}/{seq}")),
        None => Some(stream.to_owned()),
    }
}

/// Digests and keys have 43 characters or more.
const PLAIN_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(word: Word, pod: Option<&str>, target: Option<&str>, why: &str) -> Row {
        Row {
            leaf: 7,
            time: "2026-05-01T09:00:00.123456Z".parse().unwrap(),
            agent: "refund-agent".to_owned(),
            passport: "refunds".to_owned(),
            pod: pod.map(str::to_owned),
            word,
            event: (word == Word::Ledger).then(|| "bundle".to_owned()),
            capability: None,
            amount: target.map(|_| "2500.00 USD".to_owned()),
            host: None,
            target: target.map(str::to_owned),
            reason: None,
            rules: Vec::new(),
            decisions: None,
            enforced: true,
            why: why.to_owned(),
            evidence: None,
        }
    }

    #[test]
    fn people_of_a_cluster_read_who_asked_for_what_and_what_became_of_it() {
        let pods = HashMap::from([("u-1".to_owned(), "refund-agent-7d9f".to_owned())]);
        let refunds = Some("POST api.stripe.com/v1/refunds");
        let rows = [
            row(
                Word::Deny,
                Some("u-1"),
                refunds,
                "denied_by_rule support/refunds/huge",
            ),
            row(
                Word::Escalate,
                Some("0c1d2e3f-4a5b"),
                refunds,
                "required_by_rule asks apr_1",
            ),
            row(Word::Ledger, None, None, "digest=1\u{1b}[2K"),
        ];
        let lines: Vec<String> = rows
            .iter()
            .map(|row| row.line_of_cluster(Paint::plain(), &pods))
            .collect();
        insta::assert_snapshot!(format!("{HEADER_OF_CLUSTER}\n{}", lines.join("\n")));
    }
}
