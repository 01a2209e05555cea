//! Equal decisions as one line each, with how many there were: what a policy would have to say.

use std::collections::BTreeMap;

use serde_json::json;

use super::row::Row;
use crate::commands::show::escaped;

/// Names of the columns of [`Summary::lines`].
pub(super) const HEADER: &str = " COUNT  AGENT                             VERDICT     ENFORCED  WHAT                                      WHY";

/// What makes two decisions equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    agent: String,
    verdict: &'static str,
    enforced: bool,
    what: String,
    why: String,
}

/// Decisions by what they were about and why, counted.
#[derive(Debug, Default)]
pub(super) struct Summary(BTreeMap<Kind, u64>);

impl Summary {
    /// Takes in a row, if it is of a decision.
    pub(super) fn add(&mut self, row: &Row) {
        let Some(count) = row.decisions else { return };
        let capability = row.capability.as_ref().map(ToString::to_string);
        let mut why: Vec<String> = row.reason.iter().cloned().collect();
        why.extend(row.rules.iter().cloned());
        let kind = Kind {
            agent: row.agent.clone(),
            verdict: row.word.text(),
            enforced: row.enforced,
            what: capability.or_else(|| row.host.clone()).unwrap_or_default(),
            why: why.join(" "),
        };
        let counted = self.0.entry(kind).or_default();
        *counted = counted.saturating_add(count);
    }

    /// A line each, what came most often first.
    pub(super) fn lines(&self, json: bool) -> impl Iterator<Item = String> {
        let mut kinds: Vec<(&Kind, u64)> =
            self.0.iter().map(|(kind, count)| (kind, *count)).collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let line = move |(kind, count): (&Kind, u64)| {
            let Kind {
                agent,
                verdict,
                enforced,
                what,
                why,
            } = kind;
            if json {
                return json!({
                    "agent": agent, "count": count, "enforced": enforced, "verdict": verdict, "what": what, "why": why,
                })
                .to_string();
            }
            let enforced = if *enforced { "yes" } else { "no" };
            let (agent, what, why) = (escaped(agent), escaped(what), escaped(why));
            format!("{count:>6}  {agent:<32}  {verdict:<10}  {enforced:<8}  {what:<40}  {why}")
                .trim_end()
                .to_owned()
        };
        let lines: Vec<String> = kinds.into_iter().map(line).collect();
        lines.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Word;
    use super::*;

    fn row(capability: Option<&str>, host: &str, decisions: Option<u64>, enforced: bool) -> Row {
        Row {
            leaf: 0,
            time: jiff::Timestamp::UNIX_EPOCH,
            agent: "clerk".to_owned(),
            passport: "clerk".to_owned(),
            pod: None,
            word: Word::Deny,
            event: None,
            capability: capability.map(|it| it.parse().unwrap()),
            amount: None,
            host: Some(host.to_owned()),
            target: None,
            reason: Some("undeclared".to_owned()),
            rules: Vec::new(),
            decisions,
            enforced,
            why: String::new(),
            evidence: None,
        }
    }

    #[test]
    fn equal_decisions_are_one_line_and_what_came_most_often_is_first() {
        let mut summary = Summary::default();
        let shop = || row(Some("shop.read"), "shop.example", Some(1), false);
        let elsewhere = |count| row(None, "TCP to db.example:5432", Some(count), false);
        for row in [
            shop(),
            elsewhere(1),
            elsewhere(7),
            row(None, "an outcome", None, true),
            row(Some("shop.read"), "shop.example", Some(2), true),
        ] {
            summary.add(&row);
        }
        let lines: Vec<String> = summary.lines(false).collect();
        let words = |line: &String| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines: Vec<String> = lines.iter().map(|line| words(line).join(" ")).collect();
        assert_eq!(
            lines,
            [
                "8 clerk deny no TCP to db.example:5432 undeclared",
                "2 clerk deny yes shop.read undeclared",
                "1 clerk deny no shop.read undeclared",
            ]
        );
        let json = summary.lines(true).next().unwrap();
        assert_eq!(
            json,
            r#"{"agent":"clerk","count":8,"enforced":false,"verdict":"deny","what":"TCP to db.example:5432","why":"undeclared"}"#
        );
    }
}
