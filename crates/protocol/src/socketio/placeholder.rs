//! Placeholders: where binary was taken out of JSON, `{"_placeholder":true,"num":0}`.

use std::ops::Range;

use bytes::Bytes;

use super::json;

/// A placeholder object in valid JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The attachment it stands for, if `num` is an index at all.
    pub(super) index: Option<usize>,
    /// Where the token of `num` stands; empty when there is none.
    pub(super) num: Range<usize>,
    /// Where the `true` of `_placeholder` stands.
    pub(super) flag: Range<usize>,
}

#[derive(Default)]
struct Frame {
    object: bool,
    flag: Option<Range<usize>>,
    num: Range<usize>,
}

/// Appends a placeholder.
pub(super) fn write(out: &mut Vec<u8>, index: usize) {
    out.extend_from_slice(br#"{"_placeholder":true,"num":"#);
    out.extend_from_slice(index.to_string().as_bytes());
    out.push(b'}');
}

/// Finds the placeholders of a valid list of JSON values, in the order of their closing braces.
///
/// Keys are compared unescaped and the last of equal keys counts, as a JavaScript receiver does:
/// otherwise a peer could smuggle one past us that the receiver chokes on.
pub(super) fn find(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    // Escaped spellings have a backslash in the key; without either there is nothing to find.
    if !text.contains("_placeholder") && !text.contains("\\u") {
        return found;
    }
    let bytes = text.as_bytes();
    let mut open: Vec<Frame> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                key_next = byte == b'{';
                open.push(Frame {
                    object: key_next,
                    ..Frame::default()
                });
                at += 1;
            }
            b'}' | b']' => {
                if let Some(Frame {
                    flag: Some(flag),
                    num,
                    ..
                }) = open.pop()
                {
                    let index = text[num.clone()].parse().ok();
                    found.push(Placeholder { index, num, flag });
                }
                key_next = false;
                at += 1;
            }
            b',' => {
                key_next = open.last().is_some_and(|frame| frame.object);
                at += 1;
            }
            b'"' => {
                // The text is valid, so the string ends.
                let end = json::skip_string(bytes, at + 1).unwrap_or(bytes.len());
                if let (true, Some(frame)) = (key_next, open.last_mut()) {
                    key_next = false;
                    let colon = json::skip_space(bytes, end);
                    let value = json::skip_space(bytes, colon + 1);
                    match &*json::unescape(&text[at + 1..end - 1]) {
                        "_placeholder" => {
                            let set = text[value..].starts_with("true");
                            frame.flag = set.then_some(value..value + 4);
                        }
                        "num" => {
                            frame.num = value..json::skip_number(bytes, value).unwrap_or(value);
                        }
                        _ => {}
                    }
                    at = value;
                } else {
                    at = end;
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// Whether the placeholders of `text` are exactly 0, 1, 2 … up to the number of attachments.
pub(super) fn is_ordered(found: &[Placeholder], attachments: usize) -> bool {
    found.len() == attachments
        && found
            .iter()
            .enumerate()
            .all(|(place, found)| found.index == Some(place))
}

/// Appends `text` to `out` so that its placeholders continue the numbering of `list`, and appends
/// the attachments that they stand for. Placeholders without attachment are disarmed.
pub(super) fn renumber(
    text: &str,
    attachments: &[Bytes],
    out: &mut Vec<u8>,
    list: &mut Vec<Bytes>,
) {
    let mut found = find(text);
    found.sort_by_key(|found| found.num.start.max(found.flag.start));
    let mut renamed: Vec<Option<usize>> = vec![None; attachments.len()];
    let mut edits: Vec<(Range<usize>, usize)> = Vec::with_capacity(found.len());
    for placeholder in found {
        let index = placeholder.index.filter(|&index| index < attachments.len());
        let Some(index) = index else {
            edits.push((placeholder.flag, 1));
            continue;
        };
        let new = *renamed[index].get_or_insert_with(|| {
            list.push(attachments[index].clone());
            list.len() - 1
        });
        edits.push((placeholder.num, new));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut from = 0;
    for (range, number) in edits {
        out.extend_from_slice(&text.as_bytes()[from..range.start]);
        out.extend_from_slice(number.to_string().as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(text: &str) -> Vec<Option<usize>> {
        find(text).into_iter().map(|found| found.index).collect()
    }

    #[test]
    fn placeholders_are_found_in_every_spelling() {
        let table: &[(&str, &[Option<usize>])] = &[
            ("", &[]),
            ("1,\"_placeholder\",[\"num\"]", &[]),
            (r#"{"_placeholder":true,"num":0}"#, &[Some(0)]),
            (
                r#"{ "num" : 3 , "x" : [ {} ] , "_placeholder" : true }"#,
                &[Some(3)],
            ),
            (r#"{"\u005fplaceholder":true,"nu\u006d":1}"#, &[Some(1)]),
            (r#"{"_placeholder":false,"num":0}"#, &[]),
            (r#"{"_placeholder":"true","num":0}"#, &[]),
            (r#"{"_placeholder":true,"_placeholder":1,"num":0}"#, &[]),
            (
                r#"{"_placeholder":1,"_placeholder":true,"num":0,"num":2}"#,
                &[Some(2)],
            ),
            (r#"{"_placeholder":true}"#, &[None]),
            (r#"{"_placeholder":true,"num":-1}"#, &[None]),
            (r#"{"_placeholder":true,"num":0.5}"#, &[None]),
            (r#"{"_placeholder":true,"num":"0"}"#, &[None]),
            (
                r#"{"_placeholder":true,"num":99999999999999999999}"#,
                &[None],
            ),
            (
                r#"["{\"_placeholder\":true}"],{"a":{"_placeholder":true,"num":7}}"#,
                &[Some(7)],
            ),
            (r#"{"x":{"num":1},"_placeholder":true}"#, &[None]),
        ];
        for (text, expected) in table {
            assert_eq!(indexes(text), *expected, "{text}");
        }
    }

    #[test]
    fn numbering_continues_and_the_rest_stays_byte_for_byte() {
        let attachments = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let text = r#" {"num":1 ,"_placeholder":true}, 1e400, {"_placeholder":true,"num":1},{"_placeholder":true,"num":0}"#;
        let mut list = vec![Bytes::from_static(b"first")];
        let mut out = Vec::new();
        renumber(text, &attachments, &mut out, &mut list);
        let expected = r#" {"num":1 ,"_placeholder":true}, 1e400, {"_placeholder":true,"num":1},{"_placeholder":true,"num":2}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(list, [&b"first"[..], b"b", b"a"]);
    }

    #[test]
    fn a_placeholder_without_attachment_is_disarmed() {
        let mut out = Vec::new();
        let mut list = Vec::new();
        renumber(r#"{"_placeholder":true,"num":9}"#, &[], &mut out, &mut list);
        assert_eq!(out, br#"{"_placeholder":1,"num":9}"#);
        assert!(list.is_empty());
    }
}
