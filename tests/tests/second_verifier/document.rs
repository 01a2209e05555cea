//! The worked example of the format's document, which is made from the code.

use std::path::Path;
use std::process::Command;

use actpass_core::evidence::leaf::genesis_prev;
use actpass_core::evidence::merkle::{Tree, leaf_hash};
use actpass_core::evidence::record::{Record, batch_message, stream_id};
use actpass_core::hash::{b64u_encode, hex};
use actpass_tests::exported::{Exported, text_of};
use actpass_tests::logbook::Logbook;

use super::answers::script;
use super::logs::{example, keys};

const BEGIN: &str =
    "<!-- made by `ACTPASS_WRITE_DOCS=1 cargo test -p actpass-tests --test second_verifier` -->\n";
const END: &str = "<!-- end -->\n";

/// The steps of the example, each with what comes out.
fn steps(log: &Logbook) -> String {
    let export = Exported::parse(&log.exported(None).unwrap()).unwrap();
    let leaves: Vec<&[u8]> = export
        .leaves()
        .iter()
        .map(|at| export.lines[*at].as_slice())
        .collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut tree = Tree::new();
    leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    let key = keys().streams[0].verifying_key();
    let record = text_of(&export.leaf(2).unwrap()["r"]);
    let hash = Record::hash_of(&record);
    let public = b64u_encode(key.as_bytes());
    let message = hex(&batch_message(&stream_id(&key), &hash));
    let (origin, verifier) = (&export.first.log, &export.first.key);
    let mut said = format!("The log's verifier key is `{verifier}`.\n\n");
    let mut step =
        |name: &str, value: &str| said.push_str(&format!("{name}:\n\n```text\n{value}\n```\n\n"));
    step(
        "`h.prev` of leaf 0, from the origin",
        &genesis_prev(origin).to_string(),
    );
    for (seq, leaf) in leaves.iter().enumerate() {
        step(&format!("Leaf {seq}"), &text(leaf));
        step(
            &format!("Its hash, which is `h.prev` of leaf {}", seq + 1),
            &leaf_hash(leaf).to_string(),
        );
    }
    step(
        &format!("The stream of key `{public}`"),
        &stream_id(&key).to_string(),
    );
    step("The record in leaf 2", &text(&record));
    step(
        "Its hash, which is `prev` of the stream's next record",
        &hash.to_string(),
    );
    step("The message that `s` signs, in hex", &message);
    step(
        "Root over leaves 0 and 1",
        &tree.root_at(2).unwrap().to_string(),
    );
    step("Root over leaves 0 to 2", &tree.root().to_string());
    step(
        "The checkpoint",
        export.checkpoint.as_ref().unwrap().trim_end(),
    );
    step(
        "The last line of the file",
        text(&export.bytes().unwrap()).lines().last().unwrap(),
    );
    said
}

#[test]
fn the_worked_example_of_the_document_is_what_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/evidence-format.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}\n{}{END}{after}", steps(&example()));
    if std::env::var_os("ACTPASS_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert_eq!(page, made, "run it with ACTPASS_WRITE_DOCS=1");
}

/// What stands between the lines of a block of that name.
fn block<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{name}\n")).unwrap();
    rest.split_once("\n```").unwrap().0
}

#[test]
fn the_forms_of_the_document_are_those_of_the_second_verifier() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/evidence-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let show = "import runpy, sys; it = runpy.run_path(sys.argv[1]); print(*it['CURRENCIES']); \
        print(*(name + ': ' + ' '.join(':'.join(part) for part in form) for name, form in it['FORMS'].items()), sep='\\n')";
    let shown = Command::new("python3")
        .args(["-I", "-c", show])
        .arg(script())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let (currencies, forms) = shown.trim_end().split_once('\n').unwrap();
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(block(&page, "currencies")), words(currencies));
    assert_eq!(block(&page, "forms"), forms);
}
