//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use std::borrow::Cow;

/// One element of the list: a name and its parameters in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension<'h> {
    pub(crate) name: &'h str,
    pub(crate) params: Vec<(&'h str, Option<Cow<'h, str>>)>,
}

/// The value does not follow the grammar: the connection must fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads one header value; empty list elements are skipped.
pub(crate) fn parse(value: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut rest = Cursor { text: value };
    let mut list = Vec::new();
    loop {
        rest.skip_space();
        if rest.eat(',') {
            continue;
        }
        if rest.text.is_empty() {
            return Ok(list);
        }
        list.push(rest.extension()?);
        rest.skip_space();
        if !rest.text.is_empty() && !rest.eat(',') {
            return Err(Malformed);
        }
    }
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

struct Cursor<'h> {
    text: &'h str,
}

impl<'h> Cursor<'h> {
    fn skip_space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, wanted: char) -> bool {
        let Some(rest) = self.text.strip_prefix(wanted) else {
            return false;
        };
        self.text = rest;
        true
    }

    fn token(&mut self) -> Result<&'h str, Malformed> {
        let end = self
            .text
            .bytes()
            .position(|b| !is_token_byte(b))
            .unwrap_or(self.text.len());
        // `end` is before a byte that is not part of a token, or the end; tokens are ASCII.
        let (token, rest) = self.text.split_at(end);
        self.text = rest;
        if token.is_empty() {
            Err(Malformed)
        } else {
            Ok(token)
        }
    }

    fn extension(&mut self) -> Result<Extension<'h>, Malformed> {
        let name = self.token()?;
        let mut params = Vec::new();
        loop {
            self.skip_space();
            if !self.eat(';') {
                return Ok(Extension { name, params });
            }
            self.skip_space();
            let param = self.token()?;
            self.skip_space();
            let value = if self.eat('=') {
                self.skip_space();
                Some(self.value()?)
            } else {
                None
            };
            params.push((param, value));
        }
    }

    /// A token, or a quoted string whose content is a token.
    fn value(&mut self) -> Result<Cow<'h, str>, Malformed> {
        if !self.eat('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut content = String::new();
        let mut chars = self.text.char_indices();
        loop {
            let (at, char) = chars.next().ok_or(Malformed)?;
            match char {
                '"' => {
                    self.text = &self.text[at + 1..];
                    return if is_token(&content) {
                        Ok(Cow::Owned(content))
                    } else {
                        Err(Malformed)
                    };
                }
                '\\' => content.push(chars.next().ok_or(Malformed)?.1),
                _ => content.push(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_parameters_and_quoted_values() {
        let list = parse("foo;a=1 ; b ,, permessage-deflate; x=\"1\\5\",bar").unwrap();
        assert_eq!(list.len(), 3);
        assert_eq!(list[0].params, [("a", Some("1".into())), ("b", None)]);
        assert_eq!(list[1].params, [("x", Some("15".into()))]);
        assert_eq!(
            list[2],
            Extension {
                name: "bar",
                params: vec![]
            }
        );
        assert_eq!(parse(" , ").unwrap(), []);
    }

    #[test]
    fn what_the_grammar_forbids_is_malformed() {
        for value in [
            "a;",
            "a;=1",
            "a;b=",
            "a b",
            ";a",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"x y\"",
            "a;b=\"x\\",
            "ä",
            "a;b=1 2",
            "a/b",
            "a;b=\"x\"y",
        ] {
            assert_eq!(parse(value), Err(Malformed), "{value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in "[a-c;=,\"\\\\ \\tä]{0,24}") {
            let _ = parse(&value);
        }
    }
}
