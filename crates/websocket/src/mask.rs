//! Masking (RFC 6455 §5.3): XOR with a four-byte key, the same operation both ways.

/// Applies `key` in place, rotated as for data that begins `offset` bytes into its frame.
///
/// Eight bytes at a time, which the compiler turns into vector instructions.
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let (blocks, rest) = data.as_chunks_mut::<8>();
    for block in blocks {
        *block = (u64::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

fn rotate(mut key: [u8; 4], offset: usize) -> [u8; 4] {
    key.rotate_left(offset % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::apply;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_definition(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            offset in 0usize..9,
            start in 0usize..8,
        ) {
            let start = start.min(data.len());
            let mut fast = data.clone();
            apply(&mut fast[start..], key, offset);
            let mut naive = data;
            for (i, byte) in naive[start..].iter_mut().enumerate() {
                *byte ^= key[(offset + i) % 4];
            }
            prop_assert_eq!(fast, naive);
        }
    }
}
