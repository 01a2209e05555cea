//! What the upstream was sent, with one thing in it that is another: whatever it is, it is found.

use std::fs;

use actpass_tests::raw::header;

use super::compare::Comparer;
use super::plan::Mix;
use super::readers::{self, Streams};
use super::{bytes_of, judged, run};

/// So few that each of their bytes can be another once.
const REQUESTS: usize = 10;

/// None of them wrong: what is in doubt is compared less closely.
const GOOD: Mix = Mix {
    wrong: 0,
    faulty: 0,
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_altered_on_the_way_is_found() {
    let seed = super::seed();
    println!("ACTPASS_TEST_SEED={seed}");
    let run = run(seed, GOOD, REQUESTS).await;
    let permitted = judged::permitted(&run.parts);
    let as_it_was = readers::read(run.spool.path());
    let found = |readers: &[Streams; 2], bytes: &[u8]| {
        let mut comparer = Comparer::new(run.parts.bundle(), seed, GOOD, &permitted);
        comparer.compare(readers, bytes).problems
    };
    let bytes = bytes_of(run.spool.path());
    assert_eq!(found(&as_it_was, &bytes), Vec::<String>::new());

    // Each alteration is a file of its own, read beside the other connections as they were.
    let dir = tempfile::tempdir().unwrap();
    let mut altered = Vec::new();
    for file in as_it_was[0].keys() {
        let sent = fs::read(run.spool.path().join(file)).unwrap();
        for (what, bytes) in alterations(&sent) {
            let name = format!("{:06}", altered.len());
            fs::write(dir.path().join(&name), &bytes).unwrap();
            altered.push((name, file, what, bytes));
        }
    }
    println!("{} alterations of {} bytes", altered.len(), bytes.len());
    let read = readers::read(dir.path());
    for (name, file, what, bytes) in altered {
        let mut readers = as_it_was.clone();
        for (streams, read) in readers.iter_mut().zip(&read) {
            streams.insert(file.clone(), read[&name].clone());
        }
        let found = found(&readers, &bytes);
        assert!(!found.is_empty(), "{what}: {}", bytes.escape_ascii());
    }
}

/// The bytes of a connection, each time with something else altered.
fn alterations(sent: &[u8]) -> Vec<(String, Vec<u8>)> {
    let head = memchr::memmem::find(sent, b"\r\n\r\n").unwrap() + 2;
    let text = String::from_utf8_lossy(&sent[..head]);
    let body: usize = header(&text, "content-length").map_or(0, |it| it.parse().unwrap());
    let (first, rest) = sent.split_at(head + 2 + body);
    let with = |line: &str| {
        let (before, behind) = sent.split_at(head);
        [before, line.as_bytes(), b"\r\n", behind].concat()
    };
    let mut altered = vec![
        ("a request again".to_owned(), [sent, first].concat()),
        ("a request less".to_owned(), rest.to_vec()),
        ("a byte less".to_owned(), sent[..sent.len() - 1].to_vec()),
        ("a byte more".to_owned(), [sent, b"\0"].concat()),
        ("another header".to_owned(), with("x-other: 1")),
        ("another length".to_owned(), with("content-length: 1")),
        (
            "another coding".to_owned(),
            with("transfer-encoding: chunked"),
        ),
        ("another host".to_owned(), with("host: evil.example")),
    ];
    for at in 0..sent.len() {
        let mut bytes = sent.to_vec();
        let bit = [0x01, 0x02, 0x04, 0x40][at % 4];
        bytes[at] ^= bit;
        altered.push((format!("byte {at} ^ {bit:#x}"), bytes));
    }
    altered
}
