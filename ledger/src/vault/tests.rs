mod rewrapped;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const TENANT: &str = "local/shop/1";
const SECRET: &str = "sk_live_51H8xq-not-a-real-key";

fn kek(first: u8) -> Kek {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kek");
    let bytes: Vec<u8> = (0..32).map(|n| n * 7 + first).collect();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Kek::from_file(&path).unwrap()
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00.123456Z".parse().unwrap()
}

fn about() -> About {
    About {
        at: now(),
        subject: None,
    }
}

fn secret() -> Secret {
    Secret::from(SECRET.to_owned())
}

fn bindings() -> Bindings {
    Bindings {
        ca_sha256: None,
        effects: vec![Effect::Write, Effect::Irreversible],
        format: Some(String::from("Bearer {secret}")),
        header: String::from("Authorization"),
        hosts: vec![
            String::from("api.stripe.com"),
            String::from("*.example.com"),
        ],
        ports: vec![443],
    }
}

fn destination() -> Destination {
    Destination {
        host: String::from("api.stripe.com"),
        port: 443,
        header: String::from("authorization"),
        format: String::from("Bearer {secret}"),
        ca_sha256: None,
        effect: Effect::Write,
        intercepted: true,
    }
}

fn vault(dir: &Path) -> Vault {
    Vault::open(&dir.join("vault"), kek(1)).unwrap()
}

#[test]
fn a_stored_credential_is_lent_after_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let stored = vault(temp.path())
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    assert_eq!(stored.version, 1);
    let vault = vault(temp.path());
    let lent = vault.lend(TENANT, "stripe", &destination()).unwrap();
    assert_eq!((lent.name.as_str(), lent.version), ("stripe", 1));
    assert_eq!(lent.secret.expose(), SECRET.as_bytes());
    assert_eq!(vault.list(), [stored]);
    let path = temp.path().join("vault/credentials.json");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bytes = fs::read(path).unwrap();
    assert!(
        !bytes
            .windows(8)
            .any(|part| SECRET.as_bytes().starts_with(part))
    );
}

#[test]
fn each_way_out_of_the_bindings_has_its_refusal() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    type Change = fn(&mut Destination);
    let cases: [(&str, Change, &str); 12] = [
        (
            "another host",
            |to| to.host = "evil.example".into(),
            "host `evil.example` is not one of its hosts",
        ),
        (
            "the parent of a wildcard",
            |to| to.host = "example.com".into(),
            "host `example.com` is not one of its hosts",
        ),
        (
            "two labels for a wildcard",
            |to| to.host = "a.b.example.com".into(),
            "host `a.b.example.com` is not one of its hosts",
        ),
        (
            "an empty label for a wildcard",
            |to| to.host = ".example.com".into(),
            "host `.example.com` is not one of its hosts",
        ),
        (
            "a host that ends alike",
            |to| to.host = "notapi.stripe.com".into(),
            "host `notapi.stripe.com` is not one of its hosts",
        ),
        (
            "a trailing dot",
            |to| to.host = "api.stripe.com.".into(),
            "host `api.stripe.com.` is not one of its hosts",
        ),
        (
            "another port",
            |to| to.port = 8443,
            "port 8443 is not one of its ports",
        ),
        (
            "another header",
            |to| to.header = "x-debug".into(),
            "header `x-debug` is not its header",
        ),
        (
            "another format",
            |to| to.format = "{secret}".into(),
            "format `{secret}` is not its format",
        ),
        (
            "another ca",
            |to| to.ca_sha256 = Some([7; 32]),
            "the upstream is verified by another ca",
        ),
        (
            "another effect",
            |to| to.effect = Effect::Read,
            "effect Read is not one of its effects",
        ),
        (
            "no interception",
            |to| to.intercepted = false,
            "tls is not intercepted",
        ),
    ];
    for (name, change, want) in cases {
        let mut to = destination();
        change(&mut to);
        let refused = vault.lend(TENANT, "stripe", &to).unwrap_err();
        let want = format!("credential `stripe` is not bound to this destination: {want}");
        assert_eq!(refused.to_string(), want, "{name}");
    }
    let mut to = destination();
    to.host = String::from("Shop.Example.com");
    assert!(
        vault.lend(TENANT, "stripe", &to).is_ok(),
        "a wildcard stands for one label"
    );
    for (tenant, name) in [
        ("local/shop/2", "stripe"),
        (TENANT, "strip"),
        ("", "stripe"),
    ] {
        let refused = vault.lend(tenant, name, &destination()).unwrap_err();
        assert!(
            matches!(refused, LendError::NoCredential { .. }),
            "{tenant} {name}"
        );
    }
}

