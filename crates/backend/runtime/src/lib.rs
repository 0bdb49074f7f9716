//! Starts and adopts shims and speaks their protocol.
