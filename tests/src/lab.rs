//! A pod's network without Kubernetes: the fence as a pod has it, a process where the sidecar stands, and a link whose other
//! end sees all that leaves. It is made in a network of the test's own ([`crate::outside::in_a_network_of_our_own`]).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use actpass_core::pod::ruleset::{Marks, Ruleset};
use rustix::fs::{XattrFlags, setxattr};

use crate::attack::{self, Said};
use crate::fed;
use crate::frames::Frame;
use crate::home::{User, has_all_ids, text};
use crate::link::{self, ADDRESSES, World, ip};
use crate::outside::in_a_network_of_our_own;

/// The sidecar's user.
pub const SIDECAR: u32 = 41337;

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Root with all capabilities: whoever has no fence around it.
    Free,
    /// As the webhook has it: a user of its own, no capabilities, `no_new_privs`.
    Confined,
    /// The same, as uid 0.
    Root,
    /// The same as [`Agent::Confined`], but for `no_new_privs`.
    Gaining,
    /// The same as [`Agent::Confined`], with this capability.
    With(&'static str),
}

/// Runs `test` where this user can make a pod's network.
pub fn in_a_lab(name: &str, test: impl FnOnce()) {
    if !User::own().is_root() || !has_all_ids() {
        println!("LEFT OUT: agents of another user need root of the machine; run as root");
        return;
    }
    in_a_network_of_our_own(name, test);
}

/// The rules that the webhook's init container would load for a pod with these interfaces, reachable at [`INBOUND`].
pub fn rules(interfaces: &[&str]) -> String {
    let marks = Marks {
        packet: 0x5a17_c3e1,
        connection: 0x0a97,
    };
    let interfaces = interfaces.iter().map(|name| name.parse().unwrap());
    let inbound = BTreeSet::from([INBOUND]);
    Ruleset::new(SIDECAR, inbound, marks, interfaces.collect())
        .unwrap()
        .text()
}

/// Puts a file with that text over one of the system, in this mount namespace; `with` is to hold it.
pub fn cover(path: &str, text: &str, with: &Path) {
    fs::write(with, text).unwrap();
    fs::set_permissions(with, fs::Permissions::from_mode(0o644)).unwrap();
    let mut mount = Command::new("mount");
    let bound = mount.arg("--bind").arg(with).arg(path).status().unwrap();
    assert!(bound.success(), "{path}");
}

/// What left but for what the kernel tells the link: an agent cannot choose what that says.
pub fn left(frames: &[Frame]) -> Vec<String> {
    let left = frames.iter().filter(|frame| !frame.is_of_the_link());
    left.map(ToString::to_string).collect()
}

/// Whose ids `newuidmap` gives to whom.
const SUBUID: &str = "/etc/subuid";

/// The port that a lab's pod declares.
pub const INBOUND: u16 = 8080;

/// A pod's network.
#[derive(Debug)]
pub struct Lab {
    /// All that is outside of it.
    pub world: World,
    files: tempfile::TempDir,
    program: PathBuf,
    sidecar: Option<Child>,
}

impl Lab {
    /// Makes one in the network that this process is in, with addresses of both families.
    pub fn new() -> Self {
        Self::with(link::addressed)
    }

    /// The same, whose link has the addresses that `addressed` gives it.
    pub fn with(addressed: impl FnOnce()) -> Self {
        let world = link::made();
        addressed();
        // Who may ping is said per network: in a pod everybody, by containerd's default.
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 65534").unwrap();
        let lab = Self {
            world,
            files: tempfile::tempdir().unwrap(),
            program: attack::program().unwrap(),
            sidecar: None,
        };
        lab.plant();
        // What the kernel says of a link that is new.
        lab.world.sniffer.seen().unwrap();
        lab
    }

