//! UTF-8 checked as it comes, failing at the first byte that cannot be part of valid text.

/// The text is not UTF-8, whatever may follow.
#[derive(Debug)]
pub(crate) struct Invalid;

/// Text that grows by arbitrarily cut pieces of UTF-8.
#[derive(Debug, Default)]
pub(crate) struct TextBuf {
    text: String,
    /// The beginning of a character whose end has not come.
    cut: [u8; 4],
    cut_len: u8,
}

impl TextBuf {
    /// Bytes received so far, the cut character included.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + usize::from(self.cut_len)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        self.text.reserve_exact(additional);
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        if self.cut_len > 0 {
            piece = self.complete_cut(piece)?;
        }
        let (whole, cut) = split_cut_char(piece);
        self.text
            .push_str(std::str::from_utf8(whole).map_err(|_| Invalid)?);
        if !cut.is_empty() {
            check_prefix(cut)?;
            self.cut[..cut.len()].copy_from_slice(cut);
            self.cut_len = cut.len() as u8;
        }
        Ok(())
    }

    /// The whole text; an error when it ends inside a character.
    pub(crate) fn finish(self) -> Result<String, Invalid> {
        if self.cut_len == 0 {
            Ok(self.text)
        } else {
            Err(Invalid)
        }
    }

    /// Takes from `piece` what the cut character lacks and returns the rest.
    fn complete_cut<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Invalid> {
        let have = usize::from(self.cut_len);
        let take = (width(self.cut[0]) - have).min(piece.len());
        self.cut[have..have + take].copy_from_slice(&piece[..take]);
        self.cut_len += take as u8;
        let cut = &self.cut[..have + take];
        match std::str::from_utf8(cut) {
            Ok(char) => {
                self.text.push_str(char);
                self.cut_len = 0;
            }
            Err(error) if error.error_len().is_some() => return Err(Invalid),
            Err(_) => {}
        }
        Ok(&piece[take..])
    }
}

/// Splits off an unfinished character at the end, judged by lead and continuation bytes only.
fn split_cut_char(piece: &[u8]) -> (&[u8], &[u8]) {
    let end = piece.len();
    for back in 1..=end.min(3) {
        let byte = piece[end - back];
        if byte & 0xC0 != 0x80 {
            return if width(byte) > back {
                piece.split_at(end - back)
            } else {
                (piece, &[])
            };
        }
    }
    (piece, &[])
}

fn check_prefix(cut: &[u8]) -> Result<(), Invalid> {
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => Ok(()),
        _ => Err(Invalid),
    }
}

/// Length of the character that `lead` begins; 1 for bytes that begin none.
fn width(lead: u8) -> usize {
    match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::TextBuf;
    use proptest::prelude::*;

    /// The index of the byte at which a byte-by-byte reading fails.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut text = TextBuf::default();
        bytes.iter().position(|byte| text.push(&[*byte]).is_err())
    }

    /// Unicode §3.9, table 3-7: the first byte that rules the text out.
    #[test]
    fn fails_at_the_first_impossible_byte() {
        let table: &[(&[u8], usize)] = &[
            (&[0x80], 0),
            (&[0xC0, 0x80], 0),
            (&[0xC1, 0xBF], 0),
            (&[0xC2, 0x41], 1),
            (&[0xE0, 0x9F, 0xBF], 1),
            (&[0xED, 0xA0, 0x80], 1),
            (&[0xE2, 0x82, 0x41], 2),
            (&[0xF0, 0x8F, 0xBF, 0xBF], 1),
            (&[0xF4, 0x90, 0x80, 0x80], 1),
            (&[0xF5, 0x80], 0),
            (&[0xFF], 0),
        ];
        for (bytes, at) in table {
            assert_eq!(fails_at(bytes), Some(*at), "{bytes:x?}");
            // The same when all comes at once.
            assert!(
                TextBuf::default().push(&bytes[..=*at]).is_err(),
                "{bytes:x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_cutting_yields_the_same_text(text in "\\PC{0,40}", cuts: Vec<prop::sample::Index>) {
            let bytes = text.as_bytes();
            let mut ends: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let (mut buf, mut from) = (TextBuf::default(), 0);
            for end in ends {
                buf.push(&bytes[from..end]).unwrap();
                from = end;
                prop_assert_eq!(buf.len(), end);
            }
            prop_assert_eq!(buf.finish().unwrap(), text);
        }

        #[test]
        fn agrees_with_std_on_any_bytes(bytes: Vec<u8>, cut: prop::sample::Index) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut buf = TextBuf::default();
            let ok = buf.push(a).and_then(|()| buf.push(b)).and_then(|()| buf.finish());
            prop_assert_eq!(ok.is_ok(), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn byte_by_byte_fails_where_std_does(bytes in proptest::collection::vec(0x80u8.., 1..8)) {
            if let Err(error) = std::str::from_utf8(&bytes)
                && let Some(at) = fails_at(&bytes)
            {
                let first = error.valid_up_to();
                prop_assert!(at >= first && at < first + 4);
                prop_assert!(std::str::from_utf8(&bytes[..at]).map_or_else(
                    |e| e.error_len().is_none(), |_| true));
            }
        }
    }
}
