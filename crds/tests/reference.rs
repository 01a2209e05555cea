//! `docs/manifests.md` says what the schemas say.

use std::path::Path;

use actpass_crds::condition::{ConditionType, Reason};
use actpass_crds::definition::{ALL, Definition};
use actpass_crds::fields::{Field, fields, words};
use actpass_crds::resource::Kind;

const BEFORE: &str = "# Manifests

Every field of each kind, as `actpass check` reads it. A file is YAML with one resource or several, separated by `---`; each
has `apiVersion: actpass.org/v1alpha1`, its `kind`, `metadata.name`, and a `spec`. `metadata.labels` are what a
`passportSelector` looks at. Fields that are not listed are refused. An example of each kind is in
[the tour's policy](../cli/src/demo) and in [the catalogue](../catalog).

An upstream with a certificate authority of its own needs it in `spec.tls.caBundle`; the credential lent to it is then stored
with `--ca-file` of the same file.

In a cluster the same resources are CustomResources, `kubectl explain passport.spec` shows the same fields, and most mistakes are
refused with the same words. There each has a `status` besides, which the controller writes. Three kinds live in a cluster
only: [Approval](#approval), [ApprovalVote](#approvalvote) and [EvidenceLog](#evidencelog).

This page is made from the schemas: `ACTPASS_WRITE_DOCS=1 cargo test -p actpass-crds --test reference`.
";

const CONDITIONS: &str = "
## Conditions

`status.conditions` says what is true of a resource, why and since when, as everywhere in Kubernetes. `True` is what one wants to
see. `kubectl wait --for=condition=Granted approval/NAME` waits for one.
";

fn page() -> String {
    let mut page = BEFORE.to_owned();
    for definition in &ALL {
        let (kind, about) = (definition.kind, definition.about());
        page.push_str(&format!("\n## {kind}\n\n{about}"));
        if !is_read(definition) {
            let (by, plural) = (definition.written_by, definition.plural);
            page.push_str(&format!(
                " Written by {by}; `kubectl get {plural}` shows it."
            ));
        }
        page.push_str("\n\n| field | what to write | what it is for |\n|---|---|---|\n");
        page.extend(fields_of(definition).iter().map(row));
    }
    page.push_str(CONDITIONS);
    page.push_str(&table("type", words::<ConditionType>()));
    page.push_str(&table("reason", words::<Reason>()));
    page
}

/// Whether people write it, into files too.
fn is_read(definition: &Definition) -> bool {
    Kind::ALL.iter().any(|it| it.name() == definition.kind)
}

/// The fields of spec and status. What a condition is made of is said once for all.
fn fields_of(definition: &Definition) -> Vec<Field> {
    let spec = definition.spec().map(|it| fields(&it, "spec"));
    let status = definition.status().map(|it| fields(&it, "status"));
    let all = spec.into_iter().chain(status).flatten();
    all.filter(|it| !it.path.starts_with("status.conditions[]"))
        .collect()
}

fn table(what: &str, words: Vec<(String, String)>) -> String {
    let mut table = format!("\n| {what} | what it says |\n|---|---|\n");
    for (word, meaning) in words {
        table.push_str(&format!("| `{word}` | {meaning} |\n"));
    }
    table
}

fn row(field: &Field) -> String {
    let Field {
        path,
        form,
        required,
        default,
        meaning,
    } = field;
    let need = match (required, default) {
        (true, _) => "required; ".to_owned(),
        (false, Some(default)) => format!("default `{default}`; "),
        (false, None) => String::new(),
    };
    let form = form.replace('|', "\\|");
    let meaning = meaning.replace('|', "\\|");
    format!("| `{path}` | {need}{form} | {meaning} |\n")
}

#[test]
fn every_field_is_documented_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifests.md");
    let page = page();
    if std::env::var_os("ACTPASS_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let stale = page
        .lines()
        .zip(written.lines())
        .find(|(now, then)| now != then);
    assert_eq!(stale, None, "run it with ACTPASS_WRITE_DOCS=1");
    assert_eq!(page, written, "run it with ACTPASS_WRITE_DOCS=1");
    for definition in &ALL {
        let mut fields = fields_of(definition).into_iter();
        let silent = fields.find(|field| field.meaning.is_empty());
        assert_eq!(silent, None, "{}: no meaning", definition.kind);
    }
    let words = [words::<ConditionType>(), words::<Reason>()].concat();
    let silent = words.iter().find(|(_, meaning)| meaning.is_empty());
    assert_eq!(silent, None, "a condition without a meaning");
    assert!(words.len() > 20, "{words:?}");
}
