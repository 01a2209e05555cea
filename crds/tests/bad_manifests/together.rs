//! Several mistakes at once, over several documents and files, and texts that nobody would write.

use std::fs;

use actpass_core::bundle::Bundle;
use actpass_crds::check::check;
use actpass_crds::read::{Located, Manifests};
use proptest::prelude::*;

use super::{GOOD, edited, options, said, said_of, said_of_files};

#[test]
fn several_mistakes_of_one_document_are_said_in_the_order_written() {
    let text = edited(&[
        (
            "  owner: owner@example.com\n",
            "  ownr: owner@example.com\n",
        ),
        ("  ttlSeconds: 900", "  ttlSeconds: 9"),
        ("calendar: Day", "calendar: Week"),
        ("unit: USD, max: \"500.00\"", "unit: usd, max: 500"),
    ]);
    assert_eq!(
        said_of(&text),
        [
            "m.yaml:48: Passport/agent: spec.owner: missing; expected one line of text",
            "m.yaml:51: Passport/agent: spec.ownr: unknown field; did you mean `owner`?",
            "m.yaml:59: Passport/agent: spec.limits[0].unit: `usd` must be in upper case: `USD`, nor `Count`; expected a currency code such as `USD`, or `Count`",
            "m.yaml:59: Passport/agent: spec.limits[0].max: expected decimal text such as \"500.00\", found number 500; put it in quotes: \"500\"",
            "m.yaml:60: Passport/agent: spec.limits[1].calendar: expected one of `Day` or `Month`, found text `Week`",
            "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number from 60 to 3600, found 9",
        ]
    );
}

#[test]
fn mistakes_of_form_of_meaning_and_between_resources_are_said_together() {
    let text = edited(&[
        ("{from: body.vendor}", "{from: body.vendors}"),
        ("max: \"500.00\"", "max: \"500.001\""),
        (
            "  targetRefs: [{kind: Passport, name: agent}]",
            "  targetRefs: [{kind: Passport, name: payroll}]",
        ),
        (
            "{name: cap, decision: Deny,",
            "{name: cap, decision: Refuse,",
        ),
    ]);
    assert_eq!(
        said_of(&text),
        [
            "m.yaml:22: Upstream/pay: spec.actions[0].resource.from: `body.vendors` can never be there: `params.allow` does not list `vendors`; did you mean `vendor`?",
            "m.yaml:59: Passport/agent: spec.limits[0].max: amount `500.001` has 3 decimals, but USD has 2",
            "m.yaml:67: ActionPolicy/rules: spec.targetRefs[0].name: there is no Passport `payroll`; there is `agent`",
            "m.yaml:90: ClusterActionPolicy/guard: spec.rules[0].decision: expected one of `Deny`, `RequireApproval` or `Allow`, found text `Refuse`",
        ]
    );
}

#[test]
fn anchors_and_aliases_are_each_refused_where_they_stand() {
    let text = edited(&[
        ("agentId: agent", "agentId: &a agent"),
        ("owner: owner@example.com", "owner: *a"),
    ]);
    assert_eq!(
        said_of(&text),
        [
            "m.yaml:49: Passport/agent: spec.agentId: anchors are not read; write the value itself, and put text that starts with `&` in quotes",
            "m.yaml:51: Passport/agent: spec.owner: aliases are not read; write the value itself, and put text that starts with `*` in quotes",
        ]
    );
}

#[test]
fn what_could_not_be_read_is_not_held_against_others() {
    // Without its hosts the Upstream is unread, and the capabilities, meters and rules that name it may be right.
    let text = edited(&[("hosts: [api.pay.example]", "host: api.pay.example")]);
    assert_eq!(
        said_of(&text),
        [
            "m.yaml:5: Upstream/pay: spec.hosts: missing; expected a list, each item a host name such as `api.stripe.com` or \"*.example.com\"",
            "m.yaml:6: Upstream/pay: spec.host: unknown field; did you mean `hosts`?",
        ]
    );
}

