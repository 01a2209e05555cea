use super::*;

#[test]
fn only_names_of_copies_are_taken_for_copies() {
    for (name, want) in [
        ("copy-00000001", true),
        ("copy-1", false),
        ("copy-0000000x", false),
        ("backup.json", false),
    ] {
        assert_eq!(is_copy(name), want, "{name}");
    }
}
