//! What a process of an agent is and sees: part of a proof.

use std::fs::{self, File};
use std::path::Path;

use actpass_core::pod::contract::{BUNDLE_FILE, PROXY_COMMAND, STATE_DIR, TOKEN_DIR, VERIFY_DIR};

use super::prove::{Came, Verdict};

/// What is looked at: row, what it is, and how.
type Look = (u8, &'static str, fn() -> Came);

/// All of it.
pub(super) const SELF: [Look; 8] = [
    (14, "more rights by a file's owner", no_new_privileges),
    (15, "capabilities", no_capabilities),
    (18, "system calls without a filter", filtered),
    (26, "the sidecar's process", no_sidecar),
    (26, "abstract sockets", no_abstract_sockets),
    (27, "the sidecar's key and token", no_secrets),
    (27, "the files that say whom to trust", trust_stays),
    (63, "a token for the API server", no_account_token),
];

const ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

fn unknown(error: impl std::fmt::Display) -> (Verdict, String) {
    (Verdict::Unknown, error.to_string())
}

fn open(said: impl Into<String>) -> Came {
    Err((Verdict::Open, said.into()))
}

/// A field of `/proc/self/status`.
fn own(field: &str) -> Result<String, (Verdict, String)> {
    let status = fs::read_to_string("/proc/self/status").map_err(unknown)?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.ok_or_else(|| unknown(format!("no `{field}` in /proc/self/status")))?;
    Ok(value.trim().to_owned())
}

fn no_new_privileges() -> Came {
    match own("NoNewPrivs")?.as_str() {
        "1" => Ok("no_new_privs is set".to_owned()),
        _ => open("no_new_privs is not set"),
    }
}

fn no_capabilities() -> Came {
    for field in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let set = own(field)?;
        if set.chars().any(|digit| digit != '0') {
            return open(format!("{field} is {set}"));
        }
    }
    Ok("there are none, and none can be had".to_owned())
}

fn filtered() -> Came {
    match own("Seccomp")?.as_str() {
        "2" => Ok("a filter is set".to_owned()),
        mode => open(format!("no seccomp filter is set (mode {mode})")),
    }
}

fn no_sidecar() -> Came {
    let processes = fs::read_dir("/proc").map_err(unknown)?.flatten();
    let mut commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    match commands.any(|it| it.starts_with(PROXY_COMMAND.as_bytes())) {
        false => Ok("it is not to be seen".to_owned()),
        true => open("it is in this container's process namespace"),
    }
}

fn no_abstract_sockets() -> Came {
    let sockets = fs::read_to_string("/proc/net/unix").map_err(unknown)?;
    let names = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7));
    let found: Vec<&str> = names.filter(|name| name.starts_with('@')).collect();
    match found.as_slice() {
        [] => Ok("there are none".to_owned()),
        found => Err((Verdict::Unknown, format!("found {}", found.join(", ")))),
    }
}

fn no_secrets() -> Came {
    let there = [STATE_DIR, TOKEN_DIR, VERIFY_DIR];
    match there.iter().find(|dir| Path::new(dir).exists()) {
        None => Ok("they are not in this container".to_owned()),
        Some(dir) => open(format!("`{dir}` is in this container")),
    }
}

fn trust_stays() -> Came {
    match File::options().append(true).open(BUNDLE_FILE) {
        Err(error) => Ok(format!("they cannot be written: {error}")),
        Ok(_) => open(format!("`{BUNDLE_FILE}` can be written")),
    }
}

fn no_account_token() -> Came {
    match Path::new(ACCOUNT_TOKEN).exists() {
        false => Ok("there is none".to_owned()),
        true => open(format!("`{ACCOUNT_TOKEN}` is there")),
    }
}
