//! The names, ports and paths in an agent's pod.

/// What every container, volume and mount of ours begins with, and no other may.
pub const NAME_PREFIX: &str = "actpass-";
/// What every label and annotation of ours begins with, and no other may.
pub const KEY_PREFIX: &str = "actpass.org/";

/// First init container: loads the ruleset and ends. The only one with a capability, `NET_ADMIN`.
pub const INIT: &str = "actpass-init";
/// Second init container, a native sidecar under a uid of its own: the only way out.
pub const PROXY: &str = "actpass-proxy";
/// Third init container, a native sidecar: tries the ways out as an agent would, at first and then again and again.
pub const VERIFY: &str = "actpass-verify";

/// Program of [`INIT`].
pub const INIT_COMMAND: &str = "/actpass-init";
/// Program of [`PROXY`].
pub const PROXY_COMMAND: &str = "/actpass-sidecar";
/// Program of [`VERIFY`].
pub const VERIFY_COMMAND: &str = "/actpass-verify";
/// Argument of [`VERIFY_COMMAND`] as its startup probe: waits up to [`VERIFY_PASSED_SECONDS`] for a whole first pass that
/// succeeded, and exits 0 at once when there is one.
pub const VERIFY_PASSED: &str = "--passed";
/// How long one run of [`VERIFY_PASSED`] waits: a run that comes too early would cost the agents the kubelet's whole next
/// second.
pub const VERIFY_PASSED_SECONDS: u32 = 3;

/// Flag of [`INIT_COMMAND`]: uid and gid of the sidecar, decimal.
pub const FLAG_SIDECAR_UID: &str = "--sidecar-uid";
/// Flag of [`INIT_COMMAND`]: [`super::ruleset::Marks::packet`], as `0x` and eight hex digits.
pub const FLAG_PACKET_MARK: &str = "--packet-mark";
/// Flag of [`INIT_COMMAND`]: [`super::ruleset::Marks::connection`], as `0x` and eight hex digits.
pub const FLAG_CONNECTION_MARK: &str = "--connection-mark";
/// Flag of [`INIT_COMMAND`]: TCP ports on which the agents may be reached, ascending, with commas; left out where none.
pub const FLAG_INBOUND: &str = "--inbound";

/// The sidecar's admin port, on loopback, closed to agents.
pub const ADMIN_PORT: u16 = 15000;
/// The sidecar's transparent TCP listener, on 127.0.0.1 and ::1.
pub const CAPTURE_PORT: u16 = 15001;
/// Answers the kubelet's probes, on the pod's address.
pub const HEALTH_PORT: u16 = 15021;
/// The sidecar's DNS responder, UDP and TCP, on 127.0.0.1 and ::1.
pub const DNS_PORT: u16 = 15053;
/// The sidecar's metrics, on the pod's address, closed to agents.
pub const METRICS_PORT: u16 = 15090;
/// All ports of ours: no container of the user may declare one.
pub const OWN_PORTS: [u16; 5] = [
    ADMIN_PORT,
    CAPTURE_PORT,
    HEALTH_PORT,
    DNS_PORT,
    METRICS_PORT,
];
/// Name of [`METRICS_PORT`] in the pod, for a PodMonitor. Names of ports have at most 15 characters.
pub const METRICS_PORT_NAME: &str = "actpass-metrics";

/// On [`HEALTH_PORT`]: 200 once the trust files are written, policy is loaded and the listeners are up, as long as the
/// sidecar takes requests.
pub const READY_PATH: &str = "/ready";
/// On [`HEALTH_PORT`]: the kubelet asks for it when the pod's grace period begins, before it tells the sidecar to end.
pub const ENDING_PATH: &str = "/ending";

/// Uid and gid of [`VERIFY`]: `nobody`, so that it stands where an agent stands.
pub const VERIFY_UID: u32 = 65534;

/// Volume with the files agents trust: written by the proxy, read by everyone else.
pub const TRUST_VOLUME: &str = "actpass-trust";
/// Volume for the proxy alone: the key of the pod's CA, the records not yet acknowledged.
pub const STATE_VOLUME: &str = "actpass-state";
/// Volume for the proxy alone: its projected token.
pub const TOKEN_VOLUME: &str = "actpass-token";
/// Volume for the proxy alone: the CAs and public keys of the control plane, from [`AUTHORITIES_CONFIG_MAP`].
pub const AUTHORITIES_VOLUME: &str = "actpass-authorities";
/// Volume with the result of [`VERIFY`], which writes it; the proxy reads it.
pub const VERIFY_VOLUME: &str = "actpass-verify";
/// ConfigMap in each namespace with what the proxy may trust; the digests in its environment pin it.
pub const AUTHORITIES_CONFIG_MAP: &str = "actpass-trust";
/// In [`AUTHORITIES_CONFIG_MAP`]: authorities of the parts' certificates, PEM.
pub const AUTHORITIES_FILE: &str = "ca.pem";
/// In [`AUTHORITIES_CONFIG_MAP`]: public keys that passports are signed with, an [`crate::succession`].
pub const ISSUER_KEYS_FILE: &str = "issuer-keys";
/// In [`AUTHORITIES_CONFIG_MAP`]: public keys that checkpoints are signed with, an [`crate::succession`].
pub const LEDGER_KEYS_FILE: &str = "ledger-keys";

/// The same for votes; only in the ConfigMap of the installation, since sidecars judge none.
pub const VOTE_KEYS_FILE: &str = "vote-keys";

