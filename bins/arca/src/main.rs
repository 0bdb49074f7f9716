//! The operator's tool: checks a host and the engine's state.

fn main() {}
