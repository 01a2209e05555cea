//! A payment provider and an agent that pays there, in a directory of its own.

use std::process::Command;
use std::time::Duration;

use crate::home::{Home, User};
use crate::provider::{HOST, Provider};

/// Both.
pub struct Payments {
    /// Where the agent runs.
    pub home: Home,
    /// Who is asked to pay.
    pub provider: Provider,
}

impl Payments {
    /// A provider whose answers take `delay`; its authority stands for `CA_BUNDLE` in `policy`, and `agent` is a script.
    ///
    /// # Errors
    /// Where provider or directory cannot be made.
    pub fn start(policy: &str, delay: Duration, agent: &str) -> anyhow::Result<Self> {
        let provider = Provider::start(delay)?;
        let pem = provider.ca_pem.trim();
        let indented: Vec<String> = pem.lines().map(|line| format!("      {line}")).collect();
        let policy = policy.replace("CA_BUNDLE", &indented.join("\n"));
        let home = Home::new(User::own(), &policy)?;
        // The digest of a declared bundle is over its text, which ends in one line feed here.
        home.write("ca.pem", &format!("{pem}\n"))?;
        home.write("agent.sh", agent)?;
        Ok(Self { home, provider })
    }

    /// Stores the key that the Upstream lends as `pay`.
    ///
    /// # Errors
    /// Where it is not stored.
    pub fn store_key(&self) -> anyhow::Result<()> {
        let bound = [
            "--host",
            HOST,
            "--ca-file",
            "ca.pem",
            "--effect",
            "Irreversible",
        ];
        self.home.store("pay", &bound, "the_real_key")
    }

    /// `actpass run` of the agent, against the provider.
    pub fn agent(&self) -> Command {
        let connect_to = format!("{HOST}:443:127.0.0.1:{}", self.provider.port);
        let run = ["run", "-f", "policy.yaml", "--connect-to", &connect_to];
        let mut command = self.home.actpass(&run);
        command.args(["--", "bash", "agent.sh"]);
        command
    }
}
