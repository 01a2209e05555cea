//! The Kubernetes node of the tests and the world around it, which `tests/cluster/up` starts.
//!
//! *Networks*: the node's, 10.77.0.1, with pods in 10.88.0.0/24 and services in 10.96.0.0/16; its only way out leads into
//! the world's, where 198.51.100.0/24 are the addresses of servers, and names exist as far as [`Cluster::declare`] says.
//! The machine's own network has no link to either: tests reach in by commands, and by threads that enter.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sched::{CloneFlags, setns};

use crate::frames::Sniffer;
use crate::home::{User, has_all_ids, text};
use crate::questions::{Question, Transport};

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    state: PathBuf,
}

/// Whether one is asked for; `make setup` made its programs then.
pub(crate) fn asked_for() -> bool {
    std::env::var_os("ACTPASS_TEST_CLUSTER").is_some_and(|value| !value.is_empty())
}

/// Whether one is asked for and this user can start it; where not, that is printed.
pub fn possible() -> bool {
    let asked = asked_for();
    let possible = User::own().is_root() && has_all_ids();
    match (asked, possible) {
        (false, _) => println!("LEFT OUT: the Kubernetes node; run `make test` as root"),
        (true, false) => println!(
            "LEFT OUT: the Kubernetes node, since only root of the machine can start it; run as root"
        ),
        (true, true) => {}
    }
    asked && possible
}

/// The same, for a test of minutes that watches a whole installation change: only where loops have their full length.
pub fn possible_at_length() -> bool {
    if crate::scaled(1_000) < 1_000 {
        println!("LEFT OUT: it takes minutes; run `make test-full` as root");
        return false;
    }
    possible()
}

/// A cluster of one test's own, where what all share would be in the way; it ends with the test, whichever way that ends.
#[derive(Debug)]
pub struct Own {
    cluster: Cluster,
    _files: tempfile::TempDir,
}

impl Own {
    /// Starts it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn up() -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        Ok(Self {
            cluster: Cluster::up_in(files.path())?,
            _files: files,
        })
    }
}

impl std::ops::Deref for Own {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            eprintln!("the test's cluster is not gone: {error}");
        }
    }
}

