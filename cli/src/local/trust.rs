//! What makes programs inside trust our certificates: one file of CAs, and the variables and files that lead there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::plan::{BoundFile, OwnDir, OwnFile};

/// The CA files inside, in a directory of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrustFiles {
    dir: PathBuf,
}

/// Which file a variable names, or what else it says.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// All CAs, for variables that replace the store.
    Bundle,
    /// Ours alone, for variables that add to it.
    Authority,
    /// A fixed text.
    Text(&'static str),
}

/// The variables that lead programs to a file of CAs.
const VARIABLES: [(&str, Value); 17] = [
    ("SSL_CERT_FILE", Value::Bundle), // OpenSSL, Python's ssl and httpx, Go, Ruby, .NET, rustls-native-certs
    ("CURL_CA_BUNDLE", Value::Bundle),
    ("REQUESTS_CA_BUNDLE", Value::Bundle), // Python's requests, which reads no other
    ("AWS_CA_BUNDLE", Value::Bundle),      // botocore, likewise
    ("PIP_CERT", Value::Bundle),
    ("GIT_SSL_CAINFO", Value::Bundle), // git on GnuTLS reads no other
    ("NODE_EXTRA_CA_CERTS", Value::Authority),
    ("npm_config_cafile", Value::Bundle),
    ("YARN_HTTPS_CA_FILE_PATH", Value::Bundle),
    ("DENO_CERT", Value::Authority),
    ("CARGO_HTTP_CAINFO", Value::Bundle),
    ("UV_NATIVE_TLS", Value::Text("true")), // else uv trusts only roots compiled in
    ("PERL_LWP_SSL_CA_FILE", Value::Bundle),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Value::Bundle), // gRPC for C++, Python, Ruby
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Value::Bundle),
    ("HEX_CACERTS_PATH", Value::Bundle),
    ("NIX_SSL_CERT_FILE", Value::Bundle),
];

/// Variables that would send requests to a proxy which is not there, or keep them from being made; in any case.
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_NOPROXY",
];

/// ActPass' own settings, among them where its control token is.
const OWN_PREFIX: &str = "ACTPASS_";

/// Where distributions keep their CAs: Debian, Alpine and Arch; Fedora, twice; SUSE; OpenBSD's, also on Alpine.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl TrustFiles {
    /// The files, in `dir`: a directory of our own outside every hidden one, empty on the host.
    pub(crate) fn new(dir: impl Into<PathBuf>) -> TrustFiles {
        TrustFiles { dir: dir.into() }
    }

    /// Our CA, the declared ones and the host's, in PEM.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("bundle.pem")
    }

    /// Our CA alone, in PEM.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The directory as it is to be inside.
    pub(crate) fn own_dir(&self, authority_pem: &str, bundle: &[u8]) -> OwnDir {
        let file = |path: &str, content: &[u8]| OwnFile {
            path: path.into(),
            content: content.into(),
        };
        let files = vec![
            file("ca.pem", authority_pem.as_bytes()),
            file("bundle.pem", bundle),
        ];
        OwnDir {
            target: self.dir.clone(),
            files,
        }
    }

    fn value(&self, value: Value) -> OsString {
        match value {
            Value::Bundle => self.bundle().into(),
            Value::Authority => self.authority().into(),
            Value::Text(text) => text.into(),
        }
    }
}

/// All CAs in one text: ours, the `declared` ones, and the host's as far as it has any.
pub(crate) fn trust_bundle(authority_pem: &str, declared: &[String]) -> Vec<u8> {
    let host = SYSTEM_BUNDLES.iter().find_map(|path| {
        fs::read(path)
            .ok()
            .filter(|bytes| holds_certificates(bytes))
    });
    join_pem(authority_pem, declared, host.as_deref().unwrap_or_default())
}

/// The host's bundles that exist, each with `bundle` bound over it: for programs that read no variable.
pub(crate) fn system_bundles(bundle: &[u8]) -> Vec<BoundFile> {
    let found: BTreeSet<PathBuf> = SYSTEM_BUNDLES
        .iter()
        .filter_map(|path| Path::new(path).canonicalize().ok())
        .collect();
    let bound = |target| BoundFile {
        target,
        content: bundle.to_vec(),
        required: false,
    };
    found.into_iter().map(bound).collect()
}

