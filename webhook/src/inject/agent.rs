//! What changes in a container of the user.

use serde_json::{Map, Value, json};

use crate::contract::{BUNDLE_FILE, CA_FILE, JKS_FILE, WGETRC_FILE};
use crate::ours;
use crate::patch::{Editor, Purpose};
use crate::path::{Path, Step};
use crate::problem::{Findings, Reason};
use crate::read::{at, flag, integer, is_ours, list, name, text};
use crate::settings::Settings;

/// Which variables lead runtimes to our authorities. Most replace the store, so they name the whole bundle.
pub(super) const TRUST_VARIABLES: [(&str, &str); 19] = [
    ("SSL_CERT_FILE", BUNDLE_FILE), // OpenSSL, Python's ssl and httpx, Go, Ruby, .NET, rustls-native-certs
    ("CURL_CA_BUNDLE", BUNDLE_FILE),
    ("REQUESTS_CA_BUNDLE", BUNDLE_FILE), // Python's requests, which reads no other
    ("AWS_CA_BUNDLE", BUNDLE_FILE),      // botocore, likewise
    ("PIP_CERT", BUNDLE_FILE),
    ("GIT_SSL_CAINFO", BUNDLE_FILE), // git on GnuTLS reads no other
    ("WGETRC", WGETRC_FILE),         // wget on GnuTLS reads none, only this file
    ("NODE_EXTRA_CA_CERTS", CA_FILE),
    ("npm_config_cafile", BUNDLE_FILE),
    ("YARN_HTTPS_CA_FILE_PATH", BUNDLE_FILE),
    ("DENO_CERT", CA_FILE),
    ("CARGO_HTTP_CAINFO", BUNDLE_FILE),
    ("UV_NATIVE_TLS", "true"),   // else uv trusts only roots compiled in
    ("UV_SYSTEM_CERTS", "true"), // its newer name
    ("PERL_LWP_SSL_CA_FILE", BUNDLE_FILE),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE_FILE), // gRPC for C++, Python, Ruby
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", BUNDLE_FILE),
    ("HEX_CACERTS_PATH", BUNDLE_FILE),
    ("NIX_SSL_CERT_FILE", BUNDLE_FILE),
];

/// Java takes options from several places; ours joins the user's.
const JAVA: &str = "JAVA_TOOL_OPTIONS";
const JAVA_STORE: &str = "-Djavax.net.ssl.trustStore=";
const KUBERNETES_HOST: &str = "KUBERNETES_SERVICE_HOST";

/// Tightens the container at `place`, mounts the trust files and sets the variables.
pub(super) fn inject(
    editor: &mut Editor,
    place: &Path,
    settings: &Settings,
    findings: &mut Findings,
) {
    let Some(container) = container(editor.pod(), place).cloned() else {
        return;
    };
    tighten(editor, place, &container, settings, findings);
    mount(editor, place, &container);
    variables(editor, place, &container, settings, findings);
    for (index, port) in list(&container, &["ports"]).iter().enumerate() {
        let protocol = text(port, &["protocol"]).unwrap_or("TCP");
        if !matches!(protocol, "TCP" | "") {
            findings.warn(
                Reason::Unreachable,
                &place.key("ports").index(index).key("protocol"),
                "agents are reached by TCP only",
                "serve TCP, or leave the port out",
            );
        }
    }
}

fn container<'a>(pod: &'a Value, place: &Path) -> Option<&'a Value> {
    place
        .steps()
        .iter()
        .try_fold(pod, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
            Step::End => None,
        })
}

