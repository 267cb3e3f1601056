//! RFC 6455 frames as a client needs them: masked out, unmasked in, parsed in place.

/// Opcodes of RFC 6455, section 5.2.
pub(crate) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// Largest frame that is accepted.
pub(crate) const MAX_FRAME: usize = 64 << 20;

/// The peer does not speak RFC 6455.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    /// RSV1 is set: the payload is deflated, RFC 7692 section 6.
    pub(crate) deflated: bool,
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes before the payload.
    pub(crate) len: usize,
    pub(crate) payload: usize,
}

impl Header {
    pub(crate) fn total(&self) -> usize {
        self.len + self.payload
    }
}

/// Reads a frame header; `None` if more bytes are needed.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<Header>, Invalid> {
    match deflatable_header(bytes)? {
        Some(header) if header.deflated => Err(Invalid),
        header => Ok(header),
    }
}

/// The same where permessage-deflate was agreed on.
pub(crate) fn deflatable_header(bytes: &[u8]) -> Result<Option<Header>, Invalid> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    let deflated = first & 0x40 != 0;
    if first & 0x30 != 0
        || matches!(first & 15, 3..=7 | 11..=15)
        || deflated && !matches!(first & 15, opcode::TEXT | opcode::BINARY)
    {
        return Err(Invalid);
    }
    let (length_end, payload) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(None),
        },
        127 => match bytes
            .get(2..10)
            .and_then(|long| <[u8; 8]>::try_from(long).ok())
        {
            Some(long) => (10, u64::from_be_bytes(long)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let payload = usize::try_from(payload).map_err(|_| Invalid)?;
    if payload > MAX_FRAME {
        return Err(Invalid);
    }
    let (mask, len) = if second & 0x80 == 0 {
        (None, length_end)
    } else {
        match bytes.get(length_end..length_end + 4) {
            Some(&[a, b, c, d]) => (Some([a, b, c, d]), length_end + 4),
            _ => return Ok(None),
        }
    };
    Ok(Some(Header {
        fin: first & 0x80 != 0,
        opcode: first & 15,
        deflated,
        mask,
        len,
        payload,
    }))
}

/// Appends a frame header.
pub(crate) fn put_header(opcode: u8, mask: Option<[u8; 4]>, payload: usize, out: &mut Vec<u8>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match payload {
        0..=125 => out.push(masked | payload as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
}

/// Appends a whole frame; with a key, the payload is masked with it.
pub(crate) fn put(opcode: u8, key: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    put_header(opcode, key, payload.len(), out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        apply_mask(key, &mut out[start..]);
    }
}

/// Masks or unmasks, RFC 6455 section 5.3.
pub(crate) fn apply_mask(key: [u8; 4], bytes: &mut [u8]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        // Proof: `chunks_exact_mut(8)` yields slices of eight bytes.
        let value = u64::from_ne_bytes((&*chunk).try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&value.to_ne_bytes());
    }
    for (index, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

/// Mask keys: different for every frame, cheap, not secret (a load tester has no intermediaries
/// to protect).
#[derive(Debug)]
pub(crate) struct Keys(u64);

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) as u32).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_is_read_as_written_and_only_when_whole(
            opcode in prop_oneof![Just(opcode::TEXT), Just(opcode::BINARY), Just(opcode::PING)],
            key: Option<[u8; 4]>,
            length in prop_oneof![0usize..140, 65_530usize..65_540],
            fill: u8,
        ) {
            let payload: Vec<u8> = (0..length).map(|i| fill.wrapping_add(i as u8)).collect();
            let mut bytes = Vec::new();
            put(opcode, key, &payload, &mut bytes);
            bytes.push(0xff);
            let header = header(&bytes).unwrap().unwrap();
            prop_assert_eq!(header.total() + 1, bytes.len());
            prop_assert_eq!((header.fin, header.opcode, header.mask), (true, opcode, key));
            let mut read = bytes[header.len..header.total()].to_vec();
            if let Some(key) = header.mask {
                apply_mask(key, &mut read);
            }
            prop_assert_eq!(read, payload);
            for cut in 0..header.len {
                prop_assert_eq!(super::header(&bytes[..cut]), Ok(None));
            }
        }

        #[test]
        fn masking_is_that_of_the_rfc(key: [u8; 4], bytes: Vec<u8>) {
            let mut masked = bytes.clone();
            apply_mask(key, &mut masked);
            let expected: Vec<u8> =
                bytes.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            prop_assert_eq!(masked, expected);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Ok(Some(header)) = header(&bytes) {
                prop_assert!(header.len <= bytes.len() && header.payload <= MAX_FRAME);
            }
        }
    }

    #[test]
    fn reserved_bits_opcodes_and_lengths_are_refused() {
        assert_eq!(header(&[0xc1, 0]), Err(Invalid));
        assert!(matches!(
            deflatable_header(&[0xc1, 0]),
            Ok(Some(Header { deflated: true, .. }))
        ));
        assert_eq!(deflatable_header(&[0xc0, 0]), Err(Invalid));
        assert_eq!(deflatable_header(&[0xc9, 0]), Err(Invalid));
        assert_eq!(header(&[0x83, 0]), Err(Invalid));
        let mut huge = vec![0x82, 127];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(header(&huge), Err(Invalid));
    }
}
