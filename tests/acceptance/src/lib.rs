//! Acceptance tests: a real arcad, real clients.
