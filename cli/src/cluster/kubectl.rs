//! `kubectl`, as it stands in the path.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use super::args::Access;

/// The program.
const KUBECTL: &str = "kubectl";

/// What is said where it is not there.
pub(super) const MISSING: &str =
    "`kubectl` cannot be run; install it, it is what this is a plugin of";

/// A cluster, and somebody in it.
#[derive(Clone)]
pub(super) struct Kubectl {
    access: Access,
}

impl Kubectl {
    pub(super) fn new(access: Access) -> Self {
        Self { access }
    }

    /// What the API server has.
    pub(super) fn get<T: DeserializeOwned>(&self, args: &[&str]) -> anyhow::Result<T> {
        let args = [&["get", "-o", "json"], args].concat();
        let said = self.run(&args, None)?;
        serde_json::from_slice(&said)
            .with_context(|| format!("what `kubectl {}` says is not understood", args.join(" ")))
    }

    /// Runs it; what it prints.
    pub(super) fn run(&self, args: &[&str], input: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
        let output = self.output(args, input)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}", plain(said.trim()));
        }
        Ok(output.stdout)
    }

    /// The same in another namespace.
    pub(super) fn of(&self, namespace: &str) -> Self {
        let access = Access {
            namespace: Some(namespace.to_owned()),
            ..self.access.clone()
        };
        Self { access }
    }

    /// The namespace that is meant: what the command line says, else what the context does.
    pub(super) fn namespace(&self) -> anyhow::Result<String> {
        if let Some(named) = &self.access.namespace {
            return Ok(named.clone());
        }
        let path = "jsonpath={..namespace}";
        let said = self.run(&["config", "view", "--minify", "-o", path], None);
        // Without a kubeconfig, as in a pod, there is no context either.
        let said = said.unwrap_or_default();
        let said = String::from_utf8(said).context("the context's namespace is not understood")?;
        Ok(match said.trim() {
            "" => "default".to_owned(),
            named => named.to_owned(),
        })
    }

    /// The command line, to be run by whoever asks.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let Access {
            namespace,
            context,
            kubeconfig,
        } = &self.access;
        let mut command = Command::new(KUBECTL);
        let flags = [
            ("--namespace", namespace),
            ("--context", context),
            ("--kubeconfig", kubeconfig),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                command.arg(format!("{flag}={value}"));
            }
        }
        command.args(args);
        command
    }

    /// Runs it; what it prints, and how it ends.
    pub(super) fn output(&self, args: &[&str], input: Option<&[u8]>) -> anyhow::Result<Output> {
        let mut child = self
            .command(args)
            .stdin(match input {
                Some(_) => Stdio::piped(),
                None => Stdio::inherit(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(MISSING)?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            pipe.write_all(input)?;
        }
        Ok(child.wait_with_output()?)
    }
}

/// What the API server says, without kubectl's words before it: `Error from server (Forbidden): `.
pub(super) fn plain(said: &str) -> &str {
    let rest = said.strip_prefix("Error from server ");
    let rest = rest.and_then(|rest| rest.strip_prefix('('));
    match rest.and_then(|rest| rest.split_once("): ")) {
        Some((_, rest)) => rest,
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_the_api_server_says() {
        for (said, want) in [
            (
                "Error from server (NotFound): approvals.actpass.org \"a\" not found",
                "approvals.actpass.org \"a\" not found",
            ),
            ("error: no context", "error: no context"),
            ("Error from server ", "Error from server "),
        ] {
            assert_eq!(plain(said), want);
        }
    }
}
