//! Why a session or a socket ended.

use std::fmt;

/// The reasons a server gives for a disconnection, with the words of Node.js servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// The transport failed, or the peer broke a rule of the transport.
    TransportError,
    /// The transport was closed by the peer.
    TransportClose,
    /// The session was closed by the server while a close was under way.
    ForcedClose,
    /// A ping was not answered in time.
    PingTimeout,
    /// The peer sent something that is no packet.
    ParseError,
    /// The server goes down.
    ServerShuttingDown,
    /// The server closed the whole connection.
    ForcedServerClose,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server disconnected the socket from the namespace.
    ServerNamespaceDisconnect,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::TransportError,
        Self::TransportClose,
        Self::ForcedClose,
        Self::PingTimeout,
        Self::ParseError,
        Self::ServerShuttingDown,
        Self::ForcedServerClose,
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
    ];

    /// The text that handlers and logs see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
        }
    }

    /// Whether connection state recovery keeps the session of a socket that ended so.
    pub fn is_recoverable(self) -> bool {
        match self {
            Self::TransportError
            | Self::TransportClose
            | Self::ForcedClose
            | Self::PingTimeout
            | Self::ServerShuttingDown
            | Self::ForcedServerClose => true,
            Self::ParseError
            | Self::ClientNamespaceDisconnect
            | Self::ServerNamespaceDisconnect => false,
        }
    }

    /// The reason with this text, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_six_are_recoverable() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(
            CloseReason::ALL
                .into_iter()
                .filter(|r| r.is_recoverable())
                .count(),
            6
        );
        assert!(!CloseReason::ParseError.is_recoverable());
        assert_eq!(CloseReason::parse("bored"), None);
    }
}
