//! One connection of a run: 24 bytes while nothing is cut in half.

use super::polling::Polling;
use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Waiting until fewer handshakes are in flight.
    Queued,
    /// TCP.
    Connecting,
    /// Waiting for `101`.
    Upgrading,
    /// Waiting for the Engine.IO open packet.
    Opening,
    /// Waiting for the namespace.
    Joining,
    /// Waiting for the room.
    Entering,
    /// Waiting for the upgrade from polling.
    Switching,
    Ready,
    /// It has said that it leaves.
    Leaving,
    Gone,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) phase: Phase,
    /// Readable or not, it is read by and by only.
    pub(crate) slow: bool,
    /// When its set-up or its leave began.
    pub(crate) since: u64,
    pub(crate) spill: Option<Box<Spill>>,
}

// What a connection at rest costs. (With debug assertions a stream of mio carries more.)
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Connection>() <= 24);

/// What is cut in half.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    /// Bytes read that make no whole frame yet.
    pub(crate) inbound: Vec<u8>,
    /// Payload of the fragments of an unfinished text message so far.
    pub(crate) message: Option<Vec<u8>>,
    /// Bytes the kernel did not take yet.
    pub(crate) outbound: Vec<u8>,
    /// The state of a client that polls; it stays while that does.
    pub(super) polling: Option<Box<Polling>>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            stream: None,
            phase: Phase::Gone,
            slow: false,
            since: 0,
            spill: None,
        }
    }

    /// Whether a handshake is under way.
    pub(crate) fn is_setting_up(&self) -> bool {
        (Phase::Connecting..Phase::Ready).contains(&self.phase)
    }

    pub(crate) fn spill(&mut self) -> &mut Spill {
        self.spill.get_or_insert_default()
    }

    /// Takes the bytes that make no whole frame yet.
    pub(crate) fn take_inbound(&mut self) -> Vec<u8> {
        self.spill
            .as_mut()
            .map(|spill| std::mem::take(&mut spill.inbound))
            .unwrap_or_default()
    }

    /// Lets go of the spill once there is nothing in it.
    pub(crate) fn tidy(&mut self) {
        if self.spill.as_ref().is_some_and(|spill| {
            spill.inbound.is_empty()
                && spill.message.is_none()
                && spill.outbound.is_empty()
                && spill.polling.is_none()
        }) {
            self.spill = None;
        }
    }

    /// Writes, or keeps what the kernel does not take.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(spill) = &mut self.spill
            && !spill.outbound.is_empty()
        {
            spill.outbound.extend_from_slice(bytes);
            return Ok(());
        }
        let written = self.write(bytes)?;
        if written < bytes.len() {
            self.spill().outbound.extend_from_slice(&bytes[written..]);
        }
        Ok(())
    }

    /// Writes what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(spill) = &mut self.spill else {
            return Ok(());
        };
        if spill.outbound.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut spill.outbound);
        let written = self.write(&bytes)?;
        self.spill().outbound.extend_from_slice(&bytes[written..]);
        self.tidy();
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return Ok(bytes.len());
        };
        let all = bytes.len();
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all - bytes.len())
    }
}

/// Starts a TCP connection.
///
/// It will be reset, not closed, at its end, so that no port stays in TIME-WAIT for the next run.
/// A slow reader asks for a small `receive_buffer`: what the kernel takes for it is read, as far as
/// the server can tell.
pub(crate) fn connect(
    to: SocketAddr,
    from: Option<IpAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(ip) = from.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
