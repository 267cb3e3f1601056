//! Close codes of RFC 6455 §7.4.1 and the IANA registry.

/// The purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;
/// The endpoint goes away: the server stops, or the page was left.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of data the endpoint does not accept.
pub const UNSUPPORTED_DATA: u16 = 1003;
/// Never sent: a close frame came without a code.
pub const NO_STATUS: u16 = 1005;
/// Never sent: the connection ended without a close frame.
pub const ABNORMAL: u16 = 1006;
/// Data that does not fit its type, such as text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// A policy of the endpoint was violated; the code for everything that has none of its own.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message too big to be processed.
pub const TOO_BIG: u16 = 1009;
/// The client misses an extension that the server did not negotiate.
pub const MANDATORY_EXTENSION: u16 = 1010;
/// The server met a condition it did not expect.
pub const INTERNAL_ERROR: u16 = 1011;
/// The server restarts; come back.
pub const SERVICE_RESTART: u16 = 1012;
/// The server is overloaded; come back later.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// A gateway got an invalid answer from upstream.
pub const BAD_GATEWAY: u16 = 1014;
/// Never sent: the TLS handshake failed.
pub const TLS_HANDSHAKE: u16 = 1015;

/// Whether `code` may appear in a close frame: assigned by RFC 6455 or the registry for use on the
/// wire, or from the ranges for libraries (3000–3999) and applications (4000–4999).
pub const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::is_sendable;

    /// RFC 6455 §7.4.1 and §7.4.2, with the registry's later assignments.
    #[test]
    fn reserved_and_unassigned_codes_are_not_sendable() {
        let good = [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
        ];
        let bad = [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ];
        assert!(good.into_iter().chain([3999, 4000, 4999]).all(is_sendable));
        assert!(!bad.into_iter().any(is_sendable));
    }
}
