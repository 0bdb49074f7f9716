//! The durable journal of events.
