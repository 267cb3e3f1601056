//! Authentication by a key that the nodes of a cluster share.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(super) const TAG_LEN: usize = 32;

/// The key of a cluster.
///
/// It is derived from a secret and from the name of what it is used for, such as the prefix of the
/// channels: messages of one cluster are not taken in another one that has the same secret. It is
/// never printed.
#[derive(Clone)]
pub struct BusKey(Hmac<Sha256>);

impl BusKey {
    /// The key for `context` of a secret, which should have 32 random bytes or more.
    pub fn new(secret: &[u8], context: &str) -> Self {
        let mut derive = hmac(secret);
        derive.update(b"sockeye bus v1\0");
        derive.update(context.as_bytes());
        Self(hmac(&derive.finalize().into_bytes()))
    }

    pub(super) fn tag(&self, message: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// Where the tag begins, if it is the right one; compared in constant time.
    pub(super) fn verify(&self, message: &[u8]) -> Option<usize> {
        let at = message.len().checked_sub(TAG_LEN)?;
        let (message, tag) = message.split_at(at);
        let mut mac = self.0.clone();
        mac.update(message);
        mac.verify_slice(tag).ok().map(|()| at)
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 section 2): there is no error to be had.
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusKey")
    }
}
