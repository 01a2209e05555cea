//! `actpass demo`: a treasury agent pays vendors at a payment provider of our own, and everything that can be claimed
//! about it is checked on the way: a step that does not come out as told ends the tour with an error.

pub(crate) mod agent;
mod provider;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::commands::show;
use crate::exit::Exit;
use provider::Provider;

/// What the provider knows the agent's owner by. It is made up, and the agent never sees it.
const KEY: &str = "live_key_of_the_tour_4f9c2";

/// First argument of the agent of the tour. No person needs it, so no help shows it.
pub(crate) const AGENT: &str = "__demo-agent";

/// Gives the tour.
pub(crate) async fn demo() -> anyhow::Result<Exit> {
    let dir = tempfile::tempdir().context("a directory for the tour")?;
    let provider = Provider::start().await?;
    let tour = Tour {
        exe: std::env::current_exe()?,
        state: dir.path().join("state"),
        policy: dir.path().join("policy"),
    };
    std::fs::create_dir_all(&tour.policy)?;
    let upstream = indent(provider.ca_pem());
    std::fs::write(
        tour.policy.join("payments.yaml"),
        include_str!("demo/payments.yaml").replace("        CA_BUNDLE", &upstream),
    )?;
    std::fs::write(
        tour.policy.join("treasury.yaml"),
        include_str!("demo/treasury.yaml"),
    )?;

    say(
        "1. Policy: a Passport (who, what, how much), an Upstream (where, how actions are read), an ActionPolicy (rules).",
    )?;
    show::line(include_str!("demo/treasury.yaml").trim_end())?;
    tour.actpass(&["check", "policy"], None, 0).await?;
    say("2. The provider's key goes into the vault, bound to one host. The agent never holds it.")?;
    for (name, effects) in [
        ("payments-read", &["Read"][..]),
        ("payments-write", &["Write", "Irreversible"]),
    ] {
        tour.store(name, effects, &provider).await?;
    }
    say("3. The agent runs in a network where only api.payments.example exists:")?;
    tour.run_agent(&provider).await?;

    let paid = provider.paid();
    say(&format!(
        "4. The provider's own books: {}.",
        paid.join(", ")
    ))?;
    ensure!(
        paid == ["ven_acme 120.00", "ven_acme 2500.00", "ven_initech 400.00"],
        "the provider was paid otherwise than permitted: {paid:?}"
    );
    ensure!(
        provider.keys_seen().iter().all(|key| key == KEY),
        "the provider saw another key"
    );
    tour.actpass(&["limits"], None, 0).await?;
    say("5. Anyone can verify the log, offline and without us:")?;
    tour.actpass(&["verify"], None, 0).await?;
    say("6. Now one byte of the log changes:")?;
    tour.tamper().await?;
    say(NEXT)?;
    Ok(Exit::Ok)
}

/// One tour: the program itself, and where its files are.
struct Tour {
    exe: PathBuf,
    state: PathBuf,
    policy: PathBuf,
}

