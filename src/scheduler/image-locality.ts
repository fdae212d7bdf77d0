// Score for nodes that hold the pod's images already (ImageLocality).
import type * as coreV1 from "../api/gen/core/v1.ts";
import type { Cache } from "./cache.ts";

const mebibyte = 1024 * 1024;
const least = 23 * mebibyte;
const mostPerContainer = 1000 * mebibyte;

/** A name without tag or digest means :latest. */
function normalized(image: string): string {
  return image.lastIndexOf(":") <= image.lastIndexOf("/") ? `${image}:latest` : image;
}

/** Score from 0 to 100 by row; undefined when no node gets any. */
export function imageScores(spec: coreV1.PodSpec, cache: Cache): Int32Array | undefined {
  const images = [...(spec.initContainers ?? []), ...spec.containers];
  let sums: Float64Array | undefined;
  for (const { image } of images) {
    const rows = image ? cache.image(normalized(image)) : undefined;
    if (!rows) continue;
    sums ??= new Float64Array(cache.columns.rows);
    // An image that few nodes hold counts for less, lest they be swamped.
    for (const [row, bytes] of rows) sums[row]! += Math.trunc(bytes * (rows.size / cache.size));
  }
  if (!sums) return undefined;
  const most = mostPerContainer * images.length;
  const scores = Int32Array.from(sums, (sum) => Math.trunc((100 * (Math.min(Math.max(sum, least), most) - least)) / (most - least)));
  return scores.some((s) => s > 0) ? scores : undefined;
}
