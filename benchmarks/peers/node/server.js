// The Node.js peers, by argument: `socket.io` (on `ws`, its default), `eiows` (Socket.IO on that engine) or `ws` (plain
// WebSocket). `versions` prints, as JSON, what is installed, and why something is not. The contract is that of ../../README.md.

const fs = require("fs");
const { createServer } = require("http");
const path = require("path");

const TOKEN = "benchmark";
const ROOM = "bench";

const servers = {
  "socket.io": (http) => socketIo(http, {}),
  eiows: (http) => socketIo(http, { wsEngine: require("eiows").Server }),
  ws: plain,
};

function socketIo(http, options) {
  const { Server } = require("socket.io");
  if (process.env.BENCH_DEFLATE === "1") {
    options.perMessageDeflate = { serverNoContextTakeover: true, clientNoContextTakeover: true };
  }
  const io = new Server(http, options);
  io.use((socket, next) => {
    next(socket.handshake.auth.token === TOKEN ? undefined : new Error("unauthorized"));
  });
  io.on("connection", (socket) => {
    socket.on("echo", (text, ack) => ack(text));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack([...socket.rooms]);
    });
    socket.on("broadcast", (text) => io.emit("broadcast", text));
    socket.on("publish", (text) => io.to(ROOM).emit("publish", text));
  });
}

function plain(http) {
  const { WebSocketServer } = require("ws");
  const server = new WebSocketServer({ server: http, perMessageDeflate: false });
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data) => {
      if (data[0] === "e".charCodeAt(0)) {
        socket.send(data, { binary: false });
        return;
      }
      for (const client of server.clients) {
        client.send(data, { binary: false });
      }
    });
  });
}

// Its build fails quietly where it is not possible, as it is optional.
function lockedEiows() {
  const lock = JSON.parse(fs.readFileSync(path.join(__dirname, "package-lock.json"), "utf8"));
  const { version, engines } = lock.packages["node_modules/eiows"];
  return `eiows ${version} builds for Node.js ${engines.node}, this is ${process.version}`;
}

function versions() {
  const found = { node: process.version };
  for (const name of ["socket.io", "engine.io", "ws", "eiows"]) {
    try {
      require(name);
      const file = path.join(__dirname, "node_modules", name, "package.json");
      found[name] = JSON.parse(fs.readFileSync(file, "utf8")).version;
    } catch (error) {
      found[name] = { missing: String(error.message).split("\n")[0] };
    }
  }
  if (found.eiows.missing) {
    found.eiows.missing += ` (${lockedEiows()})`;
  }
  return found;
}

const name = process.argv[2];
if (name === "versions") {
  console.log(JSON.stringify(versions()));
} else if (servers[name]) {
  const http = createServer();
  servers[name](http);
  http.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
} else {
  console.error(`usage: PORT=n node server.js ${Object.keys(servers).join("|")}|versions`);
  process.exit(2);
}
