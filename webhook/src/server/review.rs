//! `AdmissionReview` of `admission.k8s.io/v1`: what is asked, and what is answered.
//!
//! Objects stay JSON: what we do not know must go on as it came.

use serde::Deserialize;
use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::problem::{Findings, Problem, Reason};

/// The one version that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";

/// Longest name in a question: those of Kubernetes have 253 bytes.
const NAME_BYTES_MAX: usize = 512;

/// Most warnings of one answer. The API server shows 4096 characters of all together.
const WARNINGS_MAX: usize = 16;

/// Longer warnings may be cut off by the API server, in the middle of what to write.
const WARNING_CHARS_MAX: usize = 256;

/// What is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Of the question; the answer repeats it.
    pub uid: String,
    /// What is asked about, as the rule of the webhook names it.
    pub resource: ResourceName,
    /// `exec`, `ephemeralcontainers`; empty for the resource itself.
    #[serde(default)]
    pub sub_resource: String,
    /// Name of the object; empty where the API server makes one.
    #[serde(default)]
    pub name: String,
    /// Its namespace; empty where it is in none.
    #[serde(default)]
    pub namespace: String,
    /// What is done.
    pub operation: Operation,
    /// Who does it.
    #[serde(default)]
    pub user_info: User,
    /// The object as it will be; null for none.
    #[serde(default)]
    pub object: Value,
    /// The object as it is; null for none.
    #[serde(default)]
    pub old_object: Value,
}

/// A resource of the API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResourceName {
    /// Group; empty for the core.
    #[serde(default)]
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name.
    pub resource: String,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Made.
    Create,
    /// Changed.
    Update,
    /// Removed.
    Delete,
    /// Connected to.
    Connect,
}

/// Who does it, as the API server knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Name.
    #[serde(default)]
    pub username: String,
    /// Stable id, where there is one.
    #[serde(default)]
    pub uid: Option<String>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whatever else is known.
    #[serde(default)]
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// A review that cannot be answered, since it does not say which question it is.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Another kind, or another version.
    #[error("not an AdmissionReview of {API_VERSION}")]
    Kind,
    /// A name that no API server has.
    #[error("a name in the AdmissionReview is longer than {NAME_BYTES_MAX} bytes")]
    Name,
    /// Not what that version says.
    #[error("the AdmissionReview cannot be read")]
    Form(#[source] serde_json::Error),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whether it may be.
    pub verdict: Verdict,
    /// What whoever asks is told besides, one sentence each.
    pub warnings: Vec<String>,
}

/// Whether it may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// As it is.
    Allowed,
    /// With this JSON patch.
    Patched(Value),
    /// Not.
    Refused(Refusal),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As an HTTP status.
    pub status: Status,
    /// At least one: the field, what is wrong, what to write.
    pub causes: Vec<Cause>,
    /// How many more there are.
    pub more: usize,
}

/// As which HTTP status a refusal reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 400: not a question that this path answers.
    BadRequest,
    /// 403: what is asked for is not allowed.
    Forbidden,
    /// 503: it cannot be answered now.
    Unavailable,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A constant for machines.
    pub reason: &'static str,
    /// The field; empty for the whole request.
    pub field: String,
    /// What is wrong; behind a semicolon, what to write.
    pub message: String,
}

impl Request {
    /// The question in a review.
    ///
    /// # Errors
    /// Where it is none: then it cannot be answered, and whoever asked takes that for a refusal.
    pub fn parse(review: Value) -> Result<Self, ReviewError> {
        let text = |key| review.get(key).and_then(Value::as_str);
        if text("apiVersion") != Some(API_VERSION) || text("kind") != Some("AdmissionReview") {
            return Err(ReviewError::Kind);
        }
        let Value::Object(mut members) = review else {
            return Err(ReviewError::Kind);
        };
        let request = members.remove("request").unwrap_or_default();
        let request: Self = serde_json::from_value(request).map_err(ReviewError::Form)?;
        // They are written to the log, and become paths.
        let resource = &request.resource;
        let names = [
            &request.uid,
            &request.sub_resource,
            &request.name,
            &request.namespace,
            &resource.group,
            &resource.version,
            &resource.resource,
        ];
        match names.iter().all(|name| name.len() <= NAME_BYTES_MAX) {
            true => Ok(request),
            false => Err(ReviewError::Name),
        }
    }

    /// What is done to what, for a path that answers something else.
    pub fn what(&self) -> String {
        let operation = format!("{:?}", self.operation).to_uppercase();
        let sub = if self.sub_resource.is_empty() {
            ""
        } else {
            "/"
        };
        let (resource, sub_resource) = (&self.resource.resource, &self.sub_resource);
        let text = format!("{operation} {resource}{sub}{sub_resource}");
        actpass_core::canonical::excerpt(&text)
    }
}

