//! A WebSocket over any stream, from our own client side.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sockeye_websocket::deflate::{DeflateOptions, Deflater};
use sockeye_websocket::handshake::{ClientHandshake, ClientOptions, Response};
use sockeye_websocket::{
    Event, Input, Limits, OpCode, Reader, Role, masked_close_frame, masked_frame, random_mask,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A message, or the end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// A WebSocket connection that reads and writes when it is told to.
pub(crate) struct Wire {
    pub(crate) stream: Box<dyn Duplex>,
    reader: Reader,
    deflater: Option<Deflater>,
    received: VecDeque<Frame>,
    pub(crate) response: Response,
    /// Bytes read from the stream.
    pub(crate) bytes_read: usize,
    ended: bool,
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, ClientOptions::default())
            .await
            .unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    pub(crate) async fn open_with(
        address: SocketAddr,
        path: &str,
        options: ClientOptions,
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self::over(Box::new(stream), path, options).await
    }

    /// Opens one over a stream; what was answered when it is refused.
    pub(crate) async fn over(
        mut stream: Box<dyn Duplex>,
        path: &str,
        options: ClientOptions,
    ) -> Result<Self, String> {
        let mut handshake =
            ClientHandshake::new("localhost", path, &options).expect("a correct request");
        stream
            .write_all(handshake.request())
            .await
            .expect("written");
        let mut head = Vec::new();
        let response = loop {
            let mut buffer = [0; 4096];
            let read = soon("the answer to an upgrade", stream.read(&mut buffer)).await;
            let read = read.unwrap_or(0);
            head.extend_from_slice(&buffer[..read]);
            match handshake.response(&head) {
                Ok(Some(response)) => break response,
                Ok(None) if read > 0 => {}
                _ => return Err(String::from_utf8_lossy(&head).into_owned()),
            }
        };
        let mut rest = head.split_off(response.head_len);
        let agreed = response.deflate;
        let default = DeflateOptions::default();
        let deflater = agreed.map(|agreed| {
            Deflater::new(
                agreed,
                Role::Client,
                options.deflate.as_ref().unwrap_or(&default),
            )
        });
        let mut wire = Wire {
            stream,
            reader: Reader::new(Role::Client, agreed),
            deflater,
            received: VecDeque::new(),
            response,
            bytes_read: 0,
            ended: false,
        };
        wire.feed(&mut rest);
        Ok(wire)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.write(OpCode::Text, text.as_bytes())
            .await
            .expect("written");
    }

    pub(crate) async fn send_binary(&mut self, data: &[u8]) {
        self.write(OpCode::Binary, data).await.expect("written");
    }

    /// Writes a message; may wait for as long as the peer does not read.
    pub(crate) async fn write(&mut self, opcode: OpCode, data: &[u8]) -> std::io::Result<()> {
        let frame = match &mut self.deflater {
            Some(deflater) => {
                let mut frame = Vec::new();
                deflater.encode_into(&mut frame, opcode, Some(random_mask()), data);
                frame.into_iter().collect()
            }
            None => masked_frame(opcode, data, random_mask()),
        };
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Writes bytes as they are.
    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
        self.stream.flush().await.expect("written");
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = masked_close_frame(code, "", random_mask());
        self.write_raw(&frame).await;
    }

    /// The next message; `None` when the connection has ended.
    pub(crate) async fn recv(&mut self) -> Option<Frame> {
        soon("a message", self.recv_whenever()).await
    }

    /// As [`Wire::recv`], however long it takes.
    pub(crate) async fn recv_whenever(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.received.pop_front() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            let mut buffer = vec![0; 64 << 10];
            let read = self.stream.read(&mut buffer).await.unwrap_or(0);
            self.ended = read == 0;
            self.feed(&mut buffer[..read]);
        }
    }

    /// The next message, which is text.
    pub(crate) async fn text(&mut self) -> String {
        match self.recv().await {
            Some(Frame::Text(text)) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        self.bytes_read += bytes.len();
        let limits = Limits::new(64 << 20);
        let mut input = Input::new(bytes);
        while let Some(event) = self
            .reader
            .next(&limits, &mut input)
            .expect("correct frames")
        {
            self.received.push_back(match event {
                Event::Text(text) => Frame::Text(text.into_string()),
                Event::Binary(data) => Frame::Binary(data.into_vec()),
                Event::Pong(data) => Frame::Pong(data.to_vec()),
                Event::Close(frame) => Frame::Close(frame.map(|frame| frame.code)),
                Event::Ping(_) => continue,
            });
        }
    }
}
