//! Profile `protocol`: what the official protocol suites ask for.

use sockeye::{Ack, Args, Server, Socket};

pub(crate) fn install(server: &Server) {
    for name in ["/", "/custom"] {
        let namespace = server.of(name);
        namespace.on_connection(async |socket: Socket| {
            let auth = socket.raw_auth();
            let _ = match auth.get(0) {
                Some(auth) => socket.emit("auth", auth.to_args()),
                None => socket.emit("auth", serde_json::json!({})),
            };
        });
        namespace.on("message", async |socket: Socket, args: Args| {
            let _ = socket.emit("message-back", args);
        });
        namespace.on("message-with-ack", async |args: Args, ack: Ack| {
            let _ = ack.send(args);
        });
    }
}
