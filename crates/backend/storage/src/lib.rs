//! Content-addressed blobs, snapshots and garbage collection.
