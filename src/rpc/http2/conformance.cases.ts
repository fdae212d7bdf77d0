// A row a case: what a client sends after its preface, and what comes back but
// for the greeting; "closed" is the end of the connection.
import { Flag, type Frames, FrameType, Setting } from "../testing/raw-http2.ts";

export const request = (path = "/", ...more: string[]) => [":method", "POST", ":scheme", "http", ":path", path, ":authority", "a", ...more];
const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType;
const { END_STREAM, END_HEADERS, PADDED, ACK } = Flag;

const goaway = (code: string) => [`GOAWAY ${code}`, "closed"];
const OK = ["HEADERS 1 200", "DATA 1 END_STREAM"];
const PROTOCOL = goaway("PROTOCOL_ERROR");
const SIZE = goaway("FRAME_SIZE_ERROR");
const reset = (code: string, id = 1) => [`RST_STREAM ${id} ${code}`];
/** A field as a literal without indexing, unchecked and without Huffman. */
const literal = (name: string, value: string) => [
  0,
  name.length,
  ...Buffer.from(name, "latin1"),
  value.length,
  ...Buffer.from(value, "latin1"),
];
const withField = (name: string, value: string) => (f: Frames) =>
  void f.frame(HEADERS, END_STREAM | END_HEADERS, 1, [...f.block(request()), ...literal(name, value)]);
const only =
  (...fields: string[]) =>
  (f: Frames) =>
    void f.headers(1, fields);

export type Row = [section: string, what: string, build: (f: Frames) => void, outcome: string[], settings?: [number, number][]];

