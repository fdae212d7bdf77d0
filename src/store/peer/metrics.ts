// What is measured between members: what happens seldom. Bytes are counted
// where they pass, in plain fields (PeerLink, MemberMetrics.peerReceived).
import { exponentialBounds, type Histogram, type MetricSet, type Value } from "../../platform/metrics.ts";

interface SnapshotCounts {
  readonly inflights: Value;
  readonly success: Value;
  readonly failures: Value;
  readonly seconds: Histogram;
}

export class PeerMetrics {
  readonly #set: MetricSet;
  readonly roundTrip: Histogram;
  readonly receiveFailures: Value;
  readonly #sent: SnapshotCounts;
  readonly #received: SnapshotCounts;

  constructor(set: MetricSet) {
    this.#set = set;
    this.roundTrip = set.histogram(
      "etcd_network_peer_round_trip_time_seconds",
      "Round-Trip-Time histogram between peers",
      exponentialBounds(0.0001, 2, 16),
    );
    this.receiveFailures = set.counter("etcd_network_peer_received_failures_total", "The total number of receive failures from peers.");
    this.#sent = this.#snapshots("send", "sends");
    this.#received = this.#snapshots("receive", "receives");
  }

  /** Runs what sends a snapshot to a member. */
  sending<T>(to: bigint, run: () => Promise<T>): Promise<T> {
    return this.#counted(this.#sent, { To: to.toString(16) }, run);
  }

  /** Runs what receives one. */
  receiving<T>(from: bigint, run: () => Promise<T>): Promise<T> {
    return this.#counted(this.#received, { From: from.toString(16) }, run);
  }

  #snapshots(way: "send" | "receive", verb: string): SnapshotCounts {
    const name = `etcd_network_snapshot_${way}`;
    return {
      inflights: this.#set.gauge(`${name}_inflights_total`, `Total number of inflight snapshot ${verb}`),
      success: this.#set.counter(`${name}_success`, `Total number of successful snapshot ${verb}`),
      failures: this.#set.counter(`${name}_failures`, `Total number of snapshot ${way} failures`),
      seconds: this.#set.histogram(
        `${name}_total_duration_seconds`,
        `Total latency distributions of v3 snapshot ${verb}`,
        exponentialBounds(0.1, 2, 10),
      ),
    };
  }

  async #counted<T>(counts: SnapshotCounts, labels: Record<string, string>, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    counts.inflights.inc(1, labels);
    try {
      const done = await run();
      counts.success.inc(1, labels);
      counts.seconds.observe((performance.now() - start) / 1000, labels);
      return done;
    } catch (error) {
      counts.failures.inc(1, labels);
      throw error;
    } finally {
      counts.inflights.inc(-1, labels);
    }
  }
}
