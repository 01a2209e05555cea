//! Keeps a lent secret from coming back: an upstream's answer, searched for its bytes on the way to the agent.
//!
//! *Guarantees.* No answer hands on the whole secret as plain bytes, be it in a head, in a body or over the borders of its
//! chunks; at most [`HELD_MIN`] − 1 of its bytes were passed on before. *Assumptions.* It stands there as it was lent:
//! compressed or encoded it is not found. Memory: two numbers per answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use memchr::{memchr_iter, memmem};
use zeroize::Zeroizing;

use crate::credential::Credential;
use crate::metrics::Metrics;
use crate::route::Route;

/// A shorter secret is not searched for: it stands in answers by chance.
const SECRET_BYTES_MIN: usize = 8;

/// So many bytes at a chunk's end that begin the secret wait for the next chunk. Fewer go on at once, so that the peer of a
/// stream does not wait for a message's last byte because it looks like the first of a key.
const HELD_MIN: usize = 4;

/// The search in one answer.
pub(super) struct Echo {
    secret: Arc<Zeroizing<Vec<u8>>>,
    /// How many bytes at the end of what came so far are the secret's first.
    matched: usize,
    /// How many of these are not passed on yet.
    held: usize,
}

/// The answer holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echoed;

impl Echo {
    /// The search for what `credential` holds; `None` where that is too short.
    pub(super) fn of(credential: &Credential) -> Option<Self> {
        let secret = credential.secret().clone();
        (secret.len() >= SECRET_BYTES_MIN).then_some(Self {
            secret,
            matched: 0,
            held: 0,
        })
    }

    /// Whether a head or trailers hold it.
    pub(super) fn in_headers(&self, headers: &HeaderMap) -> bool {
        let holds = |bytes: &[u8]| memmem::find(bytes, &self.secret).is_some();
        headers
            .iter()
            .any(|(name, value)| holds(value.as_bytes()) || holds(name.as_str().as_bytes()))
    }

    /// What of the next chunk, and of what was held before, may go on.
    pub(super) fn pass(&mut self, chunk: Bytes) -> Result<Bytes, Echoed> {
        let secret = self.secret.as_slice();
        let before = secret.get(..self.matched).unwrap_or_default();
        // Where the chunk goes on with what matches, the two are looked at as one, as far as the secret reaches.
        let reach = chunk.get(..secret.len()).unwrap_or(&chunk);
        let border = (!before.is_empty()).then(|| [before, reach].concat());
        let over_border = border
            .as_deref()
            .is_some_and(|border| memmem::find(border, secret).is_some());
        if over_border || memmem::find(&chunk, secret).is_some() {
            return Err(Echoed);
        }
        let matched = match border {
            Some(border) if chunk.len() < secret.len() => beginning(&border, secret),
            _ => beginning(&chunk, secret),
        };
        // Counted from the start of `before`: what was passed on, and where what is held now begins.
        let (passed, all) = (self.matched - self.held, self.matched + chunk.len());
        let held = if matched >= HELD_MIN {
            matched.min(all - passed)
        } else {
            0
        };
        let end = all - held;
        let out = if self.held == 0 {
            chunk.slice(..end - self.matched)
        } else {
            let mut out = BytesMut::with_capacity(end - passed);
            out.extend_from_slice(
                before
                    .get(passed..end.min(self.matched))
                    .unwrap_or_default(),
            );
            let of_chunk = end.saturating_sub(self.matched);
            out.extend_from_slice(chunk.get(..of_chunk).unwrap_or_default());
            out.freeze()
        };
        (self.matched, self.held) = (matched, held);
        Ok(out)
    }

    /// How many bytes wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// What waited for more, now that no more comes.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.secret.get(self.matched - self.held..self.matched);
        let rest = Bytes::copy_from_slice(rest.unwrap_or_default());
        (self.matched, self.held) = (0, 0);
        rest
    }
}

/// The search in one answer, which tells when it finds something.
pub(super) struct Guard {
    pub(super) echo: Echo,
    route: Arc<Route>,
    metrics: Arc<Metrics>,
}

impl Guard {
    /// A guard where something was lent that can be searched for.
    pub(super) fn new(
        credential: Option<&Credential>,
        route: &Arc<Route>,
        metrics: &Arc<Metrics>,
    ) -> Option<Self> {
        Some(Self {
            echo: Echo::of(credential?)?,
            route: route.clone(),
            metrics: metrics.clone(),
        })
    }

    /// Searches a head or trailers.
    pub(super) fn check(&mut self, headers: &HeaderMap) -> Result<(), Echoed> {
        self.watch(|echo| match echo.in_headers(headers) {
            false => Ok(()),
            true => Err(Echoed),
        })
    }

