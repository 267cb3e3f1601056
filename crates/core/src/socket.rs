//! One socket: a session's membership of one namespace.

use sockeye_protocol::engine::SocketId;
use sockeye_protocol::socketio::Packet;

use crate::acks::Acks;
use crate::arena::Key;
use crate::host::Host;
use crate::inbound::Inbound;

/// The state of one socket.
pub struct Socket<H: Host> {
    pub(crate) id: SocketId,
    pub(crate) session: Key,
    pub(crate) space: u32,
    pub(crate) host: H::Socket,
    pub(crate) inbound: Inbound<Box<Packet>>,
    pub(crate) acks: Acks<H::Waiter>,
    /// The disconnect handlers run; nothing is delivered any more.
    pub(crate) leaving: bool,
}

impl<H: Host> Socket<H> {
    /// Its public id.
    pub fn id(&self) -> &SocketId {
        &self.id
    }

    /// The session that carries it.
    pub fn session(&self) -> Key {
        self.session
    }

    /// Its handle.
    pub fn host(&self) -> &H::Socket {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::AckFailure;
    use crate::host::AckWaiter;
    use sockeye_protocol::socketio::Args;

    struct Fake;

    impl Host for Fake {
        type Io = ();
        type Socket = std::sync::Arc<()>;
        type Waiter = ();
    }

    impl AckWaiter for () {
        fn resolve(self, _: Result<Args, AckFailure>) {}
    }

    #[test]
    fn an_idle_socket_is_small() {
        let size = size_of::<Socket<Fake>>();
        assert!(size <= 72, "{size}");
    }
}
