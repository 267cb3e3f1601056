//! MessagePack: reading heads, skipping values without recursion, writing.
//!
//! The dialect is that of the published parser: `undefined` is the extension `d4 00 00`, a date
//! `d7 00` with signed 64-bit milliseconds, other binary views the extension type 0.

use super::json::Fault;

/// The first bytes of a value: everything about it but the contents of arrays and maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i16, &'a [u8]),
    /// The number of items that follow.
    Array(usize),
    /// The number of pairs that follow.
    Map(usize),
}

impl<'a> Head<'a> {
    /// Whether this is JavaScript's `undefined`.
    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Self::Ext(0, [_]))
    }

    /// The bytes, if this is binary in one of its forms.
    pub(super) fn binary(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bin(bytes) => Some(bytes),
            // One byte would be `undefined`, eight bytes in the fixed form a date; the published
            // encoder writes views with an explicit length, which `ext_head` has told apart.
            Self::Ext(TYPED_ARRAY, bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Stands for extension type 0 with an explicit length, which is a binary view; type 0 with a
/// fixed length is `undefined` or a date.
pub(super) const TYPED_ARRAY: i16 = 1 << 8;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(len).ok_or(Fault::Syntax(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Syntax(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of 1, 2 or 4 bytes; `width` is its place in the three forms.
    fn len(&mut self, width: u8) -> Result<usize, Fault> {
        Ok(match width {
            0 => usize::from(self.u8()?),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn ext(&mut self, len: usize, explicit: bool) -> Result<Head<'a>, Fault> {
        let kind = i16::from(i8::from_be_bytes(self.array()?));
        let kind = if explicit && kind == 0 {
            TYPED_ARRAY
        } else {
            kind
        };
        Ok(Head::Ext(kind, self.take(len)?))
    }

    fn head(&mut self) -> Result<Head<'a>, Fault> {
        let start = self.at;
        let marker = self.u8()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(u64::from(marker)),
            0x80..=0x8f => Head::Map(usize::from(marker & 0x0f)),
            0x90..=0x9f => Head::Array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => Head::Str(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Head::Nil,
            0xc1 => return Err(Fault::Syntax(start)),
            0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let len = self.len(marker - 0xc4)?;
                Head::Bin(self.take(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(marker - 0xc7)?;
                self.ext(len, true)?
            }
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Unsigned(u64::from(self.u8()?)),
            0xcd => Head::Unsigned(u64::from(u16::from_be_bytes(self.array()?))),
            0xce => Head::Unsigned(u64::from(u32::from_be_bytes(self.array()?))),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Head::Signed(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => Head::Signed(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Head::Signed(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => Head::Signed(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => self.ext(1 << (marker - 0xd4), false)?,
            0xd9..=0xdb => {
                let len = self.len(marker - 0xd9)?;
                Head::Str(self.take(len)?)
            }
            0xdc | 0xdd => Head::Array(self.len(marker - 0xdc + 1)?),
            0xde | 0xdf => Head::Map(self.len(marker - 0xde + 1)?),
            0xe0..=0xff => Head::Signed(i64::from(i8::from_be_bytes([marker]))),
        })
    }
}

/// Reads the head of the value at `at`; returns it and where it ends.
pub(super) fn head(bytes: &[u8], at: usize) -> Result<(Head<'_>, usize), Fault> {
    let mut reader = Reader { bytes, at };
    let head = reader.head()?;
    Ok((head, reader.at))
}

/// The end of the value at `at`. Memory grows with the depth that is there, never with a length
/// that is announced.
pub(super) fn skip_value(bytes: &[u8], at: usize, max_depth: usize) -> Result<usize, Fault> {
    visit(bytes, at, max_depth, |_| true).map(|end| end.unwrap_or(bytes.len()))
}

/// Whether the value at `at`, which is valid, holds binary anywhere.
pub(super) fn has_binary(bytes: &[u8], at: usize) -> bool {
    let end = visit(bytes, at, usize::MAX, |head| head.binary().is_none());
    matches!(end, Ok(None))
}

/// Calls `go_on` with each head of the value at `at`; returns where it ends, or nothing when told
/// to stop.
fn visit<'a>(
    bytes: &'a [u8],
    mut at: usize,
    max_depth: usize,
    mut go_on: impl FnMut(&Head<'a>) -> bool,
) -> Result<Option<usize>, Fault> {
    // How many values are still to come in each open container.
    let mut open: Vec<u64> = Vec::new();
    loop {
        let (head, end) = head(bytes, at)?;
        if !go_on(&head) {
            return Ok(None);
        }
        at = end;
        let items = match head {
            Head::Array(items) => Some(items as u64),
            Head::Map(pairs) => Some(pairs as u64 * 2),
            _ => None,
        };
        if let Some(items) = items {
            if open.len() == max_depth {
                return Err(Fault::TooDeep);
            }
            open.push(items);
        }
        loop {
            match open.last_mut() {
                None => return Ok(Some(at)),
                Some(0) => {
                    open.pop();
                }
                Some(due) => {
                    *due -= 1;
                    break;
                }
            }
        }
    }
}

/// Walks over valid values that follow each other, as arguments are kept.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for Elements<'_> {
    /// Start and end of a value.
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let start = self.at;
        self.at = skip_value(self.bytes, start, usize::MAX).ok()?;
        Some((start, self.at))
    }
}

/// The marker of a length: the short form up to `short`, then the 8-, 16- and 32-bit ones. An
/// 8-bit marker of 0 says that there is none. Lengths above `u32::MAX` cannot be written; no
/// buffer here comes near them.
fn write_len(out: &mut Vec<u8>, len: usize, (fix, short): (u8, usize), wide: [u8; 3]) {
    if len <= short && fix != 0 {
        // `short` is 15 or 31, so the length fits beside the marker.
        out.push(fix | len as u8);
    } else if let (Ok(len), true) = (u8::try_from(len), wide[0] != 0) {
        out.extend_from_slice(&[wide[0], len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(wide[1]);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(wide[2]);
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }
}

pub(super) fn write_array(out: &mut Vec<u8>, items: usize) {
    write_len(out, items, (0x90, 15), [0, 0xdc, 0xdd]);
}

pub(super) fn write_map(out: &mut Vec<u8>, pairs: usize) {
    write_len(out, pairs, (0x80, 15), [0, 0xde, 0xdf]);
}

pub(super) fn write_str(out: &mut Vec<u8>, text: &str) {
    write_len(out, text.len(), (0xa0, 31), [0xd9, 0xda, 0xdb]);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    write_len(out, bytes.len(), (0, 0), [0xc4, 0xc5, 0xc6]);
    out.extend_from_slice(bytes);
}

pub(super) fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(super) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(super) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    if let Ok(value) = u8::try_from(value) {
        if value > 0x7f {
            out.push(0xcc);
        }
        out.push(value);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_signed(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        return write_unsigned(out, value);
    }
    if let Ok(value) = i8::try_from(value) {
        if value < -32 {
            out.push(0xd0);
        }
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_float(out: &mut Vec<u8>, value: f64) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_of_every_format() {
        let table: &[(&[u8], Head<'_>)] = &[
            (&[0x7f], Head::Unsigned(127)),
            (&[0x81], Head::Map(1)),
            (&[0x92], Head::Array(2)),
            (&[0xa1, b'x'], Head::Str(b"x")),
            (&[0xc0], Head::Nil),
            (&[0xc2], Head::Bool(false)),
            (&[0xc3], Head::Bool(true)),
            (&[0xc4, 1, 9], Head::Bin(&[9])),
            (&[0xc5, 0, 1, 9], Head::Bin(&[9])),
            (&[0xc6, 0, 0, 0, 1, 9], Head::Bin(&[9])),
            (&[0xc7, 1, 0, 9], Head::Ext(TYPED_ARRAY, &[9])),
            (&[0xc8, 0, 1, 5, 9], Head::Ext(5, &[9])),
            (&[0xc9, 0, 0, 0, 1, 0xff, 9], Head::Ext(-1, &[9])),
            (&[0xca, 0x3f, 0x80, 0, 0], Head::Float(1.0)),
            (&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Head::Float(1.0)),
            (&[0xcc, 200], Head::Unsigned(200)),
            (&[0xcd, 1, 0], Head::Unsigned(256)),
            (&[0xce, 0, 1, 0, 0], Head::Unsigned(65_536)),
            (&[0xcf, 0, 0, 0, 1, 0, 0, 0, 0], Head::Unsigned(1 << 32)),
            (&[0xd0, 0x80], Head::Signed(-128)),
            (&[0xd1, 0xff, 0], Head::Signed(-256)),
            (&[0xd2, 0xff, 0xff, 0, 0], Head::Signed(-65_536)),
            (
                &[0xd3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
                Head::Signed(-(1 << 32)),
            ),
            (&[0xd4, 0, 0], Head::Ext(0, &[0])),
            (
                &[0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                Head::Ext(0, &[0, 0, 0, 0, 0, 0, 0, 1]),
            ),
            (&[0xd9, 1, b'x'], Head::Str(b"x")),
            (&[0xda, 0, 1, b'x'], Head::Str(b"x")),
            (&[0xdb, 0, 0, 0, 1, b'x'], Head::Str(b"x")),
            (&[0xdc, 0, 3], Head::Array(3)),
            (&[0xdd, 0, 0, 0, 3], Head::Array(3)),
            (&[0xde, 0, 3], Head::Map(3)),
            (&[0xdf, 0, 0, 0, 3], Head::Map(3)),
            (&[0xe0], Head::Signed(-32)),
            (&[0xff], Head::Signed(-1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(head(bytes, 0), Ok((*expected, bytes.len())), "{bytes:x?}");
            for cut in 0..bytes.len() {
                assert!(head(&bytes[..cut], 0).is_err(), "{bytes:x?} cut at {cut}");
            }
        }
        assert!(head(&[0xc1], 0).is_err());
        assert!(head(&[0xd4, 0, 0], 0).unwrap().0.is_undefined());
    }

    #[test]
    fn announced_lengths_cost_nothing() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0],
        ] {
            assert_eq!(skip_value(bytes, 0, 10), Err(Fault::Syntax(bytes.len())));
        }
        assert_eq!(
            skip_value(&[0xc6, 0xff, 0xff, 0xff, 0xff], 0, 10),
            Err(Fault::Syntax(5))
        );
    }

    #[test]
    fn depth_is_bounded() {
        let mut bytes = vec![0x91; 45_000];
        bytes.push(0xc0);
        assert_eq!(skip_value(&bytes, 0, 1_000), Err(Fault::TooDeep));
        assert_eq!(skip_value(&bytes[44_000..], 0, 1_000), Ok(1_001));
        assert_eq!(skip_value(&[0x90], 0, 0), Err(Fault::TooDeep));
    }

    #[test]
    fn binary_is_seen_at_any_depth() {
        assert!(has_binary(&[0x92, 0x01, 0x81, 0xa1, b'a', 0xc4, 0], 0));
        assert!(has_binary(&[0xc7, 0, 0], 0));
        assert!(!has_binary(&[0x92, 0x01, 0x81, 0xa1, b'a', 0xd4, 0, 0], 0));
    }

    proptest! {
        #[test]
        fn integers_are_written_in_their_shortest_form(value in any::<i64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            write_signed(&mut out, value);
            let expected = match u64::try_from(value) {
                Ok(value) => Head::Unsigned(value),
                Err(_) => Head::Signed(value),
            };
            prop_assert_eq!(head(&out, 0), Ok((expected, out.len())));
            let shortest = match value {
                -32..=127 => 1,
                -128..=255 => 2,
                -32_768..=65_535 => 3,
                -2_147_483_648..=4_294_967_295 => 5,
                _ => 9,
            };
            prop_assert_eq!(out.len(), shortest);
        }

        #[test]
        fn lengths_are_read_as_written(len in prop_oneof![0_usize..70, 250..260_usize, 65_530..65_540_usize]) {
            let mut out = Vec::new();
            write_bin(&mut out, &vec![7; len]);
            prop_assert_eq!(head(&out, 0), Ok((Head::Bin(&vec![7; len]), out.len())));
            out.clear();
            write_str(&mut out, &"x".repeat(len));
            prop_assert_eq!(head(&out, 0), Ok((Head::Str(&vec![b'x'; len]), out.len())));
            out.clear();
            write_array(&mut out, len);
            prop_assert_eq!(head(&out, 0), Ok((Head::Array(len), out.len())));
            out.clear();
            write_map(&mut out, len);
            prop_assert_eq!(head(&out, 0), Ok((Head::Map(len), out.len())));
        }

        #[test]
        fn any_bytes_are_skipped_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(end) = skip_value(&bytes, 0, 50) {
                prop_assert!(end <= bytes.len() && end > 0);
            }
        }
    }
}