impl Answer {
    /// As it is.
    pub fn allowed() -> Self {
        Self::of(Verdict::Allowed)
    }

    /// With this patch; none, where it is empty.
    pub fn patched(patch: Value) -> Self {
        match patch.as_array().is_some_and(Vec::is_empty) {
            true => Self::allowed(),
            false => Self::of(Verdict::Patched(patch)),
        }
    }

    /// Refused for one reason.
    pub fn refused(
        status: Status,
        reason: &'static str,
        field: &str,
        message: impl Into<String>,
    ) -> Self {
        let cause = Cause {
            reason,
            field: field.to_owned(),
            message: message.into(),
        };
        Self::refused_for(status, vec![cause])
    }

    /// Refused for these reasons.
    pub fn refused_for(status: Status, causes: Vec<Cause>) -> Self {
        Self::of(Verdict::Refused(Refusal {
            status,
            causes,
            more: 0,
        }))
    }

    /// A question that its path does not answer.
    pub fn unexpected(request: &Request) -> Self {
        let message = format!(
            "`{}` is not asked here; restore the webhook configurations as the chart has them",
            request.what()
        );
        Self::refused(Status::BadRequest, "unexpected", "", message)
    }

    /// What was found in a pod: refused, or `passing` with what people should know.
    pub fn found(findings: Findings, passing: Self) -> Self {
        let warnings = findings.warned.iter().map(Problem::to_string).collect();
        let mut answer = match findings.passes() {
            true => passing,
            false => {
                let malformed = |problem: &Problem| problem.reason == Reason::Malformed;
                let status = match findings.refused.iter().all(malformed) {
                    true => Status::BadRequest,
                    false => Status::Forbidden,
                };
                Self::of(Verdict::Refused(Refusal {
                    status,
                    causes: findings.refused.into_iter().map(Cause::from).collect(),
                    more: findings.more,
                }))
            }
        };
        answer.warnings = warnings;
        answer
    }

    /// The review that answers the question `uid`.
    pub fn to_review(&self, uid: &str) -> Value {
        let mut response =
            json!({"uid": uid, "allowed": !matches!(self.verdict, Verdict::Refused(_))});
        match &self.verdict {
            Verdict::Allowed => {}
            Verdict::Patched(patch) => {
                set(&mut response, "patchType", json!("JSONPatch"));
                set(
                    &mut response,
                    "patch",
                    json!(STANDARD.encode(patch.to_string())),
                );
            }
            Verdict::Refused(refusal) => set(&mut response, "status", refusal.to_json()),
        }
        if !self.warnings.is_empty() {
            let shown = self.warnings.iter().take(WARNINGS_MAX);
            let shown: Vec<String> = shown.map(|text| shortened(text)).collect();
            set(&mut response, "warnings", json!(shown));
        }
        json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})
    }

    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            warnings: Vec::new(),
        }
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

fn shortened(text: &str) -> String {
    match text.chars().count() > WARNING_CHARS_MAX {
        true => text
            .chars()
            .take(WARNING_CHARS_MAX - 3)
            .chain("...".chars())
            .collect(),
        false => text.to_owned(),
    }
}

impl Refusal {
    /// As a `Status` of the API. Its message is all that `kubectl` and events show, so every cause is in it.
    fn to_json(&self) -> Value {
        let (code, reason) = match self.status {
            Status::BadRequest => (400, "BadRequest"),
            Status::Forbidden => (403, "Forbidden"),
            Status::Unavailable => (503, "ServiceUnavailable"),
        };
        let causes: Vec<Value> = self.causes.iter().map(|cause| {
            json!({"reason": cause.reason, "field": cause.field, "message": cause.message})
        }).collect();
        json!({"code": code, "reason": reason, "message": self.message(), "details": {"causes": causes}})
    }

    /// One line per cause where there are several.
    pub fn message(&self) -> String {
        let mut lines: Vec<String> = self.causes.iter().map(Cause::to_string).collect();
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        match lines.as_slice() {
            [only] => only.clone(),
            lines => format!(
                "{} reasons\n- {}",
                self.causes.len() + self.more,
                lines.join("\n- ")
            ),
        }
    }
}

/// `FIELD: MESSAGE (REASON)`.
impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl From<Problem> for Cause {
    fn from(problem: Problem) -> Self {
        Self {
            reason: problem.reason.as_str(),
            field: problem.field,
            message: format!("{}; {}", problem.message, problem.help),
        }
    }
}
