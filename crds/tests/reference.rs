//! `docs/manifests.md` says what the schemas say.

use std::path::Path;

use actpass_crds::fields::{Field, about, fields};
use actpass_crds::resource::Kind;

const BEFORE: &str = "# Manifests

Every field of each kind, as `actpass check` reads it. A file is YAML with one resource or several, separated by `---`; each
has `apiVersion: actpass.org/v1alpha1`, its `kind`, `metadata.name`, and a `spec`. `metadata.labels` are what a
`passportSelector` looks at. Fields that are not listed are refused. An example of each kind is in
[the tour's policy](../cli/src/demo) and in [the catalogue](../catalog).

An upstream with a certificate authority of its own needs it in `spec.tls.caBundle`; the credential lent to it is then stored
with `--ca-file` of the same file.

This page is made from the schemas: `ACTPASS_WRITE_DOCS=1 cargo test -p actpass-crds --test reference`.
";

fn page() -> String {
    let mut page = BEFORE.to_owned();
    for kind in Kind::ALL {
        page.push_str(&format!("\n## {kind}\n\n{}\n\n", about(kind)));
        page.push_str("| field | what to write | what it is for |\n|---|---|---|\n");
        for field in fields(kind) {
            page.push_str(&row(&field));
        }
    }
    page
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
    for kind in Kind::ALL {
        let silent = fields(kind)
            .into_iter()
            .find(|field| field.meaning.is_empty());
        assert_eq!(silent, None, "{kind}: a field without a meaning");
    }
}
