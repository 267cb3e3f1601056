//! The handshake answer.

use serde::{Deserialize, Serialize};

use super::Packet;
use crate::{DecodeError, DecodeErrorKind};

/// The data of the open packet, the first one of every session.
///
/// Encoded with exactly these five keys in this order; official test suites refuse others.
///
/// ```
/// use sockeye_protocol::engine::OpenPacket;
///
/// let open = OpenPacket {
///     sid: "lv_VI97HAXpY6yYWAAAB".into(),
///     upgrades: vec!["websocket".into()],
///     ping_interval: 25_000,
///     ping_timeout: 20_000,
///     max_payload: 1_000_000,
/// };
/// assert_eq!(
///     open.to_json(),
///     r#"{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPacket {
    /// The session id; a secret, never log it whole.
    pub sid: String,
    /// The transports the client may upgrade to.
    pub upgrades: Vec<String>,
    /// Time between two pings, milliseconds.
    pub ping_interval: u64,
    /// Time within which a ping has to be answered, milliseconds.
    pub ping_timeout: u64,
    /// The largest polling body or message that the server takes, bytes.
    pub max_payload: u64,
}

impl OpenPacket {
    /// The JSON object behind the `0`.
    pub fn to_json(&self) -> String {
        // A struct of strings and integers always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the data of a [`Packet::Open`]; unknown keys are ignored.
    ///
    /// # Errors
    ///
    /// When it is not a JSON object with these keys.
    pub fn parse(data: &str) -> Result<Self, DecodeError> {
        serde_json::from_str(data).map_err(|_| DecodeErrorKind::InvalidOpenPacket.into())
    }

    /// Reads an open packet.
    ///
    /// # Errors
    ///
    /// When the packet is of another type or [`OpenPacket::parse`] fails.
    pub fn from_packet(packet: &Packet<'_>) -> Result<Self, DecodeError> {
        match packet {
            Packet::Open(data) => Self::parse(data),
            _ => Err(DecodeErrorKind::InvalidOpenPacket.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_tolerance() {
        let json = r#"{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":2,"maxPayload":3}"#;
        let open = OpenPacket::parse(json).unwrap();
        assert_eq!(open.to_json(), json);
        assert_eq!(OpenPacket::from_packet(&Packet::Open(json)).unwrap(), open);
        assert!(OpenPacket::parse(&json.replace("\"sid\"", "\"new\":1,\"sid\"")).is_ok());
    }

    #[test]
    fn refused_forms() {
        for data in ["", "[]", "{}", r#"{"sid":1}"#] {
            assert!(OpenPacket::parse(data).is_err(), "{data}");
        }
        assert!(OpenPacket::from_packet(&Packet::Noop).is_err());
    }
}
