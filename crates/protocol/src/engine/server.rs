//! The server's side of one session, as a pure state machine.

use super::{CloseReason, ErrorCode, Packet};

/// How often a pending poll is ended by a noop while an upgrade is under way, milliseconds: the
/// client can pause polling only when its poll has returned.
pub const UPGRADE_NOOP_INTERVAL_MS: u64 = 100;

/// The transport that carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name in the query of a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }

    /// The transport with this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }
}

/// Which deadline of the heartbeat the caller's wheel has to hold for an open session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// `pingInterval` after the open packet or the last pong: call [`ServerSession::ping_due`].
    Ping,
    /// `pingTimeout` after the last ping (or after the switch of transports, whichever is later):
    /// call [`ServerSession::ping_timed_out`].
    Pong,
}

/// What a GET of the session means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollOutcome {
    /// Hold it until there is something to send.
    Accepted,
    /// Refuse it with this code (transport mismatch); the session goes on.
    Refused(ErrorCode),
    /// A second GET while one is pending: answer the first with a close packet, this one with
    /// 400; the session is closed.
    Overlap(CloseReason),
    /// The session is closed: answer [`ErrorCode::SessionIdUnknown`].
    Closed,
}

/// What a POST of the session means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostOutcome {
    /// Go on.
    Accepted,
    /// Refuse it with this code (transport mismatch); the session goes on.
    Refused(ErrorCode),
    /// A second POST while one is being read: answer both with 400; the session is closed.
    Overlap(CloseReason),
    /// The session is closed: answer [`ErrorCode::SessionIdUnknown`].
    Closed,
}

/// What a WebSocket that names an existing session means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeOutcome {
    /// Read its packets into [`ServerSession::probe_packet`]; start `upgradeTimeout`.
    Accepted,
    /// Close it: an upgrade is under way, done already, or the session is going. The session
    /// itself is not touched.
    Refused,
}

/// What to do with a packet of the probing WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeAction {
    /// Answer `3probe` on the WebSocket; end a pending poll with a noop, now or within
    /// [`UPGRADE_NOOP_INTERVAL_MS`].
    SendProbePong,
    /// The session lives on the WebSocket now: stop `upgradeTimeout`, send what is buffered there,
    /// end a poll that is still pending with a noop and arm this deadline anew.
    Switch(Deadline),
    /// As [`Switch`](Self::Switch), but the server was closing the session: flush, then close.
    SwitchAndClose(CloseReason),
    /// Close the WebSocket; the session goes on over polling.
    CloseProbe,
}

/// What to do with a packet of the session's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketAction {
    /// A message for the application.
    Deliver,
    /// The pong that was due: arm [`Deadline::Ping`].
    PongAccepted,
    /// Close the session for this reason (it is closed in here already).
    Close(CloseReason),
    /// Nothing to do.
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The server wants to close, as soon as what is buffered has left.
    Closing,
    Closed(CloseReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// A WebSocket is there, its probe ping is not.
    Opened,
    /// The probe was answered: pending polls are ended by noops.
    Probed,
    Done,
}

/// The state of one session on the server: its transport, the upgrade, the heartbeat and what is
/// in flight over polling.
///
/// It is told what happens and answers what to do; it owns no timer, no buffer and no
/// connection. After an outcome that names a [`CloseReason`] the session is closed, and every
/// further input is answered accordingly.
///
/// Over polling, a body is a sequence of packets: stop at the first that closes the session.
///
/// ```
/// use sockeye_protocol::engine::{Packet, PacketAction, ServerSession, Transport};
///
/// let mut session = ServerSession::new(Transport::WebSocket);
/// assert!(session.ping_due()); // the wheel says `pingInterval` has passed: send `2`
/// assert_eq!(session.packet(&Packet::Pong("")), PacketAction::PongAccepted);
/// assert_eq!(session.packet(&Packet::Message("hello")), PacketAction::Deliver);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSession {
    phase: Phase,
    transport: Transport,
    upgrade: Upgrade,
    awaiting_pong: bool,
    polling: bool,
    posting: bool,
}

impl ServerSession {
    /// A session that was just opened over `transport`. The caller sends the open packet and arms
    /// [`Deadline::Ping`].
    pub fn new(transport: Transport) -> Self {
        Self {
            phase: Phase::Open,
            transport,
            upgrade: Upgrade::None,
            awaiting_pong: false,
            polling: false,
            posting: false,
        }
    }

    /// The transport that carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether the session was opened over polling and switched.
    pub fn is_upgraded(&self) -> bool {
        self.upgrade == Upgrade::Done
    }

