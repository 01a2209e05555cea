//! Mistakes in manifests: each case is a good set of manifests with one edit, and the one line that must come of it.
//! The same cases are held against the CustomResourceDefinitions: what is right for the checker must be right for an
//! API server, and what is wrong is refused there already, but for what [`cluster`] lists.

use std::path::PathBuf;

use actpass_crds::bundle::Options;
use actpass_crds::check::check;
use actpass_crds::read::{Manifests, Problem};

mod actions;
mod api_server;
mod cluster;
mod form;
mod passports;
mod policies;
mod together;
mod upstreams;

/// What every case starts from. It has no mistake, so what a case finds comes of its edit.
const GOOD: &str = include_str!("good.yaml");

/// `GOOD` with one edit.
struct Case {
    name: &'static str,
    /// A part of [`GOOD`] that stands there once.
    from: &'static str,
    /// What stands there instead.
    to: &'static str,
    /// The whole line said of it.
    want: &'static str,
}

/// [`GOOD`] with edits, each of a part that stands there once.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        let places = text.matches(from).count();
        assert_eq!(places, 1, "`{from}` stands in {places} places");
        text.replacen(from, to, 1)
    })
}

fn options() -> Options {
    Options {
        tenant: "local/default/id".to_owned(),
        environment: None,
    }
}

/// Every mistake and warning of manifests, as shown.
fn said(manifests: &Manifests) -> Vec<String> {
    let problems: Vec<Problem> = match check(manifests, &options()) {
        Ok(checked) => checked.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(Problem::to_string).collect()
}

fn said_of(text: &str) -> Vec<String> {
    let mut manifests = Manifests::default();
    manifests.add("m.yaml", text);
    said(&manifests)
}

fn said_of_files(paths: &[PathBuf]) -> Vec<String> {
    said(&Manifests::read(paths))
}

/// Each case gives its line and no other, a warning only where it says so.
fn each(cases: &[Case]) {
    assert_eq!(said_of(GOOD), [""; 0], "what the cases start from is good");
    let mut wrong = Vec::new();
    for case in cases {
        let text = edited(&[(case.from, case.to)]);
        let found = said_of(&text);
        wrong.extend(cluster::disagreement(case.name, &text, &found));
        if found != [case.want] {
            wrong.push(format!(
                "{}:\n  want {}\n  got  {}",
                case.name,
                case.want,
                found.join("\n       ")
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