/// Sets what is missing and what nobody rests on. Kubernetes refuses `privileged` beside any of it with a message of its
/// own, so such a container stays as it is, for the check that says more.
fn tighten(
    editor: &mut Editor,
    place: &Path,
    container: &Value,
    settings: &Settings,
    findings: &mut Findings,
) {
    let context = place.key("securityContext");
    let added = list(container, &["securityContext", "capabilities", "add"]);
    let admin = added
        .iter()
        .filter_map(Value::as_str)
        .any(|name| matches!(name, "SYS_ADMIN" | "CAP_SYS_ADMIN"));
    if admin || flag(container, &["securityContext", "privileged"]) == Some(true) {
        return;
    }
    let mut members = Map::new();
    let key = "allowPrivilegeEscalation";
    let escalation = flag(container, &["securityContext", key]);
    if escalation != Some(false) {
        members.insert(key.to_owned(), json!(false));
    }
    if escalation == Some(true) {
        let help = "write `false`; a setuid program in the image no longer changes its uid";
        findings.warn(
            Reason::Tightened,
            &context.key(key),
            "`true` became `false`",
            help,
        );
    }
    let effective = |key: &str| {
        flag(container, &["securityContext", key])
            .or_else(|| flag(editor.pod(), &["spec", "securityContext", key]))
    };
    let key = "runAsNonRoot";
    if effective(key) != Some(true) {
        members.insert(key.to_owned(), json!(true));
    }
    if flag(container, &["securityContext", key]) == Some(false) {
        findings.warn(
            Reason::Tightened,
            &context.key(key),
            "`false` became `true`",
            "write `true`",
        );
    }
    if let Some(uid) = settings.default_agent_uid
        && integer(container, &["securityContext", "runAsUser"]).is_none()
        && integer(editor.pod(), &["spec", "securityContext", "runAsUser"]).is_none()
    {
        members.insert("runAsUser".to_owned(), json!(uid));
    }
    let dropped = list(container, &["securityContext", "capabilities", "drop"]);
    let capabilities = at(container, &["securityContext", "capabilities"]).is_some();
    if !dropped.iter().any(|name| name == "ALL") {
        match capabilities {
            true => editor.set(
                &context.keys(["capabilities", "drop"]),
                json!(["ALL"]),
                Purpose::Fence,
            ),
            false => {
                members.insert("capabilities".to_owned(), json!({"drop": ["ALL"]}));
            }
        }
    }
    editor.merge(&context, members, Purpose::Fence);
}

/// The one mount of ours, and no other under such a name.
fn mount(editor: &mut Editor, place: &Path, container: &Value) {
    let wanted = ours::agent_mount();
    let mounts = list(container, &["volumeMounts"]).iter();
    if mounts.filter(|mount| is_ours(mount)).eq([&wanted]) {
        return;
    }
    let at = place.key("volumeMounts");
    editor.remove_where(&at, is_ours, Purpose::Fence);
    editor.append(&at, vec![wanted], Purpose::Fence);
}

/// A variable that the user set stays, and is told: who points a client at a store of its own may know why.
fn variables(
    editor: &mut Editor,
    place: &Path,
    container: &Value,
    settings: &Settings,
    findings: &mut Findings,
) {
    let env = place.key("env");
    let found = list(container, &["env"]);
    let java = format!("{JAVA_STORE}{JKS_FILE}");
    let ours = TRUST_VARIABLES.iter().copied().chain([
        (JAVA, java.as_str()),
        (KUBERNETES_HOST, &settings.kubernetes_host),
    ]);
    let mut missing = Vec::new();
    for (variable, wanted) in ours {
        // The last of a name counts, as for Kubernetes.
        let Some(index) = found.iter().rposition(|entry| name(entry) == variable) else {
            missing.push(json!({"name": variable, "value": wanted}));
            continue;
        };
        let value = found.get(index).and_then(|entry| text(entry, &["value"]));
        match value {
            Some(value) if value == wanted => {}
            Some(value) if variable == JAVA && !value.contains(JAVA_STORE) => {
                let joined = format!("{value} {wanted}");
                editor.set(
                    &env.index(index).key("value"),
                    json!(joined.trim_start()),
                    Purpose::Comfort,
                );
            }
            Some(value) if variable == JAVA && value.contains(wanted) => {}
            _ => findings.warn(
                Reason::UserVariable,
                &env.index(index),
                format!("`{variable}` stays as it is set"),
                format!("remove it, or see that it leads to `{wanted}`"),
            ),
        }
    }
    editor.append(&env, missing, Purpose::Comfort);
}
