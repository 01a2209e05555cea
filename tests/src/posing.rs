//! Who asks for the session of a pod that is not theirs, with all that root of its node has.

use std::fs;
use std::process::Command;

use actpass_core::pod::contract::{PROXY, STATE_DIR, TOKEN_DIR, TOKEN_FILE};
use anyhow::{Context, ensure};

use crate::home::text;
use crate::installed::SYSTEM;
use crate::pod::Pod;

/// An Ed25519 key as PKCS #8 (RFC 8410), but for its seed.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The seed of the key that the pod's sidecar has now.
///
/// # Errors
/// Where it does not run, or has none yet.
pub fn seed_of(pod: &Pod<'_>) -> anyhow::Result<[u8; 32]> {
    let process = pod.process(PROXY)?;
    // It follows eight bytes that say what the file is.
    let ring = fs::read(format!("/proc/{process}/root{STATE_DIR}/stream.ring"))?;
    Ok(ring.get(8..40).context("no seed")?.try_into()?)
}

/// What the controller says to the pod's own token under a key with that seed, from the pod's network and as the sidecar's user.
///
/// # Errors
/// Where it cannot be asked.
pub fn asks(pod: &Pod<'_>, seed: [u8; 32]) -> anyhow::Result<String> {
    let process = pod.process(PROXY)?;
    let token = fs::read_to_string(format!("/proc/{process}/root{TOKEN_DIR}/{TOKEN_FILE}"))?;
    let uid = pod.sidecar_uid.context("no sidecar")?;
    let service = ["get", "service", "actpass-controller", "-n", SYSTEM];
    let ip = pod
        .namespace
        .cluster
        .ask(&[&service[..], &["-o=jsonpath={.spec.clusterIP}"]].concat())?;
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("key.der"), [&PKCS8[..], &seed].concat())?;
    let script = format!(
        "chmod 755 . && openssl pkey -inform DER -in key.der -out key.pem && chmod 644 key.pem \
         && openssl req -x509 -key key.pem -subj /CN=other -out cert.pem \
         && nsenter --net=/proc/{process}/ns/net setpriv --reuid {uid} --regid {uid} --clear-groups \
         curl -sk -m 10 --http1.1 --cert cert.pem --key key.pem -H 'authorization: Bearer {token}' https://{ip}:8443/v1/session",
        token = token.trim(),
    );
    let mut sh = Command::new("sh");
    let output = sh.args(["-c", &script]).current_dir(dir.path()).output()?;
    let said = text(&output);
    ensure!(!said.is_empty(), "nobody answers: {}", output.status);
    Ok(said)
}