/// Under which all our mounts are.
pub const MOUNT_ROOT: &str = "/run/actpass";
/// Mount of [`TRUST_VOLUME`].
pub const TRUST_DIR: &str = "/run/actpass/trust";
/// Mount of [`STATE_VOLUME`].
pub const STATE_DIR: &str = "/run/actpass/state";
/// Mount of [`TOKEN_VOLUME`].
pub const TOKEN_DIR: &str = "/run/actpass/token";
/// The token's file in [`TOKEN_DIR`].
pub const TOKEN_FILE: &str = "token";
/// Mount of [`AUTHORITIES_VOLUME`].
pub const AUTHORITIES_DIR: &str = "/run/actpass/authorities";
/// Mount of [`VERIFY_VOLUME`].
pub const VERIFY_DIR: &str = "/run/actpass/verify";

/// In [`TRUST_DIR`]: the pod's CA alone, PEM, for what adds to a trust store.
pub const CA_FILE: &str = "/run/actpass/trust/ca.pem";
/// In [`TRUST_DIR`]: the pod's CA, the declared ones and the public roots, PEM, for what replaces a trust store.
pub const BUNDLE_FILE: &str = "/run/actpass/trust/bundle.pem";
/// In [`TRUST_DIR`]: the same for Java. JKS opens without a password, which PKCS 12 does not.
pub const JKS_FILE: &str = "/run/actpass/trust/trust.jks";
/// In [`TRUST_DIR`]: `ca_certificate = ` [`BUNDLE_FILE`], since wget on GnuTLS reads no variable.
pub const WGETRC_FILE: &str = "/run/actpass/trust/wgetrc";

/// Audience of the proxy's token. No user volume may ask for it.
pub const TOKEN_AUDIENCE: &str = "actpass";
/// Lifetime of the proxy's token in seconds; the kubelet renews it at four fifths.
pub const TOKEN_SECONDS: u32 = 900;

/// Environment of [`PROXY`]: `HOST:PORT` of the controller.
pub const ENV_CONTROLLER: &str = "ACTPASS_CONTROLLER";
/// Environment of [`PROXY`]: `HOST:PORT` of the ledger.
pub const ENV_LEDGER: &str = "ACTPASS_LEDGER";
/// Environment of [`PROXY`]: SHA-256 of each trusted CA certificate (DER), hex, with commas.
pub const ENV_CA_SHA256: &str = "ACTPASS_CA_SHA256";
/// Environment of [`PROXY`]: SHA-256 of each trusted issuer key, hex, with commas.
pub const ENV_ISSUER_KEYS_SHA256: &str = "ACTPASS_ISSUER_KEYS_SHA256";
/// Environment of [`PROXY`]: SHA-256 of each trusted ledger key, hex, with commas.
pub const ENV_LEDGER_KEYS_SHA256: &str = "ACTPASS_LEDGER_KEYS_SHA256";
/// Environment of [`PROXY`]: seconds in which open requests may end after SIGTERM.
pub const ENV_DRAIN_SECONDS: &str = "ACTPASS_DRAIN_SECONDS";
/// Environment of [`PROXY`]: the pod's grace period in seconds without [`ENV_DRAIN_SECONDS`], from [`GRACE_ANNOTATION`].
pub const ENV_GRACE_SECONDS: &str = "ACTPASS_GRACE_SECONDS";
/// Environment of [`PROXY`]: `metadata.name`.
pub const ENV_POD_NAME: &str = "ACTPASS_POD_NAME";
/// Environment of [`PROXY`]: `metadata.namespace`.
pub const ENV_POD_NAMESPACE: &str = "ACTPASS_POD_NAMESPACE";
/// Environment of [`PROXY`]: `metadata.uid`.
pub const ENV_POD_UID: &str = "ACTPASS_POD_UID";
/// Environment of [`PROXY`]: `status.podIPs`, with commas.
pub const ENV_POD_IPS: &str = "ACTPASS_POD_IPS";

/// Label of an injected pod; NetworkPolicies select it.
pub const ENFORCED_LABEL: &str = "actpass.org/enforced";
/// Value of [`ENFORCED_LABEL`]: the version of this contract.
pub const ENFORCED_VALUE: &str = "v1";
/// Label of an injected pod: drawn for it alone, so that a NetworkPolicy can select it and no other.
pub const POD_LABEL: &str = "actpass.org/pod";
/// Length of the value of [`POD_LABEL`], in lowercase hex.
pub const POD_LABEL_DIGITS: usize = 16;
/// Annotation: the sidecar's uid in this pod, decimal.
pub const SIDECAR_UID_ANNOTATION: &str = "actpass.org/sidecar-uid";
/// Annotation: the grace period in seconds before the drain budget was added, decimal.
pub const GRACE_ANNOTATION: &str = "actpass.org/grace-seconds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_kubernetes_takes() {
        for name in [
            INIT,
            PROXY,
            VERIFY,
            TRUST_VOLUME,
            STATE_VOLUME,
            TOKEN_VOLUME,
            AUTHORITIES_VOLUME,
            VERIFY_VOLUME,
        ] {
            assert!(name.starts_with(NAME_PREFIX) && name.len() <= 63, "{name}");
        }
        for key in [ENFORCED_LABEL, SIDECAR_UID_ANNOTATION, GRACE_ANNOTATION] {
            assert!(key.starts_with(KEY_PREFIX), "{key}");
        }
        for dir in [TRUST_DIR, STATE_DIR, TOKEN_DIR, AUTHORITIES_DIR, VERIFY_DIR] {
            assert!(dir.starts_with(MOUNT_ROOT), "{dir}");
        }
        assert!(METRICS_PORT_NAME.len() <= 15);
    }
}
