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

/// Makes `eth0` in the network that this process is in, as a pod has it, with addresses of both families, and gives the
/// other end.
pub fn made() -> Sniffer {
    let (ready, is_ready) = mpsc::channel();
    let (up, is_up) = mpsc::channel();
    let (listening, sniffer) = mpsc::channel();
    // The other end is in a thread's network, and that stays as long as the sniffer's socket.
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(nix::unistd::gettid().as_raw()).unwrap();
        is_up.recv().unwrap();
        listening.send(Sniffer::on("w0").unwrap()).unwrap();
        // It ends with the test's process.
        std::thread::park();
    });
    let world = is_ready.recv().unwrap();
    let there = format!("--net=/proc/{}/task/{world}/ns/net", std::process::id());
    ip("link set lo up");
    ip(&format!(
        "link add eth0 address 02:00:00:00:00:01 type veth peer name w0 address 02:00:00:00:00:fe netns {world}"
    ));
    run("nsenter", &format!("{there} ip link set w0 up"));
    ip("link set eth0 up");
    addressed(ADDRESSES[0], ROUTERS[0]);
    addressed(ADDRESSES[1], ROUTERS[1]);
    up.send(()).unwrap();
    sniffer.recv().unwrap()
}

/// Gives `eth0` an address, and a way to everywhere.
pub fn addressed(address: &str, router: &str) {
    let (family, prefix) = match address.contains(':') {
        true => ("-6", "64 nodad"),
        false => ("-4", "24 broadcast +"),
    };
    ip(&format!("address add {address}/{prefix} dev eth0"));
    ip(&format!(
        "neighbor add {router} lladdr 02:00:00:00:00:fe dev eth0"
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
