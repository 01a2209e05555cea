//! Local mode as a user meets it: exit codes, mistakes in manifests, what a contained command can reach.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use actpass_tests::home::{Home, SHOP, User, text, users};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A command does what these tests wait for within milliseconds; a loaded machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn each(check: impl Fn(&Home)) {
    for user in users() {
        check(&Home::new(user, SHOP).unwrap());
    }
}

/// Where it does not matter who runs it.
fn own() -> Home {
    Home::new(User::own(), SHOP).unwrap()
}

/// What a script says inside; it must end well.
fn said(home: &Home, script: &str) -> String {
    let output = home.script(script).unwrap();
    assert!(
        output.status.success(),
        "{:?}, {script}: {}",
        home.user,
        text(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Starts `actpass run` of a script that says `up` once it runs.
fn started(home: &Home, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = home.run(&["bash", "-c", script]);
    let mut run = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap());
    let mut up = String::new();
    lines.read_line(&mut up).unwrap();
    assert!(up.starts_with("up"), "{:?}: {up}", home.user);
    (run, lines)
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_exit_code_is_the_commands_or_that_of_a_shell_or_ours() {
    let home = own();
    home.write("plain", "no program").unwrap();
    let run = ["run", "-f", "policy.yaml"];
    struct Case {
        name: &'static str,
        args: &'static [&'static str],
        want: (i32, &'static str),
    }
    let cases = [
        Case {
            name: "success",
            args: &["--", "true"],
            want: (0, ""),
        },
        Case {
            name: "a code",
            args: &["--", "sh", "-c", "exit 3"],
            want: (3, ""),
        },
        Case {
            name: "the highest code",
            args: &["--", "sh", "-c", "exit 255"],
            want: (255, ""),
        },
        Case {
            name: "SIGTERM",
            args: &["--", "sh", "-c", "kill -TERM $$"],
            want: (143, ""),
        },
        Case {
            name: "SIGPIPE",
            args: &["--", "sh", "-c", "kill -PIPE $$"],
            want: (141, ""),
        },
        Case {
            name: "SIGKILL",
            args: &["--", "sh", "-c", "kill -KILL $$"],
            want: (137, ""),
        },
        Case {
            name: "not found",
            args: &["--", "no-such-program"],
            want: (127, "cannot run `no-such-program`"),
        },
        Case {
            name: "not executable",
            args: &["--", "./plain"],
            want: (126, "cannot run `./plain`"),
        },
        Case {
            name: "no command",
            args: &[],
            want: (125, "COMMAND"),
        },
        Case {
            name: "no such option",
            args: &["--no-such", "--", "true"],
            want: (125, "--no-such"),
        },
        Case {
            name: "no manifest",
            args: &["-f", "missing.yaml", "--", "true"],
            want: (125, "missing.yaml"),
        },
        Case {
            name: "no trust file",
            args: &["--trust-file", "missing.pem", "--", "true"],
            want: (125, "missing.pem"),
        },
        Case {
            name: "no socket",
            args: &["--connect-to", "a:b", "--", "true"],
            want: (125, "HOST:PORT:HOST:PORT"),
        },
    ];
    for case in cases {
        let output = home.actpass(&[&run, case.args].concat()).output().unwrap();
        assert_eq!(
            code(&output),
            case.want.0,
            "{}: {}",
            case.name,
            text(&output)
        );
        assert!(
            text(&output).contains(case.want.1),
            "{}: {}",
            case.name,
            text(&output)
        );
    }
    let policy = home.path().join("policy.yaml");
    let mut hidden = home.actpass(&["run", "-f", policy.to_str().unwrap(), "--", "true"]);
    let hidden = hidden
        .current_dir(home.path().join("state"))
        .output()
        .unwrap();
    assert_eq!(code(&hidden), 125, "{}", text(&hidden));
    assert!(
        text(&hidden).contains("lies in a hidden directory"),
        "{}",
        text(&hidden)
    );
    let by_hand = home.actpass(&["__inner"]).output().unwrap();
    assert_eq!(
        code(&by_hand),
        125,
        "the inner process, by a person: {}",
        text(&by_hand)
    );
}

#[test]
fn a_kernel_that_forbids_namespaces_is_named() {
    let home = own();
    // In a user namespace that may have none of its own.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec ./actpass run -f policy.yaml -- touch started";
    let mut command = home.command("unshare");
    let output = command
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(code(&output), 125, "{}", text(&output));
    assert!(
        text(&output).contains("user.max_user_namespaces is 0"),
        "{}",
        text(&output)
    );
    assert!(!home.path().join("started").exists());
}

#[test]
fn the_command_holds_no_privilege_and_gets_none() {
    each(|home| {
        let status = said(home, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
        let none = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|set| format!("{set}:\t{:016}\n", 0));
        assert_eq!(
            status,
            format!("{}NoNewPrivs:\t1\n", none.concat()),
            "{:?}",
            home.user
        );
        let uid = home.user.uid;
        assert_eq!(
            said(home, "echo $(id -u):$(id -g)").trim(),
            format!("{uid}:{uid}")
        );
    });
}

#[test]
fn the_state_directory_can_neither_be_read_nor_uncovered() {
    each(|home| {
        let bound = ["--host", "api.shop.example", "--effect", "Read"];
        home.store("pay", &bound, "the_real_key").unwrap();
        let look = "ls state; cat state/keys/kek state/control.token state/control.json; find state -type f";
        let ways = [
            look.to_owned(),
            format!("chmod 700 state; umount state; umount -l state; {look}"),
            format!("mount --bind . /mnt; cd /mnt; {look}"),
            format!("mount -t tmpfs x /mnt; mkdir x; mv state x/; {look}"),
            format!("unshare -Urm sh -c 'umount -l state; mount --bind . /mnt; cd /mnt; {look}'"),
            format!("unshare -Um sh -c 'umount -l state; mount --bind . /mnt; cd /mnt; {look}'"),
            // The same files by way of the process outside, whose view is whole.
            format!(
                "for p in /proc/[0-9]*; do cd $p/root{0} && {look}; cat $p/environ $p/maps $p/mem; done",
                home.path().display()
            ),
        ];
        let outside = text(&home.command("sh").args(["-c", look]).output().unwrap());
        let kek = fs::read_to_string(home.path().join("state/keys/kek")).unwrap();
        let secrets = [kek.trim(), "keys/kek", "cluster-id", "00000001.seg"];
        for secret in secrets {
            assert!(
                outside.contains(secret),
                "{:?}, outside, where it is: {outside}",
                home.user
            );
        }
        for way in ways {
            let output = home.script(&way).unwrap();
            let shown = String::from_utf8_lossy(&output.stdout);
            for secret in secrets {
                assert!(!shown.contains(secret), "{:?}, {way}: {shown}", home.user);
            }
        }
        assert!(
            home.path().join("state/keys/kek").exists(),
            "nothing of it was moved"
        );
    });
}

#[test]
fn the_control_api_is_out_of_reach_inside() {
    each(|home| {
        let script = "echo up; read port; curl -sk -m 5 https://127.0.0.1:$port/livez; echo code $?; \
                      curl -sk -m 5 https://[::1]:$port/livez; echo code $?";
        let (mut run, mut lines) = started(home, script);
        let control = fs::read_to_string(home.path().join("state/control.json")).unwrap();
        let control: serde_json::Value = serde_json::from_str(&control).unwrap();
        let address = control["address"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        assert!(TcpStream::connect(address).is_ok(), "outside it answers");
        let port = address.rsplit(':').next().unwrap();
        writeln!(run.stdin.take().unwrap(), "{port}").unwrap();
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        assert_eq!(
            said, "code 7\ncode 7\n",
            "{:?}: connection refused, twice",
            home.user
        );
        assert!(run.wait().unwrap().success());
    });
}

#[test]
fn signals_reach_the_command_once() {
    each(|home| {
        let script = "for s in INT TERM HUP QUIT USR1 USR2 WINCH; do trap \"echo $s\" $s; done; \
                      trap 'exit 7' CONT; echo up; while :; do sleep 0.02; done";
        let (mut run, mut lines) = started(home, script);
        let pid = Pid::from_child(&run);
        for (signal, name) in [
            (Signal::INT, "INT"),
            (Signal::TERM, "TERM"),
            (Signal::HUP, "HUP"),
            (Signal::QUIT, "QUIT"),
            (Signal::USR1, "USR1"),
            (Signal::USR2, "USR2"),
            (Signal::WINCH, "WINCH"),
        ] {
            kill_process(pid, signal).unwrap();
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), name, "{:?}", home.user);
        }
        kill_process(pid, Signal::KILL).unwrap();
        run.wait().unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "each came once");
    });
}

#[test]
fn the_command_dies_with_its_keeper() {
    each(|home| {
        let (mut run, mut lines) = started(home, "echo up; echo $$; exec sleep 1000");
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let command = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        assert!(test_kill_process(command).is_ok());
        run.kill().unwrap();
        run.wait().unwrap();
        // Where nobody reaps orphans, as in many containers, it stays as a zombie.
        let status = format!("/proc/{}/status", command.as_raw_nonzero());
        wait_until("the command outlives a killed actpass", || {
            fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tZ"))
        });
    });
}

#[test]
fn no_signal_makes_the_keeper_write_down_its_memory() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/']) {
        println!(
            "LEFT OUT: looking for the dump, since this machine puts dumps elsewhere: {pattern}"
        );
    }
    let attack =
        "echo up; read go; prlimit --pid $PPID --core=unlimited && echo raised; kill -ABRT $PPID";
    each(|home| {
        // The limit of whoever calls allows dumps, and the signal makes them: the same program, not of ours.
        let dump = "ulimit -c unlimited; sleep 100 & kill -ABRT $!; wait $!; exit 0";
        let control = home.command("bash").args(["-c", dump]).status();
        assert!(control.unwrap().success());
        let dumps = || {
            let entries = fs::read_dir(home.path()).unwrap();
            let names = entries.map(|it| it.unwrap().file_name());
            names
                .filter(|it| it.to_string_lossy().starts_with("core"))
                .count()
        };
        let ours = dumps();
        assert!(ours == 1 || pattern.starts_with(['|', '/']), "{ours} dumps");

        let unlimited = "ulimit -c unlimited; exec ./actpass run -f policy.yaml -- bash -c \"$0\"";
        let mut command = home.command("bash");
        command.args(["-c", unlimited, attack]);
        let mut run = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "{:?}", home.user);
        let owner = fs::metadata(format!("/proc/{}/environ", run.id()))
            .unwrap()
            .uid();
        assert_eq!(
            owner, 0,
            "what /proc shows of the keeper is closed to its user"
        );
        run.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let status = run.wait().unwrap();
        assert_eq!(status.signal(), Some(6), "{:?}: {status} {rest}", home.user);
        assert!(!status.core_dumped(), "{:?}", home.user);
        assert_eq!(dumps(), ours, "{:?}: no dump of the keeper", home.user);
        assert!(!rest.contains("raised"), "{:?}: {rest}", home.user);
    });
}

