// Certificates made by a process of its own: the library for them loads beside
// everything else that starts, and its memory goes when the process does.
import { type CertificateSpec, issue, type KeyPair } from "../../platform/certificate.ts";
import { selfCommand } from "./self.ts";

interface Question {
  id: number;
  spec: CertificateSpec;
  issuer?: KeyPair;
}

/** Questions that come before it listens are lost, so it says when it does. */
type Answer = { listening: true } | { id: number; pair: KeyPair } | { id: number; error: string };

interface Waiting extends PromiseWithResolvers<KeyPair> {
  question: Question;
}

export class IssuingProcess {
  readonly #waiting = new Map<number, Waiting>();
  #child: Bun.Subprocess | undefined;
  #listening = false;
  #last = 0;
  #gone: Promise<unknown> | undefined;

  /** As `issue` of platform/certificate.ts does; starts the process where there is none. */
  readonly issue = (spec: CertificateSpec, issuer?: KeyPair): Promise<KeyPair> => {
    const question: Question = { id: ++this.#last, spec, ...(issuer ? { issuer } : {}) };
    const waiting = { ...Promise.withResolvers<KeyPair>(), question };
    this.#waiting.set(question.id, waiting);
    this.#child ??= this.#spawn();
    if (this.#listening) this.#child.send(question);
    return waiting.promise;
  };

  /** Ends the process; another question would start a new one. Resolves when it is gone, and with it what it has open: the log. */
  async close(): Promise<void> {
    if (this.#child) {
      // It has nothing to lose.
      this.#child.kill("SIGKILL");
      this.#gone = this.#child.exited;
    }
    this.#child = undefined;
    this.#fail(new Error("the start ended before its certificates were made"));
    await this.#gone;
  }

  #spawn(): Bun.Subprocess {
    const child = Bun.spawn(selfCommand("up", "--issuing-child"), {
      stdio: ["ignore", "ignore", "inherit"],
      ipc: (answer: Answer) => {
        if (this.#child === child) this.#answered(answer);
      },
      onExit: (_, code, signal) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        this.#fail(new Error(`the process that makes certificates ended (${signal ?? code})`));
      },
    });
    this.#listening = false;
    return child;
  }

  #answered(answer: Answer): void {
    if ("listening" in answer) {
      this.#listening = true;
      for (const { question } of this.#waiting.values()) this.#child?.send(question);
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ("pair" in answer) waiting?.resolve(answer.pair);
    else waiting?.reject(new Error(answer.error));
  }

  #fail(error: Error): void {
    for (const w of this.#waiting.values()) w.reject(error);
    this.#waiting.clear();
  }
}

/** The other side: answers until whoever asks goes away. */
export async function answerQuestions(): Promise<void> {
  const gone = new Promise<void>((done) => process.once("disconnect", done));
  const tell = (answer: Answer) => void process.send!(answer);
  process.on("message", ({ id, spec, issuer }: Question) => {
    issue(spec, issuer).then(
      (pair) => tell({ id, pair }),
      (e: unknown) => tell({ id, error: e instanceof Error ? e.message : String(e) }),
    );
  });
  tell({ listening: true });
  await gone;
}
