//! What a record says of an action: a part in clear, and commitments to texts that travel and are kept beside it.
//!
//! The split is one to one: [`ActionEvidence::reveal`] gives back exactly the action that was concealed, or an
//! error, so the ledger decides on what the sidecar judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Action, Attribute, Fault, Hints, MeterUse};
use crate::canonical::{self, CanonicalError};
use crate::capability::Capability;
use crate::evidence::commitment::{Opening, Openings, commit};
use crate::hash::{Commitment, hex, unhex32};
use crate::host::HostName;
use crate::money::Money;
use crate::upstream::{AttributeValue, Effect};

/// Commitment to path, query, forwarded headers, body hash, idempotency key and concealed attributes, and on
/// anything but a read the digest. One text, because each commitment costs a hash and 32 random bytes.
pub const REQUEST_FIELD: &str = "request";

/// Commitment to the resource, on its own because it may name a person. Only where there is one.
pub const RESOURCE_FIELD: &str = "resource";

/// Commitment to what the workload says of itself. Only where it says something.
pub const HINTS_FIELD: &str = "hints";

/// Longest attribute shown in clear, in bytes; a longer one is concealed as if sensitive. 32 attributes of
/// this size with their names take 10 KiB of a record's 24.
pub const CLEAR_ATTRIBUTE_BYTES_MAX: usize = 256;

/// An action as a record shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionEvidence {
    /// Name of the agent.
    pub agent: String,
    /// Amount of money.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub amount: Option<Money>,
    /// Attributes declared not sensitive, and short.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Length of the body as sent, in bytes.
    pub body_bytes: u64,
    /// What kind of action it is.
    pub capability: Capability,
    /// Commitments to the rest, by [`REQUEST_FIELD`], [`RESOURCE_FIELD`] and [`HINTS_FIELD`].
    pub commitments: BTreeMap<String, Commitment>,
    /// What it does to the world.
    pub effect: Effect,
    /// Label `actpass.org/environment`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<String>,
    /// The first declared fact that is wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<Fault>,
    /// Name dialled.
    pub host: HostName,
    /// What it adds to which meters.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub meters: Vec<MeterUse>,
    /// HTTP method.
    pub method: String,
    /// Name of the Passport.
    pub passport: String,
    /// The path template it matched.
    pub path_template: String,
    /// Port dialled.
    pub port: u16,
    /// `<cluster-id>/<namespace>/<namespace-uid>`.
    pub tenant: String,
    /// Name of the upstream.
    pub upstream: String,
}

/// Why openings do not reveal the action that a record stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionEvidenceError {
    /// A commitment without its opening.
    #[error("the opening of `{0}` is missing")]
    Missing(String),
    /// An opening without a commitment, or a commitment to a field there is not.
    #[error("`{0}` does not belong here")]
    Extra(String),
    /// Salt or text is not what was committed to.
    #[error("the opening of `{0}` does not fit its commitment")]
    Commitment(String),
    /// The text is not of the form of its field.
    #[error("the text of `{field}` is malformed")]
    Text {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: CanonicalError,
    },
    /// The digest is missing, or not the action's.
    #[error("the digest in the opening is not the action's")]
    Digest,
    /// Well-formed parts that no action is split into.
    #[error("the parts are not the one form of an action")]
    Form,
}

impl ActionEvidence {
    /// Splits an action. `salts` gives 32 fresh random bytes per call, and is called once per commitment.
    pub fn conceal(action: &Action, salts: &mut dyn FnMut() -> [u8; 32]) -> (Self, Openings) {
        let mut evidence = Self::clear_part(action);
        let mut openings = Openings::default();
        for (field, text) in texts(action) {
            let commitment = openings.insert(
                field,
                Opening {
                    salt: salts(),
                    text,
                },
            );
            evidence.commitments.insert(field.to_owned(), commitment);
        }
        (evidence, openings)
    }

    /// The action this stands for.
    ///
    /// # Errors
    /// Where an opening is missing, left over or does not fit its commitment, and where the parts are not
    /// exactly those [`ActionEvidence::conceal`] makes of one action.
    pub fn reveal(&self, openings: &Openings) -> Result<Action, ActionEvidenceError> {
        self.check_commitments(openings)?;
        let request: Request =
            parse(REQUEST_FIELD, openings)?.ok_or_else(|| missing(REQUEST_FIELD))?;
        let hints: Option<Hints> = parse(HINTS_FIELD, openings)?;
        let resource = openings
            .get(RESOURCE_FIELD)
            .map(|opening| opening.text.clone());
        let (action, digest) = self.join(request, resource, hints.unwrap_or_default())?;
        // One reading only: the action found must split into these very parts.
        let texts = texts(&action);
        let same = |(field, text): &(&str, String)| {
            openings
                .get(field)
                .is_some_and(|opening| opening.text == *text)
        };
        if texts.len() == self.commitments.len() && texts.iter().all(same) && self.shows(&action) {
            Ok(action)
        } else if digest_of(&action) != digest {
            Err(ActionEvidenceError::Digest)
        } else {
            Err(ActionEvidenceError::Form)
        }
    }

    /// Whether the part in clear is this action's.
    pub fn shows(&self, action: &Action) -> bool {
        let clear = Self {
            commitments: self.commitments.clone(),
            ..Self::clear_part(action)
        };
        *self == clear
    }

