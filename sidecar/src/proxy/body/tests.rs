use futures_util::stream;
use http::HeaderMap;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;

use super::*;

type Chunks = Vec<Result<Frame<Bytes>, std::io::Error>>;

fn chunks(chunks: Chunks) -> impl Body<Data = Bytes> + Unpin {
    StreamBody::new(stream::iter(chunks))
}

fn data(bytes: usize) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(vec![b'a'; bytes].into()))
}

#[tokio::test]
async fn a_body_takes_its_room_for_as_long_as_its_bytes_live() {
    let budget = Arc::new(Semaphore::new(64));
    // Of unknown length: the whole limit while it is read, and then what it has.
    let read = read_body(chunks(vec![data(8_000), data(2_300)]), 60 * 1024, &budget);
    let read = read.await.unwrap();
    assert_eq!(read.len(), 10_300);
    assert_eq!(budget.available_permits(), 64 - 11);
    let sent = read.slice(1..5);
    drop(read);
    assert_eq!(budget.available_permits(), 64 - 11, "part of it lives");
    let busy = read_body(chunks(vec![data(1)]), 60 * 1024, &budget).await;
    assert!(matches!(busy, Err(BodyError::Busy)), "{busy:?}");
    // What says its length needs no more than that.
    let small = read_body(Full::new(Bytes::from_static(b"a=1")), 60 * 1024, &budget).await;
    assert_eq!(budget.available_permits(), 64 - 12);
    drop((small, sent));
    assert_eq!(budget.available_permits(), 64, "all of it is given back");
}

#[tokio::test]
async fn a_body_that_is_not_taken_gives_its_room_back() {
    struct Case {
        name: &'static str,
        given: Chunks,
        want: &'static str,
    }
    let broken = || Err(std::io::Error::other("reset"));
    for Case { name, given, want } in [
        Case {
            name: "longer than declared",
            given: vec![data(2_000), data(49)],
            want: "TooLarge(2048)",
        },
        Case {
            name: "broken off",
            given: vec![data(5), broken()],
            want: "Broken",
        },
        Case {
            name: "trailers",
            given: vec![data(5), Ok(Frame::trailers(HeaderMap::new()))],
            want: "Trailers",
        },
    ] {
        let budget = Arc::new(Semaphore::new(64));
        let read = read_body(chunks(given), 2_048, &budget).await;
        assert_eq!(format!("{:?}", read.unwrap_err()), want, "{name}");
        assert_eq!(budget.available_permits(), 64, "{name}");
    }
}
