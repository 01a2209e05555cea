//! The keys of one tenant's texts: side frames and kept requests.
//!
//! A text's key is made of two, and gone with either: that of the month in which it was sealed, and, where it is about
//! somebody, that of the subject. Both come from trees ([`super::tree`]), so sealing writes nothing, and what is destroyed is nowhere
//! but in copies of this file that were made before.
//!
//! A subject's keys have generations: each erasure of a subject begins another, so that what comes later can be read.

use std::collections::BTreeMap;

use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::DigestMac;
use actpass_core::state::ERASURES_MAX;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use super::VaultError;
use super::cipher::{self, Key};
use super::tree::Tree;

/// Months since the year 0, in 16 bits: up to the year 5461.
const MONTH_LEVELS: u8 = 16;

/// Eight bytes of a subject's MAC, then a generation. Of ten million subjects of a tenant two share eight bytes with a chance
/// of 3 in a million, and then the texts of both go together. Nobody without the tenant's key can look for such two.
const SUBJECT_LEVELS: u8 = 64 + 16;

/// Most generations: the erasures of a log are bounded by less.
const GENERATION_MAX: u16 = u16::MAX;

/// First byte of a text whose key is made as said above.
const NAMED_VERSION: u8 = 2;

/// What a text is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// When it was recorded.
    pub at: Timestamp,
    /// Under the tenant's key; none where the text is about nobody in particular.
    pub subject: Option<DigestMac>,
}

/// What is to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doomed {
    /// Everything that was kept of a subject until now.
    Subject(DigestMac),
    /// Everything of the months before that of this instant.
    Before(Timestamp),
}

/// Which key a sealed text is under, as its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName {
    /// Months since the year 0.
    month: u16,
    /// Tag and generation.
    subject: Option<([u8; 8], u16)>,
}

/// Why a text has no key any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its subject was erased. These are the first bytes of the subject's MAC.
    Subject([u8; 8]),
    /// Its month was.
    Month,
}

impl KeyName {
    /// The key that a sealed text names, and what follows the name.
    pub(super) fn split(sealed: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = sealed.split_first_chunk::<4>()?;
        let [NAMED_VERSION, high, low, about] = *head else {
            return None;
        };
        let month = u16::from_be_bytes([high, low]);
        match about {
            0 => Some((
                Self {
                    month,
                    subject: None,
                },
                rest,
            )),
            1 => {
                let (tag, rest) = rest.split_first_chunk::<8>()?;
                let (generation, rest) = rest.split_first_chunk::<2>()?;
                let subject = Some((*tag, u16::from_be_bytes(*generation)));
                Some((Self { month, subject }, rest))
            }
            _ => None,
        }
    }

    /// The key that a sealed text names.
    pub fn of(sealed: &[u8]) -> Option<Self> {
        Self::split(sealed).map(|(name, _)| name)
    }

    /// Whether that is among what is to be destroyed.
    pub fn is_among(&self, doomed: &Doomed) -> bool {
        match doomed {
            Doomed::Subject(mac) => self.subject.is_some_and(|(found, _)| found == tag(mac)),
            Doomed::Before(before) => self.month < month(*before),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![NAMED_VERSION];
        bytes.extend_from_slice(&self.month.to_be_bytes());
        bytes.push(u8::from(self.subject.is_some()));
        if let Some((tag, generation)) = self.subject {
            bytes.extend_from_slice(&tag);
            bytes.extend_from_slice(&generation.to_be_bytes());
        }
        bytes
    }
}

/// What a log says is destroyed. A vault that was put back from before has the keys still, until a ledger starts on it.
#[derive(Clone, Debug, Default)]
pub struct Destroyed {
    /// The last generation that is gone, by tag.
    subjects: BTreeMap<[u8; 8], u64>,
    /// The first month that is not.
    before: u16,
}

impl Destroyed {
    /// Takes in an event.
    ///
    /// # Errors
    /// Of more subjects than a log can have erased.
    pub fn event(&mut self, event: &EventBody) -> Result<(), VaultError> {
        let EventBody::Erasure {
            subject,
            generation,
            before,
            ..
        } = event
        else {
            return Ok(());
        };
        if let Some(before) = before {
            self.before = self.before.max(month(*before));
        }
        if let Some(subject) = subject {
            let gone = self.subjects.entry(tag(subject)).or_default();
            // An erasure of a subject names a generation; one that does not is of all that there can be.
            *gone = (*gone).max(generation.unwrap_or(u64::MAX));
        }
        match self.subjects.len() > ERASURES_MAX {
            true => Err(too_many_erased()),
            false => Ok(()),
        }
    }

    /// Whether the key of that name is among them.
    pub fn holds(&self, name: &KeyName) -> bool {
        let subject = name.subject.is_some_and(|(tag, generation)| {
            let gone = self.subjects.get(&tag);
            gone.is_some_and(|gone| u64::from(generation) <= *gone)
        });
        subject || name.month < self.before
    }
}

fn too_many_erased() -> VaultError {
    VaultError::TooMany {
        what: "erased subjects",
        max: ERASURES_MAX,
    }
}

/// The keys of one tenant's texts.
#[derive(Clone)]
pub(super) struct TextKeys {
    months: Tree,
    subjects: Tree,
    generation: u16,
    /// What was destroyed and may not be in the log yet, oldest first.
    unrecorded: Vec<EventBody>,
}

impl TextKeys {
    /// The keys of a tenant that is new.
    pub(super) fn new() -> Result<Self, VaultError> {
        Ok(Self {
            months: Tree::whole(MONTH_LEVELS, cipher::new_key()?),
            subjects: Tree::whole(SUBJECT_LEVELS, cipher::new_key()?),
            generation: 0,
            unrecorded: Vec::new(),
        })
    }

