//! One per container: runs it, reaps its init, keeps its stdio, outlives arcad.

fn main() {}
