//! Which leaves are shown.

use actpass_core::capability::CapabilityPattern;
use anyhow::anyhow;
use clap::ValueEnum;
use jiff::{Span, SpanRelativeTo, Timestamp};

use super::row::Row;
use crate::args::EventsArgs;

/// What became of something, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Word {
    /// Allowed to run
    #[value(alias = "allow")]
    Permit,
    /// Refused
    Deny,
    /// People are asked
    #[value(alias = "hold")]
    Escalate,
    /// A permitted action that was done
    Ok,
    /// The upstream said no before doing
    Failed,
    /// A permitted action that never reached the upstream
    NotSent,
    /// A permitted action of which nobody knows whether it was done
    Ambiguous,
    /// Something the enforcement point noted
    Note,
    /// Something the ledger did, or people told it
    Ledger,
}

impl Word {
    /// As it is shown and typed.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Escalate => "escalate",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotSent => "not_sent",
            Self::Ambiguous => "ambiguous",
            Self::Note => "note",
            Self::Ledger => "ledger",
        }
    }
}

/// All conditions must hold.
#[derive(Default)]
pub(crate) struct Filter {
    agent: Option<String>,
    passport: Option<String>,
    capability: Option<CapabilityPattern>,
    words: Vec<Word>,
    reason: Option<String>,
    not_enforced: bool,
    since: Option<Timestamp>,
}

impl Filter {
    /// The filter a command line asks for, at `now`.
    ///
    /// # Errors
    /// Where `--since` is neither an instant nor a span of time.
    pub(super) fn new(args: &EventsArgs, now: Timestamp) -> anyhow::Result<Self> {
        let since = args.since.as_deref().map(|text| since(text, now));
        Ok(Self {
            agent: args.agent.clone(),
            passport: None,
            capability: args.capability.clone(),
            words: args.verdict.clone(),
            reason: args.reason.clone(),
            not_enforced: args.not_enforced,
            since: since.transpose()?,
        })
    }

    /// The filter of a cluster's log.
    pub(crate) fn of_cluster(
        passport: Option<String>,
        words: Vec<Word>,
        not_enforced: bool,
        since: Option<Timestamp>,
    ) -> Self {
        Self {
            passport,
            words,
            not_enforced,
            since,
            ..Self::default()
        }
    }

    /// Whether a row is shown.
    pub(super) fn lets(&self, row: &Row) -> bool {
        let capability = |pattern: &CapabilityPattern| {
            let capability = row.capability.as_ref();
            capability.is_some_and(|capability| pattern.matches(capability))
        };
        self.agent.as_ref().is_none_or(|agent| *agent == row.agent)
            && (self.passport.as_ref()).is_none_or(|passport| *passport == row.passport)
            && self.capability.as_ref().is_none_or(capability)
            && (self.words.is_empty() || self.words.contains(&row.word))
            && (!self.not_enforced || !row.enforced)
            && (self.reason.is_none() || self.reason == row.reason)
            && self.since.is_none_or(|since| row.time >= since)
    }
}

/// An instant, or how long before `now`; a day has 24 hours.
pub(crate) fn since(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let ago = || -> Result<Timestamp, jiff::Error> {
        let span: Span = text.parse()?;
        let days = SpanRelativeTo::days_are_24_hours();
        now.checked_sub(span.abs().to_duration(days)?)
    };
    ago().map_err(|_| {
        anyhow!(
            "`--since {text}`: expected an instant such as 2026-05-01T09:00:00Z, or how long ago, such as 30m, 2h or 7d"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_instant_or_a_while_ago() {
        let now: Timestamp = "2026-05-02T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-05-01T09:00:00Z", Some("2026-05-01T09:00:00Z")),
            ("2026-05-01T09:00:00+02:00", Some("2026-05-01T07:00:00Z")),
            ("30m", Some("2026-05-02T11:30:00Z")),
            ("2h", Some("2026-05-02T10:00:00Z")),
            ("1d 12h", Some("2026-05-01T00:00:00Z")),
            ("90 seconds", Some("2026-05-02T11:58:30Z")),
            ("yesterday", None),
            ("", None),
            ("99999999999d", None),
        ];
        for (given, want) in cases {
            let want = want.map(|text| text.parse::<Timestamp>().unwrap());
            assert_eq!(since(given, now).ok(), want, "`{given}`");
        }
    }
}
