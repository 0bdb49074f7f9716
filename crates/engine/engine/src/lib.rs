//! The engine: the services, wired.
