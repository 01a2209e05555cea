//! Actions: what they match and what is read off them.

use actpass_core::upstream::{
    ActionSpec, AmountSpec, AmountUnit, AttributeSpec, AttributeType, AttributeValue, BodyFormat,
    BodyMode, BodySpec, CompensationSpec, CurrencySource, MeterSource, MeterSpec,
};

use super::At;
use crate::problem::Said;
use crate::upstream::{self, AttributeDefault, MeterFrom};

impl At<'_> {
    pub(super) fn action(
        &mut self,
        upstream: &str,
        field: &str,
        spec: &upstream::ActionSpec,
    ) -> Option<ActionSpec> {
        let capability = self.text(
            &format!("{field}.name"),
            &format!("{upstream}.{}", spec.name),
        );
        let path = self.text(&format!("{field}.match.http.path"), &spec.matches.http.path);
        let allow = spec
            .params
            .as_ref()
            .map(|params| params.allow.as_slice())
            .unwrap_or_default();
        let params = self.texts(&format!("{field}.params.allow"), allow);
        let mut attributes = Vec::with_capacity(spec.attributes.len());
        for (index, attribute) in spec.attributes.iter().enumerate() {
            attributes.extend(self.attribute(&format!("{field}.attributes[{index}]"), attribute));
        }
        let amount = spec
            .amount
            .as_ref()
            .map(|amount| self.amount(&format!("{field}.amount"), amount));
        let resource = spec
            .resource
            .as_ref()
            .map(|it| self.text(&format!("{field}.resource.from"), &it.from));
        let mut meters = Vec::with_capacity(spec.meters.len());
        for (index, meter) in spec.meters.iter().enumerate() {
            meters.extend(self.meter(&format!("{field}.meters[{index}]"), meter));
        }
        let compensation = spec
            .compensation
            .as_ref()
            .map(|it| self.compensation(&format!("{field}.compensation"), it));
        if attributes.len() < spec.attributes.len()
            || meters.len() < spec.meters.len()
            || params.len() < allow.len()
        {
            return None;
        }
        let lower = |name: &String| name.to_ascii_lowercase();
        Some(ActionSpec {
            capability: capability?,
            method: spec.matches.http.method.clone(),
            path: path?,
            effect: spec.effect.into(),
            body: spec.body.as_ref().map_or(NO_BODY, BodySpec::from),
            params,
            headers: spec
                .headers
                .iter()
                .flat_map(|headers| &headers.forward)
                .map(lower)
                .collect(),
            attributes,
            amount: optional(amount)?,
            resource: optional(resource)?,
            meters,
            idempotency_header: spec.idempotency_header.as_ref().map(lower),
            compensation: optional(compensation)?,
        })
    }

    fn attribute(&mut self, field: &str, spec: &upstream::AttributeSpec) -> Option<AttributeSpec> {
        let from = self.text(&format!("{field}.from"), &spec.from)?;
        let kind = match spec.kind {
            upstream::AttributeType::String => AttributeType::String,
            upstream::AttributeType::Integer => AttributeType::Integer,
            upstream::AttributeType::Boolean => AttributeType::Boolean,
        };
        let default = spec
            .default
            .as_ref()
            .map(|default| self.default(&format!("{field}.default"), default, spec.kind));
        let (name, required, sensitive) = (spec.name.clone(), spec.required, spec.sensitive);
        Some(AttributeSpec {
            name,
            from,
            kind,
            required,
            default: optional(default)?,
            sensitive,
        })
    }

    /// The default has the attribute's type.
    fn default(
        &mut self,
        field: &str,
        default: &AttributeDefault,
        kind: upstream::AttributeType,
    ) -> Option<AttributeValue> {
        use upstream::AttributeType as Type;
        let found = match (default, kind) {
            (AttributeDefault::Boolean(value), Type::Boolean) => {
                return Some(AttributeValue::Boolean(*value));
            }
            (AttributeDefault::Integer(value), Type::Integer) if value.unsigned_abs() < 1 << 53 => {
                return Some(AttributeValue::Integer(*value));
            }
            (AttributeDefault::String(text), Type::String) if text.len() <= 1_024 => {
                return Some(AttributeValue::String(text.clone()));
            }
            (AttributeDefault::Boolean(value), _) => format!("boolean {value}"),
            (AttributeDefault::Integer(value), _) => format!("number {value}"),
            (AttributeDefault::String(text), _) => {
                format!("text `{}`", actpass_core::canonical::excerpt(text))
            }
        };
        let expected = match kind {
            Type::String => "text of at most 1024 bytes",
            Type::Integer => "a whole number within ±(2^53-1)",
            Type::Boolean => "`true` or `false`",
        };
        self.wrong(
            field,
            format!("expected {expected}, as `type` says, found {found}"),
        )
    }

    fn amount(&mut self, field: &str, spec: &upstream::AmountSpec) -> Option<AmountSpec> {
        let from = self.text(&format!("{field}.from"), &spec.from)?;
        let currency = match (&spec.currency.constant, &spec.currency.from) {
            (Some(code), None) => {
                CurrencySource::Const(self.text(&format!("{field}.currency.const"), code)?)
            }
            (None, Some(from)) => {
                CurrencySource::From(self.text(&format!("{field}.currency.from"), from)?)
            }
            _ => {
                let said = Said::from("needs exactly one of `const` and `from`");
                return self.wrong(
                    &format!("{field}.currency"),
                    said.help("write {const: USD}, or {from: body.currency}"),
                );
            }
        };
        let unit = match spec.unit {
            upstream::AmountUnit::Minor => AmountUnit::Minor,
            upstream::AmountUnit::Major => AmountUnit::Major,
        };
        Some(AmountSpec {
            from,
            unit,
            currency,
        })
    }

    fn meter(&mut self, field: &str, spec: &upstream::MeterSpec) -> Option<MeterSpec> {
        let from = match (spec.from, &spec.attribute, spec.value) {
            (MeterFrom::Amount, None, None) => MeterSource::Amount,
            (MeterFrom::Attribute, Some(name), None) => MeterSource::Attribute(name.clone()),
            (MeterFrom::Constant, None, Some(value)) => MeterSource::Constant(value),
            (MeterFrom::Amount, ..) => {
                return self.wrong(
                    field,
                    "`from: Amount` needs neither `attribute` nor `value`",
                );
            }
            (MeterFrom::Attribute, ..) => {
                return self.wrong(field, "`from: Attribute` needs `attribute`, and no `value`");
            }
            (MeterFrom::Constant, ..) => {
                return self.wrong(field, "`from: Constant` needs `value`, and no `attribute`");
            }
        };
        Some(MeterSpec {
            name: spec.name.clone(),
            from,
        })
    }

    fn compensation(
        &mut self,
        field: &str,
        spec: &upstream::CompensationSpec,
    ) -> Option<CompensationSpec> {
        let capability = self.text(&format!("{field}.capability"), &spec.capability)?;
        Some(CompensationSpec {
            capability,
            method: spec.method.clone(),
            path: spec.path.clone(),
        })
    }
}

const NO_BODY: BodySpec = BodySpec {
    format: BodyFormat::None,
    max_bytes: 0,
    mode: BodyMode::Buffered,
};

impl From<&upstream::BodySpec> for BodySpec {
    fn from(spec: &upstream::BodySpec) -> Self {
        let mode = match spec.mode {
            upstream::BodyMode::Buffered => BodyMode::Buffered,
            upstream::BodyMode::Streamed => BodyMode::Streamed,
        };
        let format = match spec.format {
            upstream::BodyFormat::None => return NO_BODY,
            upstream::BodyFormat::Form => BodyFormat::Form,
            upstream::BodyFormat::Json => BodyFormat::Json,
            upstream::BodyFormat::Multipart => BodyFormat::Multipart,
        };
        Self {
            format,
            max_bytes: spec.max_bytes,
            mode,
        }
    }
}

/// Nothing written stays nothing; what was written must have been right.
fn optional<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    match written {
        None => Some(None),
        Some(right) => right.map(Some),
    }
}