#[test]
fn a_document_that_is_no_yaml_does_not_hide_the_others() {
    let text = edited(&[
        ("hosts: [api.pay.example]", "hosts: [api.pay.example"),
        ("  ttlSeconds: 900", "  ttlSeconds: 9"),
    ]);
    assert_eq!(
        said_of(&text),
        [
            "m.yaml:8: not YAML: invalid indentation in flow construct; look for a bracket or quote that is not closed, or for another indentation than the lines above",
            "m.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number from 60 to 3600, found 9",
        ]
    );
}

#[test]
fn mistakes_of_several_files_are_said_together_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let documents: Vec<&str> = GOOD.split("---\n").collect();
    let [pay, depot, passport, policy, guard] = documents.as_slice() else {
        panic!("five documents");
    };
    fs::write(path("a.yaml"), [pay, depot].map(|it| *it).join("---\n")).unwrap();
    fs::write(path("b.yml"), passport.replace("depot.read", "depot.reed")).unwrap();
    fs::write(path("c.yaml"), policy.replace("pay.read", "pay.raed")).unwrap();
    fs::write(path("d.yaml"), b"kind: \xff").unwrap();
    fs::write(path("notes.txt"), "not read").unwrap();
    fs::write(path("guard.yaml"), guard).unwrap();
    let file = |name: &str| path(name).display().to_string();
    assert_eq!(
        said_of_files(&[dir.path().to_owned(), path("missing.yaml")]),
        [
            format!(
                "{}:13: Passport/agent: spec.scope[3].capability: no Upstream declares `depot.reed`; did you mean `depot.read`?",
                file("b.yml")
            ),
            format!(
                "{}:20: ActionPolicy/rules: spec.rules[2].capabilities[1]: no Upstream declares `pay.raed`; did you mean `pay.read`?",
                file("c.yaml")
            ),
            format!(
                "{}:1: is not UTF-8 from here on; write the file as UTF-8",
                file("d.yaml")
            ),
            format!(
                "{}:1: cannot be read: No such file or directory (os error 2)",
                file("missing.yaml")
            ),
        ]
    );
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    fs::write(&file, GOOD).unwrap();
    let twice = [dir.path().to_owned(), file.clone(), file];
    assert_eq!(said_of_files(&twice), [""; 0]);
}

#[test]
fn files_and_directories_without_a_resource_are_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, file) = (dir.path().join("empty"), dir.path().join("comment.yaml"));
    fs::create_dir(&empty).unwrap();
    fs::write(&file, "# nothing yet\n").unwrap();
    assert_eq!(
        said_of_files(&[file.clone(), empty.clone()]),
        [
            format!(
                "{}:1: holds no resource; expected Passports, Upstreams or policies",
                file.display()
            ),
            format!(
                "{}:1: holds no *.yaml or *.yml file; directories below are not read",
                empty.display()
            ),
        ]
    );
}

#[test]
fn the_bytes_and_the_depth_of_a_file_are_bounded() {
    let long = "# ".repeat(600_000);
    assert_eq!(
        said_of(&long),
        ["m.yaml:1: the file has 1200000 bytes, at most 1048576 are read"]
    );
    let wordy = edited(&[(
        "purpose: Pay vendors",
        &format!("purpose: {}", "x".repeat(513)),
    )]);
    assert_eq!(
        said_of(&wordy),
        ["m.yaml:52: Passport/agent: spec.purpose: expected at most 512 bytes, found 513"]
    );
    let hosts: Vec<String> = (0..65).map(|it| format!("h{it}.example")).collect();
    let many = edited(&[("[api.pay.example]", &format!("[{}]", hosts.join(", ")))]);
    assert_eq!(
        said_of(&many),
        ["m.yaml:6: Upstream/pay: spec.hosts: expected at most 64 items, found 65"]
    );
    let deep = format!("a: {}", "[".repeat(100));
    assert_eq!(said_of(&deep), ["m.yaml:1: nested more than 64 deep"]);
}

