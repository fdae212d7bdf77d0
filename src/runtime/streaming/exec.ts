// A command in a container, between a client's streams and the OCI runtime.
import type { ExecSession, Sink } from "../../rpc/remotecommand/exec-server.ts";
import { exitStatus, failureStatus } from "../../rpc/remotecommand/protocol.ts";
import { type ExecTarget, prepareExec, type Session } from "../container/exec.ts";
import { message } from "../errors.ts";

export interface ExecRequest {
  target: ExecTarget;
  cmd: readonly string[];
  tty: boolean;
}

/** Runs the command and tells the client how it ended. Never rejects. */
export async function serveExec(client: ExecSession, request: ExecRequest): Promise<void> {
  let session: Session | undefined;
  try {
    session = prepareExec(request.target, request.cmd, request.tty);
    const code = request.tty ? await inTerminal(client, session) : await overPipes(client, session);
    const failure = session.failure(code);
    client.finish(failure === undefined ? exitStatus(code) : failureStatus(`error executing command in container: ${failure}`));
  } catch (error) {
    client.finish(failureStatus(message(error)));
  } finally {
    session?.cleanup();
  }
}

async function copyOut(from: ReadableStream<Uint8Array>, to: Sink | undefined): Promise<void> {
  for await (const chunk of from) await to?.write(chunk);
}

async function overPipes(client: ExecSession, session: Session): Promise<number> {
  const child = Bun.spawn(session.argv, { stdin: client.stdin ? "pipe" : "ignore", stdout: "pipe", stderr: "pipe" });
  const gone = () => {
    session.kill();
    child.kill("SIGKILL");
  };
  client.signal.addEventListener("abort", gone);
  const { stdin } = child;
  if (client.stdin !== undefined && stdin !== undefined) {
    void (async () => {
      try {
        for await (const chunk of client.stdin!) {
          stdin.write(chunk);
          await stdin.flush();
        }
        await stdin.end();
      } catch (error) {
        // A command may close its input before the client is through with it.
        if ((error as NodeJS.ErrnoException).code !== "EPIPE") client.finish(failureStatus(message(error)));
      }
    })();
  }
  try {
    const [code] = await Promise.all([child.exited, copyOut(child.stdout, client.stdout), copyOut(child.stderr, client.stderr)]);
    return code;
  } finally {
    client.signal.removeEventListener("abort", gone);
  }
}

async function inTerminal(client: ExecSession, session: Session): Promise<number> {
  const drained = Promise.withResolvers<void>();
  let sent: Promise<void> = Promise.resolve();
  const child = Bun.spawn(session.argv, {
    terminal: {
      data(_, data) {
        // The buffer belongs to the terminal, and what waits in the queue must stay.
        const copy = data.slice();
        sent = sent.then(() => client.stdout?.write(copy));
      },
      exit: () => drained.resolve(),
    },
  });
  const terminal = child.terminal!;
  const gone = () => {
    session.kill();
    child.kill("SIGKILL");
  };
  client.signal.addEventListener("abort", gone);
  void (async () => {
    for await (const { width, height } of client.resize ?? [])
      if (!terminal.closed && width > 0 && height > 0) terminal.resize(width, height);
  })().catch(() => terminal.close());
  void (async () => {
    for await (const chunk of client.stdin ?? []) if (!terminal.closed) terminal.write(chunk);
  })().catch(() => terminal.close());
  try {
    const code = await child.exited;
    await drained.promise;
    await sent;
    return code;
  } finally {
    client.signal.removeEventListener("abort", gone);
    terminal.close();
  }
}
