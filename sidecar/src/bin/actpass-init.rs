//! `actpass-init`: loads the pod's packet filter and ends. The first container of an agent's pod.

use std::collections::BTreeSet;
use std::process::ExitCode;

use actpass_core::error::chain;
use actpass_core::pod::ruleset::{Marks, Ruleset};
use actpass_sidecar::pod::fence::{NFT, interfaces, load};
use actpass_transport::program;
use clap::Parser;

/// Load the packet filter of this pod: after this nothing leaves but through the sidecar.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Uid and gid of the sidecar
    #[arg(long, value_name = "UID")]
    sidecar_uid: u32,
    /// Mark of packets that passed the fence
    #[arg(long, value_name = "0xHEX", value_parser = mark)]
    packet_mark: u32,
    /// Mark of connections that the sidecar opened
    #[arg(long, value_name = "0xHEX", value_parser = mark)]
    connection_mark: u32,
    /// TCP ports on which the agents may be reached
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    inbound: Vec<u16>,
    /// The program that loads rules
    #[arg(long, value_name = "PATH", default_value = NFT)]
    nft: String,
    /// Print the rules instead of loading them
    #[arg(long)]
    print: bool,
}

fn mark(text: &str) -> Result<u32, String> {
    let digits = text
        .strip_prefix("0x")
        .ok_or("a mark is 0x and hex digits")?;
    u32::from_str_radix(digits, 16).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let args = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Shown in `kubectl describe pod`: the last lines of a container that failed.
            eprintln!("actpass-init: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let Args {
        sidecar_uid,
        packet_mark,
        connection_mark,
        inbound,
        nft,
        print,
    } = args;
    let marks = Marks {
        packet: packet_mark,
        connection: connection_mark,
    };
    let inbound: BTreeSet<u16> = inbound.into_iter().collect();
    let rules = Ruleset::new(sidecar_uid, inbound, marks, interfaces()?)?;
    if print {
        print!("{}", rules.text());
        return Ok(());
    }
    load(&rules, &nft)?;
    eprintln!("actpass-init: the fence is up; only uid {sidecar_uid} reaches the network");
    Ok(())
}