impl Cluster {
    /// The one that all tests share, started unless it is up. It stays up: `make test` ends it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn up() -> anyhow::Result<Self> {
        let state = std::env::var_os("ACTPASS_CLUSTER_DIR");
        Self::up_in(&state.map_or_else(|| crate::tools::cache().join("cluster"), PathBuf::from))
    }

    /// One of a test's own, with its files in that directory; [`Cluster::down`] ends it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn up_in(state: &Path) -> anyhow::Result<Self> {
        let cluster = Self {
            state: state.to_path_buf(),
        };
        cluster.ran(&mut cluster.script("up"))?;
        Ok(cluster)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where something of it is left.
    pub fn down(&self) -> anyhow::Result<()> {
        self.ran(&mut self.script("down"))
    }

    /// Where its files are: `log/`, `pki/`, `dns/hosts`.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// How `kubectl` of the node's network reaches it as an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("pki/admin.conf")
    }

    /// The id of its first process; all others are in that one's process namespace.
    ///
    /// # Errors
    /// Where it is not up.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let file = fs::read_to_string(self.state.join("init.pid"))?;
        let pid = file.split(' ').next().unwrap_or_default();
        Ok(pid.parse()?)
    }

    /// `kubectl` as an administrator, ended.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.kube("kubectl").args(args).output()?)
    }

    /// What `kubectl` says on its standard output.
    ///
    /// # Errors
    /// Where it fails, with what it says.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl(args)?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            text(&output)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `kubectl apply` of manifests.
    ///
    /// # Errors
    /// Where they are refused, with what it says.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        self.apply_in("default", yaml)
    }

    /// The same in a namespace.
    ///
    /// # Errors
    /// As there.
    pub fn apply_in(&self, namespace: &str, yaml: &str) -> anyhow::Result<()> {
        self.fed_in(namespace, &["apply"], yaml)
    }

    /// `kubectl` with manifests on its standard input.
    fn fed_in(&self, namespace: &str, verb: &[&str], yaml: &str) -> anyhow::Result<()> {
        let mut child = self
            .kube("kubectl")
            .args(verb)
            .args(["--namespace", namespace, "--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("standard input")?;
        // What begins with a brace kubectl takes for JSON first, and depending on how the pipe is read for nothing else.
        { stdin }.write_all(format!("---\n{yaml}").as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl: {}", text(&output));
        Ok(())
    }

    /// `helm` as an administrator, ended.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn helm(&self, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.kube("helm").args(args).output()?)
    }

    /// A program of the cluster's (`kubectl`, `helm`, `kubeconform`) in the node's network, that reads the machine's files.
    pub fn kube(&self, program: &str) -> Command {
        let mut command = self.script("in");
        command.args(["kube", program]);
        command
    }

    /// A program in the node: its file system, network and process ids. `/run/actpass/part kill kubelet`, for example.
    pub fn node(&self, program: &str) -> Command {
        let mut command = self.script("in");
        command.args(["node", program]);
        command
    }

    /// A namespace of a test's own, its name beginning with `prefix`.
    ///
    /// # Errors
    /// Where it is not made.
    pub fn namespace(&self, prefix: &str) -> anyhow::Result<Namespace<'_>> {
        let mut unique = [0; 4];
        getrandom::fill(&mut unique)?;
        let name = format!("{prefix}-{:08x}", u32::from_be_bytes(unique));
        let namespace = Namespace {
            cluster: self,
            name,
        };
        namespace.make()?;
        Ok(namespace)
    }

    /// The same command, with its directory and environment, in the network of the world; input and outputs are to be
    /// set anew.
    pub fn in_world(&self, command: &Command) -> Command {
        let mut inside = self.script("in");
        inside
            .arg("world")
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Does `work` on a thread that is in the network of the world: sockets that it makes stay there, wherever they are
    /// used later.
    ///
    /// # Errors
    /// Where the thread cannot enter, and those of `work`.
    pub fn world<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let network = format!("/proc/{}/root/run/netns/actpass-world", self.pid()?);
        entered(&network, work)
    }

    /// The same in the network of the node.
    ///
    /// # Errors
    /// As there.
    pub fn in_node<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        entered(&format!("/proc/{}/ns/net", self.pid()?), work)
    }

    /// A listener of the world's on that port, at an address where nobody else listens, and the name of that address.
    ///
    /// # Errors
    /// Where all addresses are taken, or the name does not resolve.
    pub fn serve(&self, name: &str, port: u16) -> anyhow::Result<TcpListener> {
        let listener = self.world(|| {
            (1..=254)
                .find_map(|host| TcpListener::bind((Ipv4Addr::new(198, 51, 100, host), port)).ok())
                .context("every address of the world is taken")
        })?;
        match listener.local_addr()? {
            SocketAddr::V4(address) => self.declare(name, *address.ip())?,
            SocketAddr::V6(address) => bail!("`{address}` is not of the world"),
        }
        Ok(listener)
    }

    /// Gives a name of the world that address and no other, and returns when it resolves to it.
    ///
    /// # Errors
    /// Where it does not within a minute: the server looks every second.
    pub fn declare(&self, name: &str, address: Ipv4Addr) -> anyhow::Result<()> {
        self.name(&[(name.to_owned(), vec![address.into()])])?;
        eventually(Duration::from_secs(60), || {
            let found = self.resolve(name)?;
            ensure!(found == [address], "`{name}` resolves to {found:?}");
            Ok(())
        })
    }

    /// Gives names of the world these addresses and no others, within a second.
    ///
    /// # Errors
    /// Where they cannot be written down.
    pub fn name(&self, names: &[(String, Vec<IpAddr>)]) -> anyhow::Result<()> {
        let path = self.state.join("dns/hosts");
        // Tests of several programs write here.
        let file = File::options().read(true).write(true).open(&path)?;
        file.lock()?;
        let before = fs::read_to_string(&path)?;
        let is_new = |it: &str| names.iter().any(|(name, _)| name == it);
        let kept = before
            .lines()
            .filter(|line| !line.split(' ').nth(1).is_some_and(is_new));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        for (name, addresses) in names {
            lines.extend(addresses.iter().map(|it| format!("{it} {name}")));
        }
        fs::write(&path, lines.join("\n") + "\n")?;
        file.unlock()?;
        Ok(())
    }

    /// The addresses that the world's name server has for a name.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn resolve(&self, name: &str) -> anyhow::Result<Vec<Ipv4Addr>> {
        let socket = self.world(|| Ok(UdpSocket::bind("10.77.0.2:0")?))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let question = Question::new(name, 1).bytes(Transport::Udp)?;
        socket.send_to(&question, "10.77.0.2:53")?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        // Our question is repeated, then come records that differ in the address at their end.
        let count = answer.get(6..8).and_then(<[u8]>::first_chunk::<2>);
        let count = usize::from(u16::from_be_bytes(*count.context("an answer cut off")?));
        let records = answer.get(question.len()..length);
        let records = records.context("an answer without the question")?;
        let size = records.len().checked_div(count).unwrap_or(1).max(1);
        let address = |record: &[u8]| Some(Ipv4Addr::from(*record.last_chunk::<4>()?));
        Ok(records.chunks_exact(size).filter_map(address).collect())
    }

    /// The world's end of its link to the node.
    ///
    /// # Errors
    /// Where the link cannot be listened on.
    pub fn sniffer(&self) -> anyhow::Result<Sniffer> {
        self.world(|| Sniffer::on("to-node"))
    }

    fn script(&self, name: &str) -> Command {
        let mut command =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/").to_owned() + name);
        command
            .env("ACTPASS_CLUSTER_DIR", &self.state)
            .stdin(Stdio::null());
        command
    }

    #[expect(clippy::unused_self, reason = "reads as what it does: this cluster's")]
    fn ran(&self, command: &mut Command) -> anyhow::Result<()> {
        let output = command.output()?;
        ensure!(output.status.success(), "{}", text(&output));
        Ok(())
    }
}

