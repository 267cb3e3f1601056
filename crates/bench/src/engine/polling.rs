//! Long-polling, and the upgrade from it to WebSocket.
//!
//! A client that polls has two connections kept alive: on the first a GET waits for packets, and
//! is repeated as soon as it is answered; on the second POSTs bring packets, one at a time. For an
//! upgrade a WebSocket is opened beside them and probed (`2probe`, `3probe`); polling pauses, and
//! with `5` the WebSocket takes its place.

use super::Core;
use super::connection::Phase;
use super::lifecycle::Cause;
use crate::driver::Driver;
use crate::plan::Transport;
use crate::wire::frame::{self, Invalid};
use crate::wire::http::{self, Answer};
use crate::wire::response::{Response, SEPARATOR, fitting, packets, response};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io::{self, ErrorKind, Read, Write};

/// Added to a connection's number these make the tokens of its second and third connection;
/// numbers are below 2^24.
const POST: usize = 1 << 30;
const PROBE: usize = 1 << 29;

/// A client that polls.
#[derive(Debug, Default)]
pub(super) struct Polling {
    sid: String,
    /// Bytes that the server takes in one POST.
    max_payload: usize,
    /// Packets that wait to be posted.
    outbox: Vec<u8>,
    /// Whether a GET waits for its answer.
    getting: bool,
    /// Whether a POST does.
    posting: bool,
    post: Side,
    /// The WebSocket that shall take the place of polling.
    probe: Option<Probe>,
}

#[derive(Debug, Default)]
struct Probe {
    side: Side,
    is_open: bool,
    /// `3probe` has come: nothing new is asked or posted.
    answered: bool,
}

/// A connection beside the first.
#[derive(Debug, Default)]
struct Side {
    stream: Option<TcpStream>,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
}

impl Side {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outbound.extend_from_slice(bytes);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        while !self.outbound.is_empty() {
            match stream.write(&self.outbound) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.outbound.drain(..written)),
                Err(error) if is_not_yet(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.outbound.is_empty() {
            // Nothing is kept while nothing is on its way.
            self.outbound = Vec::new();
        }
        Ok(())
    }

    /// Reads all there is; whether the peer has closed.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(error) if is_not_yet(&error) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The kernel is full or empty, or the connection is not made yet.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}

/// Whether a token is that of a second or third connection.
pub(super) fn is_side(token: Token) -> bool {
    token.0 & (POST | PROBE) != 0
}

impl Core {
    pub(super) fn is_polling(&self, index: u32) -> bool {
        let spill = self.connections[index as usize].spill.as_ref();
        spill.is_some_and(|spill| spill.polling.is_some())
    }

    fn polling(&mut self, index: u32) -> Option<&mut Polling> {
        let spill = self.connections[index as usize].spill.as_mut();
        spill.and_then(|spill| spill.polling.as_deref_mut())
    }

    /// The first connection is there: asks for a session.
    pub(super) fn begin_polling<D: Driver>(&mut self, index: u32, driver: &mut D) {
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Opening;
        connection.spill().polling = Some(Box::default());
        self.ask(index, driver);
    }

    /// Sends the next GET.
    fn ask<D: Driver>(&mut self, index: u32, driver: &mut D) {
        let Some(polling) = self.polling(index) else {
            return;
        };
        polling.getting = true;
        let sid = std::mem::take(&mut polling.sid);
        let request = self.wire.poll_request(index, &sid);
        if let Some(polling) = self.polling(index) {
            polling.sid = sid;
        }
        if self.connections[index as usize].send(&request).is_err() {
            self.lost(index, driver);
        }
    }

    /// Handles the answers to GETs; returns how many bytes these were.
    pub(super) fn consume_answers<D: Driver>(
        &mut self,
        index: u32,
        bytes: &[u8],
        driver: &mut D,
    ) -> Result<usize, Invalid> {
        let mut at = 0;
        while let Some(answer) = response(&bytes[at..])? {
            at += answer.len;
            if answer.status != 200 {
                self.turned_away(index, answer.status, driver);
                return Ok(bytes.len());
            }
            if let Some(polling) = self.polling(index) {
                polling.getting = false;
            }
            for packet in packets(&answer.body) {
                self.text(index, packet, driver);
                if self.connections[index as usize].stream.is_none() {
                    return Ok(bytes.len());
                }
            }
            self.answer(index, driver);
            if self.switch(index, driver)? {
                return Ok(bytes.len());
            }
            if !answer.keep_alive {
                self.reopen(index, driver);
            }
            if !self.is_paused(index) {
                self.ask(index, driver);
            }
        }
        Ok(at)
    }

