//! What is wrong with a pod: one line each, with the field and what to write instead.

use std::fmt;

use crate::path::Path;

/// Most problems said of one pod. A pod of a thousand containers would else fill the answer with the same sentence.
pub const PROBLEMS_MAX: usize = 64;

/// One thing wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which check it is, for machines.
    pub reason: Reason,
    /// The field, as `spec.containers[1].securityContext.runAsUser`; of the request where it is none of the pod's.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Everything found in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why it is refused; nothing: it is not. At most [`PROBLEMS_MAX`].
    pub refused: Vec<Problem>,
    /// What people should know and what refuses nothing. At most [`PROBLEMS_MAX`].
    pub warned: Vec<Problem>,
    /// How many more reasons to refuse there are than `refused` holds.
    pub more: usize,
}

/// Which check found it. `Display` gives the constant that answers, metrics and tests carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// V1: a namespace shared with the node or among containers.
    HostNamespace,
    /// V2: a way to gain privileges.
    Privilege,
    /// V3: no uid, root's, or one of the sidecars'.
    Uid,
    /// V4: without seccomp, AppArmor, masked `/proc`; or Windows.
    Confinement,
    /// V5: a volume that reaches past the pod.
    Volume,
    /// V6: a name that is ours.
    ReservedName,
    /// V7: not what we inject.
    Injection,
    /// V8: a mount of what is the sidecar's.
    Mount,
    /// V9: a request that the kubelet would make elsewhere.
    HandlerHost,
    /// V10: a port of ours, or of the node.
    Port,
    /// V11: another resolver.
    Dns,
    /// V12: a kernel setting that opens a way.
    Sysctl,
    /// V13: another mesh or network.
    OtherMesh,
    /// V14: a device that may be a network.
    Device,
    /// V15: a runtime that was not tried.
    RuntimeClass,
    /// V16: a pod that no admission sees.
    StaticPod,
    /// V17: placed past the scheduler.
    NodeName,
    /// V18: an account with rights over pods.
    AccountRights,
    /// V19: a token with our audience.
    TokenAudience,
    /// A field of another type than Kubernetes gives it.
    Malformed,
    /// Something of ours changed after admission.
    InjectionChanged,
    /// A container added to a running pod.
    EphemeralContainer,
    /// A shell in one of our containers.
    Connect,
    /// A tunnel through the kubelet.
    PortForward,
    /// A variable of the user's that stands where ours would.
    UserVariable,
    /// A value of the user's that was tightened.
    Tightened,
    /// A port that nobody will reach.
    Unreachable,
}

impl Reason {
    /// The constant.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HostNamespace => "host_namespace",
            Reason::Privilege => "privilege",
            Reason::Uid => "uid",
            Reason::Confinement => "confinement",
            Reason::Volume => "volume",
            Reason::ReservedName => "reserved_name",
            Reason::Injection => "injection",
            Reason::Mount => "mount",
            Reason::HandlerHost => "handler_host",
            Reason::Port => "port",
            Reason::Dns => "dns",
            Reason::Sysctl => "sysctl",
            Reason::OtherMesh => "other_mesh",
            Reason::Device => "device",
            Reason::RuntimeClass => "runtime_class",
            Reason::StaticPod => "static_pod",
            Reason::NodeName => "node_name",
            Reason::AccountRights => "account_rights",
            Reason::TokenAudience => "token_audience",
            Reason::Malformed => "malformed",
            Reason::InjectionChanged => "injection_changed",
            Reason::EphemeralContainer => "ephemeral_container",
            Reason::Connect => "connect",
            Reason::PortForward => "port_forward",
            Reason::UserVariable => "user_variable",
            Reason::Tightened => "tightened",
            Reason::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `FIELD: MESSAGE; HELP`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.message, self.help)
    }
}

impl Findings {
    /// Whether nothing refuses it.
    pub fn passes(&self) -> bool {
        self.refused.is_empty()
    }

    pub(crate) fn refuse(
        &mut self,
        reason: Reason,
        field: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        match self.refused.len() < PROBLEMS_MAX {
            true => self
                .refused
                .push(problem(reason, field, message.into(), help.into())),
            false => self.more = self.more.saturating_add(1),
        }
    }

    pub(crate) fn warn(
        &mut self,
        reason: Reason,
        field: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.warned.len() < PROBLEMS_MAX {
            self.warned
                .push(problem(reason, field, message.into(), help.into()));
        }
    }
}

fn problem(reason: Reason, field: &Path, message: String, help: String) -> Problem {
    Problem {
        reason,
        field: field.to_string(),
        message,
        help,
    }
}