    /// Whether a WebSocket is probing.
    pub fn is_upgrading(&self) -> bool {
        matches!(self.upgrade, Upgrade::Opened | Upgrade::Probed)
    }

    /// Whether messages flow: neither closing nor closed.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the server has begun to close the session and waits for its buffer to drain.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Why the session is closed, if it is.
    pub fn closed(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether a GET is held.
    pub fn poll_pending(&self) -> bool {
        self.polling
    }

    /// Whether something can be written now: a poll is held, or the transport is a WebSocket.
    pub fn is_writable(&self) -> bool {
        self.closed().is_none() && (self.transport == Transport::WebSocket || self.polling)
    }

    /// Which deadline the wheel has to hold; none once the session is closed.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.closed().is_some() {
            return None;
        }
        Some(if self.awaiting_pong {
            Deadline::Pong
        } else {
            Deadline::Ping
        })
    }

    /// A GET of the session has arrived.
    pub fn poll_opened(&mut self) -> PollOutcome {
        if self.closed().is_some() {
            return PollOutcome::Closed;
        }
        if self.transport != Transport::Polling {
            return PollOutcome::Refused(ErrorCode::BadRequest);
        }
        if self.polling {
            return PollOutcome::Overlap(self.end(CloseReason::TransportError));
        }
        self.polling = true;
        PollOutcome::Accepted
    }

    /// The held GET was answered.
    pub fn poll_answered(&mut self) {
        self.polling = false;
    }

    /// The connection of the held GET is gone before it was answered: the session is closed, as
    /// its client cannot have lost interest in any other way.
    pub fn poll_aborted(&mut self) -> PacketAction {
        if !self.polling || self.closed().is_some() {
            return PacketAction::Ignore;
        }
        self.polling = false;
        PacketAction::Close(self.end(CloseReason::TransportError))
    }

    /// The head of a POST of the session has arrived.
    pub fn post_started(&mut self) -> PostOutcome {
        if self.closed().is_some() {
            return PostOutcome::Closed;
        }
        if self.transport != Transport::Polling {
            return PostOutcome::Refused(ErrorCode::BadRequest);
        }
        if self.posting {
            return PostOutcome::Overlap(self.end(CloseReason::TransportError));
        }
        self.posting = true;
        PostOutcome::Accepted
    }

    /// The body of the POST is complete. Only after [`PostOutcome::Accepted`] are its packets
    /// given to [`ServerSession::packet`]: one that was still being read when the session
    /// switched to WebSocket would overtake or repeat what came there.
    pub fn post_finished(&mut self) -> PostOutcome {
        self.posting = false;
        if self.closed().is_some() {
            return PostOutcome::Closed;
        }
        if self.transport != Transport::Polling {
            return PostOutcome::Refused(ErrorCode::BadRequest);
        }
        PostOutcome::Accepted
    }

    /// The POST was refused before its body was complete, because it is too large (413): that
    /// leaves the session alive.
    pub fn post_refused(&mut self) {
        self.posting = false;
    }

    /// The connection of the POST is gone before its body was complete.
    pub fn post_aborted(&mut self) -> PacketAction {
        if !self.posting || self.closed().is_some() {
            return PacketAction::Ignore;
        }
        self.posting = false;
        self.close(CloseReason::TransportError)
    }

    /// A WebSocket names this session.
    pub fn probe_opened(&mut self) -> ProbeOutcome {
        let possible = self.closed().is_none()
            && self.transport == Transport::Polling
            && self.upgrade == Upgrade::None;
        if !possible {
            return ProbeOutcome::Refused;
        }
        self.upgrade = Upgrade::Opened;
        ProbeOutcome::Accepted
    }

    /// A packet on the probing WebSocket.
    pub fn probe_packet(&mut self, packet: &Packet<'_>) -> ProbeAction {
        if !self.is_upgrading() || self.closed().is_some() {
            return ProbeAction::CloseProbe;
        }
        match packet {
            Packet::Ping("probe") => {
                self.upgrade = Upgrade::Probed;
                ProbeAction::SendProbePong
            }
            Packet::Upgrade => {
                self.upgrade = Upgrade::Done;
                self.transport = Transport::WebSocket;
                self.polling = false;
                self.posting = false;
                if self.phase == Phase::Closing {
                    return ProbeAction::SwitchAndClose(CloseReason::ForcedClose);
                }
                // A pong may have been lost with the old transport: its deadline starts again, so
                // that the session is never without one.
                ProbeAction::Switch(self.heartbeat())
            }
            _ => {
                self.upgrade = Upgrade::None;
                ProbeAction::CloseProbe
            }
        }
    }

    /// The probing WebSocket is gone, sent something unreadable, or `upgradeTimeout` has passed.
    /// Returns whether it has to be closed; the session goes on over polling.
    pub fn probe_closed(&mut self) -> bool {
        let probing = self.is_upgrading();
        if probing {
            self.upgrade = Upgrade::None;
        }
        probing
    }

    /// Whether a held poll has to be ended with a noop now, asked every
    /// [`UPGRADE_NOOP_INTERVAL_MS`] while [`is_upgrading`](Self::is_upgrading).
    pub fn noop_due(&self) -> bool {
        self.upgrade == Upgrade::Probed && self.polling && self.closed().is_none()
    }

    /// A packet on the session's transport.
    ///
    /// Only the server pings: a ping from the client ends the session, as does a close packet, on
    /// either transport. Packets of a session that the server is closing are ignored, except for
    /// the client's own close.
    pub fn packet(&mut self, packet: &Packet<'_>) -> PacketAction {
        if self.closed().is_some() {
            return PacketAction::Ignore;
        }
        if *packet == Packet::Close {
            let reason = match self.phase {
                Phase::Closing => CloseReason::ForcedClose,
                _ => CloseReason::TransportClose,
            };
            return PacketAction::Close(self.end(reason));
        }
        if matches!(packet, Packet::Pong(_)) {
            if !self.awaiting_pong {
                return PacketAction::Ignore;
            }
            self.awaiting_pong = false;
            return PacketAction::PongAccepted;
        }
        if self.phase == Phase::Closing {
            return PacketAction::Ignore;
        }
        match packet {
            Packet::Message(_) | Packet::Binary(_) => PacketAction::Deliver,
            Packet::Ping(_) => PacketAction::Close(self.end(CloseReason::TransportError)),
            _ => PacketAction::Ignore,
        }
    }

    /// Something arrived on the session's transport that is no packet.
    pub fn parse_failed(&mut self) -> PacketAction {
        self.close(CloseReason::ParseError)
    }

    /// The WebSocket that carries the session is gone; `clean` when the peer closed it.
    pub fn transport_closed(&mut self, clean: bool) -> PacketAction {
        if self.phase == Phase::Closing {
            return self.close(CloseReason::ForcedClose);
        }
        self.close(if clean {
            CloseReason::TransportClose
        } else {
            CloseReason::TransportError
        })
    }

    /// [`Deadline::Ping`] has passed. When it says true, send `2` and arm [`Deadline::Pong`].
    pub fn ping_due(&mut self) -> bool {
        if self.awaiting_pong || self.closed().is_some() {
            return false;
        }
        self.awaiting_pong = true;
        true
    }

    /// [`Deadline::Pong`] has passed.
    pub fn ping_timed_out(&mut self) -> PacketAction {
        if !self.awaiting_pong {
            return PacketAction::Ignore;
        }
        self.close(CloseReason::PingTimeout)
    }

    /// The server wants to close: no message is delivered any more, what is buffered may leave;
    /// then call [`ServerSession::close`] with [`CloseReason::ForcedClose`]. Bound the wait: over
    /// polling a client that does not poll would never let go.
    pub fn start_closing(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
    }

    /// Closes the session at once, unless it is closed already.
    pub fn close(&mut self, reason: CloseReason) -> PacketAction {
        if self.closed().is_some() {
            return PacketAction::Ignore;
        }
        PacketAction::Close(self.end(reason))
    }

    fn heartbeat(&self) -> Deadline {
        if self.awaiting_pong {
            Deadline::Pong
        } else {
            Deadline::Ping
        }
    }

    fn end(&mut self, reason: CloseReason) -> CloseReason {
        self.phase = Phase::Closed(reason);
        self.awaiting_pong = false;
        if self.is_upgrading() {
            self.upgrade = Upgrade::None;
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn polling() -> ServerSession {
        ServerSession::new(Transport::Polling)
    }

    fn websocket() -> ServerSession {
        ServerSession::new(Transport::WebSocket)
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<ServerSession>() <= 8);
    }

    #[test]
    fn transports_have_names() {
        for transport in [Transport::Polling, Transport::WebSocket] {
            assert_eq!(Transport::parse(transport.as_str()), Some(transport));
        }
        assert_eq!(Transport::parse("webtransport"), None);
    }

    #[test]
    fn packets_on_the_current_transport() {
        use CloseReason::{TransportClose, TransportError};
        let table = [
            (Packet::Message("x"), PacketAction::Deliver),
            (Packet::Binary(Cow::Borrowed(b"x")), PacketAction::Deliver),
            (Packet::Close, PacketAction::Close(TransportClose)),
            (Packet::Ping(""), PacketAction::Close(TransportError)),
            (Packet::Ping("probe"), PacketAction::Close(TransportError)),
            (Packet::Pong(""), PacketAction::Ignore),
            (Packet::Open(""), PacketAction::Ignore),
            (Packet::Upgrade, PacketAction::Ignore),
            (Packet::Noop, PacketAction::Ignore),
        ];
        for mut session in [polling(), websocket()] {
            for (packet, action) in &table {
                let mut session = session;
                assert_eq!(session.packet(packet), *action, "{packet:?}");
                assert_eq!(
                    session.closed().is_some(),
                    matches!(action, PacketAction::Close(_))
                );
            }
            assert_eq!(
                session.parse_failed(),
                PacketAction::Close(CloseReason::ParseError)
            );
            assert_eq!(session.packet(&Packet::Message("x")), PacketAction::Ignore);
        }
    }

    #[test]
    fn two_polls_or_two_posts_at_once_end_the_session() {
        let overlap = CloseReason::TransportError;
        let mut session = polling();
        assert_eq!(session.poll_opened(), PollOutcome::Accepted);
        assert_eq!(session.poll_opened(), PollOutcome::Overlap(overlap));
        assert_eq!(session.poll_opened(), PollOutcome::Closed);

        let mut session = polling();
        assert_eq!(session.post_started(), PostOutcome::Accepted);
        assert_eq!(session.post_started(), PostOutcome::Overlap(overlap));
        assert_eq!(session.post_finished(), PostOutcome::Closed);

        let mut session = polling();
        for _ in 0..3 {
            assert_eq!(session.poll_opened(), PollOutcome::Accepted);
            assert_eq!(session.post_started(), PostOutcome::Accepted);
            assert_eq!(session.post_finished(), PostOutcome::Accepted);
            session.poll_answered();
        }
    }

    #[test]
    fn a_refused_body_leaves_the_session_alive() {
        let mut session = polling();
        session.post_started();
        session.post_refused();
        assert_eq!(session.post_started(), PostOutcome::Accepted);
    }

    #[test]
    fn a_request_whose_connection_is_cut_ends_the_session() {
        let mut session = polling();
        assert_eq!(session.post_aborted(), PacketAction::Ignore);
        session.post_started();
        assert_eq!(
            session.post_aborted(),
            PacketAction::Close(CloseReason::TransportError)
        );
        let mut session = polling();
        assert_eq!(session.poll_aborted(), PacketAction::Ignore);
        session.poll_opened();
        assert_eq!(
            session.poll_aborted(),
            PacketAction::Close(CloseReason::TransportError)
        );
    }

    #[test]
    fn polling_a_websocket_session_is_a_mismatch() {
        let mut session = websocket();
        assert_eq!(
            session.poll_opened(),
            PollOutcome::Refused(ErrorCode::BadRequest)
        );
        assert_eq!(
            session.post_started(),
            PostOutcome::Refused(ErrorCode::BadRequest)
        );
        assert!(session.is_open());
    }

    #[test]
    fn a_whole_upgrade() {
        let mut session = polling();
        session.poll_opened();
        assert_eq!(session.probe_opened(), ProbeOutcome::Accepted);
        assert!(!session.noop_due());
        assert_eq!(
            session.probe_packet(&Packet::Ping("probe")),
            ProbeAction::SendProbePong
        );
        assert!(session.noop_due());
        session.poll_answered();
        assert!(!session.noop_due());
        assert_eq!(
            session.probe_packet(&Packet::Upgrade),
            ProbeAction::Switch(Deadline::Ping)
        );
        assert_eq!(session.transport(), Transport::WebSocket);
        assert!(session.is_upgraded() && session.is_writable());
        assert_eq!(
            session.poll_opened(),
            PollOutcome::Refused(ErrorCode::BadRequest)
        );
        assert_eq!(session.probe_opened(), ProbeOutcome::Refused);
    }

    #[test]
    fn a_second_probe_is_refused_and_harms_nothing() {
        let mut session = polling();
        session.probe_opened();
        assert_eq!(session.probe_opened(), ProbeOutcome::Refused);
        assert!(session.is_upgrading());
        assert_eq!(websocket().probe_opened(), ProbeOutcome::Refused);
    }

    #[test]
    fn anything_but_probe_and_upgrade_ends_the_probe_only() {
        for packet in [
            Packet::Message("x"),
            Packet::Ping(""),
            Packet::Ping("other"),
            Packet::Pong("probe"),
            Packet::Close,
            Packet::Noop,
        ] {
            let mut session = polling();
            session.probe_opened();
            assert_eq!(
                session.probe_packet(&packet),
                ProbeAction::CloseProbe,
                "{packet:?}"
            );
            assert!(session.is_open() && !session.is_upgrading());
            assert_eq!(session.probe_opened(), ProbeOutcome::Accepted);
        }
    }

    #[test]
    fn an_upgrade_that_times_out_leaves_polling() {
        let mut session = polling();
        session.probe_opened();
        session.probe_packet(&Packet::Ping("probe"));
        assert!(session.probe_closed());
        assert!(!session.probe_closed());
        assert_eq!(session.poll_opened(), PollOutcome::Accepted);
        assert!(!session.noop_due());
        assert_eq!(
            session.probe_packet(&Packet::Upgrade),
            ProbeAction::CloseProbe
        );
    }

    #[test]
    fn a_post_that_outlives_the_switch_is_not_delivered() {
        let mut session = polling();
        session.probe_opened();
        session.post_started();
        session.probe_packet(&Packet::Upgrade);
        assert_eq!(
            session.post_finished(),
            PostOutcome::Refused(ErrorCode::BadRequest)
        );
        assert!(session.is_open());
    }

    #[test]
    fn only_a_pong_answers_a_ping() {
        let mut session = websocket();
        assert_eq!(session.next_deadline(), Some(Deadline::Ping));
        assert_eq!(session.ping_timed_out(), PacketAction::Ignore);
        assert!(session.ping_due());
        assert!(!session.ping_due());
        session.packet(&Packet::Message("x"));
        assert_eq!(session.next_deadline(), Some(Deadline::Pong));
        assert_eq!(
            session.packet(&Packet::Pong("")),
            PacketAction::PongAccepted
        );
        assert_eq!(session.next_deadline(), Some(Deadline::Ping));
        assert!(session.ping_due());
        assert_eq!(
            session.ping_timed_out(),
            PacketAction::Close(CloseReason::PingTimeout)
        );
        assert_eq!(session.next_deadline(), None);
    }

    /// Node.js servers clear the ping timeout when they switch transports: a session whose pong
    /// was lost in that moment then has no heartbeat at all and lives for ever.
    #[test]
    fn a_pong_lost_in_the_upgrade_does_not_stop_the_heartbeat() {
        let mut session = polling();
        session.ping_due();
        session.probe_opened();
        session.probe_packet(&Packet::Ping("probe"));
        assert_eq!(
            session.probe_packet(&Packet::Upgrade),
            ProbeAction::Switch(Deadline::Pong)
        );
        assert_eq!(session.next_deadline(), Some(Deadline::Pong));
        let mut lost = session;
        assert_eq!(
            lost.ping_timed_out(),
            PacketAction::Close(CloseReason::PingTimeout)
        );
        assert_eq!(
            session.packet(&Packet::Pong("")),
            PacketAction::PongAccepted
        );
    }

    #[test]
    fn closing_drains_and_ignores_messages() {
        let mut session = polling();
        session.start_closing();
        assert!(session.is_closing());
        assert_eq!(
            session.packet(&Packet::Message("late")),
            PacketAction::Ignore
        );
        assert_eq!(session.poll_opened(), PollOutcome::Accepted);
        assert_eq!(
            session.close(CloseReason::ForcedClose),
            PacketAction::Close(CloseReason::ForcedClose)
        );
        assert_eq!(
            session.close(CloseReason::PingTimeout),
            PacketAction::Ignore
        );
        assert_eq!(session.closed(), Some(CloseReason::ForcedClose));
    }

    #[test]
    fn an_upgrade_while_closing_closes_after_the_switch() {
        let mut session = polling();
        session.probe_opened();
        session.start_closing();
        assert_eq!(
            session.probe_packet(&Packet::Upgrade),
            ProbeAction::SwitchAndClose(CloseReason::ForcedClose)
        );
        assert_eq!(
            session.transport_closed(true),
            PacketAction::Close(CloseReason::ForcedClose)
        );
    }

    #[test]
    fn the_end_of_the_websocket_ends_the_session() {
        let close = PacketAction::Close;
        assert_eq!(
            websocket().transport_closed(true),
            close(CloseReason::TransportClose)
        );
        assert_eq!(
            websocket().transport_closed(false),
            close(CloseReason::TransportError)
        );
    }
}
