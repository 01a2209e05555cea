//! A payment provider behind TLS, agents that use its official SDKs, and an ActPass between them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests: what goes wrong here fails the test"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actpass;
use crate::authority::Authority;
use crate::front::Front;
use crate::tools::{localstripe, node_modules};

/// The provider's name.
pub const HOST: &str = "api.stripe.com";

/// The key that only the vault and the provider know. The provider takes any that begins so; the agents' is another.
pub const KEY: &str = "sk_test_The+real/Key=9";

/// What the agents send, and nobody may ever receive.
pub const DUMMY: &str = "sk_dummy";

const POLICY: &str = r#"
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: refund-agent}
spec:
  agentId: refund-agent
  owner: owner@example.com
  purpose: Refund customers of the web shop
  scope: [{capability: stripe.refunds.create}, {capability: stripe.read}]
  limits: [{meter: refunds, unit: USD, max: "100000.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: refunds}
spec:
  targetRefs: [{kind: Passport, name: refund-agent}]
  rules:
    - {name: huge, decision: Deny, capabilities: [stripe.refunds.create], amounts: [{currency: USD, gt: "10000.00"}]}
    - name: large
      decision: RequireApproval
      capabilities: [stripe.refunds.create]
      amounts: [{currency: USD, gt: "500.00"}]
      approval: {groups: [finance], expiresAfterSeconds: 1800}
    - name: small
      decision: Allow
      allowIrreversible: true
      capabilities: [stripe.refunds.create]
      amounts: [{currency: USD, lte: "500.00"}]
    - {name: reads, decision: Allow, capabilities: [stripe.read]}
"#;

/// A provider, TLS in front of it, and an ActPass that knows its key.
pub struct World {
    dir: tempfile::TempDir,
    provider: Child,
    port: u16,
    authority: Authority,
    /// What came through to the provider.
    pub front: Front,
}

impl World {
    /// Starts all of it, the provider on 127.0.0.1.
    pub fn start() -> Self {
        Self::start_at(TcpListener::bind(("127.0.0.1", 0)).unwrap())
    }

    /// Starts all of it, the provider behind a listener that may be in another network.
    pub fn start_at(listener: TcpListener) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = fs::File::create(dir.path().join("provider.log")).unwrap();
        let provider = Command::new(localstripe())
            .args(["--from-scratch", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let authority = Authority::new().unwrap();
        let front = Front::on(listener, &authority, HOST, port).unwrap();
        let world = Self {
            dir,
            provider,
            port,
            authority,
            front,
        };
        world.wait_for_provider();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // The catalogue's own declaration, but for the authority: the tests' provider has no public certificate.
        let declared = fs::read_to_string(root.join("../catalog/stripe.yaml")).unwrap();
        let tls = format!(
            "tls:\n    mode: Intercept\n    caBundle: |\n{}",
            world.authority.block(6)
        );
        assert!(declared.contains("tls: {mode: Intercept}\n"));
        let declared = declared.replace("tls: {mode: Intercept}\n", &tls);
        fs::write(world.path("policy.yaml"), declared + POLICY).unwrap();
        fs::write(
            world.path("ca.pem"),
            format!("{}\n", world.authority.pem.trim()),
        )
        .unwrap();
        for agent in fs::read_dir(root.join("sdk")).unwrap() {
            let agent = agent.unwrap();
            fs::copy(agent.path(), world.path(agent.file_name())).unwrap();
        }
        std::os::unix::fs::symlink(node_modules(), world.path("node_modules")).unwrap();
        world.store("stripe-read", &["Read"]);
        world.store("stripe-write", &["Write", "Irreversible"]);
        world
    }

    /// A file of the working directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    fn wait_for_provider(&self) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < give_up, "the provider does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `actpass` with this world's state.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(actpass());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ACTPASS_STATE_DIR", self.path("state"))
            .env("ACTPASS_LOG", "error");
        command
    }

    fn store(&self, name: &str, effects: &[&str]) {
        let mut args = vec![
            "credentials",
            "put",
            name,
            "--host",
            HOST,
            "--ca-file",
            "ca.pem",
        ];
        for effect in effects {
            args.extend(["--effect", effect]);
        }
        let mut child = self
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(KEY.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Asks the provider directly, beside ActPass.
    fn provider(&self, method: &str, path: &str, form: &[&str]) -> Value {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-S",
            "-m",
            "10",
            "-u",
            &format!("{KEY}:"),
            "-X",
            method,
        ]);
        curl.arg(format!("http://127.0.0.1:{}{path}", self.port));
        for field in form {
            curl.args(["-d", field]);
        }
        let output = curl.output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{path}: {error}: {output:?}"))
    }

    /// A charge large enough for every refund of an agent.
    pub fn charge(&self) -> String {
        let id = |made: Value| {
            made["id"]
                .as_str()
                .unwrap_or_else(|| panic!("{made}"))
                .to_owned()
        };
        let customer = id(self.provider("POST", "/v1/customers", &["email=a@example.com"]));
        let card = [
            "type=card",
            "card[number]=4242424242424242",
            "card[exp_month]=12",
            "card[exp_year]=2030",
            "card[cvc]=123",
        ];
        let method = id(self.provider("POST", "/v1/payment_methods", &card));
        let attach = format!("/v1/payment_methods/{method}/attach");
        self.provider("POST", &attach, &[&format!("customer={customer}")]);
        let (customer, source) = (format!("customer={customer}"), format!("source={method}"));
        id(self.provider(
            "POST",
            "/v1/charges",
            &["amount=5000000", "currency=usd", &customer, &source],
        ))
    }

    /// Amounts and notes of the refunds of a charge, as the provider lists them, all pages.
    pub fn refunds(&self, charge: &str) -> Vec<(u64, String)> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.provider(
                "GET",
                &format!("/v1/refunds?limit=100&charge={charge}{after}"),
                &[],
            );
            for refund in page["data"].as_array().unwrap() {
                let note = refund["metadata"]["note"].as_str().unwrap_or_default();
                found.push((refund["amount"].as_u64().unwrap(), note.to_owned()));
                after = format!("&starting_after={}", refund["id"].as_str().unwrap());
            }
            if page["has_more"] != true {
                found.sort();
                return found;
            }
        }
    }

    /// The policy, as manifests.
    pub fn manifests(&self) -> String {
        fs::read_to_string(self.path("policy.yaml")).unwrap()
    }

    /// SHA-256 of the authority that the Upstream declares, as credentials are bound to it.
    pub fn ca_digest(&self) -> String {
        let declared = format!("{}\n", self.authority.pem.trim());
        actpass_core::hash::hex(&actpass_core::hash::sha256(&[declared.as_bytes()]))
    }

    fn approve(&self, approval: &str) {
        let output = self
            .command(&["approvals", "approve", approval])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs one agent through all its steps, approving what it asks for, and gives the answers by step.
    pub fn run(
        &self,
        charge: &str,
        agent: &[&str],
        options: &[&str],
        env: &[(&str, &str)],
    ) -> Steps {
        let connect_to = format!("{HOST}:443:127.0.0.1:{}", self.front.port);
        let mut args = vec!["run", "-f", "policy.yaml", "--connect-to", &connect_to];
        args.extend_from_slice(options);
        args.push("--");
        args.extend_from_slice(agent);
        let mut command = self.command(&args);
        command.env("CHARGE", charge).envs(env.iter().copied());
        Steps::of(&mut command, |approval| self.approve(approval))
    }

    /// Runs an agent and checks all that every agent must see, and what the provider has done at the end.
    pub fn governs(&self, agent: &[&str], options: &[&str], env: &[(&str, &str)]) -> Steps {
        self.governs_agent(agent, |charge| self.run(charge, agent, options, env))
    }

    /// Runs `agent` with a charge and checks the same.
    pub fn governs_agent(&self, agent: &[&str], run: impl FnOnce(&str) -> Steps) -> Steps {
        let (charge, before) = (self.charge(), self.front.seen().len());
        let steps = run(&charge);
        let (status, answer) = steps.at("small");
        assert_eq!(
            (status, &answer["amount"]),
            (200, &12_000.into()),
            "{answer}"
        );
        let (status, answer) = steps.at("huge");
        assert_eq!(status, 403);
        let said = answer.to_string();
        assert!(said.contains("Rule refunds/huge denies this"), "{said}");
        for asked in ["repeat asked", "execute asked", "repeat again"] {
            let (status, answer) = steps.at(asked);
            assert_eq!(status, 403, "{asked}");
            assert!(
                answer.to_string().contains("needs a person's approval"),
                "{asked}: {answer}"
            );
        }
        for done in ["repeat", "execute"] {
            let (status, answer) = steps.at(done);
            assert_eq!(
                (status, &answer["amount"]),
                (200, &250_000.into()),
                "{done}: {answer}"
            );
        }
        let (status, answer) = steps.at("execute again");
        assert_eq!((status, &answer["code"]), (403, &"approval_used".into()));
        let done = ["execute", "repeat"].map(|note| (250_000, note.to_owned()));
        let permitted = [vec![(12_000, "small".to_owned())], done.to_vec()].concat();
        assert_eq!(self.refunds(&charge), permitted, "{agent:?}");
        let seen = self.front.seen();
        let seen = seen.get(before..).unwrap();
        assert_eq!(
            seen.len(),
            3,
            "nothing else reached the provider, and no denial was tried again"
        );
        for request in seen {
            let credential = request.header("authorization").unwrap();
            assert_eq!(credential, format!("Bearer {KEY}"), "{agent:?}");
            assert!(!format!("{request:?}").contains(DUMMY), "{request:?}");
        }
        steps
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.provider.kill());
        drop(self.provider.wait());
    }
}

