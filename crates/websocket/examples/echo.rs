//! An echo server on blocking sockets: every path is a WebSocket that sends back what it gets.
//!
//! `cargo run --release -p sockeye-websocket --example echo -- 127.0.0.1:9001`
//!
//! The address defaults to a free port of the loopback interface; it is printed. Conformance
//! suites run against this program. permessage-deflate is accepted as offered, with context
//! takeover unless the client declines it; `--no-context-takeover` forgets contexts always.

use sockeye_websocket::deflate::{DeflateOptions, Deflater};
use sockeye_websocket::handshake::{self, AcceptOptions};
use sockeye_websocket::{Closing, Event, Input, Limits, OpCode, Reader, Role};
use sockeye_websocket::{encode_into, pong_frame};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

const LIMITS: Limits = Limits::new(64 * 1024 * 1024);
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let mut address = String::from("127.0.0.1:0");
    let mut deflate = DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        threshold: 0,
        ..DeflateOptions::default()
    };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--no-context-takeover" => {
                deflate.server_no_context_takeover = true;
                deflate.client_no_context_takeover = true;
            }
            _ => address = argument,
        }
    }
    let listener = TcpListener::bind(&address)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream, deflate) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream, deflate: DeflateOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    let (request, head_len) = loop {
        match handshake::read_request(&buffer[..filled]) {
            Ok(Some(request)) => break request,
            Ok(None) => {}
            Err(refusal) => return refuse(&mut stream, refusal),
        }
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
    };
    let options = AcceptOptions {
        deflate: Some(deflate),
        ..AcceptOptions::default()
    };
    let answer = handshake::accept(
        request.method(),
        request.version(),
        request.headers(),
        &options,
    );
    let accepted = match answer {
        Ok(accepted) => accepted,
        Err(refusal) => return refuse(&mut stream, refusal),
    };
    let mut out = Vec::new();
    accepted.write_response(&mut out);

    let mut echo = Echo {
        reader: Reader::new(Role::Server, accepted.deflate()),
        deflater: accepted
            .deflate()
            .map(|agreed| Deflater::new(agreed, Role::Server, &deflate)),
        closing: Closing::new(Role::Server),
    };
    // Frames may have come in the same segment as the request.
    let mut received = &mut buffer[head_len..filled];
    loop {
        echo.receive(received, &mut out);
        stream.write_all(&out)?;
        out.clear();
        out.shrink_to(1024 * 1024);
        if echo.closing.is_sent() {
            return finish(&mut stream, &mut buffer);
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        received = &mut buffer[..count];
    }
}

struct Echo {
    reader: Reader,
    deflater: Option<Deflater>,
    closing: Closing,
}

impl Echo {
    /// Answers what came into `out`.
    fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) {
        let mut input = Input::new(bytes);
        loop {
            match self.reader.next(&LIMITS, &mut input) {
                Ok(None) => return,
                Ok(Some(Event::Text(text))) => self.message(OpCode::Text, text.as_bytes(), out),
                Ok(Some(Event::Binary(bytes))) => self.message(OpCode::Binary, &bytes, out),
                Ok(Some(Event::Ping(bytes))) => out.extend_from_slice(&pong_frame(&bytes)),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    out.extend(self.closing.received(frame.as_ref()).iter().flatten());
                    return;
                }
                Err(error) => {
                    let frame = self.closing.start(error.close_code(), error.reason());
                    out.extend(frame.iter().flatten());
                    return;
                }
            }
        }
    }

    fn message(&mut self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        match &mut self.deflater {
            Some(deflater) => {
                deflater.encode_into(out, opcode, None, payload);
            }
            None => encode_into(out, opcode, true, false, None, payload),
        }
    }
}

fn refuse(stream: &mut TcpStream, refusal: handshake::Refusal) -> io::Result<()> {
    let mut out = Vec::new();
    refusal.write_response(&mut out);
    stream.write_all(&out)
}

/// The server closes TCP first, but reads what is still on its way, lest a reset overtake the
/// close frame.
fn finish(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    while matches!(stream.read(buffer), Ok(count) if count > 0) {}
    Ok(())
}
