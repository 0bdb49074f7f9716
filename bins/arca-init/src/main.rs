//! PID 1 for containers that ask for an init.

fn main() {}