    fn clear_part(action: &Action) -> Self {
        let clear = |(name, attribute): (&String, &Attribute)| {
            is_clear(attribute).then(|| (name.clone(), attribute.value.clone()))
        };
        Self {
            agent: action.agent.clone(),
            amount: action.amount,
            attributes: action.attributes.iter().filter_map(clear).collect(),
            body_bytes: action.body_bytes,
            capability: action.capability.clone(),
            commitments: BTreeMap::new(),
            effect: action.effect,
            environment: action.environment.clone(),
            fault: action.fault.clone(),
            host: action.host.clone(),
            meters: action.meters.clone(),
            method: action.method.clone(),
            passport: action.passport.clone(),
            path_template: action.path_template.clone(),
            port: action.port,
            tenant: action.tenant.clone(),
            upstream: action.upstream.clone(),
        }
    }

    fn check_commitments(&self, openings: &Openings) -> Result<(), ActionEvidenceError> {
        for (field, commitment) in &self.commitments {
            if ![REQUEST_FIELD, RESOURCE_FIELD, HINTS_FIELD].contains(&field.as_str()) {
                return Err(ActionEvidenceError::Extra(canonical::excerpt(field)));
            }
            let opening = openings.get(field).ok_or_else(|| missing(field))?;
            if commit(opening) != *commitment {
                return Err(ActionEvidenceError::Commitment(field.clone()));
            }
        }
        match openings
            .iter()
            .find(|(field, _)| !self.commitments.contains_key(*field))
        {
            Some((field, _)) => Err(ActionEvidenceError::Extra(canonical::excerpt(field))),
            None => Ok(()),
        }
    }

    /// The action of these parts, and the digest the request text names.
    fn join(
        &self,
        request: Request,
        resource: Option<String>,
        hints: Hints,
    ) -> Result<(Action, Option<String>), ActionEvidenceError> {
        let in_clear = |(name, value): (&String, &AttributeValue)| {
            (
                name.clone(),
                Attribute {
                    value: value.clone(),
                    sensitive: false,
                },
            )
        };
        let mut attributes: BTreeMap<_, _> = self.attributes.iter().map(in_clear).collect();
        for Concealed {
            name,
            sensitive,
            value,
        } in request.attributes
        {
            if attributes
                .insert(name, Attribute { value, sensitive })
                .is_some()
            {
                return Err(ActionEvidenceError::Form);
            }
        }
        let action = Action {
            tenant: self.tenant.clone(),
            passport: self.passport.clone(),
            agent: self.agent.clone(),
            upstream: self.upstream.clone(),
            capability: self.capability.clone(),
            effect: self.effect,
            method: self.method.clone(),
            host: self.host.clone(),
            port: self.port,
            path: request.path,
            path_template: self.path_template.clone(),
            query: request.query,
            headers: request.headers.into_iter().collect(),
            amount: self.amount,
            resource,
            meters: self.meters.clone(),
            environment: self.environment.clone(),
            attributes,
            body: unhex32(&request.body).map_err(|_| ActionEvidenceError::Form)?,
            body_bytes: self.body_bytes,
            idempotency_key: request.idempotency_key,
            fault: self.fault.clone(),
            hints,
        };
        Ok((action, request.digest))
    }
}

/// The text behind [`REQUEST_FIELD`], as canonical JSON. Pairs instead of objects: names come off the wire, and
/// canonical keys are plain ASCII only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    attributes: Vec<Concealed>,
    body: String,
    /// Only where the action changes something: nobody approves or repeats a read by its digest, and it is not
    /// free to compute. Sidecar and ledger of different versions would disagree here, before anything is decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    idempotency_key: Option<String>,
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    query: Vec<(String, String)>,
}

/// An attribute that is sensitive or long.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Concealed {
    name: String,
    sensitive: bool,
    value: AttributeValue,
}

/// The texts an action is committed by, with their fields.
fn texts(action: &Action) -> Vec<(&'static str, String)> {
    let mut texts = vec![(REQUEST_FIELD, write(&request_of(action)))];
    if let Some(resource) = &action.resource {
        texts.push((RESOURCE_FIELD, resource.clone()));
    }
    if action.hints != Hints::default() {
        texts.push((HINTS_FIELD, write(&action.hints)));
    }
    texts
}

fn request_of(action: &Action) -> Request {
    let concealed = |(name, attribute): (&String, &Attribute)| {
        let Attribute { value, sensitive } = attribute.clone();
        (!is_clear(attribute)).then(|| Concealed {
            name: name.clone(),
            sensitive,
            value,
        })
    };
    Request {
        attributes: action.attributes.iter().filter_map(concealed).collect(),
        body: hex(&action.body),
        digest: digest_of(action),
        headers: action
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        idempotency_key: action.idempotency_key.clone(),
        path: action.path.clone(),
        query: action.query.clone(),
    }
}

fn is_clear(attribute: &Attribute) -> bool {
    let short = match &attribute.value {
        AttributeValue::String(text) => text.len() <= CLEAR_ATTRIBUTE_BYTES_MAX,
        AttributeValue::Boolean(_) | AttributeValue::Integer(_) => true,
    };
    short && !attribute.sensitive
}

/// Canonical text of a private part. Only a concealed integer beyond 2^53−1 has none, which the parser of
/// attributes does not make; the empty text that then stands here is refused when it is revealed.
fn write<T: Serialize>(part: &T) -> String {
    canonical::to_string(part).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(
    field: &'static str,
    openings: &Openings,
) -> Result<Option<T>, ActionEvidenceError> {
    let read = |opening: &Opening| canonical::from_slice(opening.text.as_bytes());
    openings
        .get(field)
        .map(read)
        .transpose()
        .map_err(|source| ActionEvidenceError::Text { field, source })
}

fn missing(field: &str) -> ActionEvidenceError {
    ActionEvidenceError::Missing(field.to_owned())
}

/// The digest as the request text names it.
fn digest_of(action: &Action) -> Option<String> {
    action.effect.changes().then(|| action.digest().to_string())
}

#[cfg(test)]
mod tests;
