//! A cluster that ends leaves nothing on the machine, and while it runs the machine's own network and settings are as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use actpass_tests::cluster::{Cluster, possible};
use actpass_tests::home::text;

#[test]
fn a_cluster_leaves_no_process_mount_namespace_link_cgroup_or_file() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let before = machine();
    let cluster = Cluster::up_in(dir.path()).unwrap();
    let namespace = cluster.namespace("left").unwrap();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: agent}, spec: {containers: [{name: main, \
               image: 'actpass.test/agent-curl:test', imagePullPolicy: Never}]}}";
    namespace.start("agent", pod).unwrap();
    // Its pod is the cluster's business: nothing deletes it before the end.
    std::mem::forget(namespace);
    assert_eq!(machine(), before, "while it runs");

    let processes = descendants(cluster.pid().unwrap());
    let names: BTreeSet<&str> = processes.iter().map(|it| it.name.as_str()).collect();
    for name in [
        "etcd",
        "kube-apiserver",
        "kubelet",
        "containerd-shim",
        "program",
        "sleep",
    ] {
        assert!(names.contains(name), "`{name}` is not among {names:?}");
    }
    let cgroup = fs::read_to_string(dir.path().join("cgroup")).unwrap();
    assert!(!cgroups(cgroup.trim()).is_empty());

    // A second start finds it up.
    Cluster::up_in(dir.path()).unwrap();
    cluster.down().unwrap();

    assert_eq!(machine(), before, "afterwards");
    let left: Vec<_> = processes
        .iter()
        .filter(|it| Process::now(it.pid).as_ref() == Some(it))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(cgroups(cgroup.trim()), BTreeSet::new());
    let kept = ["cluster", "lock", "log"].map(str::to_owned);
    assert_eq!(entries(dir.path()), kept.into());
    // A second end finds it down.
    cluster.down().unwrap();
    let gone = cluster.kubectl(&["version"]).unwrap();
    assert!(text(&gone).contains("no cluster runs"), "{}", text(&gone));
}

/// What a cluster could change of the machine: mounts, links, addresses, routes, settings of the kernel, and what is in
/// the directories that its programs write to by themselves.
fn machine() -> BTreeMap<&'static str, String> {
    let files = [
        "/proc/self/mountinfo",
        "/proc/net/route",
        "/proc/net/fib_trie",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/panic_on_oops",
        "/proc/sys/kernel/hostname",
    ];
    let dirs = [
        "/sys/class/net",
        "/run",
        "/run/netns",
        "/run/containerd",
        "/var/lib",
        "/var/lib/cni",
        "/var/log",
        "/etc",
        "/etc/cni",
        "/opt",
        "/usr/libexec",
    ];
    let files = files.map(|it| (it, fs::read_to_string(it).unwrap_or_default()));
    let dirs = dirs.map(|it| (it, format!("{:?}", entries(Path::new(it)))));
    files.into_iter().chain(dirs).collect()
}

/// Every cgroup of that name in a hierarchy of its own or the only one.
fn cgroups(name: &str) -> BTreeSet<String> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = entries(root).into_iter().chain([".".to_owned()]);
    let paths = controllers.map(|it| root.join(it).join(name));
    let found = paths.filter(|it| it.exists());
    found.map(|it| it.display().to_string()).collect()
}

fn entries(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect()
}

/// One process, for ever: ids are used again, but not with the same start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    begun: u64,
}

impl Process {
    /// That of this id, from `/proc/PID/stat`, proc_pid_stat(5).
    fn now(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            name: start.split_once('(')?.1.to_owned(),
            begun: fields.get(19)?.parse().ok()?,
        })
    }
}

/// A process and all that come from it.
fn descendants(pid: u32) -> Vec<Process> {
    let pids = entries(Path::new("/proc")).into_iter();
    let all: Vec<Process> = pids
        .filter_map(|it| Process::now(it.parse().ok()?))
        .collect();
    let mut found: Vec<Process> = all.iter().filter(|it| it.pid == pid).cloned().collect();
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).map(|it| it.pid) {
        found.extend(all.iter().filter(|it| it.parent == parent).cloned());
        looked_at += 1;
    }
    found
}
