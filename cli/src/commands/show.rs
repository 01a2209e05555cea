//! How text from elsewhere is shown: nothing an agent wrote can move the cursor, hide or look like ours.

use comfy_table::{ContentArrangement, Table, presets};

/// Text in which control characters, line ends and what turns the reading direction stand as escapes.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let hidden = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if hidden {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A plain table with the given head.
pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_agent_cannot_pretend() {
        let cases = [
            ("plain ü €", "plain ü €"),
            ("a\nApproved by root", "a\\u{a}Approved by root"),
            ("\u{1b}[2K", "\\u{1b}[2K"),
            ("1\u{202e}00", "1\\u{202e}00"),
            ("a\u{200b}b", "a\\u{200b}b"),
        ];
        for (given, want) in cases {
            assert_eq!(escaped(given), want, "{given:?}");
        }
    }
}
