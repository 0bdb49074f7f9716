//! Frames between arcad and any shim.
