//! A pod's network, which this process moves into, and a world that a thread is in: listeners made there stay there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};

use super::{run, traffic};

/// The world's address.
const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// What is in the world.
pub(super) struct World {
    /// Where traffic goes.
    pub(super) peer: SocketAddr,
    /// For a ledger.
    pub(super) ledger: TcpListener,
}

/// Makes both. What starts later is in the pod.
pub(super) fn made() -> anyhow::Result<World> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let (ready, is_ready) = mpsc::channel();
    let (linked, is_linked) = mpsc::channel();
    let (there, world) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever waits for what is sent hears of an error when this thread has ended.
        let made = || -> anyhow::Result<World> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            ready.send(nix::unistd::gettid().as_raw())?;
            is_linked.recv()?;
            let peer = TcpListener::bind((WORLD, 0))?;
            let ledger = TcpListener::bind((WORLD, 0))?;
            let world = World {
                peer: peer.local_addr()?,
                ledger,
            };
            std::thread::spawn(move || traffic::answer(&peer));
            Ok(world)
        };
        there.send(made()).ok();
        // The network is this thread's.
        std::thread::park();
    });
    let thread = is_ready.recv()?;
    linked_with(thread)?;
    linked.send(())?;
    world.recv()?
}

/// `eth0` here and `w0` there, with addresses of both families.
fn linked_with(thread: i32) -> anyhow::Result<()> {
    let task = format!("--net=/proc/{}/task/{thread}/ns/net", std::process::id());
    let ip = |line: &str| run(Command::new("ip").args(line.split(' ')));
    let in_world = |line: &str| {
        run(Command::new("nsenter")
            .args([&task, "ip"])
            .args(line.split(' ')))
    };
    ip("link set lo up")?;
    ip(&format!(
        "link add eth0 type veth peer name w0 netns {thread}"
    ))?;
    in_world("link set w0 up")?;
    in_world(&format!("address add {WORLD}/24 dev w0"))?;
    for line in [
        "link set eth0 up",
        "address add 198.51.100.2/24 dev eth0",
        "address add 2001:db8:1::2/64 dev eth0 nodad",
    ] {
        ip(line)?;
    }
    ip(&format!("route add default via {WORLD}"))?;
    ip("-6 route add default via 2001:db8:1::1 dev eth0")?;
    // So many connections in a row would use up the ports of this one address.
    std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
    Ok(())
}
