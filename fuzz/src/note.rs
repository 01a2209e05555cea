//! Signed checkpoints and verifier keys.

use std::sync::LazyLock;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner, NoteVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};

const NAME: &str = "actpass/c/n/u";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));
static SIGNER: LazyLock<NoteSigner> = LazyLock::new(|| NoteSigner::new(NAME, KEY.clone()));

/// Input: a text to sign, or a whole note, or a verifier key.
///
/// - A note that verifies carries the one text of its checkpoint and the one signature over it, so no changed byte
///   of either passes.
/// - A verifier key reads back as itself.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(verifier) = NoteVerifier::from_vkey(text) {
        assert_eq!(verifier.to_vkey(), text);
    }
    check(text);
    check(&format!("{text}\n{}", line(text)));
}

/// A genuine signature line over any text at all.
fn line(text: &str) -> String {
    static HASH: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let vkey = SIGNER.verifier().to_vkey();
        let hash = vkey.split('+').nth(1).expect("name+hash+key");
        let hash = u32::from_str_radix(hash, 16).expect("hex");
        hash.to_be_bytes().to_vec()
    });
    let payload = [HASH.as_slice(), &KEY.sign(text.as_bytes()).to_bytes()].concat();
    format!("\u{2014} {NAME} {}\n", STANDARD.encode(payload))
}

fn check(note: &str) {
    let Ok(checkpoint) = Checkpoint::verify(note, &SIGNER.verifier()) else {
        return;
    };
    assert_eq!(checkpoint.origin, NAME);
    let genuine = checkpoint.sign(&SIGNER);
    let (text, signature) = genuine.rsplit_once("\n\n").expect("a note");
    let lines = note
        .strip_prefix(text)
        .and_then(|rest| rest.strip_prefix("\n\n"));
    let lines = lines.expect("the text is the checkpoint's one spelling");
    assert!(
        lines.split_inclusive('\n').any(|line| line == signature),
        "no genuine signature"
    );
}
