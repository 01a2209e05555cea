//! Host names and patterns of them.

use std::net::IpAddr;

use actpass_core::host::{HOST_BYTES_MAX, HostName, HostPattern, LABEL_BYTES_MAX};

use crate::input::Input;

/// Input: a pattern and a name, a line each.
///
/// - A name is what was written in lower case, without at most one trailing dot, and never an address.
/// - Names and patterns read back as themselves.
/// - A wildcard stands for exactly one label, and a pattern that matches a name overlaps that name.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (Some(pattern), Some(name)) = (input.text_line(), input.text_line()) else {
        return;
    };
    let pattern = pattern.parse::<HostPattern>();
    if let Ok(pattern) = &pattern {
        assert_eq!(pattern.to_string().parse().as_ref(), Ok(pattern));
        check_name(pattern.base(), pattern.base().as_str());
    }
    let Ok(host) = name.parse::<HostName>() else {
        return;
    };
    check_name(&host, name);
    let Ok(pattern) = pattern else { return };
    let labels = |host: &HostName| host.as_str().split('.').count();
    let below = host
        .as_str()
        .strip_suffix(pattern.base().as_str())
        .is_some_and(|label| label.ends_with('.'));
    let want = match pattern.is_wildcard() {
        true => below && labels(&host) == labels(pattern.base()) + 1,
        false => host == *pattern.base(),
    };
    assert_eq!(pattern.matches(&host), want, "{pattern} and {host}");
    assert_eq!(pattern.overlaps(&HostPattern::from(host)), want);
}

fn check_name(host: &HostName, written: &str) {
    let bare = written.strip_suffix('.').unwrap_or(written);
    assert_eq!(
        host.as_str(),
        bare.to_ascii_lowercase(),
        "read from {written:?}"
    );
    assert!(host.as_str().len() <= HOST_BYTES_MAX && host.as_str().parse::<IpAddr>().is_err());
    assert!(
        host.as_str()
            .split('.')
            .all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))
    );
    assert_eq!(host.as_str().parse().as_ref(), Ok(host));
}
