//! Offers and answers (RFC 7692 §5 and §7.1).

use super::extension::{self, Extension, Malformed};
use super::{Agreed, DeflateOptions, MAX_BITS, MIN_ZLIB_BITS};
use std::fmt::Write;

const NAME: &str = "permessage-deflate";

/// The server's choice among the offers of a request's `Sec-WebSocket-Extensions` values: the
/// first it can serve, with the value to answer. Offers with unknown, repeated or bad parameters
/// are declined, as is a server window of 8, which zlib cannot produce (RFC 7692 §5.1: decline
/// and try the next).
pub(crate) fn negotiate<'h>(
    values: impl Iterator<Item = &'h str>,
    options: Option<&DeflateOptions>,
) -> Result<Option<(Agreed, String)>, Malformed> {
    let mut chosen = None;
    for value in values {
        for offer in extension::parse(value)? {
            if let Some(options) = options
                && chosen.is_none()
                && offer.name == NAME
            {
                chosen = Params::parse(&offer, Side::Offer).and_then(|p| accept(p, options));
            }
        }
    }
    Ok(chosen)
}

/// The client's offer.
pub(crate) fn offer(options: &DeflateOptions) -> String {
    let mut value = String::from(NAME);
    if options.server_no_context_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if options.client_no_context_takeover {
        value.push_str("; client_no_context_takeover");
    }
    if options.server_bits() < MAX_BITS {
        push_bits(&mut value, "server_max_window_bits", options.server_bits());
    }
    match options.client_bits() {
        MAX_BITS => value.push_str("; client_max_window_bits"),
        bits => push_bits(&mut value, "client_max_window_bits", bits),
    }
    value
}

/// What the server's answer means to a client that sent [`offer`]; an error when the answer does
/// not fit it, upon which the connection must fail (RFC 7692 §7.1). `None` of `offered` is a
/// client that offered nothing.
pub(crate) fn check_answer<'h>(
    values: impl Iterator<Item = &'h str>,
    offered: Option<&DeflateOptions>,
) -> Result<Option<Agreed>, Malformed> {
    let mut agreed = None;
    for value in values {
        for answer in extension::parse(value)? {
            let options = offered.ok_or(Malformed)?;
            if answer.name != NAME || agreed.is_some() {
                return Err(Malformed);
            }
            let params = Params::parse(&answer, Side::Answer).ok_or(Malformed)?;
            agreed = Some(agree_to(params, options).ok_or(Malformed)?);
        }
    }
    Ok(agreed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

/// The four parameters of RFC 7692 §7.1.
#[derive(Default)]
struct Params {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// The inner `None` is the parameter without a value, allowed in offers.
    client_bits: Option<Option<u8>>,
}

impl Params {
    fn parse(extension: &Extension<'_>, side: Side) -> Option<Params> {
        let mut params = Params::default();
        for (name, value) in &extension.params {
            let new = match (*name, value.as_deref()) {
                ("server_no_context_takeover", None) => set(&mut params.server_no_takeover),
                ("client_no_context_takeover", None) => set(&mut params.client_no_takeover),
                ("server_max_window_bits", Some(bits)) => {
                    params.server_bits.replace(window_bits(bits)?).is_none()
                }
                ("client_max_window_bits", Some(bits)) => params
                    .client_bits
                    .replace(Some(window_bits(bits)?))
                    .is_none(),
                ("client_max_window_bits", None) if side == Side::Offer => {
                    params.client_bits.replace(None).is_none()
                }
                _ => return None,
            };
            if !new {
                return None;
            }
        }
        Some(params)
    }
}

fn set(flag: &mut bool) -> bool {
    !std::mem::replace(flag, true)
}

/// 8 to 15, in decimal without a leading zero.
fn window_bits(text: &str) -> Option<u8> {
    match text {
        "8" => Some(8),
        "9" => Some(9),
        _ => {
            let unit = text.strip_prefix('1').filter(|unit| unit.len() == 1)?;
            unit.parse()
                .ok()
                .map(|unit: u8| 10 + unit)
                .filter(|bits| *bits <= MAX_BITS)
        }
    }
}

fn accept(offer: Params, options: &DeflateOptions) -> Option<(Agreed, String)> {
    let server_bits = offer
        .server_bits
        .unwrap_or(MAX_BITS)
        .min(options.server_bits());
    if server_bits < MIN_ZLIB_BITS {
        return None;
    }
    // Only to be limited when offered. An offer of 8 is a hint we may ignore (§7.1.2.2): every
    // inflater of ours has the full window, and few clients can really produce 8.
    let client_bits = match offer.client_bits {
        None | Some(Some(8)) => MAX_BITS,
        Some(bits) => bits.unwrap_or(MAX_BITS).min(options.client_bits()),
    };
    let agreed = Agreed {
        server_takeover: !(offer.server_no_takeover || options.server_no_context_takeover),
        client_takeover: !(offer.client_no_takeover || options.client_no_context_takeover),
        server_bits,
        client_bits,
    };
    let mut value = String::from(NAME);
    if !agreed.server_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if !agreed.client_takeover {
        value.push_str("; client_no_context_takeover");
    }
    if offer.server_bits.is_some() || server_bits < MAX_BITS {
        push_bits(&mut value, "server_max_window_bits", server_bits);
    }
    if client_bits < MAX_BITS || matches!(offer.client_bits, Some(Some(15))) {
        push_bits(&mut value, "client_max_window_bits", client_bits);
    }
    Some((agreed, value))
}

fn agree_to(answer: Params, options: &DeflateOptions) -> Option<Agreed> {
    if options.server_no_context_takeover && !answer.server_no_takeover {
        return None;
    }
    let server_bits = answer.server_bits.unwrap_or(MAX_BITS);
    if server_bits > options.server_bits() {
        return None;
    }
    // What we said we would not exceed binds us even when the answer does not repeat it.
    let client_bits = answer
        .client_bits
        .flatten()
        .unwrap_or(options.client_bits());
    if client_bits > options.client_bits() {
        return None;
    }
    Some(Agreed {
        server_takeover: !answer.server_no_takeover,
        client_takeover: !(answer.client_no_takeover || options.client_no_context_takeover),
        server_bits,
        client_bits,
    })
}

fn push_bits(value: &mut String, name: &str, bits: u8) {
    // Writing to a String cannot fail.
    let _ = write!(value, "; {name}={bits}");
}
