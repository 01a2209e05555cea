//! Raw paths of requests, against `percent_encoding`.

use actpass_core::path::{DecodedPath, PATH_BYTES_MAX, PATH_SEGMENTS_MAX};
use percent_encoding::percent_decode_str;

/// - Each segment is its raw text decoded once, and decoding it again changes nothing.
/// - No segment is empty, steps up, or holds a separator or control character.
/// - The canonical path is plain ASCII and reads back as the same path.
pub(crate) fn run(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(path) = DecodedPath::parse(raw) else {
        return;
    };
    assert!(raw.len() <= PATH_BYTES_MAX && path.segments().len() <= PATH_SEGMENTS_MAX);
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .expect("UTF-8")
            .into_owned()
    };
    let theirs: Vec<_> = raw.split('/').skip(1).map(decode).collect();
    assert!(theirs == path.segments() || (raw == "/" && path.segments().is_empty()));
    for segment in path.segments() {
        assert_eq!(
            decode(segment),
            *segment,
            "a second decoding reads another path"
        );
        assert!(!segment.is_empty() && segment != "." && segment != "..");
        assert!(!segment.contains(|char: char| char == '/' || char == '\\' || char.is_control()));
    }
    let canonical = path.canonical();
    assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(
        DecodedPath::parse(&canonical).map(|again| again.canonical()),
        Ok(canonical)
    );
}
