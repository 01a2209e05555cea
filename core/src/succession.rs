//! Public keys that follow one another, and which of them count: the lists of ConfigMap `actpass-trust`, which session streams
//! carry too.
//!
//! One line for each key, oldest first, with one space between words:
//!
//! `KEY [from=TIME] [by=SIGNATURE] [ended]`
//!
//! `KEY` is an Ed25519 public key, base64url. `from` is when it is first used: whoever follows the list has heard of it by
//! then. `by` is made with the key of the line before, so that who holds that one needs nobody else's word for this one.
//! What was signed with a key that has `ended` counts no more; its line stays, since later keys lead back to it.
//!
//! *Guarantees*: a list is read whole or not at all, and never longer than [`KEYS_MAX`] lines.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::{SignedDuration, Timestamp};

use crate::canonical::excerpt;
use crate::hash::{b64u_decode_array, b64u_encode};
use crate::public_key;

/// Most lines. A key that is exchanged every quarter leads back four years.
pub const KEYS_MAX: usize = 16;

/// Annotation of ConfigMap `actpass-trust`: when another key for passports was asked for, RFC 3339.
pub const ROTATE_ISSUER: &str = "actpass.org/rotate-issuer";
/// Annotation of ConfigMap `actpass-trust`: when another key for votes was asked for.
pub const ROTATE_VOTES: &str = "actpass.org/rotate-votes";
/// Annotation of ConfigMap `actpass-trust`: when another key for checkpoints was asked for.
pub const ROTATE_CHECKPOINTS: &str = "actpass.org/rotate-checkpoints";
/// Annotation of ConfigMap `actpass-trust`: when another authority was asked for.
pub const ROTATE_AUTHORITY: &str = "actpass.org/rotate-authority";

/// By how much a clock may run ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What keys are for. One list says nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Passports are signed with them.
    Passports,
    /// Checkpoints are.
    Checkpoints,
    /// Votes are.
    Votes,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Passports => "passports",
            Self::Checkpoints => "checkpoints",
            Self::Votes => "votes",
        }
    }
}

/// One key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: VerifyingKey,
    /// When it is first used, to the second; nothing for keys that were there before anybody asked.
    pub from: Option<Timestamp>,
    /// By the key of the line before, over purpose, key and time.
    pub by: Option<Signature>,
    /// Whether what it signed counts no more.
    pub ended: bool,
}

/// A list. By default it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Succession(Vec<Listed>);

/// A text that is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SuccessionError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A key for which the one before does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key listed last did not sign for it")]
pub struct Unvouched;

/// When keys follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// For how long a key is used before another follows by itself; nothing where that is asked for only.
    pub age: Option<SignedDuration>,
    /// How long before its use a key is listed.
    pub notice: SignedDuration,
    /// How long after its successor's first use a key ends: what it signed last has to be over by then.
    pub overlap: SignedDuration,
}

impl Rhythm {
    /// When a key that is listed now is first used: to the second, upwards, so that the notice is never shorter.
    pub fn first_use(&self, now: Timestamp) -> Timestamp {
        let from = now.as_second() + self.notice.as_secs() + 1;
        Timestamp::from_second(from).unwrap_or(now)
    }
}