export const ROWS: Row[] = [
  ["3.4", "a preface and a request", (f) => f.headers(1, request()), OK],
  ["4.1", "a frame of an unknown type is ignored", (f) => f.frame(0x42, 0xff, 7, [1, 2, 3]).headers(1, request()), OK],
  ["4.1", "flags without a meaning are ignored", (f) => f.frame(PING, 0xfe, 0, new Uint8Array(8)).headers(1, request()), OK],
  ["4.1", "the reserved bit of a stream's id is ignored", (f) => f.frame(HEADERS, 5, 0x80000001, f.block(request())), OK],
  ["4.2", "a frame of the largest size", (f) => f.headers(1, request(), END_HEADERS).data(1, 65_536, true), OK],
  ["4.2", "a DATA frame over the largest size", (f) => f.headers(1, request(), END_HEADERS).data(1, 65_537), SIZE],
  ["4.2", "a HEADERS frame over the largest size", (f) => f.frame(HEADERS, 5, 1, new Uint8Array(65_537)), SIZE],
  ["4.3", "a header block that is no HPACK", (f) => f.frame(HEADERS, 5, 1, [0x80]), goaway("COMPRESSION_ERROR")],
  ["4.3", "PRIORITY within a header block", (f) => f.headers(1, request(), END_STREAM).words(PRIORITY, 1, 0), PROTOCOL],
  ["4.3", "an unknown frame within a header block", (f) => f.headers(1, request(), END_STREAM).frame(0x42, 0, 1), PROTOCOL],
  ["4.3", "another stream's HEADERS within a header block", (f) => f.headers(1, request(), 1).headers(3, request()), PROTOCOL],
  ["5.1", "DATA of an idle stream", (f) => f.data(1, 1), PROTOCOL],
  ["5.1", "RST_STREAM of an idle stream", (f) => f.words(RST_STREAM, 1, 8), PROTOCOL],
  ["5.1", "WINDOW_UPDATE of an idle stream", (f) => f.words(WINDOW_UPDATE, 1, 8), PROTOCOL],
  ["5.1", "CONTINUATION of an idle stream", (f) => f.frame(CONTINUATION, 4, 1), PROTOCOL],
  ["5.1", "PRIORITY of an idle stream is ignored", (f) => f.frame(PRIORITY, 0, 5, [0, 0, 0, 0, 1]).headers(1, request()), OK],
  ["5.1", "DATA on a half-closed stream", (f) => f.headers(1, request("/hold")).data(1, 1), reset("STREAM_CLOSED")],
  ["5.1", "HEADERS on a half-closed stream", (f) => f.headers(1, request("/hold")).headers(1, request()), reset("STREAM_CLOSED")],
  [
    "5.1",
    "WINDOW_UPDATE, PRIORITY and RST_STREAM on a half-closed stream",
    (f) => f.headers(1, request("/hold")).words(WINDOW_UPDATE, 1, 9).frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1]).words(RST_STREAM, 1, 8),
    [],
  ],
  [
    "5.1",
    "DATA after the peer's own RST_STREAM",
    (f) => f.headers(1, request("/hold"), 4).words(RST_STREAM, 1, 8).data(1, 1),
    reset("STREAM_CLOSED"),
  ],
  [
    "5.1",
    "HEADERS after the peer's own RST_STREAM",
    (f) => f.headers(1, request("/hold"), 4).words(RST_STREAM, 1, 8).headers(1, request()),
    reset("STREAM_CLOSED"),
  ],
  ["5.1", "DATA on a stream that has ended", (f) => f.headers(1, request()).data(1, 1), [...OK, ...goaway("STREAM_CLOSED")]],
  ["5.1", "HEADERS on a stream that has ended", (f) => f.headers(1, request()).headers(1, request()), [...OK, ...goaway("STREAM_CLOSED")]],
  [
    "5.1",
    "WINDOW_UPDATE and RST_STREAM on a stream that has ended",
    (f) => f.headers(1, request()).words(WINDOW_UPDATE, 1, 1).words(RST_STREAM, 1, 8),
    OK,
  ],
  [
    "5.1",
    "DATA that crosses our RST_STREAM is ignored",
    (f) =>
      f
        .headers(1, request("/", "connection", "close"), 4)
        .data(1, 10, true)
        .headers(3, request()),
    [...reset("PROTOCOL_ERROR"), "HEADERS 3 200", "DATA 3 END_STREAM"],
  ],
  ["5.1.1", "an even stream", (f) => f.headers(2, request()), PROTOCOL],
  ["5.1.1", "a stream below the last", (f) => f.headers(5, request("/hold")).headers(3, request()), PROTOCOL],
  ["5.1.2", "one stream more than allowed", (f) => f.times(11, (i) => f.headers(1 + 2 * i, request("/hold"))), reset("REFUSED_STREAM", 21)],
  [
    "5.3.2",
    "a stream that depends on itself is as any other",
    (f) => f.frame(HEADERS, 0x25, 1, [0, 0, 0, 1, 9, ...f.block(request())]),
    OK,
  ],
  ["5.5", "an unknown setting is ignored", (f) => f.settings([[0xff, 7]]).headers(1, request()), OK],
  ["6.1", "DATA of stream 0", (f) => f.data(0, 1), PROTOCOL],
  ["6.1", "padding in DATA", (f) => f.headers(1, request(), 4).frame(DATA, PADDED | END_STREAM, 1, [3, 65, 0, 0, 0]), OK],
  ["6.1", "padding as long as its DATA frame", (f) => f.headers(1, request(), 4).frame(DATA, PADDED, 1, [3, 0, 0]), PROTOCOL],
  ["6.1", "DATA with padding and without its length", (f) => f.headers(1, request(), 4).frame(DATA, PADDED, 1, []), SIZE],
  ["6.2", "HEADERS of stream 0", (f) => f.headers(0, request()), PROTOCOL],
  ["6.2", "padding and priority in HEADERS", (f) => f.frame(HEADERS, 0x2d, 1, [2, 0, 0, 0, 0, 1, ...f.block(request()), 0, 0]), OK],
  ["6.2", "padding as long as its HEADERS frame", (f) => f.frame(HEADERS, 0xd, 1, [9, ...f.block([":status", "200"])]), PROTOCOL],
  ["6.2", "HEADERS too short for their priority", (f) => f.frame(HEADERS, 0x25, 1, [0, 0]), SIZE],
  ["6.3", "PRIORITY of stream 0", (f) => f.frame(PRIORITY, 0, 0, [0, 0, 0, 0, 1]), PROTOCOL],
  ["6.3", "PRIORITY of 4 bytes", (f) => f.frame(PRIORITY, 0, 1, [0, 0, 0, 0]), SIZE],
  ["6.4", "RST_STREAM of stream 0", (f) => f.words(RST_STREAM, 0, 8), PROTOCOL],
  ["6.4", "RST_STREAM of 3 bytes", (f) => f.headers(1, request("/hold")).frame(RST_STREAM, 0, 1, [0, 0, 0]), SIZE],
  ["6.5", "an ACK of SETTINGS with a payload", (f) => f.frame(SETTINGS, ACK, 0, [0, 0, 0, 0, 0, 0]), SIZE],
  ["6.5", "SETTINGS of a stream", (f) => f.frame(SETTINGS, 0, 1), PROTOCOL],
  ["6.5", "SETTINGS of 5 bytes", (f) => f.frame(SETTINGS, 0, 0, [0, 0, 0, 0, 0]), SIZE],
  ["6.5.2", "ENABLE_PUSH of 2", (f) => f.settings([[Setting.ENABLE_PUSH, 2]]), PROTOCOL],
  [
    "6.5.2",
    "INITIAL_WINDOW_SIZE over 2^31-1",
    (f) => f.settings([[Setting.INITIAL_WINDOW_SIZE, 0x80000000]]),
    goaway("FLOW_CONTROL_ERROR"),
  ],
  ["6.5.2", "MAX_FRAME_SIZE of 16 383", (f) => f.settings([[Setting.MAX_FRAME_SIZE, 16_383]]), PROTOCOL],
  ["6.5.2", "MAX_FRAME_SIZE of 2^24", (f) => f.settings([[Setting.MAX_FRAME_SIZE, 1 << 24]]), PROTOCOL],
  ["6.6", "PUSH_PROMISE of a client", (f) => f.frame(PUSH_PROMISE, 4, 1, [0, 0, 0, 2]), PROTOCOL],
  ["6.7", "PING of a stream", (f) => f.frame(PING, 0, 1, new Uint8Array(8)), PROTOCOL],
  ["6.7", "PING of 6 bytes", (f) => f.frame(PING, 0, 0, new Uint8Array(6)), SIZE],
  ["6.7", "an ACK of no PING is not answered", (f) => f.frame(PING, ACK, 0, [1, 0, 0, 0, 0, 0, 0, 1]).headers(1, request()), OK],
  ["6.8", "GOAWAY of a stream", (f) => f.frame(GOAWAY, 0, 1, new Uint8Array(8)), PROTOCOL],
  ["6.8", "GOAWAY of 4 bytes", (f) => f.frame(GOAWAY, 0, 0, new Uint8Array(4)), SIZE],
  ["6.8", "GOAWAY lets what runs end", (f) => f.headers(1, request("/hold"), 4).words(GOAWAY, 0, 0, 0).data(1, 1), []],
  ["6.9", "WINDOW_UPDATE of 0 for the connection", (f) => f.words(WINDOW_UPDATE, 0, 0), PROTOCOL],
  ["6.9", "WINDOW_UPDATE of 0 for a stream", (f) => f.headers(1, request("/hold")).words(WINDOW_UPDATE, 1, 0), reset("PROTOCOL_ERROR")],
  ["6.9", "WINDOW_UPDATE of 3 bytes", (f) => f.frame(WINDOW_UPDATE, 0, 0, [0, 0, 1]), SIZE],
  ["6.9.1", "a connection's window over 2^31-1", (f) => f.words(WINDOW_UPDATE, 0, 0x7fffffff), goaway("FLOW_CONTROL_ERROR")],
  [
    "6.9.1",
    "a stream's window over 2^31-1",
    (f) => f.headers(1, request("/hold")).words(WINDOW_UPDATE, 1, 0x7fffffff),
    reset("FLOW_CONTROL_ERROR"),
  ],
  [
    "6.9.1",
    "more data than the stream's window",
    (f) => f.headers(1, request("/full"), 4).times(7, () => f.data(1, 16_384)),
    reset("FLOW_CONTROL_ERROR"),
  ],
  [
    "6.9.2",
    "a window that SETTINGS make too large",
    (f) =>
      f
        .headers(1, request("/hold"))
        .words(WINDOW_UPDATE, 1, 100)
        .settings([[Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]]),
    goaway("FLOW_CONTROL_ERROR"),
  ],
  [
    "6.10",
    "CONTINUATION frames, the empty ones too",
    (f) => f.frame(HEADERS, 1, 1, f.block(request())).frame(CONTINUATION, 0, 1).frame(CONTINUATION, 4, 1),
    OK,
  ],
  ["6.10", "CONTINUATION of another stream", (f) => f.headers(1, request(), 1).frame(CONTINUATION, 4, 3), PROTOCOL],
  ["6.10", "CONTINUATION of stream 0", (f) => f.headers(1, request(), 1).frame(CONTINUATION, 4, 0), PROTOCOL],
  ["6.10", "CONTINUATION after a whole block", (f) => f.headers(1, request("/hold")).frame(CONTINUATION, 4, 1), PROTOCOL],
  ["6.10", "CONTINUATION after DATA", (f) => f.headers(1, request(), 4).data(1, 1).frame(CONTINUATION, 4, 1), PROTOCOL],
  [
    "7",
    "an unknown error code ends the stream as any other",
    (f) => f.headers(1, request("/hold")).words(RST_STREAM, 1, 0xff).headers(3, request()),
    ["HEADERS 3 200", "DATA 3 END_STREAM"],
  ],
  ["8.1", "trailers", (f) => f.headers(1, request(), 4).data(1, 5).headers(1, ["x-end", "1"]), OK],
  ["8.1", "HEADERS in the middle of a request", (f) => f.headers(1, request(), 4).headers(1, ["x-end", "1"], 4), reset("PROTOCOL_ERROR")],
  ["8.1", "a pseudo-header field in trailers", (f) => f.headers(1, request(), 4).headers(1, [":method", "GET"]), reset("PROTOCOL_ERROR")],
  [
    "8.1.1",
    "content-length and a body as long",
    (f) =>
      f
        .headers(1, request("/", "content-length", "5"), 4)
        .data(1, 2)
        .data(1, 3, true),
    OK,
  ],
  [
    "8.1.1",
    "a body longer than content-length",
    (f) => f.headers(1, request("/", "content-length", "1"), 4).data(1, 2, true),
    reset("PROTOCOL_ERROR"),
  ],
  [
    "8.1.1",
    "a body shorter than content-length",
    (f) => f.headers(1, request("/", "content-length", "3"), 4).data(1, 2, true),
    reset("PROTOCOL_ERROR"),
  ],
  [
    "8.1.1",
    "a body that trailers end too early",
    (f) =>
      f
        .headers(1, request("/", "content-length", "3"), 4)
        .data(1, 2)
        .headers(1, ["x", "1"]),
    reset("PROTOCOL_ERROR"),
  ],
  ["8.1.1", "content-length without a body", only(...request("/", "content-length", "3")), reset("PROTOCOL_ERROR")],
  ["8.1.1", "two lengths", only(...request("/", "content-length", "0", "content-length", "1")), reset("PROTOCOL_ERROR")],
  ["8.2.1", "an upper-case field name", withField("X-A", "1"), reset("PROTOCOL_ERROR")],
  ["8.2.1", "a field name with a space", withField("x a", "1"), reset("PROTOCOL_ERROR")],
  ["8.2.1", "a field name of no length", withField("", "1"), reset("PROTOCOL_ERROR")],
  ["8.2.1", "a line break in a value", withField("x-a", "1\r\nx-b: 2"), reset("PROTOCOL_ERROR")],
  ["8.2.1", "a zero byte in a value", withField("x-a", "\0"), reset("PROTOCOL_ERROR")],
  ["8.2.1", "a space before a value", withField("x-a", " 1"), reset("PROTOCOL_ERROR")],
  [
    "8.2.1",
    "a wrong field that comes again through the table",
    (f) =>
      f
        .frame(HEADERS, 5, 1, [...f.block(request()), 0x40, 1, 0x41, 1, 0x41])
        .frame(HEADERS, 5, 3, [...f.block([":method", "POST", ":scheme", "http", ":path", "/"]), 0x80 | 62]),
    [...reset("PROTOCOL_ERROR"), ...reset("PROTOCOL_ERROR", 3)],
  ],
  ["8.2.2", "connection: close", withField("connection", "close"), reset("PROTOCOL_ERROR")],
  ["8.2.2", "transfer-encoding", withField("transfer-encoding", "chunked"), reset("PROTOCOL_ERROR")],
  ["8.2.2", "te other than trailers", withField("te", "gzip"), reset("PROTOCOL_ERROR")],
  ["8.2.2", "te: trailers", withField("te", "trailers"), OK],
  ["8.3", "an unknown pseudo-header field", withField(":x", "1"), reset("PROTOCOL_ERROR")],
  ["8.3", "a pseudo-header field after another field", only("x-a", "1", ...request()), reset("PROTOCOL_ERROR")],
  ["8.3", "a pseudo-header field of responses", only(":status", "200", ...request()), reset("PROTOCOL_ERROR")],
  ["8.3.1", "no :method", only(":scheme", "http", ":path", "/"), reset("PROTOCOL_ERROR")],
  ["8.3.1", "no :scheme", only(":method", "GET", ":path", "/"), reset("PROTOCOL_ERROR")],
  ["8.3.1", "no :path", only(":method", "GET", ":scheme", "http"), reset("PROTOCOL_ERROR")],
  ["8.3.1", "an empty :path", only(":method", "GET", ":scheme", "http", ":path", ""), reset("PROTOCOL_ERROR")],
  ["8.3.1", "a :path without a slash", only(":method", "GET", ":scheme", "http", ":path", "x"), reset("PROTOCOL_ERROR")],
  ["8.3.1", "OPTIONS *", only(":method", "OPTIONS", ":scheme", "http", ":path", "*"), OK],
  ["8.3.1", "two :method", only(":method", "GET", ...request()), reset("PROTOCOL_ERROR")],
  ["8.5", "CONNECT with :path", only(":method", "CONNECT", ":path", "/", ":authority", "a"), reset("PROTOCOL_ERROR")],
  ["8.5", "CONNECT", only(":method", "CONNECT", ":authority", "a:1"), OK],
  [
    "8.7",
    "a header list over the limit is answered with 431",
    only(...request(), "x-long", "y".repeat(16_384)),
    ["HEADERS 1 END_STREAM 431"],
  ],
  [
    "10.5.1",
    "more header fields than the client takes",
    (f) => f.headers(1, request()),
    reset("INTERNAL_ERROR"),
    [[Setting.MAX_HEADER_LIST_SIZE, 40]],
  ],
  [
    "7541 4.2",
    "a table size over the limit",
    (f) => f.frame(HEADERS, 5, 1, [0x3f, 0xe2, 0x1f, ...f.block(request())]),
    goaway("COMPRESSION_ERROR"),
  ],
  ["7541 4.2", "a table size after a field", (f) => f.frame(HEADERS, 5, 1, [...f.block(request()), 0x20]), goaway("COMPRESSION_ERROR")],
  [
    "7541 2.3.3",
    "an index beyond the table",
    (f) => f.frame(HEADERS, 5, 1, [...f.block(request()), 0x80 | 100]),
    goaway("COMPRESSION_ERROR"),
  ],
  [
    "7541 5.1",
    "an integer without end",
    (f) => f.frame(HEADERS, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
    goaway("COMPRESSION_ERROR"),
  ],
  [
    "7541 5.2",
    "Huffman padding longer than 7 bits",
    (f) => f.frame(HEADERS, 5, 1, [0x00, 0x82, 0x1f, 0xff, 0x01, 0x41]),
    goaway("COMPRESSION_ERROR"),
  ],
  ["7541 5.2", "Huffman padding of zeros", (f) => f.frame(HEADERS, 5, 1, [0x00, 0x81, 0x18, 0x01, 0x41]), goaway("COMPRESSION_ERROR")],
  [
    "7541 5.2",
    "EOS in a string",
    (f) => f.frame(HEADERS, 5, 1, [0x00, 0x84, 0xff, 0xff, 0xff, 0xfc, 0x01, 0x41]),
    goaway("COMPRESSION_ERROR"),
  ],
  [
    "7541 6.3",
    "a block that ends within a field",
    (f) => f.frame(HEADERS, 5, 1, [...f.block(request()), 0x40]),
    goaway("COMPRESSION_ERROR"),
  ],
];
