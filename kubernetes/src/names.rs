//! Names of objects in the namespace of the installation, by which the parts find each other.

use actpass_core::pod::contract;

/// Secret of the controller: its issuer key and its certificate authority.
pub const CONTROLLER_SECRET: &str = "actpass-controller";
/// Secret of the ledger: its log key and its key encryption key.
pub const LEDGER_SECRET: &str = "actpass-ledger";
/// Secret of the webhook: its vote key and what sidecars' uids are made from.
pub const WEBHOOK_SECRET: &str = "actpass-webhook";

/// Secret with the controller's certificate: the keys of type `kubernetes.io/tls`, and `ca.crt` besides. The controller writes
/// all three; until then it is empty, which that type does not take.
pub const CONTROLLER_TLS: &str = "actpass-controller-tls";
/// Secret with the ledger's certificate.
pub const LEDGER_TLS: &str = "actpass-ledger-tls";
/// Secret with the webhook's certificate.
pub const WEBHOOK_TLS: &str = "actpass-webhook-tls";

/// In a TLS Secret: the certificate and those above it, PEM.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// In a TLS Secret: its private key, PEM.
pub const TLS_KEY: &str = "tls.key";
/// In a TLS Secret: the authority, PEM.
pub const TLS_AUTHORITY: &str = "ca.crt";

/// ConfigMap with what the parts may believe of each other. The controller writes it, and the copies in the namespaces of
/// agents, which lack [`VOTE_KEYS`].
pub const TRUST: &str = contract::AUTHORITIES_CONFIG_MAP;
/// In [`TRUST`]: authorities of the parts' certificates, PEM.
pub const AUTHORITIES: &str = contract::AUTHORITIES_FILE;
/// In [`TRUST`]: public keys that passports are signed with, an [`actpass_core::succession`].
pub const ISSUER_KEYS: &str = contract::ISSUER_KEYS_FILE;
/// In [`TRUST`]: public keys that checkpoints are signed with, another.
pub const LEDGER_KEYS: &str = contract::LEDGER_KEYS_FILE;
/// In [`TRUST`]: public keys that votes are stamped with, another.
pub const VOTE_KEYS: &str = contract::VOTE_KEYS_FILE;

/// Audience of tokens for the ledger, so that a part's token is good for nothing else.
pub const LEDGER_AUDIENCE: &str = "actpass-ledger";

/// API group of our resources.
pub const GROUP: &str = "actpass.org";
/// Label of a namespace: `audit` or `enforce`.
pub const MODE_LABEL: &str = "actpass.org/mode";
/// Label of a namespace: what rules call its environment.
pub const ENVIRONMENT_LABEL: &str = "actpass.org/environment";

/// NetworkPolicy in each namespace of agents, written by the controller.
pub const AGENTS_NETWORK_POLICY: &str = "actpass-agents";
/// NetworkPolicy of the pods that are cut off, where there is one.
pub const QUARANTINE_NETWORK_POLICY: &str = "actpass-quarantine";

/// Lease that says which replica of the controller writes.
pub const CONTROLLER_LEASE: &str = "actpass-controller";

/// Label of the ConfigMaps in the install namespace with the bundles that sidecars decide by, one per namespace of agents.
pub const BUNDLE_LABEL: &str = "actpass.org/bundle";