/// The command's environment: `host`'s without proxies and our own settings, with the variables that lead to
/// `files`. Beside it the names of those that said something else before, to warn about: a CA file of the user's own
/// cannot verify what we terminate, so inside ours wins.
pub(crate) fn environment(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    files: &TrustFiles,
) -> (Vec<(OsString, OsString)>, Vec<&'static str>) {
    let mut environment: Vec<_> = host
        .into_iter()
        .filter(|(name, _)| !dropped(name))
        .collect();
    let mut overridden = Vec::new();
    for (variable, value) in VARIABLES {
        let value = files.value(value);
        let differs = environment
            .iter()
            .any(|(name, old)| name == variable && *old != value);
        environment.retain(|(name, _)| name != variable);
        if differs {
            overridden.push(variable);
        }
        environment.push((variable.into(), value));
    }
    (environment, overridden)
}

fn dropped(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    name.starts_with(OWN_PREFIX) || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

fn holds_certificates(bytes: &[u8]) -> bool {
    let mark = b"-----BEGIN CERTIFICATE-----";
    bytes.windows(mark.len()).any(|window| window == mark)
}

/// Each part begins on a line of its own, whether or not the one before ended its last.
fn join_pem(authority: &str, declared: &[String], host: &[u8]) -> Vec<u8> {
    let parts = [authority.as_bytes()]
        .into_iter()
        .chain(declared.iter().map(String::as_bytes))
        .chain([host]);
    let mut text = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        text.extend(part);
        if !part.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(host: &[(&str, &str)]) -> (Vec<(OsString, OsString)>, Vec<&'static str>) {
        let host = host.iter().map(|(name, value)| (name.into(), value.into()));
        environment(host, &TrustFiles::new("/t"))
    }

    fn value(environment: &[(OsString, OsString)], name: &str) -> Option<String> {
        let found: Vec<_> = environment
            .iter()
            .filter(|(found, _)| found == name)
            .collect();
        assert!(found.len() <= 1, "`{name}` is there {} times", found.len());
        found
            .first()
            .map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn environment_leads_to_our_files_and_to_no_proxy() {
        struct Case {
            name: &'static str,
            given: (&'static str, &'static str),
            want: Option<&'static str>,
        }
        let cases = [
            Case {
                name: "ordinary",
                given: ("PATH", "/bin"),
                want: Some("/bin"),
            },
            Case {
                name: "a proxy",
                given: ("HTTPS_PROXY", "http://p"),
                want: None,
            },
            Case {
                name: "a proxy as curl reads it",
                given: ("http_proxy", "http://p"),
                want: None,
            },
            Case {
                name: "exceptions from it",
                given: ("no_proxy", "*"),
                want: None,
            },
            Case {
                name: "a setting of ours",
                given: ("ACTPASS_TOKEN", "t"),
                want: None,
            },
            Case {
                name: "a CA file of the user's",
                given: ("SSL_CERT_FILE", "/home/ca"),
                want: Some("/t/bundle.pem"),
            },
            Case {
                name: "Node adds",
                given: ("OTHER", ""),
                want: Some(""),
            },
        ];
        for case in cases {
            let (environment, _) = given(&[case.given]);
            assert_eq!(
                value(&environment, case.given.0).as_deref(),
                case.want,
                "{}",
                case.name
            );
            assert_eq!(
                value(&environment, "NODE_EXTRA_CA_CERTS").unwrap(),
                "/t/ca.pem",
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn what_said_something_else_is_told() {
        assert_eq!(given(&[("PATH", "/bin")]).1, [""; 0]);
        assert_eq!(given(&[("SSL_CERT_FILE", "/t/bundle.pem")]).1, [""; 0]);
        let both = given(&[("AWS_CA_BUNDLE", "/a"), ("SSL_CERT_FILE", "/b")]);
        assert_eq!(both.1, ["SSL_CERT_FILE", "AWS_CA_BUNDLE"]);
    }

    #[test]
    fn parts_of_a_bundle_do_not_run_into_each_other() {
        let joined = join_pem(
            "ours\n",
            &["one".into(), String::new(), "two\n".into()],
            b"host",
        );
        assert_eq!(joined, b"ours\none\ntwo\nhost\n");
        assert!(holds_certificates(
            b"# roots\n-----BEGIN CERTIFICATE-----\n"
        ));
        assert!(!holds_certificates(b"-----BEGIN PRIVATE KEY-----"));
    }
}
