use crate::close::CloseFrame;
use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// What a peer sent. Whole frames borrow from the input, assembled ones are owned.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A text message.
    Text(Text<'b>),
    /// A binary message.
    Binary(Payload<'b>),
    /// To be answered with a pong of the same payload (RFC 6455 §5.5.2).
    Ping(Payload<'b>),
    /// The answer to a ping, or an unasked sign of life (RFC 6455 §5.5.3).
    Pong(Payload<'b>),
    /// The last event of a connection; `None` is a close frame without a code. What follows it is
    /// ignored.
    Close(Option<CloseFrame>),
}

/// Bytes to be read, consumed from the front. [`Reader::next`](crate::Reader::next) unmasks in
/// them, so what is consumed is no longer what came.
pub struct Input<'b> {
    bytes: &'b mut [u8],
}

impl<'b> Input<'b> {
    /// Wraps what was received.
    pub fn new(bytes: &'b mut [u8]) -> Input<'b> {
        Input { bytes }
    }

    /// Bytes not consumed yet.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left.
    pub fn remaining(&self) -> &[u8] {
        self.bytes
    }

    /// Consumes `count` bytes, at most those that are left.
    pub(crate) fn take(&mut self, count: usize) -> &'b mut [u8] {
        let bytes = std::mem::take(&mut self.bytes);
        let (taken, rest) = bytes.split_at_mut(count.min(bytes.len()));
        self.bytes = rest;
        taken
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({} bytes)", self.len())
    }
}

/// Binary payload; dereferences to `[u8]`.
pub struct Payload<'b>(Bin<'b>);

enum Bin<'b> {
    Borrowed(&'b [u8]),
    Owned(Vec<u8>),
}

impl<'b> Payload<'b> {
    /// The payload as shared bytes; copies only when it is borrowed from the input.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Bin::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Bin::Owned(bytes) => Bytes::from(bytes),
        }
    }

    /// The payload as a vector; copies only when it is borrowed from the input.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bin::Borrowed(bytes) => bytes.to_vec(),
            Bin::Owned(bytes) => bytes,
        }
    }

    /// Whether the payload lies in the caller's input buffer.
    pub fn is_borrowed(&self) -> bool {
        matches!(self.0, Bin::Borrowed(_))
    }
}

impl<'b> From<&'b [u8]> for Payload<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Payload(Bin::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Payload(Bin::Owned(bytes))
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bin::Borrowed(bytes) => bytes,
            Bin::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

/// Text payload, valid UTF-8; dereferences to `str`.
pub struct Text<'b>(Str<'b>);

enum Str<'b> {
    Borrowed(&'b str),
    Owned(String),
}

impl<'b> Text<'b> {
    /// The text as shared bytes; copies only when it is borrowed from the input.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Str::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Str::Owned(text) => Bytes::from(text),
        }
    }

    /// The text as a string; copies only when it is borrowed from the input.
    pub fn into_string(self) -> String {
        match self.0 {
            Str::Borrowed(text) => text.to_owned(),
            Str::Owned(text) => text,
        }
    }

    /// Whether the text lies in the caller's input buffer.
    pub fn is_borrowed(&self) -> bool {
        matches!(self.0, Str::Borrowed(_))
    }
}

impl<'b> From<&'b str> for Text<'b> {
    fn from(text: &'b str) -> Self {
        Text(Str::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Str::Owned(text))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Str::Borrowed(text) => text,
            Str::Owned(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}
