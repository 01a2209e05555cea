//! The kinds, and what `kubectl get` shows of them: is it fine, why not, how old.

use super::{Column, Definition};
use crate::action_policy::{ActionPolicySpec, ClusterActionPolicySpec};
use crate::approval::{ApprovalStatus, EscalationSpec};
use crate::approval_vote::ApprovalVoteSpec;
use crate::evidence_log::EvidenceLogStatus;
use crate::passport::PassportSpec;
use crate::schema::of_type;
use crate::shape;
use crate::status::{PassportStatus, PolicyStatus, UpstreamStatus};
use crate::upstream::UpstreamSpec;

/// All kinds, those that people write first.
pub static ALL: [Definition; 7] = [
    Definition {
        kind: "Passport",
        plural: "passports",
        short_name: "pp",
        namespaced: true,
        written_by: "the platform",
        name_pattern: shape::LABEL.pattern,
        about: "",
        spec: Some(of_type::<PassportSpec>),
        status: Some(of_type::<PassportStatus>),
        columns: &[
            text(
                "Account",
                ".spec.subject.serviceAccountName",
                "ServiceAccount it is for.",
            ),
            READY,
            READY_REASON,
            number(
                "Pods",
                ".status.sessions",
                "Pods that hold a passport by it.",
            ),
            wide(text(
                "Agent",
                ".spec.agentId",
                "Name of the agent in evidence.",
            )),
            wide(text(
                "Owner",
                ".spec.owner",
                "Who answers for the workload.",
            )),
            wide(text(
                "Bundle",
                ".status.bundleDigest",
                "Digest of the bundle these pods decide by.",
            )),
        ],
    },
    Definition {
        kind: "Upstream",
        plural: "upstreams",
        short_name: "ups",
        namespaced: true,
        written_by: "the platform",
        name_pattern: shape::LABEL.pattern,
        about: "",
        spec: Some(of_type::<UpstreamSpec>),
        status: Some(of_type::<UpstreamStatus>),
        columns: &[
            text("Host", ".spec.hosts[0]", "The first of its hosts."),
            number(
                "Actions",
                ".status.actions",
                "How many actions it declares.",
            ),
            ACCEPTED,
            ACCEPTED_REASON,
            wide(PROGRAMMED),
            wide(text("Protocol", ".spec.protocol", "How requests are read.")),
            wide(text(
                "TLS",
                ".spec.tls.mode",
                "How the transport is protected.",
            )),
            wide(number(
                "Namespaces",
                ".status.namespaces",
                "How many namespaces may use it.",
            )),
        ],
    },
    Definition {
        kind: "ActionPolicy",
        plural: "actionpolicies",
        short_name: "apol",
        namespaced: true,
        written_by: "policy authors",
        name_pattern: shape::LABEL.pattern,
        about: "",
        spec: Some(of_type::<ActionPolicySpec>),
        status: Some(of_type::<PolicyStatus>),
        columns: &POLICY_COLUMNS,
    },
    Definition {
        kind: "ClusterActionPolicy",
        plural: "clusteractionpolicies",
        short_name: "capol",
        namespaced: false,
        written_by: "the platform",
        name_pattern: shape::LABEL.pattern,
        about: "",
        spec: Some(of_type::<ClusterActionPolicySpec>),
        status: Some(of_type::<PolicyStatus>),
        columns: &POLICY_COLUMNS,
    },
    Definition {
        kind: "Approval",
        plural: "approvals",
        short_name: "appr",
        namespaced: true,
        written_by: "the controller",
        name_pattern: shape::LABEL.pattern,
        about: "",
        spec: Some(of_type::<EscalationSpec>),
        status: Some(of_type::<ApprovalStatus>),
        columns: &[
            text("State", ".status.state", "Where it stands."),
            text("Capability", ".spec.capability", "What is asked for."),
            text("Amount", ".spec.amount", "How much."),
            text("Agent", ".spec.agent", "Who asks."),
            wide(text("On", ".spec.resource", "On what.")),
            wide(text("Owner", ".spec.owner", "Who answers for the agent.")),
            wide(text("Because", ".spec.because", "Why people are asked.")),
            wide(text(
                "Expires",
                ".spec.expiresAt",
                "Until when it can be answered.",
            )),
        ],
    },
    Definition {
        kind: "ApprovalVote",
        plural: "approvalvotes",
        short_name: "avote",
        namespaced: true,
        written_by: "approvers",
        // 40 hex digits, by which nobody has two votes.
        name_pattern: "^[0-9a-f]{40}$",
        about: "",
        spec: Some(of_type::<ApprovalVoteSpec>),
        status: None,
        columns: &[
            text("Approval", ".spec.approvalName", "What was asked."),
            text("Decision", ".spec.decision", "The answer."),
            text("User", ".spec.stamp.user", "Who answered."),
            wide(text("Reason", ".spec.reason", "Why.")),
        ],
    },
    Definition {
        kind: "EvidenceLog",
        plural: "evidencelogs",
        short_name: "elog",
        namespaced: true,
        written_by: "the controller",
        name_pattern: shape::LABEL.pattern,
        about: "An EvidenceLog shows the state of a namespace's evidence log, as the controller saw it last. It has no spec.",
        spec: None,
        status: Some(of_type::<EvidenceLogStatus>),
        columns: &[
            number("Size", ".status.size", "Leaves under the newest head seen."),
            number(
                "Lag",
                ".status.lag",
                "Leaves that the last anchor does not cover.",
            ),
            READY,
            text(
                "Consistent",
                ".status.conditions[?(@.type==\"Consistent\")].status",
                "Whether each head seen extends the one before.",
            ),
            Column {
                name: "Anchored",
                kind: "date",
                path: ".status.lastAnchor.time",
                about: "Time since a head was kept elsewhere.",
                wide: false,
            },
            wide(text(
                "Root",
                ".status.root",
                "Root hash of the newest head seen.",
            )),
        ],
    },
];

