//! What Docker means by a network.