    fn is_paused(&mut self, index: u32) -> bool {
        let probe = self
            .polling(index)
            .and_then(|polling| polling.probe.as_ref());
        probe.is_some_and(|probe| probe.answered)
    }

    /// The server answered a GET or POST with an error.
    fn turned_away<D: Driver>(&mut self, index: u32, status: u16, driver: &mut D) {
        let cause = match self.connections[index as usize].phase {
            Phase::Ready => Cause::Closed,
            _ => Cause::Refused(Some(status)),
        };
        self.fail(index, cause, driver);
    }

    /// The server ends the first connection after this answer: another takes its place.
    fn reopen<D: Driver>(&mut self, index: u32, driver: &mut D) {
        match self.start_stream(index, index as usize) {
            Ok(stream) => self.connections[index as usize].stream = Some(stream),
            Err(_) => self.lost(index, driver),
        }
    }

    /// The session is open: notes its name, and probes a WebSocket if one is wanted.
    pub(super) fn opened(&mut self, index: u32, text: &[u8]) -> Result<(), Cause> {
        let wants_upgrade = self.wire.transport(index) == Transport::Upgrade;
        let Some(polling) = self.polling(index) else {
            return Ok(());
        };
        let open: serde_json::Value = text
            .get(1..)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or(Cause::Protocol)?;
        let sid = open["sid"].as_str().filter(|sid| is_plain(sid));
        let sid = sid.ok_or(Cause::Protocol)?.to_owned();
        polling.sid.clone_from(&sid);
        polling.max_payload = open["maxPayload"].as_u64().unwrap_or(100_000) as usize;
        if !wants_upgrade {
            return Ok(());
        }
        let mut side = Side {
            stream: Some(
                self.start_stream(index, PROBE | index as usize)
                    .map_err(|_| Cause::Connect)?,
            ),
            ..Side::default()
        };
        let request = self.wire.upgrade_request(index, &sid);
        side.send(&request).map_err(|_| Cause::Connect)?;
        if let Some(polling) = self.polling(index) {
            polling.probe = Some(Probe {
                side,
                ..Probe::default()
            });
        }
        Ok(())
    }

    /// Puts packets into the outbox and posts them if nothing is being posted.
    pub(super) fn post<D: Driver>(&mut self, index: u32, payload: &[u8], driver: &mut D) {
        if let Some(polling) = self.polling(index) {
            if !polling.outbox.is_empty() && !payload.is_empty() {
                polling.outbox.push(SEPARATOR);
            }
            polling.outbox.extend_from_slice(payload);
        }
        if self.try_post(index).is_err() {
            self.lost(index, driver);
        }
    }

    fn try_post(&mut self, index: u32) -> io::Result<()> {
        let paused = self.is_paused(index);
        let Some(polling) = self.polling(index) else {
            return Ok(());
        };
        if polling.posting || paused || polling.outbox.is_empty() {
            return Ok(());
        }
        polling.posting = true;
        let mut body = std::mem::take(&mut polling.outbox);
        let fits = fitting(&body, polling.max_payload.max(1));
        polling.outbox = body.get(fits + 1..).unwrap_or_default().to_vec();
        body.truncate(fits);
        let sid = polling.sid.clone();
        let stream = match polling.post.stream.take() {
            Some(stream) => stream,
            None => self.start_stream(index, POST | index as usize)?,
        };
        let mut request = self.wire.post_request(index, &sid, body.len());
        request.extend_from_slice(&body);
        match self.polling(index) {
            Some(polling) => {
                polling.post.stream = Some(stream);
                polling.post.send(&request)
            }
            None => Ok(()),
        }
    }

    /// Something happened to a second or third connection.
    pub(super) fn side_event<D: Driver>(&mut self, event: &Event, driver: &mut D) {
        let token = event.token().0;
        let index = (token & !(POST | PROBE)) as u32;
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(polling) = self.polling(index) else {
            self.buffer = buffer;
            return;
        };
        let side = match (token & POST != 0, &mut polling.probe) {
            (true, _) => Some(&mut polling.post),
            (false, probe) => probe.as_mut().map(|probe| &mut probe.side),
        };
        let ended = side.map_or(Ok(false), |side| {
            side.flush()?;
            side.fill(&mut buffer)
        });
        self.buffer = buffer;
        let Ok(ended) = ended else {
            return self.lost(index, driver);
        };
        let handled = if token & POST != 0 {
            self.posted(index, ended, driver)
        } else {
            self.probed(index, ended, driver)
        };
        if handled.is_err() {
            self.fail(index, Cause::Protocol, driver);
        }
    }