#[test]
fn settings_of_the_kernel_cannot_be_written() {
    // Opened for appending, and nothing appended.
    let attempt = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/fs/cgroup/release_agent \
                   /sys/fs/cgroup/*/release_agent; do (: >> $f) 2>/dev/null && echo open $f; done; true";
    each(|home| {
        let outside = home.command("sh").args(["-c", attempt]).output().unwrap();
        let outside = text(&outside);
        assert!(
            outside.contains("core_pattern") || !home.user.is_root(),
            "root outside can, so that the attempt says something: {outside}"
        );
        assert_eq!(said(home, attempt), "", "{:?}", home.user);
    });
}

#[test]
fn a_key_of_the_terminal_counts_once() {
    let home = own();
    home.write("wait.sh", "n=0; trap 'n=$((n+1)); echo count $n' INT; trap 'echo end; exit 9' USR1; echo up $$; while :; do sleep 0.02; done").unwrap();
    let mut terminal = home.command("script");
    terminal.args([
        "-qefc",
        "exec ./actpass run -f policy.yaml -- bash wait.sh",
        "/dev/null",
    ]);
    let mut terminal = terminal
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let up = lines.find(|line| line.starts_with("up ")).unwrap();
    let command = Pid::from_raw(up.trim_start_matches("up ").trim().parse().unwrap()).unwrap();
    keys.write_all(b"\x03").unwrap();
    assert!(lines.any(|line| line.contains("count 1")));
    kill_process(command, Signal::USR1).unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().all(|line| !line.contains("count")), "{rest:?}");
    assert_eq!(terminal.wait().unwrap().code(), Some(9));
}

#[test]
fn standard_streams_and_limits_are_the_callers_and_other_descriptors_are_closed() {
    let home = own();
    let mut cat = home.run(&["cat"]);
    let mut child = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let sent = vec![b'x'; 5_000_000];
    let copy = sent.clone();
    let writer = std::thread::spawn(move || to.write_all(&copy).unwrap());
    let mut read = Vec::new();
    from.read_to_end(&mut read).unwrap();
    writer.join().unwrap();
    assert_eq!(read.len(), sent.len());
    assert!(child.wait().unwrap().success());

    let through = |script: &str| {
        let mut command = home.command("bash");
        text(&command.args(["-c", script]).output().unwrap())
    };
    let run = "./actpass run -f policy.yaml --";
    let cases = [
        (
            format!("{run} sh -c 'echo err >&2' 2>&1 >/dev/null"),
            "err\n",
        ),
        (format!("{run} sh -c 'cat >/dev/null; echo $?' <&-"), "0\n"),
        (
            format!("exec 7</etc/hosts 200</etc/hosts; {run} bash -c 'cd /proc/self/fd; echo *'"),
            "0 1 2 3\n",
        ),
        (
            format!("ulimit -Sn 300; {run} bash -c 'ulimit -n'"),
            "300\n",
        ),
    ];
    for (script, want) in cases {
        assert_eq!(through(&script), want, "{script}");
    }
    let few = through(&format!("ulimit -n 64; {run} true; echo $?"));
    assert!(
        few.contains("with `ulimit -n`") && few.contains("125\n"),
        "{few}"
    );
}

#[test]
fn the_environment_is_the_callers_without_proxies_and_our_settings() {
    let home = own();
    let mut env = home.run(&["env"]);
    env.env("FOO", "b a r")
        .env("HTTP_PROXY", "x")
        .env("https_proxy", "y")
        .env("ACTPASS_TOKEN", "z");
    let inside = text(&env.env("SSL_CERT_FILE", "/dev/null").output().unwrap());
    assert!(inside.contains("FOO=b a r\n"), "{inside}");
    assert!(!inside.contains("SSL_CERT_FILE=/dev/null\n"), "{inside}");
    let mut names = inside.lines().filter_map(|line| line.split_once('='));
    let gone = names.find(|(name, _)| {
        name.starts_with("ACTPASS_")
            || name.eq_ignore_ascii_case("http_proxy")
            || name.eq_ignore_ascii_case("https_proxy")
    });
    assert_eq!(gone, None, "{inside}");
}

#[test]
fn names_and_certificates_are_ours_inside_and_the_hosts_stay_as_they_are() {
    each(|home| {
        let own_ca = home.write("ca.pem", "old").unwrap();
        let files =
            ["/etc/resolv.conf", "/etc/hosts"].map(|file| fs::read(file).unwrap_or_default());
        let script = "getent hosts api.shop.example actpass.internal; getent hosts $(cat /proc/sys/kernel/hostname); \
                      (echo x > /etc/resolv.conf) 2>&1; cat /etc/resolv.conf; \
                      for f in $SSL_CERT_FILE $NODE_EXTRA_CA_CERTS ca.pem; do grep -c 'BEGIN CERT' $f; done; \
                      curl -s https://api.shop.example/v2";
        let mut run = home.actpass(&["run", "-f", "policy.yaml", "--trust-file", "ca.pem", "--"]);
        let shown = text(&run.args(["sh", "-c", script]).output().unwrap());
        for want in [
            "198.18.0.",
            "api.shop.example",
            "actpass.internal",
            "127.0.1.1",
            "nameserver 127.0.0.1",
            "\"undeclared\"",
        ] {
            assert!(shown.contains(want), "{:?}, {want}: {shown}", home.user);
        }
        assert!(
            shown.contains("ead-only") || shown.contains("ermission denied"),
            "{shown}"
        );
        let counts: Vec<u32> = shown.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(
            counts.len() == 3 && counts.iter().all(|count| *count >= 1),
            "{counts:?}: {shown}"
        );
        assert_eq!(fs::read_to_string(own_ca).unwrap(), "old");
        assert_eq!(
            ["/etc/resolv.conf", "/etc/hosts"].map(|file| fs::read(file).unwrap_or_default()),
            files
        );
    });
}

#[test]
fn undeclared_names_and_addresses_lead_nowhere_and_names_are_on_the_record() {
    let home = own();
    let script = "curl -sS -m 5 https://leak.example/; curl -sS -m 5 http://192.0.2.1/; curl -sS -m 5 'http://[2001:db8::1]/'; true";
    let shown = text(&home.script(script).unwrap());
    assert!(
        shown.contains("Could not resolve host: leak.example"),
        "{shown}"
    );
    assert_eq!(shown.matches("Failed to connect").count(), 2, "{shown}");
    let segment = fs::read(home.path().join("state/log/segments/00000001.seg")).unwrap();
    let log = String::from_utf8_lossy(&segment);
    assert!(
        log.contains("leak.example"),
        "the name asked for is on the record"
    );
    assert!(log.contains("undeclared_name"));
}

#[test]
fn a_log_cannot_be_opened_twice() {
    let home = own();
    let (mut first, _lines) = started(&home, "echo up; read line; true");
    let second = home.script("true").unwrap();
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(second.status.code(), Some(125));
    assert!(text(&second).contains("LOCK"), "{}", text(&second));
}

#[test]
fn verify_holds_and_names_the_first_changed_byte() {
    let home = own();
    assert!(home.script("true").unwrap().status.success());
    let verified = home.actpass(&["verify"]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let segment = home.path().join("state/log/segments/00000001.seg");
    let bytes = fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let step = 1 + used / 40;
    for at in (0..used)
        .step_by(step)
        .chain([used, used + 100, bytes.len() - 1])
    {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&segment, &changed).unwrap();
        let verified = home.actpass(&["verify"]).output().unwrap();
        // What looks like a write that a crash cut short is no proof of a change: 2, incomplete.
        let code = verified.status.code();
        assert!(
            code == Some(3) || code == Some(2),
            "byte {at}: {}",
            text(&verified)
        );
        assert!(
            text(&verified).contains("00000001.seg"),
            "byte {at}: {}",
            text(&verified)
        );
    }
}
