//! A socket that remembers what was read of it, until it is known what to do with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes remembered: a ClientHello has a few KiB.
const SEEN_BYTES_MAX: usize = 64 * 1024;

/// A socket and what was read of it.
#[derive(Debug)]
pub(super) struct Seen<S> {
    socket: S,
    /// `None`: nothing is remembered any more.
    seen: Option<Vec<u8>>,
    /// Whether nothing was read yet.
    untouched: bool,
}

impl<S> Seen<S> {
    /// Remembers what is read from now on, if `keep`.
    pub(super) fn new(socket: S, keep: bool) -> Self {
        let seen = keep.then(Vec::new);
        Self {
            socket,
            seen,
            untouched: true,
        }
    }

    /// Remembers nothing any more.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether nothing was read of it yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// The socket, and what was read of it.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.socket, self.seen.unwrap_or_default())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Seen<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let untouched = self.untouched && read.is_empty();
        if let Some(seen) = &mut self.seen
            && seen.len() < SEEN_BYTES_MAX
        {
            seen.extend_from_slice(read);
        }
        self.untouched = untouched;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seen<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
