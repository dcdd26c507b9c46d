// A mail server (npm smtp-server) on a free port of this computer. It prints
// {"port": N} first, then each letter as {"to": [...], "raw": "..."}.
// Argument: {"user", "password"}, or {} for one that wants neither.
import { SMTPServer } from "smtp-server";

const settings = JSON.parse(process.argv[2] ?? "{}");
const server = new SMTPServer({
  authOptional: !settings.user,
  allowInsecureAuth: true,
  disabledCommands: ["STARTTLS"],
  onAuth(auth, session, done) {
    if (auth.username === settings.user && auth.password === settings.password) return done(null, { user: auth.username });
    done(Object.assign(new Error("Authentication credentials invalid"), { responseCode: 535 }));
  },
  onData(stream, session, done) {
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => {
      console.log(JSON.stringify({ to: session.envelope.rcptTo.map((r) => r.address), raw: Buffer.concat(parts).toString() }));
      done();
    });
  },
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
