//! A pod of the tests' node as the machine sees it: its processes, their files, and the link that all it sends goes over.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::net::if_::if_nametoindex;
use rustix::fs::{XattrFlags, setxattr};

use crate::agent::Agent;
use crate::attack;
use crate::cluster::Namespace;
use crate::frames::{Frame, Sniffer};
use crate::home::text;
use crate::installed::SYSTEM;

/// Where the attack kit lies in an agent's container.
const KIT: &str = "opt/attack";

/// A pod named `free` that nobody governs and that may do everything.
pub const FREE: &str = "apiVersion: v1
kind: Pod
metadata: {name: free}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: 'actpass.test/agent-curl:test', imagePullPolicy: Never, command: [sleep, inf],
     securityContext: {runAsUser: 0, privileged: true, seccompProfile: {type: Unconfined}}}
";

/// A pod that runs.
#[derive(Debug)]
pub struct Pod<'a> {
    /// Where it is.
    pub namespace: &'a Namespace<'a>,
    /// Its name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The sidecar's uid, if it has one.
    pub sidecar_uid: Option<u32>,
    control: Vec<IpAddr>,
}

impl<'a> Pod<'a> {
    /// That pod of the namespace.
    ///
    /// # Errors
    /// Where it does not run, or ActPass is not installed.
    pub fn of(namespace: &'a Namespace<'a>, name: &str) -> anyhow::Result<Self> {
        let ask = |path: &str| {
            let path = format!("-o=jsonpath={path}");
            namespace.ask(&["get", "pod", name, &path])
        };
        let addresses = ask("{.status.podIPs[*].ip}")?;
        let addresses = addresses.split(' ').map(str::parse);
        let uid = ask("{.metadata.annotations.actpass\\.org/sidecar-uid}")?;
        let services = [
            "get",
            "services",
            "-n",
            SYSTEM,
            "-o=jsonpath={.items[*].spec.clusterIP}",
        ];
        let control = namespace.cluster.ask(&services)?;
        let control = control.split_whitespace();
        Ok(Self {
            namespace,
            name: name.to_owned(),
            addresses: addresses.collect::<Result<_, _>>()?,
            sidecar_uid: uid.parse().ok(),
            // A Service without an address has none to name.
            control: control.filter_map(|it| it.parse().ok()).collect(),
        })
    }

