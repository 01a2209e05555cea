//! A JSON patch (RFC 6902) and the pod it leads to, made in one go.
//!
//! A difference computed afterwards would rewrite every init container behind the three that come first; we know what
//! we change. The patch touches nothing else, so what we do not know stays as it is.

use serde_json::{Map, Value, json};

use crate::path::{Path, Step};

/// The operations in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch(Vec<Operation>);

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    kind: Kind,
    path: Path,
    value: Value,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    Replace,
    Remove,
}

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Without it the pod is not fenced: validation refuses a pod that still needs it.
    Fence,
    /// So that agents work without a change.
    Comfort,
}

/// The pod under change and what was done to it.
#[derive(Debug)]
pub(crate) struct Editor {
    pod: Value,
    operations: Vec<Operation>,
}

impl Patch {
    /// Whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON: an array of operations.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(Operation::to_json).collect()
    }

    /// Where the pod is not fenced yet.
    pub(crate) fn fence(&self) -> impl Iterator<Item = &Path> {
        let fence = |operation: &&Operation| operation.purpose == Purpose::Fence;
        self.0.iter().filter(fence).map(|operation| &operation.path)
    }
}

impl Operation {
    fn to_json(&self) -> Value {
        let path = self.path.pointer();
        match self.kind {
            Kind::Add => json!({"op": "add", "path": path, "value": self.value}),
            Kind::Replace => json!({"op": "replace", "path": path, "value": self.value}),
            Kind::Remove => json!({"op": "remove", "path": path}),
        }
    }
}

impl Editor {
    pub(crate) fn new(pod: &Value) -> Editor {
        Editor {
            pod: pod.clone(),
            operations: Vec::new(),
        }
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.pod
    }

    pub(crate) fn finish(self) -> (Value, Patch) {
        (self.pod, Patch(self.operations))
    }

    /// Sets a member, and makes the objects it is in where they are missing or null.
    pub(crate) fn set(&mut self, path: &Path, value: Value, purpose: Purpose) {
        match self.find(path) {
            Some(found) if *found == value => return,
            Some(_) => return self.apply(Kind::Replace, path.clone(), value, purpose),
            None => {}
        }
        match path.split() {
            Some((parent, Step::Key(key))) if !self.is_object(&parent) => {
                self.set(&parent, json!({ key.clone(): value }), purpose);
            }
            _ => self.apply(Kind::Add, path.clone(), value, purpose),
        }
    }

    /// Sets members of an object, in one operation where there is no such object yet.
    pub(crate) fn merge(&mut self, path: &Path, members: Map<String, Value>, purpose: Purpose) {
        if members.is_empty() {
            return;
        }
        if !self.is_object(path) {
            return self.set(path, Value::Object(members), purpose);
        }
        for (key, value) in members {
            self.set(&path.key(&key), value, purpose);
        }
    }

    /// Adds elements at the end of a list, in one operation where there is no such list yet.
    pub(crate) fn append(&mut self, path: &Path, items: Vec<Value>, purpose: Purpose) {
        if items.is_empty() {
            return;
        }
        if !self.find(path).is_some_and(Value::is_array) {
            return self.set(path, Value::Array(items), purpose);
        }
        for item in items {
            self.apply(Kind::Add, path.end(), item, purpose);
        }
    }

    /// Adds elements at the start of a list.
    pub(crate) fn prepend(&mut self, path: &Path, items: Vec<Value>, purpose: Purpose) {
        if !self.find(path).is_some_and(Value::is_array) {
            return self.set(path, Value::Array(items), purpose);
        }
        for (index, item) in items.into_iter().enumerate() {
            self.apply(Kind::Add, path.index(index), item, purpose);
        }
    }

    /// Removes the elements for which `which` says so.
    pub(crate) fn remove_where(
        &mut self,
        path: &Path,
        which: impl Fn(&Value) -> bool,
        purpose: Purpose,
    ) {
        let items = self.find(path).and_then(Value::as_array);
        let found: Vec<usize> = items
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(_, item)| which(item))
            .map(|(index, _)| index)
            .collect();
        // From the end, so that the places of the others still hold.
        for index in found.into_iter().rev() {
            self.apply(Kind::Remove, path.index(index), Value::Null, purpose);
        }
    }

    /// The value there, unless it is absent. A null that stands there is found.
    fn find(&self, path: &Path) -> Option<&Value> {
        path.steps()
            .iter()
            .try_fold(&self.pod, |value, step| match step {
                Step::Key(key) => value.get(key),
                Step::Index(index) => value.get(index),
                Step::End => None,
            })
    }

    fn is_object(&self, path: &Path) -> bool {
        self.find(path).is_some_and(Value::is_object)
    }

    fn apply(&mut self, kind: Kind, path: Path, value: Value, purpose: Purpose) {
        if change(&mut self.pod, kind, &path, &value).is_some() {
            self.operations.push(Operation {
                kind,
                path,
                value,
                purpose,
            });
        }
    }
}

/// Does one operation; nothing where its place does not exist.
fn change(pod: &mut Value, kind: Kind, path: &Path, value: &Value) -> Option<()> {
    let (parent, last) = path.split()?;
    let parent = parent
        .steps()
        .iter()
        .try_fold(pod, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
            Step::End => None,
        })?;
    match (kind, last) {
        (Kind::Add | Kind::Replace, Step::Key(key)) => {
            parent.as_object_mut()?.insert(key.clone(), value.clone());
        }
        (Kind::Remove, Step::Key(key)) => {
            parent.as_object_mut()?.remove(key)?;
        }
        (Kind::Add, Step::End) => parent.as_array_mut()?.push(value.clone()),
        (Kind::Add, Step::Index(index)) => {
            let items = parent.as_array_mut()?;
            (*index <= items.len()).then(|| items.insert(*index, value.clone()))?;
        }
        (Kind::Replace, Step::Index(index)) => *parent.get_mut(index)? = value.clone(),
        (Kind::Remove, Step::Index(index)) => {
            let items = parent.as_array_mut()?;
            (*index < items.len()).then(|| items.remove(*index))?;
        }
        (Kind::Replace | Kind::Remove, Step::End) => return None,
    }
    Some(())
}
