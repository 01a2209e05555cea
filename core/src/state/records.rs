//! Takes records in, checking that what their rulings claim follows from the leaves before.

use jiff::Timestamp;

use super::approvals::{Approval, ApprovalState, expiry};
use super::facts::Reckoned;
use super::intents::OpenIntent;
use super::{PERMIT_LIFE, State, StateError, Stream, after, meters, ruling};
use crate::bundle::Bundle;
use crate::decide::DenyReason;
use crate::evidence::leaf::{LeafHeader, Ruling, RulingApproval, RulingVerdict};
use crate::evidence::record::{Body, Judged, Outcome, OutcomeResult, RESTARTED, Record};
use crate::hash::{RecordHash, unhex32};
use crate::mode::Mode;
use crate::passport::Passport;

/// One intent with its ruling, in its place.
struct Asked<'a> {
    record: &'a Record,
    judged: &'a Judged,
    ruling: &'a Ruling,
    stream: &'a Stream,
    at: &'a LeafHeader,
}

impl State {
    pub(super) fn apply_record(
        &mut self,
        record: &Record,
        hash: Option<RecordHash>,
        ruling: &Ruling,
        at: &LeafHeader,
    ) -> Result<(), StateError> {
        let stream = self.continue_stream(record, hash)?;
        match &record.body {
            Body::Intent(judged) => self.intent(&Asked {
                record,
                judged,
                ruling,
                stream: &stream,
                at,
            }),
            _ if ruling.verdict != RulingVerdict::Recorded
                || grants(ruling)
                || ruling.approval.is_some() =>
            {
                Err(StateError::Form("a verdict that its record cannot have"))
            }
            Body::Decision(judged) if !judged.enforced => {
                self.rehearse(judged, ruling, &stream, at.time)
            }
            Body::Decision(_) | Body::Outcome(_) | Body::Note(_) if ruling.would.is_some() => Err(
                StateError::Form("what is enforced, ruled on as if it were not"),
            ),
            Body::Decision(judged) => {
                if judged.verdict == "deny" {
                    self.history.deny(&stream.passport, judged.count, at.time);
                }
                Ok(())
            }
            Body::Outcome(outcome) => self.settle(record, outcome, ruling, at.time),
            Body::Note(note) => {
                if note.note == RESTARTED {
                    self.intents.end_process(&record.stream, at.time);
                }
                Ok(())
            }
        }
    }

    /// Checks that the record is the next of its stream, and moves the stream on.
    fn continue_stream(
        &mut self,
        record: &Record,
        hash: Option<RecordHash>,
    ) -> Result<Stream, StateError> {
        let id = record.stream;
        let stream = self
            .streams
            .get_mut(&id)
            .filter(|stream| stream.ended.is_none());
        let stream = stream.ok_or(StateError::NotOpen(id))?;
        if record.seq != stream.next_seq {
            return Err(StateError::OutOfOrder {
                stream: id,
                expected: stream.next_seq,
                found: record.seq,
            });
        }
        if record.prev != stream.head {
            return Err(StateError::BrokenChain(id, record.seq));
        }
        stream.head = hash.ok_or(StateError::Form("a record without canonical form"))?;
        stream.next_seq += 1;
        Ok(stream.clone())
    }

    fn intent(&mut self, asked: &Asked<'_>) -> Result<(), StateError> {
        let Asked {
            judged,
            ruling,
            stream,
            at,
            ..
        } = asked;
        match ruling.verdict {
            RulingVerdict::Recorded => {
                Err(StateError::Form("a verdict that its record cannot have"))
            }
            _ if ruling.settles.is_some() || ruling.would.is_some() => Err(StateError::Form(
                "an intent that settles something, or is not enforced",
            )),
            RulingVerdict::Permit | RulingVerdict::Escalate if !judged.enforced => {
                Err(StateError::BadPermit("it says that nothing is enforced"))
            }
            RulingVerdict::Permit => self.permit(asked),
            _ if grants(ruling) => Err(StateError::Form("a refusal that grants something")),
            RulingVerdict::Escalate => self.ask(asked),
            RulingVerdict::Deny if ruling.approval.is_some() => {
                Err(StateError::Form("a denial with an approval"))
            }
            RulingVerdict::Deny => {
                // A question by an outdated policy is asked again, so it says nothing of the agent.
                if ruling.reason.as_deref() != Some(DenyReason::StalePolicy.code()) {
                    self.history.deny(&stream.passport, 1, at.time);
                }
                Ok(())
            }
        }
    }

