//! A contained agent that sends what it is told: the program `relay`, in front of an upstream of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::home::Home;
use crate::program;

/// One that runs.
pub struct Agent {
    run: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts one within `actpass run`, under the policy of `home`, for which `host` is at `127.0.0.1:port`.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(home: &Home, host: &str, port: u16) -> anyhow::Result<Self> {
        let relay = home.install(&program("relay"))?;
        let there = format!("{host}:443:127.0.0.1:{port}");
        let mut command = home.actpass(&["run", "-f", "policy.yaml", "--connect-to", &there, "--"]);
        command
            .arg(relay)
            // In debug builds h2 has an assertion that fails in a task of its own when a connection breaks off; the symbols
            // that a backtrace reads are 70 MiB, which is no memory that anybody sent.
            .env("RUST_BACKTRACE", "0");
        Self::of(command)
    }

    /// One that this command starts.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn of(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut run = command.spawn()?;
        let to = run.stdin.take().context("standard input")?;
        let from = BufReader::new(run.stdout.take().context("standard output")?);
        Ok(Self { run, to, from })
    }

    /// Has it do one thing, as `relay` says, and gives what came of it.
    ///
    /// # Errors
    /// Where it has gone, or says nothing that can be read.
    pub fn tell(&mut self, what: &Value) -> anyhow::Result<Value> {
        writeln!(self.to, "{what}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("`{line}`"))
    }

    /// The process that was started; `actpass run` judges and forwards as well.
    pub fn sidecar(&self) -> u32 {
        self.run.id()
    }

    /// Ends it, and the run with it.
    ///
    /// # Errors
    /// Where it does not end well.
    pub fn end(self) -> anyhow::Result<()> {
        let Self { mut run, to, .. } = self;
        drop(to);
        ensure!(run.wait()?.success(), "the run did not end well");
        Ok(())
    }
}
