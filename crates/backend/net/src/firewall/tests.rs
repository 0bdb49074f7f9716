//! The firewall against the kernel.
