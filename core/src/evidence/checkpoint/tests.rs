use proptest::prelude::*;

use super::*;

const ORIGIN: &str = "actpass/c1/support/0f8fad5b-d9cb-469f-a165-70867728950e";

fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32]))
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 42,
        root: TreeRoot::from_bytes([9; 32]),
    }
}

/// Signs any text at all, to reach the checks behind the signature.
fn signed(text: &str) -> String {
    format!("{text}\n{}", signer(1).line(text))
}

#[test]
fn a_checkpoint_reads_back() {
    let note = checkpoint().sign(&signer(1));
    let lines: Vec<_> = note.split('\n').collect();
    assert_eq!(
        lines[..4],
        [
            ORIGIN,
            "42",
            "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
            ""
        ]
    );
    assert!(lines[4].starts_with(&format!("— {ORIGIN} ")));
    assert_eq!(lines[5..], [""]);
    assert_eq!(
        Checkpoint::verify(&note, &signer(1).verifier()),
        Ok(checkpoint())
    );
}

/// The example of Go's `golang.org/x/mod/sumdb/note`, which `signed-note` was made from.
#[test]
fn the_reference_note_verifies() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let verifier = NoteVerifier::from_vkey(vkey).unwrap();
    assert_eq!(
        (verifier.name(), verifier.to_vkey().as_str()),
        ("PeterNeumann", vkey)
    );
    let (text, lines) = split_note(note).unwrap();
    let signature = own_signature(lines[0], &verifier).unwrap().unwrap();
    assert!(
        verifier
            .key()
            .verify_strict(text.as_bytes(), &signature)
            .is_ok()
    );
    // It is signed, but no checkpoint.
    assert!(matches!(
        Checkpoint::verify(note, &verifier),
        Err(CheckpointError::Body(_))
    ));
}

#[test]
fn every_changed_byte_is_found() {
    let note = checkpoint().sign(&signer(1));
    let verifier = signer(1).verifier();
    for at in 0..note.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= flip;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(
                    Checkpoint::verify(&text, &verifier).is_err(),
                    "byte {at} changed by {flip:#x}"
                );
            }
        }
        if let Some((before, behind)) = note.split_at_checked(at) {
            assert!(
                Checkpoint::verify(before, &verifier).is_err(),
                "cut at {at}"
            );
            for inserted in ["\n", " ", "0", "=", "\r"] {
                let longer = format!("{before}{inserted}{behind}");
                assert!(
                    Checkpoint::verify(&longer, &verifier).is_err(),
                    "{inserted:?} inserted at {at}"
                );
            }
        }
    }
    assert!(Checkpoint::verify(&format!("{note}\n"), &verifier).is_err());
}

#[test]
fn other_keys_and_names_do_not_verify() {
    let note = checkpoint().sign(&signer(1));
    let no_signature = |name: &str| Err(CheckpointError::NoSignature(name.to_owned()));
    assert_eq!(
        Checkpoint::verify(&note, &signer(2).verifier()),
        no_signature(ORIGIN)
    );
    let other_name = NoteVerifier::new("actpass/c1/other/uid", *signer(1).verifier().key());
    assert_eq!(
        Checkpoint::verify(&note, &other_name),
        no_signature("actpass/c1/other/uid")
    );
    // Same name and hash, but a signature over another text.
    let other = Checkpoint {
        size: 43,
        ..checkpoint()
    }
    .sign(&signer(1));
    let mixed = format!(
        "{}\n{}",
        checkpoint().text(),
        other.lines().last().unwrap().to_owned() + "\n"
    );
    assert_eq!(
        Checkpoint::verify(&mixed, &signer(1).verifier()),
        Err(CheckpointError::WrongSignature(ORIGIN.to_owned()))
    );
}

#[test]
fn lines_of_witnesses_are_passed_over_within_bounds() {
    let note = checkpoint().sign(&signer(1));
    let witness = signer(2).line(&checkpoint().text());
    let verifier = signer(1).verifier();
    assert_eq!(
        Checkpoint::verify(&format!("{note}{witness}"), &verifier),
        Ok(checkpoint())
    );
    let crowd = format!("{note}{}", witness.repeat(SIGNATURES_MAX - 1));
    assert_eq!(Checkpoint::verify(&crowd, &verifier), Ok(checkpoint()));
    assert!(Checkpoint::verify(&format!("{crowd}{witness}"), &verifier).is_err());
    let twice = format!("{note}{}", signer(1).line(&checkpoint().text()));
    assert_eq!(
        Checkpoint::verify(&twice, &verifier),
        Err(CheckpointError::Note("two signatures by one key"))
    );
    for malformed in [
        "garbage\n",
        "— name\n",
        "— na+me AAAAAAA=\n",
        "— name AAAA\n",
        "—  AAAAAAA=\n",
        "- name AAAAAAA=\n",
    ] {
        assert_eq!(
            Checkpoint::verify(&format!("{note}{malformed}"), &verifier),
            Err(CheckpointError::Note("malformed signature line")),
            "{malformed}"
        );
    }
    assert_eq!(
        Checkpoint::verify(&"x".repeat(NOTE_BYTES_MAX + 1), &verifier),
        Err(CheckpointError::TooLong)
    );
}

