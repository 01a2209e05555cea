//! Canonical JSON and instants.

use actpass_core::canonical;
use serde_json::Value;

/// - What is canonical is the one text that its value is written as.
/// - A value that has a canonical form reads back from it.
pub(crate) fn run(data: &[u8]) {
    if canonical::is_canonical(data) {
        let value = canonical::parse_canonical(data).expect("canonical JSON is JSON");
        let written = canonical::to_vec(&value).expect("its value has a canonical form");
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(data)
        );
    } else {
        assert!(canonical::from_slice::<Value>(data).is_err());
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && let Ok(written) = canonical::to_vec(&value)
    {
        assert_eq!(canonical::parse_canonical(&written), Ok(value));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(time) = canonical::parse_instant(text)
    {
        assert_eq!(canonical::instant(time), text);
    }
}
