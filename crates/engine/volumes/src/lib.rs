//! What Docker means by a volume.
