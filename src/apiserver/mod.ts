export { ApiServer, type ApiServerOptions } from "./server.ts";
