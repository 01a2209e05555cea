//! Takes an input apart.

/// Bytes, read from the front. What is missing reads as zero or as nothing.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Input(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to the next line feed, which is taken too.
    pub(crate) fn line(&mut self) -> &'a [u8] {
        let mut halves = self.0.splitn(2, |byte| *byte == b'\n');
        let line = halves.next().unwrap_or_default();
        self.0 = halves.next().unwrap_or_default();
        line
    }

    /// As [`Input::line`], if it is text.
    pub(crate) fn text_line(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.line()).ok()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
