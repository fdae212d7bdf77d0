import { kubeletSuite } from "../kubelet/testing/suite.ts";
import { missing, startEmbedded } from "./embedded-runtime.ts";

kubeletSuite("kubun", missing(), startEmbedded);