#[test]
fn a_ca_binding_wants_exactly_that_ca() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    let bound = Bindings {
        ca_sha256: Some("07".repeat(32)),
        ..bindings()
    };
    vault
        .put(TENANT, "stripe", bound, &secret(), now())
        .unwrap();
    for (ca, fits) in [(Some([7; 32]), true), (Some([8; 32]), false), (None, false)] {
        let to = Destination {
            ca_sha256: ca,
            ..destination()
        };
        assert_eq!(vault.lend(TENANT, "stripe", &to).is_ok(), fits, "{ca:?}");
    }
}

#[test]
fn rotation_keeps_the_bindings_and_versions_never_return() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    let first = vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    let second = vault
        .rotate(TENANT, "stripe", &Secret::from(String::from("new")), now())
        .unwrap();
    assert_eq!(second.bindings, first.bindings);
    assert_eq!(
        vault
            .lend(TENANT, "stripe", &destination())
            .unwrap()
            .secret
            .expose(),
        b"new"
    );
    vault.delete(TENANT, "stripe").unwrap();
    assert!(vault.list().is_empty());
    assert!(matches!(
        vault.delete(TENANT, "stripe"),
        Err(VaultError::NotFound { .. })
    ));
    let unknown = vault.rotate(TENANT, "stripe", &secret(), now());
    assert!(matches!(unknown, Err(VaultError::NotFound { .. })));
    let third = vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    assert_eq!([first.version, second.version, third.version], [1, 2, 3]);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    let put = |name: &str, bindings: Bindings, secret: &str| {
        vault.put(
            TENANT,
            name,
            bindings,
            &Secret::from(secret.to_owned()),
            now(),
        )
    };
    let changed = |change: fn(&mut Bindings)| {
        let mut changed = bindings();
        change(&mut changed);
        changed
    };
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    let cases = [
        (
            "no secret",
            put("a", bindings(), ""),
            "a secret has 1 to 8192 bytes, not 0",
        ),
        (
            "a long secret",
            put("a", bindings(), &long),
            "a secret has 1 to 8192 bytes, not 8193",
        ),
        (
            "a line break",
            put("a", bindings(), "sk\n"),
            "a secret is visible ascii, inner spaces allowed; is there a line break at its end?",
        ),
        (
            "no name",
            put("", bindings(), "x"),
            "`` is not a name of 1 to 253 printable ascii characters",
        ),
        (
            "a name with a zero",
            put("a\0b", bindings(), "x"),
            "`a\\0b` is not a name of 1 to 253 printable ascii characters",
        ),
        (
            "no host",
            put("a", changed(|b| b.hosts.clear()), "x"),
            "bindings: at least one of `hosts` is needed",
        ),
        (
            "any host",
            put("a", changed(|b| b.hosts = vec!["*".into()]), "x"),
            "bindings: host `*` is not a host name",
        ),
        (
            "a host with a port",
            put("a", changed(|b| b.hosts = vec!["a.b:1".into()]), "x"),
            "bindings: host `a.b:1` is not a host name",
        ),
        (
            "no port",
            put("a", changed(|b| b.ports.clear()), "x"),
            "bindings: at least one of `ports` is needed",
        ),
        (
            "port 0",
            put("a", changed(|b| b.ports = vec![0]), "x"),
            "bindings: port 0 is no port",
        ),
        (
            "17 ports",
            put("a", changed(|b| b.ports = (1..18).collect()), "x"),
            "bindings: 17 `ports` are over the bound of 16",
        ),
        (
            "no effect",
            put("a", changed(|b| b.effects.clear()), "x"),
            "bindings: at least one of `effects` is needed",
        ),
        (
            "a header with a line break",
            put("a", changed(|b| b.header = "a\r\nb".into()), "x"),
            "bindings: `a\\r\\nb` is not a header",
        ),
        (
            "a format without the secret",
            put("a", changed(|b| b.format = Some("Bearer".into())), "x"),
            "bindings: format `Bearer` needs exactly one `{secret}` in visible ASCII",
        ),
        (
            "a digest in capitals",
            put("a", changed(|b| b.ca_sha256 = Some("AB".repeat(32))), "x"),
            "is not a SHA-256 in lower-case hex",
        ),
    ];
    for (name, result, want) in cases {
        let refused = result.unwrap_err().to_string();
        assert!(refused.ends_with(want), "{name}: {refused}");
    }
    assert!(vault.list().is_empty());
    assert!(!temp.path().join("vault/credentials.json").exists());
}

