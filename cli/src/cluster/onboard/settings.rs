//! The settings of an installation, as its webhook has them: in the environment of its Deployment.

use actpass_webhook::server::args::Injection;
use actpass_webhook::settings::Settings;
use anyhow::Context;
use clap::builder::Resettable;
use clap::{Args, Command, FromArgMatches};
use serde_json::Value;

use super::super::kubectl::Kubectl;

const WEBHOOK: &str = "deployment/actpass-webhook";

/// Those of the installation in this namespace.
pub(super) fn of(system: &Kubectl) -> anyhow::Result<Settings> {
    let deployment: Value = system.get(&[WEBHOOK])?;
    let containers = deployment.pointer("/spec/template/spec/containers/0/env");
    let variables = containers.and_then(Value::as_array).into_iter().flatten();
    let variables = variables.filter_map(|it| {
        let text = |key| it.get(key).and_then(Value::as_str);
        Some((text("name")?, text("value")?))
    });
    settings(variables).context("the webhook's settings are not understood")
}

/// Those of an installation with nothing changed.
pub(in crate::cluster) fn defaults() -> Settings {
    let image = format!("actpass@sha256:{}", "0".repeat(64));
    let images = [
        "ACTPASS_INIT_IMAGE",
        "ACTPASS_PROXY_IMAGE",
        "ACTPASS_VERIFY_IMAGE",
    ];
    let settings = settings(images.map(|name| (name, image.as_str())));
    #[expect(
        clippy::expect_used,
        reason = "three images and defaults; a test makes them"
    )]
    settings.expect("the defaults are settings")
}

/// Settings from the webhook's variables, each of which is also a flag of it.
fn settings<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<Settings> {
    let command = Injection::augment_args(Command::new("actpass-webhook"));
    let flag = |name: &str| {
        let mut flags = command.get_arguments();
        let flag = flags.find(|flag| flag.get_env().is_some_and(|env| env == name))?;
        flag.get_long().map(str::to_owned)
    };
    let given = variables.into_iter();
    let given = given.filter_map(|(name, value)| Some(format!("--{}={value}", flag(name)?)));
    let line: Vec<String> = ["actpass-webhook".to_owned()]
        .into_iter()
        .chain(given)
        .collect();
    // Ours are another program's.
    let command = command.mut_args(|flag| flag.env(Resettable::Reset));
    let matches = command.try_get_matches_from(line)?;
    // Addresses are not looked at.
    Ok(Injection::from_arg_matches(&matches)?.settings("actpass-system")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_in_the_environment_of_the_webhook() {
        let image = format!("r/i@sha256:{}", "1".repeat(64));
        let found = settings([
            ("ACTPASS_INIT_IMAGE", image.as_str()),
            ("ACTPASS_PROXY_IMAGE", &image),
            ("ACTPASS_VERIFY_IMAGE", &image),
            ("ACTPASS_SIDECAR_UIDS", "20000-20009"),
            ("ACTPASS_CSI_DRIVERS", "a,b"),
            ("ACTPASS_SOMETHING_NEWER", "x"),
        ]);
        let found = found.unwrap();
        assert!(found.sidecar_uids.contains(20_009) && !found.sidecar_uids.contains(40_000));
        assert_eq!(found.csi_drivers.len(), 2);
        assert!(settings([("ACTPASS_INIT_IMAGE", image.as_str())]).is_err());
        assert!(defaults().sidecar_uids.contains(40_000));
    }
}