const POLICY_COLUMNS: [Column; 7] = [
    text("Mode", ".spec.mode", "Whether it decides or only watches."),
    number("Rules", ".status.rules", "How many rules it has."),
    number(
        "Passports",
        ".status.passports",
        "How many Passports it applies to.",
    ),
    ACCEPTED,
    ACCEPTED_REASON,
    wide(PROGRAMMED),
    wide(text(
        "Message",
        ".status.conditions[?(@.type==\"Accepted\")].message",
        "Why, in a sentence.",
    )),
];

const READY: Column = text(
    "Ready",
    ".status.conditions[?(@.type==\"Ready\")].status",
    "Whether it is in force.",
);
const READY_REASON: Column = text(
    "Reason",
    ".status.conditions[?(@.type==\"Ready\")].reason",
    "Why it is, or is not.",
);
const ACCEPTED: Column = text(
    "Accepted",
    ".status.conditions[?(@.type==\"Accepted\")].status",
    "Whether it is valid and agrees with the others.",
);
const ACCEPTED_REASON: Column = text(
    "Reason",
    ".status.conditions[?(@.type==\"Accepted\")].reason",
    "Why it is, or is not.",
);
const PROGRAMMED: Column = text(
    "Programmed",
    ".status.conditions[?(@.type==\"Programmed\")].status",
    "Whether sidecars decide by it.",
);

const fn text(name: &'static str, path: &'static str, about: &'static str) -> Column {
    column(name, "string", path, about)
}

const fn number(name: &'static str, path: &'static str, about: &'static str) -> Column {
    column(name, "integer", path, about)
}

const fn column(
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    about: &'static str,
) -> Column {
    Column {
        name,
        kind,
        path,
        about,
        wide: false,
    }
}

const fn wide(column: Column) -> Column {
    Column {
        wide: true,
        ..column
    }
}