impl Succession {
    /// Its lines, oldest first.
    pub fn lines(&self) -> &[Listed] {
        &self.0
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line of a key.
    pub fn get(&self, key: &VerifyingKey) -> Option<&Listed> {
        self.0.iter().find(|listed| listed.key == *key)
    }

    /// The keys that count: those in use, coming into use, and going out of it.
    pub fn believed(&self) -> impl Iterator<Item = &VerifyingKey> {
        let counting = self.0.iter().filter(|listed| !listed.ended);
        counting.map(|listed| &listed.key)
    }

    /// The key to sign with.
    pub fn in_use(&self, now: Timestamp) -> Option<&VerifyingKey> {
        let mut counting = self.0.iter().rev().filter(|listed| !listed.ended);
        let found = counting.find(|listed| listed.from.is_none_or(|from| from <= now));
        found.map(|listed| &listed.key)
    }

    /// Of the keys that count, those to believe for who holds some of the list: these, and what leads back to them by
    /// signatures.
    pub fn led_to(
        &self,
        purpose: Purpose,
        holds: impl Fn(&VerifyingKey) -> bool,
    ) -> Vec<VerifyingKey> {
        let mut before: Option<&VerifyingKey> = None;
        let mut found = Vec::new();
        for listed in &self.0 {
            let follows = before.is_some_and(|before| listed.follows(before, purpose));
            before = (holds(&listed.key) || follows).then_some(&listed.key);
            if before.is_some() && !listed.ended {
                found.push(listed.key);
            }
        }
        found
    }

    /// Whether another key is due. `asked`: when somebody asked for one last.
    pub fn is_due(&self, rhythm: Rhythm, asked: Option<Timestamp>, now: Timestamp) -> bool {
        let Some(newest) = self.0.last() else {
            return true;
        };
        let from = newest.from.unwrap_or(Timestamp::MIN);
        if now < from {
            return false;
        }
        // A wish of the future would be one without end.
        let horizon = now.checked_add(SKEW).unwrap_or(now);
        let asked = asked.is_some_and(|asked| from < asked && asked <= horizon);
        let old = |age| newest.from.is_some() && now.duration_since(from) >= age;
        asked || rhythm.age.is_some_and(old)
    }

    /// Puts a key at the end, where it is not listed yet: used at once if it is the first, else after the notice. `by` is the
    /// private key of the line before, if the caller has it.
    pub fn put(
        &mut self,
        key: VerifyingKey,
        purpose: Purpose,
        by: Option<&SigningKey>,
        rhythm: Rhythm,
        now: Timestamp,
    ) {
        if self.get(&key).is_some() {
            return;
        }
        let from = match self.0.is_empty() {
            true => Timestamp::from_second(now.as_second()).unwrap_or(now),
            false => rhythm.first_use(now),
        };
        let before = self.0.last().map(|listed| listed.key);
        let by = by.filter(|by| Some(by.verifying_key()) == before);
        let by = by.map(|by| vouch(by, purpose, &key, from));
        self.push(key, from, by);
    }

    /// Puts a key at the end for which the holder of the key before has signed, first used at `from`.
    ///
    /// # Errors
    /// `by` is no such signature; then nothing changes.
    pub fn put_vouched(
        &mut self,
        key: VerifyingKey,
        purpose: Purpose,
        from: Timestamp,
        by: Option<Signature>,
    ) -> Result<(), Unvouched> {
        let listed = Listed {
            key,
            from: Some(from),
            by,
            ended: false,
        };
        let before = self.0.last().ok_or(Unvouched)?;
        if !listed.follows(&before.key, purpose) {
            return Err(Unvouched);
        }
        self.push(key, from, by);
        Ok(())
    }

    fn push(&mut self, key: VerifyingKey, from: Timestamp, by: Option<Signature>) {
        self.0.push(Listed {
            key,
            from: Some(from),
            by,
            ended: false,
        });
        let over = self.0.len().saturating_sub(KEYS_MAX);
        self.0.drain(..over);
    }

    /// Ends the keys whose successors are in use for the overlap.
    pub fn end(&mut self, rhythm: Rhythm, now: Timestamp) {
        let mut newer: Option<Timestamp> = None;
        for listed in self.0.iter_mut().rev() {
            let over = newer.and_then(|from| from.checked_add(rhythm.overlap).ok());
            listed.ended |= over.is_some_and(|over| over <= now);
            newer = listed.from.or(newer);
        }
    }
}

impl Listed {
    /// Whether `before` vouches for it.
    fn follows(&self, before: &VerifyingKey, purpose: Purpose) -> bool {
        let (Some(by), Some(from)) = (&self.by, self.from) else {
            return false;
        };
        let signed = signed(purpose, &self.key, from);
        before.verify_strict(&signed, by).is_ok()
    }
}

/// `by` of a line, made with the key of the line before.
pub fn vouch(
    before: &SigningKey,
    purpose: Purpose,
    key: &VerifyingKey,
    from: Timestamp,
) -> Signature {
    before.sign(&signed(purpose, key, from))
}

/// What `by` covers: `actpass.key/1\0`, purpose, key and time, with a zero byte between.
fn signed(purpose: Purpose, key: &VerifyingKey, from: Timestamp) -> Vec<u8> {
    let (key, from) = (b64u_encode(key.as_bytes()), from.to_string());
    ["actpass.key/1", purpose.name(), &key, &from]
        .join("\0")
        .into_bytes()
}

impl FromStr for Succession {
    type Err = SuccessionError;

