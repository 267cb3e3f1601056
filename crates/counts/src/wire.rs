use sockeye_websocket::{OpCode, encode_into, masked_frame};

/// The mask of every frame: a constant, so that every run does the same.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A chat message as browsers send it: an event with an acknowledgement, 53 bytes.
pub const SMALL_EVENT: &str = r#"4217["say",{"room":"lobby","text":"hello, everybody"}]"#;

/// A frame of a client.
pub fn text(payload: &str) -> Vec<u8> {
    masked_frame(OpCode::Text, payload.as_bytes(), MASK).to_vec()
}

/// A binary frame of a client.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    masked_frame(OpCode::Binary, payload, MASK).to_vec()
}

/// A compressed frame of a client; `payload` is deflated already.
pub fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_into(&mut frame, OpCode::Text, true, true, Some(MASK), payload);
    frame
}

/// A message in two fragments.
pub fn fragmented(payload: &str) -> Vec<u8> {
    let (first, second) = payload.split_at(payload.len() / 2);
    let mut frames = Vec::new();
    let mask = Some(MASK);
    encode_into(
        &mut frames,
        OpCode::Text,
        false,
        false,
        mask,
        first.as_bytes(),
    );
    encode_into(
        &mut frames,
        OpCode::Continuation,
        true,
        false,
        mask,
        second.as_bytes(),
    );
    frames
}

/// A JSON array of records, of at least `bytes` bytes: numbers, escapes, nesting and text beyond
/// ASCII, as in what applications send.
pub fn json(bytes: usize) -> String {
    let mut text = String::from("[");
    let mut number = 0;
    while text.len() < bytes.saturating_sub(1) {
        if number > 0 {
            text.push(',');
        }
        let (price, change) = (10_000 + number * 37 % 9_973, number * 13 % 199);
        text.push_str(&format!(
            r#"{{"id":{number},"symbol":"S{number:03}","price":{price}.25,"change":-0.{change},"#
        ));
        text.push_str(r#""tags":["new","tief\u00e9r","größer"],"open":true,"note":null}"#);
        number += 1;
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_protocol::socketio::Args;
    use sockeye_websocket::{Event, Input, Limits, Reader, Role};

    #[test]
    fn frames_are_what_they_say() {
        for mut frames in [text("héllo"), fragmented("héllo!")] {
            let mut reader = Reader::new(Role::Server, None);
            let event = reader.next(&Limits::default(), &mut Input::new(&mut frames));
            assert!(matches!(event, Ok(Some(Event::Text(text))) if text.starts_with("héllo")));
        }
    }

    #[test]
    fn the_json_is_json_of_the_size_asked_for() {
        for bytes in [2, 1_024, 16_384] {
            let text = json(bytes);
            assert!((bytes..bytes + 256).contains(&text.len()), "{}", text.len());
            let args = Args::from_json(&text, Vec::new(), &Default::default());
            assert_eq!(args.map(|args| args.len()), Ok(1));
        }
    }
}
