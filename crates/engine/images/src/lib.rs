//! What Docker means by an image.
