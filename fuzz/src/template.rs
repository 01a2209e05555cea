//! Path templates, against a matcher that follows their definition word by word.

use actpass_core::path::{DecodedPath, PathTemplate};

use crate::input::Input;

/// Input: two templates and a raw path, a line each.
///
/// - A template prints as it was written, and matches exactly what its definition says.
/// - Two templates that match one path overlap; their ranks are a total order.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (Some(left), Some(right), Some(raw)) =
        (input.text_line(), input.text_line(), input.text_line())
    else {
        return;
    };
    let (Ok(one), Ok(other)) = (left.parse::<PathTemplate>(), right.parse::<PathTemplate>()) else {
        return;
    };
    assert_eq!(
        (one.to_string().as_str(), other.to_string().as_str()),
        (left, right)
    );
    assert_eq!(
        one.cmp_specificity(&other),
        other.cmp_specificity(&one).reverse()
    );
    assert_eq!(one.overlaps(&other), other.overlaps(&one));
    assert!(one.overlaps(&one));
    let Ok(path) = DecodedPath::parse(raw) else {
        return;
    };
    for (text, template) in [(left, &one), (right, &other)] {
        let params = template.matches(&path);
        assert_eq!(
            params.is_some(),
            by_definition(text, path.segments()),
            "{text} and {path}"
        );
        let Some(params) = params else { continue };
        assert!(params.keys().map(String::as_str).eq({
            let mut names: Vec<_> = template.param_names().collect();
            names.sort_unstable();
            names
        }));
        assert!(params.values().all(|value| path.segments().contains(value)));
    }
    if one.matches(&path).is_some() && other.matches(&path).is_some() {
        assert!(one.overlaps(&other), "both match {path}");
    }
}

fn by_definition(template: &str, path: &[String]) -> bool {
    let wanted: Vec<_> = template
        .split('/')
        .skip(1)
        .filter(|segment| !segment.is_empty())
        .collect();
    match wanted.split_last() {
        Some((&"**", before)) => path.len() > before.len() && fits(before, &path[..before.len()]),
        _ => path.len() == wanted.len() && fits(&wanted, path),
    }
}

fn fits(wanted: &[&str], path: &[String]) -> bool {
    wanted
        .iter()
        .zip(path)
        .all(|(wanted, found)| *wanted == "*" || wanted.starts_with('{') || wanted == found)
}