#[test]
fn every_flipped_byte_of_a_file_is_an_error_at_open() {
    let temp = tempfile::tempdir().unwrap();
    let first = vault(temp.path());
    first
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    first.digest_key(TENANT).unwrap();
    for name in ["credentials.json", "tenants.json"] {
        let path = temp.path().join("vault").join(name);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let opened = Vault::open(&temp.path().join("vault"), kek(1)).err();
            let seen = matches!(
                opened,
                Some(VaultError::Tampered { .. } | VaultError::WrongKek { .. })
            );
            assert!(seen, "{name} byte {at}: {opened:?}");
        }
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(
                Vault::open(&temp.path().join("vault"), kek(1)).is_err(),
                "{name} cut at {cut}"
            );
        }
        fs::write(&path, &bytes).unwrap();
    }
    vault(temp.path());
}

#[test]
fn one_file_cannot_stand_in_for_another() {
    let temp = tempfile::tempdir().unwrap();
    vault(temp.path()).digest_key(TENANT).unwrap();
    let dir = temp.path().join("vault");
    fs::copy(dir.join("tenants.json"), dir.join("credentials.json")).unwrap();
    assert!(matches!(
        Vault::open(&dir, kek(1)),
        Err(VaultError::Tampered { .. })
    ));
}

#[test]
fn an_entry_with_other_bindings_does_not_decrypt() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    // Whoever could write the file with a valid first line still meets the inner layer.
    vault.state().credentials.content.credentials[0]
        .bindings
        .hosts = vec![String::from("evil.example")];
    let to = Destination {
        host: String::from("evil.example"),
        ..destination()
    };
    let refused = vault.lend(TENANT, "stripe", &to).unwrap_err();
    assert!(
        matches!(refused, LendError::Vault(VaultError::Tampered { .. })),
        "{refused}"
    );
}

#[test]
fn another_kek_is_refused_at_open() {
    let temp = tempfile::tempdir().unwrap();
    vault(temp.path())
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    let refused = Vault::open(&temp.path().join("vault"), kek(2))
        .err()
        .unwrap();
    assert!(matches!(refused, VaultError::WrongKek { .. }), "{refused}");
}

#[test]
fn a_vault_that_others_may_read_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    vault(temp.path())
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    let path = temp.path().join("vault/credentials.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Vault::open(&temp.path().join("vault"), kek(1))
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("has mode 640 and can be read by others; run `chmod 600"),
        "{refused}"
    );
}