    /// Handles answers to POSTs.
    fn posted<D: Driver>(
        &mut self,
        index: u32,
        ended: bool,
        driver: &mut D,
    ) -> Result<(), Invalid> {
        let Some(polling) = self.polling(index) else {
            return Ok(());
        };
        let answer = response(&polling.post.inbound)?;
        let answer = answer.map(
            |Response {
                 status,
                 keep_alive,
                 len,
                 ..
             }| (status, keep_alive, len),
        );
        if let Some((status, keep_alive, len)) = answer {
            polling.post.inbound = polling.post.inbound.split_off(len);
            polling.posting = false;
            if ended || !keep_alive {
                polling.post = Side::default();
            }
            if status != 200 {
                self.turned_away(index, status, driver);
                return Ok(());
            }
            let said_all = self.polling(index).is_none_or(|it| it.outbox.is_empty());
            if said_all && self.connections[index as usize].phase == Phase::Leaving {
                // Gone as it asked.
                self.lost(index, driver);
                return Ok(());
            }
            if !self.switch(index, driver)? {
                self.post(index, b"", driver);
            }
        } else if ended {
            let posting = polling.posting;
            polling.post = Side::default();
            if posting {
                self.lost(index, driver);
            }
        }
        Ok(())
    }

    /// Handles what comes on the WebSocket that is probed.
    fn probed<D: Driver>(
        &mut self,
        index: u32,
        ended: bool,
        driver: &mut D,
    ) -> Result<(), Invalid> {
        let mut probe_packet = Vec::new();
        self.wire.put_frame(b"2probe", &mut probe_packet);
        let Some(probe) = self
            .polling(index)
            .and_then(|polling| polling.probe.as_mut())
        else {
            return Ok(());
        };
        if !probe.is_open {
            match http::answer(&probe.side.inbound)? {
                Answer::Partial => {}
                Answer::Refused(status) => {
                    self.fail(index, Cause::Refused(Some(status)), driver);
                    return Ok(());
                }
                Answer::Switched(len) => {
                    probe.side.inbound.drain(..len);
                    probe.is_open = true;
                    if probe.side.send(&probe_packet).is_err() {
                        self.lost(index, driver);
                        return Ok(());
                    }
                }
            }
        }
        let Some(probe) = self
            .polling(index)
            .and_then(|polling| polling.probe.as_mut())
        else {
            return Ok(());
        };
        if probe.is_open
            && !probe.answered
            && let Some(header) = frame::header(&probe.side.inbound)?
            && let Some(payload) = probe.side.inbound.get(header.len..header.total())
        {
            if header.opcode != frame::opcode::TEXT || payload != b"3probe" {
                return Err(Invalid);
            }
            probe.side.inbound.drain(..header.total());
            probe.answered = true;
            self.switch(index, driver)?;
        } else if ended {
            self.lost(index, driver);
        }
        Ok(())
    }

    /// Lets the WebSocket take the place of polling, if it may by now; whether it did.
    fn switch<D: Driver>(&mut self, index: u32, driver: &mut D) -> Result<bool, Invalid> {
        let paused = self.is_paused(index);
        let connection = &mut self.connections[index as usize];
        let spill = connection.spill();
        let ready = |polling: &mut Box<Polling>| paused && !polling.getting && !polling.posting;
        let Some(polling) = spill.polling.take_if(ready) else {
            return Ok(false);
        };
        let Some(mut side) = polling.probe.map(|probe| probe.side) else {
            return Ok(false);
        };
        let Some(mut stream) = side.stream.take() else {
            return Ok(false);
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(index as usize);
        let registry = self.poll.registry();
        if registry.reregister(&mut stream, token, interest).is_err() {
            self.lost(index, driver);
            return Ok(true);
        }
        connection.stream = Some(stream);
        let spill = connection.spill();
        spill.inbound.clear();
        spill.outbound = side.outbound;
        self.wire.put_frame(b"5", &mut self.out);
        for packet in packets(&polling.outbox) {
            self.wire.put_frame(packet, &mut self.out);
        }
        self.answer(index, driver);
        if self.connections[index as usize].phase == Phase::Switching {
            self.ready(index, driver);
        }
        // What came with the answer to the probe.
        let consumed = self.consume(index, &side.inbound, driver)?;
        self.answer(index, driver);
        if self.connections[index as usize].stream.is_some() {
            let connection = &mut self.connections[index as usize];
            let rest = &side.inbound[consumed..];
            connection.spill().inbound.extend_from_slice(rest);
            connection.tidy();
        }
        Ok(true)
    }
}

/// A session id that can stand in a request line.
fn is_plain(sid: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !sid.is_empty() && sid.bytes().all(plain)
}
