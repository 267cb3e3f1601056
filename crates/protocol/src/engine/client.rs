//! The client's side of one session, as a pure state machine.

use super::{CloseReason, OpenPacket, Packet, Transport};

/// What to do with a packet from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAction {
    /// A message for the application.
    Deliver,
    /// Answer with a pong and start the deadline of [`ClientSession::ping_deadline_ms`] again.
    SendPong,
    /// Close the session for this reason (it is closed in here already).
    Close(CloseReason),
    /// Nothing to do.
    Ignore,
}

/// What to do with a packet on the probing WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientProbeAction {
    /// The server answered the probe: open no new poll, buffer messages, wait for the pending GET
    /// and POST to return; then [`ClientSession::polling_paused`].
    PausePolling,
    /// Close the WebSocket and go on with polling.
    CloseProbe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    Probing,
    Pausing,
    Done,
}

/// The state of one session on the client, from the open packet on.
///
/// Only the server pings. A client that hears no ping for `pingInterval + pingTimeout` takes the
/// server for gone: [`ClientSession::ping_deadline_ms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSession {
    transport: Transport,
    upgrade: Upgrade,
    closed: Option<CloseReason>,
    deadline_ms: u64,
}

impl ClientSession {
    /// A session whose open packet was read on `transport`. Start the ping deadline now.
    pub fn new(transport: Transport, open: &OpenPacket) -> Self {
        Self {
            transport,
            upgrade: Upgrade::None,
            closed: None,
            deadline_ms: open.ping_interval.saturating_add(open.ping_timeout),
        }
    }

    /// The transport that carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Why the session is closed, if it is.
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// How long after the last ping (or the open packet) the server is taken for gone,
    /// milliseconds.
    pub fn ping_deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Whether messages have to be buffered, because the transports are being switched.
    pub fn is_paused(&self) -> bool {
        self.upgrade == Upgrade::Pausing && self.closed.is_none()
    }

    /// A packet on the session's transport.
    pub fn packet(&mut self, packet: &Packet<'_>) -> ClientAction {
        if self.closed.is_some() {
            return ClientAction::Ignore;
        }
        match packet {
            Packet::Message(_) | Packet::Binary(_) => ClientAction::Deliver,
            Packet::Ping(_) => ClientAction::SendPong,
            Packet::Close => self.close(CloseReason::TransportClose),
            Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => {
                ClientAction::Ignore
            }
        }
    }

    /// No ping came within [`ClientSession::ping_deadline_ms`].
    pub fn ping_deadline_passed(&mut self) -> ClientAction {
        self.close(CloseReason::PingTimeout)
    }

    /// Closes the session, unless it is closed already.
    pub fn close(&mut self, reason: CloseReason) -> ClientAction {
        if self.closed.is_some() {
            return ClientAction::Ignore;
        }
        self.closed = Some(reason);
        ClientAction::Close(reason)
    }

    /// A WebSocket for the upgrade is open. When it says true, send `2probe` on it; otherwise
    /// close it.
    pub fn probe_opened(&mut self) -> bool {
        let possible = self.closed.is_none()
            && self.transport == Transport::Polling
            && self.upgrade == Upgrade::None;
        if possible {
            self.upgrade = Upgrade::Probing;
        }
        possible
    }

    /// A packet on the probing WebSocket.
    pub fn probe_packet(&mut self, packet: &Packet<'_>) -> ClientProbeAction {
        match (self.upgrade, packet) {
            (Upgrade::Probing, Packet::Pong("probe")) if self.closed.is_none() => {
                self.upgrade = Upgrade::Pausing;
                ClientProbeAction::PausePolling
            }
            _ => {
                self.probe_closed();
                ClientProbeAction::CloseProbe
            }
        }
    }

    /// Neither a GET nor a POST is under way any more. When it says true, send `5` on the
    /// WebSocket, then everything that is buffered: it carries the session now.
    pub fn polling_paused(&mut self) -> bool {
        if !self.is_paused() {
            return false;
        }
        self.upgrade = Upgrade::Done;
        self.transport = Transport::WebSocket;
        true
    }

    /// The probing WebSocket failed: resume polling.
    pub fn probe_closed(&mut self) {
        if self.upgrade != Upgrade::Done {
            self.upgrade = Upgrade::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> ClientSession {
        let open = OpenPacket {
            sid: "lv_VI97HAXpY6yYWAAAB".into(),
            upgrades: vec!["websocket".into()],
            ping_interval: 300,
            ping_timeout: 200,
            max_payload: 1_000_000,
        };
        ClientSession::new(Transport::Polling, &open)
    }

    #[test]
    fn packets_from_the_server() {
        let table = [
            (Packet::Ping(""), ClientAction::SendPong),
            (Packet::Message("x"), ClientAction::Deliver),
            (Packet::Noop, ClientAction::Ignore),
            (Packet::Pong(""), ClientAction::Ignore),
            (
                Packet::Close,
                ClientAction::Close(CloseReason::TransportClose),
            ),
            (Packet::Message("x"), ClientAction::Ignore),
        ];
        let mut session = session();
        assert_eq!(session.ping_deadline_ms(), 500);
        for (packet, action) in table {
            assert_eq!(session.packet(&packet), action, "{packet:?}");
        }
        assert_eq!(session.ping_deadline_passed(), ClientAction::Ignore);
    }

    #[test]
    fn silence_is_a_ping_timeout() {
        let action = session().ping_deadline_passed();
        assert_eq!(action, ClientAction::Close(CloseReason::PingTimeout));
    }

    #[test]
    fn a_whole_upgrade() {
        let mut session = session();
        assert!(session.probe_opened());
        assert!(!session.probe_opened());
        assert!(!session.polling_paused());
        assert_eq!(
            session.probe_packet(&Packet::Pong("probe")),
            ClientProbeAction::PausePolling
        );
        assert!(session.is_paused());
        assert!(session.polling_paused());
        assert_eq!(session.transport(), Transport::WebSocket);
        assert!(!session.is_paused() && !session.probe_opened());
    }

    #[test]
    fn a_failed_probe_leaves_polling() {
        let mut session = session();
        session.probe_opened();
        assert_eq!(
            session.probe_packet(&Packet::Pong("")),
            ClientProbeAction::CloseProbe
        );
        assert!(session.probe_opened());
        session.probe_packet(&Packet::Pong("probe"));
        session.probe_closed();
        assert!(!session.polling_paused());
        assert_eq!(session.transport(), Transport::Polling);
    }
}
