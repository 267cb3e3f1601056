//! The query of an Engine.IO request.

use http::Uri;
use sockeye_protocol::engine::Transport;

/// The parameters that mean something to the engine.
#[derive(Default, Debug)]
pub(crate) struct EngineQuery {
    pub(crate) version: Option<u32>,
    pub(crate) transport: Option<Transport>,
    pub(crate) sid: Option<String>,
}

impl EngineQuery {
    pub(crate) fn parse(uri: &Uri) -> Self {
        let mut query = EngineQuery::default();
        for (name, value) in crate::handshake::parse_query(uri.query().unwrap_or_default()) {
            match name.as_str() {
                "EIO" => query.version = value.parse().ok(),
                "transport" => query.transport = Transport::parse(&value),
                "sid" => query.sid = Some(value),
                _ => {}
            }
        }
        query
    }
}
