//! Declared facts: amount, resource, attributes and meters, read from where the Upstream says they stand.

use std::collections::BTreeMap;

use actpass_core::action::{Attribute, Fault, FaultKind, MeterUse};
use actpass_core::canonical::INTEGER_MAX;
use actpass_core::json::{FieldPath, Json, NumberText};
use actpass_core::limits::{Unit, WRITES_METER};
use actpass_core::money::{Currency, Money, MoneyError};
use actpass_core::path::PathParams;
use actpass_core::upstream::{
    ActionSpec, AmountSpec, AmountUnit, AttributeSpec, AttributeType, AttributeValue,
    CurrencySource, MeterSource, MeterSpec, Source,
};

use super::body::Body;
use super::multipart::PartContent;

/// Longest text of a resource or an attribute, in bytes: as long as a field of the evidence.
const FACT_BYTES_MAX: usize = 1024;

/// The places of a request that facts are read from.
pub(super) struct View<'a> {
    pub(super) body: &'a Body,
    pub(super) query: &'a [(String, String)],
    pub(super) path: &'a PathParams,
    pub(super) headers: &'a BTreeMap<String, String>,
}

/// What the declared facts of a request are.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) amount: Option<Money>,
    pub(super) resource: Option<String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) meters: Vec<MeterUse>,
    /// The first that is wrong, in the order amount, currency, resource, attributes, meters.
    pub(super) fault: Option<Fault>,
}

/// Reads all facts that `spec` declares. One that is wrong is left out and becomes the fault.
pub(super) fn read(spec: &ActionSpec, view: &View<'_>) -> Facts {
    let mut facts = Facts::default();
    if let Some(amount) = &spec.amount {
        facts.amount = facts.keep(read_amount(amount, view));
    }
    if let Some(source) = &spec.resource {
        facts.resource = facts.keep(read_resource(source, view));
    }
    for declared in &spec.attributes {
        if let Some(value) = facts.keep(read_attribute(declared, view)).flatten() {
            facts.attributes.insert(
                declared.name.clone(),
                Attribute {
                    value,
                    sensitive: declared.sensitive,
                },
            );
        }
    }
    if spec.effect.changes() {
        facts.meters.push(MeterUse {
            name: WRITES_METER.to_owned(),
            unit: Unit::Count,
            amount: 1,
        });
    }
    for declared in &spec.meters {
        let used = read_meter(declared, &facts);
        if let Some(used) = facts.keep(used) {
            facts.meters.push(used);
        }
    }
    facts
}

impl Facts {
    /// The fact; or nothing, and its fault if it is the first.
    fn keep<T>(&mut self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.fault.get_or_insert(fault)).ok()
    }
}

/// What stands at the place of a fact.
#[derive(Debug)]
enum Found<'a> {
    /// Nothing, or `null`.
    Absent,
    /// Text where all is text: in forms, queries, paths and headers.
    Text(&'a str),
    /// A JSON string, which is neither a number nor a truth value.
    String(&'a str),
    /// A JSON number.
    Number(&'a NumberText),
    /// A JSON truth value.
    Boolean(bool),
    /// A list, an object, a file.
    Other,
}

impl<'a> View<'a> {
    fn find(&self, source: &Source) -> Found<'a> {
        match source {
            Source::Body(field) => self.find_in_body(field),
            Source::Query(name) => find_in_pairs(self.query, name),
            Source::Path(name) => self
                .path
                .get(name)
                .map_or(Found::Absent, |text| Found::Text(text)),
            Source::Header(name) => self
                .headers
                .get(name)
                .map_or(Found::Absent, |text| Found::Text(text)),
        }
    }

    fn find_in_body(&self, field: &FieldPath) -> Found<'a> {
        match self.body {
            Body::Absent | Body::Opaque(_) => Found::Absent,
            Body::Form(pairs) => find_in_pairs(pairs, field.as_str()),
            Body::Multipart(parts) => match parts.iter().find(|part| part.name == field.as_str()) {
                None => Found::Absent,
                Some(part) => match &part.content {
                    PartContent::Text(text) => Found::Text(text),
                    PartContent::File { .. } => Found::Other,
                },
            },
            Body::Json(json) => match json.get(field) {
                None | Some(Json::Null) => Found::Absent,
                Some(Json::String(text)) => Found::String(text),
                Some(Json::Number(number)) => Found::Number(number),
                Some(Json::Bool(value)) => Found::Boolean(*value),
                Some(Json::Array(_) | Json::Object(_)) => Found::Other,
            },
        }
    }
}

/// Keys that end in `[]` may repeat; such a key is a list, however many values it has.
fn find_in_pairs<'a>(pairs: &'a [(String, String)], name: &str) -> Found<'a> {
    match pairs.iter().find(|(key, _)| key == name) {
        None => Found::Absent,
        Some(_) if name.ends_with("[]") => Found::Other,
        Some((_, value)) => Found::Text(value),
    }
}

fn read_amount(declared: &AmountSpec, view: &View<'_>) -> Result<Money, Fault> {
    let wrong = |problem| fault("amount", problem);
    let text = match view.find(&declared.from) {
        Found::Absent => return Err(wrong(FaultKind::Missing)),
        // Text too where the API is JSON: many write decimals as strings, and the digits are exact either way.
        Found::Text(text) | Found::String(text) => text,
        Found::Number(number) => number.as_str(),
        Found::Boolean(_) | Found::Other => return Err(wrong(FaultKind::WrongUnit)),
    };
    let currency = read_currency(&declared.currency, view)?;
    let money = match declared.unit {
        AmountUnit::Minor => Money::parse_minor(text, currency),
        AmountUnit::Major => Money::parse_major(text, currency),
    };
    let money = money.map_err(|error| wrong(amount_problem(&error)))?;
    match money.minor() {
        ..=0 => Err(wrong(FaultKind::NotPositive)),
        1..=INTEGER_MAX => Ok(money),
        // Meters and limits count up to there.
        _ => Err(wrong(FaultKind::NotExact)),
    }
}

