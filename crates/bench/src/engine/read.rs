//! Bytes of a connection become frames, packets and messages.

use super::connection::Phase;
use super::lifecycle::Cause;
use super::{BUFFER, Core};
use crate::driver::Driver;
use crate::target::Protocol;
use crate::wire::Incoming;
use crate::wire::frame::{self, Header, Invalid, opcode};
use crate::wire::http::{self, Answer};
use std::io::{ErrorKind, Read};

impl Core {
    /// Reads what there is, or once at most `limit` bytes.
    pub(super) fn read<D: Driver>(
        &mut self,
        index: u32,
        to_the_end: bool,
        limit: usize,
        driver: &mut D,
    ) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[index as usize];
            let Some(stream) = &mut connection.stream else {
                break;
            };
            let held = match &mut connection.spill {
                Some(spill) => {
                    let held = spill.inbound.len();
                    if buffer.len() < held + BUFFER / 2 {
                        buffer.resize(held + BUFFER, 0);
                    }
                    buffer[..held].copy_from_slice(&spill.inbound);
                    held
                }
                None => 0,
            };
            let room = buffer.len().min(held.saturating_add(limit));
            let end = match stream.read(&mut buffer[held..room]) {
                Ok(0) => {
                    self.lost(index, driver);
                    break;
                }
                Ok(count) => held + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.lost(index, driver);
                    break;
                }
            };
            if held > 0 {
                connection.take_inbound();
            }
            match self.consume(index, &buffer[..end], driver) {
                Ok(consumed) if self.connections[index as usize].stream.is_some() => {
                    let connection = &mut self.connections[index as usize];
                    if consumed < end {
                        connection
                            .spill()
                            .inbound
                            .extend_from_slice(&buffer[consumed..end]);
                    } else {
                        connection.tidy();
                    }
                }
                Ok(_) => {}
                Err(Invalid) => self.fail(index, Cause::Protocol, driver),
            }
            self.answer(index, driver);
            self.send_orders(driver);
            if (end < room && !to_the_end) || limit != usize::MAX {
                break;
            }
        }
        if buffer.len() > 4 * BUFFER {
            buffer = vec![0; BUFFER];
        }
        self.buffer = buffer;
    }

    /// Handles all that is whole; returns how many bytes that was.
    pub(super) fn consume<D: Driver>(
        &mut self,
        index: u32,
        bytes: &[u8],
        driver: &mut D,
    ) -> Result<usize, Invalid> {
        if self.is_polling(index) {
            return self.consume_answers(index, bytes, driver);
        }
        let mut at = 0;
        if self.connections[index as usize].phase == Phase::Upgrading {
            match http::answer(bytes)? {
                Answer::Partial => return Ok(0),
                Answer::Refused(status) => {
                    self.fail(index, Cause::Refused(Some(status)), driver);
                    return Ok(bytes.len());
                }
                Answer::Switched(len) => at = len,
            }
            match self.wire.protocol() {
                Protocol::SocketIo => self.connections[index as usize].phase = Phase::Opening,
                _ => self.ready(index, driver),
            }
        }
        while let Some(header) = self.wire.header(&bytes[at..])? {
            if header.mask.is_some() {
                return Err(Invalid); // RFC 6455, section 5.1: servers do not mask.
            }
            let Some(payload) = bytes[at..].get(header.len..header.total()) else {
                break;
            };
            at += header.total();
            if header.deflated {
                self.deflated(index, header, payload, driver)?;
            } else {
                self.frame(index, header.fin, header.opcode, payload, driver)?;
            }
            if self.connections[index as usize].stream.is_none() {
                break;
            }
        }
        Ok(at)
    }

    /// A deflated message, which has to be in one frame.
    fn deflated<D: Driver>(
        &mut self,
        index: u32,
        header: Header,
        payload: &[u8],
        driver: &mut D,
    ) -> Result<(), Invalid> {
        let mut inflater = self.wire.take_inflater().ok_or(Invalid)?;
        let done = match inflater.inflate(payload) {
            Ok(text) if header.fin => {
                self.desk.deflated += u64::from(self.desk.counting);
                self.frame(index, true, header.opcode, text, driver)
            }
            _ => Err(Invalid),
        };
        self.wire.return_inflater(inflater);
        done
    }

    fn frame<D: Driver>(
        &mut self,
        index: u32,
        fin: bool,
        opcode: u8,
        payload: &[u8],
        driver: &mut D,
    ) -> Result<(), Invalid> {
        match (opcode, fin) {
            (opcode::TEXT, true) => self.text(index, payload, driver),
            (opcode::TEXT, false) => {
                self.connections[index as usize].spill().message = Some(payload.to_vec());
            }
            (opcode::CONTINUATION, fin) => {
                let spill = self.connections[index as usize].spill.as_mut();
                let Some(message) = spill.and_then(|spill| spill.message.as_mut()) else {
                    return Ok(()); // The rest of a binary message.
                };
                if message.len() + payload.len() > frame::MAX_FRAME {
                    return Err(Invalid);
                }
                message.extend_from_slice(payload);
                if fin {
                    let message = std::mem::take(message);
                    self.connections[index as usize].spill().message = None;
                    self.text(index, &message, driver);
                }
            }
            (opcode::BINARY, _) => self.desk.unrelated += 1,
            (opcode::PING, _) => self.wire.put_control(opcode::PONG, payload, &mut self.out),
            (opcode::CLOSE, _) => self.lost(index, driver),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn text<D: Driver>(&mut self, index: u32, text: &[u8], driver: &mut D) {
        let phase = self.connections[index as usize].phase;
        self.wire.polling = self.is_polling(index);
        match (self.wire.read(text), phase) {
            (Incoming::Message(mut stamp), Phase::Ready) => {
                if self.desk.accept(index, &mut stamp) {
                    driver.message(index, stamp, &mut self.desk);
                }
            }
            (Incoming::Ping, _) => {
                self.desk.pings += 1;
                self.wire.put_pong(&mut self.out);
            }
            (Incoming::Damaged, Phase::Ready) => self.desk.history.receive_damaged(),
            (Incoming::Noop, _) => {}
            (Incoming::Open, Phase::Opening) => {
                if let Err(cause) = self.opened(index, text) {
                    return self.fail(index, cause, driver);
                }
                self.wire.put_connect(index, &mut self.out);
                self.connections[index as usize].phase = Phase::Joining;
            }
            (Incoming::Connected, Phase::Joining) => {
                if self.wire.put_join(index, &mut self.out) {
                    self.connections[index as usize].phase = Phase::Entering;
                } else {
                    self.entered(index, driver);
                }
            }
            (Incoming::Joined, Phase::Entering) => self.entered(index, driver),
            (Incoming::Closed | Incoming::Refused, _) => self.lost(index, driver),
            (_, Phase::Ready) => driver.text(index, text, &mut self.desk),
            (_, Phase::Leaving) => {}
            _ => self.desk.unrelated += 1,
        }
    }
}
