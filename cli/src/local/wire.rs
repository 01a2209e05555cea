//! The control socket between the outer and the inner process: frames of JSON, single bytes, and descriptors.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Descriptors per message. The kernel takes 253 (SCM_MAX_FD); a round of 64 also keeps the inner process, which
/// closes what it has passed, far below the usual limit of 1,024 open descriptors.
pub(super) const DESCRIPTORS_MAX: usize = 64;

/// Longest frame, in bytes. A plan is mostly CA bundles: 220 KiB each, a third more as base64, and at most about ten
/// places to bind them over: 3 MiB. Ten times that leaves room for bundles of a company's own.
const FRAME_BYTES_MAX: usize = 32 << 20;

/// What the inner process says, in this order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// So many descriptors follow in one message; waits for [`RECEIVED`].
    Descriptors(usize),
    /// Contained; waits for [`GO`].
    Ready,
    /// Gave up, and says why.
    Failed {
        /// Whether the kernel forbids what is needed, so that the text names a setting.
        forbidden: bool,
        /// One or more sentences for people.
        text: String,
    },
}

/// The outer process took the descriptors of one message.
pub(super) const RECEIVED: u8 = b'r';

/// The outer process serves: become the command.
pub(super) const GO: u8 = b'g';

/// Sends `value` behind its length in four bytes.
pub(super) fn send_frame<T: Serialize>(mut socket: &UnixStream, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame is over its limit"))?;
    socket.write_all(&length.to_be_bytes())?;
    socket.write_all(&bytes)
}

/// Receives what [`send_frame`] sent.
pub(super) fn receive_frame<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame is over its limit"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends one byte.
pub(super) fn send_byte(mut socket: &UnixStream, byte: u8) -> io::Result<()> {
    socket.write_all(&[byte])
}

/// Waits for `wanted`; anything else, and the end of the stream, is an error.
pub(super) fn await_byte(mut socket: &UnixStream, wanted: u8) -> io::Result<()> {
    let mut byte = [0];
    socket.read_exact(&mut byte)?;
    if byte != [wanted] {
        return Err(io::Error::other("an unexpected byte on the control socket"));
    }
    Ok(())
}

/// Passes at most [`DESCRIPTORS_MAX`] descriptors along with one byte.
pub(super) fn send_descriptors(
    socket: &UnixStream,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(b"d")],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives exactly `count` descriptors of one message, each closed on exec.
pub(super) fn receive_descriptors(socket: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::with_capacity(count);
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() != count {
        let text = format!("{} of {count} descriptors arrived", descriptors.len());
        return Err(io::Error::other(text));
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn frames_and_descriptors_keep_their_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        send_frame(&one, &Report::Descriptors(DESCRIPTORS_MAX)).unwrap();
        send_descriptors(&one, &[file.as_fd(); DESCRIPTORS_MAX]).unwrap();
        send_frame(&one, &Report::Ready).unwrap();
        send_byte(&one, GO).unwrap();
        assert_eq!(
            receive_frame::<Report>(&other).unwrap(),
            Report::Descriptors(DESCRIPTORS_MAX)
        );
        assert_eq!(
            receive_descriptors(&other, DESCRIPTORS_MAX).unwrap().len(),
            DESCRIPTORS_MAX
        );
        assert_eq!(receive_frame::<Report>(&other).unwrap(), Report::Ready);
        await_byte(&other, GO).unwrap();
    }

    #[test]
    fn what_is_missing_or_too_much_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        assert!(send_descriptors(&one, &[file.as_fd(); 4 * DESCRIPTORS_MAX]).is_err());
        send_descriptors(&one, &[file.as_fd()]).unwrap();
        assert!(receive_descriptors(&other, 2).is_err(), "one of two");
        send_byte(&one, RECEIVED).unwrap();
        assert!(await_byte(&other, GO).is_err(), "another byte");
        (&one).write_all(&[0xff; 4]).unwrap();
        assert!(receive_frame::<Report>(&other).is_err(), "a frame of 4 GiB");
        drop(one);
        assert!(receive_descriptors(&other, 1).is_err(), "the end");
        assert!(await_byte(&other, GO).is_err(), "the end");
    }
}
