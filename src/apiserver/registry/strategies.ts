// All resources that differ from the generic ones, by group and resource.
import { appsStrategies } from "./apps.ts";
import { clusterStrategies } from "./cluster.ts";
import { coreStrategies } from "./core.ts";
import { podStrategies } from "./pods.ts";
import type { Strategy } from "./strategy.ts";

export const strategies: Readonly<Record<string, Strategy>> = {
  ...coreStrategies,
  ...podStrategies,
  ...appsStrategies,
  ...clusterStrategies,
};