    fn permit(&mut self, asked: &Asked<'_>) -> Result<(), StateError> {
        let Asked {
            record,
            judged,
            ruling,
            stream,
            at,
        } = asked;
        let now = at.time;
        let action = judged
            .action
            .as_ref()
            .ok_or(StateError::BadPermit("it names no action"))?;
        let digest = ruling
            .digest
            .ok_or(StateError::BadPermit("it names no digest"))?;
        self.check_permit(asked)?;
        let (_, passport) = self.decided_by(asked)?;
        if ruling.reservations != meters::due(&passport, &action.meters) {
            return Err(StateError::BadPermit(
                "it does not reserve what the action adds to its meters",
            ));
        }
        let (approval, lifted) = match &ruling.approval {
            None => (None, Vec::new()),
            Some(RulingApproval::Used { id }) => {
                let shown = self.approvals.consume(id, &stream.passport, &digest, now)?;
                (Some(id.clone()), shown)
            }
            Some(_) => return Err(StateError::BadPermit("it asks for an approval")),
        };
        let used_up = self.used_up_since();
        let held = self
            .meters
            .reserve(&passport, &ruling.reservations, &lifted, now, used_up)?;
        self.history.permit(&action.capability, ruling.resource);
        let intent = OpenIntent {
            passport: stream.passport.clone(),
            agent: stream.agent.clone(),
            capability: action.capability.clone(),
            amount: action.amount,
            permitted: now,
            not_after: after(now, PERMIT_LIFE),
            leaf: at.seq,
            credential: ruling.credential.clone(),
            ambiguous_since: None,
            digest,
            resource: ruling.resource,
            approval,
            held,
        };
        self.intents.insert((record.stream, record.seq), intent);
        Ok(())
    }

    /// What every permit needs, whatever policy says.
    fn check_permit(&self, asked: &Asked<'_>) -> Result<(), StateError> {
        let Asked {
            record,
            ruling,
            stream,
            at,
            ..
        } = asked;
        let lacks = |why| Err(StateError::BadPermit(why));
        if self.revoked.contains(&stream.passport) {
            return lacks("the passport is revoked");
        }
        if at.time >= stream.expires {
            return lacks("the passport has expired");
        }
        if ruling::is_skewed(record.time, at.time) {
            return lacks("its intent is of another time");
        }
        if ruling.not_after != Some(after(at.time, PERMIT_LIFE)) {
            return lacks("it has another end than it must have");
        }
        if ruling
            .digest
            .is_some_and(|digest| self.intents.unknown_repeat(&digest, at.time).is_some())
        {
            return lacks("it repeats an action whose outcome is not known");
        }
        Ok(())
    }

    /// The active bundle and the passport, by which an intent has to be decided; the action must be one of theirs,
    /// and facts that the ruling shows must be those of the log.
    fn decided_by(
        &self,
        asked: &Asked<'_>,
    ) -> Result<(std::sync::Arc<Bundle>, Passport), StateError> {
        let Asked {
            judged,
            ruling,
            stream,
            at,
            ..
        } = asked;
        let bundle = self
            .active
            .clone()
            .ok_or(StateError::BadPermit("no bundle is active"))?;
        if judged.bundle != bundle.digest() {
            return Err(StateError::BadPermit(
                "it was judged by another bundle than the active one",
            ));
        }
        if bundle.spec().mode == Mode::Audit {
            return Err(StateError::BadPermit("the namespace is under audit"));
        }
        let action = judged
            .action
            .as_ref()
            .ok_or(StateError::BadPermit("it names no action"))?;
        if !self.is_own(action, stream) {
            return Err(StateError::BadPermit(
                "its action is of another tenant, passport or agent",
            ));
        }
        if !ruling::is_declared(action, &bundle) {
            return Err(StateError::BadPermit("the bundle declares no such action"));
        }
        let passport = bundle
            .passport(&stream.passport)
            .ok_or(StateError::BadPermit("its passport is unknown"))?
            .clone();
        if ruling.facts
            != Some(self.shown_facts(
                Reckoned::Enforced,
                &passport,
                &action.capability,
                ruling.resource,
                at.time,
            ))
        {
            return Err(StateError::Form(
                "a ruling by facts that are not those of the log",
            ));
        }
        Ok((bundle, passport))
    }

