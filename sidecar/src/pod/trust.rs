//! The files that make programs of the pod trust the sidecar's certificates.

use std::io;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha1::{Digest, Sha1};

/// The public authorities of the sidecar's image.
pub const PUBLIC_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// First bytes of a Java KeyStore, and its version.
const JKS_MAGIC: u32 = 0xfeed_feed;
const JKS_VERSION: u32 = 2;
/// Tag of a trusted certificate in it.
const JKS_TRUSTED: u32 = 2;
/// The password that Java's own store has; a reader without one does not check the digest.
const JKS_PASSWORD: &str = "changeit";
/// What the digest of a Java KeyStore covers between password and content (`sun.security.provider.JavaKeyStore`).
const JKS_SALT: &[u8] = b"Mighty Aphrodite";

/// What is trusted in a pod, as the files say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// The pod's authority alone, PEM.
    pub authority: Vec<u8>,
    /// All, PEM.
    pub bundle: Vec<u8>,
    /// All, a Java KeyStore.
    pub jks: Vec<u8>,
    /// Where wget finds them.
    pub wgetrc: Vec<u8>,
}

impl TrustFiles {
    /// The files for the pod's authority, those that Upstreams declare, and the public ones; all PEM.
    pub fn new(authority: &str, declared: &[String], public: &[u8], bundle_path: &str) -> Self {
        let mut bundle = authority.as_bytes().to_vec();
        for pem in declared.iter().map(String::as_bytes).chain([public]) {
            if bundle.last() != Some(&b'\n') {
                bundle.push(b'\n');
            }
            bundle.extend_from_slice(pem);
        }
        // What is no certificate is none for others either.
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bundle)
            .filter_map(Result::ok)
            .collect();
        Self {
            authority: authority.as_bytes().to_vec(),
            jks: jks(&certificates),
            bundle,
            wgetrc: format!("ca_certificate = {bundle_path}\n").into_bytes(),
        }
    }

    /// Writes them under their names in the contract. Each is whole at any time.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, files: [(&str, &[u8]); 4]) -> io::Result<()> {
        for (path, content) in files {
            let path = Path::new(path);
            let new = path.with_extension("new");
            std::fs::write(&new, content)?;
            std::fs::rename(&new, path)?;
        }
        Ok(())
    }
}

/// A Java KeyStore of trusted certificates, all of one moment: the same certificates give the same bytes.
fn jks(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut store = Vec::new();
    let number = |store: &mut Vec<u8>, number: u32| store.extend(number.to_be_bytes());
    let text = |store: &mut Vec<u8>, text: &str| {
        store.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        store.extend(text.as_bytes());
    };
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    number(&mut store, JKS_MAGIC);
    number(&mut store, JKS_VERSION);
    number(&mut store, length(certificates.len()));
    for (index, certificate) in certificates.iter().enumerate() {
        number(&mut store, JKS_TRUSTED);
        text(&mut store, &format!("actpass-{index}"));
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        number(&mut store, length(certificate.len()));
        store.extend_from_slice(certificate);
    }
    let mut digest = Sha1::new();
    for unit in JKS_PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(JKS_SALT);
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["ca".to_owned()])
            .unwrap()
            .cert
            .pem()
    }

    #[test]
    fn every_file_holds_all_that_is_trusted() {
        let (ours, declared, public) = (certificate(), certificate(), certificate());
        let declared = [declared.trim_end().to_owned()];
        let files = TrustFiles::new(&ours, &declared, public.as_bytes(), "/t/bundle.pem");
        assert_eq!(files.authority, ours.as_bytes());
        let in_bundle = CertificateDer::pem_slice_iter(&files.bundle).count();
        assert_eq!(in_bundle, 3);
        assert_eq!(
            files.jks[..12],
            [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 3]
        );
        assert_eq!(files.wgetrc, b"ca_certificate = /t/bundle.pem\n");
    }

    #[test]
    fn java_opens_the_store() {
        let store = TrustFiles::new(&certificate(), &[certificate()], b"", "b").jks;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.jks");
        std::fs::write(&path, store).unwrap();
        let listed = std::process::Command::new("keytool")
            .args(["-list", "-storepass", JKS_PASSWORD, "-keystore"])
            .arg(&path)
            .output();
        let Ok(listed) = listed else {
            println!("LEFT OUT: keytool of a Java is not here");
            return;
        };
        let said = String::from_utf8_lossy(&listed.stdout);
        assert!(said.contains("2 entries"), "{said}");
        assert_eq!(said.matches("trustedCertEntry").count(), 2, "{said}");
    }

    #[test]
    fn what_is_written_is_there_whole() {
        let dir = tempfile::tempdir().unwrap();
        let files = TrustFiles::new(&certificate(), &[], b"", "b");
        let paths = ["ca.pem", "bundle.pem", "trust.jks", "wgetrc"];
        let paths = paths.map(|name| dir.path().join(name).to_str().unwrap().to_owned());
        let contents = [&files.authority, &files.bundle, &files.jks, &files.wgetrc];
        let given: Vec<_> = paths.iter().map(String::as_str).zip(contents).collect();
        let given: [(&str, &[u8]); 4] =
            std::array::from_fn(|at| (given[at].0, given[at].1.as_slice()));
        files.write(given).unwrap();
        assert_eq!(std::fs::read(&paths[2]).unwrap(), files.jks);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
