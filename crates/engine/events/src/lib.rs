//! The durable journal of events: what happened to containers, images, networks and volumes.
//!
//! Services [`publish`](Events::publish) as things happen; clients [`subscribe`](Events::subscribe) and
//! get what is in the journal and then what follows, without a gap and without a duplicate, however
//! slowly they read: whoever falls behind is served from the journal. How many events are kept is set
//! when it is opened.

mod error;
mod event;
mod events;
mod filter;
mod record;
mod subscription;

pub use error::Error;
pub use event::{Actor, Event, Type};
pub use events::Events;
pub use filter::Filter;
pub use subscription::{Range, Subscription};