    /// Files that make whoever runs them somebody else, where that works.
    fn plant(&self) {
        let dir = self.files.path();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        let setuid = self.setuid_file();
        fs::copy(&self.program, &setuid).unwrap();
        chown(&setuid, Some(SIDECAR), Some(SIDECAR)).unwrap();
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o6755)).unwrap();
        // Whoever runs `newuidmap` with its rights gets the sidecar's id by it.
        let subuid = format!("0:{SIDECAR}:1\n1000:{SIDECAR}:1\n");
        cover(SUBUID, &subuid, &dir.join("subuid"));
        let nft = self.nft_capable();
        fs::copy("/usr/sbin/nft", &nft).unwrap();
        setxattr(
            &nft,
            "security.capability",
            &attack::NET_ADMIN,
            XattrFlags::empty(),
        )
        .unwrap();
    }

    fn setuid_file(&self) -> PathBuf {
        self.files.path().join("setuid")
    }

    fn nft_capable(&self) -> PathBuf {
        self.files.path().join("nft")
    }

    /// Puts a process on the sidecar's ports, under its user.
    pub fn with_sidecar(mut self) -> Self {
        let id = SIDECAR.to_string();
        let mut child = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(&self.program)
            .args(["listen", "15001", "15053", "15000", "15090"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("`setpriv` of util-linux runs");
        let mut said = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut said).unwrap();
        assert_eq!(said, "listening\n");
        self.sidecar = Some(child);
        self
    }

    /// Loads rules, in place of all that were there.
    pub fn load(&self, rules: &str) {
        let rules = format!("flush ruleset\n{rules}");
        let loaded = fed(Command::new("nft").args(["-f", "-"]), rules.as_bytes()).unwrap();
        assert!(loaded.status.success(), "{}", text(&loaded));
    }

    /// The same, and what left before is forgotten: the kernel may tell a new link of its groups a second after it came.
    pub fn shut(&self, rules: &str) {
        self.load(rules);
        self.seen();
    }

    /// The attack kit, as that agent.
    pub fn kit(&self, agent: Agent) -> Command {
        let mut command = as_agent(agent, &self.program);
        let [v4, v6] = ADDRESSES;
        command
            .env("SETUID_FILE", self.setuid_file())
            .env("NFT_CAPABLE", self.nft_capable())
            .env("SIDECAR_UID", SIDECAR.to_string())
            .env("POD_IP", v4)
            .env("POD_IP6", v6);
        command
    }

    /// Tries everything, and gives what was said and seen.
    pub fn all(&self, agent: Agent) -> (Vec<Said>, Vec<Frame>) {
        let output = self.kit(agent).arg("all").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let said = attack::said(&String::from_utf8(output.stdout).unwrap()).unwrap();
        (said, self.seen())
    }

    /// Tries these, and gives what was seen.
    pub fn some(&self, agent: Agent, names: &[&str]) -> Vec<Frame> {
        self.kit(agent).args(names).output().unwrap();
        self.seen()
    }

    /// What left since the last time.
    pub fn seen(&self) -> Vec<Frame> {
        self.world.sniffer.seen().unwrap()
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut sidecar) = self.sidecar.take() {
            sidecar.kill().ok();
            sidecar.wait().ok();
        }
        ip("link delete eth0");
        // Its directory goes with it, and nothing can be put over a file that is gone.
        let ended = Command::new("umount").arg(SUBUID).status();
        ended.expect("`umount` of util-linux runs");
    }
}

/// A program as that agent.
pub fn as_agent(agent: Agent, program: &Path) -> Command {
    let mut command = match agent {
        Agent::Free => return Command::new(program),
        _ => Command::new("setpriv"),
    };
    let capabilities = match agent {
        Agent::With(capability) => format!("-all,+{capability}"),
        _ => "-all".to_owned(),
    };
    let id = if agent == Agent::Root { 0 } else { 1000 };
    command
        .arg(format!("--reuid={id}"))
        .arg(format!("--regid={id}"));
    command.arg("--clear-groups");
    command.arg(format!("--inh-caps={capabilities}"));
    command.arg(format!("--ambient-caps={capabilities}"));
    if agent != Agent::Gaining {
        command.arg(format!("--bounding-set={capabilities}"));
        command.arg("--no-new-privs");
    }
    command.arg("--").arg(program);
    command
}
