// What a SETTINGS frame says (RFC 9113, section 6.5.2), and how a connection begins.
import { ErrorCode, Http2Error } from "./errors.ts";
import { DEFAULT_FRAME_SIZE, DEFAULT_WINDOW, FrameType, MAX_WINDOW, PREFACE, Setting, settingsFrame, uint32, wordFrame } from "./frame.ts";
import type { Output } from "./output.ts";

export const OUR_FRAME_SIZE = 65536;

export interface OurSettings {
  /** Streams that a client may have open; a server opens none. */
  maxStreams: number;
  /** Bytes. */
  streamWindow: number;
  connectionWindow: number;
  maxHeaderListSize: number;
}

/** Writes what either side begins with (section 3.4), and how much it takes. */
export function greet(
  output: Output,
  client: boolean,
  { maxStreams, streamWindow, connectionWindow, maxHeaderListSize }: OurSettings,
): void {
  if (client) output.append(PREFACE);
  settingsFrame(output, [
    client ? [Setting.ENABLE_PUSH, 0] : [Setting.MAX_CONCURRENT_STREAMS, maxStreams],
    [Setting.INITIAL_WINDOW_SIZE, streamWindow],
    [Setting.MAX_FRAME_SIZE, OUR_FRAME_SIZE],
    [Setting.MAX_HEADER_LIST_SIZE, maxHeaderListSize],
  ]);
  const more = connectionWindow - DEFAULT_WINDOW;
  if (more > 0) wordFrame(output, FrameType.WINDOW_UPDATE, 0, more);
}

/** The values of one frame; undefined is not in it. */
export interface PeerSettings {
  headerTableSize?: number;
  maxConcurrentStreams?: number;
  initialWindowSize?: number;
  maxFrameSize?: number;
  maxHeaderListSize?: number;
  /** The smallest of several header table sizes: the encoder has to have been down there (RFC 7541, section 4.2). */
  smallestHeaderTableSize?: number;
}

/** Reads [start, end) of `b`, where a later value of a setting takes the place of an earlier one. Throws Http2Error. */
export function readSettings(b: Uint8Array, start: number, end: number, fromServer: boolean): PeerSettings {
  const settings: PeerSettings = {};
  for (let at = start; at < end; at += 6) {
    const value = uint32(b, at + 2);
    switch ((b[at]! << 8) | b[at + 1]!) {
      case Setting.HEADER_TABLE_SIZE:
        settings.headerTableSize = value;
        settings.smallestHeaderTableSize = Math.min(value, settings.smallestHeaderTableSize ?? value);
        break;
      case Setting.ENABLE_PUSH:
        if (value > (fromServer ? 0 : 1)) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `ENABLE_PUSH of ${value}`);
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        settings.maxConcurrentStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large");
        settings.initialWindowSize = value;
        break;
      case Setting.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_SIZE || value > 0xffffff) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "wrong MAX_FRAME_SIZE");
        settings.maxFrameSize = value;
        break;
      case Setting.MAX_HEADER_LIST_SIZE:
        settings.maxHeaderListSize = value;
        break;
    }
  }
  return settings;
}
