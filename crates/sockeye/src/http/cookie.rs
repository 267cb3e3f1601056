//! The cookie that tells load balancers where a session lives.

use http::HeaderValue;

/// The `SameSite` attribute.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SameSite {
    /// Sent on navigation only.
    #[default]
    Lax,
    /// Never sent across sites.
    Strict,
    /// Always sent; browsers ask for `secure` with it.
    None,
}

/// A cookie with the session id, set by polling handshakes.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// The name. Default `io`.
    pub name: String,
    /// The path. Default `/`.
    pub path: String,
    /// Hidden from scripts. Default true.
    pub http_only: bool,
    /// Only over encrypted connections. Default false.
    pub secure: bool,
    /// Default lax.
    pub same_site: SameSite,
    /// Seconds to live; `None`: as long as the browser. Default `None`.
    pub max_age: Option<u64>,
}

impl Default for Cookie {
    fn default() -> Self {
        Cookie {
            name: "io".into(),
            path: "/".into(),
            http_only: true,
            secure: false,
            same_site: SameSite::Lax,
            max_age: None,
        }
    }
}

impl Cookie {
    pub(crate) fn header(&self, value: &str) -> Option<HeaderValue> {
        let mut text = format!("{}={value}", self.name);
        if let Some(age) = self.max_age {
            text.push_str(&format!("; Max-Age={age}"));
        }
        text.push_str("; Path=");
        text.push_str(&self.path);
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::None => "; SameSite=None",
        });
        HeaderValue::from_str(&text).ok()
    }
}
