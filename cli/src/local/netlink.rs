//! The two things an empty network namespace needs: `lo` up, and the synthetic range delivered to it.
//!
//! Both are messages to the kernel's routing socket (rtnetlink(7)), made by hand because the ioctl interface has no
//! safe wrapper and two fixed messages are less than a library. Integers are in the machine's own order.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use actpass_sidecar::dns::{RANGE_FIRST, RANGE_PREFIX};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Brings `lo` up, which also gives it 127.0.0.1/8 and ::1, and makes the range of synthetic addresses local.
pub(super) fn set_up() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    ask(&socket, &link_up(1))?;
    ask(&socket, &local_route(2, RANGE_FIRST, RANGE_PREFIX))
}

/// Sends one request and waits for the kernel's word on it.
fn ask(socket: &OwnedFd, request: &[u8]) -> io::Result<()> {
    sendto(
        socket,
        request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    // An acknowledgement is 36 bytes; a refusal repeats the request behind them.
    let mut answer = [0; 512];
    let (length, _) = recv(socket, &mut answer, RecvFlags::empty())?;
    read_answer(answer.get(..length).unwrap_or_default())
}

/// The verdict in `struct nlmsghdr` + `struct nlmsgerr`: zero, or an errno below zero.
fn read_answer(answer: &[u8]) -> io::Result<()> {
    let strange = || io::Error::other("netlink: an answer that is no acknowledgement");
    let kind = answer
        .get(4..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .map(u16::from_ne_bytes);
    if kind != Some(NLMSG_ERROR) {
        return Err(strange());
    }
    let code = answer
        .get(HEADER_BYTES..)
        .and_then(|rest| rest.first_chunk())
        .copied();
    match code.map(i32::from_ne_bytes).ok_or_else(strange)? {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(
            code.checked_neg().ok_or_else(strange)?,
        )),
    }
}

/// RTM_NEWLINK with `struct ifinfomsg`: interface 1, which is `lo` in every new namespace, gets IFF_UP.
fn link_up(sequence: u32) -> Vec<u8> {
    let mut body = vec![0; 4]; // family AF_UNSPEC, padding, type 0 (two bytes): not looked at
    body.extend(LO_INDEX.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes()); // flags
    body.extend(IFF_UP.to_ne_bytes()); // which of them to change
    message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, &body)
}

/// RTM_NEWROUTE with `struct rtmsg`: `local NETWORK/PREFIX dev lo`, in the table that the kernel asks first.
fn local_route(sequence: u32, network: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![
        AF_INET,
        prefix,
        0, // family; destination and source prefix lengths
        0,
        RT_TABLE_LOCAL,
        RTPROT_BOOT,
        RT_SCOPE_HOST,
        RTN_LOCAL, // TOS, table, protocol, scope, type
        0,
        0,
        0,
        0, // flags
    ];
    body.extend(attribute(RTA_DST, network.octets()));
    body.extend(attribute(RTA_OIF, LO_INDEX.to_ne_bytes()));
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE;
    message(RTM_NEWROUTE, flags, sequence, &body)
}

/// `struct nlmsghdr`: length of all, type, flags, sequence number, and port 0 for "from me to the kernel".
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// `struct rtattr` of 4 + 4 bytes, which needs no padding.
fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
    [8_u16.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &value].concat()
}

const HEADER_BYTES: usize = 16;
const LO_INDEX: u32 = 1;

// From linux/netlink.h, linux/rtnetlink.h and linux/if.h.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn link_message_has_the_kernels_bytes() {
        #[rustfmt::skip]
        let want = [
            32, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg
        ];
        assert_eq!(link_up(1), want);
    }

    #[test]
    fn route_message_has_the_kernels_bytes() {
        #[rustfmt::skip]
        let want = [
            44, 0, 0, 0, 24, 0, 5, 6, 2, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            2, 15, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0, // rtmsg
            8, 0, 1, 0, 198, 18, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0, // attributes
        ];
        assert_eq!(local_route(2, RANGE_FIRST, RANGE_PREFIX), want);
    }

    #[test]
    fn answers_are_read() {
        struct Case {
            name: &'static str,
            given: Vec<u8>,
            want: Result<(), Option<i32>>,
        }
        let answer = |kind: u8, code: i32| {
            [
                &[36, 0, 0, 0, kind, 0],
                [0; 10].as_slice(),
                &code.to_ne_bytes(),
            ]
            .concat()
        };
        let cases = [
            Case {
                name: "done",
                given: answer(2, 0),
                want: Ok(()),
            },
            Case {
                name: "not permitted",
                given: answer(2, -1),
                want: Err(Some(1)),
            },
            Case {
                name: "no errno at all",
                given: answer(2, i32::MIN),
                want: Err(None),
            },
            Case {
                name: "another message",
                given: answer(16, 0),
                want: Err(None),
            },
            Case {
                name: "cut",
                given: answer(2, 0)[..18].to_vec(),
                want: Err(None),
            },
            Case {
                name: "nothing",
                given: vec![],
                want: Err(None),
            },
        ];
        for case in cases {
            let found = read_answer(&case.given).map_err(|error| error.raw_os_error());
            assert_eq!(found, case.want, "{}", case.name);
        }
    }
}
