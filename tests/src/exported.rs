//! Exported logs taken apart and put together again, as whoever changes one does: with or without the keys to sign it anew.

use std::collections::BTreeMap;

use actpass_core::canonical;
use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::merkle::{Tree, leaf_hash};
use actpass_core::evidence::record::{Record, batch_message, stream_id};
use actpass_core::hash::{LeafHash, RecordHash, b64u_encode, hex, sha256};
use actpass_ledger::export::{First, Last};
use anyhow::Context;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

/// The parts of a file.
#[derive(Clone)]
pub struct Exported {
    /// Its first line.
    pub first: First,
    /// Lines of blobs and leaves.
    pub lines: Vec<Vec<u8>>,
    /// The signed checkpoint of its last line; none where that is missing.
    pub checkpoint: Option<String>,
}

/// The keys that a log was made with.
#[derive(Clone)]
pub struct Keys {
    /// Of its checkpoints.
    pub log: SigningKey,
    /// Of its streams.
    pub streams: Vec<SigningKey>,
}

impl Exported {
    /// Takes a file apart.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        let last: Last = serde_json::from_slice(&lines.pop().context("no last line")?)?;
        let first = serde_json::from_slice(&lines.remove(0))?;
        Ok(Self {
            first,
            lines,
            checkpoint: Some(last.checkpoint),
        })
    }

    /// The file, with its sum and its number of leaves as they are now.
    ///
    /// # Errors
    /// None: all its parts have JSON.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let leaves = u64::try_from(self.leaves().len())?;
        let first = First {
            leaves,
            ..self.first.clone()
        };
        let mut file = serde_json::to_vec(&first)?;
        file.push(b'\n');
        for line in &self.lines {
            file.extend(line);
            file.push(b'\n');
        }
        if let Some(checkpoint) = self.checkpoint.clone() {
            let sha256 = hex(&sha256(&[&file]));
            file.extend(serde_json::to_vec(&Last { checkpoint, sha256 })?);
            file.push(b'\n');
        }
        Ok(file)
    }

    /// Where its leaves stand among the lines.
    pub fn leaves(&self) -> Vec<usize> {
        let others: [&[u8]; 2] = [b"{\"blob\":", b"{\"disclosed\":"];
        let is_leaf = |line: &&Vec<u8>| !others.iter().any(|begin| line.starts_with(begin));
        let lines = self.lines.iter().enumerate();
        lines
            .filter_map(|(at, line)| is_leaf(&line).then_some(at))
            .collect()
    }

    /// A leaf as JSON.
    pub fn leaf(&self, seq: usize) -> Option<Value> {
        serde_json::from_slice(self.lines.get(*self.leaves().get(seq)?)?).ok()
    }

    /// Puts a leaf in the place of another.
    pub fn put(&mut self, seq: usize, leaf: &Value) {
        if let Some(line) = self
            .leaves()
            .get(seq)
            .and_then(|at| self.lines.get_mut(*at))
        {
            *line = text_of(leaf);
        }
    }

    /// The leaf of the first event or record of that kind, from `from` on.
    pub fn first_of(&self, kind: &str, from: usize) -> Option<usize> {
        let is = |seq: &usize| {
            let leaf = self.leaf(*seq);
            leaf.is_some_and(|leaf| leaf.pointer("/r/kind") == Some(&json!(kind)))
        };
        (from..self.leaves().len()).find(is)
    }

    /// Chains the leaves behind `from` anew, as whoever writes the log can; `records` too, with their batch signatures, as only
    /// whoever has the sidecars' keys can. The leaf `from` keeps its own link.
    pub fn rechain(&mut self, from: usize, records: Option<&Keys>) {
        let mut heads: BTreeMap<String, String> = BTreeMap::new();
        let (mut before, mut relinked) = (None::<LeafHash>, false);
        for seq in 0..self.leaves().len() {
            if let Some(mut leaf) = self.leaf(seq) {
                if let Some(before) = before.filter(|_| seq > from) {
                    set(&mut leaf, "/h/prev", json!(before.to_string()));
                }
                if let Some(keys) = records {
                    relinked |= seq == from;
                    relink(&mut leaf, &mut heads, relinked, seq == from, keys);
                }
                if seq > from || records.is_some() && seq == from {
                    self.put(seq, &leaf);
                }
            }
            before = self.line_of(seq).map(|line| leaf_hash(line));
        }
    }

    /// Numbers the leaves anew.
    pub fn renumber(&mut self) {
        for seq in 0..self.leaves().len() {
            if let Some(mut leaf) = self.leaf(seq) {
                set(&mut leaf, "/h/seq", json!(seq));
                self.put(seq, &leaf);
            }
        }
    }

    /// Signs the checkpoint over all leaves with this key.
    ///
    /// # Errors
    /// Where there is no such number of leaves.
    pub fn sign(&mut self, key: &SigningKey) -> anyhow::Result<()> {
        let mut tree = Tree::new();
        for at in self.leaves() {
            let line = self.lines.get(at).context("no such line")?;
            tree.push(leaf_hash(line));
        }
        let origin = self.first.log.clone();
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: tree.size(),
            root: tree.root(),
        };
        self.checkpoint = Some(checkpoint.sign(&NoteSigner::new(origin, key.clone())));
        Ok(())
    }

    fn line_of(&self, seq: usize) -> Option<&Vec<u8>> {
        self.lines.get(*self.leaves().get(seq)?)
    }
}

/// Makes a record continue its stream as it is now, and signs its batch anew where it was signed.
fn relink(
    leaf: &mut Value,
    heads: &mut BTreeMap<String, String>,
    anew: bool,
    keep_link: bool,
    keys: &Keys,
) {
    let Some(stream) = leaf.pointer("/r/stream").and_then(Value::as_str) else {
        return;
    };
    let stream = stream.to_owned();
    if let Some(head) = heads.get(&stream).filter(|_| anew && !keep_link) {
        let head = json!(head);
        set(leaf, "/r/prev", head);
    }
    let record = leaf.get("r").map(text_of).unwrap_or_default();
    let hash = Record::hash_of(&record);
    heads.insert(stream.clone(), hash.to_string());
    let key = keys
        .streams
        .iter()
        .find(|key| stream_id(&key.verifying_key()).to_string() == stream);
    if let (Some(key), true, Some(_)) = (key, anew, leaf.get("s")) {
        set(leaf, "/s", json!(batch_signature(key, &hash)));
    }
}

/// The signature of a batch that ends with that record.
pub fn batch_signature(key: &SigningKey, last: &RecordHash) -> String {
    let stream = stream_id(&key.verifying_key());
    b64u_encode(&key.sign(&batch_message(&stream, last)).to_bytes())
}

/// Sets what stands at a place, if there is such a place.
pub fn set(leaf: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = leaf.pointer_mut(pointer) {
        *place = value;
    }
}

/// Canonical where it has such a form; else JSON that is as near to it as can be.
pub fn text_of(value: &Value) -> Vec<u8> {
    canonical::to_vec(value)
        .or_else(|_| serde_json::to_vec(value))
        .unwrap_or_default()
}
