// The streaming protocols of exec, attach and port-forward.
export { kindOf, queryOf, refuse, type Upgrade } from "./accept.ts";
export { type ByteChannel, type ByteStream, copy } from "./bytes.ts";
export { type DialTarget, UpgradeRefused } from "./dial.ts";
export { dialExec, type RemoteCommand } from "./exec-client.ts";
export { acceptExec, type ExecSession, type Sink } from "./exec-server.ts";
export { dialPortForward, type ForwardedConnection, type PortForward } from "./portforward-client.ts";
export { acceptPortForward, type PortHandler } from "./portforward-server.ts";
export { type ExecStreams, execStreams, exitCode, exitStatus, failureStatus, type Status, SUCCESS, type TerminalSize } from "./protocol.ts";
export { proxyExec, proxyPortForward } from "./proxy.ts";