#[test]
fn sealed_bytes_open_only_for_their_tenant_and_purpose() {
    let temp = tempfile::tempdir().unwrap();
    let sealed = vault(temp.path())
        .seal(TENANT, &about(), b"leaf 4", b"an e-mail address")
        .unwrap();
    let vault = vault(temp.path());
    assert_eq!(
        *vault.open_sealed(TENANT, b"leaf 4", &sealed).unwrap(),
        b"an e-mail address"
    );
    vault.digest_key("local/shop/2").unwrap();
    for (tenant, aad) in [
        ("local/shop/2", "leaf 4"),
        ("local/shop/3", "leaf 4"),
        (TENANT, "leaf 5"),
    ] {
        let refused = vault.open_sealed(tenant, aad.as_bytes(), &sealed);
        assert!(
            matches!(refused, Err(VaultError::Sealed { .. })),
            "{tenant} {aad}"
        );
    }
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        assert!(
            vault.open_sealed(TENANT, b"leaf 4", &flipped).is_err(),
            "byte {at}"
        );
        assert!(
            vault.open_sealed(TENANT, b"leaf 4", &sealed[..at]).is_err(),
            "cut at {at}"
        );
    }
    let again = vault
        .seal(TENANT, &about(), b"leaf 4", b"an e-mail address")
        .unwrap();
    assert_ne!(again, sealed, "equal texts look different");
}

#[test]
fn a_digest_key_stays_the_same_and_differs_by_tenant() {
    let temp = tempfile::tempdir().unwrap();
    let first = vault(temp.path()).digest_key(TENANT).unwrap();
    let vault = vault(temp.path());
    assert_eq!(vault.digest_key(TENANT).unwrap(), first);
    assert_ne!(vault.digest_key("local/shop/2").unwrap(), first);
}