    /// Takes in an escalation: a new question, or another asker of an open one.
    fn ask(&mut self, asked: &Asked<'_>) -> Result<(), StateError> {
        let Asked {
            record,
            judged,
            ruling,
            stream,
            at,
        } = asked;
        let digest = ruling
            .digest
            .ok_or(StateError::Form("an escalation without digest"))?;
        let (_, passport) = self.decided_by(asked)?;
        match &ruling.approval {
            Some(RulingApproval::Pending { id }) => {
                let approval = self
                    .approvals
                    .get(id)
                    .ok_or_else(|| StateError::Unknown("approval", id.clone()))?;
                let open = [ApprovalState::Sealing, ApprovalState::Pending]
                    .contains(&approval.state(at.time));
                let same = approval.digest == digest && approval.passport == stream.passport;
                if open && same {
                    Ok(())
                } else {
                    Err(StateError::Form("an escalation to another question"))
                }
            }
            Some(RulingApproval::Asked {
                id,
                needed,
                asked_by,
                expires,
            }) => {
                if *id != ruling::approval_id(&self.log, record)
                    || *expires != expiry(needed, at.time)
                {
                    return Err(StateError::Form(
                        "an escalation with another id or expiry than it must have",
                    ));
                }
                if needed.seats.is_empty() || self.approvals.is_full(&stream.passport, at.time) {
                    return Err(StateError::Form("an escalation to nobody, or one too many"));
                }
                self.approvals.add(Approval {
                    id: id.clone(),
                    passport: stream.passport.clone(),
                    owner: passport.owner,
                    asked_by_intent: (record.stream, record.seq),
                    leaf: at.seq,
                    digest,
                    subject: ruling.subject,
                    needed: needed.clone(),
                    judged: Box::new((*judged).clone()),
                    rules: ruling.rules.iter().map(ToString::to_string).collect(),
                    asked: at.time,
                    expires: *expires,
                    votes: Vec::new(),
                    asked_by: unhex32(asked_by)
                        .map_err(|_| StateError::Form("an escalation without askers"))?,
                    sealed: false,
                    used: false,
                    erased: None,
                    lost: false,
                })
            }
            _ => Err(StateError::Form("an escalation that asks nobody")),
        }
    }

    fn settle(
        &mut self,
        record: &Record,
        outcome: &Outcome,
        ruling: &Ruling,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let settlement = self.settlement(record, outcome);
        if ruling.settles != settlement {
            return Err(StateError::Form("an outcome that settles something else"));
        }
        let Some(settlement) = settlement else {
            return Ok(());
        };
        let id = (record.stream, outcome.of);
        if settlement.result == OutcomeResult::Ambiguous {
            self.intents.set_ambiguous(&id, now);
            return Ok(());
        }
        if let Some(approval) = &settlement.approval_returned {
            self.approvals.give_back(approval);
        }
        self.close_intent(
            &id,
            settlement.released,
            settlement.result == OutcomeResult::Ok,
        );
        Ok(())
    }

    pub(super) fn close_intent(
        &mut self,
        id: &(crate::hash::StreamId, u64),
        release: bool,
        happened: bool,
    ) {
        let Some(intent) = self.intents.remove(id) else {
            return;
        };
        if release {
            self.meters.release(&intent.held);
        }
        if happened {
            self.history.complete(&intent.capability, intent.resource);
        }
    }
}

/// Whether a ruling gives something that only a permit gives.
fn grants(ruling: &Ruling) -> bool {
    !ruling.reservations.is_empty()
        || ruling.credential.is_some()
        || ruling.obligations.is_some()
        || ruling.not_after.is_some()
}