/// A namespace, deleted when it is dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    /// The cluster it is in.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace<'_> {
    /// [`Cluster::kubectl`] in it.
    ///
    /// # Errors
    /// As there.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<Output> {
        self.cluster.kubectl(&self.args(args))
    }

    /// [`Cluster::ask`] in it.
    ///
    /// # Errors
    /// As there.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<String> {
        self.cluster.ask(&self.args(args))
    }

    /// [`Cluster::apply`] in it.
    ///
    /// # Errors
    /// As there.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        self.cluster.apply_in(&self.name, yaml)
    }

    /// What the API server says of manifests that are new; it keeps nothing of them.
    ///
    /// # Errors
    /// Where they are refused, with what it says.
    pub fn tried(&self, yaml: &str) -> anyhow::Result<()> {
        let verb = ["create", "--dry-run=server"];
        self.cluster.fed_in(&self.name, &verb, yaml)
    }

    /// Applies the manifest of one pod and waits until that is ready.
    ///
    /// # Errors
    /// Where it is refused, or not ready within two minutes: then with what `kubectl describe` says of it.
    pub fn start(&self, pod: &str, manifest: &str) -> anyhow::Result<()> {
        self.apply(manifest)?;
        let pod = format!("pod/{pod}");
        let ready = self.ask(&["wait", "--for=condition=Ready", &pod, "--timeout=120s"]);
        ready.or_else(|error| bail!("{error}\n{}", self.ask(&["describe", &pod])?))?;
        Ok(())
    }

    /// Runs a shell script in a pod's first container.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn exec(&self, pod: &str, script: &str) -> anyhow::Result<Output> {
        self.kubectl(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Deletes it with all that is in it, waits until it is gone, and makes another of its name.
    ///
    /// # Errors
    /// Where it is not gone within two minutes, or not made.
    pub fn anew(&self) -> anyhow::Result<()> {
        let delete = ["delete", "namespace", &self.name, "--timeout=120s"];
        self.cluster.ask(&delete)?;
        self.make()
    }

    fn make(&self) -> anyhow::Result<()> {
        self.cluster.ask(&["create", "namespace", &self.name])?;
        // Pods are refused until it is there, which takes long where several clusters start at once.
        eventually(Duration::from_secs(60), || {
            self.ask(&["get", "serviceaccount", "default"])
        })?;
        Ok(())
    }

    fn args<'b>(&'b self, args: &[&'b str]) -> Vec<&'b str> {
        // `exec` takes what stands behind the command for the program's.
        [&["--namespace", &self.name], args].concat()
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // What is left of it ends with the cluster.
        self.cluster
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"])
            .ok();
    }
}

/// Tries again, every 0.2 s, until `attempt` succeeds.
///
/// # Errors
/// The last one of `attempt`, when `patience` is over.
pub fn eventually<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(200)),
            result => return result,
        }
    }
}

/// Does `work` on a thread in another network.
fn entered<T: Send>(
    network: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let file = File::open(network).with_context(|| format!("open `{network}`"))?;
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| bail!("a thread in another network panicked"))
    })
}