    fn from_str(text: &str) -> Result<Self, SuccessionError> {
        let mut seen = BTreeSet::new();
        let mut listed = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let wrong = |what: String| SuccessionError {
                line: at.saturating_add(1),
                what,
            };
            if line.trim().is_empty() {
                continue;
            }
            let one = line.parse::<Listed>().map_err(wrong)?;
            if !seen.insert(*one.key.as_bytes()) {
                return Err(wrong("the key is listed twice".to_owned()));
            }
            listed.push(one);
            if listed.len() > KEYS_MAX {
                return Err(wrong(format!("more than {KEYS_MAX} keys")));
            }
        }
        Ok(Self(listed))
    }
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let key = words.next().unwrap_or_default();
        let mut listed = Self {
            key: public_key::read(key).ok_or("no Ed25519 public key in base64url")?,
            from: None,
            by: None,
            ended: false,
        };
        for word in words {
            let known = match word.split_once('=') {
                Some(("from", time)) if listed.from.is_none() => {
                    listed.from = time.parse().ok();
                    listed.from.is_some()
                }
                Some(("by", signature)) if listed.by.is_none() => {
                    let bytes = b64u_decode_array(signature).ok();
                    listed.by = bytes.map(|bytes| Signature::from_bytes(&bytes));
                    listed.by.is_some()
                }
                None if word == "ended" && !listed.ended => {
                    listed.ended = true;
                    true
                }
                _ => false,
            };
            if !known {
                return Err(format!(
                    "`{}` is none of `from=TIME`, `by=SIGNATURE` and `ended`",
                    excerpt(word)
                ));
            }
        }
        Ok(listed)
    }
}

impl Display for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|listed| writeln!(f, "{listed}"))
    }
}

