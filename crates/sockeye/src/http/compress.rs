//! Compression of polling answers.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};

/// Compresses `body` as the client accepts it, if it is worth it; returns the coding's name.
pub(crate) fn compress(
    headers: &HeaderMap,
    threshold: Option<usize>,
    body: Vec<u8>,
) -> (Vec<u8>, Option<HeaderValue>) {
    if threshold.is_none_or(|threshold| body.len() < threshold) {
        return (body, None);
    }
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    let Some(coding) = accepted.and_then(choose) else {
        return (body, None);
    };
    let capacity = body.len() / 2;
    let done = match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(capacity), Compression::fast());
            encoder.write_all(&body).and_then(|()| encoder.finish())
        }
        _ => {
            let mut encoder = ZlibEncoder::new(Vec::with_capacity(capacity), Compression::fast());
            encoder.write_all(&body).and_then(|()| encoder.finish())
        }
    };
    match done {
        Ok(compressed) => (compressed, Some(HeaderValue::from_static(coding))),
        Err(_) => (body, None),
    }
}

/// The first of gzip and deflate that is accepted, and not with `q=0` (RFC 9110 §12.5.3).
fn choose(accepted: &str) -> Option<&'static str> {
    let accepts = |coding: &str| {
        accepted.split(',').any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                let quality = part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
                quality == Some(0.0)
            });
            name.eq_ignore_ascii_case(coding) && !refused
        })
    };
    ["gzip", "deflate"]
        .into_iter()
        .find(|coding| accepts(coding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_choice_is_respected() {
        assert_eq!(choose("gzip, deflate, br"), Some("gzip"));
        assert_eq!(choose("deflate"), Some("deflate"));
        assert_eq!(choose("gzip;q=0, deflate;q=0.5"), Some("deflate"));
        assert_eq!(choose("br"), None);
        assert_eq!(choose("gzip;q=0"), None);
    }
}
