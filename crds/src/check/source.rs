//! Sources: what is read off a request must be able to be there.

use actpass_core::form::ParamPattern;
use actpass_core::json::{FieldPath, JsonStep};
use actpass_core::upstream::{ActionSpec, BodyFormat, BodyMode, CurrencySource, Source};

use super::Check;
use crate::problem::Said;
use crate::read::Located;
use crate::suggest;

impl Check<'_> {
    /// Every place something is read from.
    pub(super) fn sources(&mut self, at: &Located, field: &str, action: &ActionSpec) {
        for (index, attribute) in action.attributes.iter().enumerate() {
            self.source(
                at,
                &format!("{field}.attributes[{index}].from"),
                &attribute.from,
                action,
            );
        }
        if let Some(amount) = &action.amount {
            self.source(at, &format!("{field}.amount.from"), &amount.from, action);
            if let CurrencySource::From(source) = &amount.currency {
                self.source(at, &format!("{field}.amount.currency.from"), source, action);
            }
        }
        if let Some(source) = &action.resource {
            self.source(at, &format!("{field}.resource.from"), source, action);
        }
    }

    /// What is read must be able to be there: in the body, the declared parameters, the path or the headers.
    fn source(&mut self, at: &Located, field: &str, source: &Source, action: &ActionSpec) {
        match source {
            Source::Body(_) if action.body.format == BodyFormat::None => {
                let said = Said::from(format!(
                    "`{source}` is read from a body, and the action has none"
                ));
                self.error(
                    at,
                    field,
                    said.help("declare `body: {format: Form}` or `JSON`"),
                );
            }
            Source::Body(_) if action.body.mode == BodyMode::Streamed => {
                let said = Said::from(format!(
                    "`{source}` is read from a body that is `mode: Streamed` and so never parsed"
                ));
                self.error(
                    at,
                    field,
                    said.help("use `mode: Buffered`, or read it from elsewhere"),
                );
            }
            Source::Body(path)
                if action.effect.changes()
                    && !allows_body(&action.params, path, action.body.format) =>
            {
                self.undeclared(at, field, path.as_str(), source, action);
            }
            Source::Query(name)
                if action.effect.changes()
                    && !action.params.iter().any(|it| it.matches_query_key(name)) =>
            {
                self.undeclared(at, field, &format!("query.{name}"), source, action);
            }
            Source::Path(name) if !action.path.param_names().any(|known| known == name) => {
                let said = Said::from(format!("path `{}` has no `{{{name}}}`", action.path));
                let near = suggest::nearest(name, action.path.param_names())
                    .map(|near| format!("path.{near}"));
                let said = if near.is_some() {
                    said.meant(near.as_deref())
                } else {
                    said.help("name the segment in `match.http.path`")
                };
                self.error(at, field, said);
            }
            Source::Header(name) if !action.headers.contains(name) => {
                let said = Said::from(format!("header `{name}` is not forwarded"));
                self.error(at, field, said.help("add it to `headers.forward`"));
            }
            _ => {}
        }
    }

    fn undeclared(
        &mut self,
        at: &Located,
        field: &str,
        param: &str,
        source: &Source,
        action: &ActionSpec,
    ) {
        let said = Said::from(format!(
            "`{source}` can never be there: `params.allow` does not list `{param}`"
        ));
        let near = suggest::nearest(param, action.params.iter().map(ParamPattern::as_str));
        self.error(
            at,
            field,
            if near.is_some() {
                said.meant(near)
            } else {
                said.help("add it there")
            },
        );
    }
}

/// Whether a declared parameter lets a field of the body be there.
fn allows_body(params: &[ParamPattern], path: &FieldPath, format: BodyFormat) -> bool {
    match format {
        BodyFormat::Json => {
            // An index is written as a key is, and a pattern takes either.
            let steps = path.steps().iter().cloned();
            let steps: Vec<JsonStep> = steps.map(JsonStep::Key).collect();
            params.iter().any(|param| param.matches_json_path(&steps))
        }
        _ => params
            .iter()
            .any(|param| param.matches_form_key(path.as_str())),
    }
}
