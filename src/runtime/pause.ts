// The smallest program that can be the first process of a PID namespace: it
// lets the kernel reap orphans and waits for ever. Assembled here, so that a
// pod needs neither an image nor a compiler for it.

const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const BASE = 0x400000n;
const HEADERS = 64 + 56;

/** rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8), then pause() for ever. */
const x64 = Buffer.from("6a006a006a006a016a0d586a115f4889e631d26a08415a0f056a22580f05ebf9", "hex");

/** The same; arm64 has no pause(2), so it waits in ppoll(NULL, 0, NULL, NULL, 0). */
const arm64Words = [
  0xd10083ff, 0xd2800020, 0xf90003e0, 0xa900ffff, 0xf9000fff, 0xd2800220, 0x910003e1, 0xd2800002, 0xd2800103, 0xd28010c8, 0xd4000001,
  0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, 0xd2800928, 0xd4000001, 0x17fffff9,
];

function arm64(): Buffer {
  const code = Buffer.alloc(arm64Words.length * 4);
  for (const [i, word] of arm64Words.entries()) code.writeUInt32LE(word, i * 4);
  return code;
}

/** A static ELF executable for an architecture as Node names it. @throws Error for others than x64 and arm64. */
export function pauseProgram(arch: string = process.arch): Buffer {
  if (arch !== "x64" && arch !== "arm64") throw new Error(`no pause program for ${arch}`);
  const code = arch === "x64" ? x64 : arm64();
  const size = BigInt(HEADERS + code.length);
  const elf = Buffer.alloc(HEADERS);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0);
  elf.writeUInt16LE(2, 16);
  elf.writeUInt16LE(arch === "x64" ? EM_X86_64 : EM_AARCH64, 18);
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(BASE + BigInt(HEADERS), 24);
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  // One PT_LOAD segment, readable and executable.
  elf.writeUInt32LE(1, 64);
  elf.writeUInt32LE(5, 68);
  elf.writeBigUInt64LE(BASE, 80);
  elf.writeBigUInt64LE(BASE, 88);
  elf.writeBigUInt64LE(size, 96);
  elf.writeBigUInt64LE(size, 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([elf, code]);
}
