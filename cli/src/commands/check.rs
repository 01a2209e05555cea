//! `actpass check`.

use actpass_crds::bundle::Options;

use crate::args::CheckArgs;
use crate::run::policy;

/// Says every mistake, one line each.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let options = Options {
        tenant: "local/check/check".to_owned(),
        environment: None,
    };
    match policy::check(&args.files, args.catalog, &options) {
        Ok((spec, warnings)) => {
            for warning in &warnings {
                println!("{warning}");
            }
            println!(
                "ok: {} Passports, {} Upstreams, {} ActionPolicies, {} warnings",
                spec.passports.len(),
                spec.upstreams.len(),
                spec.policies.len(),
                warnings.len()
            );
            Ok(0)
        }
        Err(problems) => {
            for problem in &problems {
                println!("{problem}");
            }
            Ok(1)
        }
    }
}
