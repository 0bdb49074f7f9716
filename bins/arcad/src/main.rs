//! The arca daemon.

fn main() {}
