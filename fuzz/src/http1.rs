//! A connection of HTTP/1.1.

use crate::connection;
use crate::input::Input;

/// Input: how many bytes come at a time, then the bytes.
///
/// - Nothing crashes, and the connection ends when its agent has gone.
/// - Each request that reaches the upstream is one that was judged and permitted, with the same body, once, and shows the
///   lent credential and no other.
/// - What is judged names the host that was dialled, and has one length.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let step = usize::from(input.byte());
    connection::carry(input.rest(), step, false);
}
