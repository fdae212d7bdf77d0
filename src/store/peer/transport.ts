// The other members, as this one reaches them and is reached by them.

import { logger } from "../../platform/log.ts";
import type { Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import type { RpcListener } from "../../rpc/server.ts";
import type { Address, Client, RpcError, TlsClientOptions, TlsServerOptions } from "../../rpc/types.ts";
import type { Network } from "../consensus.ts";
import type { ClusterMember } from "../membership/members.ts";
import type { Message, Propose } from "../raft/messages.ts";
import type { Identity } from "../wal/format.ts";
import type { AllowedCertificates } from "./certificate.ts";
import { identityHeaders, REMOVED } from "./identity.ts";
import type { PeerLink } from "./link.ts";
import type { PeerMetrics } from "./metrics.ts";
import type { SnapshotSource } from "./snapshot.ts";

export interface PeerOptions {
  /** Where the other members reach this one. */
  readonly listen: readonly Address[];
  readonly tls?: TlsServerOptions;
  /** What this member shows the others, and which of them it trusts. */
  readonly clientTls?: TlsClientOptions;
  /** What the members' certificates have to say; anything by default. */
  readonly allowed?: AllowedCertificates;
}

export interface TransportEvents extends SnapshotSource {
  unreachable(id: bigint): void;
  /** There is no connection to the leader. */
  unsent(message: Propose): void;
  snapshotSent(id: bigint, ok: boolean): void;
  /** Another says that this member is none any more. */
  removed(by: bigint): void;
  /** Whether the state says that it was a member, and is none any more. */
  wasRemoved(id: bigint): boolean;
}

/** Milliseconds for the word that this member is about to stop. */
const TELL = 1000;
/** Who does not hear of it notices when it is gone. */
const unheard = (error: unknown) => logger("etcd").info("A peer was not told that this member stops", { error: String(error) }, 2);

export class Transport implements Network {
  readonly #identity: Identity;
  readonly #tls: TlsClientOptions | undefined;
  readonly #silence: number;
  readonly #events: TransportEvents;
  readonly #metrics: PeerMetrics;
  readonly #links = new Map<bigint, PeerLink>();
  /**
   * Where those who spoke to this one are reached. Who was away, or has an older snapshot, knows of a newer member,
   * such as the leader, only once it has answered it.
   */
  readonly #callers = new Map<bigint, readonly string[]>();
  readonly #sending = new Set<bigint>();
  #members: readonly ClusterMember[] = [];
  #module: typeof import("./link.ts") | undefined;
  #loading: Promise<void> | undefined;
  #closed = false;
  /** That this member will stop. */
  #told = false;
  listeners: RpcListener[] = [];

  /** @param silence milliseconds after which a connection without an answer is given up */
  constructor(identity: Identity, tls: TlsClientOptions | undefined, silence: number, events: TransportEvents, metrics: PeerMetrics) {
    this.#identity = identity;
    this.#tls = tls;
    this.#silence = silence;
    this.#events = events;
    this.#metrics = metrics;
  }

  /** Connects to who is a member now, or has spoken to this one and was not removed, and to nobody else. */
  configure(members: readonly ClusterMember[]): void {
    this.#members = members;
    for (const id of this.#callers.keys()) if (this.#events.wasRemoved(id)) this.#callers.delete(id);
    if (this.#module) return this.#connect(this.#module);
    // A member that is alone loads nothing of this.
    if (this.#callers.size === 0 && members.every((m) => m.id === this.#identity.memberId)) return;
    this.#loading ??= import("./link.ts").then((module) => {
      this.#module = module;
      if (!this.#closed) this.#connect(module);
    });
  }

  /** A member speaks to this one, and says where it is reached itself. */
  calledBy(id: bigint, urls: readonly string[]): void {
    if (this.#closed || id === this.#identity.memberId || urls.length === 0) return;
    this.#callers.set(id, urls);
    if (!this.#links.has(id)) this.configure(this.#members);
  }

  #connect(module: typeof import("./link.ts")): void {
    const wanted = new Map(this.#callers);
    for (const { id, peerUrls } of this.#members) {
      if (id !== this.#identity.memberId && peerUrls.length > 0) wanted.set(id, peerUrls);
    }
    for (const [id, link] of this.#links) {
      if (wanted.get(id)?.join() === link.options.urls.join()) continue;
      this.#links.delete(id);
      // What is under way, such as the word that it was removed, may still arrive.
      setTimeout(() => link.close(), 1000).unref();
    }
    for (const [id, urls] of wanted) if (!this.#links.has(id)) this.#links.set(id, this.#link(module, id, urls));
  }

  send(messages: readonly Message[]): void {
    for (const message of messages) {
      const link = this.#links.get(message.to);
      if (!link) continue;
      if (message.type === "snapshot") this.#sendSnapshot(link, message.to, message.term);
      else if (message.type === "propose" && link.connectedSince === undefined) this.#events.unsent(message);
      else link.send(message);
    }
    for (const link of this.#links.values()) link.flush();
  }

  connectedSince(id: bigint): number | undefined {
    return this.#links.get(id)?.connectedSince;
  }

  stopping(id: bigint): boolean {
    return this.#links.get(id)?.stopping === true;
  }

  /** A member has said that it is about to stop. */
  stoppingAt(id: bigint): void {
    const link = this.#links.get(id);
    if (link) link.stopping = true;
  }

  /** Tells the others that this member is about to stop; they need not answer. Idempotent. */
  tellStopping(): void {
    if (this.#told) return;
    this.#told = true;
    for (const link of this.#links.values()) {
      if (link.connectedSince !== undefined) link.peer.reportStopping({}, { timeout: TELL }).catch(unheard);
    }
  }

  /** Tells a member that this one, which was removed, is about to stop; `removed` says whether it knows. */
  takeLeave(id: bigint): void {
    const peer = this.#links.get(id)?.peer;
    peer?.reportStopping({}, { timeout: TELL }).catch((error: RpcError) => {
      if (error.message === REMOVED) this.#events.removed(id);
      else unheard(error);
    });
  }

  /** The members that are connected now. */
  get connected(): bigint[] {
    return [...this.#links].filter(([, link]) => link.connectedSince !== undefined).map(([id]) => id);
  }

  /** The others, by id. */
  get links(): ReadonlyMap<bigint, PeerLink> {
    return this.#links;
  }

  /** What a member answers; undefined if it is none. */
  peer(id: bigint): Client<typeof Peer> | undefined {
    return this.#links.get(id)?.peer;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    await Promise.all(this.listeners.splice(0).map((l) => l.close()));
  }

  #link({ PeerLink }: typeof import("./link.ts"), id: bigint, urls: readonly string[]): PeerLink {
    return new PeerLink({
      id,
      urls,
      tls: this.#tls,
      silence: this.#silence,
      headers: identityHeaders(this.#identity, id, this.#members.find((m) => m.id === this.#identity.memberId)?.peerUrls),
      unreachable: () => this.#events.unreachable(id),
      roundTrip: (seconds) => this.#metrics.roundTrip.observe(seconds, { To: id.toString(16) }),
      refused: (error: RpcError) => {
        if (error.message === REMOVED) this.#events.removed(id);
      },
    });
  }

  #sendSnapshot(link: PeerLink, id: bigint, term: number): void {
    if (this.#sending.has(id)) return;
    this.#sending.add(id);
    this.#metrics
      .sending(id, () => link.sendSnapshot(this.#events, { ...this.#identity, to: id, term }))
      .then(
        () => true,
        (error: unknown) => {
          this.#events.snapshotFailed(id, error);
          return false;
        },
      )
      .then((ok) => {
        this.#sending.delete(id);
        this.#events.snapshotSent(id, ok);
      });
  }
}
