//! The ledger's own events: policy, streams, votes, resolutions.

use jiff::Timestamp;

use super::{ApprovalState, Bundles, State, StateError, Stream, Vote};
use crate::evidence::leaf::{EventBody, LeafHeader, StreamEnd};
use crate::evidence::log_keys::{self, LogKeys};
use crate::hash::{RecordHash, StreamId, b64u_decode_array, sha256};
use crate::passport::ABSENT;

impl State {
    pub(super) fn apply_event(
        &mut self,
        event: &EventBody,
        at: &LeafHeader,
        bundles: &dyn Bundles,
    ) -> Result<(), StateError> {
        let time = at.time;
        match event {
            EventBody::Bundle { digest, revision } => {
                if let Some(newest) = self.revision
                    && revision.is_none_or(|revision| revision <= newest)
                {
                    let digest = *digest;
                    return Err(StateError::StaleBundle { digest, newest });
                }
                let bundle = bundles
                    .bundle(digest)
                    .ok_or(StateError::MissingBundle(*digest))?;
                if bundle.spec().tenant != self.tenant() {
                    return Err(StateError::Form("a bundle of another tenant"));
                }
                self.activate(bundle, time);
                self.revision = *revision;
            }
            EventBody::StreamOpened {
                stream,
                key,
                passport,
                agent,
                jti,
                expires,
                issuer,
                pod_uid,
            } => {
                let named = |kid: &String| self.keys.issuer_keys.contains_key(kid);
                if !issuer.as_ref().is_none_or(named) {
                    return Err(StateError::Form("a passport of a key that is not named"));
                }
                let opened = Stream {
                    key: stream_key(*stream, key)?,
                    passport: passport.clone(),
                    agent: agent.clone(),
                    jti: jti.clone(),
                    expires: *expires,
                    pod_uid: pod_uid.clone(),
                    next_seq: 0,
                    head: RecordHash::from_bytes([0; 32]),
                    ended: None,
                };
                self.open_stream(*stream, opened)?;
            }
            EventBody::StreamEnded { stream, how } => self.end_stream(stream, *how, time)?,
            EventBody::Sealed {
                approval, stream, ..
            } => self.sealed(approval, stream, time)?,
            EventBody::Vote {
                approval,
                grant,
                user,
                groups,
                signed,
            } => {
                let vote = Vote {
                    user: user.clone(),
                    groups: groups.clone(),
                    grant: *grant,
                    time,
                    approval_uid: signed.as_ref().map(|it| it.vote.approval_uid.clone()),
                };
                self.vote(approval, vote, signed.as_deref())
                    .map_err(|refused| StateError::BadVote(approval.clone(), refused))?;
            }
            EventBody::Revoked { passport, .. } => {
                self.revoked.insert(passport.clone());
            }
            EventBody::Resolved {
                stream,
                seq,
                happened,
                ..
            } => {
                let id = (*stream, *seq);
                if self
                    .intents
                    .get(&id)
                    .is_none_or(|intent| intent.ambiguous_since.is_none())
                {
                    return Err(StateError::Unknown(
                        "intent of unknown outcome",
                        format!("{stream}/{seq}"),
                    ));
                }
                self.close_intent(&id, !happened, *happened);
            }
            EventBody::Genesis {
                issuer_keys,
                log_key,
                ..
            } => {
                self.keys.issuer_keys.clone_from(issuer_keys);
                let first = log_keys::named(log_key, &self.log);
                self.log_keys = first.map(LogKeys::of).unwrap_or_default();
            }
            EventBody::LogKey { key, by } => self.log_keys.rotate(at.seq, key, by)?,
            EventBody::Erasure { .. } => self.erase(event, at)?,
            EventBody::Gap { .. } => self.lose(event, at)?,
            EventBody::Keys(keys) => self.keys.clone_from(keys),
            EventBody::Leased { .. }
            | EventBody::CredentialReleased { .. }
            | EventBody::CredentialChanged { .. }
            | EventBody::TextsDisclosed { .. }
            | EventBody::Recovery { .. } => {}
        }
        Ok(())
    }

    fn open_stream(&mut self, id: StreamId, opened: Stream) -> Result<(), StateError> {
        if let Some(uid) = &opened.pod_uid {
            let held = self.pods.get(uid).is_some_and(|held| *held != id);
            if held {
                return Err(StateError::SecondStream(uid.clone()));
            }
        }
        let stream = self.streams.entry(id).or_insert_with(|| opened.clone());
        let same = stream.passport == opened.passport && stream.agent == opened.agent;
        // A pod may get its first Passport while it runs under audit, and lose it.
        let first = [&stream.passport, &opened.passport].contains(&&ABSENT.to_owned());
        if stream.ended.is_some() || !(same || first) || stream.pod_uid != opened.pod_uid {
            return Err(StateError::NotOpen(id));
        }
        let pod_uid = opened.pod_uid.clone();
        (stream.passport, stream.agent) = (opened.passport, opened.agent);
        (stream.jti, stream.expires) = (opened.jti, opened.expires);
        self.pods.extend(pod_uid.map(|uid| (uid, id)));
        Ok(())
    }

    pub(super) fn end_stream(
        &mut self,
        id: &StreamId,
        how: StreamEnd,
        time: Timestamp,
    ) -> Result<(), StateError> {
        let stream = self
            .streams
            .get_mut(id)
            .filter(|stream| stream.ended.is_none());
        let stream = stream.ok_or(StateError::NotOpen(*id))?;
        stream.ended = Some(how);
        if let Some(uid) = &stream.pod_uid {
            self.pods.remove(uid);
        }
        self.intents.end_process(id, time);
        Ok(())
    }

    /// The exact request is kept: from here on people are asked.
    fn sealed(&mut self, id: &str, stream: &StreamId, time: Timestamp) -> Result<(), StateError> {
        let unknown = || StateError::Unknown("approval to seal a request for", id.to_owned());
        let passport = self.streams.get(stream).map(|stream| &stream.passport);
        let approval = self.approvals.get_mut(id).filter(|approval| {
            Some(&approval.passport) == passport && approval.state(time) == ApprovalState::Sealing
        });
        approval.ok_or_else(unknown)?.sealed = true;
        Ok(())
    }
}

fn stream_key(id: StreamId, key: &str) -> Result<[u8; 32], StateError> {
    let key = b64u_decode_array::<32>(key).ok();
    key.filter(|key| StreamId::from_bytes(sha256(&[key])) == id)
        .ok_or(StateError::Form("a stream whose key is not its own"))
}
