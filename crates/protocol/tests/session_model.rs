//! The server's session machine against a plain model, over random sequences of operations.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_protocol::engine::{
    CloseReason, Deadline, ErrorCode, Packet, PacketAction, PollOutcome, PostOutcome, ProbeAction,
    ProbeOutcome, ServerSession, Transport,
};

#[derive(Debug, Clone, Copy)]
enum Op {
    PollOpened,
    PollAnswered,
    PollAborted,
    PostStarted,
    PostFinished,
    PostRefused,
    PostAborted,
    ProbeOpened,
    ProbePacket(usize),
    ProbeClosed,
    Packet(usize),
    ParseFailed,
    PingDue,
    PingTimedOut,
    StartClosing,
    Close,
    TransportClosed(bool),
}

const PACKETS: [Packet<'static>; 11] = [
    Packet::Open("{}"),
    Packet::Close,
    Packet::Ping(""),
    Packet::Ping("probe"),
    Packet::Pong(""),
    Packet::Pong("probe"),
    Packet::Message("m"),
    Packet::Binary(Cow::Borrowed(b"b")),
    Packet::Upgrade,
    Packet::Upgrade,
    Packet::Noop,
];

/// What a session is, in words instead of bits.
#[derive(Debug, Default)]
struct Model {
    websocket: bool,
    upgraded: bool,
    /// Two steps of a probe: there, answered.
    probe: Option<bool>,
    poll: bool,
    post: bool,
    ping_unanswered: bool,
    closing: bool,
    closed: Option<CloseReason>,
}

impl Model {
    fn end(&mut self, reason: CloseReason) -> CloseReason {
        self.closed = Some(reason);
        self.probe = None;
        self.ping_unanswered = false;
        reason
    }

    fn close(&mut self, reason: CloseReason) -> PacketAction {
        if self.closed.is_some() {
            return PacketAction::Ignore;
        }
        PacketAction::Close(self.end(reason))
    }

    fn poll_opened(&mut self) -> PollOutcome {
        match (self.closed, self.websocket, self.poll) {
            (Some(_), _, _) => PollOutcome::Closed,
            (None, true, _) => PollOutcome::Refused(ErrorCode::BadRequest),
            (None, false, true) => PollOutcome::Overlap(self.end(CloseReason::TransportError)),
            (None, false, false) => {
                self.poll = true;
                PollOutcome::Accepted
            }
        }
    }

    fn post_started(&mut self) -> PostOutcome {
        match (self.closed, self.websocket, self.post) {
            (Some(_), _, _) => PostOutcome::Closed,
            (None, true, _) => PostOutcome::Refused(ErrorCode::BadRequest),
            (None, false, true) => PostOutcome::Overlap(self.end(CloseReason::TransportError)),
            (None, false, false) => {
                self.post = true;
                PostOutcome::Accepted
            }
        }
    }

    fn post_finished(&mut self) -> PostOutcome {
        self.post = false;
        match (self.closed, self.websocket) {
            (Some(_), _) => PostOutcome::Closed,
            (None, true) => PostOutcome::Refused(ErrorCode::BadRequest),
            (None, false) => PostOutcome::Accepted,
        }
    }

    fn probe_opened(&mut self) -> ProbeOutcome {
        if self.closed.is_some() || self.websocket || self.probe.is_some() {
            return ProbeOutcome::Refused;
        }
        self.probe = Some(false);
        ProbeOutcome::Accepted
    }