fn amount_problem(error: &MoneyError) -> FaultKind {
    match error {
        MoneyError::Empty => FaultKind::Missing,
        MoneyError::Negative(_) => FaultKind::NotPositive,
        MoneyError::CurrencyMismatch { .. } | MoneyError::UnknownCurrency(_) => {
            FaultKind::WrongUnit
        }
        MoneyError::Overflow
        | MoneyError::PlusSign(_)
        | MoneyError::WhiteSpace(_)
        | MoneyError::Exponent(_)
        | MoneyError::NotFinite(_)
        | MoneyError::ForeignDigit(_)
        | MoneyError::NotANumber(_)
        | MoneyError::LeadingZero(_)
        | MoneyError::DecimalPoint(_)
        | MoneyError::LonePoint(_)
        | MoneyError::TooManyDecimals { .. }
        | MoneyError::TooLarge(_) => FaultKind::NotExact,
    }
}

fn read_currency(declared: &CurrencySource, view: &View<'_>) -> Result<Currency, Fault> {
    let wrong = |problem| fault("currency", problem);
    match declared {
        CurrencySource::Const(currency) => Ok(*currency),
        CurrencySource::From(source) => match view.find(source) {
            Found::Absent | Found::Text("") | Found::String("") => Err(wrong(FaultKind::Missing)),
            Found::Text(code) | Found::String(code) => {
                Currency::parse_any_case(code).map_err(|_| wrong(FaultKind::WrongUnit))
            }
            Found::Number(_) | Found::Boolean(_) | Found::Other => Err(wrong(FaultKind::WrongUnit)),
        },
    }
}

/// A resource is text; ids that an API writes as whole numbers count as their digits.
fn read_resource(source: &Source, view: &View<'_>) -> Result<String, Fault> {
    let wrong = |problem| fault("resource", problem);
    let text = match view.find(source) {
        Found::Absent | Found::Text("") | Found::String("") => {
            return Err(wrong(FaultKind::Missing));
        }
        Found::Text(text) | Found::String(text) => text,
        Found::Number(number) if number.to_i64_exact().is_some() => number.as_str(),
        Found::Number(_) => return Err(wrong(FaultKind::NotExact)),
        Found::Boolean(_) | Found::Other => return Err(wrong(FaultKind::WrongUnit)),
    };
    bounded(text).ok_or_else(|| wrong(FaultKind::NotExact))
}

fn read_attribute(
    declared: &AttributeSpec,
    view: &View<'_>,
) -> Result<Option<AttributeValue>, Fault> {
    let wrong = |problem| Fault {
        fact: format!("attribute {}", declared.name),
        problem,
    };
    let value = match (declared.kind, view.find(&declared.from)) {
        (_, Found::Absent) if declared.required => return Err(wrong(FaultKind::Missing)),
        (_, Found::Absent) => return Ok(declared.default.clone()),
        (AttributeType::String, Found::Text(text) | Found::String(text)) => {
            bounded(text).map(AttributeValue::String)
        }
        (AttributeType::Integer, Found::Number(number)) => number.to_i64_exact().and_then(within),
        (AttributeType::Integer, Found::Text(text)) => whole_number(text).and_then(within),
        (AttributeType::Boolean, Found::Boolean(value)) => Some(AttributeValue::Boolean(value)),
        (AttributeType::Boolean, Found::Text("true")) => Some(AttributeValue::Boolean(true)),
        (AttributeType::Boolean, Found::Text("false")) => Some(AttributeValue::Boolean(false)),
        _ => return Err(wrong(FaultKind::WrongUnit)),
    };
    value.map(Some).ok_or_else(|| wrong(FaultKind::NotExact))
}

fn read_meter(declared: &MeterSpec, facts: &Facts) -> Result<MeterUse, Fault> {
    let wrong = |problem| Fault {
        fact: format!("meter {}", declared.name),
        problem,
    };
    let (unit, amount) = match &declared.from {
        MeterSource::Amount => {
            let money = facts.amount.ok_or_else(|| wrong(FaultKind::Missing))?;
            (Unit::Money(money.currency()), money.minor())
        }
        MeterSource::Attribute(name) => {
            match facts.attributes.get(name).map(|attribute| &attribute.value) {
                None => return Err(wrong(FaultKind::Missing)),
                Some(AttributeValue::Integer(count)) => (Unit::Count, *count),
                Some(AttributeValue::Boolean(_) | AttributeValue::String(_)) => {
                    return Err(wrong(FaultKind::WrongUnit));
                }
            }
        }
        MeterSource::Constant(count) => (Unit::Count, *count),
    };
    match amount {
        ..=0 => Err(wrong(FaultKind::NotPositive)),
        1..=INTEGER_MAX => Ok(MeterUse {
            name: declared.name.clone(),
            unit,
            amount,
        }),
        _ => Err(wrong(FaultKind::NotExact)),
    }
}

fn bounded(text: &str) -> Option<String> {
    (text.len() <= FACT_BYTES_MAX).then(|| text.to_owned())
}

fn within(number: i64) -> Option<AttributeValue> {
    (-INTEGER_MAX..=INTEGER_MAX)
        .contains(&number)
        .then_some(AttributeValue::Integer(number))
}

/// A whole number in its one spelling.
fn whole_number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn fault(fact: &str, problem: FaultKind) -> Fault {
    Fault {
        fact: fact.to_owned(),
        problem,
    }
}
