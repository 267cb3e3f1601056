//! Profile `client-suite`: what the JavaScript client's own test suite asks for.

use std::time::Duration;

use sockeye::{Args, Binary, ConnectError, Data, HandshakeResponse, NoAck, Server, Socket, Value};

const BYTES: &[u8] = b"asdfasdf";

/// Whether the first of two binary events brought binary.
struct FirstWasBinary;

pub(crate) fn install(server: &Server) {
    server.on_handshake(async |_| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(HandshakeResponse::new())
    });
    for name in ["/foo", "/timeout_socket", "/valid", "/asd"] {
        let namespace = server.of(name);
        if name == "/foo" {
            namespace.on("getId", async |socket: Socket| socket.id().to_owned());
        }
    }
    server.of("/abc").on_connection(async |socket: Socket| {
        let _ = socket.emit("handshake", handshake(&socket));
    });
    server
        .of("/no")
        .middleware(async || Err::<(), _>(ConnectError::new("Auth failed (custom namespace)")));
    root(server);
}

fn root(server: &Server) {
    let root = server.of("/");
    root.middleware(async |socket: Socket| {
        let fail = socket.handshake().query_value("fail").unwrap_or_default();
        if fail.is_empty() {
            return Ok(());
        }
        Err(ConnectError::new("Auth failed (main namespace)"))
    });
    root.on("hi", async |socket: Socket| emit(&socket, "hi", ()));
    root.on("echo", async |Data(x): Data<Value>| Data(x));
    root.on("ack", async |socket: Socket| {
        // Spawned: the answer may take its time, other events do not wait for it.
        tokio::spawn(async move {
            let Ok(answer) = socket.emit_with_ack("ack", ()).await else {
                return;
            };
            let expected = serde_json::json!([5, { "test": true }]);
            let values: Vec<_> = answer.iter().map(|arg| arg.deserialize()).collect();
            let values: Result<Vec<serde_json::Value>, _> = values.into_iter().collect();
            if values.is_ok_and(|values| serde_json::Value::Array(values) == expected) {
                let _ = socket.emit("got it", ());
            }
        });
        NoAck
    });
    root.on("getAckDate", async || iso_now());
    root.on("getDate", async |socket: Socket| {
        emit(&socket, "takeDate", (iso_now(),))
    });
    root.on("getDateObj", async |socket: Socket| {
        emit(
            &socket,
            "takeDateObj",
            serde_json::json!({ "date": iso_now() }),
        )
    });
    root.on("getUtf8", async |socket: Socket| {
        let texts = [
            "てすと",
            "Я Б Г Д Ж Й",
            "Ä ä Ü ü ß",
            "utf8 — string",
            "utf8 — string",
        ];
        for text in texts {
            emit(&socket, "takeUtf8", (text,));
        }
        NoAck
    });
    root.on("false", async |socket: Socket| {
        emit(&socket, "false", (false,))
    });
    root.on("doge", async |socket: Socket| {
        emit(&socket, "doge", bytes())
    });
    root.on("getbin", async |socket: Socket| {
        emit(&socket, "takebin", bytes())
    });
    root.on("buffa", async |socket: Socket, Data(x): Data<Value>| {
        if x.as_binary().is_some() {
            emit(&socket, "buffack", ())
        } else {
            NoAck
        }
    });
    root.on("jsonbuff", async |socket: Socket, Data(o): Data<Value>| {
        let text = |key| o.get(key).and_then(Value::as_str);
        let binary = o
            .get("message")
            .is_some_and(|message| message.as_binary().is_some());
        if text("hello") == Some("lol") && text("goodbye") == Some("gotcha") && binary {
            return emit(&socket, "jsonbuff-ack", ());
        }
        NoAck
    });
    root.on("abuff1", async |socket: Socket, Data(x): Data<Value>| {
        if x.as_binary().is_some() {
            socket.insert_extension(FirstWasBinary);
        }
        NoAck
    });
    root.on("abuff2", async |socket: Socket, _rest: Args| {
        if socket.extension::<FirstWasBinary>().is_some() {
            return emit(&socket, "abuff2-ack", ());
        }
        NoAck
    });
    root.on("getHandshake", async |socket: Socket| {
        Data(handshake(&socket))
    });
    root.on("getId", async |socket: Socket| socket.id().to_owned());
}

fn emit(socket: &Socket, event: &str, args: impl sockeye::ToArgs) -> NoAck {
    let _ = socket.emit(event, args);
    NoAck
}

fn bytes() -> (Binary,) {
    (Binary(BYTES.into()),)
}

fn handshake(socket: &Socket) -> serde_json::Value {
    let handshake = socket.handshake();
    let headers = handshake.headers().map(|(name, value)| {
        (
            name.to_owned(),
            String::from_utf8_lossy(value).into_owned().into(),
        )
    });
    let headers: serde_json::Map<String, serde_json::Value> = headers.collect();
    let query: serde_json::Map<String, serde_json::Value> = handshake
        .query()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let auth = socket.auth().unwrap_or(serde_json::Value::Null);
    let issued = Duration::from_millis(handshake.issued());
    serde_json::json!({
        "headers": headers,
        "time": httpdate::fmt_http_date(std::time::UNIX_EPOCH + issued),
        "address": handshake.address().map(|a| a.ip().to_string()).unwrap_or_default(),
        "xdomain": handshake.is_cross_domain(),
        "secure": handshake.is_secure(),
        "issued": handshake.issued(),
        "url": handshake.url(),
        "query": query,
        "auth": if auth.is_null() { serde_json::json!({}) } else { auth },
    })
}

/// The time as JavaScript's `toISOString` writes it.
pub(crate) fn iso_now() -> String {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date of a day counted from 1970, by the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