    fn probe_packet(&mut self, packet: &Packet<'_>) -> ProbeAction {
        if self.probe.is_none() {
            return ProbeAction::CloseProbe;
        }
        match packet {
            Packet::Ping("probe") => {
                self.probe = Some(true);
                ProbeAction::SendProbePong
            }
            Packet::Upgrade => {
                self.probe = None;
                (self.websocket, self.upgraded) = (true, true);
                (self.poll, self.post) = (false, false);
                if self.closing {
                    return ProbeAction::SwitchAndClose(CloseReason::ForcedClose);
                }
                ProbeAction::Switch(self.deadline())
            }
            _ => {
                self.probe = None;
                ProbeAction::CloseProbe
            }
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) -> PacketAction {
        use CloseReason::{ForcedClose, TransportClose, TransportError};
        if self.closed.is_some() {
            return PacketAction::Ignore;
        }
        match packet {
            Packet::Close if self.closing => self.close(ForcedClose),
            Packet::Close => self.close(TransportClose),
            Packet::Pong(_) if self.ping_unanswered => {
                self.ping_unanswered = false;
                PacketAction::PongAccepted
            }
            _ if self.closing => PacketAction::Ignore,
            Packet::Message(_) | Packet::Binary(_) => PacketAction::Deliver,
            Packet::Ping(_) => self.close(TransportError),
            _ => PacketAction::Ignore,
        }
    }

    fn deadline(&self) -> Deadline {
        if self.ping_unanswered {
            Deadline::Pong
        } else {
            Deadline::Ping
        }
    }
}

fn step(session: &mut ServerSession, model: &mut Model, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::PollOpened => prop_assert_eq!(session.poll_opened(), model.poll_opened()),
        Op::PollAnswered => {
            session.poll_answered();
            model.poll = false;
        }
        Op::PollAborted => {
            let expected = match model.poll && model.closed.is_none() {
                true => model.close(CloseReason::TransportError),
                false => PacketAction::Ignore,
            };
            if model.closed.is_some() && expected != PacketAction::Ignore {
                model.poll = false;
            }
            prop_assert_eq!(session.poll_aborted(), expected);
        }
        Op::PostStarted => prop_assert_eq!(session.post_started(), model.post_started()),
        Op::PostFinished => prop_assert_eq!(session.post_finished(), model.post_finished()),
        Op::PostRefused => {
            session.post_refused();
            model.post = false;
        }
        Op::PostAborted => {
            let expected = match model.post && model.closed.is_none() {
                true => model.close(CloseReason::TransportError),
                false => PacketAction::Ignore,
            };
            prop_assert_eq!(session.post_aborted(), expected);
        }
        Op::ProbeOpened => prop_assert_eq!(session.probe_opened(), model.probe_opened()),
        Op::ProbePacket(packet) => {
            let packet = &PACKETS[packet];
            prop_assert_eq!(session.probe_packet(packet), model.probe_packet(packet));
        }
        Op::ProbeClosed => {
            prop_assert_eq!(session.probe_closed(), model.probe.take().is_some());
        }
        Op::Packet(packet) => {
            let packet = &PACKETS[packet];
            prop_assert_eq!(session.packet(packet), model.packet(packet));
        }
        Op::ParseFailed => {
            prop_assert_eq!(session.parse_failed(), model.close(CloseReason::ParseError));
        }
        Op::PingDue => {
            let due = model.closed.is_none() && !model.ping_unanswered;
            model.ping_unanswered |= due;
            prop_assert_eq!(session.ping_due(), due);
        }
        Op::PingTimedOut => {
            let expected = match model.ping_unanswered {
                true => model.close(CloseReason::PingTimeout),
                false => PacketAction::Ignore,
            };
            prop_assert_eq!(session.ping_timed_out(), expected);
        }
        Op::StartClosing => {
            session.start_closing();
            model.closing |= model.closed.is_none();
        }
        Op::Close => {
            let reason = CloseReason::ServerShuttingDown;
            prop_assert_eq!(session.close(reason), model.close(reason));
        }
        Op::TransportClosed(clean) => {
            let reason = match (model.closing, clean) {
                (true, _) => CloseReason::ForcedClose,
                (false, true) => CloseReason::TransportClose,
                (false, false) => CloseReason::TransportError,
            };
            prop_assert_eq!(session.transport_closed(clean), model.close(reason));
        }
    }
    Ok(())
}

/// What has to hold after every step, whatever happened.
fn check(session: &ServerSession, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(session.closed(), model.closed);
    prop_assert_eq!(session.transport() == Transport::WebSocket, model.websocket);
    prop_assert_eq!(session.is_upgraded(), model.upgraded);
    prop_assert_eq!(session.is_upgrading(), model.probe.is_some());
    prop_assert_eq!(session.is_open(), model.closed.is_none() && !model.closing);
    prop_assert_eq!(
        session.is_closing(),
        model.closed.is_none() && model.closing
    );
    let held = session.poll_pending() && model.closed.is_none();
    prop_assert_eq!(held, model.poll && model.closed.is_none());
    // A session that is not closed is never without a heartbeat.
    let deadline = model.closed.is_none().then(|| model.deadline());
    prop_assert_eq!(session.next_deadline(), deadline);
    prop_assert_eq!(session.noop_due(), model.probe == Some(true) && held);
    prop_assert_eq!(
        session.is_writable(),
        model.closed.is_none() && (model.websocket || held)
    );
    Ok(())
}

fn op() -> impl Strategy<Value = Op> {
    let packet = 0..PACKETS.len();
    prop_oneof![
        4 => Just(Op::PollOpened),
        4 => Just(Op::PollAnswered),
        1 => Just(Op::PollAborted),
        4 => Just(Op::PostStarted),
        4 => Just(Op::PostFinished),
        1 => Just(Op::PostRefused),
        1 => Just(Op::PostAborted),
        4 => Just(Op::ProbeOpened),
        8 => packet.clone().prop_map(Op::ProbePacket),
        2 => Just(Op::ProbeClosed),
        8 => packet.prop_map(Op::Packet),
        1 => Just(Op::ParseFailed),
        4 => Just(Op::PingDue),
        1 => Just(Op::PingTimedOut),
        1 => Just(Op::StartClosing),
        1 => Just(Op::Close),
        1 => any::<bool>().prop_map(Op::TransportClosed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_sequence_agrees_with_the_model(websocket in any::<bool>(), ops in vec(op(), 1..40)) {
        let transport = if websocket { Transport::WebSocket } else { Transport::Polling };
        let mut session = ServerSession::new(transport);
        let mut model = Model { websocket, ..Model::default() };
        for op in ops {
            step(&mut session, &mut model, op)?;
            check(&session, &model)?;
        }
    }
}
