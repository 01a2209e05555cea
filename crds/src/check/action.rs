//! Actions: everything that is read off a request can be there, and what is lent or recorded has its place.

use actpass_core::limits::WRITES_METER;
use actpass_core::money::Currency;
use actpass_core::upstream::{
    ActionSpec, AmountUnit, AttributeType, BodyFormat, BodyMode, CurrencySource, Effect,
    MeterSource, Upstream,
};

use super::Check;
use super::headers::{is_override_param, never_forwarded};
use crate::problem::{Said, listed};
use crate::read::Located;
use crate::suggest;

impl Check<'_> {
    pub(super) fn action(
        &mut self,
        at: &Located,
        field: &str,
        upstream: &Upstream,
        action: &ActionSpec,
    ) {
        self.sources(at, field, action);
        self.attributes(at, field, action);
        self.meters(at, field, action);
        self.headers(at, field, upstream, action);
        self.params(at, field, action);
        self.minor_units(at, field, action);
        self.compensation(at, field, action);
        let unlikely = ["DELETE", "PUT", "PATCH"].contains(&action.method.as_str());
        if action.effect == Effect::Read && unlikely {
            let said = Said::from(format!(
                "{} changes something by its meaning, and a Read is permitted without the ledger",
                action.method
            ));
            self.warning(
                at,
                &format!("{field}.effect"),
                said.help("write `Write` or `Irreversible`"),
            );
        }
    }

    fn attributes(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        for (index, attribute) in action.attributes.iter().enumerate() {
            if attribute.required && attribute.default.is_some() {
                let said = Said::from("a required attribute never takes its default");
                self.error(
                    at,
                    &format!("{field}.attributes[{index}].default"),
                    said.help("keep one of `required: true` and `default`"),
                );
            }
        }
    }

    fn meters(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        for (index, meter) in action.meters.iter().enumerate() {
            let field = format!("{field}.meters[{index}]");
            if meter.name == WRITES_METER {
                let said =
                    Said::from("`writes` is built in: every action but a read feeds it by one");
                self.error(
                    at,
                    &format!("{field}.name"),
                    said.help("choose another name"),
                );
            }
            match &meter.from {
                MeterSource::Amount if action.amount.is_none() => {
                    let said = Said::from("counts the amount, and the action declares none");
                    self.error(
                        at,
                        &format!("{field}.from"),
                        said.help("add `amount`, or count by `Constant` or `Attribute`"),
                    );
                }
                MeterSource::Attribute(name) => {
                    let names = action
                        .attributes
                        .iter()
                        .map(|attribute| attribute.name.as_str());
                    let field = format!("{field}.attribute");
                    match action
                        .attributes
                        .iter()
                        .find(|attribute| attribute.name == *name)
                    {
                        None => {
                            let said =
                                Said::from(format!("the action declares no attribute `{name}`"));
                            self.error(at, &field, said.meant(suggest::nearest(name, names)));
                        }
                        Some(attribute) if attribute.kind != AttributeType::Integer => {
                            let said = format!(
                                "attribute `{name}` is of type {:?}; a meter counts an Integer",
                                attribute.kind
                            );
                            self.error(at, &field, said);
                        }
                        Some(_) => {}
                    }
                }
                MeterSource::Amount | MeterSource::Constant(_) => {}
            }
        }
    }

    fn headers(&mut self, at: &Located, field: &str, upstream: &Upstream, action: &ActionSpec) {
        let idempotency = action.idempotency_header.as_ref();
        for (index, header) in action.headers.iter().enumerate() {
            let field = format!("{field}.headers.forward[{index}]");
            if let Some(why) = never_forwarded(header, upstream) {
                let said = Said::from(format!("`{header}` {why}"));
                self.error(at, &field, said.help("leave it out"));
            } else if idempotency == Some(header) {
                let said = Said::from(format!(
                    "`{header}` is the `idempotencyHeader`, which is forwarded but not judged"
                ));
                let help = "SDKs make it up per call, so an approved request could never be repeated; leave it out here";
                self.error(at, &field, said.help(help));
            }
        }
        if let Some((header, why)) =
            idempotency.and_then(|header| Some((header, never_forwarded(header, upstream)?)))
        {
            let said = Said::from(format!("`{header}` {why}"));
            let help = "name the header by which the upstream knows a repeat, or leave it out";
            self.error(at, &format!("{field}.idempotencyHeader"), said.help(help));
        }
    }

    /// Body parameters of an action without a body, what a streamed body hides, and what is refused anyway.
    fn params(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        for (index, param) in action.params.iter().enumerate() {
            let at_param = format!("{field}.params.allow[{index}]");
            let query = param.is_query();
            if is_override_param(query.unwrap_or_else(|| param.as_str())) {
                let said = Said::from(format!(
                    "`{param}` asks for another method than the request line and is refused"
                ));
                self.error(at, &at_param, said.help("leave it out"));
            } else if query.is_none() && action.body.format == BodyFormat::None {
                let said = Said::from(format!(
                    "`{param}` is a body parameter, and the action has no body"
                ));
                let help = format!("declare `body`, or write `query.{param}` for the query");
                self.warning(at, &at_param, said.help(help));
            } else if query.is_none() && action.body.mode == BodyMode::Streamed {
                let said = Said::from(
                    "a body with `mode: Streamed` is sent as it comes, so this is not held against it",
                );
                self.warning(at, &at_param, said.help("use `mode: Buffered`"));
            }
        }
    }

    /// Currencies that payment APIs count otherwise than ISO 4217 does.
    fn minor_units(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        let Some(amount) = &action.amount else { return };
        if let (CurrencySource::Const(currency), AmountUnit::Minor) =
            (&amount.currency, amount.unit)
            && let Some((_, theirs)) = counted_otherwise(*currency)
        {
            let digits = currency.digits();
            let said = Said::from(format!(
                "some payment APIs, Stripe for one, count {currency} {theirs}, and `Minor` means {digits} decimals"
            ));
            let help =
                "compare with the API's documentation; a wrong count is wrong by a factor of 100";
            self.warning(at, &format!("{field}.amount.unit"), said.help(help));
        }
    }

    fn compensation(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        let Some(compensation) = &action.compensation else {
            return;
        };
        let capability = compensation.capability.clone();
        self.known(
            at,
            &format!("{field}.compensation.capability"),
            &capability.clone().into(),
        );
        let undo = self
            .actions
            .iter()
            .find(|other| other.capability == capability);
        if let Some(undo) = undo.filter(|undo| undo.method != compensation.method) {
            let said = format!(
                "`{capability}` has method {}, not {}",
                undo.method, compensation.method
            );
            self.error(at, &format!("{field}.compensation.method"), said);
        }
        if capability == action.capability {
            self.error(
                at,
                &format!("{field}.compensation.capability"),
                "an action cannot undo itself",
            );
        }
        match action.effect {
            Effect::Write => {}
            Effect::Irreversible => {
                let said = Said::from(
                    "`Irreversible` says that nothing undoes this action, and `compensation` what does",
                );
                self.warning(at, &format!("{field}.compensation"), said.help("keep one"));
            }
            Effect::Read => self.error(
                at,
                &format!("{field}.compensation"),
                "a Read has nothing to undo; leave it out",
            ),
        }
    }
}

/// Capabilities for a message, few of them.
pub(super) fn named<'a>(actions: impl Iterator<Item = &'a ActionSpec>) -> String {
    let names: Vec<&str> = actions.map(|action| action.capability.as_str()).collect();
    let more = names.len().saturating_sub(super::NAMES_SHOWN);
    let shown = listed(names.into_iter().take(super::NAMES_SHOWN), "and");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// How providers count a currency that they do not count by ISO 4217 (Stripe: "Supported currencies", special cases).
fn counted_otherwise(currency: Currency) -> Option<(&'static str, &'static str)> {
    let known = COUNTED_OTHERWISE.iter();
    known.copied().find(|(code, _)| *code == currency.code())
}

const COUNTED_OTHERWISE: [(&str, &str); 3] = [
    ("ISK", "in hundredths"),
    ("MGA", "in whole units"),
    ("UGX", "in hundredths"),
];
