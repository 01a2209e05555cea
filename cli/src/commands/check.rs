//! `actpass check`.

use actpass_core::policy::PolicyScope;
use actpass_crds::bundle::Options;
use actpass_crds::check::Checked;
use actpass_crds::read::{Problem, Severity};
use serde::Serialize;

use super::show;
use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::run::policy;

/// Says every mistake and every warning, one line each, or as one JSON list.
pub(crate) fn check(args: &CheckArgs, json: bool) -> anyhow::Result<Exit> {
    let options = Options {
        tenant: "local/check/check".to_owned(),
        environment: None,
    };
    let (checked, problems) = match policy::check(&args.files, args.catalog, &options) {
        Ok(mut checked) => {
            let warnings = std::mem::take(&mut checked.warnings);
            (Some(checked), warnings)
        }
        Err(problems) => (None, problems),
    };
    if json {
        let lines: Vec<Line<'_>> = problems.iter().map(Line::from).collect();
        show::json(&lines)?;
    } else {
        for problem in &problems {
            show::line(&problem.to_string())?;
        }
        show::line(&summary(checked.as_ref(), &problems))?;
    }
    Ok(match checked {
        Some(_) => Exit::Ok,
        None => Exit::Failure,
    })
}

fn summary(checked: Option<&Checked>, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    let Some(Checked { spec, .. }) = checked else {
        return format!(
            "mistakes: {errors}, warnings: {warnings}; nothing can start with these manifests"
        );
    };
    let policies = |scope: PolicyScope| {
        let scopes = spec.policies.iter().map(|policy| policy.scope);
        scopes.filter(|it| *it == scope).count()
    };
    format!(
        "ok: {} Passports, {} Upstreams, {} ActionPolicies, {} ClusterActionPolicies, {warnings} warnings",
        spec.passports.len(),
        spec.upstreams.len(),
        policies(PolicyScope::Namespace),
        policies(PolicyScope::Cluster),
    )
}

/// One problem, for programs.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    /// From 1.
    line: usize,
    /// `KIND/NAME`; empty where the mistake is the file's.
    resource: &'a str,
    /// As `spec.rules[2].name`; empty where the mistake is the resource's.
    field: &'a str,
    severity: &'static str,
    message: String,
}

impl<'a> From<&'a Problem> for Line<'a> {
    fn from(problem: &'a Problem) -> Self {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Self {
            file: &problem.file,
            line: problem.line,
            resource: &problem.resource,
            field: &problem.field,
            severity,
            message: problem.text(),
        }
    }
}
