// Evaluated before cbor-x, which reads this once.
process.env.CBOR_NATIVE_ACCELERATION_DISABLED = "true";
