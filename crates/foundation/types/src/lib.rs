//! IDs, names, digests, references, platforms, signals, clock and error kinds.