    /// Searches, and counts and logs what is found.
    pub(super) fn watch<T>(
        &mut self,
        search: impl FnOnce(&mut Echo) -> Result<T, Echoed>,
    ) -> Result<T, Echoed> {
        let found = search(&mut self.echo);
        if found.is_err() {
            let upstream = &self.route.upstream().name;
            self.metrics.credential_echoed(upstream);
            tracing::error!(
                upstream,
                "The upstream sent the lent credential back; its answer was cut off"
            );
        }
        found
    }
}

/// How many bytes at the end of `text` are the first of `secret`, the most there are and not all.
fn beginning(text: &[u8], secret: &[u8]) -> usize {
    let Some(first) = secret.first() else {
        return 0;
    };
    let from = text.len().saturating_sub(secret.len() - 1);
    let end = text.get(from..).unwrap_or_default();
    memchr_iter(*first, end)
        .filter_map(|at| end.get(at..))
        .find(|end| secret.starts_with(end))
        .map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn echo(secret: &str) -> Echo {
        let credential = Credential::new("authorization", "Bearer {secret}", secret).unwrap();
        Echo::of(&credential).unwrap()
    }

    /// What goes on of these chunks, and whether they are cut off.
    fn passed(secret: &str, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut echo, mut out) = (echo(secret), Vec::new());
        for chunk in chunks {
            match echo.pass(Bytes::copy_from_slice(chunk)) {
                Ok(bytes) => out.extend_from_slice(&bytes),
                Err(Echoed) => return (out, true),
            }
        }
        out.extend_from_slice(&echo.rest());
        (out, false)
    }

    #[test]
    fn a_secret_is_found_wherever_its_chunks_end() {
        const SECRET: &str = "sk_live_0123";
        let text = b"{\"headers\":\"Bearer sk_live_0123\"}";
        for first in 0..text.len() {
            for second in first..text.len() {
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                let (out, cut) = passed(SECRET, &chunks);
                assert!(cut, "cut at {first} and {second}");
                let before = text.len() - SECRET.len() - 2;
                assert!(out.len() < before + HELD_MIN, "{first} {second}: {out:?}");
            }
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert!(passed(SECRET, &bytes).1, "byte by byte");
    }

    #[test]
    fn what_only_begins_like_the_secret_goes_on_and_short_ends_at_once() {
        let mut echo = echo("sk_live_0123");
        for (name, given, want) in [
            ("nothing of it", "data: x\n\n", "data: x\n\n"),
            ("three bytes of it", "sk_", "sk_"),
            ("the fourth", "l", ""),
            ("and another text", "ong", "long"),
            ("half of it", "a sk_live", "a "),
            ("twice", "sk_liv", "sk_live"),
            ("then not", "sk_live_012", "sk_liv"),
        ] {
            let out = echo.pass(Bytes::copy_from_slice(given.as_bytes()));
            assert_eq!(out.unwrap(), want.as_bytes(), "{name}");
        }
        assert_eq!(echo.held(), 11);
        assert_eq!(echo.rest(), "sk_live_012");
        assert_eq!(echo.held(), 0);
    }

    #[test]
    fn heads_are_searched_and_short_secrets_are_not() {
        let echo = echo("sk_live_0123");
        for (value, want) in [("Bearer sk_live_0123", true), ("Bearer sk_live_012", false)] {
            let headers = [("x-echo", value)].map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (http::HeaderName::from_static(name), value)
            });
            assert_eq!(echo.in_headers(&HeaderMap::from_iter(headers)), want);
        }
        let short = Credential::new("x-key", "{secret}", "1234567").unwrap();
        assert!(Echo::of(&short).is_none());
    }

    proptest! {
        #[test]
        fn all_goes_on_but_an_answer_with_the_secret(
            secret in "[ab]{8,12}",
            text in "[ab]{0,60}",
            ends in proptest::collection::vec(0..61usize, 0..8),
        ) {
            let mut ends: Vec<_> = ends.iter().map(|end| (*end).min(text.len())).collect();
            ends.extend([0, text.len()]);
            ends.sort_unstable();
            let chunks: Vec<_> = ends.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let (out, cut) = passed(&secret, &chunks);
            prop_assert_eq!(cut, text.contains(&secret));
            prop_assert!(text.as_bytes().starts_with(&out));
            prop_assert!(cut || out.len() == text.len());
            prop_assert!(memmem::find(&out, secret.as_bytes()).is_none());
        }
    }
}
