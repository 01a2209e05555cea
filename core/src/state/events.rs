//! The ledger's own events: policy, streams, votes, resolutions.

use jiff::Timestamp;

use super::{ApprovalState, Bundles, State, StateError, Stream, Vote};
use crate::evidence::leaf::{EventBody, StreamEnd};
use crate::hash::{RecordHash, StreamId, b64u_decode_array, sha256};

impl State {
    pub(super) fn apply_event(
        &mut self,
        event: &EventBody,
        time: Timestamp,
        bundles: &dyn Bundles,
    ) -> Result<(), StateError> {
        match event {
            EventBody::Bundle { digest } => {
                let bundle = bundles
                    .bundle(digest)
                    .ok_or(StateError::MissingBundle(*digest))?;
                if bundle.spec().tenant != self.tenant() {
                    return Err(StateError::Form("a bundle of another tenant"));
                }
                self.active = Some(bundle);
            }
            EventBody::StreamOpened {
                stream,
                key,
                passport,
                agent,
                jti,
                expires,
            } => {
                self.open_stream(*stream, key, passport, agent, jti, *expires)?;
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
            } => {
                let vote = Vote {
                    user: user.clone(),
                    groups: groups.clone(),
                    grant: *grant,
                    time,
                };
                self.vote(approval, vote)
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
            EventBody::Genesis { .. }
            | EventBody::Leased { .. }
            | EventBody::CredentialReleased { .. }
            | EventBody::CredentialChanged { .. }
            | EventBody::Recovery { .. } => {}
        }
        Ok(())
    }

    fn open_stream(
        &mut self,
        id: StreamId,
        key: &str,
        passport: &str,
        agent: &str,
        jti: &str,
        expires: Timestamp,
    ) -> Result<(), StateError> {
        let key = b64u_decode_array::<32>(key)
            .ok()
            .filter(|key| StreamId::from_bytes(sha256(&[key])) == id);
        let key = key.ok_or(StateError::Form("a stream whose key is not its own"))?;
        let fresh = Stream {
            key,
            passport: passport.to_owned(),
            agent: agent.to_owned(),
            jti: jti.to_owned(),
            expires,
            next_seq: 0,
            head: RecordHash::from_bytes([0; 32]),
            ended: None,
        };
        let stream = self.streams.entry(id).or_insert(fresh);
        if stream.ended.is_some() || stream.passport != passport || stream.agent != agent {
            return Err(StateError::NotOpen(id));
        }
        (stream.jti, stream.expires) = (jti.to_owned(), expires);
        Ok(())
    }

    fn end_stream(
        &mut self,
        id: &StreamId,
        how: StreamEnd,
        time: Timestamp,
    ) -> Result<(), StateError> {
        let stream = self
            .streams
            .get_mut(id)
            .filter(|stream| stream.ended.is_none());
        stream.ok_or(StateError::NotOpen(*id))?.ended = Some(how);
        self.intents.end_stream(id, time);
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