#[test]
fn nothing_stands_behind_the_end_that_another_reader_sees() {
    for (name, char) in [
        ("NUL", '\0'),
        ("NEL", '\u{85}'),
        ("LS", '\u{2028}'),
        ("ESC", '\u{1b}'),
        ("BOM", '\u{feff}'),
    ] {
        let text = edited(&[(
            "  purpose: Pay vendors",
            &format!("  purpose: Pay{char} vendors"),
        )]);
        let want = format!(
            "m.yaml:52: not YAML: holds the character U+{:04X}; leave it out, or write it as an escape in double quotes",
            u32::from(char)
        );
        assert_eq!(said_of(&text), [want], "{name}");
    }
    let escaped = edited(&[(
        "  purpose: Pay vendors",
        "  purpose: \"Pay \\u00fcber vendors\"",
    )]);
    assert_eq!(said_of(&escaped), [""; 0]);
}

#[test]
fn odd_texts_are_refused_in_one_line_each() {
    let deep = "[".repeat(10_000);
    for text in [
        "- a",
        "{",
        "a: b: c",
        "\u{0}",
        "!!binary x",
        "? a\n: b",
        "? [a]\n: b",
        "a: &x 1\nb: *x",
        "*x",
        "\"",
        "%YAML 3",
        "kind",
        "kind: [Passport]",
        "apiVersion: {}\nkind: 1",
        &deep,
    ] {
        let said = said_of(text);
        assert!(!said.is_empty(), "{text:?}");
        assert!(
            said.iter()
                .all(|line| line.starts_with("m.yaml:") && !line.contains('\n')),
            "{said:#?}"
        );
    }
    for text in ["", "---", "# nothing\n", "\u{feff}---\n---\n"] {
        assert_eq!(said_of(text), [""; 0], "{text:?}");
    }
}

#[test]
fn a_file_writes_no_line_of_its_own_into_what_is_said() {
    let text = edited(&[(
        "{name: guard}",
        "{name: \"\\e[31m\\u2028guard\", \"x\\ny\": z}",
    )]);
    let mut manifests = Manifests::default();
    manifests.add("m\n\u{1b}.yaml", &text);
    let said = said(&manifests);
    assert_eq!(said.len(), 2, "{said:#?}");
    for line in said {
        assert!(!line.contains(['\n', '\u{1b}', '\u{2028}']), "{line:?}");
    }
}

proptest! {
    /// Any edit of a good file, and any text, gives a bundle or problems that show on one line each.
    #[test]
    fn any_text_is_read_or_refused(start in 0..GOOD.len(), length in 0..200_usize, with in ".{0,20}") {
        let end = GOOD.len().min(start + length);
        let text = format!("{}{with}{}", GOOD.get(..start).unwrap(), GOOD.get(end..).unwrap());
        for text in [text.as_str(), with.as_str()] {
            for line in said_of(text) {
                prop_assert!(line.starts_with("m.yaml:"), "{line}");
                prop_assert!(!line.contains('\n'), "{line}");
            }
            let mut manifests = Manifests::default();
            manifests.add("m.yaml", text);
            if let Ok(checked) = check(&manifests, &options()) {
                prop_assert!(Bundle::new(checked.spec).is_ok());
            }
        }
    }
}

#[test]
fn resources_that_came_without_a_file_are_checked_alike() {
    let mut manifests = Manifests::default();
    manifests.add(
        "m.yaml",
        &edited(&[("capability: depot.read", "capability: depot.reed")]),
    );
    let resources = manifests.resources.into_iter();
    let of = |located: Located| Located::new(located.resource, "treasury");
    assert_eq!(
        said(&Manifests::of(resources.map(of).collect())),
        [
            "treasury: Passport/agent: spec.scope[3].capability: no Upstream declares `depot.reed`; did you mean `depot.read`?"
        ]
    );
}

#[test]
fn nothing_compiles_with_a_mistake_and_warnings_let_it() {
    let of = |text: &str| {
        let mut manifests = Manifests::default();
        manifests.add("m.yaml", text);
        (
            check(&manifests, &options()).is_ok(),
            said(&manifests).len(),
        )
    };
    assert_eq!(of(GOOD), (true, 0));
    let warned = edited(&[("\"pay.notes.*\"}", "\"pay.memos.*\"}")]);
    assert_eq!(of(&warned), (true, 1));
    let refused = edited(&[("capability: depot.read", "capability: depot.reed")]);
    assert_eq!(of(&refused), (false, 1));
}
