//! Log drivers: write and read back.
