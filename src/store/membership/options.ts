// What a member is told about its cluster, by flags or by the program that it is a part of.
import type { PeerOptions } from "../peer/transport.ts";

export interface ClusterOptions {
  /** The member's name. Default "default". */
  name?: string;
  /** Where other members reach this one. Default http://localhost:2380, as etcd's. */
  peerUrls?: readonly string[];
  /** NAME=URL,…; this member alone by default. */
  initialCluster?: string;
  /** "existing" joins one that this member has been added to. Default "new". */
  initialClusterState?: "new" | "existing";
  /** Keeps clusters with the same peer URLs apart. Default "etcd-cluster". */
  initialClusterToken?: string;
  /** Refuses changes of the members that could cost the quorum. Default true, as etcd's. */
  strictReconfigCheck?: boolean;
  /** Begins a cluster of this member alone, with the data that it has. */
  forceNewCluster?: boolean;
  /** How it listens for other members; by default it does not. */
  peer?: PeerOptions;
  /** Milliseconds between two heartbeats. Default 100. */
  heartbeatInterval?: number;
  /** Linearizable reads stand on the leader's lease, where it holds one, rather than on the word of a majority for each. */
  leaseReads?: boolean;
  /** Milliseconds after which a leader that is not heard of is given up. Default 1000. */
  electionTimeout?: number;
  /** Members without a vote that a cluster may have. Default 1, as etcd's. */
  maxLearners?: number;
  /** Compare with the others before serving anything. Default false, as etcd's. */
  initialCorruptCheck?: boolean;
  /** Milliseconds between two comparisons by the leader; 0 is never, as etcd's default. */
  corruptCheckTime?: number;
}

export const DEFAULT_NAME = "default";
export const DEFAULT_TOKEN = "etcd-cluster";
export const DEFAULT_PEER_URL = "http://localhost:2380";
export const DEFAULT_HEARTBEAT = 100;
export const DEFAULT_ELECTION = 1000;
