// cbor-x without the native addon that npm may have compiled for Node beside
// it: on Bun that addon crashes the process now and then.
import "./cbor-environment.ts";

export { Decoder, Encoder, Tag } from "cbor-x";
