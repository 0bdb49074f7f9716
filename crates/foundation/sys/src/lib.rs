//! System calls as safe functions: the only crate with unsafe code.
