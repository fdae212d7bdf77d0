/** What a request of HTTP/1.1 gets instead of an answer, and its connection with it. */
export class Refusal extends Error {
  readonly status: number;
  /** @param status 400 or larger */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