impl Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&b64u_encode(self.key.as_bytes()))?;
        if let Some(from) = self.from {
            write!(f, " from={from}")?;
        }
        if let Some(by) = &self.by {
            write!(f, " by={}", b64u_encode(&by.to_bytes()))?;
        }
        match self.ended {
            true => f.write_str(" ended"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        age: Some(SignedDuration::from_hours(90 * 24)),
        notice: SignedDuration::from_mins(2),
        overlap: SignedDuration::from_mins(65),
    };

    fn private(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(seed: u8) -> VerifyingKey {
        private(seed).verifying_key()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-05-{text}Z").parse().unwrap()
    }

    /// Three keys, each made a day after the one before.
    fn three() -> Succession {
        let mut list = Succession::default();
        list.put(
            public(1),
            Purpose::Passports,
            None,
            RHYTHM,
            at("01T10:00:00.5"),
        );
        for (seed, day) in [(2, "02T10:00:00.5"), (3, "03T10:00:00.5")] {
            let before = private(seed - 1);
            list.put(
                public(seed),
                Purpose::Passports,
                Some(&before),
                RHYTHM,
                at(day),
            );
        }
        list
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let mut list = three();
        list.end(RHYTHM, at("02T12:00:00"));
        let text = list.to_string();
        assert_eq!(text.parse::<Succession>().unwrap(), list, "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].ends_with(" from=2026-05-01T10:00:00Z ended"),
            "{text}"
        );
        assert!(
            lines[1].contains(" from=2026-05-02T10:02:01Z by="),
            "{text}"
        );
        let plain = b64u_encode(public(1).as_bytes());
        let one: Succession = format!("\n {plain} \n").parse().unwrap();
        assert_eq!(one.to_string(), format!("{plain}\n"));
        assert!("".parse::<Succession>().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_told_by_its_line() {
        let one = b64u_encode(public(1).as_bytes());
        for (name, text, line) in [
            ("short", format!("{one}\nAAAA"), 2),
            ("padded", format!("{one}="), 1),
            ("weak", b64u_encode(&[0; 32]), 1),
            ("twice", format!("{one}\n\n{one} ended"), 3),
            ("a word too many", format!("{one} revoked"), 1),
            ("a word twice", format!("{one} ended ended"), 1),
            ("no time", format!("{one} from=yesterday"), 1),
            ("no signature", format!("{one} by=AAAA"), 1),
        ] {
            let error = text.parse::<Succession>().unwrap_err();
            assert_eq!(error.line, line, "{name}: {error}");
        }
        let many: Vec<String> = (1..=17)
            .map(|seed| b64u_encode(public(seed).as_bytes()))
            .collect();
        assert_eq!(many.join("\n").parse::<Succession>().unwrap_err().line, 17);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_list_that_is_written_as_it_is_read_or_an_error(
            lines in proptest::collection::vec((0_u8..6, "( from=2026-05-0[0-9]T10:00:00Z| ended| by=A{86}| [a-z=]{1,9}){0,3}"), 0..5),
        ) {
            let lines = lines.into_iter();
            let lines: Vec<String> = lines
                .map(|(seed, words)| format!("{}{words}", b64u_encode(public(seed).as_bytes())))
                .collect();
            if let Ok(list) = lines.join("\n").parse::<Succession>() {
                assert_eq!(list.to_string().parse(), Ok(list));
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,200}") {
            drop(text.parse::<Succession>());
        }
    }

    #[test]
    fn a_key_is_used_from_its_time_on_and_ends_after_its_successor_was_for_the_overlap() {
        let list = three();
        for (now, used, believed) in [
            ("01T10:00:01", 1, &[1, 2, 3][..]),
            ("02T10:02:00", 1, &[1, 2, 3]),
            ("02T10:02:01", 2, &[1, 2, 3]),
            ("02T11:07:00", 2, &[1, 2, 3]),
            ("02T11:07:01", 2, &[2, 3]),
            ("03T10:02:01", 3, &[2, 3]),
            ("03T11:07:01", 3, &[3]),
        ] {
            let mut list = list.clone();
            list.end(RHYTHM, at(now));
            assert_eq!(list.in_use(at(now)), Some(&public(used)), "{now}");
            let want: Vec<VerifyingKey> = believed.iter().map(|seed| public(*seed)).collect();
            assert_eq!(list.believed().copied().collect::<Vec<_>>(), want, "{now}");
        }
    }

    #[test]
    fn who_holds_one_key_is_led_to_those_after_it_and_to_no_other() {
        let mut list = three();
        list.end(RHYTHM, at("02T12:00:00"));
        let led = |list: &Succession, purpose, seed| {
            let found = list.led_to(purpose, |key| *key == public(seed));
            let seeds = (0..9).filter(|seed| found.contains(&public(*seed)));
            seeds.collect::<Vec<u8>>()
        };
        assert_eq!(
            led(&list, Purpose::Passports, 1),
            [2, 3],
            "the first has ended"
        );
        assert_eq!(led(&list, Purpose::Passports, 2), [2, 3]);
        assert_eq!(led(&list, Purpose::Passports, 3), [3]);
        assert_eq!(led(&list, Purpose::Passports, 4), [0; 0]);
        assert_eq!(led(&list, Purpose::Votes, 2), [2], "signed for passports");
        let text = list.to_string();
        let moved = text.replace("from=2026-05-03", "from=2026-05-04");
        assert_eq!(led(&moved.parse().unwrap(), Purpose::Passports, 1), [2]);
        let lines: Vec<&str> = text.lines().collect();
        let [one, two, three] = lines[..] else {
            panic!()
        };
        let left_out = format!("{one}\n{three}").parse().unwrap();
        assert_eq!(led(&left_out, Purpose::Passports, 1), [0; 0]);
        let forged = three.split(" by=").next().unwrap();
        let forged = format!("{one}\n{two}\n{forged}").parse().unwrap();
        assert_eq!(led(&forged, Purpose::Passports, 1), [2]);
    }

    #[test]
    fn a_key_of_another_part_is_listed_where_the_one_before_signed_for_it() {
        let mut list = Succession::default();
        let (purpose, from) = (Purpose::Checkpoints, at("01T10:02:01"));
        let by =
            |seed, purpose, key, from| Some(vouch(&private(seed), purpose, &public(key), from));
        let put = |list: &mut Succession, by| list.put_vouched(public(2), purpose, from, by);
        assert_eq!(put(&mut list, None), Err(Unvouched), "nothing before it");
        list.put(public(1), purpose, None, RHYTHM, at("01T09:00:00"));
        for (name, by) in [
            ("no signature", None),
            ("another signed", by(3, purpose, 2, from)),
            ("for another key", by(1, purpose, 3, from)),
            ("for votes", by(1, Purpose::Votes, 2, from)),
            ("for another time", by(1, purpose, 2, at("01T10:02:02"))),
        ] {
            assert_eq!(put(&mut list, by), Err(Unvouched), "{name}");
        }
        assert_eq!(list.lines().len(), 1);
        put(&mut list, by(1, purpose, 2, from)).unwrap();
        let led = list.led_to(purpose, |key| *key == public(1));
        assert_eq!(led, [public(1), public(2)]);
        assert_eq!(RHYTHM.first_use(at("01T10:00:00.5")), from);
    }

    #[test]
    fn another_key_is_due_when_it_is_asked_for_or_the_newest_is_old() {
        let list = three();
        let never = Rhythm {
            age: None,
            ..RHYTHM
        };
        for (name, rhythm, asked, now, want) in [
            ("nothing", RHYTHM, None, "04T10:00:00", false),
            (
                "asked before the newest",
                RHYTHM,
                Some("03T10:00:00"),
                "04T10:00:00",
                false,
            ),
            (
                "asked since",
                RHYTHM,
                Some("04T09:00:00"),
                "04T10:00:00",
                true,
            ),
            (
                "asked a moment ahead",
                RHYTHM,
                Some("04T10:01:00"),
                "04T10:00:00",
                true,
            ),
            (
                "asked for the future",
                RHYTHM,
                Some("04T11:00:00"),
                "04T10:00:00",
                false,
            ),
            (
                "one is on its way",
                RHYTHM,
                Some("03T10:01:00"),
                "03T10:01:30",
                false,
            ),
        ] {
            let due = list.is_due(rhythm, asked.map(at), at(now));
            assert_eq!(due, want, "{name}");
        }
        let later: Timestamp = "2026-08-02T10:00:00Z".parse().unwrap();
        assert!(list.is_due(RHYTHM, None, later), "90 days");
        assert!(!list.is_due(never, None, later));
        assert!(Succession::default().is_due(never, None, later));
    }

    #[test]
    fn a_key_without_a_time_ends_by_those_after_it_and_a_list_does_not_grow_forever() {
        let plain = b64u_encode(public(1).as_bytes());
        let mut list: Succession = plain.parse().unwrap();
        assert!(
            !list.is_due(RHYTHM, None, at("01T10:00:00")),
            "nobody knows how old it is"
        );
        assert!(list.is_due(RHYTHM, Some(at("01T09:00:00")), at("01T10:00:00")));
        for seed in 2..=40 {
            list.put(
                public(seed),
                Purpose::Votes,
                None,
                RHYTHM,
                at("01T10:00:00"),
            );
        }
        assert_eq!(list.lines().len(), KEYS_MAX);
        list.end(RHYTHM, at("02T10:00:00"));
        assert_eq!(list.believed().copied().collect::<Vec<_>>(), [public(40)]);
    }
}
