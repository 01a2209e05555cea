//! Places in a pod, as people write them and as a JSON patch does.

use std::fmt;

/// A place in a JSON document. `Display` writes `spec.containers[1].securityContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
    /// Behind the last element, as the target of an addition.
    End,
}

impl Path {
    /// The place of these members, each in the one before; no members: the document itself.
    pub(crate) fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Path {
        Path(
            keys.into_iter()
                .map(|key| Step::Key(key.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn key(&self, key: &str) -> Path {
        self.with(Step::Key(key.to_owned()))
    }

    /// A member of a member.
    pub(crate) fn keys<const N: usize>(&self, keys: [&str; N]) -> Path {
        keys.iter().fold(self.clone(), |path, key| path.key(key))
    }

    pub(crate) fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    pub(crate) fn end(&self) -> Path {
        self.with(Step::End)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Where this is in, and the last step; nothing for the document itself.
    pub(crate) fn split(&self) -> Option<(Path, &Step)> {
        let (last, rest) = self.0.split_last()?;
        Some((Path(rest.to_vec()), last))
    }

    /// As a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            text.push('/');
            match step {
                Step::Key(key) => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => text.push_str(&index.to_string()),
                Step::End => text.push('-'),
            }
        }
        text
    }

    fn with(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }
}

/// Keys that are no plain words stand in brackets: `metadata.labels[actpass.org/enforced]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    write!(f, "{}{key}", if at == 0 { "" } else { "." })?;
                }
                Step::Key(key) => write!(f, "[{}]", actpass_core::canonical::excerpt(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::End => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_two_spellings() {
        let label = Path::of(["metadata", "labels", "a.b/c~d"]);
        assert_eq!(label.to_string(), "metadata.labels[a.b/c~d]");
        assert_eq!(label.pointer(), "/metadata/labels/a.b~1c~0d");
        let env = Path::of(["spec", "containers"]).index(1).key("env").end();
        assert_eq!(env.to_string(), "spec.containers[1].env[]");
        assert_eq!(env.pointer(), "/spec/containers/1/env/-");
    }
}