#[test]
fn key_files_are_read_in_each_form_and_refused_otherwise() {
    let temp = tempfile::tempdir().unwrap();
    let raw: Vec<u8> = (0..32).map(|n| n * 7 + 1).collect();
    let hex_text = hex(&raw).to_string();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&raw);
    let printable = b"correct-horse-battery-staple-1234".to_vec();
    let cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("32 raw bytes", raw.clone(), None),
        ("hex", hex_text.clone().into_bytes(), None),
        (
            "hex in capitals with a line break",
            format!("{}\n", hex_text.to_uppercase()).into_bytes(),
            None,
        ),
        ("base64", format!("{base64}\n").into_bytes(), None),
        (
            "base64 without padding",
            base64.trim_end_matches('=').into(),
            None,
        ),
        (
            "empty",
            Vec::new(),
            Some("0 bytes; want 32 raw bytes, 64 hex digits, or base64 of 32 bytes"),
        ),
        (
            "31 bytes",
            raw[..31].to_vec(),
            Some("31 bytes; want 32 raw bytes, 64 hex digits, or base64 of 32 bytes"),
        ),
        (
            "a passphrase",
            printable[..32].to_vec(),
            Some("32 printable characters, so a passphrase and no random key"),
        ),
        ("zeros", vec![0; 32], Some("a key that is not random")),
        (
            "zeros in hex",
            vec![b'0'; 64],
            Some("a key that is not random"),
        ),
        (
            "64 other characters",
            vec![b'z'; 64],
            Some("64 characters that are not hex"),
        ),
    ];
    for (name, content, want) in cases {
        let path = temp.path().join("kek");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        match (Kek::from_file(&path), want) {
            (Ok(kek), None) => assert_eq!(kek.bytes().as_slice(), raw, "{name}"),
            (Err(error), Some(want)) => {
                let want = format!("`{}` holds no key encryption key: {want}", path.display());
                assert_eq!(error.to_string(), want, "{name}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn without_a_key_file_there_is_no_start_and_a_made_one_is_private() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("kek");
    let refused = Kek::from_file(&path).unwrap_err().to_string();
    assert!(refused.starts_with("no key encryption key at"), "{refused}");
    let (made, new) = Kek::load_or_generate(&path).unwrap();
    assert!(new);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (found, new) = Kek::load_or_generate(&path).unwrap();
    assert!(!new);
    assert_eq!(made.bytes(), found.bytes());
    let twice = Kek::generate_file(&path).unwrap_err();
    assert!(matches!(
        twice,
        VaultError::File(PrivateFileError::Exists { .. })
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let loose = Kek::from_file(&path).unwrap_err();
    assert!(matches!(
        loose,
        VaultError::File(PrivateFileError::Loose { .. })
    ));
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    vault
        .put(TENANT, "stripe", bindings(), &secret(), now())
        .unwrap();
    let lent = vault.lend(TENANT, "stripe", &destination()).unwrap();
    let info = serde_json::to_string(&vault.list()).unwrap();
    assert!(
        info.contains(r#""created":"2026-11-20T12:00:00.123456Z""#),
        "{info}"
    );
    let shown = [
        format!("{lent:?}"),
        format!("{} {:?}", lent.secret, lent.secret),
        format!("{:?}", kek(1)),
        info,
    ];
    for text in shown {
        assert!(!text.contains("sk_live"), "{text}");
        assert!(!text.contains("[1, 8,"), "{text}");
    }
}

#[test]
fn a_vault_takes_1024_credentials_and_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let vault = vault(temp.path());
    let one = vault
        .put(TENANT, "c0", bindings(), &secret(), now())
        .unwrap();
    {
        let mut state = vault.state();
        let stored = state.credentials.content.credentials[0].clone();
        state
            .credentials
            .content
            .credentials
            .extend((1..CREDENTIALS_MAX).map(|n| Stored {
                name: format!("c{n}"),
                ..stored.clone()
            }));
    }
    let refused = vault
        .put(TENANT, "more", bindings(), &secret(), now())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the vault is full with 1024 credentials; delete some"
    );
    let again = vault
        .put(TENANT, "c0", bindings(), &secret(), now())
        .unwrap();
    assert_eq!(again.version, one.version + 1, "replacing one still works");
}

/// Destinations that differ from a bound one in any number of fields.
fn near_destination() -> impl Strategy<Value = Destination> {
    let host = prop_oneof![
        Just(String::from("api.stripe.com")),
        Just(String::from("a.example.com")),
        "[a-zA-Z.*-]{0,12}(api\\.stripe\\.com|example\\.com)[a-z.]{0,3}",
    ];
    let port = prop_oneof![Just(443_u16), any::<u16>()];
    let header = prop_oneof![Just(String::from("Authorization")), "[a-zA-Z-]{0,14}"];
    let format = prop_oneof![
        Just(String::from("Bearer {secret}")),
        "[a-z ]{0,3}\\{secret\\}"
    ];
    let ca = prop_oneof![Just(None), any::<[u8; 32]>().prop_map(Some)];
    let effect = prop_oneof![
        Just(Effect::Read),
        Just(Effect::Write),
        Just(Effect::Irreversible)
    ];
    (host, port, header, format, ca, effect, any::<bool>()).prop_map(
        |(host, port, header, format, ca_sha256, effect, intercepted)| Destination {
            host,
            port,
            header,
            format,
            ca_sha256,
            effect,
            intercepted,
        },
    )
}

proptest! {
    /// The rule said a second time, in the plainest words: lending needs every single field to fit.
    #[test]
    fn nothing_is_lent_outside_any_binding(to in near_destination()) {
        let bound = bindings().normalised().unwrap();
        let host = to.host.to_lowercase();
        let labels: Vec<_> = host.split('.').collect();
        let wildcard = matches!(labels.as_slice(), [first, "example", "com"]
            if !first.is_empty() && !first.contains('*') && !first.starts_with('-') && !first.ends_with('-'));
        let fits = [
            host == "api.stripe.com" || wildcard,
            to.port == 443,
            to.header.to_lowercase() == "authorization",
            to.format == "Bearer {secret}",
            to.ca_sha256.is_none(),
            to.effect != Effect::Read,
            to.intercepted,
        ];
        prop_assert_eq!(bound.cover(&to).is_ok(), fits.iter().all(|fit| *fit));
    }

    #[test]
    fn bindings_have_one_spelling(hosts in proptest::collection::vec("[A-Ca-c]{1,2}\\.[A-Ca-c]", 1..5)) {
        let mut reversed = hosts.clone();
        reversed.reverse();
        let one = Bindings { hosts: hosts.clone(), ..bindings() }.normalised().unwrap();
        let other = Bindings { hosts: reversed, ..bindings() }.normalised().unwrap();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.clone().normalised().unwrap(), one.clone());
        let different: BTreeSet<_> = hosts.iter().map(|host| host.to_lowercase()).collect();
        prop_assert_eq!(one.hosts.len(), different.len());
    }
}
