//! From manifests to the bundle of one run.

use std::path::PathBuf;

use actpass_core::bundle::{Bundle, BundleSpec};
use actpass_crds::bundle::Options;
use actpass_crds::catalog::CATALOG;
use actpass_crds::check::{self, Checked};
use actpass_crds::read::{Manifests, Problem};
use anyhow::{anyhow, bail};

use crate::lending::{Lending, lending};
use crate::state::StateDir;

/// Reads, compiles and cross-checks manifests. Warnings are printed; mistakes are listed and nothing starts.
pub(crate) fn load(
    files: &[PathBuf],
    catalog: bool,
    tenant: &str,
    environment: Option<String>,
) -> anyhow::Result<BundleSpec> {
    let options = Options {
        tenant: tenant.to_owned(),
        environment,
    };
    let checked = check(files, catalog, &options).map_err(|problems| listed(&problems))?;
    for warning in checked.warnings {
        eprintln!("actpass: {warning}");
    }
    Ok(checked.spec)
}

/// Says on standard error what will be denied though the manifests look as if it were not: credentials that cannot be
/// lent, and an environment no rule knows.
pub(crate) fn warn(bundle: &Bundle, environment: Option<&str>, state: &StateDir) {
    match lending(bundle.spec(), state) {
        Ok(found) => {
            for Lending { says, remedy } in found {
                if let Some(remedy) = remedy {
                    eprintln!("actpass: warning: {says}; {remedy}");
                }
            }
        }
        Err(error) => eprintln!("actpass: warning: {error}"),
    }
    let rules = bundle.spec().policies.iter().flat_map(|it| &it.rules);
    let mut known = rules.flat_map(|rule| &rule.environments);
    if let Some(name) = environment
        && !known.any(|known| known == name)
    {
        eprintln!("actpass: warning: no rule is for `--environment {name}`");
    }
}

/// The compiled policy and its warnings, or every mistake.
pub(crate) fn check(
    files: &[PathBuf],
    catalog: bool,
    options: &Options,
) -> Result<Checked, Vec<Problem>> {
    let mut manifests = Manifests::read(files);
    if catalog {
        for (name, text) in CATALOG {
            manifests.add(name, text);
        }
    }
    check::check(&manifests, options)
}

/// The passport to run under: the only one, or the one named.
pub(crate) fn passport(bundle: &Bundle, named: Option<&str>) -> anyhow::Result<String> {
    let passports = &bundle.spec().passports;
    let names = || {
        passports
            .iter()
            .map(|passport| passport.name.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let passport = match (named, passports.as_slice()) {
        (Some(name), _) => bundle
            .passport(name)
            .ok_or_else(|| anyhow!("there is no Passport `{name}`, only: {}", names()))?,
        (None, [only]) => only,
        (None, []) => {
            bail!("the manifests hold no Passport; write one that says what the command may do")
        }
        (None, _) => bail!(
            "the manifests hold several Passports ({}); choose one with --passport",
            names()
        ),
    };
    let asks = bundle
        .spec()
        .policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .filter_map(|rule| rule.approval.as_ref());
    if asks
        .chain(&passport.default_approval)
        .any(|approval| approval.quorum > 1)
    {
        bail!(
            "a quorum above 1 needs several people, and local mode knows only you; lower it for local runs"
        );
    }
    Ok(passport.name.clone())
}

fn listed(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!(
        "nothing started, the manifests need work:\n{}",
        lines.join("\n")
    )
}
