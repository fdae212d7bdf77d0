// Server reflection (grpc/grpc, doc/server-reflection.md), so that tools can
// call the services without their proto files.
import { createFileRegistry, type DescFile, type DescService, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  file_grpc_reflection_v1_reflection as file,
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "./gen/grpc/reflection/v1/reflection_pb.ts";
import { type Service, service } from "./service.ts";
import { Code } from "./types.ts";

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"];

/** The same service under the name that older tools know: its messages differ in their package alone. */
function alpha(): DescService {
  const rename = (name: string) => name.replace(/\bgrpc\.reflection\.v1\b/, "grpc.reflection.v1alpha");
  const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file.proto));
  proto.name = proto.name.replace("/v1/", "/v1alpha/");
  proto.package = rename(proto.package);
  for (const { method } of proto.service) {
    for (const each of method) {
      each.inputType = rename(each.inputType);
      each.outputType = rename(each.outputType);
    }
  }
  for (const { field } of proto.messageType) for (const each of field) each.typeName = rename(each.typeName);
  return createFileRegistry(proto, () => undefined).getService(rename(ServerReflection.typeName))!;
}

/** The services that answer questions about `services`: the protocol's v1, and v1alpha for older tools. */
export function reflection(services: readonly DescService[]): Service[] {
  const older = alpha();
  const index = new Index([...services, ServerReflection, older]);
  async function* answer(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      const { host, messageRequest } = request;
      yield { validHost: host, originalRequest: { host, messageRequest }, messageResponse: index.answer(messageRequest) };
    }
  }
  const impl = { serverReflectionInfo: (requests: AsyncIterable<ServerReflectionRequest>) => answer(requests) };
  return [service(ServerReflection, impl), { desc: older, impl }];
}

class Index {
  readonly #services: readonly DescService[];
  readonly #files = new Map<string, DescFile>();
  /** Services, methods, messages, enums and extensions by their full names. */
  readonly #symbols = new Map<string, DescFile>();

  constructor(services: readonly DescService[]) {
    this.#services = services;
    for (const { file } of services) this.#add(file);
  }

  #add(file: DescFile): void {
    const name = file.proto.name;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const { typeName, methods } of file.services) {
      this.#symbols.set(typeName, file);
      for (const method of methods) this.#symbols.set(`${typeName}.${method.name}`, file);
    }
    const types = [...file.messages];
    for (const message of types) {
      types.push(...message.nestedMessages);
      for (const type of [message, ...message.nestedEnums, ...message.nestedExtensions]) this.#symbols.set(type.typeName, file);
    }
    for (const type of [...file.enums, ...file.extensions]) this.#symbols.set(type.typeName, file);
    for (const dependency of file.dependencies) this.#add(dependency);
  }

  answer({ case: what, value }: ServerReflectionRequest["messageRequest"]): Answer {
    switch (what) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: this.#services.map(({ typeName: name }) => ({ name })) } };
      case "fileByFilename":
        return this.#file(this.#files.get(value), value);
      case "fileContainingSymbol":
        return this.#file(this.#symbols.get(value), value);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = value;
        const found = this.#extensions(containingType).find(({ number }) => number === extensionNumber);
        return this.#file(found?.file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        if (!this.#symbols.has(value)) return notFound(value);
        const extensionNumber = this.#extensions(value).map(({ number }) => number);
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: value, extensionNumber } };
      }
      default:
        return { case: "errorResponse", value: { errorCode: Code.InvalidArgument, errorMessage: "no message_request" } };
    }
  }

  #extensions(type: string) {
    return [...this.#files.values()].flatMap((file) => file.extensions.filter(({ extendee }) => extendee.typeName === type));
  }

  /** A file and all that it imports, so that one question is enough. */
  #file(file: DescFile | undefined, name: string): Answer {
    if (!file) return notFound(name);
    const all = new Set([file]);
    for (const each of all) for (const dependency of each.dependencies) all.add(dependency);
    const fileDescriptorProto = [...all].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }
}

const notFound = (name: string): Answer => ({
  case: "errorResponse",
  value: { errorCode: Code.NotFound, errorMessage: `not found: ${name}` },
});