impl Tour {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.exe);
        command
            .env("ACTPASS_STATE_DIR", &self.state)
            .env("ACTPASS_LOG", "error");
        command.current_dir(self.policy.parent().unwrap_or(Path::new("/")));
        command.kill_on_drop(true);
        command
    }

    /// Runs one of our commands as a person would, shows it, and expects its exit code.
    async fn actpass(
        &self,
        args: &[&str],
        input: Option<&str>,
        code: i32,
    ) -> anyhow::Result<String> {
        show::line(&format!("   $ actpass {}", args.join(" ")))?;
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(input.unwrap_or_default().as_bytes())
                .await?;
        }
        let output = child.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in text.lines() {
            show::line(&format!("     {line}"))?;
        }
        ensure!(
            output.status.code() == Some(code),
            "`actpass {}` ended with {}, expected {code}",
            args.join(" "),
            output.status
        );
        Ok(text)
    }

    async fn store(&self, name: &str, effects: &[&str], provider: &Provider) -> anyhow::Result<()> {
        let ca = self.policy.join("ca.pem");
        std::fs::write(&ca, provider.ca_pem())?;
        let mut args = vec!["credentials", "put", name, "--host", "api.payments.example"];
        args.extend(["--ca-file", "policy/ca.pem"]);
        for effect in effects {
            args.extend(["--effect", effect]);
        }
        self.actpass(&args, Some(KEY), 0).await.map(drop)
    }

    /// Runs the agent, tells what it meets, and answers the one question it has for people.
    async fn run_agent(&self, provider: &Provider) -> anyhow::Result<()> {
        let connect_to = format!("api.payments.example:443:127.0.0.1:{}", provider.port());
        let exe = self.exe.display().to_string();
        let mut child = self
            .command()
            .args(["run", "-f", "policy", "--connect-to", &connect_to, "--"])
            .args([&exe, AGENT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the agent's output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut expected = EXPECTED.iter();
        while let Some(line) = lines.next_line().await? {
            let met: Value =
                serde_json::from_str(&line).with_context(|| format!("the agent said `{line}`"))?;
            let Some((what, status, code)) = expected.next() else {
                bail!("the agent did more than expected: {line}");
            };
            let text = |field: &str| met.get(field).and_then(Value::as_str).unwrap_or_default();
            show::line(&format!("   {:<34} {}", text("what"), text("shown")))?;
            ensure!(
                text("what") == *what && text("status") == *status && text("code") == *code,
                "expected {what}: {status} {code}, met {line}"
            );
            if *code == "approval_required" {
                let id = text("approval").to_owned();
                show::line("   -- a person looks at it and agrees --")?;
                self.actpass(&["approvals", "show", &id], None, 0).await?;
                self.actpass(&["approvals", "approve", &id], None, 0)
                    .await?;
            }
        }
        let status = child.wait().await?;
        ensure!(status.success(), "the agent ended with {status}");
        ensure!(expected.next().is_none(), "the agent stopped early");
        Ok(())
    }

    /// Changes one byte of the log, verifies, and changes it back.
    async fn tamper(&self) -> anyhow::Result<()> {
        let segment = self.state.join("log/segments/00000001.seg");
        let mut bytes =
            std::fs::read(&segment).with_context(|| format!("read `{}`", segment.display()))?;
        let amount = b"\"minor\":\"12000\"";
        let at = bytes
            .windows(amount.len())
            .position(|window| window == amount);
        let at = at.context("the amount of 120.00 USD in the log")? + 9;
        let Some(digit) = bytes.get_mut(at) else {
            bail!("the log ends early")
        };
        *digit = b'9';
        show::line(&format!(
            "   (120.00 USD becomes 920.00 USD, byte {at} of 00000001.seg; the record it stands in begins before it)"
        ))?;
        std::fs::write(&segment, &bytes)?;
        let report = self.actpass(&["verify"], None, 3).await?;
        ensure!(
            report.contains("INVALID"),
            "the change was not named: {report}"
        );
        if let Some(digit) = bytes.get_mut(at) {
            *digit = b'1';
        }
        std::fs::write(&segment, &bytes)?;
        show::line("   (the byte is put back)")?;
        self.actpass(&["verify"], None, 0).await.map(drop)
    }
}

/// What the agent is to meet: what it does, the status, and the machine-readable code of the answer.
const EXPECTED: [(&str, &str, &str); 10] = [
    ("read the balance", "200", ""),
    ("pay ven_acme 120.00", "200", ""),
    ("pay ven_acme 15000.00", "403", "rule_denies"),
    ("pay shell_company 120.00", "403", "resource_out_of_scope"),
    ("pay ven_acme 2500.00", "403", "approval_required"),
    ("pay ven_acme 2500.00 again", "200", ""),
    ("pay ven_acme 2500.00 once more", "403", "limit_exceeded"),
    ("pay ven_initech 400.00", "200", ""),
    ("look for the key", "not found", ""),
    ("resolve example.com", "no such name", ""),
];

/// What to try after the tour.
const NEXT: &str = "That is the tour. Next:
  actpass run --help      your own agent under a Passport
  actpass check DIR       your manifests, every mistake with its place
  actpass approvals list  questions that wait for you
In this version local mode contains the network only: files and sockets of your user stay reachable.";

fn say(text: &str) -> anyhow::Result<()> {
    show::line(&format!("\n{text}"))
}

fn indent(pem: &str) -> String {
    let lines: Vec<String> = pem
        .trim()
        .lines()
        .map(|line| format!("        {line}"))
        .collect();
    lines.join("\n")
}
