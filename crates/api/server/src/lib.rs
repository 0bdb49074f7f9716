//! The Docker Engine API over HTTP: decode, call one engine function, encode.
