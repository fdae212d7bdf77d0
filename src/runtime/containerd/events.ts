// containerd tells of processes that ended, on the CRI's socket but outside the
// CRI: version 1.6 has none of the CRI's own events. The stream's end tells of
// containerd's own.
import { type Channel, createClient } from "../../rpc/client.ts";
import { Events } from "../../rpc/gen/containerd/events_pb.ts";
import { TaskExitSchema } from "../../rpc/gen/containerd/task_pb.ts";
import { fromBinary } from "../../rpc/protobuf.ts";
import { NAMESPACE } from "./store.ts";

const FILTERS = [`topic=="/tasks/exit",namespace==${NAMESPACE}`];

/** Yields the id of each container whose first process ended; sandboxes count. Ends or throws once containerd is gone. */
export async function* endedContainers(channel: Channel, signal: AbortSignal): AsyncGenerator<string> {
  for await (const { event } of createClient(Events, channel).subscribe({ filters: FILTERS }, { signal })) {
    if (event === undefined) continue;
    const { containerId, id } = fromBinary(TaskExitSchema, event.value);
    if (id === containerId) yield containerId;
  }
}
