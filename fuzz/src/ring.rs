//! The sidecar's ring file, as a crash or a bad disk may leave it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::{LazyLock, Mutex, PoisonError};

use actpass_core::hash::{RecordHash, sha256};
use actpass_sidecar::ring::{RING_BYTES, Ring};
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use crate::input::Input;

const HEADER_BYTES: u64 = 4096;
const POSITION: u64 = 64;

/// A genuine file: three large lines acknowledged, then ten that wrap around its end.
struct Genuine {
    dir: TempDir,
    lines: BTreeMap<u64, Vec<u8>>,
    /// Where each line's frame begins, and its length.
    frames: Vec<(u64, usize)>,
}

static GENUINE: LazyLock<Mutex<Genuine>> = LazyLock::new(|| Mutex::new(genuine()));

fn genuine() -> Genuine {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ring =
        Ring::create(&dir.path().join("ring"), &SigningKey::from_bytes(&[7; 32])).expect("a ring");
    let large = usize::try_from(RING_BYTES / 3 - 400).expect("fits");
    let (mut lines, mut frames, mut at) = (BTreeMap::new(), Vec::new(), 0);
    for seq in 0..13_u64 {
        let bytes = if seq < 3 { large } else { 200 };
        let line = vec![u8::try_from(seq).expect("small"); bytes];
        // As an outcome, so that all of the file may be filled.
        ring.append(seq, &line, true).expect("room");
        let frame = 20 + u64::try_from(bytes).expect("fits");
        at = if at + frame + 4 > RING_BYTES { 0 } else { at };
        frames.push((at, bytes + 20));
        at += frame;
        lines.insert(seq, line);
        if seq == 2 {
            ring.acknowledge(3, RecordHash::from_bytes([1; 32]))
                .expect("written");
        }
    }
    Genuine { dir, lines, frames }
}

/// Input: changes to a genuine file, one after another.
///
/// - What is recovered is genuine: each line the one that was kept under its sequence number, without a gap.
/// - Any position is survived, also one whose check value is right.
pub(crate) fn run(data: &[u8]) {
    let genuine = GENUINE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = genuine.dir.path().join("ring");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("the ring");
    let mut undo = Vec::new();
    let mut input = Input::new(data);
    while !input.is_empty() {
        let (at, bytes) = change(&mut input, &file, &genuine.frames);
        let mut before = vec![0; bytes.len()];
        file.read_exact_at(&mut before, at)
            .expect("inside the file");
        file.write_all_at(&bytes, at).expect("inside the file");
        undo.push((at, before));
    }
    let recovered = Ring::recover(&path);
    for (at, before) in undo.iter().rev() {
        file.write_all_at(before, *at).expect("inside the file");
    }
    let Ok(recovered) = recovered else { return };
    assert!(
        recovered.lines.len() <= genuine.lines.len(),
        "more lines than were ever kept"
    );
    for (seq, line) in (recovered.acked_seq..).zip(&recovered.lines) {
        assert!(
            genuine.lines.get(&seq) == Some(line),
            "line {seq} is not what was kept"
        );
    }
}

/// One change: where, and the bytes.
fn change(input: &mut Input<'_>, file: &File, frames: &[(u64, usize)]) -> (u64, Vec<u8>) {
    match input.byte() % 4 {
        // A frame stands over another.
        0 => {
            let (small, from, to) = (
                &frames[3..],
                usize::from(input.byte()),
                usize::from(input.byte()),
            );
            let ((from, bytes), (to, _)) = (small[from % small.len()], small[to % small.len()]);
            let mut frame = vec![0; bytes];
            file.read_exact_at(&mut frame, HEADER_BYTES + from)
                .expect("inside the file");
            (HEADER_BYTES + to, frame)
        }
        // A byte of a frame, most often of its head.
        1 => {
            let (start, bytes) = frames[usize::from(input.byte()) % frames.len()];
            let within = u64::from(input.u16()) % u64::try_from(bytes.min(220)).expect("small");
            (HEADER_BYTES + start + within, vec![input.byte()])
        }
        // A byte of the position.
        2 => (POSITION + u64::from(input.byte() % 56), vec![input.byte()]),
        // Another position, with its check value.
        _ => {
            let seq = u64::from(input.byte());
            let offset = match input.byte() % 4 {
                0 => input.u64(),
                _ => frames[usize::from(input.byte()) % frames.len()].0,
            };
            let mut body = [seq.to_le_bytes(), offset.to_le_bytes()].concat();
            body.extend([1; 32]);
            let check = sha256(&[&body]);
            body.extend(&check[..8]);
            (POSITION, body)
        }
    }
}
