//! Fakes, tiny images and a local registry for tests.
