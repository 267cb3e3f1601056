//! The frame header (RFC 6455 §5.2), read.

use crate::error::{Error, Kind};
use crate::limits::Role;

/// What a frame carries (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The close handshake.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// I am.
    Pong = 10,
}

impl OpCode {
    /// Close, ping or pong: at most 125 bytes, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }

    const fn from_bits(bits: u8) -> Option<OpCode> {
        Some(match bits {
            0 => OpCode::Continuation,
            1 => OpCode::Text,
            2 => OpCode::Binary,
            8 => OpCode::Close,
            9 => OpCode::Ping,
            10 => OpCode::Pong,
            _ => return None,
        })
    }
}

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const MASK: u8 = 0x80;
/// Two bytes, eight of extended length, four of mask.
pub(crate) const MAX_HEADER: usize = 14;
pub(crate) const MAX_CONTROL: usize = 125;

/// A frame's header, valid by itself; whether it fits the message in progress is for the reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) opcode: OpCode,
    pub(crate) fin: bool,
    /// RSV1 on the first frame of a message (RFC 7692 §6).
    pub(crate) compressed: bool,
    /// All zero when the frame is not masked.
    pub(crate) mask: [u8; 4],
    pub(crate) len: u64,
}

impl FrameHeader {
    /// The header at the front of `bytes` and its length; `None` while it is incomplete. Fails as
    /// early as the bytes allow.
    pub(crate) fn parse(
        bytes: &[u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<(FrameHeader, usize)>, Error> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let opcode = OpCode::from_bits(first & 0x0F).ok_or(Error(Kind::ReservedOpCode))?;
        let fin = first & FIN != 0;
        let compressed = first & RSV1 != 0;
        let may_compress = deflate && matches!(opcode, OpCode::Text | OpCode::Binary);
        if first & 0x30 != 0 || (compressed && !may_compress) {
            return Err(Error(Kind::ReservedBits));
        }
        if opcode.is_control() && !fin {
            return Err(Error(Kind::ControlFragmented));
        }

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let masked = second & MASK != 0;
        match role {
            Role::Server if !masked => return Err(Error(Kind::Unmasked)),
            Role::Client if masked => return Err(Error(Kind::Masked)),
            _ => {}
        }
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Error(Kind::ControlTooLong));
        }
        let Some((len, at)) = parse_length(short, &bytes[2..])? else {
            return Ok(None);
        };
        let mut at = 2 + at;
        let mut mask = [0; 4];
        if masked {
            let Some(key) = bytes[at..].first_chunk::<4>() else {
                return Ok(None);
            };
            mask = *key;
            at += 4;
        }
        Ok(Some((
            FrameHeader {
                opcode,
                fin,
                compressed,
                mask,
                len,
            },
            at,
        )))
    }
}

/// The payload length and how many extended bytes it took.
fn parse_length(short: u8, extended: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    match short {
        126 => {
            let Some(bytes) = extended.first_chunk::<2>() else {
                return Ok(None);
            };
            let len = u64::from(u16::from_be_bytes(*bytes));
            if len < 126 {
                Err(Error(Kind::LengthNotMinimal))
            } else {
                Ok(Some((len, 2)))
            }
        }
        127 => {
            let Some(bytes) = extended.first_chunk::<8>() else {
                return Ok(None);
            };
            let len = u64::from_be_bytes(*bytes);
            match len {
                0..=0xFFFF => Err(Error(Kind::LengthNotMinimal)),
                _ if len >> 63 != 0 => Err(Error(Kind::LengthHighBit)),
                _ => Ok(Some((len, 8))),
            }
        }
        _ => Ok(Some((u64::from(short), 0))),
    }
}
