//! The only link of a network of the test's own. Its other end sees all that leaves, and nobody is there who answers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's world that cannot be made is a failed test"
)]

use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};

use crate::frames::Sniffer;
use crate::home::text;

/// This end's addresses.
pub const ADDRESSES: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];

/// Nobody's addresses at the other end: all that is not of this link goes there.
pub const ROUTERS: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];

/// The other end, in a network of its own.
#[derive(Debug)]
pub struct World {
    /// Sees all that leaves.
    pub sniffer: Sniffer,
    thread: i32,
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce() + Send>;

/// Makes `eth0` in the network that this process is in, as a pod has it, and the other end.
pub fn made() -> World {
    let (ready, is_ready) = mpsc::channel();
    let (work, works) = mpsc::channel::<Work>();
    // A network is its threads', and those they start are in it too.
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(nix::unistd::gettid().as_raw()).unwrap();
        while let Ok(work) = works.recv() {
            work();
        }
        // What was made in it stays, until the test's process ends.
        std::thread::park();
    });
    let thread = is_ready.recv().unwrap();
    ip("link set lo up");
    ip(&format!(
        "link add eth0 address 02:00:00:00:00:01 type veth peer name w0 address 02:00:00:00:00:fe netns {thread}"
    ));
    let (listening, sniffer) = mpsc::channel();
    in_network(thread, "link set lo up");
    in_network(thread, "link set w0 up");
    ip("link set eth0 up");
    work.send(Box::new(move || {
        listening.send(Sniffer::on("w0").unwrap()).unwrap()
    }))
    .unwrap();
    let sniffer = sniffer.recv().unwrap();
    World {
        sniffer,
        thread,
        work,
    }
}

impl World {
    /// Does `work` there: the sockets that it makes stay there, and the threads that it starts.
    pub fn there<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work = move || done.send(work()).unwrap_or_default();
        self.work.send(Box::new(work)).unwrap();
        result.recv().unwrap()
    }

    /// `ip` there.
    pub fn ip(&self, line: &str) {
        in_network(self.thread, line);
    }
}

/// `ip` in the network of that thread.
fn in_network(thread: i32, line: &str) {
    let there = format!("--net=/proc/{}/task/{thread}/ns/net", std::process::id());
    run("nsenter", &format!("{there} ip {line}"));
}

/// Gives `eth0` addresses of both families, and a way to everywhere.
pub fn addressed() {
    for (address, router) in ADDRESSES.into_iter().zip(ROUTERS) {
        addressed_as(address, router);
    }
}

/// The same of one family.
pub fn addressed_as(address: &str, router: &str) {
    addressed_at("eth0", address, router);
}

/// The same at another interface.
pub fn addressed_at(interface: &str, address: &str, router: &str) {
    let (family, prefix) = match address.contains(':') {
        true => ("-6", "64 nodad"),
        false => ("-4", "24 broadcast +"),
    };
    ip(&format!("address add {address}/{prefix} dev {interface}"));
    ip(&format!(
        "neighbor add {router} lladdr 02:00:00:00:00:fe dev {interface}"
    ));
    ip(&format!("{family} route add default via {router}"));
}

/// `ip` of iproute2, with these words.
pub fn ip(line: &str) {
    run("ip", line);
}

fn run(program: &str, line: &str) {
    let output = Command::new(program).args(line.split(' ')).output();
    let output = output.expect("`ip` of iproute2 and `nsenter` of util-linux run");
    assert!(
        output.status.success(),
        "{program} {line}: {}",
        text(&output)
    );
}
