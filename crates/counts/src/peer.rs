use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire;

/// Longest wait for anything; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest head of an answer, and largest frame, that a peer reads.
const ROOM: usize = 1_024;

/// A client on a loopback connection: a descriptor and nothing else, so that what is counted while
/// it lives is the server's.
#[derive(Debug)]
pub struct Peer(TcpStream);

impl Peer {
    /// Connects by WebSocket to the main namespace, with `auth.token`.
    ///
    /// # Errors
    /// When the connection ends or breaks the protocol, or nothing comes in 20 s.
    pub fn connect(address: SocketAddr, token: &str) -> io::Result<Peer> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
              Host: localhost\r\n\
              Connection: Upgrade\r\n\
              Upgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
              Origin: https://app.example.com\r\n\r\n",
        )?;
        let mut peer = Peer(stream);
        let mut room = [0; ROOM];
        let head = peer.head(&mut room)?;
        if !room[..head].starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the upgrade was refused"));
        }
        peer.expect(b"0{", &mut room)?;
        peer.send(&format!(r#"40{{"token":"{token}"}}"#))?;
        peer.expect(b"40{", &mut room)?;
        Ok(peer)
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, packet: &str) -> io::Result<()> {
        self.0.write_all(&wire::text(packet))
    }

    /// Sends bytes that are frames already.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_raw(&mut self, frames: &[u8]) -> io::Result<()> {
        self.0.write_all(frames)
    }

    /// Reads one frame into `room` and returns its payload.
    ///
    /// # Errors
    /// When the connection ends, the frame is too large, or nothing comes in 20 s.
    pub fn read<'r>(&mut self, room: &'r mut [u8]) -> io::Result<&'r [u8]> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut len = usize::from(head[1]);
        if len == 126 {
            self.0.read_exact(&mut head)?;
            len = usize::from(u16::from_be_bytes(head));
        }
        let payload = room
            .get_mut(..len)
            .ok_or_else(|| io::Error::other("a frame larger than expected"))?;
        self.0.read_exact(payload)?;
        Ok(payload)
    }

    /// Reads exactly as many bytes as `room` has: frames whose length is known.
    ///
    /// # Errors
    /// As [`Peer::read`].
    pub fn read_raw(&mut self, room: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(room)
    }

    /// Reads one frame, which must begin with `start`.
    ///
    /// # Errors
    /// As [`Peer::read`], and when it begins with something else.
    pub fn expect(&mut self, start: &[u8], room: &mut [u8]) -> io::Result<()> {
        let payload = self.read(room)?;
        if payload.starts_with(start) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(payload).into_owned();
        Err(io::Error::other(format!("unexpected packet {text}")))
    }

    /// Reads the head of an HTTP answer and nothing behind it.
    fn head(&mut self, room: &mut [u8; ROOM]) -> io::Result<usize> {
        let mut len = 0;
        while len < ROOM {
            // One byte at a time: what follows are frames.
            self.0.read_exact(&mut room[len..len + 1])?;
            len += 1;
            if room[..len].ends_with(b"\r\n\r\n") {
                return Ok(len);
            }
        }
        Err(io::Error::other("the head of the answer does not end"))
    }
}

/// Lets this process open as many files as it may; both ends of a loopback connection count.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
