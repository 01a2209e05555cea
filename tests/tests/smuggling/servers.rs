//! Servers that others wrote, as upstreams: each says of every request that it read what it read.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actpass_tests::authority::Authority;
use actpass_tests::proxied::HOST;
use actpass_tests::tools;
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
    Envoy,
}

/// One request as a server read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) agent: String,
    pub(crate) auth: String,
    pub(crate) body_bytes: u64,
    pub(crate) status: String,
}

/// A running one.
pub(crate) struct Server {
    pub(crate) port: u16,
    dir: TempDir,
    child: Child,
}

impl Kind {
    /// Its program and version; `None` where it is not installed, which is printed.
    pub(crate) fn installed(self) -> Option<(PathBuf, String)> {
        let (program, asks) = match self {
            Self::Nginx => (on_path("nginx"), "-v"),
            Self::HaProxy => (on_path("haproxy"), "-v"),
            Self::Envoy => (tools::envoy(), "--version"),
        };
        let Some(program) = program else {
            println!("LEFT OUT: {self:?} is not installed; run `make setup`");
            return None;
        };
        let said = Command::new(&program).arg(asks).output().unwrap();
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said.lines().find(|line| line.contains("version"));
        Some((program, version.unwrap_or_default().trim().to_owned()))
    }

    fn config(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("nginx.conf"),
            Self::HaProxy => include_str!("haproxy.cfg"),
            Self::Envoy => include_str!("envoy.yaml"),
        }
    }
}

impl Server {
    /// Starts one that speaks HTTP/1.1, and HTTP/2 too where that is wanted.
    pub(crate) fn start(kind: Kind, authority: &Authority, http2: bool) -> Option<Self> {
        let (program, _) = kind.installed()?;
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = authority.certificate(&[HOST]).unwrap();
        fs::write(dir.path().join("both.pem"), format!("{chain}{key}")).unwrap();
        fs::write(dir.path().join("cert.pem"), chain).unwrap();
        fs::write(dir.path().join("key.pem"), key).unwrap();
        // None of them tells which port it was given, so it is given one that was free a moment ago.
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = kind
            .config()
            .replace("@DIR@", dir.path().to_str().unwrap())
            .replace("@PORT@", &port.to_string())
            .replace("@HTTP2@", if http2 { "http2" } else { "" })
            .replace("@ALPN@", if http2 { "h2,http/1.1" } else { "http/1.1" });
        let file = dir.path().join("config.yaml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => command.arg("-c").arg(&file),
            Kind::HaProxy => command.arg("-db").arg("-f").arg(&file),
            Kind::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"])
                .args(["--file-flush-interval-msec", "10", "-c"])
                .arg(&file),
        };
        let log = |name: &str| File::create(dir.path().join(name)).unwrap();
        match kind {
            Kind::HaProxy => command.stdout(log("requests")),
            Kind::Nginx | Kind::Envoy => command.stdout(Stdio::null()),
        };
        let child = command.stderr(log("errors")).spawn().unwrap();
        let server = Self { port, dir, child };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let errors = fs::read_to_string(server.dir.path().join("errors")).unwrap();
            assert!(begun.elapsed() < PATIENCE, "{kind:?}: {errors}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// What it has read so far, once it has said so of all that `until` waits for.
    pub(crate) fn logged(&self, until: impl Fn(&[Logged]) -> bool) -> Vec<Logged> {
        let begun = Instant::now();
        loop {
            let logged = self.so_far();
            if until(&logged) || begun.elapsed() > PATIENCE {
                return logged;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn so_far(&self) -> Vec<Logged> {
        let bytes = fs::read(self.dir.path().join("requests")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // HAProxy has lines about connections too.
        let whole = text.split_inclusive('\n');
        let whole = whole.filter(|it| it.starts_with('{') && it.ends_with('\n'));
        whole.map(read).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read(line: &str) -> Logged {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    let text = |name: &str| match json.get(name) {
        // HAProxy's way to say that there is none.
        Some(Value::String(text)) if text == "-" => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let body_bytes = match json.get("body") {
        Some(body) => body.as_str().unwrap().len() as u64,
        None => text("bytes").parse().unwrap_or(0),
    };
    Logged {
        method: text("method"),
        target: text("target"),
        host: text("host"),
        agent: text("agent"),
        auth: text("auth"),
        body_bytes,
        status: text("status"),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Where Debian puts servers, which is not on everybody's path.
    dirs.push("/usr/sbin".into());
    dirs.into_iter()
        .map(|dir| dir.join(program))
        .find(|it| it.is_file())
}