#[test]
fn a_signed_text_must_still_be_a_checkpoint() {
    let root = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    let verifier = signer(1).verifier();
    assert!(Checkpoint::verify(&signed(&format!("{ORIGIN}\n42\n{root}\n")), &verifier).is_ok());
    for (name, text) in [
        ("extension line", format!("{ORIGIN}\n42\n{root}\nmore\n")),
        ("no root", format!("{ORIGIN}\n42\n")),
        ("no origin", format!("\n42\n{root}\n")),
        ("leading zero", format!("{ORIGIN}\n042\n{root}\n")),
        ("plus sign", format!("{ORIGIN}\n+42\n{root}\n")),
        ("negative size", format!("{ORIGIN}\n-1\n{root}\n")),
        (
            "size beyond 64 bits",
            format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
        ),
        ("short root", format!("{ORIGIN}\n42\nCQkJ\n")),
        (
            "unpadded root",
            format!("{ORIGIN}\n42\n{}\n", root.trim_end_matches('=')),
        ),
        (
            "trailing bits",
            format!("{ORIGIN}\n42\n{}l=\n", root.trim_end_matches("k=")),
        ),
        (
            "base64url",
            format!("{ORIGIN}\n42\n{}\n", "_".repeat(43) + "="),
        ),
    ] {
        assert!(
            matches!(
                Checkpoint::verify(&signed(&text), &verifier),
                Err(CheckpointError::Body(_))
            ),
            "{name}"
        );
    }
    let foreign = Checkpoint {
        origin: "other".to_owned(),
        ..checkpoint()
    };
    assert_eq!(
        Checkpoint::verify(&foreign.sign(&signer(1)), &verifier),
        Err(CheckpointError::Origin {
            expected: ORIGIN.to_owned(),
            found: "other".to_owned()
        })
    );
}

#[test]
fn verifier_keys_travel_as_text() {
    let verifier = signer(1).verifier();
    let text = verifier.to_vkey();
    assert_eq!(NoteVerifier::from_vkey(&text), Ok(verifier));
    let (name, rest) = text.split_once('+').unwrap();
    let (hash, key) = rest.split_once('+').unwrap();
    // The point of order 4, with the hash that belongs to it.
    let weak = NoteVerifier::new(name, VerifyingKey::from_bytes(&[0; 32]).unwrap()).to_vkey();
    let other_type = STANDARD.encode([&[2_u8][..], signer(1).verifier().key().as_bytes()].concat());
    for wrong in [
        String::new(),
        name.to_owned(),
        format!("{name}+{hash}"),
        format!("+{hash}+{key}"),
        format!("a b+{hash}+{key}"),
        format!("x{name}+{hash}+{key}"),
        format!("{name}+{}+{key}", hash.to_uppercase() + "0"),
        format!("{name}+00000000+{key}"),
        format!("{name}+{hash}+{key}="),
        format!("{name}+{hash}+AAAA"),
        weak,
        format!("{name}+{hash}+{other_type}"),
    ] {
        assert!(
            matches!(
                NoteVerifier::from_vkey(&wrong),
                Err(CheckpointError::VerifierKey { .. })
            ),
            "{wrong}"
        );
    }
}

#[test]
fn a_signer_does_not_show_its_key() {
    let shown = format!("{:?}", signer(1));
    assert_eq!(
        shown,
        format!("NoteSigner {{ name: \"{ORIGIN}\", key: \"[redacted]\" }}")
    );
}

proptest! {
    #[test]
    fn any_head_reads_back(size: u64, root: [u8; 32]) {
        let given = Checkpoint { size, root: TreeRoot::from_bytes(root), ..checkpoint() };
        prop_assert_eq!(Checkpoint::verify(&given.sign(&signer(3)), &signer(3).verifier()), Ok(given));
    }

    #[test]
    fn no_text_panics(text in "(\\PC|\\n|— )*") {
        drop(Checkpoint::verify(&text, &signer(1).verifier()));
        drop(Checkpoint::verify(&signed(&text), &signer(1).verifier()));
        drop(NoteVerifier::from_vkey(&text));
    }
}