/// What an agent printed, by step.
#[derive(Default)]
pub struct Steps(Vec<(String, Value)>);

impl Steps {
    /// The steps that an agent prints as it runs; `approve` is called for each approval that it waits for.
    pub fn of(agent: &mut Command, mut approve: impl FnMut(&str)) -> Self {
        let agent = agent.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = agent.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut steps = Self::default();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let step: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            let name = step["step"].as_str().unwrap().to_owned();
            if name.ends_with(" asked") {
                approve(steps.approval_in(&step));
                stdin.write_all(b"go on\n").unwrap();
            }
            steps.0.push((name, step));
        }
        assert!(
            child.wait().unwrap().success(),
            "{agent:?} failed after {:?}",
            steps.0
        );
        steps
    }

    /// Status and answer of a step.
    pub fn at(&self, step: &str) -> (u64, &Value) {
        let (_, found) = self
            .0
            .iter()
            .find(|(name, _)| name == step)
            .unwrap_or_else(|| panic!("no step `{step}` in {:?}", self.0));
        (found["status"].as_u64().unwrap(), &found["answer"])
    }

    fn approval_in<'a>(&self, step: &'a Value) -> &'a str {
        let answer = &step["answer"];
        answer["approval"]
            .as_str()
            .or_else(|| answer["approval"]["id"].as_str())
            .unwrap_or_else(|| panic!("no approval in {step}, after {:?}", self.0))
    }
}
