import { missing, startContainerd } from "./testing/containerd.ts";
import { kubeletSuite } from "./testing/suite.ts";

kubeletSuite("containerd", missing(), startContainerd);
