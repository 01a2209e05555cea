//! What the ledger publishes of a log in C2SP formats, checked by programs that are not ours: Go's own readers of signed notes and of
//! tiled trees (`tests/proofs`). Whatever is changed, they refuse it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

#[path = "proofs/single.rs"]
mod single;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use actpass_tests::home::SHOP as POLICY;
use actpass_tests::scaled;
use actpass_tests::tenants::{Tenants, encoded};
use actpass_tests::tools::built;
use actpass_transport::names;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::process::Command;

const SHOP: &str = "0c1d/shop/aaaa";
const BANK: &str = "0c1d/bank/bbbb";

/// The checker, and a directory for what it is given.
struct Checker {
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Checker {
    /// None, and that is printed, where it is not built.
    fn new() -> Option<Self> {
        Some(Self {
            program: built("proofs", "proofs")?,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// What it found, or why it refused.
    async fn run(&self, args: &[String]) -> Result<Value, String> {
        let mut command = Command::new(&self.program);
        let output = command.args(args).stdin(Stdio::null()).output().await;
        let output = output.unwrap();
        let said: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        match output.status.success() {
            true => Ok(said),
            false => Err(said["error"].as_str().unwrap().to_owned()),
        }
    }

    /// The log of the shop as the ledger serves it.
    async fn served(&self, tenants: &Tenants, more: &[String]) -> Result<Value, String> {
        let (address, certificate) = tenants.reached().unwrap();
        let certificate = STANDARD.encode(certificate);
        let pem =
            format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
        let log = format!("https://{address}/v1/logs/{}", encoded(SHOP));
        let args = [
            "-log",
            &log,
            "-token",
            "auditor",
            "-name",
            names::LEDGER,
            "-ca",
            &self.write("ca.pem", pem),
            "-key",
            &self.write("vkey", tenants.vkey(SHOP)),
        ];
        let args = args.map(str::to_owned);
        self.run(&[&args, more].concat()).await
    }

    /// The same as it was saved.
    async fn saved(&self) -> Result<Value, String> {
        let (log, key) = (self.path("saved"), self.path("vkey"));
        let args = ["-log", log.to_str().unwrap(), "-key", key.to_str().unwrap()];
        self.run(&args.map(str::to_owned)).await
    }

    async fn proof(&self, file: &Path) -> Result<Value, String> {
        let key = self.path("vkey");
        let args = [
            "-proof",
            file.to_str().unwrap(),
            "-key",
            key.to_str().unwrap(),
        ];
        self.run(&args.map(str::to_owned)).await
    }
}

/// A ledger with the logs of a shop and of a bank, and an auditor of the shop.
async fn ledger() -> Tenants {
    let tenants = Tenants::start().unwrap();
    tenants.know("auditor", "ada", [format!("get evidence {SHOP}")]);
    let all = [SHOP, BANK].map(|tenant| format!("update bundles {tenant}"));
    tenants.know("controller", "controller", all);
    for tenant in [SHOP, BANK] {
        let bundle = tenants.bundle(POLICY, tenant).unwrap();
        let put = tenants.call(Some("controller"), "PUT", "/v1/bundles", bundle.bytes());
        assert_eq!(put.await.unwrap().0, 200);
    }
    tenants
}

/// One more leaf of the shop's, by the ledger itself.
async fn revoke(tenants: &Tenants) {
    let path = format!("/v1/revocations?tenant={}", encoded(SHOP));
    let body = json!({"passport": "nobody", "why": "no longer needed"}).to_string();
    let asked = tenants.call(Some("controller"), "POST", &path, body.as_bytes());
    assert_eq!(asked.await.unwrap().0, 204);
}

/// Asks for a path of a tenant's log.
async fn asked(tenants: &Tenants, who: &str, tenant: &str, path: &str) -> (u16, Value) {
    let path = format!("/v1/logs/{}/{path}", encoded(tenant));
    tenants.call(Some(who), "GET", &path, b"").await.unwrap()
}

/// How many tiles a tree of that size has, as the specification counts them.
fn tiles(size: u64) -> u64 {
    let rows = std::iter::successors(Some(size), |row| Some(row / 256));
    rows.take_while(|row| *row > 0)
        .map(|row| row.div_ceil(256))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_is_at_every_size_what_gos_own_checker_says_it_is() {
    let Some(checker) = Checker::new() else {
        return;
    };
    let mut tenants = ledger().await;
    // Over 65,536 leaves, where a third row of tiles begins, at full length.
    let most = u64::from(scaled(66_000)).max(3 * 256 + 77);
    let mut older = Vec::new();
    for size in [5, 255, 256, 257, 512, most, most + 1] {
        tenants = match older.len() {
            // From there by the ledger itself, while it serves.
            2 | 3 | 6 => {
                revoke(&tenants).await;
                tenants
            }
            _ => tenants.grown(SHOP, size).await.unwrap(),
        };
        let mut more = vec!["-proof-every".to_owned(), "97".to_owned()];
        for file in &older {
            more.extend(["-older".to_owned(), String::clone(file)]);
        }
        let found = checker.served(&tenants, &more).await.unwrap();
        println!("{found}");
        assert_eq!(found["origin"], format!("actpass/{SHOP}"));
        for (what, want) in [
            ("size", size),
            ("leaves", size),
            ("tiles", tiles(size)),
            ("bundles", size.div_ceil(256)),
            ("checkpoints", older.len() as u64),
        ] {
            assert_eq!(found[what], want, "{what} of {size}");
        }
        assert!(
            found["proofs"].as_u64() > Some(size / 256) && found["consistent"].as_u64() > Some(9)
        );
        let (status, note) = asked(&tenants, "auditor", SHOP, "checkpoint").await;
        assert_eq!(status, 200);
        // Its last line end was taken for that of the status behind it.
        let note = format!("{}\n", note.as_str().unwrap());
        older.push(checker.write(&format!("{size}.note"), note));
    }
    // A log that is none of ours does not extend those checkpoints.
    let other = ledger().await.grown(SHOP, 300).await.unwrap();
    let more = ["-older".to_owned(), older[1].clone()];
    let refused = checker.served(&other, &more).await.unwrap_err();
    assert!(refused.contains("255.note"), "{refused}");
    other.stop().await;
    tenants.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_a_tile_an_entry_a_checkpoint_or_a_proof_is_refused_by_gos_own_checker() {
    let Some(checker) = Checker::new() else {
        return;
    };
    let tenants = ledger().await.grown(SHOP, 600).await.unwrap();
    let saved = checker.path("saved");
    let save = ["-save", saved.to_str().unwrap(), "-proof-every", "600"];
    let found = checker.served(&tenants, &save.map(str::to_owned)).await;
    assert_eq!(found.unwrap()["leaves"], 600);
    tenants.stop().await;
    assert_eq!(checker.saved().await.unwrap()["leaves"], 600);
    for name in [
        "checkpoint",
        "tile/0/000",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/002.p/88",
    ] {
        let (file, whole) = (saved.join(name), fs::read(saved.join(name)).unwrap());
        for at in [0, whole.len() / 3, whole.len() / 2] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            assert!(checker.saved().await.is_err(), "byte {at} of {name}");
        }
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert!(checker.saved().await.is_err(), "{name} without its end");
        fs::write(&file, &whole).unwrap();
    }
    let swap = |one: &str, two: &str| {
        let read = |name: &str| fs::read(saved.join(name)).unwrap();
        let (a, b) = (read(one), read(two));
        fs::write(saved.join(one), b).unwrap();
        fs::write(saved.join(two), a).unwrap();
    };
    for [one, two] in [
        ["tile/0/000", "tile/0/001"],
        ["tile/entries/000", "tile/entries/001"],
    ] {
        swap(one, two);
        assert!(
            checker.saved().await.is_err(),
            "{one} in the place of {two}"
        );
        swap(one, two);
    }
    assert_eq!(checker.saved().await.unwrap()["leaves"], 600, "put back");

    let file = saved.join("proof/256");
    assert_eq!(checker.proof(&file).await.unwrap()["proofs"], 1);
    let whole = fs::read(&file).unwrap();
    // In the leaf, the index, the hashes and the signed tree.
    let text = String::from_utf8(whole.clone()).unwrap();
    for part in [
        "extra ",
        "index ",
        "\nactpass/0c1d/shop/aaaa\n",
        "aaaa\n600\n",
    ] {
        let at = text.find(part).unwrap() + part.len() - 2;
        for at in [at, at + 4] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            assert!(checker.proof(&file).await.is_err(), "byte {at}: {part}");
        }
    }
}

#[tokio::test]
async fn a_tile_beyond_the_tree_is_not_there_and_another_spelling_is_refused() {
    let tenants = ledger().await.grown(SHOP, 300).await.unwrap();
    for (path, status) in [
        ("checkpoint", 200),
        ("tile/0/000", 200),
        ("tile/0/001.p/44", 200),
        // Widths that the tree has had.
        ("tile/0/000.p/1", 200),
        ("tile/0/001.p/43", 200),
        ("tile/1/000.p/1", 200),
        ("tile/entries/000", 200),
        ("tile/entries/000.p/255", 200),
        ("tile/entries/001.p/44", 200),
        ("proof/0", 200),
        ("proof/299", 200),
        ("tile/0/001.p/45", 404),
        ("tile/0/001", 404),
        ("tile/0/002.p/1", 404),
        ("tile/1/000.p/2", 404),
        ("tile/1/000", 404),
        ("tile/2/000.p/1", 404),
        ("tile/63/000.p/1", 404),
        ("tile/0/x018/x446/x744/x073/x709/x551/615", 404),
        ("tile/entries/001.p/45", 404),
        ("tile/entries/001", 404),
        ("tile/entries/x018/x446/x744/x073/x709/x551/615", 404),
        ("proof/300", 404),
        ("proof/18446744073709551615", 404),
        ("tile/0/0", 400),
        ("tile/0/x000/000", 400),
        ("tile/00/000", 400),
        ("tile/64/000", 400),
        ("tile/0/000.p/0", 400),
        ("tile/0/000.p/256", 400),
        ("tile/0/000.p%2F1", 400),
        ("tile/0/%30%30%30", 400),
        ("tile/0/..%2f..%2f..%2fhead", 400),
        ("tile/entries/000/", 400),
        ("tile/8/0/000", 400),
        ("proof/-1", 400),
        ("proof/x", 400),
        ("tile", 404),
    ] {
        let (found, said) = asked(&tenants, "auditor", SHOP, path).await;
        assert_eq!(found, status, "{path}: {said}");
    }
    let long = format!("tile/0/{}000", "x001/".repeat(1_000));
    assert_eq!(asked(&tenants, "auditor", SHOP, &long).await.0, 400);
    tenants.stop().await;
}

#[tokio::test]
async fn nobody_reads_the_tree_of_another_tenant() {
    let tenants = ledger().await;
    let rights = ["get approvals", "update bundles", "get credentials"];
    tenants.know(
        "clerk",
        "carl",
        rights.map(|right| format!("{right} {SHOP}")),
    );
    let nowhere = "0c1d/shop/gone";
    tenants.know("late", "lea", [format!("get evidence {nowhere}")]);
    let query = format!("checkpoint?tenant={}", encoded(SHOP));
    for path in [
        "checkpoint",
        "tile/0/000.p/1",
        "tile/entries/000.p/1",
        "proof/0",
    ] {
        for (who, tenant, status) in [
            ("auditor", SHOP, 200),
            ("auditor", BANK, 403),
            ("clerk", SHOP, 403),
            ("stranger", SHOP, 401),
            ("late", nowhere, 404),
            ("auditor", "0c1d/shop/aaaa/../../bank/bbbb", 403),
            ("auditor", "0C1D/shop/aaaa", 403),
            ("auditor", "", 403),
        ] {
            let (found, said) = asked(&tenants, who, tenant, path).await;
            assert_eq!(found, status, "{who}, {path} of {tenant}: {said}");
        }
    }
    // The path alone says whose log it is.
    assert_eq!(asked(&tenants, "auditor", BANK, &query).await.0, 400);
    assert_eq!(asked(&tenants, "auditor", SHOP, &query).await.0, 400);
    let (status, _) = asked(&tenants, "auditor", BANK, "checkpoint?namespace=shop").await;
    assert_eq!(status, 400);
    tenants.stop().await;
}

/// Changes a byte of the leaf, and makes the sum of its frame right again, as who does it on purpose: 24 bytes before a leaf begin its
/// frame, with a word for its length at 4 and one for the sum at 12, which is over the 12 bytes before it and all from 16.
fn forge(segment: &mut [u8], seq: u64) {
    let mark = format!(r#""seq":{seq},"#);
    let at = memchr::memmem::rfind(segment, mark.as_bytes()).unwrap();
    let leaf = memchr::memmem::rfind(&segment[..at], br#"{"h":{"log""#).unwrap();
    segment[at + 6] ^= 1;
    let frame = &mut segment[leaf - 24..];
    let length = u32::from_le_bytes(*frame[4..].first_chunk().unwrap()) as usize;
    let summed = [&frame[..12], &frame[16..24 + length]].concat();
    frame[12..16].copy_from_slice(&crc32c(&summed).to_le_bytes());
}

/// RFC 3720 section B.4, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0x82f6_3b78,
            _ => sum >> 1,
        })
    })
}

/// The sum of its frame is right: the tree in memory is what shows it.
#[tokio::test]
async fn a_leaf_that_was_changed_on_the_disk_does_not_leave_the_ledger() {
    let tenants = ledger().await.grown(SHOP, 20).await.unwrap();
    assert_eq!(asked(&tenants, "auditor", SHOP, "proof/7").await.0, 200);
    let segment = tenants.directory().join("log/segments/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    forge(&mut bytes, 7);
    fs::write(&segment, bytes).unwrap();
    let (status, said) = asked(&tenants, "auditor", SHOP, "proof/7").await;
    assert_eq!((status, &said["code"]), (503, &json!("unavailable")));
    assert_eq!(asked(&tenants, "auditor", SHOP, "proof/8").await.0, 200);
    // An answer that has begun breaks off.
    let path = format!("/v1/logs/{}/tile/entries/000.p/20", encoded(SHOP));
    let whole = tenants.call(Some("auditor"), "GET", &path, b"").await;
    let length = whole.map_or(0, |(_, body)| body.as_str().map_or(0, str::len));
    assert!(length < 20 * 300, "{length} bytes came");
    tenants.stop().await;
}