    /// First process of that container, as the machine counts. Sidecars are init containers to Kubernetes.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn process(&self, container: &str) -> anyhow::Result<u32> {
        let path = format!(
            "-o=jsonpath={{.status['containerStatuses','initContainerStatuses'][?(@.name==\"{container}\")].containerID}}"
        );
        let id = self.namespace.ask(&["get", "pod", &self.name, &path])?;
        let id = id.rsplit('/').next().unwrap_or_default();
        ensure!(!id.is_empty(), "no container `{container}`");
        first_of(id).with_context(|| format!("`{container}` does not run"))
    }

    /// The process that keeps its network and all else of its sandbox: the first one of the whole pod.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn sandbox(&self) -> anyhow::Result<u32> {
        let uid = ["get", "pod", &self.name, "-o=jsonpath={.metadata.uid}"];
        first_of(&self.namespace.ask(&uid)?).context("no sandbox")
    }

    /// Puts the attack kit into a container, with what would make it somebody else where that works: a copy that belongs to the
    /// sidecar's user, and an `nft` with a capability.
    ///
    /// # Errors
    /// Where its files cannot be written.
    pub fn plant(&self, container: &str) -> anyhow::Result<()> {
        let root = self.root(container)?;
        let program = attack::program()?;
        put(&program, &root, "attack")?;
        let setuid = put(&program, &root, "setuid")?;
        chown(&setuid, self.sidecar_uid, self.sidecar_uid)?;
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o6755))?;
        let nft = put(&root.join("usr/sbin/nft"), &root, "nft")?;
        setxattr(
            &nft,
            "security.capability",
            &attack::NET_ADMIN,
            XattrFlags::empty(),
        )?;
        Ok(())
    }

    /// Starts the program `relay` in a container, where it trusts whom that container trusts.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn relay(&self, container: &str) -> anyhow::Result<Agent> {
        self.relaying(container, &[])
    }

    /// The same in one that nobody gave a trust of its own: it trusts that authority alone.
    ///
    /// # Errors
    /// As there.
    pub fn relay_trusting(&self, container: &str, authority: &str) -> anyhow::Result<Agent> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(authority.as_bytes())?;
        put(file.path(), &self.root(container)?, "authority.pem")?;
        let trusts = format!("SSL_CERT_FILE=/{KIT}/authority.pem");
        self.relaying(container, &["env", &trusts])
    }

    fn relaying(&self, container: &str, before: &[&str]) -> anyhow::Result<Agent> {
        put(&crate::program("relay"), &self.root(container)?, "relay")?;
        let mut kubectl = self.namespace.cluster.kube("kubectl");
        kubectl
            .args(["exec", "--stdin", "--namespace", &self.namespace.name])
            .args([&self.name, "-c", container, "--"])
            .args(before)
            .arg(format!("/{KIT}/relay"));
        Agent::of(kubectl)
    }

    /// Its files as that container sees them.
    fn root(&self, container: &str) -> anyhow::Result<PathBuf> {
        let process = self.process(container)?;
        Ok(PathBuf::from(format!("/proc/{process}/root")))
    }

    /// Puts a file beside the planted kit, and gives its path in the container.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn put(&self, container: &str, name: &str, text: &str) -> anyhow::Result<String> {
        fs::write(self.root(container)?.join(KIT).join(name), text)?;
        Ok(format!("/{KIT}/{name}"))
    }

    /// Runs the planted kit in a container, and gives what it prints.
    ///
    /// # Errors
    /// Where it does not run to its end.
    pub fn attack(&self, container: &str, words: &str) -> anyhow::Result<String> {
        let mut environment = Vec::new();
        for (name, address) in ["POD_IP", "POD_IP6"].iter().zip(&self.addresses) {
            environment.push(format!("{name}={address}"));
        }
        let uid = self.sidecar_uid.map(|uid| format!("SIDECAR_UID={uid}"));
        environment.extend(uid);
        let script = format!("exec env {} /{KIT}/attack {words}", environment.join(" "));
        let args = [
            "exec", &self.name, "-c", container, "--", "sh", "-c", &script,
        ];
        let output = self.namespace.kubectl(&args)?;
        ensure!(output.status.success(), "{words}: {}", text(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The node's end of its link.
    ///
    /// # Errors
    /// Where the node has no route to it.
    pub fn sniffer(&self) -> anyhow::Result<Sniffer> {
        let device = self.device()?;
        self.namespace.cluster.in_node(|| Sniffer::on(&device))
    }

    /// Number of the node's end of its link.
    ///
    /// # Errors
    /// As there.
    pub fn link(&self) -> anyhow::Result<usize> {
        let device = self.device()?;
        let index = || Ok(if_nametoindex(device.as_str())?);
        Ok(self.namespace.cluster.in_node(index)?.try_into()?)
    }

    fn device(&self) -> anyhow::Result<String> {
        let address = self.addresses.first().context("no address")?;
        let address = address.to_string();
        self.namespace.cluster.in_node(|| {
            let route = Command::new("ip")
                .args(["-o", "route", "get", &address])
                .output()?;
            let route = text(&route);
            let mut words = route.split_whitespace();
            let device = words.find(|it| *it == "dev").and_then(|_| words.next());
            let device = device.with_context(|| route.clone())?;
            Ok(device.to_owned())
        })
    }

    /// Those of the frames that nobody decided on: not the link's own, answers to the kubelet and to Prometheus, what goes to the
    /// control plane and to these servers, and the questions for their names.
    pub fn undecided(&self, frames: &[Frame], decided: &[IpAddr], names: &[&str]) -> Vec<String> {
        let is_known = |frame: &Frame| {
            let asks = |name: &&str| frame.holds(&labels(name));
            let Some(packet) = frame.packet else {
                return false;
            };
            match (packet.protocol, packet.ports) {
                (TCP, (15021 | 15090, _)) => NODE.iter().any(|it| packet.to.to_string() == *it),
                (TCP, (_, 8443)) => self.control.contains(&packet.to),
                (TCP | UDP, (_, 53)) => CONTROL_NAMES.iter().chain(names).any(asks),
                (TCP, _) => decided.contains(&packet.to),
                _ => false,
            }
        };
        let left = frames
            .iter()
            .filter(|frame| !frame.is_of_the_link() && !is_known(frame));
        left.map(ToString::to_string).collect()
    }
}

/// Puts a file beside the attack kit of a container with these files, for everybody to run.
fn put(from: &Path, root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dir = root.join(KIT);
    fs::create_dir_all(&dir)?;
    let path = dir.join(name);
    fs::copy(from, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The first process that still runs of a group with that in its name, as the machine counts.
fn first_of(group: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let of_it = processes.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        // By its time and not by its number, which begins anew after 32,768. proc(5): field 22, the third is behind the name.
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let started: u64 = fields.split(' ').nth(22 - 3)?.parse().ok()?;
        groups.contains(group).then_some((started, number))
    });
    of_it.min().map(|(_, number)| number)
}

/// A name as DNS has it, RFC 1035 section 3.1, without its end.
fn labels(name: &str) -> Vec<u8> {
    let label = |text: &str| {
        let length = u8::try_from(text.len()).unwrap_or(0);
        [&[length], text.as_bytes()].concat()
    };
    name.split('.').flat_map(label).collect()
}

/// Whence the kubelet asks: the node's ends of the pods' links, too.
const NODE: [&str; 4] = ["10.77.0.1", "10.88.0.1", "fd77::1", "fe80::1"];

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whom the sidecar asks for by name whatever agents do.
const CONTROL_NAMES: [&str; 2] = [
    "actpass-controller.actpass-system.svc",
    "actpass-ledger.actpass-system.svc",
];
