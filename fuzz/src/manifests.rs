//! Manifests in YAML, against the events of the YAML parser itself.

use std::collections::BTreeSet;

use actpass_crds::read::parse_documents;
use saphyr_parser::{Event, Parser, StrInput};

/// - Any text gives resources or problems, the same ones each time.
/// - A problem stands on a line of the file and is told on one line.
/// - A file without a problem has no anchor, alias, tag, or key given twice.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (resources, problems) = parse_documents("fuzz.yaml", text);
    let (again, same) = parse_documents("fuzz.yaml", text);
    assert_eq!((resources.len(), &problems), (again.len(), &same));
    // To YAML a carriage return alone ends a line too. The line behind the last one is where the text ends too soon.
    let lines = text.split(['\n', '\r']).count();
    for problem in &problems {
        assert!(problem.line <= lines + 1, "{problem} is not in the file");
        assert!(!problem.message.is_empty());
    }
    if problems.is_empty() {
        let mut events = Parser::new_from_str(text);
        while let Some(event) = events.next_event() {
            plain(event.expect("YAML").0, &mut events);
        }
    }
}

type Events<'a> = Parser<'a, StrInput<'a>>;

/// Checks the node that begins with `event`; its text, if it is a scalar.
fn plain<'a>(event: Event<'a>, events: &mut Events<'a>) -> Option<String> {
    match event {
        Event::Alias(_) => panic!("an alias was read"),
        Event::Scalar(text, _, anchor, tag) => {
            assert!(anchor == 0 && tag.is_none(), "an anchor or tag was read");
            return Some(text.into_owned());
        }
        Event::SequenceStart(anchor, tag) => {
            assert!(anchor == 0 && tag.is_none(), "an anchor or tag was read");
            loop {
                match take(events) {
                    Event::SequenceEnd => break,
                    item => drop(plain(item, events)),
                }
            }
        }
        Event::MappingStart(anchor, tag) => {
            assert!(anchor == 0 && tag.is_none(), "an anchor or tag was read");
            let mut keys = BTreeSet::new();
            loop {
                let key = match take(events) {
                    Event::MappingEnd => break,
                    key => plain(key, events).expect("a key is text"),
                };
                assert!(keys.insert(key.clone()), "`{key}` was read twice");
                let value = take(events);
                plain(value, events);
            }
        }
        _ => {}
    }
    None
}

fn take<'a>(events: &mut Events<'a>) -> Event<'a> {
    events.next_event().expect("the node ends").expect("YAML").0
}