    /// The name of the key for a text that is sealed now.
    pub(super) fn name(&self, about: &About) -> KeyName {
        KeyName {
            month: month(about.at),
            subject: about.subject.map(|mac| (tag(&mac), self.generation)),
        }
    }

    /// The key of that name.
    ///
    /// # Errors
    /// Why there is none any more.
    pub(super) fn key(&self, name: &KeyName) -> Result<Key, Gone> {
        let month = self.months.key(u128::from(name.month)).ok_or(Gone::Month)?;
        let subject = match name.subject {
            None => Zeroizing::new([0; 32]),
            Some((tag, generation)) => {
                let leaf = leaf(&tag, generation);
                self.subjects.key(leaf).ok_or(Gone::Subject(tag))?
            }
        };
        Ok(cipher::mac(
            &month,
            b"actpass.text-key/1\0",
            subject.as_ref(),
        ))
    }

    /// Destroys keys; the event that says so is remembered until it is in the log. None where no month was left.
    ///
    /// # Errors
    /// The tree would be too large.
    pub(super) fn destroy(
        &mut self,
        doomed: &Doomed,
        event: impl FnOnce(Option<u64>) -> EventBody,
    ) -> Result<Option<EventBody>, VaultError> {
        let event = match doomed {
            Doomed::Subject(_) => {
                let gone = self.generation;
                let next = gone.checked_add(1).filter(|next| *next < GENERATION_MAX);
                self.gone(doomed, gone);
                self.generation = next.ok_or_else(too_many_erased)?;
                if self.subjects.len() > HELD_MAX {
                    return Err(too_many_erased());
                }
                event(Some(u64::from(gone)))
            }
            Doomed::Before(_) => {
                if !self.gone(doomed, 0) {
                    return Ok(None);
                }
                event(None)
            }
        };
        self.unrecorded.push(event.clone());
        Ok(Some(event))
    }

    /// Destroys what the log says is destroyed, where these keys are from before. Whether there was anything of it.
    pub(super) fn follow(&mut self, doomed: &Doomed, generation: Option<u64>) -> bool {
        let generation = generation.map_or(0, |it| u16::try_from(it).unwrap_or(GENERATION_MAX));
        let behind = matches!(doomed, Doomed::Subject(_)) && self.generation <= generation;
        if behind {
            self.generation = generation.saturating_add(1);
        }
        self.gone(doomed, generation) || behind
    }

    fn gone(&mut self, doomed: &Doomed, generation: u16) -> bool {
        let (tree, leaves) = match doomed {
            Doomed::Subject(mac) => {
                let tag = tag(mac);
                (&mut self.subjects, leaf(&tag, 0)..=leaf(&tag, generation))
            }
            Doomed::Before(before) => {
                let Some(last) = month(*before).checked_sub(1) else {
                    return false;
                };
                (&mut self.months, 0..=u128::from(last))
            }
        };
        let any = tree.any(&leaves);
        tree.destroy(&leaves);
        any
    }

    /// What was destroyed and may not be in the log yet.
    pub(super) fn unrecorded(&self) -> &[EventBody] {
        &self.unrecorded
    }

    /// Forgets what is in the log; whether it knew any of it.
    pub(super) fn recorded(&mut self, is_in_log: impl Fn(&EventBody) -> bool) -> bool {
        let before = self.unrecorded.len();
        self.unrecorded.retain(|event| !is_in_log(event));
        self.unrecorded.len() < before
    }

    /// As they lie in their file, encrypted as a whole: the generation, each tree behind its length, and the events as JSON.
    pub(super) fn to_vec(&self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let encode = |error: String| VaultError::Encode(error);
        let events = serde_json::to_vec(&self.unrecorded);
        let events = events.map_err(|error| encode(error.to_string()))?;
        let trees = [self.months.bytes(), self.subjects.bytes()];
        // All at once, as a vector that grows leaves copies of the keys behind.
        let length = trees.iter().map(|tree| 4 + tree.len()).sum::<usize>() + 2 + events.len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        for tree in &trees {
            let length = u32::try_from(tree.len()).map_err(|error| encode(error.to_string()))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(tree);
        }
        bytes.extend_from_slice(&events);
        Ok(bytes)
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let tree = |levels, bytes| {
            let (length, rest) = <[u8]>::split_first_chunk::<4>(bytes)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (tree, rest) = rest.split_at_checked(length)?;
            Some((Tree::read(levels, tree)?, rest))
        };
        let (generation, rest) = bytes.split_first_chunk::<2>()?;
        let (months, rest) = tree(MONTH_LEVELS, rest)?;
        let (subjects, rest) = tree(SUBJECT_LEVELS, rest)?;
        Some(Self {
            months,
            subjects,
            generation: u16::from_be_bytes(*generation),
            unrecorded: serde_json::from_slice(rest).ok()?,
        })
    }
}

/// Most keys of subjects that are held: each erasure leaves one per level.
const HELD_MAX: usize = ERASURES_MAX * SUBJECT_LEVELS as usize;

/// Under which a subject's keys stand.
pub(super) fn tag(mac: &DigestMac) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *mac.as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn leaf(tag: &[u8; 8], generation: u16) -> u128 {
    u128::from(u64::from_be_bytes(*tag)) << 16 | u128::from(generation)
}

fn month(at: Timestamp) -> u16 {
    let date = at.to_zoned(TimeZone::UTC).date();
    let months = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
    u16::try_from(months.max(0)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
